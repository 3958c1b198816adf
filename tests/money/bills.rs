//! Bills of providers: imported once, in cents and dollars, and held against the turns.

use crate::money::prices::{priced, turn};
use crate::support::asserts::assert_no_rows;
use crate::support::db;

const ANTHROPIC: &str = r#"{"data": [{"starting_at": "2026-03-01T00:00:00Z",
                            "ending_at": "2026-03-02T00:00:00Z", "results": [
    {"currency": "USD", "amount": "1.24", "description": "Large - Input", "cost_type": "tokens",
     "model": "large", "token_type": "uncached_input_tokens"},
    {"currency": "USD", "amount": "0.8", "description": "Large - Output", "cost_type": "tokens",
     "model": "large", "token_type": "output_tokens"},
    {"currency": "USD", "amount": "100", "description": "Web search", "cost_type": "web_search",
     "model": null}]}], "has_more": false}"#;

#[test]
fn bills_are_imported_once_in_cents_and_in_dollars() {
    let db = db("prices_bills");
    let import = |function: &str, report: &str| {
        db.lines(&format!(
            "SELECT * FROM agent_metrics.{function}($json${report}$json$)"
        ))
    };
    assert_eq!(
        import("import_anthropic_costs", ANTHROPIC),
        ["3|0|0|1.0204|0|0"]
    );
    assert_eq!(
        import("import_anthropic_costs", ANTHROPIC),
        ["0|3|0|1.0204|0|0"]
    );
    // the provider corrects a line
    assert_eq!(
        import("import_anthropic_costs", &ANTHROPIC.replace("0.8", "0.9")),
        ["0|2|1|1.0214|0|0"]
    );
    assert_eq!(
        db.lines(
            "SELECT model, amount_usd, source FROM agent_metrics.billing_lines ORDER BY amount_usd"
        ),
        [
            "large|0.009|anthropic",
            "large|0.0124|anthropic",
            "|1|anthropic"
        ]
    );
    let openai = r#"{"object": "page", "data": [{"object": "bucket", "start_time": 1772323200,
                     "end_time": 1772409600, "results": [
        {"object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"},
         "line_item": "small-2026, input", "project_id": null},
        {"object": "organization.costs.result", "amount": {"value": 6e-05, "currency": "usd"},
         "line_item": null, "project_id": null}]}], "has_more": false}"#;
    assert_eq!(import("import_openai_costs", openai), ["2|0|0|0.06006|0|0"]);
    assert_eq!(import("import_openai_costs", openai), ["0|2|0|0.06006|0|0"]);
    assert_eq!(
        db.lines(
            "SELECT model, amount_usd, period_start = '2026-03-01 00:00+00'
             FROM agent_metrics.billing_lines WHERE provider = 'openai' ORDER BY 2"
        ),
        ["|0.00006|t", "small-2026|0.06|t"]
    );
    let focus = r#"[{"ServiceProviderName": "Cloud", "ServiceName": "Machines",
                    "BilledCost": "310.50", "BillingCurrency": "USD",
                    "ChargePeriodStart": "2026-03-01T00:00:00Z",
          "ChargePeriodEnd": "2026-04-01T00:00:00Z", "Tags": {"agent_id": "bot"}},
        {"ProviderName": "Cloud", "ServiceName": "Disks", "BilledCost": -3,
         "BillingCurrency": "USD", "ChargePeriodStart": "2026-03-01 00:00:00Z",
         "ChargePeriodEnd": "2026-04-01 00:00:00Z"},
        {"ProviderName": "Cloud", "ServiceName": "Models", "BilledCost": 31,
         "BillingCurrency": "USD", "ChargePeriodStart": "2026-03-01T00:00:00Z",
         "ChargePeriodEnd": "2026-04-01T00:00:00Z", "x_Model": "large"}]"#;
    // cents, however they are written
    let written = ANTHROPIC.replace("\"1.24\"", "\"0.124e1\"");
    assert_ne!(written, ANTHROPIC);
    import("import_anthropic_costs", ANTHROPIC);
    assert_eq!(
        import("import_anthropic_costs", &written),
        import("import_anthropic_costs", ANTHROPIC)
    );
    assert_eq!(import("import_focus", focus), ["3|0|0|338.50|0|0"]);
    assert_eq!(import("import_focus", focus), ["0|3|0|338.50|0|0"]);
    assert_eq!(
        db.lines(
            "SELECT agent_id, amount_usd, provider, service, source
             FROM agent_metrics.infrastructure_costs ORDER BY amount_usd"
        ),
        ["|-3|Cloud|Disks|focus", "bot|310.50|Cloud|Machines|focus"]
    );
    assert_eq!(
        db.lines(
            "SELECT model, amount_usd FROM agent_metrics.billing_lines WHERE source = 'focus'"
        ),
        ["large|31"]
    );
    assert_eq!(
        db.lines(
            "SELECT sum(billed_usd), count(*)
             FROM agent_kpi.cost_reconciliation WHERE provider = 'Cloud'"
        ),
        ["31|31"]
    );
}

#[test]
fn turns_and_bills_are_held_against_each_other() {
    let db = priced("prices_reconcile");
    db.exec("SELECT agent_metrics.register_agent('team', 'support', 'Head of Support', actor => 'human')");
    turn(&db, "a", "2026-03-01 23:59+00", "'large'", "NULL");
    turn(&db, "b", "2026-03-02 00:00+00", "'large'", "NULL");
    turn(&db, "c", "2026-03-02 10:00+00", "'new'", "NULL");
    db.exec(
        "UPDATE agent_metrics.agent_events SET is_eval = true WHERE conversation_id = 'b';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd)
         VALUES ('team', '2026-03-01 10:00+00', 't', 40)",
    );
    db.exec("SELECT agent_metrics.price_events()");
    // no bill, nothing to hold against
    assert_no_rows(&db, "SELECT * FROM agent_kpi.cost_reconciliation");
    db.exec(&format!(
        "SELECT agent_metrics.import_anthropic_costs($json${ANTHROPIC}$json$)"
    ));
    db.exec(
        "INSERT INTO agent_metrics.billing_lines (
             provider, model, period_start, period_end, amount_usd)
         VALUES
             ('anthropic', 'large', '2026-03-02 00:00+00', '2026-03-03 00:00+00', 0.0255),
             ('anthropic', 'new', '2026-03-02 00:00+00', '2026-03-03 00:00+00', 2)",
    );
    assert_eq!(
        db.lines(
            "SELECT day, provider, model, turns, unpriced_turns, events_usd, computed_usd,
                    billed_usd, variance_usd, variance_percent, explanation
             FROM agent_kpi.cost_reconciliation ORDER BY day, model"
        ),
        [
            "2026-03-01|anthropic|large|1|0|0.0204|0.0204|0.0204|0|0|they agree",
            "2026-03-01|anthropic||0|0|||1|1|100|no turns for this bill",
            "2026-03-02|anthropic|large|1|0|0.0204|0.0204|0.0255|0.0051|20|not explained",
            "2026-03-02|anthropic|new|1|1|||2|2|100|1 turns have no cost",
        ]
    );
}

#[test]
fn who_asks_for_one_month_of_money_reads_one_month() {
    let db = priced("prices_months");
    let role = format!("{}_reader", db.name());
    db.exec(&format!(
        "SELECT agent_metrics.register_agent('other', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, provider, model, token_usage_input, cost_usd)
         SELECT a, '2026-01-01 00:00+00'::timestamptz + n * interval '6 hours', 'c' || n, 'anthropic',
                CASE WHEN n % 3 = 0 THEN 'new' ELSE 'large' END, 10, CASE WHEN n % 3 > 0 THEN n END
         FROM generate_series(0, 719) AS n, unnest(ARRAY['bot', 'other']) AS a;
         INSERT INTO agent_metrics.billing_lines (provider, model, period_start, period_end, amount_usd)
         SELECT 'anthropic', 'large', m, m + interval '1 month', 100
         FROM generate_series('2026-01-01 00:00+00'::timestamptz, '2026-06-01', '1 month') AS m;
         INSERT INTO agent_metrics.billing_lines (provider, model, period_start, period_end, amount_usd)
         VALUES ('cloud', 'x', '2026-02-20 12:00+00', '2026-03-02 12:00+00', 10);
         CREATE ROLE {role}; SELECT agent_metrics.grant_access('{role}', 'reader')"
    ));
    // the months of years that came at once
    while db.value("SELECT agent_metrics.partition_step()").is_some() {}
    // a month of the view, by the function: the same rows, whatever the edges
    for (from, to) in [
        ("'2026-03-01'", "'2026-03-31'"),
        ("'2026-02-28'", "'2026-03-02'"),
        ("'2026-06-30'", "'2026-12-31'"),
        ("'2025-01-01'", "'2025-12-31'"),
        ("NULL", "'2026-01-02'"),
        ("'2026-06-29'", "NULL"),
    ] {
        let sql = |source: &str, more: &str| {
            format!(
                "SELECT to_jsonb(r) FROM {source} r WHERE true {more} ORDER BY r.day, r.provider, r.model"
            )
        };
        assert_eq!(
            db.lines(&sql(
                &format!("agent_metrics_internal.kpi_cost_reconciliation({from}, {to})"),
                ""
            )),
            db.lines(&sql(
                "agent_kpi.cost_reconciliation",
                &format!(
                    "AND r.day >= coalesce({from}, '-infinity'::date)
                         AND r.day <= coalesce({to}, 'infinity'::date)"
                )
            )),
            "{from} {to}"
        );
    }
    assert_eq!(
        db.lines(
            "SELECT count(*), round(sum(billed_usd), 6), sum(turns)
             FROM agent_metrics_internal.kpi_cost_reconciliation('2026-03-01', '2026-03-31')"
        ),
        ["64|101.500000|248"]
    );
    // a day in UTC has 24 hours, whatever the reader's zone does that day
    let all = "SELECT to_jsonb(r) FROM agent_kpi.cost_reconciliation r ORDER BY r.day, r.provider, r.model";
    let in_utc = db.lines(all);
    db.exec("SET TimeZone = 'America/New_York'");
    assert_eq!(db.lines(all), in_utc);
    db.exec("RESET TimeZone");
    // what was read, by the server's own count of scans in this transaction
    let read = |sql: &str| {
        // the counts of a session outlive its transactions for a while, so each question has a session of its own
        let reader = db.session();
        reader.exec(&format!("BEGIN; SET LOCAL ROLE {role}"));
        let rows = reader.lines(sql).len();
        reader.exec("RESET ROLE");
        let parts = reader.lines(
            "SELECT relname FROM pg_stat_xact_user_tables
             WHERE relid IN (SELECT inhrelid FROM pg_inherits
                             WHERE inhparent = 'agent_metrics.agent_events'::regclass)
             AND seq_scan + coalesce(idx_scan, 0) > 0 ORDER BY 1",
        );
        (rows, parts)
    };
    let march = vec!["agent_events_y2026m03".to_owned()];
    assert_eq!(
        read(
            "SELECT * FROM agent_metrics_internal.kpi_cost_reconciliation('2026-03-01', '2026-03-31')"
        ),
        (64, march.clone())
    );
    assert_eq!(
        read(
            "SELECT * FROM agent_metrics_internal.kpi_unpriced_models('2026-03-01 00:00+00', '2026-04-01 00:00+00')"
        ),
        (2, march.clone())
    );
    assert_eq!(
        read(
            "SELECT * FROM agent_metrics_internal.kpi_unpriced_models(
                 '2026-03-01 00:00+00', '2026-04-01 00:00+00', 'bot')
             WHERE turns > 0"
        ),
        (1, march)
    );
    assert!(read("SELECT * FROM agent_kpi.cost_reconciliation").1.len() >= 6);
    assert!(
        !read("SELECT * FROM agent_kpi.unpriced_models")
            .1
            .contains(&"agent_events_y2026m01".to_owned())
    );
    // and by the plan of the question that the function asks
    let plan = db
        .lines(
            "EXPLAIN (COSTS off) SELECT count(*)
             FROM agent_metrics.agent_events e WHERE e.occurred_at >= '2026-03-01 00:00+00'
                                                 AND e.occurred_at < '2026-04-01 00:00+00'",
        )
        .join("\n");
    assert!(
        plan.contains("agent_events_y2026m03") && plan.matches(" on agent_events").count() == 1,
        "{plan}"
    );
    for sql in [
        "SELECT agent_metrics_internal.kpi_cost_reconciliation('2026-03-31', '2026-03-01')",
        "SELECT agent_metrics_internal.kpi_unpriced_models('2026-03-31', '2026-03-01')",
        "SELECT agent_metrics_internal.kpi_unpriced_models(NULL, '2026-03-01')",
    ] {
        let error = db.error(sql);
        assert!(
            error.sqlstate == "22023" && !error.detail.is_empty() && !error.hint.is_empty(),
            "{error}"
        );
    }
    db.exec(&format!(
        "SELECT agent_metrics.revoke_access('{role}'); DROP ROLE {role}"
    ));
}

#[test]
fn a_bill_agrees_to_half_a_cent() {
    let db = priced("bills_half_a_cent");
    for (day, cost) in [(1, "10"), (2, "0.3"), (3, "10.0049"), (4, "10"), (5, "10")] {
        turn(
            &db,
            &format!("c{day}"),
            &format!("2026-03-0{day} 10:00+00"),
            "'large'",
            cost,
        );
    }
    // 0.1 + 0.2 as a program writes it, an invoice in whole cents, half a cent, and more than that
    let line = |day: i64, value: &str| {
        let start = 1_772_323_200 + (day - 1) * 86_400;
        format!(
            "{{\"start_time\": {start}, \"end_time\": {}, \"results\": [{{\"line_item\": \"large, input\",
               \"amount\": {{\"value\": {value}, \"currency\": \"usd\"}}}}]}}",
            start + 86_400
        )
    };
    let lines = [
        line(1, "10.000000000000002"),
        line(2, "0.30000000000000004"),
        line(3, "10.00"),
        line(4, "10.005"),
        line(5, "10.0051"),
    ];
    db.exec(&format!(
        "UPDATE agent_metrics.agent_events SET provider = 'openai';
         SELECT agent_metrics.import_openai_costs($json${{\"data\": [{}]}}$json$)",
        lines.join(", ")
    ));
    assert_eq!(
        db.lines("SELECT extract(day FROM day), explanation FROM agent_kpi.cost_reconciliation ORDER BY day"),
        ["1|they agree", "2|they agree", "3|they agree", "4|they agree", "5|not explained"]
    );
}
