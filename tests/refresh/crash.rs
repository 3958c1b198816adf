//! Killed at any moment: the server as by a power cut, a backend, the program. After each kill nothing that committed
//! is missing, a refresh does not wait for anybody who is gone, and the rollups are right.
//!
//! The moments are random (the seed is printed, `AGENT_METRICS_SEED` plays them again as far as the machine does) and
//! most lie inside a refresh or an archive; a counter says how many. `AGENT_METRICS_ROUNDS` makes it longer; a database
//! takes 25 of them and is made anew, so that the last look at the rollups costs what the first did.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::Session;
use crate::support::asserts::{assert_no_rows, assert_verified};
use crate::support::cluster::Cluster;
use crate::support::program::{command, works};
use crate::support::rollups::{assert_rollups, refresh};

const WRITERS: usize = 3;
/// Turns that a writer inserts at once.
const TURNS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// Kills that one database takes.
const KILLS_OF_A_DATABASE: u64 = 25;

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// The server, as by a power cut.
    Server,
    /// The backend that refreshes, by pg_terminate_backend.
    Session,
    /// The same by SIGKILL, upon which the server ends all sessions and recovers.
    Backend,
    /// The program while it refreshes.
    Refreshing,
    /// The program while it archives.
    Archiving,
}

const KILLS: [Kill; 5] = [
    Kill::Server,
    Kill::Session,
    Kill::Backend,
    Kill::Refreshing,
    Kill::Archiving,
];

struct Load {
    url: String,
    stop: AtomicBool,
    /// Batches of each writer whose commit was acknowledged, one after another.
    batches: [AtomicU32; WRITERS],
    /// Refreshes begun, and how many microseconds the last one took.
    begun: AtomicU32,
    usual: AtomicU64,
}

/// Tells the load to stop, however the round ends: a thread that is not told is waited for for ever.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

impl Load {
    /// Inserts batch after batch, and labels an older one now and then, until told to stop or cut off.
    fn write(&self, writer: usize) {
        let Ok(session) = Session::try_open(&self.url) else {
            return;
        };
        while !self.stop.load(Ordering::Acquire) {
            let batch = self.batches[writer].load(Ordering::Acquire) + 1;
            let done = session.attempt(&format!(
                "BEGIN;
                 INSERT INTO agent_metrics.agent_events (
                     agent_id, occurred_at, conversation_id, turn_index, latency_ms, cost_usd)
                 SELECT (ARRAY['sup', 'ops'])[1 + t % 2],
                        now() - {batch} * interval '7 minutes' - t * interval '20 seconds',
                        'w{writer}-{batch}', t, t * 50, 0.01
                 FROM generate_series(1, {TURNS}) AS t;
                 UPDATE agent_metrics.agent_events SET outcome_label = 'resolved'
                 WHERE conversation_id = 'w{writer}-' || {batch} / 2 AND turn_index = 4;
                 COMMIT"
            ));
            if done.is_err() {
                return;
            }
            self.batches[writer].store(batch, Ordering::Release);
        }
    }

    /// Refreshes until told to stop or cut off; whether it was cut off inside a refresh.
    fn refresh(&self, session: &Session) -> bool {
        while !self.stop.load(Ordering::Acquire) {
            let begun = Instant::now();
            self.begun.fetch_add(1, Ordering::Release);
            if session.attempt("SELECT agent_metrics.refresh()").is_err() {
                return true;
            }
            let took = begun.elapsed().as_micros() as u64;
            self.usual.store(took, Ordering::Release);
        }
        false
    }
}

/// Passes some time without giving up the processor for long.
fn pass(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        thread::yield_now();
    }
}

/// Waits for something that comes true by itself.
fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never came true: {what}");
        thread::yield_now();
    }
}

/// Runs the program and kills it once it is at work, after a random part of a usual run. Whether a session of it was
/// at work then.
fn kill_program(
    watch: &Session,
    url: &str,
    arguments: &[&str],
    random: &mut ChaCha8Rng,
    usual: Duration,
) -> bool {
    let mut child = command(url, arguments).spawn().unwrap();
    let at_work = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE application_name LIKE 'agent-metrics%' AND state <> 'idle'
                     AND query ~ 'refresh|archive|COPY|FETCH'";
    let mut ended = false;
    until(
        || {
            ended = child.try_wait().unwrap().is_some();
            ended || watch.value(at_work).as_deref() == Some("t")
        },
        "the program at work",
    );
    pass(random.random_range(Duration::ZERO..usual));
    let inside = !ended && watch.value(at_work).as_deref() == Some("t");
    let _ = child.kill();
    child.wait().unwrap();
    inside
}

struct Field {
    cluster: Cluster,
    folder: PathBuf,
}

impl Field {
    /// A new database with two agents, turns of a month that has been over for longer than `hot_days` on whatever day
    /// of a month this runs, and no archives.
    fn prepare(&self) {
        empty(&self.folder);
        let server = self.cluster.session("postgres");
        server.exec("DROP DATABASE IF EXISTS crash WITH (FORCE)");
        server.exec("CREATE DATABASE crash");
        let session = self.session();
        session.exec("CREATE EXTENSION agent_metrics");
        session.exec("SELECT agent_metrics.setup()");
        session.exec(
            "SELECT agent_metrics.register_agent('sup', 'support', 'O'),
                    agent_metrics.register_agent('ops', 'ops', 'O');
             UPDATE agent_metrics.settings SET value = '40' WHERE name = 'hot_days';
             INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, turn_index, latency_ms, outcome_label)
             SELECT (ARRAY['sup', 'ops'])[1 + c % 2],
                    date_trunc('month', now() - interval '3 months') + c * interval '3 minutes'
                    + t * interval '9 seconds',
                    'old-' || c, t, c % 1000, CASE t WHEN 2 THEN 'resolved' END
             FROM generate_series(1, 3000) AS c, generate_series(0, 2) AS t",
        );
        refresh(&session);
        assert_rollups(&session);
    }

    fn url(&self) -> String {
        self.cluster.url("crash")
    }

    /// A session, as soon as the server takes one again.
    fn session(&self) -> Session {
        let url = self.url();
        let mut session = None;
        until(
            || {
                session = Session::try_open(&url).ok();
                session.is_some()
            },
            "a server that takes sessions",
        );
        session.unwrap()
    }

    /// One kill under load; whether it was inside a refresh or an archive.
    fn round(&self, kill: Kill, random: &mut ChaCha8Rng, batches: &mut [u32; WRITERS]) -> bool {
        let load = Load {
            url: self.url(),
            stop: AtomicBool::new(false),
            batches: batches.map(AtomicU32::new),
            begun: AtomicU32::new(0),
            usual: AtomicU64::new(0),
        };
        let inside = thread::scope(|scope| {
            for writer in 0..WRITERS {
                let load = &load;
                scope.spawn(move || load.write(writer));
            }
            let (load, watch) = (&load, self.session());
            let _stop = Stop(load);
            match kill {
                Kill::Refreshing => kill_program(
                    &watch,
                    &load.url,
                    &["refresh"],
                    random,
                    Duration::from_millis(40),
                ),
                Kill::Archiving => {
                    let folder = self.folder.to_str().unwrap();
                    kill_program(
                        &watch,
                        &load.url,
                        &["archive", "--folder", folder],
                        random,
                        Duration::from_millis(300),
                    )
                }
                Kill::Server | Kill::Session | Kill::Backend => {
                    let session = self.session();
                    let pid = session.value("SELECT pg_backend_pid()").unwrap();
                    let refresher = scope.spawn(move || load.refresh(&session));
                    let before = random.random_range(2..5);
                    until(
                        || load.begun.load(Ordering::Acquire) > before,
                        "a refresh that runs",
                    );
                    let usual = Duration::from_micros(load.usual.load(Ordering::Acquire));
                    pass(usual.mul_f64(random.random_range(0.0..0.9)));
                    match kill {
                        Kill::Server => self.cluster.cut(),
                        Kill::Session => watch.exec(&format!("SELECT pg_terminate_backend({pid})")),
                        _ => self
                            .cluster
                            .as_server_user("pg_ctl", &["kill", "KILL", &pid]),
                    }
                    load.stop
                        .store(matches!(kill, Kill::Session), Ordering::Release);
                    refresher.join().unwrap()
                }
            }
        });
        if matches!(kill, Kill::Server) {
            self.cluster.begin();
        }
        *batches = load.batches.map(AtomicU32::into_inner);
        inside
    }

    /// What has to hold after every kill.
    fn check(&self, batches: &[u32; WRITERS]) {
        let session = self.session();
        for (writer, acknowledged) in batches.iter().enumerate() {
            let missing = session.lines(&format!(
                // one that was not acknowledged is sent again by the next round, and may be there twice
                "SELECT b FROM generate_series(1, {acknowledged}) AS b
                 CROSS JOIN LATERAL (SELECT count(*) AS turns FROM agent_metrics.agent_events e
                                     WHERE e.conversation_id = 'w{writer}-' || b) e
                 WHERE e.turns < {TURNS} OR e.turns % {TURNS} <> 0"
            ));
            assert_eq!(missing, [""; 0], "committed and lost by writer {writer}");
        }
        // whoever was killed holds nothing any more
        until(
            || {
                session
                    .attempt("SET lock_timeout = '2s'; SELECT agent_metrics.refresh()")
                    .is_ok()
            },
            "a refresh that waits for nobody",
        );
        let differences = session.lines("SELECT * FROM agent_metrics.verify()");
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert_eq!(
            session
                .value("SELECT sum(turns) FROM agent_metrics_internal.rollups WHERE level = 'day'"),
            session.value(
                "SELECT (SELECT count(*) FROM agent_metrics.agent_events) + coalesce(sum(turns), 0)
                 FROM agent_metrics_internal.archives WHERE state IN ('detached', 'archived')"
            )
        );
    }

    /// Finishes an archive that was killed, and brings its turns back.
    fn finish_archive(&self) {
        let (url, folder) = (self.url(), self.folder.to_str().unwrap());
        works(&url, &["archive", "--folder", folder]);
        let session = self.session();
        assert_eq!(
            session.lines("SELECT DISTINCT state FROM agent_metrics_internal.archives"),
            ["archived"]
        );
        assert_no_rows(
            &session,
            "SELECT relname
             FROM pg_class WHERE relname ~ '_archived$|_next$'
                             AND relnamespace IN ('agent_metrics'::regnamespace,
                                                  'agent_metrics_internal'::regnamespace)
                             AND relkind = 'r'",
        );
        assert_verified(&session);
        for entry in fs::read_dir(&self.folder).unwrap() {
            works(&url, &["restore", entry.unwrap().path().to_str().unwrap()]);
        }
        session.exec("DELETE FROM agent_metrics_internal.archives");
        empty(&self.folder);
    }
}

fn empty(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
}

#[test]
fn killed_at_any_moment_the_rollups_are_right_and_nothing_is_lost() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("AGENT_METRICS_SEED", now.as_millis() as u64);
    let rounds = number("AGENT_METRICS_ROUNDS", 25);
    println!("AGENT_METRICS_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);

    // what a crash must not lose is on disk when it is acknowledged
    let field = Field {
        cluster: Cluster::start_with("crash", &["synchronous_commit=on"]),
        folder: std::env::temp_dir().join(format!("am_crash_archive_{}", std::process::id())),
    };
    let mut batches = [0; WRITERS];
    let (mut inside, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        if round % KILLS_OF_A_DATABASE == 0 {
            field.prepare();
            batches = [0; WRITERS];
        }
        let kill = KILLS[round as usize % KILLS.len()];
        inside += u64::from(field.round(kill, &mut random, &mut batches));
        field.check(&batches);
        if matches!(kill, Kill::Archiving) {
            field.finish_archive();
            field.check(&batches);
        }
        let kills = round + 1;
        if kills % KILLS_OF_A_DATABASE == 0 || kills == rounds {
            assert_rollups(&field.session());
            acknowledged += batches.iter().sum::<u32>();
            println!(
                "{kills} kills of {rounds}, {inside} inside a refresh or an archive; \
                 {acknowledged} transactions acknowledged, none lost"
            );
        }
    }
    assert!(
        inside * 2 >= rounds,
        "only {inside} of {rounds} kills were inside"
    );
    let _ = fs::remove_dir_all(&field.folder);
}
