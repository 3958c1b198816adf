//! Any doubles: those that are accepted give the same bytes in every order and grouping, within the guarantee.

#![no_main]

use agent_metrics::measures::sketch::{Sketch, Stored, nearest_rank};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let mut whole = Sketch::default();
    let mut values = Vec::new();
    for eight in bytes.chunks_exact(8) {
        let value = f64::from_le_bytes(eight.try_into().expect("eight bytes"));
        match whole.add(value) {
            Ok(()) => values.push(value + 0.0), // -0 counts as 0
            Err(_) => assert!(!(value.is_finite() && value >= 0.0), "{value} is refused"),
        }
    }
    let Some(encoded) = whole.encode().expect("few values") else {
        assert!(values.is_empty());
        return;
    };
    let (first, second) = values.split_at(usize::from(*cut) % (values.len() + 1));
    let mut parts = Sketch::default();
    for value in second.iter().rev() {
        parts.add(*value).expect("it was accepted before");
    }
    let mut other = Sketch::default();
    for value in first {
        other.add(*value).expect("it was accepted before");
    }
    parts.merge(&mut other).expect("few values");
    assert_eq!(
        parts.encode().expect("few values").as_deref(),
        Some(&encoded[..])
    );

    let stored = Stored::check(&encoded).expect("what is written is read");
    values.sort_by(f64::total_cmp);
    for fraction in [0.0, 0.5, 0.95, 1.0] {
        let truth = values[nearest_rank(fraction, values.len() as u64) as usize - 1];
        let answer = stored.percentile(fraction).expect("it was checked");
        // Below the smallest normal double the guarantee is absolute.
        assert!(
            (answer - truth).abs() <= (truth / 128.0).max(f64::MIN_POSITIVE),
            "{answer} for {truth}"
        );
    }
});
