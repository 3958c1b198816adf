-- One function that divides, so that "no denominator" is NULL everywhere.
CREATE FUNCTION agent_metrics.ratio(numerator numeric, denominator numeric) RETURNS double precision
    -- not STRICT, so that the planner puts the expression in its place
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (numerator / nullif(denominator, 0))::double precision;
COMMENT ON FUNCTION agent_metrics.ratio(numeric, numeric) IS
    'Numerator / denominator as double precision; NULL where the denominator is 0 or NULL.';

-- Standard error of a ratio sum(x)/sum(y) over n independent pairs, by the delta method (Cochran 1977, 6.3):
-- sqrt(n/(n-1) * sum((x - Ry)^2)) / sum(y), with the sum of squares taken apart into stored sums.
CREATE FUNCTION agent_metrics_internal.ratio_error(n numeric, x numeric, y numeric, xx numeric, xy numeric, yy numeric)
RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN n > 1 AND y > 0 THEN
        sqrt(greatest(n / (n - 1) * (xx - 2 * (x / y) * xy + (x / y) * (x / y) * yy), 0)::double precision)
        / y::double precision END;
COMMENT ON FUNCTION agent_metrics_internal.ratio_error(numeric, numeric, numeric, numeric, numeric, numeric) IS
    'Standard error of sum(x)/sum(y) over n pairs, from n and the sums of x, y, x*x, x*y, y*y; '
    'NULL under two pairs or without y.';
