-- The statistics of audits, over plain numbers: formulas in src/measures/statistics, each with its source.

CREATE FUNCTION agent_metrics.mcnemar_exact(lost bigint, gained bigint) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.mcnemar_mid(lost bigint, gained bigint) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.bonett_price_low(
    lost bigint, gained bigint, total bigint, confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.bonett_price_high(
    lost bigint, gained bigint, total bigint, confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.minimum_detectable_change(
    total bigint, discordance double precision, power double precision DEFAULT 0.8, alpha double precision DEFAULT 0.05)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.moved_more_than(
    hits1 bigint, total1 bigint, hits2 bigint, total2 bigint, points integer DEFAULT 2)
RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics_internal.widened_p(
    first1 bigint, second1 bigint, total1 bigint, first2 bigint, second2 bigint, total2 bigint)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.wilcoxon_signed_rank(differences double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.benjamini_hochberg(p double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.cohen_kappa(both_yes bigint, first_only bigint, second_only bigint, both_no bigint)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.gwet_ac1(both_yes bigint, first_only bigint, second_only bigint, both_no bigint)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.stratified_rate(
    sizes double precision[], sampled double precision[], hits double precision[])
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.stratified_error(
    sizes double precision[], sampled double precision[], hits double precision[])
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.judge_corrected(
    apparent agent_metrics.rate, sensitivity agent_metrics.rate, specificity agent_metrics.rate)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.judge_corrected_low(
    apparent agent_metrics.rate, sensitivity agent_metrics.rate, specificity agent_metrics.rate,
    confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.judge_corrected_high(
    apparent agent_metrics.rate, sensitivity agent_metrics.rate, specificity agent_metrics.rate,
    confidence double precision DEFAULT 0.95)
RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION agent_metrics.zero_failures_needed(rate double precision, confidence double precision DEFAULT 0.95)
RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.mcnemar_exact(bigint, bigint) IS
    'McNemar''s exact two-sided p, of pairs that went from pass to fail (lost) and from fail to pass (gained); '
    '1 where nothing changed.';
COMMENT ON FUNCTION agent_metrics.mcnemar_mid(bigint, bigint) IS
    'McNemar''s mid-p, of pairs that went from pass to fail (lost) and from fail to pass (gained); '
    '1 where nothing changed.';
COMMENT ON FUNCTION agent_metrics.bonett_price_low(bigint, bigint, bigint, double precision) IS
    'Lower end of the Bonett-Price interval of the change (gained - lost) / total; NULL without pairs.';
COMMENT ON FUNCTION agent_metrics.bonett_price_high(bigint, bigint, bigint, double precision) IS
    'Upper end of the Bonett-Price interval of the change (gained - lost) / total; NULL without pairs.';
COMMENT ON FUNCTION agent_metrics.minimum_detectable_change(
    bigint, double precision, double precision, double precision) IS
    'Smallest change of a rate that total pairs show with this power, when a share of them (discordance) changes at '
    'all; one beyond the discordance says that nothing could be shown. NULL: none.';
COMMENT ON FUNCTION agent_metrics_internal.moved_more_than(bigint, bigint, bigint, bigint, integer) IS
    'Whether a rate moved by more than so many percentage points, compared in integers.';
COMMENT ON FUNCTION agent_metrics_internal.widened_p(bigint, bigint, bigint, bigint, bigint, bigint) IS
    'Two-sided p that a paired gap (first - second) / total changed between two independent samples, '
    'such as two months; NULL where nothing varies.';
COMMENT ON FUNCTION agent_metrics.wilcoxon_signed_rank(double precision[]) IS
    'Two-sided p of Wilcoxon''s signed-rank test that paired differences lie round zero; zeros and NULLs are left out, '
    'NULL where nothing is left. At most a million.';
COMMENT ON FUNCTION agent_metrics.benjamini_hochberg(double precision[]) IS
    'p values adjusted for their number by Benjamini and Hochberg, in the order given; '
    'NULL stays NULL and counts for nothing. At most a million.';
COMMENT ON FUNCTION agent_metrics.cohen_kappa(bigint, bigint, bigint, bigint) IS
    'Cohen''s kappa of two raters: yes of both, of the first alone, of the second alone, of neither. '
    'NULL where chance explains all.';
COMMENT ON FUNCTION agent_metrics.gwet_ac1(bigint, bigint, bigint, bigint) IS
    'Gwet''s AC1 of two raters, which does not collapse when one answer is rare; NULL without items.';
COMMENT ON FUNCTION agent_metrics.stratified_rate(double precision[], double precision[], double precision[]) IS
    'Rate of the whole from a stratified sample: size of each stratum, reviewed of it, hits among those. '
    'NULL where a stratum was not reviewed.';
COMMENT ON FUNCTION agent_metrics.stratified_error(double precision[], double precision[], double precision[]) IS
    'Standard error of stratified_rate, with the finite population correction; '
    'NULL where a stratum has one review of many.';
COMMENT ON FUNCTION agent_metrics.judge_corrected(agent_metrics.rate, agent_metrics.rate, agent_metrics.rate) IS
    'True rate behind a judge''s verdicts, from his sensitivity and specificity (Rogan and Gladen); '
    'NULL where he is no better than a coin.';
COMMENT ON FUNCTION agent_metrics.judge_corrected_low(
    agent_metrics.rate, agent_metrics.rate, agent_metrics.rate, double precision) IS
    'Lower end of the interval of judge_corrected, which knows that all three rates are samples.';
COMMENT ON FUNCTION agent_metrics.judge_corrected_high(
    agent_metrics.rate, agent_metrics.rate, agent_metrics.rate, double precision) IS
    'Upper end of the interval of judge_corrected, which knows that all three rates are samples.';
COMMENT ON FUNCTION agent_metrics.zero_failures_needed(double precision, double precision) IS
    'How many observations without a failure show that failures are rarer than the rate, one-sided and exact.';
