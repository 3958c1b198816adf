//! A newcomer's road: a log as a company has it, a CRM's table, an invoice, a channel, and at the end four tiles whose
//! numbers plain SQL gives too, and an alert that arrived. At most eight commands.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::alerts::outbox::Receiver;
use crate::support::asserts::assert_verified;
use crate::support::golden;
use crate::support::program::command;
use crate::support::{Session, empty_db};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The prices that the invoice was made with.
const PRICES: &str = "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million) VALUES
    ('openai', 'gpt-4o-mini-2024-07-18', 'input', 0.15), ('openai', 'gpt-4o-mini-2024-07-18', 'cache_read', 0.075),
    ('openai', 'gpt-4o-mini-2024-07-18', 'output', 0.6), ('openai', 'gpt-4o-2024-08-06', 'input', 2.5),
    ('openai', 'gpt-4o-2024-08-06', 'cache_read', 1.25), ('openai', 'gpt-4o-2024-08-06', 'output', 10)";

/// The tiles by plain SQL over what the company has: the CRM's word before the bot's, thirty report days to yesterday.
const PLAIN: &str = "
    WITH turn AS (
        SELECT l.session, l.status, l.model, l.prompt_tokens::numeric AS input, l.cached_tokens::numeric AS cached,
               l.completion_tokens::numeric AS output,
               to_timestamp(l.ts, 'DD.MM.YYYY HH24:MI:SS')::timestamp AT TIME ZONE 'Europe/Berlin' AS at
        FROM raw.log l
    ), conversation AS (
        SELECT t.session, min(t.at) AS begun,
               (array_agg(t.status ORDER BY t.at DESC) FILTER (WHERE t.status <> ''))[1] AS label
        FROM turn t GROUP BY 1
    ), judged AS (
        SELECT CASE coalesce(k.status, c.label) WHEN 'solved' THEN 1 WHEN 'SOLVED' THEN 1 ELSE 0 END AS success
        FROM conversation c
        LEFT JOIN crm.tickets k ON k.chat_session = c.session AND k.solved_at IS NOT NULL
        WHERE coalesce(k.status, c.label) IS NOT NULL AND c.begun >= current_date - 30 AND c.begun < current_date
    ), cost AS (
        SELECT sum((t.input - t.cached) * p.i + t.cached * p.c + t.output * p.o) / 1000000 AS usd
        FROM turn t
        JOIN (VALUES ('gpt-4o-mini-2024-07-18', 0.15, 0.075, 0.6),
                     ('gpt-4o-2024-08-06', 2.5, 1.25, 10)) p (model, i, c, o)
            ON p.model = t.model
        WHERE t.at >= current_date - 30 AND t.at < current_date
    )
    SELECT round(avg(j.success), 9), round((SELECT c.usd FROM cost c) / sum(j.success), 9), round(avg(j.success), 9)
    FROM judged j";

fn copy(session: &Session, table: &str, columns: &str, file: &std::path::Path) {
    let types: Vec<String> = columns
        .split(' ')
        .map(|column| format!("\"{column}\" text"))
        .collect();
    session.exec(&format!("CREATE TABLE {table} ({})", types.join(", ")));
    session.copy_csv(
        table,
        std::fs::read_to_string(file).unwrap().replace(';', ","),
    );
}

#[test]
fn a_newcomer_has_four_tiles_and_an_alert_in_eight_commands() {
    let script = golden::path("../shared/cases/bi/make_supportbot_csv.py");
    let Ok(script) = std::fs::read_to_string(&script) else {
        println!("skipped: there is no {}", script.display());
        return;
    };
    // as if it were made today: the tiles are of the last thirty days
    let script = script.replace(
        "d.datetime(2026,11,28,9,0)",
        "d.datetime.now().replace(microsecond=0)",
    );
    let folder = std::env::temp_dir().join(format!("am_road_{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let paths = ["log.csv", "tickets.csv", "invoice.json"].map(|name| folder.join(name));
    let Ok(made) = Command::new("python3")
        .arg("-c")
        .arg(&script)
        .args(&paths)
        .output()
    else {
        println!("skipped: there is no python3");
        return;
    };
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );

    // what the company has: a warehouse with the CRM's table
    let db = empty_db("road");
    db.exec("SET timezone = 'UTC'; CREATE SCHEMA crm; CREATE SCHEMA raw");
    copy(
        &db,
        "raw.tickets",
        "id status solved_at chat_session requester",
        &paths[1],
    );
    db.exec(
        "CREATE TABLE crm.tickets AS
         SELECT id::bigint, status, nullif(solved_at, '')::timestamptz AS solved_at, chat_session, requester
         FROM raw.tickets;
         ALTER TABLE crm.tickets ADD PRIMARY KEY (id)",
    );
    copy(
        &db,
        "raw.log",
        "ts session msg_no user model prompt_tokens cached_tokens completion_tokens duration_ms tools status error",
        &paths[0],
    );
    let receiver = Receiver::new();
    let begun = Instant::now();
    let run = |arguments: &[&str]| {
        let output = command(db.url(), arguments)
            .env("AGENT_METRICS_SLACK_URL", receiver.url())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };

    // 1
    let (is_done, said) = run(&[
        "init",
        "--no-questions",
        "--agent",
        "support-bot",
        "--kind",
        "support",
        "--owner",
        "Head of Support",
        "--from",
        paths[0].to_str().unwrap(),
        "--time-zone",
        "Europe/Berlin",
        "--label",
        "SOLVED=resolved",
        "--label",
        "HANDOFF=escalated",
        "--label",
        "DROPPED=abandoned",
        "--crm",
        "crm.tickets",
        "--event",
        "solved=resolved",
        "--event",
        "escalated=escalated",
        "--channel",
        "slack=AGENT_METRICS_SLACK_URL",
    ]);
    assert!(is_done, "{said}");
    // 2 and 3, in psql
    db.exec(PRICES);
    let invoice = std::fs::read_to_string(&paths[2]).unwrap();
    db.exec(&format!(
        "SELECT * FROM agent_metrics.import_openai_costs('{invoice}')"
    ));
    // 4
    let (is_done, said) = run(&["refresh"]);
    assert!(is_done, "{said}");
    // 5: delivers what waits
    let (is_done, said) = run(&["once"]);
    assert!(is_done, "{said}");
    // 6: nothing but the scheduler is missing
    let (_, said) = run(&["doctor"]);
    let findings: Vec<&str> = said.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(
        findings
            .iter()
            .all(|found| found.contains("scheduler") || found.contains("breach")),
        "{said}"
    );

    assert!(begun.elapsed() < PATIENCE);
    assert_verified(&db);
    let tile = |metric: &str| {
        db.value(&format!(
            "SELECT round(t.value_30d::numeric, 9) FROM agent_kpi.cfo_tiles t
             WHERE t.agent_id = 'support-bot' AND t.metric = '{metric}'"
        ))
    };
    let plain = db.rows(PLAIN).remove(0);
    assert_eq!(
        [
            tile("task_success_rate"),
            tile("cost_per_unit_usd"),
            tile("deflection_rate")
        ]
        .as_slice(),
        plain.as_slice()
    );
    assert_eq!(
        tile("hallucination_rate"),
        None,
        "nobody has judged anything"
    );
    let alerts = receiver.take();
    assert!(
        alerts
            .iter()
            .any(|alert| alert.body.contains("task_success_rate")),
        "{} alerts",
        alerts.len()
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
