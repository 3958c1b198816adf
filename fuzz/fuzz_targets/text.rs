//! Text from outside, as the type's input function gets it: refused, or a sketch whose own text is read back.

#![no_main]

use agent_metrics::measures::sketch::{Stored, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|words: &str| {
    let Ok(bytes) = text::from_text(words) else {
        return;
    };
    let stored = Stored::check(&bytes).expect("what is read from text is a sketch");
    let written = text::to_text(&stored).expect("it was checked");
    assert_eq!(
        text::from_text(&written).expect("what is written is read"),
        bytes,
        "{written}"
    );
});
