-- What the catalogue says, part by part: each begins with a line that has its name. Before each stands the first one,
-- which says what is ours.

--# ours
WITH place AS (
    SELECT * FROM pg_namespace WHERE nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
), class AS (
    SELECT c.* FROM pg_class c JOIN place p ON p.oid = c.relnamespace
), routine AS (
    SELECT f.* FROM pg_proc f JOIN place p ON p.oid = f.pronamespace
), kind AS (
    SELECT t.* FROM pg_type t JOIN place p ON p.oid = t.typnamespace
), extension AS (
    SELECT * FROM pg_extension WHERE extname = 'agent_metrics'
)

--# extension
SELECT extversion, extowner::regrole, extnamespace::regnamespace, extrelocatable, extconfig, extcondition FROM extension

--# schema
SELECT nspname, nspowner::regrole, nspacl FROM place

--# member
SELECT pg_describe_object(d.classid, d.objid, d.objsubid), d.deptype
FROM pg_depend d JOIN extension e ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass

--# relation
SELECT c.oid::regclass, c.relkind, c.relowner::regrole, c.relacl, c.reloptions, c.relpersistence, c.relrowsecurity,
       c.relforcerowsecurity, c.relreplident, c.relhastriggers, c.relhasrules, c.relispartition,
       pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), c.reltablespace, c.reloftype::regtype, a.amname
FROM class c LEFT JOIN pg_am a ON a.oid = c.relam

--# view
SELECT oid::regclass, pg_get_viewdef(oid) FROM class WHERE relkind IN ('v', 'm')

--# column
SELECT a.attrelid::regclass, a.attname, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
       format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
       pg_get_expr(d.adbin, d.adrelid), a.attacl, a.attcollation::regcollation, a.attstorage, a.attcompression,
       a.attstattarget, a.attislocal, a.attinhcount,
       array(SELECT o FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver=')
FROM class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum

--# constraint
SELECT nullif(k.conrelid, 0)::regclass, nullif(k.contypid, 0)::regtype, k.conname, pg_get_constraintdef(k.oid),
       k.convalidated, k.conislocal, k.coninhcount
FROM pg_constraint k JOIN place p ON p.oid = k.connamespace

--# index
SELECT pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indisunique, i.indisprimary, i.indisclustered,
       i.indisreplident
FROM pg_index i JOIN class c ON c.oid = i.indrelid

--# trigger
SELECT pg_get_triggerdef(t.oid), t.tgenabled, t.tgparentid <> 0
FROM pg_trigger t JOIN class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal

--# rule
SELECT c.oid::regclass, pg_get_ruledef(r.oid), r.ev_enabled FROM pg_rewrite r JOIN class c ON c.oid = r.ev_class

--# policy
SELECT y.schemaname, y.tablename, y.policyname, y.permissive, y.roles, y.cmd, y.qual, y.with_check
FROM pg_policies y JOIN place p ON p.nspname = y.schemaname

--# inheritance
SELECT i.inhrelid::regclass, i.inhparent::regclass, i.inhseqno FROM pg_inherits i JOIN class c ON c.oid = i.inhrelid

--# sequence
SELECT s.seqrelid::regclass, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle
FROM pg_sequence s JOIN class c ON c.oid = s.seqrelid

--# statistics
SELECT pg_get_statisticsobjdef(s.oid), s.stxowner::regrole
FROM pg_statistic_ext s JOIN place p ON p.oid = s.stxnamespace

--# function
SELECT f.oid::regprocedure, f.prokind, l.lanname, f.proowner::regrole, pg_get_function_arguments(f.oid),
       pg_get_function_result(f.oid), f.provolatile, f.proparallel, f.proisstrict, f.prosecdef, f.proleakproof,
       f.procost, f.prorows, f.prosupport, f.proconfig, f.proacl, f.probin, f.prosrc, pg_get_function_sqlbody(f.oid)
FROM routine f JOIN pg_language l ON l.oid = f.prolang

--# aggregate
SELECT a.aggfnoid, a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn,
       a.aggminvtransfn, a.aggmfinalfn, a.aggfinalmodify, a.aggmfinalmodify, a.aggtranstype::regtype, a.aggtransspace,
       a.aggmtranstype::regtype, a.aggmtransspace, a.agginitval, a.aggminitval, a.aggsortop::regoperator
FROM pg_aggregate a JOIN routine f ON f.oid = a.aggfnoid

--# type
SELECT t.oid::regtype, t.typowner::regrole, t.typlen, t.typbyval, t.typtype, t.typcategory, t.typdelim, t.typsubscript,
       t.typelem::regtype, t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typanalyze, t.typalign,
       t.typstorage, t.typnotnull, t.typbasetype::regtype, t.typdefault, t.typacl,
       array(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM kind t

--# operator
SELECT o.oid::regoperator, o.oprowner::regrole, o.oprcode, o.oprrest, o.oprjoin, o.oprcom::regoperator,
       o.oprnegate::regoperator, o.oprcanmerge, o.oprcanhash
FROM pg_operator o JOIN place p ON p.oid = o.oprnamespace

--# operator class
SELECT f.opfname, a.amname, c.opcname, c.opcintype::regtype, c.opcdefault, c.opckeytype::regtype,
       array(SELECT format('%s %s %s', m.amopstrategy, m.amopopr::regoperator, m.amoppurpose) FROM pg_amop m
             WHERE m.amopfamily = f.oid ORDER BY 1),
       array(SELECT format('%s %s', m.amprocnum, m.amproc::regprocedure) FROM pg_amproc m
             WHERE m.amprocfamily = f.oid ORDER BY 1)
FROM pg_opfamily f
JOIN place p ON p.oid = f.opfnamespace
JOIN pg_am a ON a.oid = f.opfmethod
LEFT JOIN pg_opclass c ON c.opcfamily = f.oid

--# cast
SELECT k.castsource::regtype, k.casttarget::regtype, k.castfunc::regprocedure, k.castcontext, k.castmethod
FROM pg_cast k WHERE k.castsource IN (SELECT oid FROM kind) OR k.casttarget IN (SELECT oid FROM kind)

--# comment
SELECT pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE i.schema IN (SELECT nspname FROM place) OR i.identity ~ 'agent_(metrics|kpi)'
