//! FOCUS exports: columns as a file or a table has them, what is a model's bill, what covers which time.

use crate::support::asserts::assert_explained;
use crate::support::{Session, db};

/// A row of an export, with more columns or other values as given: JSON without the outer braces.
fn row(more: &str) -> String {
    let base = serde_json::json!({
        "BilledCost": "1.50", "BillingCurrency": "USD", "BillingAccountId": "123", "ChargeCategory": "Usage",
        "ChargePeriodStart": "2026-03-05T00:00:00Z", "ChargePeriodEnd": "2026-03-06T00:00:00Z",
        "ProviderName": "AWS", "ServiceName": "Machines", "ServiceCategory": "Compute", "ResourceId": "r1",
    });
    let more: serde_json::Value = serde_json::from_str(&format!("{{{more}}}")).unwrap();
    let mut row = base.as_object().unwrap().clone();
    row.extend(more.as_object().unwrap().clone());
    serde_json::Value::Object(row).to_string()
}

/// A row of a day of March 2026.
fn on(day: u32, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    row(&format!(
        "\"ChargePeriodStart\": \"2026-03-{day:02}T00:00:00Z\",
         \"ChargePeriodEnd\": \"2026-03-{:02}T00:00:00Z\"{comma}{more}",
        day + 1
    ))
}

const MONTH: &str = "\"ChargePeriodStart\": \"2026-03-01T00:00:00Z\", \"ChargePeriodEnd\": \"2026-04-01T00:00:00Z\"";

/// What an import answers: stored, repeated, corrected, dollars, removed, refused.
fn import(session: &Session, rows: &[String]) -> String {
    session
        .lines(&format!(
            "SELECT * FROM agent_metrics.import_focus($json$[{}]$json$)",
            rows.join(", ")
        ))
        .remove(0)
}

fn infrastructure(session: &Session) -> String {
    session
        .lines("SELECT count(*), sum(amount_usd) FROM agent_metrics.infrastructure_costs")
        .remove(0)
}

#[test]
fn an_export_is_read_as_a_csv_file_and_a_table_have_it() {
    let db = db("focus_csv");
    // as COPY brings it: text columns, names in lower case, JSON as text
    db.exec(
        "CREATE TABLE export (BilledCost text, BillingCurrency text, Charge_Period_Start text, ChargePeriodEnd text,
                              ProviderName text, ServiceName text, Tags text, SkuPriceDetails text, x_Model text)",
    );
    db.copy_csv(
        "export",
        "a,b,c,d,e,f,g,h,i\n\
         1.5,USD,2026-03-05T00:00Z,2026-03-06T00:00Z,AWS,Machines,\"{\"\"agent_id\"\": \"\"bot\"\"}\",,\n\
         2,usd,2026-03-05 00:00:00+00,2026-03-06 00:00:00+00,AWS,Machines,,\"{\"\"Model\"\": \"\"gpt\"\"}\",\n\
         3,USD,2026-03-05T00:00:00Z,2026-03-06T00:00:00Z,AWS,Machines,\
         \"[{\"\"key\"\": \"\"Model\"\", \"\"value\"\": \"\"by-tag\"\"}]\",,\n\
         4,USD,2026-03-05T00:00:00Z,2026-03-06T00:00:00Z,AWS,Machines,{broken,not json,by-column\n",
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.import_focus((SELECT jsonb_agg(to_jsonb(t)) FROM export t))"),
        ["4|0|0|10.5|0|0"]
    );
    assert_eq!(
        db.lines("SELECT agent_id, service, amount_usd FROM agent_metrics.infrastructure_costs"),
        ["bot|Machines|1.5"]
    );
    assert_eq!(
        db.lines(
            "SELECT model, amount_usd, account FROM agent_metrics.billing_lines ORDER BY amount_usd"
        ),
        ["gpt|2|AWS", "by-tag|3|AWS", "by-column|4|AWS"]
    );
    for column in [
        "BilledCost",
        "BillingCurrency",
        "Charge_Period_Start",
        "ProviderName",
    ] {
        assert_explained(
            &db,
            &format!(
                "SELECT agent_metrics.import_focus((SELECT jsonb_agg(to_jsonb(t) - lower('{column}')) FROM export t))"
            ),
            "22023",
            &format!("no row has the column {}", column.replace('_', "")),
        );
    }
}

#[test]
fn services_that_run_models_are_bills_of_models() {
    let db = db("focus_services");
    db.exec(
        "INSERT INTO agent_metrics.model_services (service_name, model_provider)
         VALUES ('Our GPU farm%', 'farm'), ('Speech to text', NULL);
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('azure', 'gpt 4o Inp glbl Tokens', 'input', 1)",
    );
    let ai = "\"ServiceCategory\": \"AI and Machine Learning\"";
    let rows = [
        (
            "\"ServiceName\": \"Amazon Bedrock\"".to_owned(),
            "aws.bedrock|",
        ),
        (
            "\"ServiceName\": \"AMAZON BEDROCK AGENTS\"".to_owned(),
            "aws.bedrock|",
        ),
        (
            "\"ServiceName\": \"Sonnet X (Amazon Bedrock Edition)\"".to_owned(),
            "aws.bedrock|",
        ),
        (
            "\"ServiceName\": \"Vertex AI\", \"ProviderName\": \"Google Cloud\"".to_owned(),
            "gcp.vertex_ai|",
        ),
        (
            "\"ServiceName\": \"Azure OpenAI\", \"ProviderName\": \"Microsoft\"".to_owned(),
            "azure.ai.openai|",
        ),
        (
            "\"ServiceName\": \"Azure OpenAI Service\", \"SkuMeter\": \"gpt 4o Inp glbl Tokens\""
                .to_owned(),
            "azure.ai.openai|gpt 4o Inp glbl Tokens",
        ),
        (
            "\"ServiceName\": \"Azure OpenAI\", \"SkuMeter\": \"Input tokens\"".to_owned(),
            "azure.ai.openai|",
        ),
        (
            "\"ServiceName\": \"Azure AI Foundry Models\"".to_owned(),
            "azure.ai.inference|",
        ),
        (
            "\"ServiceName\": \"API\", \"ProviderName\": \"Anthropic, PBC\"".to_owned(),
            "anthropic|",
        ),
        (
            "\"ServiceName\": \"Marketplace\", \"PublisherName\": \"Anthropic\"".to_owned(),
            "anthropic|",
        ),
        (format!("\"ServiceName\": \"Something new\", {ai}"), "AWS|"),
        ("\"ServiceName\": \"Our GPU farm 7\"".to_owned(), "farm|"),
        (
            "\"ServiceName\": \"Machines\", \"x_Model\": \"own\"".to_owned(),
            "AWS|own",
        ),
        (
            format!("\"ServiceName\": \"Speech to text\", {ai}"),
            "infrastructure",
        ),
        ("\"ServiceName\": \"Machines\"".to_owned(), "infrastructure"),
    ];
    for (more, expected) in &rows {
        import(&db, &[row(more)]);
        assert_eq!(
            db.lines(
                "SELECT concat(provider, '|', model) FROM agent_metrics.billing_lines
                 UNION ALL SELECT 'infrastructure' FROM agent_metrics.infrastructure_costs"
            ),
            [*expected],
            "{more}"
        );
        db.exec("DELETE FROM agent_metrics.billing_lines; DELETE FROM agent_metrics.infrastructure_costs");
    }
    // a service that becomes a model's takes its rows along
    let mine = [row("\"ServiceName\": \"Late\"")];
    assert_eq!(import(&db, &mine), "1|0|0|1.50|0|0");
    db.exec("INSERT INTO agent_metrics.model_services (service_name, model_provider) VALUES ('Late', 'farm')");
    import(&db, &mine);
    assert_eq!(infrastructure(&db), "0|");
    assert_eq!(
        db.lines("SELECT provider, amount_usd FROM agent_metrics.billing_lines"),
        ["farm|1.50"]
    );
}

#[test]
fn an_export_replaces_the_days_that_it_has() {
    let db = db("focus_days");
    let grown =
        |cost: &str| format!("\"BilledCost\": \"{cost}\", \"ConsumedQuantity\": \"{cost}\"");
    // the month to date, day by day, each day as far as it had gone
    for (cost, answer) in [
        ("1.5", "1|0|0|1.5|0|0"),
        ("3", "0|0|1|3|0|0"),
        ("3.00", "0|1|0|3.00|0|0"),
    ] {
        assert_eq!(import(&db, &[on(5, &grown(cost))]), answer);
    }
    assert_eq!(
        import(&db, &[on(5, ""), on(6, ""), on(7, "")]),
        "2|0|1|4.50|0|0"
    );
    // hours of a day are that day; what is no longer there is gone
    let hour = |hour: u32| {
        on(
            5,
            &format!(
                "\"ChargePeriodStart\": \"2026-03-05T{hour:02}:00:00Z\",
                 \"ChargePeriodEnd\": \"2026-03-05T{:02}:00:00Z\"",
                hour + 1
            ),
        )
    };
    assert_eq!(import(&db, &[hour(0), hour(1), hour(2)]), "3|0|0|4.50|1|0");
    assert_eq!(import(&db, &[hour(0), hour(1)]), "0|2|0|3.00|1|0");
    assert_eq!(infrastructure(&db), "4|6.00");
    // another account of the same biller, another biller with the same account, an export of a part of one
    for more in [
        "\"BillingAccountId\": \"456\"",
        "\"ProviderName\": \"Microsoft\"",
    ] {
        assert!(import(&db, &[on(5, more)]).starts_with("1|0|0|1.50|0|"));
    }
    db.exec(&format!(
        "SELECT agent_metrics.import_focus($json$[{}]$json$, account => 'subscription 7')",
        on(5, "")
    ));
    assert_eq!(infrastructure(&db), "7|10.50");
}

#[test]
fn a_month_and_its_days_are_not_counted_twice() {
    let db = db("focus_month");
    // a day alone, then the month in one row
    import(&db, &[on(5, ""), on(6, "")]);
    let month = row(&format!("{MONTH}, \"BilledCost\": \"31\""));
    assert_eq!(import(&db, &[month.clone()]), "1|0|0|31|2|0");
    // a day of it would be a part of what is known
    assert_eq!(import(&db, &[on(5, "")]), "0|0|0|0|0|1");
    assert_eq!(
        db.lines("SELECT reason FROM agent_kpi.refused_bills"),
        [
            "31 usd of 2026-03-01 00:00:00+00 to 2026-04-01 00:00:00+00 are known, of which it is a part: \
             import a report \
          of all that time"
        ]
    );
    assert_eq!(infrastructure(&db), "1|31");
    // all of its days are more than it
    let days: Vec<String> = (1..=30)
        .map(|day| on(day, ""))
        .chain([row("\"ChargePeriodStart\": \"2026-03-31T00:00:00Z\", \"ChargePeriodEnd\": \"2026-04-01T00:00:00Z\"")])
        .collect();
    assert_eq!(import(&db, &days), "31|0|0|46.50|1|0");
    assert_eq!(infrastructure(&db), "31|46.50");
    // beside use by the day, a row over the month is a subscription, which comes with each day
    let seat = row(&format!(
        "{MONTH}, \"BilledCost\": \"100\", \"ServiceName\": \"Seats\""
    ));
    assert_eq!(import(&db, &[on(6, ""), seat.clone()]), "1|1|0|101.50|0|0");
    assert_eq!(import(&db, &[on(7, ""), seat.clone()]), "0|2|0|101.50|0|0");
    assert_eq!(import(&db, &[on(8, "")]), "0|1|0|1.50|0|0");
    assert_eq!(infrastructure(&db), "32|146.50");
    // the whole month without it: it is gone
    assert_eq!(import(&db, &days), "0|31|0|46.50|1|0");
}

#[test]
fn taxes_credits_and_commitments_are_money_and_no_usage() {
    let db = db("focus_charges");
    let bedrock = "\"ServiceName\": \"Amazon Bedrock\"";
    let moment = "\"ChargePeriodStart\": \"2026-03-05T00:00:00Z\", \"ChargePeriodEnd\": \"2026-03-05T00:00:00Z\"";
    let other = |category: &str, cost: &str, more: &str| {
        row(&format!(
            "{bedrock}, \"ChargeCategory\": \"{category}\", \"BilledCost\": \"{cost}\", {more}"
        ))
    };
    let rows = [
        on(
            5,
            &format!("{bedrock}, \"x_Model\": \"sonnet\", \"BilledCost\": \"10\""),
        ),
        other("Tax", "1", moment),
        other("Credit", "-2", moment),
        other("Purchase", "100", MONTH),
        other("Adjustment", "0.5", "\"ChargePeriodEnd\": null"),
        other("Usage", "0.25", moment),
    ];
    assert_eq!(import(&db, &rows), "6|0|0|109.75|0|0");
    assert_eq!(
        db.lines(
            "SELECT charge, amount_usd, period_end - period_start FROM agent_metrics.billing_lines ORDER BY charge, 2"
        ),
        [
            "adjustment|0.25|00:00:01",
            "adjustment|0.5|00:00:01",
            "credit|-2|00:00:01",
            "purchase|100|31 days",
            "tax|1|00:00:01",
            "usage|10|1 day"
        ]
    );
    assert_eq!(import(&db, &rows), "0|6|0|109.75|0|0");
    // the tax of another moment replaces no use of that day, nor the other way round
    assert_eq!(import(&db, &[other("Tax", "1.5", moment)]), "0|0|1|1.5|3|0");
    assert_eq!(infrastructure(&db), "0|");
    assert_eq!(
        db.number("SELECT sum(amount_usd) FROM agent_metrics.billing_lines WHERE charge = 'usage'"),
        10.0
    );
    // turns are held against use alone
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, provider, model, cost_usd)
         VALUES ('bot', '2026-03-05 10:00+00', 'c', 'bedrock', 'sonnet', 10)",
    );
    assert_eq!(
        db.lines(
            "SELECT provider, model, events_usd, round(billed_usd, 6), explanation FROM agent_kpi.cost_reconciliation
             WHERE day = '2026-03-05' ORDER BY model"
        ),
        [
            "aws.bedrock|sonnet|10|10.000000|they agree",
            "aws.bedrock|||4.725806|no usage: taxes, credits or commitments"
        ]
    );
    // where the bill names no model, it is held against all of them
    import(
        &db,
        &[on(6, &format!("{bedrock}, \"BilledCost\": \"12\"")), {
            other(
                "Tax",
                "1",
                "\"ChargePeriodStart\": \"2026-03-06T08:00:00Z\", \"ChargePeriodEnd\": null",
            )
        }],
    );
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, provider, model, cost_usd)
         VALUES ('bot', '2026-03-06 10:00+00', 'c', 'aws.bedrock', 'sonnet', 10),
                ('bot', '2026-03-06 11:00+00', 'c', 'AWS', 'haiku', 2);
         DELETE FROM agent_metrics.billing_lines WHERE charge = 'purchase'",
    );
    assert_eq!(
        db.lines(
            "SELECT provider, model, turns, events_usd, round(billed_usd, 6), explanation
             FROM agent_kpi.cost_reconciliation WHERE day = '2026-03-06'"
        ),
        ["aws.bedrock||2|12|13.000000|they agree but for 1 usd of taxes, credits and commitments"]
    );
}

#[test]
fn one_bad_row_of_an_export_stops_no_other() {
    let db = db("focus_bad");
    let bad = [
        "\"BillingCurrency\": \"EUR\"",
        "\"BillingCurrency\": null",
        "\"BilledCost\": \"much\"",
        "\"ChargePeriodStart\": \"the 1st\"",
        "\"ChargePeriodStart\": \"now\"",
        "\"ChargePeriodStart\": \"2026-13-01\"",
        "\"ChargePeriodStart\": null",
        "\"ChargePeriodEnd\": \"2026-03-04T00:00:00Z\"",
        "\"ChargePeriodEnd\": null",
        "\"ProviderName\": null",
    ];
    let mut rows: Vec<String> = bad.iter().map(|more| row(more)).collect();
    rows.push(row(&format!("\"ServiceName\": \"{}\"", "x".repeat(300))));
    rows.push(row(""));
    assert_eq!(
        import(&db, &rows),
        format!("1|0|0|1.50|0|{}", bad.len() + 1)
    );
    assert_eq!(
        db.number("SELECT count(*) FROM agent_kpi.refused_bills"),
        (bad.len() + 1) as f64
    );
    for (report, words) in [
        ("{}", "no FOCUS rows"),
        ("[5]", "no FOCUS rows"),
        ("[{}]", "no row has the column"),
    ] {
        assert_explained(
            &db,
            &format!("SELECT agent_metrics.import_focus('{report}')"),
            "22023",
            words,
        );
    }
    assert_eq!(import(&db, &[]), "0|0|0|0|0|0");
}
