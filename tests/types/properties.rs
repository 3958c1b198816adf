//! Properties of the pure sketch over wild values, and the golden files of its stored form.

use agent_metrics::measures::sketch::{Sketch, Stored, nearest_rank, text};
use proptest::prelude::*;

/// Values of every magnitude that the guarantee covers, with ties, zeros and integers among them.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        4 => (-9.0..12.0f64).prop_map(|exponent| 10f64.powf(exponent)),
        2 => (0u32..200).prop_map(f64::from),
        1 => Just(0.0),
        1 => Just(840.0),
    ];
    prop_oneof![
        proptest::collection::vec(value.clone(), 1..40),
        proptest::collection::vec(value, 200..1200),
    ]
}

fn sketch(values: &[f64]) -> Sketch {
    let mut sketch = Sketch::default();
    for value in values {
        sketch.add(*value).unwrap();
    }
    sketch
}

fn stored(values: &[f64]) -> Vec<u8> {
    sketch(values).encode().unwrap().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_percentile_is_within_the_guarantee(values in values(), fraction in 0.0..=1.0f64) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let truth = sorted[nearest_rank(fraction, sorted.len() as u64) as usize - 1];
        let bytes = stored(&values);
        let read = Stored::check(&bytes).unwrap();
        for answer in [read.percentile(fraction).unwrap(), sketch(&values).percentile(fraction).unwrap().unwrap()] {
            prop_assert!((answer - truth).abs() <= truth / 128.0, "{answer} for {truth}");
            prop_assert!(read.min() <= answer && answer <= read.max());
        }
        if truth <= 127.0 && truth.fract() == 0.0 {
            prop_assert_eq!(read.percentile(fraction).unwrap(), truth);
        }
        prop_assert_eq!(
            (read.count(), read.min(), read.max()),
            (sorted.len() as u64, sorted[0], sorted[sorted.len() - 1])
        );
    }

    #[test]
    fn percentiles_never_fall(values in values(), a in 0.0..=1.0f64, b in 0.0..=1.0f64) {
        let bytes = stored(&values);
        let read = Stored::check(&bytes).unwrap();
        prop_assert!(read.percentile(a.min(b)).unwrap() <= read.percentile(a.max(b)).unwrap());
    }

    #[test]
    fn order_and_grouping_do_not_matter(values in values(), first in 0usize..1200, second in 0usize..1200) {
        let whole = stored(&values);
        let mut reversed = values.clone();
        reversed.reverse();
        prop_assert_eq!(&stored(&reversed), &whole);
        let (first, second) = (first % (values.len() + 1), second % (values.len() + 1));
        let parts = [
            &values[..first.min(second)],
            &values[first.min(second)..first.max(second)],
            &values[first.max(second)..],
        ];
        // merging states, merging stored bytes into a state, and adding stored forms give the same bytes
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let (mut states, mut from_bytes, mut added) = (Sketch::default(), Sketch::default(), None::<Vec<u8>>);
            for part in order.map(|i| parts[i]).into_iter().filter(|part| !part.is_empty()) {
                states.merge(&mut sketch(part)).unwrap();
                let bytes = stored(part);
                let read = Stored::check(&bytes).unwrap();
                from_bytes.merge_stored(&read).unwrap();
                added = Some(match added {
                    None => bytes.clone(),
                    Some(before) => Stored::check(&before).unwrap().plus(&read).unwrap(),
                });
            }
            prop_assert_eq!(&states.encode().unwrap().unwrap(), &whole);
            prop_assert_eq!(&from_bytes.encode().unwrap().unwrap(), &whole);
            prop_assert_eq!(&added.unwrap(), &whole);
        }
    }

    #[test]
    fn text_brings_the_same_bytes_back(values in values()) {
        let bytes = stored(&values);
        let words = text::to_text(&Stored::check(&bytes).unwrap()).unwrap();
        prop_assert_eq!(text::from_text(&words).unwrap(), bytes);
    }

    #[test]
    fn bytes_of_any_kind_are_refused_or_read_back_the_same(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        fraction in 0.0..=1.0f64,
    ) {
        if let Ok(read) = Stored::check(&bytes) {
            let mut state = Sketch::default();
            state.merge_stored(&read).unwrap();
            prop_assert_eq!(state.encode().unwrap().unwrap(), bytes);
        } else if let Ok(read) = Stored::read(&bytes) {
            // what is trusted must still not panic when it lies
            let _ = read.percentile(fraction);
            let _ = Sketch::default().merge_stored(&read);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_back_the_same(
        values in values(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = stored(&values);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(read) = Stored::check(bytes) {
                let mut state = Sketch::default();
                state.merge_stored(&read).unwrap();
                prop_assert_eq!(state.encode().unwrap().unwrap(), bytes);
            }
        }
    }
}

/// Every later version reads what version 1 wrote.
#[test]
fn golden_files_of_version_1_are_read() {
    let golden = include_str!("../golden/quantile_sketch_v1.txt");
    let mut read = 0;
    for line in golden.lines() {
        let [name, hex, words] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(
            text::to_text(&Stored::check(&bytes).unwrap()).unwrap(),
            words,
            "{name}"
        );
        assert_eq!(text::from_text(words).unwrap(), bytes, "{name}");
        read += 1;
    }
    assert!(read >= 7);
    assert_eq!(
        stored(&(1..=128).map(f64::from).collect::<Vec<_>>())[..2],
        [1, 128]
    );
}
