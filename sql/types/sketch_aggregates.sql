-- Aggregates over sketches. All share one state and one step a type, so several of them over the same column
-- in one query walk it once. NULL is skipped; no rows give NULL; NaN, infinities and negative values raise 22003.

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_float8(internal, double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_float8(internal, double precision) IS
    'Step of the sketch aggregates.';

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_float4(internal, real) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_float4(internal, real) IS 'Step of the sketch aggregates.';

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_int8(internal, bigint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_int8(internal, bigint) IS 'Step of the sketch aggregates.';

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_int4(internal, integer) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_int4(internal, integer) IS
    'Step of the sketch aggregates.';

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_int2(internal, smallint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_int2(internal, smallint) IS
    'Step of the sketch aggregates.';

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_numeric(internal, numeric) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_numeric(internal, numeric) IS
    'Step of the sketch aggregates.';

-- A frame that moves takes out what leaves it, unless that was its minimum or maximum: then it is read anew.
CREATE FUNCTION agent_metrics_internal.sketch_dismiss_float8(internal, double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_dismiss_float8(internal, double precision) IS
    'Inverse step of the sketch aggregates, for frames that move.';

CREATE FUNCTION agent_metrics_internal.sketch_dismiss_float4(internal, real) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_dismiss_float4(internal, real) IS
    'Inverse step of the sketch aggregates, for frames that move.';

CREATE FUNCTION agent_metrics_internal.sketch_dismiss_int8(internal, bigint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_dismiss_int8(internal, bigint) IS
    'Inverse step of the sketch aggregates, for frames that move.';

CREATE FUNCTION agent_metrics_internal.sketch_dismiss_int4(internal, integer) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_dismiss_int4(internal, integer) IS
    'Inverse step of the sketch aggregates, for frames that move.';

CREATE FUNCTION agent_metrics_internal.sketch_dismiss_int2(internal, smallint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_dismiss_int2(internal, smallint) IS
    'Inverse step of the sketch aggregates, for frames that move.';

CREATE FUNCTION agent_metrics_internal.sketch_dismiss_numeric(internal, numeric) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_dismiss_numeric(internal, numeric) IS
    'Inverse step of the sketch aggregates, for frames that move.';

CREATE FUNCTION agent_metrics_internal.sketch_accumulate_sketch(internal, agent_metrics.quantile_sketch)
RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE COST 40 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_accumulate_sketch(internal, agent_metrics.quantile_sketch) IS
    'Step of merge(quantile_sketch).';

CREATE FUNCTION agent_metrics_internal.sketch_combine(internal, internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE COST 40 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_combine(internal, internal) IS 'Puts two partial states together.';

CREATE FUNCTION agent_metrics_internal.sketch_serialize(internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_serialize(internal) IS 'A partial state as bytes.';

CREATE FUNCTION agent_metrics_internal.sketch_deserialize(bytea, internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_deserialize(bytea, internal) IS 'A partial state from bytes.';

CREATE FUNCTION agent_metrics_internal.sketch_final(internal) RETURNS agent_metrics.quantile_sketch
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_final(internal) IS 'Result of quantile_sketch() and merge().';

CREATE FUNCTION agent_metrics_internal.sketch_final_p50(internal) RETURNS double precision
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_final_p50(internal) IS 'Result of p50().';

CREATE FUNCTION agent_metrics_internal.sketch_final_p95(internal) RETURNS double precision
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_final_p95(internal) IS 'Result of p95().';

CREATE FUNCTION agent_metrics_internal.sketch_final_p99(internal) RETURNS double precision
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.sketch_final_p99(internal) IS 'Result of p99().';

CREATE AGGREGATE agent_metrics.quantile_sketch(double precision) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final);
COMMENT ON AGGREGATE agent_metrics.quantile_sketch(double precision) IS 'Quantile sketch of a column.';

CREATE AGGREGATE agent_metrics.quantile_sketch(real) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final);
COMMENT ON AGGREGATE agent_metrics.quantile_sketch(real) IS 'Quantile sketch of a column.';

CREATE AGGREGATE agent_metrics.quantile_sketch(bigint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final);
COMMENT ON AGGREGATE agent_metrics.quantile_sketch(bigint) IS 'Quantile sketch of a column.';

CREATE AGGREGATE agent_metrics.quantile_sketch(integer) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final);
COMMENT ON AGGREGATE agent_metrics.quantile_sketch(integer) IS 'Quantile sketch of a column.';

CREATE AGGREGATE agent_metrics.quantile_sketch(smallint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int2, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int2,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int2, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final);
COMMENT ON AGGREGATE agent_metrics.quantile_sketch(smallint) IS 'Quantile sketch of a column.';

CREATE AGGREGATE agent_metrics.quantile_sketch(numeric) (
    SFUNC = agent_metrics_internal.sketch_accumulate_numeric, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_numeric,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_numeric, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final);
COMMENT ON AGGREGATE agent_metrics.quantile_sketch(numeric) IS 'Quantile sketch of a column.';

CREATE AGGREGATE agent_metrics.p50(double precision) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p50, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p50);
COMMENT ON AGGREGATE agent_metrics.p50(double precision) IS 'Median by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p50(real) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p50, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p50);
COMMENT ON AGGREGATE agent_metrics.p50(real) IS 'Median by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p50(bigint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p50, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p50);
COMMENT ON AGGREGATE agent_metrics.p50(bigint) IS 'Median by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p50(integer) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p50, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p50);
COMMENT ON AGGREGATE agent_metrics.p50(integer) IS 'Median by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p50(smallint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int2, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p50, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int2,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int2, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p50);
COMMENT ON AGGREGATE agent_metrics.p50(smallint) IS 'Median by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p50(numeric) (
    SFUNC = agent_metrics_internal.sketch_accumulate_numeric, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p50, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_numeric,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_numeric, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p50);
COMMENT ON AGGREGATE agent_metrics.p50(numeric) IS 'Median by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p95(double precision) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p95, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p95);
COMMENT ON AGGREGATE agent_metrics.p95(double precision) IS '95th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p95(real) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p95, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p95);
COMMENT ON AGGREGATE agent_metrics.p95(real) IS '95th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p95(bigint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p95, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p95);
COMMENT ON AGGREGATE agent_metrics.p95(bigint) IS '95th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p95(integer) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p95, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p95);
COMMENT ON AGGREGATE agent_metrics.p95(integer) IS '95th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p95(smallint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int2, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p95, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int2,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int2, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p95);
COMMENT ON AGGREGATE agent_metrics.p95(smallint) IS '95th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p95(numeric) (
    SFUNC = agent_metrics_internal.sketch_accumulate_numeric, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p95, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_numeric,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_numeric, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p95);
COMMENT ON AGGREGATE agent_metrics.p95(numeric) IS '95th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p99(double precision) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p99, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p99);
COMMENT ON AGGREGATE agent_metrics.p99(double precision) IS '99th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p99(real) (
    SFUNC = agent_metrics_internal.sketch_accumulate_float4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p99, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_float4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_float4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p99);
COMMENT ON AGGREGATE agent_metrics.p99(real) IS '99th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p99(bigint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int8, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p99, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int8,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int8, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p99);
COMMENT ON AGGREGATE agent_metrics.p99(bigint) IS '99th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p99(integer) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int4, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p99, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int4,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int4, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p99);
COMMENT ON AGGREGATE agent_metrics.p99(integer) IS '99th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p99(smallint) (
    SFUNC = agent_metrics_internal.sketch_accumulate_int2, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p99, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_int2,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_int2, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p99);
COMMENT ON AGGREGATE agent_metrics.p99(smallint) IS '99th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.p99(numeric) (
    SFUNC = agent_metrics_internal.sketch_accumulate_numeric, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final_p99, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize, DESERIALFUNC = agent_metrics_internal.sketch_deserialize,
    PARALLEL = SAFE, MSFUNC = agent_metrics_internal.sketch_accumulate_numeric,
    MINVFUNC = agent_metrics_internal.sketch_dismiss_numeric, MSTYPE = internal, MSSPACE = 1024,
    MFINALFUNC = agent_metrics_internal.sketch_final_p99);
COMMENT ON AGGREGATE agent_metrics.p99(numeric) IS '99th percentile by nearest rank, within 1/128.';

CREATE AGGREGATE agent_metrics.merge(agent_metrics.quantile_sketch) (
    SFUNC = agent_metrics_internal.sketch_accumulate_sketch, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.sketch_final, COMBINEFUNC = agent_metrics_internal.sketch_combine,
    SERIALFUNC = agent_metrics_internal.sketch_serialize,
    DESERIALFUNC = agent_metrics_internal.sketch_deserialize, PARALLEL = SAFE);
COMMENT ON AGGREGATE agent_metrics.merge(agent_metrics.quantile_sketch) IS
    'All values of many sketches, as one sketch.';
