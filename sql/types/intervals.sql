-- Intervals at 95% beside those of rates, and what they decide.

CREATE FUNCTION agent_metrics_internal.weighted_low(share double precision, effective_size double precision)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.weighted_low(double precision, double precision) IS
    'Lower end of the Wilson interval of a weighted share; the effective size is (sum of weights)^2 / (sum of squared '
    'weights). NULL where there is no denominator.';

CREATE FUNCTION agent_metrics_internal.weighted_high(share double precision, effective_size double precision)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.weighted_high(double precision, double precision) IS
    'Upper end of the Wilson interval of a weighted share; the effective size is (sum of weights)^2 / (sum of squared '
    'weights). NULL where there is no denominator.';

CREATE FUNCTION agent_metrics.paired_low(
    agreed double precision, first_only double precision, second_only double precision, neither double precision)
RETURNS double precision LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.paired_low(double precision, double precision, double precision, double precision) IS
    'Lower end of the interval of the difference of two shares of the same observations, first minus second '
    '(Newcombe 1998, method 10).';

CREATE FUNCTION agent_metrics.paired_high(
    agreed double precision, first_only double precision, second_only double precision, neither double precision)
RETURNS double precision LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.paired_high(double precision, double precision, double precision, double precision) IS
    'Upper end of the interval of the difference of two shares of the same observations, first minus second '
    '(Newcombe 1998, method 10).';

CREATE FUNCTION agent_metrics_internal.rank_low(count bigint, fraction double precision) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.rank_low(bigint, double precision) IS
    'Rank, from 1, of the value that bounds a percentile of so many values from below.';

CREATE FUNCTION agent_metrics_internal.rank_high(count bigint, fraction double precision) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.rank_high(bigint, double precision) IS
    'Rank, from 1, of the value that bounds a percentile of so many values from above.';

-- Standard error of an NPS (difference of the shares of promoters and detractors, in points) from n, the sum of the
-- answers as 100, 0 and -100, and the sum of their squares.
CREATE FUNCTION agent_metrics_internal.nps_error(n numeric, x numeric, xx numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN n > 0 THEN sqrt(greatest((xx / n - (x / n) * (x / n)) / n, 0)::double precision) END;
COMMENT ON FUNCTION agent_metrics_internal.nps_error(numeric, numeric, numeric) IS
    'Standard error of an NPS in points, from the number of answers, their sum as 100, 0 and -100, '
    'and the sum of their squares.';

-- Interval of self_report_gap in points, from its sums: weights, squared weights, 100 * (said - found), weight of what
-- differs, weight of what both call a success. Weights are scaled to the effective sample size; NULL
-- where there is none.
CREATE FUNCTION agent_metrics_internal.gap_low(
    weight numeric, weight_squared numeric, gap numeric, differing numeric, agreed numeric)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN weight_squared > 0 THEN 100 * agent_metrics.paired_low(
    (agreed * weight / weight_squared)::double precision,
    ((differing + gap / 100) / 2 * weight / weight_squared)::double precision,
    ((differing - gap / 100) / 2 * weight / weight_squared)::double precision,
    ((weight - agreed - differing) * weight / weight_squared)::double precision) END;
COMMENT ON FUNCTION agent_metrics_internal.gap_low(numeric, numeric, numeric, numeric, numeric) IS
    'Lower end of the interval of self_report_gap, from its sums.';

CREATE FUNCTION agent_metrics_internal.gap_high(
    weight numeric, weight_squared numeric, gap numeric, differing numeric, agreed numeric)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN weight_squared > 0 THEN 100 * agent_metrics.paired_high(
    (agreed * weight / weight_squared)::double precision,
    ((differing + gap / 100) / 2 * weight / weight_squared)::double precision,
    ((differing - gap / 100) / 2 * weight / weight_squared)::double precision,
    ((weight - agreed - differing) * weight / weight_squared)::double precision) END;
COMMENT ON FUNCTION agent_metrics_internal.gap_high(numeric, numeric, numeric, numeric, numeric) IS
    'Upper end of the interval of self_report_gap, from its sums.';

-- At the present rate so many more observations bring the interval clear of the threshold. A difference too small for a
-- double to square is no error: 1e15, the most that is said, is more than anybody will see.
CREATE FUNCTION agent_metrics_internal.observations_needed(
    share double precision, threshold double precision, observations double precision)
RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN share <> threshold THEN
    greatest(1, least(CASE WHEN abs(share - threshold) < 1e-18 THEN 1e16
                           ELSE ceil(3.841458820694124 * greatest(share, threshold) * (1 - least(share, threshold))
                                     / (share - threshold) ^ 2) END
                      - observations, 1e15))::bigint END;
COMMENT ON FUNCTION agent_metrics_internal.observations_needed(double precision, double precision, double precision) IS
    'How many more observations bring the interval of a share clear of a threshold, if the share stays; '
    'NULL: it lies on it.';
