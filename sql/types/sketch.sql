-- quantile_sketch: a mergeable quantile sketch with a guaranteed relative error of at most 1/128.

CREATE TYPE agent_metrics.quantile_sketch;

CREATE FUNCTION agent_metrics_internal.quantile_sketch_in(cstring) RETURNS agent_metrics.quantile_sketch
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_out(agent_metrics.quantile_sketch) RETURNS cstring
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 200 AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_recv(internal) RETURNS agent_metrics.quantile_sketch
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_send(agent_metrics.quantile_sketch) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_in(cstring) IS 'Input of quantile_sketch.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_out(agent_metrics.quantile_sketch) IS
    'Output of quantile_sketch.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_recv(internal) IS 'Binary input of quantile_sketch.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_send(agent_metrics.quantile_sketch) IS
    'Binary output of quantile_sketch.';

CREATE TYPE agent_metrics.quantile_sketch (
    INPUT = agent_metrics_internal.quantile_sketch_in,
    OUTPUT = agent_metrics_internal.quantile_sketch_out,
    RECEIVE = agent_metrics_internal.quantile_sketch_recv,
    SEND = agent_metrics_internal.quantile_sketch_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE agent_metrics.quantile_sketch IS
    'A mergeable quantile sketch: any percentile within 1/128 of the exact nearest-rank value; '
    'count, minimum and maximum exact.';

-- Comparison, so that BI tools can group and order by a sketch. Equal multisets of values have equal sketches.
CREATE FUNCTION agent_metrics_internal.quantile_sketch_cmp(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_eq(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_ne(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_lt(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_le(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_gt(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_ge(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_plus(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch)
RETURNS agent_metrics.quantile_sketch
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 80 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_cmp(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS
    'Total order of sketches, for btree indexes and grouping.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_eq(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of =.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_ne(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of <>.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_lt(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of <.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_le(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of <=.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_gt(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of >.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_ge(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of >=.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_plus(
    agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Implementation of +: all values of both.';

CREATE OPERATOR agent_metrics.= (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_eq, COMMUTATOR = OPERATOR(agent_metrics.=),
    NEGATOR = OPERATOR(agent_metrics.<>), RESTRICT = eqsel, JOIN = eqjoinsel, MERGES, HASHES);

CREATE OPERATOR agent_metrics.<> (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_ne, COMMUTATOR = OPERATOR(agent_metrics.<>),
    NEGATOR = OPERATOR(agent_metrics.=), RESTRICT = neqsel, JOIN = neqjoinsel);

CREATE OPERATOR agent_metrics.< (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_lt, COMMUTATOR = OPERATOR(agent_metrics.>),
    NEGATOR = OPERATOR(agent_metrics.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);

CREATE OPERATOR agent_metrics.<= (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_le, COMMUTATOR = OPERATOR(agent_metrics.>=),
    NEGATOR = OPERATOR(agent_metrics.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);

CREATE OPERATOR agent_metrics.> (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_gt, COMMUTATOR = OPERATOR(agent_metrics.<),
    NEGATOR = OPERATOR(agent_metrics.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);

CREATE OPERATOR agent_metrics.>= (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_ge, COMMUTATOR = OPERATOR(agent_metrics.<=),
    NEGATOR = OPERATOR(agent_metrics.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);

CREATE OPERATOR agent_metrics.+ (
    LEFTARG = agent_metrics.quantile_sketch, RIGHTARG = agent_metrics.quantile_sketch,
    FUNCTION = agent_metrics_internal.quantile_sketch_plus, COMMUTATOR = OPERATOR(agent_metrics.+));
COMMENT ON OPERATOR agent_metrics.= (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS
    'The same multiset of buckets and the same extremes.';
COMMENT ON OPERATOR agent_metrics.<> (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'Not equal.';
COMMENT ON OPERATOR agent_metrics.< (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS
    'Before, in an order that serves grouping and has no other meaning.';
COMMENT ON OPERATOR agent_metrics.<= (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS
    'Before or equal.';
COMMENT ON OPERATOR agent_metrics.> (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS 'After.';
COMMENT ON OPERATOR agent_metrics.>= (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS
    'After or equal.';
COMMENT ON OPERATOR agent_metrics.+ (agent_metrics.quantile_sketch, agent_metrics.quantile_sketch) IS
    'All values of both sketches; NULL if either is, so use merge() over rows.';

CREATE OPERATOR CLASS agent_metrics_internal.quantile_sketch_ops DEFAULT
    FOR TYPE agent_metrics.quantile_sketch USING btree AS
    OPERATOR 1 agent_metrics.<, OPERATOR 2 agent_metrics.<=, OPERATOR 3 agent_metrics.=,
    OPERATOR 4 agent_metrics.>=, OPERATOR 5 agent_metrics.>,
    FUNCTION 1 agent_metrics_internal.quantile_sketch_cmp(agent_metrics.quantile_sketch, agent_metrics.quantile_sketch);
COMMENT ON OPERATOR CLASS agent_metrics_internal.quantile_sketch_ops USING btree IS
    'Grouping and ordering by a sketch.';
COMMENT ON OPERATOR FAMILY agent_metrics_internal.quantile_sketch_ops USING btree IS
    'Grouping and ordering by a sketch.';

-- Hashed grouping, hash joins and hash partitioning: equal sketches are equal bytes, so the server's own
-- hash of bytes serves.
CREATE FUNCTION agent_metrics_internal.quantile_sketch_hash(agent_metrics.quantile_sketch) RETURNS integer
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_hash(agent_metrics.quantile_sketch, bigint) RETURNS bigint
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlenaextended';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_hash(agent_metrics.quantile_sketch) IS 'Hash of a sketch.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_hash(agent_metrics.quantile_sketch, bigint) IS
    'Hash of a sketch with a seed.';

CREATE OPERATOR CLASS agent_metrics_internal.quantile_sketch_hash_ops DEFAULT
    FOR TYPE agent_metrics.quantile_sketch USING hash AS
    OPERATOR 1 agent_metrics.=,
    FUNCTION 1 agent_metrics_internal.quantile_sketch_hash(agent_metrics.quantile_sketch),
    FUNCTION 2 agent_metrics_internal.quantile_sketch_hash(agent_metrics.quantile_sketch, bigint);
COMMENT ON OPERATOR CLASS agent_metrics_internal.quantile_sketch_hash_ops USING hash IS
    'Hashed grouping and joins by a sketch.';
COMMENT ON OPERATOR FAMILY agent_metrics_internal.quantile_sketch_hash_ops USING hash IS
    'Hashed grouping and joins by a sketch.';

-- The stored form as bytes, to carry a sketch through a system that has no such type; back, everything is checked.
CREATE FUNCTION agent_metrics_internal.quantile_sketch_bytes(agent_metrics.quantile_sketch) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'quantile_sketch_send';

CREATE FUNCTION agent_metrics_internal.quantile_sketch_from_bytes(bytea) RETURNS agent_metrics.quantile_sketch
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_bytes(agent_metrics.quantile_sketch) IS
    'The stored form of a sketch.';
COMMENT ON FUNCTION agent_metrics_internal.quantile_sketch_from_bytes(bytea) IS
    'A sketch from its stored form; an error where the bytes are none.';

CREATE CAST (agent_metrics.quantile_sketch AS bytea)
    WITH FUNCTION agent_metrics_internal.quantile_sketch_bytes(agent_metrics.quantile_sketch);

CREATE CAST (bytea AS agent_metrics.quantile_sketch)
    WITH FUNCTION agent_metrics_internal.quantile_sketch_from_bytes(bytea);
COMMENT ON CAST (agent_metrics.quantile_sketch AS bytea) IS 'The stored form.';
COMMENT ON CAST (bytea AS agent_metrics.quantile_sketch) IS 'From the stored form, which is checked.';

-- Reading a sketch.
CREATE FUNCTION agent_metrics.percentile(sketch agent_metrics.quantile_sketch, fraction double precision)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'quantile_sketch_percentile';

CREATE FUNCTION agent_metrics.percentile(sketch agent_metrics.quantile_sketch, fractions double precision[])
RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'quantile_sketch_percentiles';

CREATE FUNCTION agent_metrics.percentile_rank(sketch agent_metrics.quantile_sketch, value double precision)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'quantile_sketch_percentile_rank';

CREATE FUNCTION agent_metrics.sketch_count(sketch agent_metrics.quantile_sketch) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'quantile_sketch_count';

CREATE FUNCTION agent_metrics.sketch_min(sketch agent_metrics.quantile_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'quantile_sketch_min';

CREATE FUNCTION agent_metrics.sketch_max(sketch agent_metrics.quantile_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'quantile_sketch_max';
COMMENT ON FUNCTION agent_metrics.percentile(agent_metrics.quantile_sketch, double precision) IS
    'The value at a fraction from 0 to 1 by nearest rank, within 1/128; 0 and 1 give the exact minimum and maximum.';
COMMENT ON FUNCTION agent_metrics.percentile(agent_metrics.quantile_sketch, double precision[]) IS
    'The values at several fractions; a NULL fraction gives NULL.';
COMMENT ON FUNCTION agent_metrics.percentile_rank(agent_metrics.quantile_sketch, double precision) IS
    'Share of the values, 0 to 1, that are at most the given value, as exact as the buckets are.';
COMMENT ON FUNCTION agent_metrics.sketch_count(agent_metrics.quantile_sketch) IS 'Number of values, exact.';
COMMENT ON FUNCTION agent_metrics.sketch_min(agent_metrics.quantile_sketch) IS 'Smallest value, exact.';
COMMENT ON FUNCTION agent_metrics.sketch_max(agent_metrics.quantile_sketch) IS 'Largest value, exact.';

-- The interval of a percentile: the order statistics that cover it at the given confidence.
CREATE FUNCTION agent_metrics.percentile_low(
    sketch agent_metrics.quantile_sketch, fraction double precision, confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 40 AS 'MODULE_PATHNAME', 'quantile_sketch_percentile_low';

CREATE FUNCTION agent_metrics.percentile_high(
    sketch agent_metrics.quantile_sketch, fraction double precision, confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 40 AS 'MODULE_PATHNAME', 'quantile_sketch_percentile_high';
COMMENT ON FUNCTION agent_metrics.percentile_low(agent_metrics.quantile_sketch, double precision, double precision) IS
    'Lower end of the interval of a percentile, by order-statistic ranks.';
COMMENT ON FUNCTION agent_metrics.percentile_high(agent_metrics.quantile_sketch, double precision, double precision) IS
    'Upper end of the interval of a percentile, by order-statistic ranks.';
