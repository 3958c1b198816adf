-- rate: hits and total, written '184/200'.

CREATE TYPE agent_metrics.rate;
CREATE FUNCTION agent_metrics.rate_in(cstring) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.rate_out(agent_metrics.rate) RETURNS cstring
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.rate_recv(internal) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.rate_send(agent_metrics.rate) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.rate_in(cstring) IS 'Input of rate.';
COMMENT ON FUNCTION agent_metrics.rate_out(agent_metrics.rate) IS 'Output of rate.';
COMMENT ON FUNCTION agent_metrics.rate_recv(internal) IS 'Binary input of rate.';
COMMENT ON FUNCTION agent_metrics.rate_send(agent_metrics.rate) IS 'Binary output of rate.';
CREATE TYPE agent_metrics.rate (
    INPUT = agent_metrics.rate_in, OUTPUT = agent_metrics.rate_out,
    RECEIVE = agent_metrics.rate_recv, SEND = agent_metrics.rate_send,
    INTERNALLENGTH = 16, ALIGNMENT = double
);
COMMENT ON TYPE agent_metrics.rate IS 'Hits out of a total, such as 184/200: a ratio that keeps its count and can be merged.';

CREATE FUNCTION agent_metrics.rate(hits bigint, total bigint) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_make';
CREATE FUNCTION agent_metrics.rate_plus(agent_metrics.rate, agent_metrics.rate) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.rate_accumulate(agent_metrics.rate, boolean) RETURNS agent_metrics.rate
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.hits(rate agent_metrics.rate) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_hits';
CREATE FUNCTION agent_metrics.total(rate agent_metrics.rate) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_total';
CREATE FUNCTION agent_metrics.rate_float8(agent_metrics.rate) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.wilson_low(rate agent_metrics.rate, confidence double precision DEFAULT 0.95) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_wilson_low';
CREATE FUNCTION agent_metrics.wilson_high(rate agent_metrics.rate, confidence double precision DEFAULT 0.95) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rate_wilson_high';
CREATE FUNCTION agent_metrics.rate_eq(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.rate_ne(agent_metrics.rate, agent_metrics.rate) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION agent_metrics.rate_numeric(agent_metrics.rate) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN agent_metrics.hits($1)::numeric / nullif(agent_metrics.total($1), 0);
COMMENT ON FUNCTION agent_metrics.rate(bigint, bigint) IS 'A rate of hits out of a total.';
COMMENT ON FUNCTION agent_metrics.rate_plus(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of +; an error beyond 64 bits.';
COMMENT ON FUNCTION agent_metrics.rate_accumulate(agent_metrics.rate, boolean) IS 'Step of rate(boolean).';
COMMENT ON FUNCTION agent_metrics.hits(agent_metrics.rate) IS 'Hits of a rate.';
COMMENT ON FUNCTION agent_metrics.total(agent_metrics.rate) IS 'Total of a rate.';
COMMENT ON FUNCTION agent_metrics.rate_float8(agent_metrics.rate) IS 'A rate as a fraction, 0 to 1; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics.rate_numeric(agent_metrics.rate) IS 'A rate as a fraction, 0 to 1; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics.wilson_low(agent_metrics.rate, double precision) IS 'Lower end of the Wilson interval; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics.wilson_high(agent_metrics.rate, double precision) IS 'Upper end of the Wilson interval; NULL where there is no denominator.';
COMMENT ON FUNCTION agent_metrics.rate_eq(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of =: the same hits and the same total.';
COMMENT ON FUNCTION agent_metrics.rate_ne(agent_metrics.rate, agent_metrics.rate) IS 'Implementation of <>.';

CREATE OPERATOR agent_metrics.+ (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics.rate_plus,
    COMMUTATOR = OPERATOR(agent_metrics.+));
CREATE OPERATOR agent_metrics.= (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics.rate_eq,
    COMMUTATOR = OPERATOR(agent_metrics.=), NEGATOR = OPERATOR(agent_metrics.<>), RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR agent_metrics.<> (
    LEFTARG = agent_metrics.rate, RIGHTARG = agent_metrics.rate, FUNCTION = agent_metrics.rate_ne,
    COMMUTATOR = OPERATOR(agent_metrics.<>), NEGATOR = OPERATOR(agent_metrics.=), RESTRICT = neqsel, JOIN = neqjoinsel);
COMMENT ON OPERATOR agent_metrics.+ (agent_metrics.rate, agent_metrics.rate) IS 'Hits and totals of both.';
COMMENT ON OPERATOR agent_metrics.= (agent_metrics.rate, agent_metrics.rate) IS 'The same hits and the same total.';
COMMENT ON OPERATOR agent_metrics.<> (agent_metrics.rate, agent_metrics.rate) IS 'Not equal.';

CREATE CAST (agent_metrics.rate AS double precision) WITH FUNCTION agent_metrics.rate_float8(agent_metrics.rate);
CREATE CAST (agent_metrics.rate AS numeric) WITH FUNCTION agent_metrics.rate_numeric(agent_metrics.rate);
COMMENT ON CAST (agent_metrics.rate AS double precision) IS 'As a fraction; NULL where there is no denominator.';
COMMENT ON CAST (agent_metrics.rate AS numeric) IS 'As a fraction; NULL where there is no denominator.';

CREATE AGGREGATE agent_metrics.rate(boolean) (
    SFUNC = agent_metrics.rate_accumulate, STYPE = agent_metrics.rate,
    COMBINEFUNC = agent_metrics.rate_plus, PARALLEL = SAFE);
CREATE AGGREGATE agent_metrics.merge(agent_metrics.rate) (
    SFUNC = agent_metrics.rate_plus, STYPE = agent_metrics.rate,
    COMBINEFUNC = agent_metrics.rate_plus, PARALLEL = SAFE);
COMMENT ON AGGREGATE agent_metrics.rate(boolean) IS 'Rate of the rows that are true among those that are not NULL.';
COMMENT ON AGGREGATE agent_metrics.merge(agent_metrics.rate) IS 'Many rates as one: hits and totals are added, never averaged.';
