//! Updates: an earlier version is installed and filled, ALTER EXTENSION UPDATE and setup() bring it here, and then
//! the whole catalogue is that of a fresh install, `verify()` finds nothing, and no row or edit is lost.
//!
//! Earlier versions are those of `sql/released`. Before there is one, and for what no release has changed yet, the
//! test makes version 0.0.9 of the current sources: a table, a column, a view, a function and a metric less, and two
//! functions that say something else. What brings them is what a release has: an upgrade script, and a step.
//!
//! The server loads one library, the current one. What setup() asks of the library of another version, SQL answers.

mod catalogue;
mod kept;
mod killed;
mod majors;
mod released;
mod server;
mod sources;
mod steps;
mod versions;

use std::collections::BTreeSet;
use std::fs;

use self::server::{Server, script};
use self::sources::{Script, Sources, member, table, view, without_item};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::fill_shop;
use crate::support::{Session, db};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const EARLIER: &str = "0.0.9";

/// What version 0.0.9 has not.
const TABLE: &str = "agent_metrics_internal.job_problems";
const COLUMN: (&str, &str) = ("agent_metrics.agents", "replaced_by");
const VIEW: &str = "agent_kpi.quarantine";
const FUNCTION: &str = "agent_metrics_internal.uncounted_turns";
const METRIC: &str = "eval_latency_p50_ms";
/// What says something else there: a member, and a function of the owner's.
const CHANGED: &str = "agent_metrics.acknowledge";
const OWNERS: &str = "agent_metrics_internal.refuse_change";

/// Version 0.0.9, and what leads from it to the current version.
struct Past {
    sources: Sources,
    /// The upgrade script, as somebody would write it.
    upgrade: String,
    /// Step 2.
    step: String,
}

fn past() -> Past {
    let mut sources = Sources::current();
    let mut upgrade = sources.take(&member(FUNCTION));
    upgrade += &sources
        .find(&member(CHANGED))
        .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
    let mut step = sources.take(&table(TABLE));
    sources.take(&view(VIEW));

    let (of, column) = COLUMN;
    let begins = format!("CREATE TABLE {of} (");
    let (_, definition) = without_item(&sources.find(std::slice::from_ref(&begins)), column);
    sources.edit(&begins, |statement| without_item(statement, column).0);
    step += &format!("ALTER TABLE {of} ADD COLUMN {definition};\n");
    step += &sources.take(&[format!("COMMENT ON COLUMN {of}.{column} ")]);

    let begins = "INSERT INTO agent_metrics.metrics (";
    let metric = format!("('{METRIC}',");
    let insert = sources.find(&[begins.to_owned()]);
    let (_, row) = without_item(&insert, &metric);
    sources.edit(begins, |statement| without_item(statement, &metric).0);
    let head = &insert[insert.find(begins).unwrap()..insert.find(" VALUES").unwrap()];
    step += &format!("{head} VALUES\n    {row}\nON CONFLICT DO NOTHING;\n");

    let other = |statement: &str| statement.replacen("BEGIN\n", "BEGIN  -- as it was\n", 1);
    sources.edit(&member(CHANGED)[0], other);
    sources.edit(&format!("CREATE OR REPLACE FUNCTION {OWNERS}("), other);
    Past {
        sources,
        upgrade,
        step,
    }
}

/// Lets SQL answer setup() in the place of a library of this version with these scripts.
fn stand_in(session: &Session, version: &str, sources: &Sources) {
    session.exec(
        "DROP TABLE IF EXISTS public.library;
         CREATE TABLE public.library (number serial, name text, script text)",
    );
    for Script { kind, path, text } in &sources.0 {
        assert!(!text.contains("$text$"));
        session.exec(&format!(
            "INSERT INTO public.library (name, script) VALUES ('{kind} {path}', $text${text}$text$)"
        ));
    }
    session.exec(&format!(
        "CREATE OR REPLACE FUNCTION agent_metrics.version() RETURNS text
             LANGUAGE sql STABLE AS $$SELECT '{version}'$$;
         CREATE OR REPLACE FUNCTION agent_metrics_internal.setup_script(number integer) RETURNS text
             LANGUAGE sql STABLE AS 'SELECT l.script FROM public.library l WHERE l.number = $1';
         CREATE OR REPLACE FUNCTION agent_metrics_internal.setup_script_name(number integer) RETURNS text
             LANGUAGE sql STABLE AS 'SELECT l.name FROM public.library l WHERE l.number = $1'"
    ));
}

/// Lets the library answer again.
fn library(session: &Session) {
    let current = Sources::current();
    for function in [
        "agent_metrics.version",
        "agent_metrics_internal.setup_script",
        "agent_metrics_internal.setup_script_name",
    ] {
        let statement = current.find(&[member(function)[0].clone()]);
        let again = statement.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
        session.exec(&again.replace("MODULE_PATHNAME", "$libdir/agent_metrics"));
    }
}

fn setup(session: &Session) -> String {
    session.value("SELECT agent_metrics.setup()").unwrap()
}

/// Rows as they are before an update, and the query that asks for them again, by the columns of before.
struct Kept {
    query: String,
    rows: BTreeSet<String>,
}

impl Kept {
    fn of(session: &Session) -> Self {
        let tables = session.lines(
            "SELECT format('SELECT %L, to_jsonb(x) FROM (SELECT %s FROM %s) x', c.oid::regclass,
                           string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), c.oid::regclass)
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relkind = 'r'
               AND c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
             GROUP BY c.oid",
        );
        let query = tables.join(" UNION ALL ");
        let rows: BTreeSet<String> = session.lines(&query).into_iter().collect();
        assert!(rows.len() > 1000, "{}", rows.len());
        Self { query, rows }
    }

    fn lost(&self, session: &Session) -> Vec<String> {
        let now: BTreeSet<String> = session.lines(&self.query).into_iter().collect();
        self.rows.difference(&now).cloned().collect()
    }
}

/// Rows of the tables with rows that ship, without what tells when they came.
fn shipped(session: &Session) -> BTreeSet<String> {
    let tables =
        session.lines("SELECT DISTINCT relation FROM agent_metrics_internal.shipped_rows()");
    assert!(tables.len() > 5, "{tables:?}");
    let of =
        |table: &String| format!("SELECT '{table}', to_jsonb(t) - 'changed_in' FROM {table} t");
    let queries: Vec<String> = tables.iter().map(of).collect();
    session
        .lines(&queries.join(" UNION ALL "))
        .into_iter()
        .collect()
}

/// Facts, a refresh, a reader, and edits of what ships.
fn fill(session: &Session) {
    fill_shop(session);
    refresh(session);
    session.exec(
        "SELECT agent_metrics.grant_access('reader', 'reader');
         UPDATE agent_metrics.settings SET value = '30' WHERE name = 'hot_days';
         DELETE FROM agent_metrics.outcomes WHERE label = 'abandoned';
         UPDATE agent_metrics.agent_events SET latency_ms = 4321 WHERE conversation_id = 'sal-2-2'",
    );
}

/// After an update: nothing that was there is lost or changed, and the rollups are right, now and after more facts.
fn assert_kept(session: &Session, before: &Kept, fresh: &Session) {
    assert_eq!(before.lost(session), [""; 0]);
    // the edit stayed, what was deleted stayed away, and every other row that ships is as in a fresh install
    let (ours, theirs) = (shipped(session), shipped(fresh));
    let words = |some: &BTreeSet<String>, others: &BTreeSet<String>| -> Vec<String> {
        let only = some.difference(others);
        only.map(|row| {
            ["hot_days", "abandoned"]
                .into_iter()
                .find(|word| row.contains(word))
                .unwrap_or(row)
                .to_owned()
        })
        .collect()
    };
    assert_eq!(words(&ours, &theirs), ["hot_days"]);
    assert_eq!(
        words(&theirs, &ours),
        ["hot_days", "abandoned"]
            .map(str::to_owned)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    refresh(session);
    assert_rollups(session);
    session.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT 'sup', '2026-05-01 10:00:00+00', 'after-' || n, n, 'resolved' FROM generate_series(1, 20) AS n",
    );
    refresh(session);
    assert_rollups(session);
}

fn assert_same(updated: &[String], fresh: &[String]) {
    let found = catalogue::differences(updated, fresh);
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// A server with the files of 0.0.9; what setup() runs there; and what it runs in the current version if 0.0.9 had been
/// released: its baseline is frozen, and one more step does the rest.
fn released_past(name: &str) -> (Server, Sources, Sources) {
    let Past {
        sources,
        upgrade,
        step,
    } = past();
    let server = Server::copy(name);
    let sql = server.folder.join("sql");
    let frozen = server.folder.join("released").join(EARLIER);
    sources.write(&sql);
    script("freeze", &[sql.to_str().unwrap(), frozen.to_str().unwrap()]);
    let install = format!("agent_metrics--{EARLIER}.sql");
    server.add(
        &install,
        &fs::read_to_string(frozen.join(&install)).unwrap(),
    );
    let mut later = Sources::current();
    let guard = later.0[0].clone();
    assert_eq!(guard.path, "setup/guard_begin.sql");
    server.add(
        &format!("agent_metrics--{EARLIER}--{VERSION}.sql"),
        &(guard.text + &upgrade),
    );
    let earlier = Sources::frozen(&frozen);
    later.0.retain(|script| script.kind != "member");
    let once = |script: &&mut Script| ["tables", "rows", "step"].contains(&&*script.kind);
    for script in later.0.iter_mut().filter(once) {
        let old = earlier.0.iter().find(|old| old.path == script.path);
        script.text.clone_from(&old.unwrap().text);
    }
    let number = later.of(&["step"]).count() + 2;
    let later = later.with_steps(&[(&format!("steps/{number}_rest.sql"), step)]);
    (server.start(), earlier, later)
}

/// A database of version 0.0.9 with facts in it.
fn filled(server: &Server, name: &str, earlier: &Sources) -> Session {
    let session = server.database(name);
    session.exec("CREATE ROLE reader");
    session.exec(&format!(
        "CREATE EXTENSION agent_metrics VERSION '{EARLIER}'"
    ));
    stand_in(&session, EARLIER, earlier);
    setup(&session);
    fill(&session);
    session
}

/// A first setup() of the version that the sources make.
fn fresh(server: &Server, name: &str, later: &Sources) -> Session {
    let session = server.database(name);
    session.exec("CREATE EXTENSION agent_metrics");
    stand_in(&session, VERSION, later);
    setup(&session);
    library(&session);
    session.exec("SELECT agent_metrics.grant_access('reader', 'reader')");
    session
}

#[test]
fn an_update_ends_as_a_fresh_install() {
    let (server, earlier, later) = released_past("upgrade");
    let steps = later.of(&["step"]).count();

    let updated = filled(&server, "updated", &earlier);
    assert!(setup(&updated).ends_with(&format!("{steps} in all")));
    for gone in [TABLE, VIEW] {
        assert_eq!(
            updated.value(&format!("SELECT to_regclass('{gone}')")),
            None
        );
    }
    let before = Kept::of(&updated);
    updated.exec("ALTER EXTENSION agent_metrics UPDATE");
    stand_in(&updated, VERSION, &later);
    assert!(setup(&updated).contains("1 migrations applied now"));
    library(&updated);

    // a first setup() of the same version: all is equal, to the order of columns
    let fresh = fresh(&server, "fresh", &later);
    let made = fresh.number("SELECT count(*) FROM agent_metrics_internal.migrations");
    assert_eq!(made, steps as f64 + 1.0);
    let updated_says = catalogue::of(&updated);
    assert!(updated_says.len() > 5000, "{}", updated_says.len());
    assert_same(&updated_says, &catalogue::of(&fresh));

    // and one of the sources as they are, which need no step for it: the new column may stand elsewhere there, and the
    // number of steps is another
    let current = server.database("current");
    current.exec("CREATE EXTENSION agent_metrics");
    assert!(setup(&current).ends_with(&format!("{steps} in all")));
    current.exec("SELECT agent_metrics.grant_access('reader', 'reader')");
    assert_kept(&updated, &before, &current);
    let comparable = |lines: Vec<String>| -> Vec<String> {
        let place = |line: String| match line.split('|').collect::<Vec<_>>()[..] {
            ["column", table, column, _, ref rest @ ..] if table == COLUMN.0 => {
                format!("column|{table}|{column}|{}", rest.join("|"))
            }
            ["comment", "table agent_metrics_internal.migrations", _] => String::new(),
            _ => line,
        };
        let mut lines: Vec<String> = lines.into_iter().map(place).collect();
        lines.sort();
        lines
    };
    assert_same(
        &comparable(updated_says),
        &comparable(catalogue::of(&current)),
    );
}

#[test]
fn every_release_updates_to_this_version() {
    let folders = released::folders();
    let Some(_) = folders.first() else {
        println!("nothing is released yet: a version that the test makes stands for it");
        return;
    };
    let server = Server::copy("upgrade_released");
    for (version, folder) in &folders {
        let install = format!("agent_metrics--{version}.sql");
        server.add(
            &install,
            &fs::read_to_string(folder.join(&install)).unwrap(),
        );
    }
    let server = server.start();
    let fresh = server.database("fresh");
    fresh.exec("CREATE EXTENSION agent_metrics; CREATE ROLE reader");
    setup(&fresh);
    fresh.exec("SELECT agent_metrics.grant_access('reader', 'reader')");
    for (version, folder) in &folders {
        let updated = server.database(&format!("from_{}", version.replace('.', "_")));
        updated.exec(&format!(
            "CREATE EXTENSION agent_metrics VERSION '{version}'"
        ));
        stand_in(&updated, version, &Sources::frozen(folder));
        setup(&updated);
        fill(&updated);
        let before = Kept::of(&updated);
        library(&updated);
        updated.exec("ALTER EXTENSION agent_metrics UPDATE");
        setup(&updated);
        assert_same(&catalogue::of(&updated), &catalogue::of(&fresh));
        assert_kept(&updated, &before, &fresh);
    }
}
