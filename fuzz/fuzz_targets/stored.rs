//! Bytes from outside, as the type's receive function and the cast from bytea get them: refused, or canonical.

#![no_main]

use agent_metrics::measures::sketch::{Sketch, Stored, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(stored) = Stored::check(bytes) else {
        // Head and buckets that were never checked are read too, when a page of the table is damaged.
        if let Ok(damaged) = Stored::read(bytes) {
            let _ = damaged.percentile(0.5);
            let _ = damaged.percentile_rank(1.0);
            let _ = text::to_text(&damaged);
            let _ = Sketch::default().merge_stored(&damaged);
        }
        return;
    };
    let mut sketch = Sketch::default();
    sketch
        .merge_stored(&stored)
        .expect("it is alone, so nothing overflows");
    assert_eq!(
        sketch.encode().expect("likewise").as_deref(),
        Some(bytes),
        "another form of the same sketch"
    );
    let written = text::to_text(&stored).expect("it was checked");
    assert_eq!(
        text::from_text(&written).expect("what is written is read"),
        bytes,
        "{written}"
    );
    for fraction in [0.0, 0.01, 0.5, 0.95, 1.0] {
        let value = stored.percentile(fraction).expect("it was checked");
        assert!(
            stored.min() <= value && value <= stored.max(),
            "{value} at {fraction}"
        );
    }
    if let Ok(twice) = stored.plus(&stored) {
        assert_eq!(
            Stored::check(&twice).expect("a sum is a sketch").count(),
            2 * stored.count()
        );
    }
});
