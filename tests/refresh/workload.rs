//! A random workload over three sessions: whatever is written, in whatever order it commits, the rollups are right.
//!
//! Some hundred steps of inserts, updates, deletions, labels, CRM events, mappings, savepoints, commits and rollbacks,
//! with refreshes in between, inside transactions and outside. `verify()` has to be empty at every look, also while
//! changes wait; at the end one refresh, and the oracle agrees. One thread drives all three sessions, so a seed gives
//! one history. It is printed; `AGENT_METRICS_SEED=n cargo test workload` plays it again.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session, db};

const STEPS: usize = 350;
/// Sessions write disjoint rows, so that none ever waits for another one's lock.
const SESSIONS: usize = 3;
const AGENTS: [&str; 4] = ["sup", "sal", "ops", "late"];
const LABELS: [&str; 8] = [
    "success",
    "failure",
    "completed",
    "booked",
    "qualified",
    "refused",
    "made_up",
    "reopened",
];
const KINDS: [&str; 11] = [
    "ticket_resolved",
    "ticket_reopened",
    "ticket_escalated",
    "lead_qualified",
    "lead_disqualified",
    "booking_completed",
    "booking_cancelled",
    "human_touch",
    "charge",
    "refund",
    "made_up_kind",
];

struct Workload {
    random: ChaCha8Rng,
    sessions: Vec<Session>,
    /// Whether each session is in a transaction, and in how many savepoints.
    open: [Option<usize>; SESSIONS],
    made: usize,
}

#[test]
fn workload_of_random_steps_leaves_the_books_right() {
    let seed = match std::env::var("AGENT_METRICS_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64,
    };
    println!("AGENT_METRICS_SEED={seed}");
    let db = db("workload");
    db.exec(
        "SELECT agent_metrics.register_agent('sup', 'support', 'O'), agent_metrics.register_agent('sal', 'sales', 'O'),
                agent_metrics.register_agent('ops', 'ops', 'O');
         UPDATE agent_metrics.dimensions SET is_active = true, followed_segments = 2
         WHERE dimension IN ('intent', 'channel', 'customer_tier')",
    );
    refresh(&db);
    let mut workload = Workload {
        random: ChaCha8Rng::seed_from_u64(seed),
        sessions: (0..SESSIONS).map(|_| db.session()).collect(),
        open: [None; SESSIONS],
        made: 0,
    };
    for session in &workload.sessions {
        // Should two ever meet after all, the test fails instead of standing still.
        session.exec("SET lock_timeout = '20s'");
    }
    for step in 0..STEPS {
        if step == STEPS / 2 {
            db.exec("SELECT agent_metrics.register_agent('late', 'support', 'O')");
            db.exec("SELECT agent_metrics.refresh('late')");
        }
        workload.step();
        if step % 10 == 0 {
            Workload::look(&db);
        }
    }
    for index in 0..SESSIONS {
        if workload.open[index].is_some() {
            workload.run(index, "COMMIT");
        }
    }
    Workload::look(&db);
    refresh(&db);
    assert_rollups(&db);
    assert!(
        db.number("SELECT count(*) FROM agent_metrics.conversations") > 20.0,
        "there was something to count"
    );
}

impl Workload {
    fn run(&mut self, session: usize, sql: &str) {
        println!("{session}: {sql};"); // shown when the test fails
        self.sessions[session].exec(sql);
        match (sql.split(' ').next().unwrap(), self.open[session]) {
            ("BEGIN", _) => self.open[session] = Some(0),
            ("COMMIT", _) => self.open[session] = None,
            ("SAVEPOINT", Some(depth)) => self.open[session] = Some(depth + 1),
            ("ROLLBACK", Some(depth)) if sql.starts_with("ROLLBACK TO") => {
                self.open[session] = Some(depth - 1)
            }
            ("ROLLBACK", _) => self.open[session] = None,
            _ => {}
        }
    }

    /// What is stored is right for what the last refreshes saw, whatever has happened since.
    fn look(db: &Db) {
        let differences = db.lines("SELECT * FROM agent_metrics.verify()");
        assert!(
            differences.is_empty(),
            "verify() found:\n{}",
            differences.join("\n")
        );
    }

    fn step(&mut self) {
        let session = self.random.random_range(0..SESSIONS);
        let sql = match (self.random.random_range(0..100), self.open[session]) {
            (0..10, None) => "BEGIN".to_owned(),
            (0..5, Some(_)) => "COMMIT".to_owned(),
            (5..7, Some(_)) => "ROLLBACK".to_owned(),
            (7..9, Some(_)) => "SAVEPOINT s".to_owned(),
            (9..10, Some(depth)) if depth > 0 => "ROLLBACK TO s; RELEASE s".to_owned(),
            (0..45, _) => self.insert(session),
            (45..60, _) => self.update(session),
            (60..65, _) => self.delete(session),
            (65..74, _) => self.business(session),
            (74..80, _) => self.fact(session),
            (80..84, _) => self.mapping(),
            (84..94, _) => "SELECT agent_metrics_internal.refresh_agents(
                                ARRAY(SELECT agent_id FROM agent_metrics.agents), wait => false)"
                .to_owned(),
            _ => {
                let agent = AGENTS[self.random.random_range(0..3)];
                format!(
                    "SELECT agent_metrics_internal.refresh_agents(ARRAY['{agent}'], wait => false)"
                )
            }
        };
        // Mappings are few rows that all share: the first session alone writes them.
        let session = if sql.contains("_metrics.outcomes") || sql.contains("_metrics.event_kinds") {
            0
        } else {
            session
        };
        self.run(session, &sql);
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.random).unwrap()
    }

    fn maybe(&mut self, percent: u32, value: String) -> String {
        if self.random.random_range(0..100) < percent {
            value
        } else {
            "NULL".to_owned()
        }
    }

    fn conversation(&mut self) -> String {
        // Few, so that conversations have many turns; and agents share their names.
        format!("'c{}'", self.random.random_range(0..25))
    }

    fn moment(&mut self) -> String {
        match self.random.random_range(0..40) {
            0 => "'1999-12-31 23:59:59.999999+00'".to_owned(),
            1 => "now() + interval '3 days'".to_owned(),
            // Round seconds, so that turns at the same moment occur.
            _ => format!(
                "'2026-03-01 00:00:00+00'::timestamptz + interval '{} seconds'",
                self.random.random_range(0..6 * 1440) * 60
            ),
        }
    }

    fn label(&mut self) -> String {
        let label = self.pick(&LABELS);
        self.maybe(40, format!("'{label}'"))
    }

    fn insert(&mut self, session: usize) -> String {
        let rows: Vec<String> = (0..self.random.random_range(1..6))
            .map(|_| {
                self.made += 1;
                let (made, number) = (self.made, self.random.random_range(0..1000));
                format!(
                    "('{}', {}, '{:08x}-0000-0000-0000-00000000000{session}', {}, {}, {}, {}, {}, \
                     {}, {}, {}, '{}', {}, {}, {}, {}, {}, {})",
                    self.pick(&AGENTS),
                    self.moment(),
                    // event ids in another order than the turns are made
                    (made as u32).wrapping_mul(2_654_435_761),
                    self.conversation(),
                    self.maybe(60, format!("'user{}'", number % 7)),
                    self.maybe(
                        50,
                        "'[\"a\", {\"name\": \"b\", \"ok\": true}]'::jsonb".to_owned()
                    ),
                    self.maybe(80, format!("{}.25", number * number * 7)),
                    self.maybe(80, number.to_string()),
                    self.maybe(80, (number % 50).to_string()),
                    self.maybe(80, format!("0.000{number}")),
                    self.label(),
                    ["agent", "agent", "agent", "judge", "crm", "human"][number % 6],
                    self.maybe(20, format!("'b{}-{}'", number % 12, number % SESSIONS)),
                    self.maybe(50, (number % 5).to_string()),
                    number % 20 == 0,
                    self.maybe(10, "'broken'".to_owned()),
                    self.maybe(50, format!("'intent{}'", number % 4)),
                    self.maybe(50, format!("'{{\"channel\": \"{}\"}}'", number % 3)),
                )
            })
            .collect();
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id,
                 conversation_id, user_id, tools_called, latency_ms, token_usage_input,
                 token_usage_output, cost_usd, outcome_label, outcome_source, business_event_id,
                 turn_index, is_eval, error, intent_classified, attributes)
             VALUES {}",
            rows.join(", ")
        )
    }

    /// One to a few of the rows that the session may write.
    fn some_rows(&mut self, session: usize) -> String {
        let mine = format!("right(event_id::text, 1) = '{session}'");
        match self.random.random_range(0..3) {
            0 => format!("{mine} AND conversation_id = {}", self.conversation()),
            _ => format!(
                "(agent_id, occurred_at, event_id) = (SELECT agent_id, occurred_at, event_id
                                                      FROM agent_metrics.agent_events
                 WHERE {mine} ORDER BY event_id OFFSET {} LIMIT 1)",
                self.random.random_range(0..60)
            ),
        }
    }

    fn update(&mut self, session: usize) -> String {
        let change = match self.random.random_range(0..10) {
            8 => format!(
                "intent_classified = 'intent{}'",
                self.random.random_range(0..4)
            ),
            9 => "attributes = '{\"channel\": \"\"}'".to_owned(),
            0 => format!("agent_id = '{}'", self.pick(&AGENTS)),
            1 => format!("occurred_at = {}", self.moment()),
            2 => format!("conversation_id = {}", self.conversation()),
            3 => "is_eval = NOT is_eval".to_owned(),
            4 => format!(
                "latency_ms = {}, cost_usd = NULL",
                self.random.random_range(0..5000)
            ),
            5 => format!(
                "business_event_id = 'b{}-{session}', user_id = NULL",
                self.random.random_range(0..12)
            ),
            _ => format!("outcome_label = {}", self.label()),
        };
        format!(
            "UPDATE agent_metrics.agent_events SET {change} WHERE {}",
            self.some_rows(session)
        )
    }

    fn delete(&mut self, session: usize) -> String {
        format!(
            "DELETE FROM agent_metrics.agent_events WHERE {}",
            self.some_rows(session)
        )
    }

    fn business(&mut self, session: usize) -> String {
        let id = format!("'b{}-{session}'", self.random.random_range(0..12));
        let kind = self.pick(&KINDS);
        let (conversation, moment) = (self.conversation(), self.moment());
        let conversation = self.maybe(60, conversation);
        let number = self.random.random_range(0..5);
        let customer = self.maybe(40, format!("'customer{number}'"));
        match self.random.random_range(0..5) {
            0 => {
                format!("DELETE FROM agent_metrics.business_events WHERE business_event_id = {id}")
            }
            1 => format!(
                "UPDATE agent_metrics.business_events
                 SET conversation_id = {conversation} WHERE business_event_id = {id}"
            ),
            _ => format!(
                "INSERT INTO agent_metrics.business_events (
                     business_event_id, kind, occurred_at, conversation_id, customer_id, amount_usd, detail)
                 VALUES ({id}, '{kind}', {moment}, {conversation}, {customer}, {number}.25,
                         jsonb_build_object('customer_tier', nullif({number}, 4)))
                 ON CONFLICT (business_event_id) DO UPDATE SET kind = excluded.kind, occurred_at = excluded.occurred_at,
                     conversation_id = excluded.conversation_id, customer_id = excluded.customer_id,
                     amount_usd = excluded.amount_usd, detail = excluded.detail"
            ),
        }
    }

    /// What is said of a turn or a conversation afterwards; or such a fact changed or taken back.
    fn fact(&mut self, session: usize) -> String {
        self.made += 1;
        let (made, number) = (self.made, self.random.random_range(0..1000));
        let (agent, conversation) = (self.pick(&AGENTS), self.conversation());
        let label = self.label();
        let moment = format!(
            "'2026-03-01 00:00:00+00'::timestamptz + interval '{} seconds'",
            number * 500
        );
        match self.random.random_range(0..11) {
            0 => format!(
                "INSERT INTO agent_metrics.tool_call_verdicts (
                     agent_id, conversation_id, occurred_at, event_id, call_index, is_correct)
                 SELECT agent_id, conversation_id, occurred_at, event_id, n, n <> {}
                 FROM agent_metrics.agent_events, generate_series(0, 2) AS n WHERE {}
                 ON CONFLICT DO NOTHING",
                number % 3,
                self.some_rows(session)
            ),
            1 => format!(
                "INSERT INTO agent_metrics.turn_scores (
                     agent_id, conversation_id, occurred_at, event_id, score)
                 SELECT agent_id, conversation_id, occurred_at, event_id, 0.{number}
                 FROM agent_metrics.agent_events WHERE {} ON CONFLICT DO NOTHING",
                self.some_rows(session)
            ),
            2 => format!(
                "INSERT INTO agent_metrics.survey_answers (
                     answer_id, agent_id, conversation_id, score)
                 VALUES ('s{made}-{session}', '{agent}', {conversation}, {})",
                number % 11
            ),
            3 | 4 => format!(
                "INSERT INTO agent_metrics.reviews (review_id, agent_id, conversation_id, reviewer,
                     weight, outcome_label, answer_verdict, is_in_scope, is_refused, is_escalated,
                     should_escalate, reviewed_at)
                 VALUES ('r{made}-{session}', '{agent}', {conversation}, 'team', {}.5, {label}, {},
                         {}, {}, {}, {}, {moment})",
                1 + number % 20,
                ["NULL", "'supported'", "'unsupported'", "'refused'"][number % 4],
                ["NULL", "true", "false"][number % 3],
                number % 7 == 0,
                ["NULL", "true", "false"][number % 3],
                ["NULL", "false", "false"][number % 3],
            ),
            5 => format!(
                "INSERT INTO agent_metrics.reviews (
                     review_id, agent_id, conversation_id, occurred_at, event_id, reviewer, answer_verdict)
                 SELECT 't{made}-{session}', agent_id, conversation_id, occurred_at, event_id, 'team', 'contradicted'
                 FROM agent_metrics.agent_events WHERE {} LIMIT 1",
                self.some_rows(session)
            ),
            6 => format!(
                "UPDATE agent_metrics.reviews
                 SET conversation_id = {conversation}, weight = weight + 1
                 WHERE right(review_id, 1) = '{session}' AND length(review_id) % 3 = {}",
                number % 3
            ),
            7 => format!(
                "INSERT INTO agent_metrics.measurements (
                     measurement_id, agent_id, conversation_id, measure, numerator, denominator, weight)
                 VALUES ('m{made}-{session}', '{agent}', {conversation}, '{}', {number}.25, {}, {})",
                ["csat", "minutes"][number % 2],
                number % 5,
                1 + number % 3,
            ),
            8 => format!(
                "INSERT INTO agent_metrics.measurements (
                     measurement_id, agent_id, occurred_at, event_id, measure, numerator)
                 SELECT 't{made}-' || event_id, agent_id, occurred_at, event_id, 'csat', -{number}
                 FROM agent_metrics.agent_events WHERE {} ON CONFLICT DO NOTHING",
                self.some_rows(session)
            ),
            9 => format!(
                "UPDATE agent_metrics.measurements SET numerator = numerator + 1, conversation_id = {conversation}
                 WHERE right(measurement_id, 1) = '{session}' AND length(measurement_id) % 3 = {}",
                number % 3
            ),
            _ => format!(
                "DELETE FROM agent_metrics.survey_answers WHERE right(answer_id, 1) = '{session}' AND score = {}",
                number % 11
            ),
        }
    }

    fn mapping(&mut self) -> String {
        let label = self.pick(&LABELS);
        let kind = self.pick(&KINDS);
        match self.random.random_range(0..5) {
            0 => format!("DELETE FROM agent_metrics.outcomes WHERE label = '{label}'"),
            1 => format!(
                "UPDATE agent_metrics.outcomes
                 SET is_success = NOT is_success, is_unit = NOT is_unit WHERE label = '{label}'"
            ),
            2 => format!(
                "INSERT INTO agent_metrics.outcomes (label, is_success, is_deflection, is_booking)
                 VALUES ('{label}', true, true, true)
                 ON CONFLICT (label) DO UPDATE SET is_open = NOT outcomes.is_open"
            ),
            3 => format!("DELETE FROM agent_metrics.event_kinds WHERE kind = '{kind}'"),
            _ => format!(
                "INSERT INTO agent_metrics.event_kinds (kind, meaning)
                 SELECT '{kind}', coalesce((SELECT o.label FROM agent_metrics.outcomes o WHERE o.label = '{label}'),
                                           'nothing')
                 ON CONFLICT (kind) DO UPDATE SET meaning = excluded.meaning"
            ),
        }
    }
}
