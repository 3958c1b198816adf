//! Real conversations: every figure of the truth files, which other tools computed, comes out of the views and the
//! aggregates. Real latencies are in fixtures_sketches.rs.
//!
//! Each dataset is loaded as a user would load it: COPY into a staging table, INSERT ... SELECT from there, agents
//! registered, mappings made, one refresh. Then three things have to agree with the truth: the views of `agent_kpi` as far
//! as they have the figure, the aggregates over the raw rows for every figure, and, for what no truth file holds, the
//! oracle of books.rs. `_nearest` is the product's percentile; `_linear`, which is
//! not, and the means are asked of the raw rows, so that the data and how they were loaded are proven.
//!
//! The files lie in `../shared/fixtures` or where `AGENT_METRICS_FIXTURES` says; without them the tests say so and
//! pass, since the data is not to be copied into the project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::support::books::{assert_books, within};
use crate::support::{Db, Session, db};
use crate::trace::assert_traced;

/// Turns without a time are put here, `turn_index` seconds apart; the truth files put them on the day "all".
const CHOSEN_DAY: &str = "2026-01-15";

/// A row of a truth file, or of an answer: values by the name of their column.
pub type Row = BTreeMap<String, String>;

pub fn file(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("AGENT_METRICS_FIXTURES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return None;
    }
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

pub fn truth(name: &str) -> Option<Vec<Row>> {
    let bytes = file(name)?;
    let rows = csv::Reader::from_reader(bytes.as_slice())
        .deserialize()
        .collect::<Result<Vec<Row>, _>>();
    Some(rows.unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Rows of a query, by the value of its first column.
pub fn answers(session: &Session, columns: &[&str], sql: &str) -> BTreeMap<String, Row> {
    let named = |row: Vec<Option<String>>| {
        assert_eq!(row.len(), columns.len(), "{sql}");
        columns
            .iter()
            .map(|name| (*name).to_owned())
            .zip(row.into_iter().map(Option::unwrap_or_default))
            .collect::<Row>()
    };
    session
        .rows(sql)
        .into_iter()
        .map(named)
        .map(|row| (row[columns[0]].clone(), row))
        .collect()
}

/// Compares the columns of an answer with the truth: percentiles within 1/128, all else to nine digits; NULL is "".
pub fn compare(place: &str, truth: &Row, answer: &Row) -> usize {
    let mut compared = 0;
    for (name, ours) in answer.iter().filter(|(name, _)| *name != "key") {
        let theirs = &truth[name];
        let agree = match (theirs.parse::<f64>(), ours.parse::<f64>()) {
            (Ok(theirs), Ok(ours)) if name.ends_with("_nearest") => within(ours, theirs),
            (Ok(theirs), Ok(ours)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-3),
            _ => theirs == ours,
        };
        assert!(
            agree,
            "{place}: {name} is {ours:?}, and should be {theirs:?}"
        );
        compared += 1;
    }
    compared
}

/// Loads a dataset, refreshes, and compares everything. False: there is no data here.
fn check(db: &Db, dataset: &str, kind: &str, actor: &str, mappings: &str) -> bool {
    let Some(turns) = file(&format!("{dataset}/agent_events.csv")) else {
        return false;
    };
    db.exec(
        "SET TimeZone = 'UTC';   -- times without a zone are UTC
         CREATE TEMP TABLE staged_turns (
             event_id text, event_ts timestamptz, agent text, agent_version text, conversation_id text, turn_index integer, user_id text,
             intent_classified text, tools_called jsonb, latency_ms double precision, token_usage_input bigint, token_usage_output bigint,
             cost_usd numeric, outcome_label text, business_event_id text);
         CREATE TEMP TABLE staged_business (
             business_event_id text, event_type text, occurred_at timestamptz, conversation_id text, customer_id text, amount numeric, detail text)",
    );
    let copied = db.copy_csv("staged_turns", turns);
    assert!(copied > 0);
    if let Some(truth) = business_truth(dataset) {
        db.copy_csv(
            "staged_business",
            file(&format!("{dataset}/business_events.csv")).unwrap(),
        );
        assert!(!truth.is_empty());
    }
    db.exec(mappings);
    db.exec(&format!(
        "SELECT agent_metrics.register_agent(agent, '{kind}', 'Head of ' || agent, actor => '{actor}') FROM (SELECT DISTINCT agent FROM staged_turns) a;
         INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, event_id, conversation_id, turn_index, user_id, intent_classified, tools_called, latency_ms,
              token_usage_input, token_usage_output, cost_usd, outcome_label, business_event_id, agent_version)
         SELECT agent, coalesce(event_ts, '{CHOSEN_DAY} 09:00:00+00'::timestamptz + turn_index * interval '1 second'), md5(event_id)::uuid,
                conversation_id, turn_index, user_id, intent_classified, tools_called, latency_ms,
                token_usage_input, token_usage_output, cost_usd, outcome_label, business_event_id, agent_version
         FROM staged_turns;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, customer_id, amount_usd, detail)
         SELECT business_event_id, event_type, coalesce(occurred_at, '{CHOSEN_DAY} 10:00:00+00'), conversation_id, customer_id, amount,
                to_jsonb(detail)   -- some of it looks like JSON and is cut off
         FROM staged_business;
         ANALYZE agent_metrics.agent_events, agent_metrics.business_events"
    ));
    assert_eq!(
        db.number("SELECT sum(events_changed) FROM agent_metrics.refresh()"),
        copied as f64
    );
    assert_books(db);
    assert_traced(db);
    views_by_day(db, dataset);
    let day = format!(
        "replace(min(e.occurred_at) OVER (PARTITION BY e.agent_id, e.conversation_id)::date::text, '{CHOSEN_DAY}', 'all')"
    );
    raw(
        db,
        dataset,
        "truth_by_agent_day.csv",
        "conversation_day",
        &day,
    );
    raw(
        db,
        dataset,
        "truth_by_agent_version.csv",
        "agent_version",
        "e.agent_version",
    );
    tools(db, dataset);
    business(db, dataset);
    true
}

/// What the views have of truth_by_agent_day.csv.
fn views_by_day(db: &Session, dataset: &str) {
    let columns = [
        "key",
        "conversations",
        "labelled",
        "successes",
        "success_rate",
        "wilson_lo",
        "wilson_hi",
        "turns",
        "tool_calls",
        "tokens",
        "cost_usd",
        "cost_per_success",
        "latency_n",
        "latency_p50_nearest",
        "latency_p75_nearest",
        "latency_p90_nearest",
        "latency_p95_nearest",
        "latency_p99_nearest",
    ];
    let by_conversation = &columns[..7];
    let ours = answers(
        db,
        &columns,
        &format!(
            "SELECT d.agent_id || ' ' || replace(d.day::text, '{CHOSEN_DAY}', 'all'), d.conversations, d.with_outcome, d.successes,
                    d.task_success_rate, s.ci_low, s.ci_high, d.turns, d.tool_calls, coalesce(t.numerator, 0),
                    -- a cost that nobody knows is NULL in the view, and a sum of nothing, 0, in the truth
                    coalesce(d.token_spend_usd, 0), CASE WHEN u.numerator > 0 THEN d.cost_per_unit_usd END,
                    coalesce(l.latency_count, 0), d.latency_p50_ms, p.p[1], p.p[2], d.latency_p95_ms, p.p[3]
             FROM agent_kpi.agent_daily d
             JOIN agent_kpi.kpi_daily s ON s.agent_id = d.agent_id AND s.day = d.day AND s.metric = 'task_success_rate'
             JOIN agent_kpi.kpi_daily t ON t.agent_id = d.agent_id AND t.day = d.day AND t.metric = 'tokens_per_turn'
             JOIN agent_kpi.kpi_daily u ON u.agent_id = d.agent_id AND u.day = d.day AND u.metric = 'cost_per_unit_usd'
             LEFT JOIN agent_kpi.agent_daily_sketch l ON l.agent_id = d.agent_id AND l.day = d.day
             LEFT JOIN LATERAL (SELECT agent_metrics.percentile(l.latency_sketch, ARRAY[0.75, 0.90, 0.99]) AS p) p ON true
             WHERE d.turns > 0"
        ),
    );
    // A conversation that crosses midnight has all its turns on its first day in the truth, and each turn on its own in
    // the views: such days have their conversations compared, and their turns within the sum over days below.
    let crossed: BTreeSet<String> = db
        .lines(
            "SELECT DISTINCT e.agent_id || ' ' || e.occurred_at::date
             FROM agent_metrics.agent_events e JOIN agent_metrics.conversations c USING (agent_id, conversation_id)
             WHERE c.started_at::date <> c.ended_at::date",
        )
        .into_iter()
        .collect();
    let additive = [
        "conversations",
        "labelled",
        "successes",
        "turns",
        "tool_calls",
        "tokens",
        "cost_usd",
        "latency_n",
    ];
    let (mut compared, mut sums) = (0, BTreeMap::<String, [f64; 8]>::new());
    let rows = truth(&format!("{dataset}/truth_by_agent_day.csv")).unwrap();
    assert_eq!(rows.len(), ours.len(), "days with turns in {dataset}");
    for row in rows {
        let key = format!("{} {}", row["agent"], row["conversation_day"]);
        let mut row = row;
        let number = |name: &str| row[name].parse::<f64>().unwrap();
        let tokens = number("tokens_in") + number("tokens_out");
        row.insert("tokens".into(), tokens.to_string());
        let ours = ours
            .get(&key)
            .unwrap_or_else(|| panic!("the views have no {key}"));
        let mut comparable = ours.clone();
        if crossed.contains(&key) {
            comparable.retain(|name, _| by_conversation.contains(&name.as_str()));
        }
        compared += compare(&format!("{dataset}, views, {key}"), &row, &comparable);
        let sum = sums.entry(row["agent"].clone()).or_default();
        for (sum, name) in sum.iter_mut().zip(additive) {
            *sum += row[name].parse::<f64>().unwrap() - ours[name].parse::<f64>().unwrap();
        }
    }
    assert!(compared >= ours.len() * 6);
    for (agent, differences) in sums {
        let none = differences.iter().all(|difference| difference.abs() < 1e-6);
        assert!(
            none,
            "{dataset}, {agent}: the sums over days of {additive:?} differ by {differences:?}"
        );
    }
}

/// Every figure of a truth file, from the raw rows by the aggregates; `group` is the group of a turn.
fn raw(db: &Session, dataset: &str, name: &str, group_column: &str, group: &str) {
    let columns = [
        "key",
        "turns",
        "conversations",
        "users",
        "labelled",
        "successes",
        "success_rate",
        "wilson_lo",
        "wilson_hi",
        "tool_calls",
        "turns_with_tools",
        "tokens_in",
        "tokens_out",
        "cost_usd",
        "cost_per_success",
        "cost_per_conversation",
        "business_events",
        "latency_n",
        "latency_p50_nearest",
        "latency_p75_nearest",
        "latency_p90_nearest",
        "latency_p95_nearest",
        "latency_p99_nearest",
        "latency_mean",
        "latency_p50_linear",
        "latency_p75_linear",
        "latency_p90_linear",
        "latency_p95_linear",
        "latency_p99_linear",
    ];
    let ours = answers(
        db,
        &columns,
        &format!(
            "WITH e AS (
                 SELECT e.*, {group} AS grouped FROM agent_metrics.agent_events e
             ), c AS (
                 SELECT e.agent_id, e.grouped, e.conversation_id, max(e.outcome_label) AS label FROM e GROUP BY 1, 2, 3
             ), rates AS (
                 SELECT c.agent_id, c.grouped, count(*) AS conversations, agent_metrics.rate(o.is_success) AS success
                 FROM c LEFT JOIN agent_metrics.outcomes o ON o.label = c.label GROUP BY 1, 2
             ), turns AS (
                 SELECT e.agent_id, e.grouped, count(*) AS turns, count(DISTINCT e.user_id) AS users,
                        sum(jsonb_array_length(e.tools_called)) AS tool_calls,
                        count(*) FILTER (WHERE jsonb_array_length(e.tools_called) > 0) AS turns_with_tools,
                        coalesce(sum(e.token_usage_input), 0) AS tokens_in, coalesce(sum(e.token_usage_output), 0) AS tokens_out,
                        coalesce(sum(e.cost_usd), 0) AS cost_usd, count(e.business_event_id) AS business_events,
                        agent_metrics.quantile_sketch(e.latency_ms) AS latency, avg(e.latency_ms) AS latency_mean,
                        agent_metrics.p50(e.latency_ms) AS p50, agent_metrics.p95(e.latency_ms) AS p95, agent_metrics.p99(e.latency_ms) AS p99,
                        percentile_cont(ARRAY[0.5, 0.75, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY e.latency_ms) AS linear
                 FROM e GROUP BY 1, 2
             )
             SELECT agent_id || ' ' || grouped, t.turns, r.conversations, t.users, coalesce(agent_metrics.total(r.success), 0),
                    coalesce(agent_metrics.hits(r.success), 0), r.success::double precision, agent_metrics.wilson_low(r.success),
                    agent_metrics.wilson_high(r.success), t.tool_calls, t.turns_with_tools, t.tokens_in, t.tokens_out, t.cost_usd,
                    CASE WHEN t.cost_usd > 0 THEN agent_metrics.ratio(t.cost_usd, agent_metrics.hits(r.success)) END,
                    agent_metrics.ratio(t.cost_usd, r.conversations), t.business_events, coalesce(agent_metrics.sketch_count(t.latency), 0),
                    t.p50, agent_metrics.percentile(t.latency, 0.75), agent_metrics.percentile(t.latency, 0.90), t.p95, t.p99, t.latency_mean,
                    t.linear[1], t.linear[2], t.linear[3], t.linear[4], t.linear[5]
             FROM turns t JOIN rates r USING (agent_id, grouped)"
        ),
    );
    let rows = truth(&format!("{dataset}/{name}")).unwrap();
    assert_eq!(rows.len(), ours.len(), "rows of {dataset}/{name}");
    for row in rows {
        let key = format!("{} {}", row["agent"], row[group_column]);
        let ours = ours
            .get(&key)
            .unwrap_or_else(|| panic!("no {key} in {ours:?}"));
        assert_eq!(
            compare(&format!("{dataset}, raw rows, {key}"), &row, ours),
            columns.len() - 1
        );
    }
}

fn tools(db: &Session, dataset: &str) {
    let theirs: BTreeSet<String> = truth(&format!("{dataset}/truth_tool_calls.csv"))
        .unwrap()
        .iter()
        .map(|row| format!("{}|{}|{}", row["agent"], row["tool"], row["calls"]))
        .collect();
    let ours = db.lines(
        "SELECT e.agent_id, t.tool, count(*) FROM agent_metrics.agent_events e, jsonb_array_elements_text(e.tools_called) AS t (tool) GROUP BY 1, 2",
    );
    assert_eq!(
        ours.into_iter().collect::<BTreeSet<_>>(),
        theirs,
        "{dataset}"
    );
}

fn business_truth(dataset: &str) -> Option<Vec<Row>> {
    ["tau_bench_airline", "tau2_activegraph", "multiwoz"]
        .contains(&dataset)
        .then(|| truth(&format!("{dataset}/truth_business_by_day.csv")))?
}

fn business(db: &Session, dataset: &str) {
    let theirs = business_truth(dataset).unwrap_or_default();
    let theirs: BTreeSet<String> = theirs
        .iter()
        .map(|row| format!("{}|{}|{}", row["event_type"], row["day"], row["events"]))
        .collect();
    let ours = db.lines(&format!(
        "SELECT kind, replace(occurred_at::date::text, '{CHOSEN_DAY}', 'all'), count(*) FROM agent_metrics.business_events GROUP BY 1, 2"
    ));
    assert_eq!(
        ours.into_iter().collect::<BTreeSet<_>>(),
        theirs,
        "{dataset}"
    );
}

#[test]
fn fixtures_tau_bench_airline() {
    let db = db("fixtures_tau_bench");
    // To cancel a booking is what the customer came for, so in this business the event says nothing about the outcome.
    let mappings = "UPDATE agent_metrics.event_kinds SET meaning = 'booking_changed' WHERE kind = 'booking_cancelled';
                    INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('handed_to_human', 'human_touch')";
    if !check(&db, "tau_bench_airline", "support", "ai", mappings) {
        return;
    }
    // No turn reports a cost: no number, which is not 0.
    assert_eq!(
        db.lines("SELECT token_spend_usd, cost_per_unit_usd, tokens_per_turn, latency_p95_ms FROM agent_kpi.agent_daily WHERE turns > 0"),
        ["|||"]
    );
    // 48 conversations at most were handed to a human; none of them is deflected, whatever the agent says of it.
    let deflected = "SELECT count(*) FROM staged_turns t WHERE t.outcome_label = 'success' AND NOT EXISTS (
                         SELECT FROM staged_business b WHERE b.conversation_id = t.conversation_id AND b.event_type = 'handed_to_human')";
    let numerator = "SELECT numerator FROM agent_kpi.kpi_daily WHERE metric = 'deflection_rate' AND denominator > 0";
    assert_eq!(db.number(numerator), db.number(deflected));
    assert!(db.number(numerator) < 84.0);
}

#[test]
fn fixtures_tau2_activegraph() {
    let db = db("fixtures_tau2");
    let mappings = "INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('transfer_to_human_agents', 'human_touch')";
    check(&db, "tau2_activegraph", "support", "ai", mappings);
}

#[test]
fn fixtures_multiwoz() {
    let db = db("fixtures_multiwoz");
    // The agents of this dataset are people: they have metrics, and no tile.
    if check(&db, "multiwoz", "support", "human", "") {
        assert_eq!(db.number("SELECT count(*) FROM agent_kpi.cfo_tiles"), 0.0);
        assert_eq!(
            db.lines("SELECT DISTINCT actor FROM agent_kpi.kpi_daily"),
            ["human"]
        );
    }
}

#[test]
fn fixtures_vexp_swe() {
    check(&db("fixtures_vexp"), "vexp_swe", "ops", "ai", "");
}

#[test]
fn fixtures_aider() {
    let db = db("fixtures_aider");
    if check(&db, "aider", "ops", "ai", "") {
        // No conversation has an outcome: all pending, and no rate is made of nothing.
        assert_eq!(
            db.number("SELECT sum(pending) FROM agent_kpi.agent_daily"),
            db.number("SELECT sum(conversations) FROM agent_kpi.agent_daily")
        );
        assert_eq!(db.lines("SELECT DISTINCT value, ci_low, verdict FROM agent_kpi.kpi_daily WHERE metric = 'task_success_rate'"), ["||no_data"]);
    }
}

#[test]
fn fixtures_abcd_sample() {
    check(&db("fixtures_abcd"), "abcd_sample", "support", "human", "");
}
