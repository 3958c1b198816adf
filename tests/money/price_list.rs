//! A price list from elsewhere: the difference first, then the change, and the history stays.

use crate::money::prices::priced;
use crate::support::asserts::{assert_explained, assert_no_rows};
use crate::support::db;

const SHOWN: &str = "provider, model, usage_type, min_input_tokens, service_tier,
                     before_usd, after_usd, change, reason";

#[test]
fn a_price_map_is_shown_before_it_is_taken() {
    let db = db("price_list_map");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('anthropic', 'one', 'input', 3), ('anthropic', 'one', 'output', 12)",
    );
    let map = r#"{
        "sample_spec": {"litellm_provider": "one of these", "input_cost_per_token": 0},
        "one": {"litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 1000000,
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
            "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
            "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_batches": 7.5e-06,
            "input_cost_per_token_above_272k_tokens_priority": 1.2e-05, "output_cost_per_reasoning_token": 1e-05,
            "input_cost_per_audio_token": 1.5e-07, "cache_read_input_token_cost": null,
            "input_cost_per_image": 0.004, "search_context_cost_per_query": {"high": 0.01}},
        "azure/two": {"litellm_provider": "azure", "input_cost_per_token_flex": 1.25e-07},
        "vertex_ai/three": {"litellm_provider": "vertex_ai-models", "input_cost_per_token": "cheap"},
        "owner/four": {"litellm_provider": "elsewhere", "output_cost_per_token": 1e-06},
        "five": {"input_cost_per_token": 1e-06},
        "six": 7}"#;
    let expected = [
        "anthropic|one|audio_input|0|standard||0.15|new|",
        "anthropic|one|cache_write|0|standard||3.75|new|",
        "anthropic|one|cache_write_1h|0|standard||6|new|",
        "anthropic|one|cache_write_1h|200000|standard||12|new|",
        "anthropic|one|input|0|standard|3|3|same|",
        "anthropic|one|input|200000|standard||6|new|",
        "anthropic|one|input|272000|priority||12|new|",
        "anthropic|one|output|0|batch||7.5|new|",
        "anthropic|one|output|0|standard|12|15|changed|",
        "anthropic|one|reasoning|0|standard||10|new|",
        "anthropic|one||0|standard|||not taken|input_cost_per_image has no place in token_prices",
        "anthropic|one||0|standard|||not taken|search_context_cost_per_query has no place in token_prices",
        "azure|two|input|0|flex||0.125|new|",
        "elsewhere|owner/four|output|0|standard||1|new|",
        "vertex_ai-models|three|input|0|standard|||not taken|input_cost_per_token is no number",
        "|five|input|0|standard|||not taken|names no litellm_provider",
        "|six||0|standard|||not taken|the entry is no object",
    ];
    let import = |more: &str| {
        let mut rows = db.lines(&format!(
            "SELECT {SHOWN} FROM agent_metrics.import_prices($map${map}$map${more})"
        ));
        rows.sort();
        rows
    };
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(import(""), sorted);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.token_prices"),
        2.0
    );
    assert_eq!(import(", dry_run => false"), sorted);
    // once more: nothing is left to do
    assert!(
        import(", dry_run => false")
            .iter()
            .all(|row| row.contains("|same|") || row.contains("|not taken|"))
    );
    // the old price holds before, the new one from now on; a first price always
    assert_eq!(
        db.lines(
            "SELECT agent_metrics.turn_cost('anthropic', 'one', now() - interval '1 hour', 0, 1000000, 0, 0),
                    agent_metrics.turn_cost('anthropic', 'one', now() + interval '1 hour', 0, 1000000, 0, 0),
                    agent_metrics.turn_cost('anthropic', 'one', '2020-01-01', 1000000, 0, 0, 1000000,
                                            '{\"cache_write_1h\": 1000000}')"
        ),
        ["12|15|12"]
    );
}

#[test]
fn rows_of_prices_are_taken_too_and_a_price_for_later_stays() {
    let db = priced("price_list_rows");
    db.exec(
        "UPDATE agent_metrics.token_prices SET effective_to = '2027-01-01 00:00+00' WHERE usage_type = 'input';
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, effective_from)
         VALUES ('anthropic', 'large', 'input', 5, '2027-01-01 00:00+00')",
    );
    let before = db.lines("SELECT * FROM agent_metrics.token_prices ORDER BY 3, 5");
    let list = r#"[{"provider": "anthropic", "model": "large", "usage_type": "input", "usd_per_million": 4},
        {"provider": "anthropic", "model": "large", "usage_type": "output", "usd_per_million": "15.0"},
        {"provider": "anthropic", "model": "large", "usage_type": "reasoning", "usd_per_million": 9,
         "service_tier": "Flex", "min_input_tokens": 128000, "note": "from the web page"},
        {"provider": "anthropic", "model": "large", "usage_type": "thinking", "usd_per_million": 9},
        {"provider": "anthropic", "model": "large", "usage_type": "cache_read", "usd_per_million": -1},
        {"provider": "anthropic", "model": "twice", "usage_type": "input", "usd_per_million": 1},
        {"provider": "anthropic", "model": "twice", "usage_type": "input", "usd_per_million": 2},
        {"provider": "", "model": "nobody", "usage_type": "input", "usd_per_million": 2},
        {"provider": "anthropic", "model": "ends", "usage_type": "input", "usd_per_million": 2,
         "effective_to": "2026-01-01"}]"#;
    let import = |more: &str| {
        db.lines(&format!(
            "SELECT {SHOWN} FROM agent_metrics.import_prices($list${list}$list$, '2026-06-01 00:00+00'{more})
             ORDER BY model, usage_type"
        ))
    };
    let expected = [
        "anthropic|ends|input|0|standard||2|not taken|a price that has an end is entered by INSERT",
        "anthropic|large|cache_read|0|standard|0.30|-1|not taken|the price is impossible",
        "anthropic|large|input|0|standard|3|4|changed|",
        "anthropic|large|output|0|standard|15|15.0|same|",
        "anthropic|large|reasoning|128000|flex||9|new|",
        "anthropic|large|thinking|0|standard||9|not taken|thinking is no usage type",
        "|nobody|input|0|standard||2|not taken|names no provider or no model",
        "anthropic|twice|input|0|standard||1|not taken|the list has two prices, 1 and 2",
    ];
    assert_eq!(import(""), expected);
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.token_prices ORDER BY 3, 5"),
        before
    );
    assert_eq!(import(", false"), expected);
    assert_eq!(
        db.lines(
            "SELECT usd_per_million, effective_from AT TIME ZONE 'UTC', effective_to AT TIME ZONE 'UTC'
             FROM agent_metrics.token_prices WHERE usage_type = 'input' AND model = 'large' ORDER BY 2"
        ),
        [
            "3|-infinity|2026-06-01 00:00:00",
            "4|2026-06-01 00:00:00|2027-01-01 00:00:00",
            "5|2027-01-01 00:00:00|infinity"
        ]
    );
    assert_eq!(
        db.lines("SELECT note FROM agent_metrics.token_prices WHERE usage_type = 'reasoning'"),
        ["from the web page"]
    );
    // a price that was wrong from its first moment on is written over
    db.exec(
        r#"SELECT agent_metrics.import_prices('[{"provider": "anthropic", "model": "large", "usage_type": "input",
               "usd_per_million": 4.5}]', '2026-06-01 00:00+00', dry_run => false)"#,
    );
    assert_eq!(
        db.lines(
            "SELECT usd_per_million FROM agent_metrics.token_prices
             WHERE usage_type = 'input' AND model = 'large' ORDER BY effective_from"
        ),
        ["3", "4.5", "5"]
    );
    // no turn was touched, and none is
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.agent_events WHERE cost_usd IS NOT NULL",
    );
}

#[test]
fn what_is_no_price_list_is_refused() {
    let db = db("price_list_refused");
    for list in [
        "5",
        "[5]",
        "\"prices\"",
        r#"[{"provider": "p", "model": "m", "usage_type": "input", "usd_per_million": "cheap"}]"#,
    ] {
        for more in ["", ", dry_run => false"] {
            assert_explained(
                &db,
                &format!("SELECT agent_metrics.import_prices($list${list}$list${more})"),
                "22023",
                "no price",
            );
        }
    }
    assert_no_rows(&db, "SELECT * FROM agent_metrics.token_prices");
}
