//! Attached tables whose rows are turns: an application's own table, followed by a watermark and by comparing it.

use crate::support::asserts::{assert_explained, assert_no_rows};
use crate::support::program::{program, works};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session, login};

/// An application whose owner logs in, with a table of turns that an admin may read. Returns the database, the owner's
/// session and name, and the admin's session.
fn app(name: &str) -> (Db, Session, String, Session) {
    let db = crate::support::shop::shop(name);
    let (owner, app) = login(&db, "app");
    let (admin, program) = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{admin}', 'admin'); CREATE SCHEMA app AUTHORIZATION {owner}"
    ));
    app.exec(
        "GRANT USAGE ON SCHEMA app TO PUBLIC;
         CREATE TABLE app.turns (
             id bigint PRIMARY KEY, chat text, who text, said_at timestamp, took real, model text, tokens_in integer,
             tokens_out integer, usd numeric, result text, intent text, used jsonb, changed timestamptz NOT NULL);
         GRANT SELECT ON app.turns TO PUBLIC;
         INSERT INTO app.turns
         SELECT n, 'chat-' || n / 3, 'user-' || n / 3, timestamp '2026-03-05 10:00' + n * interval '1 minute',
                100.5 + n, 'gpt-x', 1000 + n, 100 + n, 0.001 * n, CASE WHEN n % 3 = 2 THEN 'resolved' END, 'refund',
                '[\"lookup_order\", {\"name\": \"refund\", \"ok\": false}]', '2026-03-05 12:00'
         FROM generate_series(1, 30) AS n",
    );
    (db, app, owner, program)
}

const ATTACH: &str = r#"SELECT * FROM agent_metrics.attach_turns('app.turns', key => 'id', watermark => 'changed',
    columns => '{"conversation_id": "chat", "user_id": "who", "occurred_at": "said_at", "latency_ms": "took",
                 "model": "model", "token_usage_input": "tokens_in", "token_usage_output": "tokens_out",
                 "cost_usd": "usd", "outcome_label": "result", "intent_classified": "intent", "tools_called": "used"}',
    fixed => '{"agent_id": "sup", "provider": "openai"}'"#;

fn done(db: Db, owner: &str, sessions: Vec<Session>) {
    drop(sessions);
    let admin = format!("{}_admin", db.name());
    db.exec(&format!(
        "DROP SCHEMA app CASCADE; DROP OWNED BY {owner} CASCADE; DROP OWNED BY {admin};
         DROP ROLE {owner}; DROP ROLE {admin}"
    ));
}

/// The turns are the table's rows that are turns, and the rollups are right.
#[track_caller]
fn assert_same(session: &Session) {
    assert_eq!(
        session.lines(
            "SELECT t.chat, t.who, t.said_at AT TIME ZONE 'UTC', t.took::double precision, t.model, 'openai',
                    t.tokens_in, t.tokens_out, t.usd, t.result, t.intent
             FROM app.turns t WHERE t.chat IS NOT NULL AND t.said_at IS NOT NULL ORDER BY t.id"
        ),
        session.lines(
            "SELECT e.conversation_id, e.user_id, e.occurred_at, e.latency_ms, e.model, e.provider,
                    e.token_usage_input, e.token_usage_output, e.cost_usd, e.outcome_label, e.intent_classified
             FROM agent_metrics.agent_events e WHERE e.provider = 'openai' ORDER BY e.token_usage_output"
        )
    );
    refresh(session);
    assert_rollups(session);
}

#[test]
fn rows_become_turns_and_are_followed_by_their_watermark() {
    let (db, app, owner, program) = app("turns_follow");
    assert_eq!(
        program.lines(&format!("{ATTACH})")),
        ["app.turns|compare|30|0|0|"]
    );
    assert_same(&db);
    assert_eq!(
        db.lines(
            "SELECT DISTINCT tools_called FROM agent_metrics.agent_events WHERE provider = 'openai'"
        ),
        ["[\"lookup_order\", {\"ok\": false, \"name\": \"refund\"}]"]
    );
    for (write, came_to) in [
        // what changed, and what is new
        (
            "UPDATE app.turns SET result = 'escalated', usd = 0.5, changed = '2026-03-05 12:30' WHERE id = 5",
            "app.turns|compare|0|1|0|",
        ),
        (
            "INSERT INTO app.turns
             SELECT n, 'chat-new', 'user-new', '2026-03-06', n, 'gpt-x', n, 100 + n, 0.1, NULL, NULL, NULL,
                    '2026-03-05 12:40'
             FROM generate_series(31, 33) AS n",
            "app.turns|compare|3|0|0|",
        ),
        // a label that was taken back, another moment, another conversation
        (
            "UPDATE app.turns SET result = NULL, said_at = '2026-03-07 09:00', chat = 'chat-other',
                                  changed = '2026-03-05 12:50' WHERE id IN (5, 8)",
            "app.turns|compare|0|2|0|",
        ),
        // no turn yet
        (
            "INSERT INTO app.turns (id, tokens_out, changed) VALUES (40, 140, '2026-03-05 12:51')",
            "app.turns|compare|0|0|0|",
        ),
        (
            "UPDATE app.turns SET chat = 'late', said_at = '2026-03-07', changed = '2026-03-05 12:52' WHERE id = 40",
            "app.turns|compare|1|0|0|",
        ),
        // nothing that we read
        (
            "UPDATE app.turns SET changed = '2026-03-05 12:53'",
            "app.turns|compare|0|0|0|",
        ),
    ] {
        app.exec(write);
        assert_eq!(
            program.lines("SELECT * FROM agent_metrics.sync_turns()"),
            [came_to],
            "{write}"
        );
        assert_same(&db);
    }
    // rows from the watermark on alone are read, until all are compared
    app.exec("UPDATE app.turns SET usd = 7 WHERE id = 2");
    db.exec(
        "UPDATE agent_metrics_internal.attached_tables
         SET read_from = '2026-03-05 12:53:30+00', read_next_at = now()",
    );
    assert_eq!(
        program.lines("SELECT inserted, updated FROM agent_metrics.sync_turns()"),
        ["0|0"]
    );
    assert_eq!(
        program.lines("SELECT inserted, updated FROM agent_metrics.sync_turns('app.turns')"),
        ["0|1"]
    );
    assert_same(&db);
    done(db, &owner, vec![app, program]);
}

#[test]
fn the_watermark_waits_for_transactions_that_are_open() {
    let (db, app, owner, program) = app("turns_watermark");
    program.exec(&format!("{ATTACH})"));
    let mark =
        || db.lines("SELECT watermark FROM agent_kpi.attached_tables WHERE source = 'app.turns'");
    assert_eq!(mark(), ["2026-03-05 12:00:00+00"]);
    // one whose clock is wrong leads nobody astray
    app.exec(
        "UPDATE app.turns SET changed = '2026-03-05 13:00' WHERE id = 1;
         UPDATE app.turns SET changed = '2999-01-01' WHERE id = 2",
    );
    let hour_later = "UPDATE agent_metrics_internal.attached_tables SET read_next_at = now() - interval '61 minutes'";
    for _ in 0..2 {
        program.exec(hour_later);
        program.exec("SELECT agent_metrics.sync_turns()");
    }
    assert_eq!(mark(), ["2026-03-05 13:00:00+00"]);
    // a row that committed later, with a smaller watermark, within the hour
    program.exec(
        "UPDATE agent_metrics_internal.attached_tables SET read_from = '2026-03-05 12:30:00+00'",
    );
    app.exec("UPDATE app.turns SET usd = 9, changed = '2026-03-05 12:40' WHERE id = 3");
    assert_eq!(
        program.lines("SELECT updated FROM agent_metrics.sync_turns()"),
        ["1"]
    );
    assert_same(&db);
    done(db, &owner, vec![app, program]);
}

#[test]
fn scores_follow_their_turn_and_rows_that_are_gone_keep_it_unless_asked() {
    let (db, app, owner, program) = app("turns_gone");
    program.exec(&format!("{ATTACH})"));
    db.exec(
        "INSERT INTO agent_metrics.turn_scores (
             agent_id, occurred_at, event_id, conversation_id, criterion, score, scored_by)
         SELECT agent_id, occurred_at, event_id, conversation_id, 'tone', 1, 'judge'
         FROM agent_metrics.agent_events WHERE provider = 'openai' AND token_usage_output = 104",
    );
    app.exec(
        "UPDATE app.turns SET said_at = '2026-03-09', chat = 'moved', changed = now() WHERE id = 4",
    );
    program.exec("SELECT agent_metrics.sync_turns()");
    assert_eq!(
        db.lines(
            "SELECT occurred_at, conversation_id FROM agent_metrics.turn_scores WHERE criterion = 'tone'"
        ),
        ["2026-03-09 00:00:00+00|moved"]
    );
    // most such tables keep some weeks only
    app.exec("DELETE FROM app.turns WHERE id < 10");
    program.exec("SELECT agent_metrics.sync_turns('app.turns')");
    let turns =
        || db.number("SELECT count(*) FROM agent_metrics.agent_events WHERE provider = 'openai'");
    assert_eq!(turns(), 30.0);
    program.exec("SELECT agent_metrics.detach_turns('app.turns')");
    assert_eq!(
        program.lines(&format!("{ATTACH}, delete_gone => true)")),
        ["app.turns|compare|0|0|9|"]
    );
    assert_same(&db);
    assert_eq!(
        db.lines("SELECT feeds, events, status FROM agent_kpi.attached_tables"),
        ["turns|21|followed"]
    );
    assert_eq!(
        program.number("SELECT agent_metrics.detach_turns('app.turns', keep_turns => false)"),
        21.0
    );
    assert_eq!(turns(), 0.0);
    refresh(&db);
    assert_rollups(&db);
    done(db, &owner, vec![app, program]);
}

#[test]
fn one_bad_row_is_named_and_stops_no_other() {
    let (db, app, owner, program) = app("turns_bad_row");
    app.exec("UPDATE app.turns SET usd = 'NaN' WHERE id = 7; UPDATE app.turns SET tokens_in = -1 WHERE id = 9");
    assert_eq!(
        program.lines(&format!("{ATTACH})")),
        ["app.turns|compare|28|0|0|a row cannot be stored as a turn"]
    );
    assert_eq!(
        db.lines("SELECT row_key FROM agent_metrics_internal.attachment_problems"),
        ["7"]
    );
    let said = program_says(&db);
    assert!(said.contains("app.turns cannot be followed"), "{said}");
    app.exec("UPDATE app.turns SET usd = 1, tokens_in = 5, changed = now() WHERE id IN (7, 9)");
    assert_eq!(
        program.lines("SELECT * FROM agent_metrics.sync_turns('app.turns')"),
        ["app.turns|compare|2|0|0|"]
    );
    assert_same(&db);
    done(db, &owner, vec![app, program]);
}

#[test]
fn a_view_of_ours_is_followed_and_what_it_shows_twice_is_named() {
    let (db, app, owner, program) = app("turns_view");
    let admin = format!("{}_admin", db.name());
    db.exec(&format!(
        "CREATE SCHEMA ours; GRANT USAGE ON SCHEMA ours TO {admin};
         CREATE VIEW ours.turns AS SELECT * FROM app.turns
         UNION ALL SELECT t.* FROM app.turns t WHERE t.id = 3
         UNION ALL SELECT NULL, t.chat, t.who, t.said_at, t.took, t.model, 0, 0, 0, NULL, NULL, NULL, t.changed
                   FROM app.turns t WHERE t.id = 4;
         GRANT SELECT ON ours.turns TO {admin}"
    ));
    let attach = ATTACH.replace("app.turns", "ours.turns");
    assert_eq!(
        program.lines(&format!("{attach})")),
        ["ours.turns|compare|30|0|0|a row cannot be stored as a turn"]
    );
    assert_eq!(
        db.lines("SELECT detail FROM agent_metrics_internal.attachment_problems"),
        ["several rows have the same key"]
    );
    app.exec("UPDATE app.turns SET usd = 3, changed = '2026-03-05 12:10' WHERE id = 9");
    assert_eq!(
        program.lines("SELECT updated FROM agent_metrics.sync_turns()"),
        ["1"]
    );
    assert_same(&db);
    // an admin writes the watermark, and whoever follows the view reads it as a value, never as SQL
    let written = r"2026-03-05\'' OR pg_catalog.set_config($$application_name$$, $$reached$$, false) IS NULL --";
    program.exec(&format!(
        "UPDATE agent_metrics_internal.attached_tables SET read_from = '{written}', compared_at = now()"
    ));
    db.exec("SET standard_conforming_strings = off; SET escape_string_warning = off");
    assert!(
        db.lines("SELECT problem FROM agent_metrics.sync_turns()")[0]
            .contains("its rows cannot be stored (SQLSTATE 22007)")
    );
    assert_eq!(
        db.lines("SELECT current_setting('application_name') = 'reached'"),
        ["f"]
    );
    db.exec("RESET standard_conforming_strings; RESET escape_string_warning");
    db.exec("DROP SCHEMA ours CASCADE");
    assert_eq!(
        program.lines("SELECT problem FROM agent_metrics.sync_turns()"),
        ["the table is gone: dropped or renamed"]
    );
    done(db, &owner, vec![app, program]);
}

fn program_says(db: &Db) -> String {
    let (_, out, err) = program(db.url(), &["doctor"]);
    out + &err
}

#[test]
fn the_program_follows_it_and_who_was_erased_does_not_come_back() {
    let (db, app, owner, program) = app("turns_program");
    program.exec(&format!("{ATTACH})"));
    app.exec(
        "INSERT INTO app.turns SELECT 50, 'chat-50', 'user-50', '2026-03-08', 1, 'gpt-x', 1, 150, 0.1, 'resolved',
                                      NULL, NULL, now()",
    );
    works(db.url(), &["refresh"]);
    assert_same(&db);
    db.exec("SELECT agent_metrics.erase_user('user-1')");
    program.exec("SELECT agent_metrics.sync_turns('app.turns')");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.agent_events WHERE user_id = 'user-1' OR conversation_id = 'chat-1'",
    );
    done(db, &owner, vec![app, program]);
}

#[test]
fn what_cannot_be_attached_is_refused_with_its_cure() {
    let (db, app, owner, program) = app("turns_refused");
    app.exec(
        "CREATE VIEW app.shown AS SELECT * FROM app.turns; GRANT SELECT ON app.shown TO PUBLIC;
         CREATE TABLE app.hidden (id bigint PRIMARY KEY, chat text, said_at timestamptz)",
    );
    let call = |arguments: &str| format!("SELECT agent_metrics.attach_turns({arguments})");
    let columns = "columns => '{\"occurred_at\": \"said_at\", \"conversation_id\": \"chat\"}'";
    let fixed = "fixed => '{\"agent_id\": \"sup\"}'";
    for (arguments, sqlstate, words) in [
        ("'app.turns'".to_owned(), "22023", "too little is said"),
        (
            format!("'app.turns', key => 'id', {columns}"),
            "22023",
            "agent_id",
        ),
        (
            format!("'app.turns', key => 'id', {columns}, fixed => '{{\"mood\": 1}}'"),
            "42703",
            "no column \"mood\"",
        ),
        (
            format!("'app.turns', key => 'id', {fixed}, columns => '[]'"),
            "22023",
            "are no objects",
        ),
        (
            format!("'app.turns', key => 'id', watermark => 'chat', {columns}, {fixed}"),
            "42804",
            "is of type text",
        ),
        (
            format!("'app.turns', key => 'chat', {columns}, {fixed}"),
            "22023",
            "is no key",
        ),
        (
            format!(
                "'app.turns', key => 'id', {columns}, fixed => '{{\"agent_id\": \"sup\", \"cost_usd\": \"free\"}}'"
            ),
            "22P02",
            "free",
        ),
        (
            "'app.turns', preset => 'langsmith'".to_owned(),
            "22023",
            "no preset \"langsmith\"",
        ),
        (
            format!("'app.turns', preset => 'litellm', {fixed}"),
            "22023",
            "says itself",
        ),
        (
            "'app.turns', preset => 'litellm'".to_owned(),
            "42703",
            "no column \"request_id\"",
        ),
        (
            format!("'app.shown', key => 'id', {columns}, {fixed}"),
            "42501",
            "whose code is not run",
        ),
        (
            format!("'app.hidden', key => 'id', {columns}, {fixed}"),
            "42501",
            "permission denied for column",
        ),
        (
            format!("'agent_metrics.agent_events', key => 'event_id', {columns}, {fixed}"),
            "42809",
            "cannot be attached",
        ),
    ] {
        let sql = call(&arguments);
        if sqlstate == "22P02" {
            crate::support::asserts::assert_refused(&program, &sql, sqlstate, words);
        } else {
            assert_explained(&program, &sql, sqlstate, words);
        }
    }
    program.exec(&format!("{ATTACH})"));
    assert_explained(
        &program,
        &format!("{ATTACH})"),
        "42710",
        "is attached already",
    );
    for sql in [
        "SELECT agent_metrics.sync_business_events('app.turns')",
        "SELECT agent_metrics.detach_business_events('app.turns')",
        "SELECT agent_metrics.sync_turns('app.hidden')",
        "SELECT agent_metrics.detach_turns('app.hidden')",
        "SELECT agent_metrics.ingest_rows('app.hidden', '{}', '{}')",
    ] {
        assert_explained(&program, sql, "42704", "is not attached");
    }
    done(db, &owner, vec![app, program]);
}

#[test]
fn no_code_of_its_owner_runs_and_an_index_finds_what_is_new() {
    let (db, app, owner, program) = app("turns_hostile");
    app.exec(
        "CREATE TABLE app.log (who name); GRANT INSERT ON app.log TO PUBLIC;
         CREATE FUNCTION app.tell() RETURNS void LANGUAGE sql AS 'INSERT INTO app.log VALUES (current_user)';
         CREATE FUNCTION app.trick(what bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
         BEGIN PERFORM app.tell(); RETURN what; END $$;
         CREATE INDEX ON app.turns (changed, app.trick(7));
         CREATE INDEX ON app.turns (changed) WHERE app.trick(id) > 0;
         CREATE INDEX ON app.turns (changed)",
    );
    program.exec(&format!("{ATTACH})"));
    app.exec("UPDATE app.turns SET usd = 3, changed = '2026-03-05 12:10' WHERE id = 3");
    assert_eq!(
        program.lines("SELECT updated FROM agent_metrics.sync_turns()"),
        ["1"]
    );
    db.exec("SELECT agent_metrics.sync_turns(); SELECT agent_metrics.sync_turns('app.turns')");
    assert_no_rows(
        &db,
        &format!("SELECT who FROM app.log WHERE who <> '{owner}'"),
    );
    // what is new is found in an index, where there is one
    db.exec(
        "UPDATE agent_metrics_internal.attached_tables SET read_from = '2026-03-05 12:05:00+00'",
    );
    let scans = || {
        db.number(
            "SELECT sum(pg_stat_get_xact_numscans(i.indexrelid)) FROM pg_index i
             WHERE i.indrelid = 'app.turns'::regclass",
        )
    };
    db.exec("BEGIN");
    let before = scans();
    db.exec("SELECT agent_metrics.sync_turns()");
    assert!(scans() > before, "no index was read");
    db.exec("COMMIT");
    done(db, &owner, vec![app, program]);
}
