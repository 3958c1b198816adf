//! A hostile hour: everybody who has some right, and somebody who has none, does his worst at once while the scheduler
//! runs. Short in the suite; AGENT_METRICS_HOSTILE_SECONDS makes it longer. At the end the rollups are right, every
//! agent is fresh, the page is up, nobody has won a right, and `doctor` names what is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::asserts::assert_no_rows;
use crate::support::program::{Running, program, works};
use crate::support::rollups::assert_rollups;
use crate::support::{Db, Session, db};

/// Roles of this test, which belong to the whole cluster.
struct Cast {
    db: Db,
    prefix: String,
}

impl Cast {
    const NAMES: [&str; 5] = ["stranger", "writer", "reader", "program", "crm"];

    fn new(db: Db) -> Self {
        let prefix = format!("hour_{}", std::process::id());
        for name in Self::NAMES {
            db.exec(&format!(
                "CREATE ROLE {prefix}_{name} LOGIN PASSWORD 'secret'"
            ));
        }
        db.exec(&format!(
            "GRANT CREATE ON DATABASE \"{}\" TO {prefix}_stranger, {prefix}_crm",
            db.name()
        ));
        for (name, level) in [
            ("writer", "writer"),
            ("reader", "reader"),
            ("program", "admin"),
        ] {
            db.exec(&format!(
                "SELECT agent_metrics.grant_access('{prefix}_{name}', '{level}')"
            ));
        }
        Self { db, prefix }
    }

    fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    fn url(&self, name: &str) -> String {
        let (_, place) = self.db.url().split_once('@').unwrap();
        format!("postgresql://{}:secret@{place}", self.role(name))
    }

    fn session(&self, name: &str) -> Session {
        Session::open(&self.url(name))
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for name in Self::NAMES {
            let role = self.role(name);
            let _ = self.db.attempt(&format!("DROP OWNED BY {role} CASCADE"));
            let _ = self.db.attempt(&format!("DROP ROLE {role}"));
        }
    }
}

/// What each does again and again. Each statement is tried by itself; most are refused.
fn deeds(name: &str) -> &'static [&'static str] {
    match name {
        "stranger" => &[
            "SELECT pg_advisory_lock(7018141438288651636)",
            "SELECT pg_advisory_lock(hashtext('agent_metrics.setup'))",
            "SELECT pg_advisory_lock(hashtext('agent_metrics.partition_step'))",
            "CREATE SCHEMA agent_kpi_mine",
            "CREATE FUNCTION agent_metrics.boo() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "CREATE OPERATOR public.= (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = numeric_eq)",
            "SELECT agent_metrics.setup()",
            "SELECT agent_metrics.refresh()",
            "SELECT agent_metrics.grant_access(current_user::regrole, 'admin')",
            "SELECT agent_metrics.percentile(
                 agent_metrics.quantile_sketch(g), array_fill(0.5::float8, ARRAY[100000]))
             FROM generate_series(1, 100) g",
            "LOCK TABLE agent_metrics_internal.agent_watermarks",
        ],
        "writer" => &[
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, outcome_label)
             VALUES ('sup', now(), 'p', repeat(md5(random()::text), 300))",
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             VALUES ('sup', '294276-12-31', 'p'), ('sup', now(), 'q')",
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, outcome_label)
             VALUES ('sup', now(), 'l' || random(), E'\\x1b[2J' || 'label')",
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, cost_usd, outcome_label)
             SELECT 'sup', now() - n * interval '1 hour', 'w' || random(), 0.01, 'success'
             FROM generate_series(1, 20) n",
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             VALUES ('nobody knows', now(), 'x')",
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, recorded_in)
             VALUES ('sup', now(), 'stamped', '900000000')",
            "UPDATE agent_metrics.agent_events
             SET outcome_label = 'success' WHERE agent_id = 'sup' AND conversation_id LIKE 'w0.1%'",
            "SELECT * FROM agent_metrics.ingest_events(
                 ('{\"agent_id\": \"sup\", \"prompt\": ' || repeat('[', 3000)
                  || repeat(']', 3000) || '}')::jsonb)",
            "SELECT * FROM agent_metrics.ingest_events(
                 '[{\"agent_id\": \"sup\"}, 7, {\"agent_id\": \"sup\", \"occurred_at\": \"soon\", '
                 '\"conversation_id\": \"c\"}]')",
            "INSERT INTO agent_metrics.business_events (
                 business_event_id, kind, conversation_id, amount_usd)
             VALUES (random()::text, 'charge', 'p', 5)",
            // holds what he wrote for a while
            "BEGIN;
             UPDATE agent_metrics.agent_events
             SET cost_usd = 1 WHERE agent_id = 'ops' AND conversation_id = 'held';
             INSERT INTO agent_metrics.business_events (business_event_id, kind)
             VALUES ('4711', 'x'); SELECT pg_sleep(1); ROLLBACK",
            "TRUNCATE agent_metrics.agent_events",
            "DELETE FROM agent_metrics.agent_events",
        ],
        "reader" => &[
            "SELECT count(*) FROM agent_kpi.cfo_tiles",
            "SELECT count(*) FROM agent_metrics.agent_events",
            "BEGIN; SELECT count(*) FROM agent_kpi.kpi_daily;
             LOCK TABLE agent_kpi.freshness IN ACCESS EXCLUSIVE MODE; ROLLBACK",
            "CREATE TEMP TABLE agent_events (x integer)",
            "SELECT agent_metrics.erase_user('u1')",
        ],
        "program" => &[
            "CREATE TRIGGER boo BEFORE INSERT ON agent_metrics_internal.changes
                 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER ALL",
            "DROP TABLE agent_metrics_internal.changes",
            "BEGIN;
             SELECT FROM agent_metrics_internal.agent_watermarks WHERE agent_id = 'ops' FOR UPDATE;
             SELECT pg_sleep(0.5); ROLLBACK",
            "SELECT count(*) FROM agent_metrics.verify('sup')",
        ],
        _ => &[
            "INSERT INTO crm.tickets (id, status, closed_at, chat)
             VALUES ('t' || random(), 'ticket_resolved', now(), 'w' || random())",
            "INSERT INTO crm.tickets (id, status, closed_at, chat)
             VALUES ('4711', 'ticket_resolved', now(), 'w') ON CONFLICT DO NOTHING",
            "UPDATE crm.tickets SET status = 'ticket_reopened' WHERE id LIKE 't0.1%'",
            "ALTER TABLE crm.tickets ADD COLUMN IF NOT EXISTS mood crm.mood",
            "BEGIN; LOCK TABLE crm.tickets IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1); ROLLBACK",
            "BEGIN;
             CREATE TABLE crm.tickets_new AS SELECT id, status, closed_at, chat FROM crm.tickets;
             DROP TABLE crm.tickets; ALTER TABLE crm.tickets_new RENAME TO tickets; COMMIT",
            "DELETE FROM crm.tickets WHERE id LIKE 't0.9%'",
        ],
    }
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn everybody_does_his_worst_at_once() {
    let seconds = std::env::var("AGENT_METRICS_HOSTILE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(12);
    let cast = Cast::new(db("hostile_hour"));
    let db = &cast.db;
    db.exec(&format!(
        "SELECT agent_metrics.register_agent(a, k, 'O')
         FROM (VALUES ('sup', 'support'), ('ops', 'ops'), ('sal', 'sales')) x (a, k);
         UPDATE agent_metrics.agents SET cadence = '*/5 * * * *';
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, cost_usd, outcome_label)
         SELECT (ARRAY['sup', 'ops', 'sal'])[1 + n % 3], now() - n * interval '37 minutes',
                CASE WHEN n = 3 THEN 'held' ELSE 'c' || n / 6 END, 'u' || n % 17, 0.01,
                CASE WHEN n % 6 = 0 THEN 'success' END
         FROM generate_series(1, 600) n;
         CREATE SCHEMA crm AUTHORIZATION {0};
         SET ROLE {0};
         CREATE TYPE crm.mood AS ENUM ('good');
         CREATE TABLE crm.log (who name);
         GRANT INSERT ON crm.log TO PUBLIC; GRANT USAGE ON SCHEMA crm TO PUBLIC;
         CREATE FUNCTION crm.tell(crm.mood) RETURNS json
         LANGUAGE plpgsql AS $$BEGIN INSERT INTO crm.log VALUES (current_user); RETURN '1'; END$$;
         CREATE CAST (crm.mood AS json) WITH FUNCTION crm.tell(crm.mood);
         CREATE TABLE crm.tickets (id text PRIMARY KEY, status text, closed_at timestamptz,
                                   chat text, mood crm.mood DEFAULT 'good');
         RESET ROLE;
         SELECT agent_metrics.attach_business_events(
             'crm.tickets', business_event_id => 'id', occurred_at => 'closed_at', kind => 'status',
             conversation_id => 'chat')",
        cast.role("crm")
    ));
    let running = Running::new(&cast.url("program"), &["run", "--listen", "127.0.0.1:0"]);
    let line = running.says("http://127.0.0.1:");
    let port: u16 = line
        .rsplit_once("127.0.0.1:")
        .unwrap()
        .1
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();

    let is_over = AtomicBool::new(false);
    let idle: Vec<TcpStream> = thread::scope(|scope| {
        for name in Cast::NAMES {
            let (cast, is_over) = (&cast, &is_over);
            scope.spawn(move || {
                let session = cast.session(name);
                session.exec("SET statement_timeout = '5s'; SET lock_timeout = '2s'");
                for deed in deeds(name).iter().cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    if session.attempt(deed).is_err() {
                        let _ = session.attempt("ROLLBACK");
                    }
                }
            });
        }
        // who only opens connections and never asks
        let mut idle = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            if idle.len() < 200 {
                idle.extend(TcpStream::connect(("127.0.0.1", port)));
            }
            // agents are due all the time
            db.exec(
                "UPDATE agent_metrics_internal.agent_watermarks
                 SET refreshed_at = refreshed_at - interval '10 minutes'
                 WHERE refreshed_at > now() - interval '5 minutes'",
            );
            thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
        idle
    });

    // the scheduler still works, and catches up by itself
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now() - interval '1 day'");
    db.until(
        "SELECT bool_and(w.refreshed_at > now() - interval '1 hour')
         FROM agent_metrics_internal.agent_watermarks w",
    );
    db.until("SELECT NOT bool_or(f.is_stale) FROM agent_kpi.freshness f");
    drop(idle);
    let page = get(port).unwrap_or_default();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert_eq!(running.terminate(), Some(0));
    works(db.url(), &["refresh"]);
    assert_rollups(db);

    // nobody has won anything
    assert_no_rows(
        db,
        &format!(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE '{}\\_%' AND (rolsuper OR rolcreaterole OR rolbypassrls)",
            cast.prefix
        ),
    );
    // no code of the owner of the attached table ran as somebody else
    assert_no_rows(
        db,
        &format!(
            "SELECT DISTINCT who FROM crm.log WHERE who <> '{}'",
            cast.role("crm")
        ),
    );
    assert_no_rows(db, "SELECT * FROM agent_metrics_internal.broken_triggers()");
    let (_, findings, _) = program(db.url(), &["doctor"]);
    for words in ["no scheduler runs", "nobody knows", "label", "quarantine"] {
        assert!(
            findings.contains(words),
            "{words} is missing in: {findings}"
        );
    }
    assert!(!findings.contains('\u{1b}'), "{findings:?}");
}
