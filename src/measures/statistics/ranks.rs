//! Paired numbers of no known distribution: Wilcoxon's signed-rank test (1945).

use super::two_sided;

/// Up to so many differences the distribution is counted out; beyond it is as good as normal.
const EXACT: usize = 50;

/// Two-sided p that differences of pairs lie round zero. Differences of zero are left out, ties share their mean rank.
/// The distribution is exact for up to 50 differences, ties included, and normal with the ties' correction beyond.
/// `None` without a difference or with one that is no number.
#[must_use]
pub fn signed_rank(differences: &[f64]) -> Option<f64> {
    if differences.iter().any(|difference| difference.is_nan()) {
        return None;
    }
    let mut sorted: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the mean rank, which is an integer.
    let mut ranks: Vec<usize> = Vec::with_capacity(sorted.len());
    let (mut positive, mut ties) = (0, 0.0);
    for group in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let rank = 2 * ranks.len() + group.len() + 1;
        positive += rank * group.iter().filter(|d| **d > 0.0).count();
        ranks.extend(std::iter::repeat_n(rank, group.len()));
        let t = group.len() as f64;
        ties += t * t * t - t;
    }
    let whole: usize = ranks.iter().sum();
    let least = positive.min(whole - positive);
    if ranks.is_empty() {
        return None;
    }
    Some(if ranks.len() > EXACT {
        approximate(ranks.len(), least, ties)
    } else {
        exact(&ranks, least)
    })
}

fn approximate(count: usize, least: usize, ties: f64) -> f64 {
    let n = count as f64;
    let mean = n * (n + 1.0) / 4.0;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    two_sided((least as f64 / 2.0 - mean) / variance.sqrt())
}

fn exact(ranks: &[usize], least: usize) -> f64 {
    // Probability of each sum of ranks when every sign is a coin.
    let whole: usize = ranks.iter().sum();
    let mut share = vec![0.0; whole + 1];
    share[0] = 1.0;
    for &rank in ranks {
        for sum in (0..=whole).rev() {
            let with = if sum >= rank { share[sum - rank] } else { 0.0 };
            share[sum] = (share[sum] + with) / 2.0;
        }
    }
    (2.0 * share[..=least].iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_ranks() {
        // Hollander and Wolfe (1973), depression scores of nine patients (two moved by .01): V = 40, p = 0.0390625
        let first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.07, 1.30];
        let second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.15, 1.29];
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        assert!((signed_rank(&differences).unwrap() - 0.0390625).abs() < 1e-12);
        assert_eq!(signed_rank(&[0.0, 0.0]), None);
        assert_eq!(signed_rank(&[f64::NAN]), None);
        assert_eq!(signed_rank(&[1.0, -1.0, 0.0]), Some(1.0));
        assert_eq!(signed_rank(&[2.0; 6]), Some(2.0 / 64.0));
        // level with the normal distribution where that takes over
        let ranks: Vec<usize> = (1..=50).map(|rank| 2 * rank).collect();
        assert!((exact(&ranks, 900) - approximate(50, 900, 0.0)).abs() < 0.002);
        let many: Vec<f64> = (1..=200)
            .map(|i| f64::from(if i % 4 == 0 { -i } else { i }))
            .collect();
        assert!(signed_rank(&many).unwrap() < 1e-6);
    }
}
