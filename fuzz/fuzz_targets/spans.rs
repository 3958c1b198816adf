//! Deliveries of any shape: taken apart and read as turns in time, whatever they hold, and the same again.

#![no_main]

use agent_metrics::measures::json::prune;
use agent_metrics::measures::spans::delivery::{Mapper, Piece};
use agent_metrics::measures::spans::turns::Reader;
use agent_metrics::measures::spans::vocabulary::Vocabulary;
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, HashSet};

const WORDS: &str = "a\u{1f}\u{1f}agent_name\u{1f}1\u{1f}\u{1e}c\u{1f}\u{1f}conversation\u{1f}1\u{1f}\u{1e}\
                     i\u{1f}\u{1f}input_tokens\u{1f}1\u{1f}true\u{1e}o\u{1f}\u{1f}output_tokens\u{1f}1\u{1f}\u{1e}\
                     r\u{1f}\u{1f}cache_read_tokens\u{1f}1\u{1f}\u{1e}t\u{1f}\u{1f}total_tokens\u{1f}1\u{1f}\u{1e}\
                     k\u{1f}tool\u{1f}tool\u{1f}1\u{1f}\u{1e}k\u{1f}agent\u{1f}agent\u{1f}1\u{1f}\u{1e}\
                     d.e\u{1f}\u{1f}cost\u{1f}1\u{1f}\u{1e}id\u{1f}\u{1f}response_id\u{1f}1\u{1f}";

fuzz_target!(|document: &[u8]| {
    let Ok(delivery) = serde_json::from_slice(&prune(document, 80, "null")) else {
        return;
    };
    let vocabulary = Vocabulary::parse(WORDS);
    let mut traces: BTreeMap<String, BTreeMap<String, _>> = BTreeMap::new();
    for piece in Mapper::new(&vocabulary, &[]).map(delivery, || ()) {
        if let Piece::Span { trace, id, facts } = piece {
            traces.entry(trace).or_default().insert(id, facts);
        }
    }
    let reader = Reader {
        vocabulary: &vocabulary,
        registered: &HashSet::new(),
        kept: &[],
    };
    for spans in traces.into_values() {
        let spans: Vec<_> = spans.into_iter().collect();
        let turns = reader.turns(&spans, || ());
        assert!(turns.len() <= spans.len());
        assert_eq!(turns, reader.turns(&spans, || ()));
    }
});
