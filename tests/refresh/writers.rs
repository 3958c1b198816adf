//! Eight writers and a refresher at once, against a model: a plain program that adds up what each writer committed and
//! shares nothing with our SQL.
//!
//! Each writer has conversations of its own, so none waits for another; all share agents, hours and partitions. What a
//! writer does follows from the seed, which is printed (`AGENT_METRICS_SEED=n cargo test writers` plays it again); how
//! the writers interleave is the machine's. `AGENT_METRICS_TRANSACTIONS` makes it longer.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session, db};

const WRITERS: usize = 8;
const AGENTS: [&str; 3] = ["sup", "sal", "ops"];
/// Labels with what they count as: (has an outcome, is a success). The last one nobody mapped.
const LABELS: [(&str, bool, bool); 4] = [
    ("success", true, true),
    ("failure", true, false),
    ("completed", true, true),
    ("made_up", false, false),
];
/// 2026-03-01 00:00 UTC, in seconds.
const BEGIN: i64 = 1_772_323_200;
const DAYS: i64 = 9;

#[derive(Clone, Debug)]
struct Turn {
    agent: usize,
    at: i64,
    conversation: u32,
    latency: u32,
    tokens: i64,
    /// Millionths of a dollar.
    cost: Option<i64>,
    label: Option<usize>,
}

/// Turns by the number in their event_id.
type Turns = HashMap<u64, Turn>;

struct Writer {
    number: usize,
    random: ChaCha8Rng,
    session: Session,
    committed: Turns,
    made: u64,
}

fn event_id(writer: usize, number: u64) -> String {
    format!("{writer:08x}-0000-4000-8000-{number:012x}")
}

impl Writer {
    fn turn(&mut self) -> Turn {
        let conversation = self.random.random_range(0..40);
        Turn {
            agent: conversation as usize % AGENTS.len(),
            at: BEGIN + self.random.random_range(0..DAYS * 86_400),
            conversation,
            latency: self.random.random_range(0..5_000),
            tokens: self.random.random_range(0..2_000),
            cost: self
                .random
                .random_bool(0.8)
                .then(|| self.random.random_range(0..90_000)),
            label: self
                .random
                .random_bool(0.4)
                .then(|| self.random.random_range(0..LABELS.len())),
        }
    }

    fn values(&self, number: u64, turn: &Turn, null: &str) -> [String; 8] {
        let or_null = |value: Option<String>| value.unwrap_or_else(|| null.to_owned());
        [
            AGENTS[turn.agent].to_owned(),
            format!("{}", chrono::DateTime::from_timestamp(turn.at, 0).unwrap()),
            event_id(self.number, number),
            format!("{}-{}", self.number, turn.conversation),
            turn.latency.to_string(),
            turn.tokens.to_string(),
            or_null(turn.cost.map(|cost| format!("0.{cost:06}"))),
            or_null(turn.label.map(|label| LABELS[label].0.to_owned())),
        ]
    }

    const COLUMNS: &'static str = "agent_metrics.agent_events (
                                       agent_id, occurred_at, event_id, conversation_id, latency_ms,
                                       token_usage_input, cost_usd, outcome_label)";

    /// One change, in SQL and in the model.
    fn change(&mut self, turns: &mut Turns) {
        let known: Vec<u64> = {
            let mut known: Vec<u64> = turns.keys().copied().collect();
            known.sort_unstable();
            known
        };
        let one = known.choose(&mut self.random).copied();
        let place = |writer: &Self, number: u64, turn: &Turn| {
            format!(
                "agent_id = '{}' AND occurred_at = to_timestamp({}) AND event_id = '{}'",
                AGENTS[turn.agent],
                turn.at,
                event_id(writer.number, number)
            )
        };
        match (self.random.random_range(0..10), one) {
            (0..4, _) | (_, None) => {
                let mut rows = Vec::new();
                for _ in 0..self.random.random_range(1..6) {
                    let turn = self.turn();
                    self.made += 1;
                    let fields: Vec<String> = self
                        .values(self.made, &turn, "NULL")
                        .iter()
                        .map(|field| {
                            if field == "NULL" {
                                field.clone()
                            } else {
                                format!("'{field}'")
                            }
                        })
                        .collect();
                    rows.push(format!("({})", fields.join(", ")));
                    turns.insert(self.made, turn);
                }
                self.session.exec(&format!(
                    "INSERT INTO {} VALUES {}",
                    Self::COLUMNS,
                    rows.join(", ")
                ));
            }
            (4, _) => {
                // the line of names that `copy_csv` expects
                let mut csv = String::from("names\n");
                for _ in 0..self.random.random_range(1..30) {
                    let turn = self.turn();
                    self.made += 1;
                    writeln!(csv, "{}", self.values(self.made, &turn, "").join(",")).unwrap();
                    turns.insert(self.made, turn);
                }
                self.session.copy_csv(Self::COLUMNS, csv);
            }
            (5..9, Some(number)) => {
                let turn = turns.get_mut(&number).unwrap();
                let place = place(self, number, turn);
                let set = match self.random.random_range(0..4) {
                    0 => {
                        let label = self.random.random_range(0..LABELS.len());
                        turn.label = Some(label);
                        format!("outcome_label = '{}'", LABELS[label].0)
                    }
                    1 => {
                        turn.latency = self.random.random_range(0..5_000);
                        turn.tokens = self.random.random_range(0..2_000);
                        format!(
                            "latency_ms = {}, token_usage_input = {}",
                            turn.latency, turn.tokens
                        )
                    }
                    2 => {
                        // another day, maybe another partition
                        turn.at = BEGIN + self.random.random_range(0..4 * DAYS * 86_400);
                        format!("occurred_at = to_timestamp({})", turn.at)
                    }
                    _ => {
                        turn.agent = self.random.random_range(0..AGENTS.len());
                        format!("agent_id = '{}'", AGENTS[turn.agent])
                    }
                };
                self.session.exec(&format!(
                    "UPDATE agent_metrics.agent_events SET {set} WHERE {place}"
                ));
            }
            (_, Some(number)) => {
                let turn = turns.remove(&number).unwrap();
                self.session.exec(&format!(
                    "DELETE FROM agent_metrics.agent_events WHERE {}",
                    place(self, number, &turn)
                ));
            }
        }
    }

    /// One transaction: some changes, maybe in a savepoint that is taken back, maybe held open until others have
    /// refreshed, and in the end committed or not.
    fn transaction(&mut self, refreshes: &AtomicUsize) {
        let mut turns = self.committed.clone();
        self.session.exec("BEGIN");
        for _ in 0..self.random.random_range(1..4) {
            self.change(&mut turns);
            if self.random.random_bool(0.2) {
                let before = turns.clone();
                self.session.exec("SAVEPOINT maybe");
                self.change(&mut turns);
                if self.random.random_bool(0.5) {
                    self.session.exec("ROLLBACK TO maybe");
                    turns = before;
                } else {
                    self.session.exec("RELEASE maybe");
                }
            }
        }
        if self.random.random_bool(0.15) {
            let seen = refreshes.load(Ordering::Acquire);
            while refreshes.load(Ordering::Acquire) < seen + 2 {
                thread::yield_now();
            }
        }
        if self.random.random_bool(0.8) {
            self.session.exec("COMMIT");
            self.committed = turns;
        } else {
            self.session.exec("ROLLBACK");
        }
    }
}

/// What an hour or a day of an agent adds up to.
#[derive(Default, Debug, PartialEq, Eq, Clone)]
struct Sums {
    turns: i64,
    tokens: i64,
    cost_turns: i64,
    cost: i64,
    conversations: i64,
    outcomes: i64,
    successes: i64,
    latencies: Vec<u32>,
}

type Books = BTreeMap<(String, &'static str, i64), Sums>;

/// A turn of a conversation: its moment, its number and its label.
type Said = (i64, u64, Option<usize>);

/// The model: loops over what was committed.
fn model(writers: &[Writer]) -> Books {
    let mut books = Books::new();
    for writer in writers {
        let mut conversations: HashMap<(usize, u32), Vec<Said>> = HashMap::new();
        for (number, turn) in &writer.committed {
            for (level, seconds) in [("hour", 3_600), ("day", 86_400)] {
                let sums = books
                    .entry((
                        AGENTS[turn.agent].to_owned(),
                        level,
                        turn.at - turn.at % seconds,
                    ))
                    .or_default();
                sums.turns += 1;
                sums.tokens += turn.tokens;
                sums.cost_turns += i64::from(turn.cost.is_some());
                sums.cost += turn.cost.unwrap_or(0);
                sums.latencies.push(turn.latency);
            }
            conversations
                .entry((turn.agent, turn.conversation))
                .or_default()
                .push((turn.at, *number, turn.label));
        }
        for ((agent, _), mut turns) in conversations {
            // the last label counts: by time, then by event_id, whose order is that of the numbers
            turns.sort_unstable();
            let label = turns.iter().rev().find_map(|(_, _, label)| *label);
            let (_, has_outcome, is_success) =
                label.map_or(("", false, false), |label| LABELS[label]);
            for (level, seconds) in [("hour", 3_600), ("day", 86_400)] {
                let sums = books
                    .entry((
                        AGENTS[agent].to_owned(),
                        level,
                        turns[0].0 - turns[0].0 % seconds,
                    ))
                    .or_default();
                sums.conversations += 1;
                sums.outcomes += i64::from(has_outcome);
                sums.successes += i64::from(is_success);
            }
        }
    }
    books
}

/// What is stored, without rows that hold nothing any more.
fn stored(db: &Db) -> (Books, HashMap<(String, &'static str, i64), f64>) {
    let mut books = Books::new();
    let mut medians = HashMap::new();
    for row in db.rows(
        "SELECT agent_id, level, extract(epoch FROM bucket)::bigint, turns, tokens_input, cost_turns,
                (cost_usd * 1000000)::bigint, conversations, outcomes, successes, agent_metrics.percentile(latency, 0.5)
         FROM agent_metrics_internal.rollups WHERE level IN ('hour', 'day') AND (turns > 0 OR conversations <> 0)",
    ) {
        let number = |at: usize| row[at].as_deref().unwrap().parse::<i64>().unwrap();
        let level = if row[1].as_deref() == Some("hour") {
            "hour"
        } else {
            "day"
        };
        let key = (row[0].clone().unwrap(), level, number(2));
        if let Some(median) = &row[10] {
            medians.insert(key.clone(), median.parse().unwrap());
        }
        books.insert(
            key,
            Sums {
                turns: number(3),
                tokens: number(4),
                cost_turns: number(5),
                cost: number(6),
                conversations: number(7),
                outcomes: number(8),
                successes: number(9),
                latencies: Vec::new(),
            },
        );
    }
    (books, medians)
}

#[test]
fn what_eight_writers_commit_is_what_is_counted() {
    let seed = std::env::var("AGENT_METRICS_SEED").map_or_else(
        |_| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis() as u64
        },
        |seed| seed.parse().unwrap(),
    );
    let transactions = std::env::var("AGENT_METRICS_TRANSACTIONS")
        .map_or(25, |transactions| transactions.parse().unwrap());
    println!("AGENT_METRICS_SEED={seed}");
    let db = db("writers");
    db.exec(
        "SELECT agent_metrics.register_agent('sup', 'support', 'O'), agent_metrics.register_agent('sal', 'sales', 'O'),
                agent_metrics.register_agent('ops', 'ops', 'O')",
    );
    let refreshes = AtomicUsize::new(0);
    let finished = AtomicU64::new(0);
    let writers: Vec<Writer> = thread::scope(|scope| {
        let handles: Vec<_> = (0..WRITERS)
            .map(|number| {
                let mut writer = Writer {
                    number,
                    random: ChaCha8Rng::seed_from_u64(seed + number as u64),
                    session: db.session(),
                    committed: Turns::new(),
                    made: 0,
                };
                let (refreshes, finished) = (&refreshes, &finished);
                scope.spawn(move || {
                    // Counted however it ends, or the refresher would go on for ever.
                    struct Done<'a>(&'a AtomicU64);
                    impl Drop for Done<'_> {
                        fn drop(&mut self) {
                            self.0.fetch_add(1, Ordering::Release);
                        }
                    }
                    let _done = Done(finished);
                    // Nobody may wait for a refresh, nor a refresh for anybody.
                    writer.session.exec("SET lock_timeout = '5s'");
                    for _ in 0..transactions {
                        writer.transaction(refreshes);
                    }
                    writer
                })
            })
            .collect();
        let refresher = db.session();
        while finished.load(Ordering::Acquire) < WRITERS as u64 {
            refresh(&refresher);
            refreshes.fetch_add(1, Ordering::Release);
        }
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .collect()
    });
    refresh(&db);

    let expected = model(&writers);
    let (books, medians) = stored(&db);
    let without_latencies: Books = expected
        .iter()
        .map(|(key, sums)| {
            let mut sums = sums.clone();
            sums.latencies.clear();
            (key.clone(), sums)
        })
        .collect();
    assert_eq!(books, without_latencies);
    for (key, sums) in &expected {
        let mut latencies = sums.latencies.clone();
        latencies.sort_unstable();
        if let Some(truth) = latencies.get(latencies.len().saturating_sub(1) / 2) {
            let truth = f64::from(*truth);
            let median = medians[key];
            assert!(
                (median - truth).abs() <= truth / 128.0,
                "{key:?}: {median} for {truth}"
            );
        }
    }
    assert_rollups(&db);
    let turns: usize = writers.iter().map(|writer| writer.committed.len()).sum();
    println!(
        "{turns} turns, {} refreshes meanwhile",
        refreshes.load(Ordering::Acquire)
    );
    assert!(turns > 200 && refreshes.load(Ordering::Acquire) > 5);
}
