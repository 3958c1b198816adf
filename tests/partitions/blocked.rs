//! What of others stands in the way of a partition that is to be made, moved, archived or dropped: it is named, with
//! whose it is and the cure, before anything is lost; and it holds nothing else up.

use std::fs;

use crate::partitions::archive::{archive, name_of, two_old_months};
use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::program::{fails, program, works};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Session, SqlError};

fn refused(session: &Session, sql: &str, sqlstate: &str, words: &[&str]) -> SqlError {
    let error = assert_sqlstate(session, sql, sqlstate);
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{error}");
    error
}

/// A role, dropped by nobody: tests have a cluster of their own.
fn role(session: &Session, name: &str) {
    session.exec(&format!(
        "DO $$ BEGIN CREATE ROLE {name}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    ));
}

#[test]
fn a_table_that_has_the_name_of_a_partition_is_left_alone_and_named() {
    let db = shop("blocked_names");
    role(&db, "blocked_names_bob");
    let month = db
        .value("SELECT to_char(date_trunc('month', now()) + interval '4 months', '\"agent_events_y\"YYYY\"m\"MM')")
        .unwrap();
    db.exec(&format!(
        "CREATE TABLE agent_metrics.{month} (LIKE agent_metrics.agent_events INCLUDING DEFAULTS);
         INSERT INTO agent_metrics.{month} (agent_id, occurred_at, conversation_id)
         SELECT 'sup', date_trunc('month', now()) + interval '4 months', 'mine';
         ALTER TABLE agent_metrics.{month} OWNER TO blocked_names_bob"
    ));
    let whose = ["blocked_names_bob", "RENAME TO"];
    let of_month: Vec<&str> = [month.as_str()].into_iter().chain(whose).collect();
    refused(
        &db,
        "SELECT agent_metrics.ensure_partitions(5)",
        "42P07",
        &of_month,
    );
    assert_eq!(
        db.number(&format!("SELECT count(*) FROM agent_metrics.{month}")),
        1.0
    );
    refresh(&db);
    assert_rollups(&db);
    db.exec(&format!("ALTER TABLE agent_metrics.{month} RENAME TO mine"));
    assert!(db.number("SELECT agent_metrics.ensure_partitions(5)") > 0.0);

    // names that a split needs are asked for before it begins
    db.exec(
        "CREATE TABLE agent_metrics.agent_events_before_old (note text);
         ALTER TABLE agent_metrics.agent_events_before_old OWNER TO blocked_names_bob;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'sup', now() - interval '8 months' - n * interval '10 minutes', 'old' || n
         FROM generate_series(1, 1500) n",
    );
    let words = ["agent_events_before_old", whose[0], whose[1]];
    refused(
        &db,
        "SELECT agent_metrics.partition_step()",
        "42P07",
        &words,
    );
    // which keeps no month from being made, and is told
    db.exec("DROP TABLE agent_metrics.agent_events_after");
    works(db.url(), &["once"]);
    db.exec("SELECT 'agent_metrics.agent_events_after'::regclass");
    let (_, told, _) = program(db.url(), &["doctor"]);
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    db.exec("DROP TABLE agent_metrics.agent_events_before_old");
    works(db.url(), &["once"]);
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(&db, "SELECT * FROM agent_metrics.agent_events_before");
}

#[test]
fn a_view_on_a_month_is_named_before_it_is_archived_and_holds_no_other_month_up() {
    let (db, [old, new], folder) = two_old_months("blocked_views");
    role(&db, "blocked_views_bob");
    let view = |on: &str| {
        db.exec(&format!(
            "CREATE SCHEMA IF NOT EXISTS theirs;
             CREATE VIEW theirs.january AS SELECT count(*) FROM {on};
             ALTER VIEW theirs.january OWNER TO blocked_views_bob"
        ));
    };
    let words = [
        "view theirs.january",
        "blocked_views_bob",
        "DROP VIEW theirs.january",
        name_of(&old),
    ];
    let at = ["archive", "--folder", folder.to_str().unwrap()];
    let states = || {
        db.lines("SELECT partition, state FROM agent_metrics_internal.archives ORDER BY from_time")
    };
    // before it begins
    view(&old);
    let (code, _, error) = program(db.url(), &at);
    assert_eq!(code, 1, "{error}");
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert_eq!(states(), [format!("{}|archived", name_of(&new))]);
    let (_, told, _) = program(db.url(), &["doctor"]);
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    // while its file is written
    db.exec("DROP VIEW theirs.january");
    let begin = format!(
        "SELECT agent_metrics.begin_archive('{0}', '/nowhere', '{0}.parquet')",
        name_of(&old)
    );
    let id = "(SELECT max(archive_id) FROM agent_metrics_internal.archives)";
    db.exec(&begin);
    db.exec(&format!(
        "SELECT agent_metrics.condense_archive({id}, 1, 'x', 1)"
    ));
    view(&old);
    refused(
        &db,
        &format!("SELECT agent_metrics.detach_archive({id})"),
        "2BP01",
        &words,
    );
    refused(&db, &begin, "2BP01", &words);
    db.exec("DROP VIEW theirs.january");
    refresh(&db);
    assert_verified(&db);
    // once it is detached
    db.exec(
        "CREATE FUNCTION agent_metrics.no() RETURNS event_trigger
         LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''killed''; END';
         CREATE EVENT TRIGGER no ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION agent_metrics.no()",
    );
    assert_eq!(program(db.url(), &at).0, 1);
    db.exec("DROP EVENT TRIGGER no");
    view(&format!("{old}_archived"));
    let error = fails(db.url(), &at);
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    let (_, told, _) = program(db.url(), &["doctor"]);
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    assert_verified(&db);
    db.exec("DROP VIEW theirs.january");
    works(db.url(), &at);
    assert!(states().iter().all(|state| state.ends_with("|archived")));
    assert_verified(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn whatever_may_stand_on_a_partition_is_named_and_what_goes_with_it_is_not() {
    let db = shop("blocked_kinds");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'sup', now() - interval '8 months' - n * interval '10 minutes', 'old' || n
         FROM generate_series(1, 1500) n;
         -- these go with it
         CREATE INDEX ON agent_metrics.agent_events_before ((upper(model))) WHERE model <> '';
         ALTER TABLE agent_metrics.agent_events_before ADD CHECK (length(agent_id) > 0);
         CREATE STATISTICS agent_metrics.of_ours ON agent_id, model FROM agent_metrics.agent_events_before;
         CREATE FUNCTION agent_metrics.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER mine BEFORE INSERT ON agent_metrics.agent_events_before
             FOR EACH ROW WHEN (NEW.model = 'x') EXECUTE FUNCTION agent_metrics.nothing();
         CREATE POLICY mine ON agent_metrics.agent_events_before USING (agent_id <> '')",
    );
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.partition_blockers()",
    );
    let on = "agent_metrics.agent_events_before";
    for (make, drop) in [
        (
            format!("CREATE MATERIALIZED VIEW theirs AS SELECT agent_id FROM {on}"),
            "DROP MATERIALIZED VIEW public.theirs",
        ),
        (
            format!(
                "CREATE FUNCTION theirs() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM {on}; END"
            ),
            "DROP FUNCTION public.theirs()",
        ),
        (
            format!(
                "CREATE FUNCTION theirs(turn {on}) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
            ),
            "DROP FUNCTION public.theirs(agent_metrics.agent_events_before)",
        ),
        (
            format!(
                "CREATE TABLE theirs (
                     a text, o timestamptz,
                     e uuid, CONSTRAINT mine FOREIGN KEY (a, o, e) REFERENCES {on})"
            ),
            "ALTER TABLE public.theirs DROP CONSTRAINT mine",
        ),
    ] {
        db.exec(&make);
        refused(
            &db,
            "SELECT agent_metrics.partition_step()",
            "2BP01",
            &["theirs", drop],
        );
        db.exec(drop);
    }
    db.exec("DROP TABLE theirs");
    // between two steps
    db.exec("SELECT agent_metrics.partition_step()");
    db.exec(&format!("CREATE VIEW theirs AS SELECT agent_id FROM {on}"));
    let mut error = Ok(());
    while error.is_ok() {
        error = db.attempt("SELECT agent_metrics.partition_step()");
    }
    assert_eq!(error.unwrap_err().sqlstate, "2BP01");
    assert!(db.number("SELECT count(*) FROM agent_metrics.agent_events_before") >= 1500.0);
    db.exec("DROP VIEW theirs");
    while db.value("SELECT agent_metrics.partition_step()").is_some() {}
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_foreign_key_to_turns_is_named_where_it_keeps_them_from_being_moved() {
    let (db, [old, _], folder) = two_old_months("blocked_keys");
    role(&db, "blocked_keys_bob");
    db.exec(&format!(
        "CREATE TABLE theirs (a text, o timestamptz,
                              e uuid, CONSTRAINT mine FOREIGN KEY (a, o, e)
                                          REFERENCES agent_metrics.agent_events);
         ALTER TABLE theirs OWNER TO blocked_keys_bob;
         INSERT INTO theirs SELECT agent_id, occurred_at, event_id FROM {old} LIMIT 1"
    ));
    // on agent_events it stands on no single month
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.partition_blockers()",
    );
    let words = [
        "blocked_keys_bob",
        "ALTER TABLE public.theirs DROP CONSTRAINT mine",
        name_of(&old),
    ];
    let (code, _, error) = program(db.url(), &["archive", "--folder", folder.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert_verified(&db);
    assert!(db.number(&format!("SELECT count(*) FROM {old}")) > 0.0);
    // the other month is archived, and a month is made where nobody refers to a turn
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics_internal.archives WHERE state = 'archived'"),
        1.0
    );
    db.exec("SELECT agent_metrics.ensure_partitions(5)");
    db.exec("TRUNCATE theirs");
    archive(&db, &folder);
    assert_verified(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_partition_in_another_schema_counts_and_is_named() {
    let (db, [old, new], folder) = two_old_months("blocked_schema");
    db.exec(&format!(
        "CREATE SCHEMA elsewhere; ALTER TABLE {old} SET SCHEMA elsewhere;
         CREATE TABLE {old} (note text);
         ALTER TABLE elsewhere.{0} DISABLE TRIGGER zz_check_turn",
        name_of(&old)
    ));
    refresh(&db);
    assert_rollups(&db);
    assert!(db.number("SELECT count(*) FROM agent_metrics_internal.broken_triggers()") > 0.0);
    db.exec("SELECT agent_metrics.setup()");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.broken_triggers()",
    );
    let (_, told, _) = program(db.url(), &["doctor"]);
    assert!(
        told.contains(&format!("elsewhere.{}", name_of(&old))),
        "{told}"
    );
    let said = archive(&db, &folder);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(name_of(&new)), "{said}");
    assert_verified(&db);
    fs::remove_dir_all(&folder).unwrap();
}
