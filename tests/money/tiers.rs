//! What decides a price beside model and kind of token: size of the input, service tier, tokens that are billed apart,
//! and the name under which the price stands. A cost is right, or unknown and listed.

use crate::money::prices::priced;
use crate::support::asserts::{assert_refused, assert_sqlstate};
use crate::support::{Db, db};

/// Costs of turns, each given as the arguments of `turn_cost()`.
fn assert_costs(db: &Db, costs: &[(&str, &str)]) {
    for (arguments, cost) in costs {
        assert_eq!(
            db.value(&format!("SELECT agent_metrics.turn_cost({arguments})"))
                .unwrap_or_default(),
            *cost,
            "{arguments}"
        );
    }
}

#[test]
fn the_size_of_the_input_decides_the_price_of_the_whole_call() {
    let db = priced("tiers_size");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, min_input_tokens)
         VALUES ('anthropic', 'large', 'input', 6, 200000), ('anthropic', 'large', 'output', 22.5, 200000),
                ('anthropic', 'large', 'input', 9, 1000000), ('anthropic', 'large', 'output', 30, 1000000)",
    );
    assert_costs(
        &db,
        &[
            (
                "'anthropic', 'large', now(), 300000, 1000, NULL, NULL",
                "1.8225",
            ),
            ("NULL, 'large', now(), 300000, 1000, NULL, NULL", "1.8225"),
            // "above 200k": 200,000 is not
            ("'anthropic', 'large', now(), 200000, 0, NULL, NULL", "0.6"),
            (
                "'anthropic', 'large', now(), 200001, 0, NULL, NULL",
                "1.200006",
            ),
            // cached tokens count for the size
            (
                "'anthropic', 'large', now(), 200000, 0, 199999, NULL",
                "0.0600027",
            ),
            (
                "'anthropic', 'large', now(), 1000001, 0, NULL, NULL",
                "9.000009",
            ),
            // the tier has no price of its own for what is read from the cache
            (
                "'anthropic', 'large', now(), 300000, 1000, 200001, NULL",
                "",
            ),
            (
                "'anthropic', 'large', now(), 300000, 1000, 0, NULL",
                "1.8225",
            ),
        ],
    );
}

#[test]
fn tokens_that_are_billed_apart_are_taken_out_of_what_they_are_part_of() {
    let db = priced("tiers_apart");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         SELECT 'lab', 'sound', u, p
         FROM (VALUES ('input', 1), ('output', 2), ('cache_read', 0.1), ('audio_input', 10), ('audio_output', 20),
                      ('audio_cache_read', 5), ('reasoning', 3)) AS v (u, p)",
    );
    let large =
        |details: &str| format!("'anthropic', 'large', now(), 11000, 500, 8000, 2000, '{details}'");
    let sound =
        |details: &str| format!("'lab', 'sound', now(), 1000000, 1000000, 500000, 0, '{details}'");
    for (arguments, cost) in [
        (large("{}"), "0.0204"),
        (large(r#"{"reasoning": 300}"#), "0.0204"), // without a price of its own it is output
        (large(r#"{"cache_write_5m": 2000}"#), "0.0204"),
        (large(r#"{"cache_write_1h": 1}"#), ""), // billed at another price, which nobody entered
        (large(r#"{"cache_write_1h": 0, "something": 0}"#), "0.0204"),
        (large(r#"{"audio_input": 1}"#), ""),
        (large(r#"{"something": 1}"#), ""),
        (large(r#"{"reasoning": 501}"#), ""), // more than there are
        (large(r#"{"reasoning": -1}"#), ""),
        (large(r#"{"reasoning": 1.5}"#), ""),
        (large(r#"{"reasoning": "1"}"#), ""),
        (large("[1]"), ""),
        (large("5"), ""),
        (sound("{}"), "2.55"),
        (sound(r#"{"audio_input": 100000}"#), "3.45"),
        (
            sound(r#"{"audio_input": 100000, "audio_output": 500000, "reasoning": 200000}"#),
            "12.65",
        ),
        (sound(r#"{"audio_cache_read": 500000}"#), "5"),
    ] {
        assert_costs(&db, &[(&arguments, cost)]);
    }
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('anthropic', 'large', 'cache_write_1h', 6)",
    );
    assert_costs(&db, &[(&large(r#"{"cache_write_1h": 500}"#), "0.021525")]);
}

#[test]
fn a_service_tier_has_prices_of_its_own_or_none() {
    let db = priced("tiers_service");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, service_tier)
         VALUES ('anthropic', 'large', 'input', 1.5, ' Batch '), ('anthropic', 'large', 'output', 7.5, 'batch')",
    );
    for (tier, cost) in [
        ("NULL", "0.0045"),
        ("''", "0.0045"),
        ("'default'", "0.0045"),
        ("'auto'", "0.0045"),
        ("'ON_DEMAND'", "0.0045"),
        ("'standard'", "0.0045"),
        ("'batch'", "0.00225"),
        ("'BATCH'", "0.00225"),
        ("'flex'", ""),
        ("'priority'", ""),
    ] {
        let arguments =
            format!("'anthropic', 'large', now(), 1000, 100, 0, 0, service_tier => {tier}");
        assert_costs(&db, &[(&arguments, cost)]);
    }
    // one spelling, so that the second is the same price again
    assert_sqlstate(
        &db,
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, service_tier)
         VALUES ('anthropic', 'large', 'input', 2, 'BATCH')",
        "23P01",
    );
    assert_refused(
        &db,
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, min_input_tokens)
         VALUES ('anthropic', 'large', 'input', 2, -1)",
        "22003",
        "impossible tier of -1 input tokens",
    );
}

#[test]
fn names_that_mean_the_same_have_one_price() {
    let db = db("tiers_names");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         SELECT p, m, u, usd
         FROM (VALUES ('openai', 'gpt', 1), ('bedrock', 'sonnet', 2), ('MyHost', 'own', 3), ('azure', 'gpt', 4),
                      ('mistral', 'small', 5), ('mistral_ai', 'small', 6), ('anthropic', 'claude', 7)) AS v (p, m, usd)
         CROSS JOIN unnest(ARRAY['input', 'output']) AS u;
         INSERT INTO agent_metrics.model_aliases (provider, model, canonical_provider, canonical_model) VALUES
             ('anthropic', 'claude-20260101', 'anthropic', 'claude'),
             ('proxy', 'chat', 'openai', 'gpt'),
             ('proxy', NULL, 'MyHost', NULL),
             ('far', NULL, 'proxy', NULL),
             ('round', NULL, 'about', NULL), ('about', NULL, 'round', NULL)",
    );
    for (provider, model, cost) in [
        ("'openai'", "gpt", "1"),
        ("'OpenAI'", "gpt", "1"),
        ("'openai.responses'", "gpt", "1"),
        ("'azure.ai.openai'", "gpt", "4"),
        ("'AWS'", "sonnet", "2"), // the price list has another name of it
        ("'aws.bedrock'", "sonnet", "2"),
        ("'bedrock_converse'", "sonnet", "2"),
        ("'gcp.vertex_ai'", "sonnet", ""), // somebody else's
        ("'myhost'", "own", "3"),
        ("'proxy'", "own", "3"),
        ("'far'", "chat", "1"), // two steps, the second by the model
        ("'far'", "own", "3"),
        ("'mistral'", "small", "5"), // its own name goes first
        ("'mistral_ai'", "small", "6"),
        ("'Mistral AI'", "small", "6"), // then the canonical one
        ("'anthropic'", "claude-20260101", "7"),
        ("'Anthropic'", "claude-20260101", "7"),
        ("NULL", "claude-20260101", "7"),
        ("NULL", "gpt", ""), // two providers have it
        ("'round'", "gpt", ""),
        ("'nobody'", "gpt", ""),
    ] {
        assert_costs(
            &db,
            &[(
                &format!("{provider}, '{model}', now(), 1000000, 0, 0, 0"),
                cost,
            )],
        );
    }
    assert_sqlstate(
        &db,
        "INSERT INTO agent_metrics.model_aliases (provider, canonical_provider) VALUES ('OPENAI', 'other')",
        "23505",
    );
    assert_sqlstate(
        &db,
        "INSERT INTO agent_metrics.model_aliases (provider, canonical_provider, canonical_model)
         VALUES ('all', 'other', 'one')",
        "23514",
    );
}

#[test]
fn what_has_no_price_is_listed_with_what_is_missing() {
    let db = priced("tiers_listed");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, min_input_tokens)
         VALUES ('anthropic', 'large', 'input', 6, 200000);
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, provider, model,
             token_usage_input, token_usage_output, token_usage_cache_write, usage_details, service_tier)
         SELECT 'bot', now() - n * interval '1 minute', 'c' || n, p, m, i, o, w, d::jsonb, s
         FROM (VALUES (1, 'anthropic', 'large', 100, 10, 50, '{\"cache_write_1h\": 20}', NULL),
                      (2, 'anthropic', 'large', 300000, 10, 0, NULL, NULL),
                      (3, 'Anthropic', 'large', 100, 10, 0, NULL, 'flex'),
                      (4, 'anthropic', 'small', 100, 10, 0, NULL, NULL),
                      (5, 'openai', 'large', 100, 10, 0, NULL, NULL),
                      (6, 'anthropic', 'late', 100, 10, 0, NULL, NULL),
                      (7, 'anthropic', 'large', 100, 10, 0, '{\"thoughts\": 5}', NULL),
                      (8, 'anthropic', 'large', 100, 10, 50, '{\"cache_write_1h\": 30}', NULL)
              ) AS v (n, p, m, i, o, w, d, s)",
    );
    db.exec("SELECT agent_metrics.price_events()");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('anthropic', 'late', 'input', 1), ('anthropic', 'late', 'output', 1)",
    );
    assert_eq!(
        db.lines(
            "SELECT provider, model, turns, reason FROM agent_kpi.unpriced_models
             ORDER BY provider COLLATE \"C\", model"
        ),
        [
            "Anthropic|large|1|no price for input, output in service tier flex",
            "anthropic|large|4|no price for cache_write_1h; no price for output of inputs above 200000 tokens; \
             thoughts is no usage type that is billed apart",
            "anthropic|late|1|the price came after the turns",
            "anthropic|small|1|the model has no price",
            "openai|large|1|the provider has no price for the model",
        ]
    );
    // what was missing is entered, and the history is priced when it is told to
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, min_input_tokens,
                                                 service_tier)
         VALUES ('anthropic', 'large', 'cache_write_1h', 6, 0, 'standard'),
                ('anthropic', 'large', 'output', 22.5, 200000, 'standard'),
                ('anthropic', 'large', 'input', 1, 0, 'flex'), ('anthropic', 'large', 'output', 5, 0, 'flex')",
    );
    assert_eq!(
        db.lines(
            "SELECT provider, model, turns, after_usd
             FROM agent_metrics.reprice('bot', now() - interval '1 day', now() + interval '1 day')
             ORDER BY provider COLLATE \"C\", model"
        ),
        [
            "Anthropic|large|1|0.00015",
            "anthropic|large|3|1.8013125",
            "anthropic|late|1|0.00011"
        ]
    );
}

#[test]
fn what_is_billed_apart_is_checked_as_it_is_written() {
    let db = db("tiers_checked");
    let insert = |columns: &str, values: &str| {
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, {columns})
             VALUES ('bot', '2026-03-01 10:00+00', 'c', {values})"
        )
    };
    for details in [
        "{}",
        r#"{"reasoning": 0}"#,
        r#"{"reasoning": 120, "cache_write_1h": 999999999999, "a name with words": 10000}"#,
        r#"{"reasoning": 1100.0, "x": 1e3, "y": 20000.00}"#,
    ] {
        db.exec(&insert("usage_details", &format!("'{details}'")));
    }
    for details in [
        "[]",
        "5",
        "\"x\"",
        r#"{"reasoning": "5"}"#,
        r#"{"reasoning": null}"#,
        r#"{"reasoning": -1}"#,
        r#"{"reasoning": 0.5}"#,
        r#"{"a": 5, "reasoning": 10000.5, "z": 5}"#,
        r#"{"reasoning": 1000000000000}"#,
        r#"{"reasoning": {"low": 5}}"#,
        r#"{"reasoning": true}"#,
    ] {
        let error = assert_refused(
            &db,
            &insert("usage_details", &format!("'{details}'")),
            "23514",
            "usage_details of a turn cannot be a value that is no object of counts",
        );
        assert!(
            !error.detail.is_empty() && !error.hint.is_empty(),
            "{error}"
        );
    }
    db.exec(&insert(
        "service_tier, attributes",
        r#"'flex', '{"channel": "chat", "n": [1, {"a": null}]}'"#,
    ));
    assert_refused(&db, &insert("attributes", "'[]'"), "23514", "no object");
    for column in ["usage_details", "attributes"] {
        assert_refused(
            &db,
            &insert(
                column,
                "(SELECT jsonb_object_agg('key ' || n, n) FROM generate_series(1, 500) AS n)",
            ),
            "22001",
            &format!("{column} cannot be"),
        );
    }
    assert_refused(
        &db,
        &insert("service_tier", "repeat('x', 257)"),
        "22001",
        "service_tier",
    );
    // a random lot of counts is what the server itself says that it is
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, usage_details)
         SELECT 'bot', '2026-03-02 10:00+00', 'r' || n,
                (SELECT jsonb_object_agg(repeat('k', k + n % 3), trunc((random() * 10 ^ (k % 12))::numeric))
                 FROM generate_series(1, n % 20) AS k)
         FROM generate_series(1, 200) AS n",
    );
}
