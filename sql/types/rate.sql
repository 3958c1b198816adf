-- rate: hits and total, written '184/200'.

CREATE TYPE agent_metrics.rate;

CREATE FUNCTION agent_metrics_internal.rate_in(cstring) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_out(agent_metrics.rate) RETURNS cstring
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_recv(internal) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_send(agent_metrics.rate) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.rate_in(cstring) IS 'Input of rate.';
COMMENT ON FUNCTION agent_metrics_internal.rate_out(agent_metrics.rate) IS 'Output of rate.';
COMMENT ON FUNCTION agent_metrics_internal.rate_recv(internal) IS 'Binary input of rate.';
COMMENT ON FUNCTION agent_metrics_internal.rate_send(agent_metrics.rate) IS 'Binary output of rate.';

CREATE TYPE agent_metrics.rate (
    INPUT = agent_metrics_internal.rate_in, OUTPUT = agent_metrics_internal.rate_out,
    RECEIVE = agent_metrics_internal.rate_recv, SEND = agent_metrics_internal.rate_send,
    INTERNALLENGTH = 16, ALIGNMENT = double
);
COMMENT ON TYPE agent_metrics.rate IS
    'Hits out of a total, such as 184/200: a ratio that keeps its count and can be merged.';

CREATE FUNCTION agent_metrics.rate(hits bigint, total bigint) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_make';

CREATE FUNCTION agent_metrics_internal.rate_plus(agent_metrics.rate, agent_metrics.rate) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_accumulate(agent_metrics.rate, boolean) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_minus(agent_metrics.rate, agent_metrics.rate) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_dismiss(agent_metrics.rate, boolean) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_final(agent_metrics.rate) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.hits(rate agent_metrics.rate) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_hits';

CREATE FUNCTION agent_metrics.total(rate agent_metrics.rate) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_total';

CREATE FUNCTION agent_metrics_internal.rate_float8(agent_metrics.rate) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.wilson_low(rate agent_metrics.rate, confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_wilson_low';

CREATE FUNCTION agent_metrics.wilson_high(rate agent_metrics.rate, confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_wilson_high';

CREATE FUNCTION agent_metrics_internal.rate_cmp(agent_metrics.rate, agent_metrics.rate) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_lt(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_le(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_gt(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_ge(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_eq(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_ne(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.rate_numeric(agent_metrics.rate) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN agent_metrics.hits($1)::numeric / nullif(agent_metrics.total($1), 0);
COMMENT ON FUNCTION agent_metrics.rate(bigint, bigint) IS 'A rate of hits out of a total.';
COMMENT ON FUNCTION agent_metrics_internal.rate_plus(agent_metrics.rate, agent_metrics.rate) IS
    'Implementation of +; an error beyond 64 bits.';
COMMENT ON FUNCTION agent_metrics_internal.rate_accumulate(agent_metrics.rate, boolean) IS 'Step of rate(boolean).';
COMMENT ON FUNCTION agent_metrics_internal.rate_minus(agent_metrics.rate, agent_metrics.rate) IS
    'Implementation of -; an error where the second is no part of the first.';
COMMENT ON FUNCTION agent_metrics_internal.rate_dismiss(agent_metrics.rate, boolean) IS
    'Inverse step of rate(boolean), for frames that move.';
COMMENT ON FUNCTION agent_metrics_internal.rate_final(agent_metrics.rate) IS 'Result of rate(boolean).';
COMMENT ON FUNCTION agent_metrics_internal.rate_cmp(agent_metrics.rate, agent_metrics.rate) IS
    'Total order of rates: by the fraction, then by the total; without a denominator last.';
COMMENT ON FUNCTION agent_metrics_internal.rate_lt(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of <.';
COMMENT ON FUNCTION agent_metrics_internal.rate_le(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of <=.';
COMMENT ON FUNCTION agent_metrics_internal.rate_gt(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of >.';
COMMENT ON FUNCTION agent_metrics_internal.rate_ge(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of >=.';
COMMENT ON FUNCTION agent_metrics.hits(agent_metrics.rate) IS 'Hits of a rate.';
COMMENT ON FUNCTION agent_metrics.total(agent_metrics.rate) IS 'Total of a rate.';
COMMENT ON FUNCTION agent_metrics_internal.rate_float8(agent_metrics.rate) IS
    'A rate as a fraction, 0 to 1; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics_internal.rate_numeric(agent_metrics.rate) IS
    'A rate as a fraction, 0 to 1; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics.wilson_low(agent_metrics.rate, double precision) IS
    'Lower end of the Wilson interval; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics.wilson_high(agent_metrics.rate, double precision) IS
    'Upper end of the Wilson interval; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics_internal.rate_eq(agent_metrics.rate, agent_metrics.rate) IS
    'Implementation of =: the same hits and the same total.';
COMMENT ON FUNCTION agent_metrics_internal.rate_ne(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of <>.';

CREATE OPERATOR agent_metrics.+ (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_plus,
    COMMUTATOR = OPERATOR(agent_metrics.+));

CREATE OPERATOR agent_metrics.- (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_minus);

CREATE OPERATOR agent_metrics.= (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_eq,
    COMMUTATOR = OPERATOR(agent_metrics.=), NEGATOR = OPERATOR(agent_metrics.<>), RESTRICT = eqsel,
    JOIN = eqjoinsel, MERGES, HASHES);

CREATE OPERATOR agent_metrics.<> (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_ne,
    COMMUTATOR = OPERATOR(agent_metrics.<>), NEGATOR = OPERATOR(agent_metrics.=), RESTRICT = neqsel, JOIN = neqjoinsel);

CREATE OPERATOR agent_metrics.< (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_lt,
    COMMUTATOR = OPERATOR(agent_metrics.>), NEGATOR = OPERATOR(agent_metrics.>=), RESTRICT = scalarltsel,
    JOIN = scalarltjoinsel);

CREATE OPERATOR agent_metrics.<= (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_le,
    COMMUTATOR = OPERATOR(agent_metrics.>=), NEGATOR = OPERATOR(agent_metrics.>), RESTRICT = scalarlesel,
    JOIN = scalarlejoinsel);

CREATE OPERATOR agent_metrics.> (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_gt,
    COMMUTATOR = OPERATOR(agent_metrics.<), NEGATOR = OPERATOR(agent_metrics.<=), RESTRICT = scalargtsel,
    JOIN = scalargtjoinsel);

CREATE OPERATOR agent_metrics.>= (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics_internal.rate_ge,
    COMMUTATOR = OPERATOR(agent_metrics.<=), NEGATOR = OPERATOR(agent_metrics.<), RESTRICT = scalargesel,
    JOIN = scalargejoinsel);
COMMENT ON OPERATOR agent_metrics.- (agent_metrics.rate, agent_metrics.rate) IS
    'What is left when a part is taken out.';
COMMENT ON OPERATOR agent_metrics.< (agent_metrics.rate, agent_metrics.rate) IS
    'A smaller fraction, or the same of fewer.';
COMMENT ON OPERATOR agent_metrics.<= (agent_metrics.rate, agent_metrics.rate) IS 'Before or equal.';
COMMENT ON OPERATOR agent_metrics.> (agent_metrics.rate, agent_metrics.rate) IS
    'A larger fraction, or the same of more.';
COMMENT ON OPERATOR agent_metrics.>= (agent_metrics.rate, agent_metrics.rate) IS 'After or equal.';
COMMENT ON OPERATOR agent_metrics.+ (agent_metrics.rate, agent_metrics.rate) IS 'Hits and totals of both.';
COMMENT ON OPERATOR agent_metrics.= (agent_metrics.rate, agent_metrics.rate) IS 'The same hits and the same total.';
COMMENT ON OPERATOR agent_metrics.<> (agent_metrics.rate, agent_metrics.rate) IS 'Not equal.';

CREATE OPERATOR CLASS agent_metrics_internal.rate_ops DEFAULT FOR TYPE agent_metrics.rate USING btree AS
    OPERATOR 1 agent_metrics.<, OPERATOR 2 agent_metrics.<=, OPERATOR 3 agent_metrics.=,
    OPERATOR 4 agent_metrics.>=, OPERATOR 5 agent_metrics.>,
    FUNCTION 1 agent_metrics_internal.rate_cmp(agent_metrics.rate, agent_metrics.rate);
COMMENT ON OPERATOR CLASS agent_metrics_internal.rate_ops USING btree IS 'Grouping and ordering by a rate.';
COMMENT ON OPERATOR FAMILY agent_metrics_internal.rate_ops USING btree IS 'Grouping and ordering by a rate.';

-- Sixteen bytes by reference, as a uuid is, whose hash serves; equal rates are equal bytes.
CREATE FUNCTION agent_metrics_internal.rate_hash(agent_metrics.rate) RETURNS integer
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'uuid_hash';

CREATE FUNCTION agent_metrics_internal.rate_hash(agent_metrics.rate, bigint) RETURNS bigint
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'uuid_hash_extended';
COMMENT ON FUNCTION agent_metrics_internal.rate_hash(agent_metrics.rate) IS 'Hash of a rate.';
COMMENT ON FUNCTION agent_metrics_internal.rate_hash(agent_metrics.rate, bigint) IS 'Hash of a rate with a seed.';

CREATE OPERATOR CLASS agent_metrics_internal.rate_hash_ops DEFAULT FOR TYPE agent_metrics.rate USING hash AS
    OPERATOR 1 agent_metrics.=,
    FUNCTION 1 agent_metrics_internal.rate_hash(agent_metrics.rate),
    FUNCTION 2 agent_metrics_internal.rate_hash(agent_metrics.rate, bigint);
COMMENT ON OPERATOR CLASS agent_metrics_internal.rate_hash_ops USING hash IS 'Hashed grouping and joins by a rate.';
COMMENT ON OPERATOR FAMILY agent_metrics_internal.rate_hash_ops USING hash IS 'Hashed grouping and joins by a rate.';

CREATE CAST (agent_metrics.rate AS double precision)
    WITH FUNCTION agent_metrics_internal.rate_float8(agent_metrics.rate);

CREATE CAST (agent_metrics.rate AS numeric) WITH FUNCTION agent_metrics_internal.rate_numeric(agent_metrics.rate);
COMMENT ON CAST (agent_metrics.rate AS double precision) IS 'As a fraction; NULL where there is no denominator.';
COMMENT ON CAST (agent_metrics.rate AS numeric) IS 'As a fraction; NULL where there is no denominator.';

CREATE AGGREGATE agent_metrics.rate(boolean) (
    SFUNC = agent_metrics_internal.rate_accumulate, STYPE = agent_metrics.rate,
    FINALFUNC = agent_metrics_internal.rate_final, COMBINEFUNC = agent_metrics_internal.rate_plus, PARALLEL = SAFE,
    MSFUNC = agent_metrics_internal.rate_accumulate, MINVFUNC = agent_metrics_internal.rate_dismiss,
    MSTYPE = agent_metrics.rate, MFINALFUNC = agent_metrics_internal.rate_final);

CREATE AGGREGATE agent_metrics.merge(agent_metrics.rate) (
    SFUNC = agent_metrics_internal.rate_plus, STYPE = agent_metrics.rate,
    COMBINEFUNC = agent_metrics_internal.rate_plus, PARALLEL = SAFE,
    MSFUNC = agent_metrics_internal.rate_plus, MINVFUNC = agent_metrics_internal.rate_minus,
    MSTYPE = agent_metrics.rate);
COMMENT ON AGGREGATE agent_metrics.rate(boolean) IS 'Rate of the rows that are true among those that are not NULL.';
COMMENT ON AGGREGATE agent_metrics.merge(agent_metrics.rate) IS
    'Many rates as one: hits and totals are added, never averaged.';
