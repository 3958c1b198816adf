"""Makes statistics.txt: what the statistics in SQL must give, worked out by mpmath with 60 digits and held against scipy.

    python3 -m venv venv && venv/bin/pip install scipy mpmath && venv/bin/python tests/golden/statistics.py >tests/golden/statistics.txt

A line: expression | value. A test takes a relative error of 1e-9; with ~ before the value an absolute one of 1e-15.
"""

import mpmath as m
import numpy as np
from mpmath import mpf
from scipy import stats

m.mp.dps = 60
MAX, HALF = 2**63 - 1, 2**62
SURE = 1 - 2**-53  # the largest confidence below 1


def say(expression, value, absolute=False):
    text = "" if value is None else repr(float(value)) if not isinstance(value, int) else str(value)
    print(f"{expression}|{'~' if absolute else ''}{text}")


def z(confidence):
    return m.sqrt(2) * m.erfinv(mpf(confidence))


def tail(k, n_k):
    """P(X <= k) and P(X = k) under Binomial(n, 1/2), k <= n/2."""
    n = k + n_k
    pmf = m.exp(m.loggamma(n + 1) - m.loggamma(k + 1) - m.loggamma(n_k + 1) - n * m.log(2))
    if k == n_k:
        return (1 + pmf) / 2, pmf
    if k == 0:
        return pmf, pmf
    d = n_k - k - 1
    end = min(mpf(1), 300 / (d + m.sqrt(mpf(d) ** 2 + 600 * mpf(k))))
    inside = lambda s: m.exp(k * m.log(1 - s * s) + d * m.log(1 - s)) if s < 1 else mpf(0)
    return n_k * m.quad(inside, [end * i / 40 for i in range(41)]) * pmf, pmf


def mcnemar():
    for lost, gained in [
        (0, 0), (1, 0), (3, 2), (9, 1), (400, 600), (1000, 0), (1000, 1), (700, 700), (500, 500), (500, 501), (450, 551), (1100, 3), (1500, 900),
        (12345, 11000), (10**6, 10**6), (10**6, 10**6 + 1), (10**6, 10**6 + 3000), (30, 10**7), (10**9, 10**9), (10**9, 10**9 + 1),
        (10**9, 10**9 + 100000), (10**9, 10**9 + 700000), (10**9, 0), (2**53 + 1, 2**53), (HALF, HALF), (HALF, HALF - 1),
        (HALF, HALF - 2**31), (HALF - 2**33, HALF), (HALF - 2**35, HALF), (HALF + 1000, HALF), (MAX, MAX), (MAX, MAX - 1),
        (MAX, MAX - 5 * 10**9), (MAX, 1), (0, MAX),
    ]:
        if lost + gained == 0:
            exact, mid = mpf(1), mpf(1)
        else:
            cdf, pmf = tail(min(lost, gained), max(lost, gained))
            exact = min(mpf(1), 2 * cdf)
            mid = 1 - pmf / 2 if lost == gained else 2 * cdf - pmf
            if exact < mpf(10) ** -307:
                exact = mid = mpf(0)
            elif lost != gained and lost + gained < 2**53:
                assert abs(2 * stats.binom.cdf(min(lost, gained), lost + gained, 0.5) / float(exact) - 1) < 1e-9 or exact == 1
            elif lost != gained:  # so many that the normal distribution is as good
                normal = m.erfc((abs(lost - gained) - 1) / m.sqrt(mpf(lost + gained)) / m.sqrt(2))
                assert abs(normal / exact - 1) < 1e-12
        say(f"mcnemar_exact({lost}, {gained})", exact)
        say(f"mcnemar_mid({lost}, {gained})", mid)


def wilson_bounds(hits, total, confidence):
    n, p, zz = mpf(total), mpf(hits) / mpf(total), z(confidence)
    reach = zz * m.sqrt(n * p * (1 - p) + zz**2 / 4)
    low, high = (n * p + zz**2 / 2 - reach) / (n + zz**2), (n * p + zz**2 / 2 + reach) / (n + zz**2)
    return mpf(0) if hits == 0 else low, mpf(1) if hits == total else high


def wilson():
    for hits, total in [
        (0, 1), (1, 1), (184, 200), (0, HALF), (1, HALF), (HALF, HALF), (HALF - 1, HALF), (HALF // 2, HALF), (30, 10**7), (10**9, 2 * 10**9),
        (1, MAX), (MAX - 1, MAX), (MAX, MAX), (0, MAX), (MAX // 3, MAX),
    ]:
        for confidence in [1e-300, 1e-12, 0.5, 0.95, 0.999999999, SURE]:
            low, high = wilson_bounds(hits, total, confidence)
            if total < 2**53 and 1e-6 < confidence < 1 - 1e-6:
                scipy = stats.binomtest(hits, total).proportion_ci(confidence, "wilson")
                assert abs(scipy.low - low) < 1e-12 and abs(scipy.high - high) < 1e-12
            say(f"wilson_low(rate({hits}, {total}), {confidence!r})", low)
            say(f"wilson_high(rate({hits}, {total}), {confidence!r})", high)
    for share, size in [(0.5, 1e-300), (0.25, 1e300), (1e-300, 10.0), (0.9, 3.7), (0.0, 1.7e308), (1.0, 5e-324)]:
        low, high = wilson_bounds(mpf(share) * mpf(size), size, 0.95)
        say(f"weighted_low({share!r}, {size!r})", mpf(0) if share == 0 else low)
        say(f"weighted_high({share!r}, {size!r})", mpf(1) if share == 1 else high)


def bonett_price():
    for lost, gained, total in [
        (0, 0, 1), (1, 0, 1), (9, 1, 200), (0, 0, MAX), (1, 0, MAX), (HALF // 2, HALF // 2, HALF), (10**9, 10**9 + 10**5, 10**12), (MAX, 0, MAX),
        (0, MAX, MAX), (HALF, HALF - 1, MAX),
    ]:
        for confidence in [1e-12, 0.95, SURE]:
            n = mpf(total) + 2
            down, up = (lost + 1) / n, (gained + 1) / n
            half = z(confidence) * m.sqrt((down + up - (up - down) ** 2) / n)
            say(f"bonett_price_low({lost}, {gained}, {total}, {confidence!r})", max(mpf(-1), up - down - half))
            say(f"bonett_price_high({lost}, {gained}, {total}, {confidence!r})", min(mpf(1), up - down + half))


def detectable():
    m.mp.dps = 400
    for total, psi, power, alpha in [
        (200, 0.06, 0.8, 0.05), (1, 0.5, 0.8, 0.05), (4, 0.5, 0.8, 0.05), (10**9, 0.01, 0.9, 0.001), (HALF, 0.05, 0.8, 0.05), (MAX, 1.0, 0.8, 0.05),
        (MAX, 1e-15, 0.999999, 1e-12), (10**6, 0.1, 0.5, 0.05), (10**6, 0.1, 0.3, 0.05), (10**6, 0.1, 0.001, 0.05), (2000, 0.1, 0.8, 1e-300),
        (1000, 0.1, 0.8, 1e-300), (10**6, 0.1, SURE, 0.05),
    ]:
        za, zb = m.sqrt(2) * m.erfinv(1 - mpf(alpha)), m.sqrt(2) * m.erfinv(2 * mpf(power) - 1)
        change = None
        if total >= za**2:
            change = max(mpf(0), m.sqrt(mpf(psi)) * (m.sqrt(total) * za + zb * m.sqrt(total + zb**2 - za**2)) / (total + zb**2))
            if change > 0:  # it solves Connor's equation
                assert abs((za * m.sqrt(mpf(psi)) + zb * m.sqrt(psi - change**2)) / change / m.sqrt(total) - 1) < 1e-40
        say(f"minimum_detectable_change({total}, {psi!r}, {power!r}, {alpha!r})", change)
    m.mp.dps = 60


def widened():
    for before, after in [
        ((16, 4, 200), (22, 4, 200)), ((HALF // 2, 0, HALF), (HALF // 2 + 2**31, 0, HALF)),
        ((HALF // 2, HALF // 4, HALF), (HALF // 2, HALF // 4 + 2**31, HALF)), ((MAX, 0, MAX), (MAX, 0, MAX)), ((MAX, 0, MAX), (MAX - 1, 0, MAX)),
        ((1, 0, MAX), (0, 1, MAX)), ((10**9 + 7, 10**9, 10**12), (10**9, 10**9, 10**12 + 1)), ((0, 0, 1), (1, 0, 1)),
        ((MAX - 5, 3, MAX), (MAX - 9, 2, MAX)),
    ]:
        gaps = [((mpf(f) - s) / n, (f + s - mpf(f - s) ** 2 / n) / mpf(n) ** 2) for f, s, n in (before, after)]
        variance = gaps[0][1] + gaps[1][1]
        p = m.erfc(abs(gaps[1][0] - gaps[0][0]) / m.sqrt(variance) / m.sqrt(2)) if variance > 0 else None
        say(f"widened_p({', '.join(map(str, before + after))})", p)


def raters():
    for a, b, c, d in [
        (20, 5, 10, 15), (190, 3, 5, 2), (HALF, 1, 1, 0), (HALF, 1, 1, 1), (MAX, MAX, MAX, MAX), (MAX, 1, 0, MAX), (0, MAX, MAX, 0), (MAX, 0, 0, 0),
        (10**18, 10**18 - 10**6, 10**18, 10**18), (0, 0, 0, 0),
    ]:
        n = mpf(a + b + c + d)
        kappa = ac1 = None
        if n > 0:
            agreed, one, two = (a + d) / n, (a + b) / n, (a + c) / n
            chance, mean = one * two + (1 - one) * (1 - two), (one + two) / 2
            kappa = (agreed - chance) / (1 - chance) if chance < 1 else None
            ac1 = 1 - (1 - agreed) / (1 - 2 * mean * (1 - mean))
        say(f"cohen_kappa({a}, {b}, {c}, {d})", kappa)
        say(f"gwet_ac1({a}, {b}, {c}, {d})", ac1, absolute=n > 0)


def judged():
    for rates in [
        ((140, 1000), (90, 100), (190, 200)), ((HALF // 2, HALF), (HALF - 1, HALF), (HALF - 1, HALF)),
        ((MAX // 3, MAX), (MAX - 10**6, MAX), (MAX // 2, MAX)), ((10**9, 2 * 10**9), (10**9 + 1, 2 * 10**9), (10**9, 2 * 10**9)),
        ((MAX, MAX), (MAX, MAX), (MAX, MAX)), ((1, 2), (MAX // 2, MAX), (MAX // 2, MAX)), ((1, MAX), (MAX, MAX), (MAX, MAX)),
        ((HALF // 2 + 1, HALF), (HALF // 2 + 2, HALF), (HALF // 2, HALF)),
    ]:
        a, se, sp = (mpf(hits) / total for hits, total in rates)
        youden = se + sp - 1
        value = low = high = None
        if youden > 0:
            value = min(max((a + sp - 1) / youden, mpf(0)), mpf(1))
            variance = [p * (1 - p) / total for p, (_, total) in zip((a, se, sp), rates)]
            half = z(0.95) * m.sqrt(variance[0] + value**2 * variance[1] + (1 - value) ** 2 * variance[2]) / youden
            low, high = max(mpf(0), value - half), min(mpf(1), value + half)
        given = ", ".join(f"'{hits}/{total}'" for hits, total in rates)
        for name, figure in [("", value), ("_low", low), ("_high", high)]:
            say(f"judge_corrected{name}({given})", figure)


def ranks():
    for count in [1, 200, 10**6, 2**53 + 1, HALF, MAX]:
        for fraction in [1e-12, 0.5, 0.95, SURE]:
            half = z(0.95) * m.sqrt(count * mpf(fraction) * (1 - mpf(fraction)))
            for name, bound in [("low", count * mpf(fraction) - half), ("high", count * mpf(fraction) + half)]:
                say(f"rank_{name}({count}, {fraction!r})", min(max(1, int(m.ceil(bound))), count))


def newcombe():
    for a, b, c, d in [
        (172.0, 16.0, 4.0, 8.0), (2.0**62, 2.0**61, 2.0**61, 2.0**62), (1e18, 1.0, 0.0, 1e18), (1e300, 1e299, 1e298, 1e300), (1e-300, 0.0, 0.0, 1e-300),
        (0.5, 0.25, 0.25, 0.5), (0.0, 1e10, 0.0, 0.0),
    ]:
        n = mpf(a) + b + c + d
        one, two = mpf(a) + b, mpf(a) + c
        margins = one * (mpf(c) + d) * two * (mpf(b) + d)
        excess = mpf(a) * d - mpf(b) * c
        phi = mpf(0) if margins == 0 else (max(excess - n / 2, 0) if excess > 0 else excess) / m.sqrt(margins)
        (low1, high1), (low2, high2) = wilson_bounds(one, n, 0.95), wilson_bounds(two, n, 0.95)
        reach = lambda x, y: m.sqrt(max(x * x - 2 * phi * x * y + y * y, mpf(0)))
        p1, p2 = one / n, two / n
        say(f"paired_low({a!r}, {b!r}, {c!r}, {d!r})", p1 - p2 - reach(p1 - low1, high2 - p2), absolute=True)
        say(f"paired_high({a!r}, {b!r}, {c!r}, {d!r})", p1 - p2 + reach(high1 - p1, p2 - low2), absolute=True)


def others():
    for rate, confidence in [(0.02, 0.95), (1e-6, 0.95), (1e-15, 0.95), (3.3e-19, 0.95), (0.5, 1e-15), (SURE, 0.999)]:
        say(f"zero_failures_needed({rate!r}, {confidence!r})", int(m.ceil(m.log1p(-mpf(confidence)) / m.log1p(-mpf(rate)))))
    series = "(SELECT array_agg(i * 7919 % {1} - {1} * 2 / 5) FROM generate_series(1::bigint, {0}) AS i)"
    for count, modulus, method in [(12, 101, "exact"), (50, 1009, "exact"), (51, 1009, "approx"), (200, 1009, "approx"), (1000, 97, "approx")]:
        i = np.arange(1, count + 1)
        differences = (i * 7919) % modulus - modulus * 2 // 5
        say(f"wilcoxon_signed_rank({series.format(count, modulus)})", stats.wilcoxon(differences, method=method, correction=False).pvalue)
    say(f"wilcoxon_signed_rank({series.format(1000000, 1999993)})", mpf(0))


for part in (mcnemar, wilson, bonett_price, detectable, widened, raters, judged, ranks, newcombe, others):
    part()
