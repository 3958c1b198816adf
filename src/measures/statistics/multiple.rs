//! Many tests at once: adjusted p values.

/// Benjamini and Hochberg (1995): the false discovery rate at which each test would be called a finding. In the order
/// given; what is `None` stays so and counts for nothing.
#[must_use]
pub fn benjamini_hochberg(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let order = ascending(p);
    let count = order.len() as f64;
    let mut adjusted = vec![None; p.len()];
    let mut least = 1.0_f64;
    for (rank, (place, value)) in order.into_iter().enumerate().rev() {
        least = least.min(value * count / (rank as f64 + 1.0));
        adjusted[place] = Some(least);
    }
    adjusted
}

/// Places and values of what is given, smallest first.
fn ascending(p: &[Option<f64>]) -> Vec<(usize, f64)> {
    let mut order: Vec<(usize, f64)> = p
        .iter()
        .enumerate()
        .filter_map(|(place, value)| Some((place, (*value)?)))
        .collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values() {
        let p = [
            0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216,
        ]
        .map(Some);
        let expected = [
            0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.105714, 0.216, 0.216, 0.216,
        ];
        let adjusted = benjamini_hochberg(&p);
        assert!(
            adjusted
                .iter()
                .zip(expected)
                .all(|(a, e)| (a.unwrap() - e).abs() < 1e-6),
            "{adjusted:?}"
        );
        assert_eq!(adjusted.iter().filter(|p| p.unwrap() <= 0.05).count(), 2);
        assert_eq!(
            benjamini_hochberg(&[Some(0.04), None, Some(0.01)]),
            [Some(0.04), None, Some(0.02)]
        );
        assert_eq!(benjamini_hochberg(&[]), []);
    }
}
