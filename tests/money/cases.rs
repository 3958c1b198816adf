//! Shapes that real tools write, with their right values: small inputs of `../shared/cases/ingest`, each run as it is.
//! The same kinds stand on their own in reports.rs, focus.rs, tiers.rs and price_list.rs.

use crate::support::{Db, db, golden};

/// A database with the agent and the made-up prices of the cases; None where the cases are not.
fn prepared(name: &str) -> Option<(Db, impl Fn(&str) -> String)> {
    let folder = golden::path("../shared/cases/ingest");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return None;
    }
    let read = move |case: &str| {
        let path = folder.join(format!("{case}.sql"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let db = db(name);
    let setup = read("setup");
    let (_, after) = setup.split_once("agent_metrics.setup();").unwrap();
    db.exec(after);
    Some((db, read))
}

#[test]
fn a_report_that_comes_again_counts_once() {
    let Some((db, case)) = prepared("cases_again") else {
        return;
    };
    assert_eq!(
        db.lines(&case("B01")),
        [
            "openai|1|0|0|0.06|0|0",
            "openai|0|1|0|0.06|0|0",
            "bills|1|0.06",
            "infrastructure|0|"
        ]
    );
    assert_eq!(
        db.lines(&case("B03")),
        [
            "openai|1|0|0|5|0|0",
            "openai|2|0|0|5|1|0",
            "bills|2|5",
            "infrastructure|0|"
        ]
    );
    assert_eq!(
        db.lines(&case("B20")),
        [
            "focus|1|0|0|1.50|0|0",
            "focus|0|0|1|3.00|0|0",
            "3.00",
            "bills|0|",
            "infrastructure|1|3.00"
        ]
    );
}

#[test]
fn amounts_and_pages_of_every_form_are_taken() {
    let Some((db, case)) = prepared("cases_amounts") else {
        return;
    };
    // three reports of one day, of which the last is what the day cost
    assert_eq!(
        db.lines(&case("B04")),
        [
            "openai|1|0|0|12.50|0|0",
            "openai|1|0|0|0.1234567890123456789012345678901234|1|0",
            "openai|1|0|0|0|1|0",
            "bills|1|0",
            "infrastructure|0|"
        ]
    );
    assert_eq!(
        db.lines(&case("B05")),
        ["openai|1|0|0|1|0|0", "bills|1|1", "infrastructure|0|"]
    );
}

#[test]
fn focus_rows_are_read_as_they_are_exported() {
    let Some((db, case)) = prepared("cases_focus") else {
        return;
    };
    assert_eq!(
        db.lines(&case("B21")),
        [
            "focus|2|0|0|3.00|0|0",
            "support-bot|Virtual Machines|1.50",
            "gpt-x|1.50",
            "bills|1|1.50",
            "infrastructure|1|1.50"
        ]
    );
    assert_eq!(
        db.lines(&case("B22")),
        ["1|0|0|1.5|0|0", "bills|0|", "infrastructure|1|1.5"]
    );
    assert_eq!(
        db.lines(&case("B23")),
        [
            "focus|2|0|0|3.50|0|0",
            "bill|azure.ai.openai||2",
            "bill|aws.bedrock||1.50",
            "bills|2|3.50",
            "infrastructure|0|"
        ]
    );
}

#[test]
fn bills_and_turns_meet_under_the_names_that_each_side_uses() {
    let Some((db, case)) = prepared("cases_names") else {
        return;
    };
    let differ = "names differ: all models of the provider together agree";
    let as_it_is = db.lines(&case("B30"));
    assert_eq!(
        as_it_is.iter().filter(|row| row.ends_with(differ)).count(),
        6
    );
    db.exec(
        "INSERT INTO agent_metrics.model_aliases (provider, model, canonical_provider, canonical_model)
         VALUES ('anthropic', 'claude-x-20260101', 'anthropic', 'claude-x'),
                ('azure.ai.openai', 'gpt-x-2026-01-01', 'azure.ai.openai', 'gpt-x'),
                ('aws.bedrock', 'us.sonnet-x', 'aws.bedrock', 'sonnet-x')",
    );
    assert_eq!(
        db.lines(&case("B30"))[3..],
        [
            "anthropic|claude-x|3|3|0|they agree",
            "aws.bedrock|sonnet-x|3|3|0|they agree",
            "azure.ai.openai|gpt-x|2|2|0|they agree",
            "bills|3|8",
            "infrastructure|0|"
        ]
    );
}

#[test]
fn a_span_is_priced_under_another_spelling_of_its_provider() {
    let Some((db, case)) = prepared("cases_spelling") else {
        return;
    };
    let rows = db.lines(&case("T17"));
    assert!(
        rows[1].contains("|OpenAI|gpt-x|1000|100|||1000|0.0028|t|"),
        "{rows:?}"
    );
}

#[test]
fn the_context_tier_that_is_entered_is_the_one_that_counts() {
    let Some((db, case)) = prepared("cases_tier") else {
        return;
    };
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, min_input_tokens)
         VALUES ('anthropic', 'sonnet-x', 'input', 6, 200000), ('anthropic', 'sonnet-x', 'output', 22.5, 200000)",
    );
    let rows = db.lines(&case("T18"));
    assert!(
        rows[1].contains("|300000|1000|||1000|1.8225|t|"),
        "{rows:?}"
    );
}

#[test]
fn a_price_map_has_a_place_for_each_of_its_prices() {
    let Some((db, case)) = prepared("cases_map") else {
        return;
    };
    let script = case("P01");
    let map = script.split("$b$").nth(1).unwrap();
    assert_eq!(
        db.lines(&format!(
            "SELECT usage_type, min_input_tokens, after_usd, change
             FROM agent_metrics.import_prices($map${map}$map$)"
        )),
        [
            "cache_read|0|0.3|new",
            "cache_write|0|3.75|new",
            "cache_write_1h|0|6|new",
            "input|0|3|new",
            "input|200000|6|new",
            "output|0|15|new",
            "output|200000|22.5|new"
        ]
    );
    assert_eq!(
        db.lines(&script)[..4],
        ["cache_read|0.3", "cache_write|3.75", "input|3", "output|15"]
    );
}
