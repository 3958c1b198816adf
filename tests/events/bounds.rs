//! What is accepted can be refreshed: texts, moments and JSON have bounds where they are written.

use crate::support::asserts::{assert_sqlstate, assert_verified};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, db};

/// SQL for that many bytes of hexadecimal digits, which no compression makes shorter than half; others in each row.
fn noise(bytes: usize) -> String {
    format!("pg_temp.noise({bytes})")
}

fn with_noise(db: &Db) {
    db.exec(
        "CREATE FUNCTION pg_temp.noise(bytes integer) RETURNS text LANGUAGE sql VOLATILE AS
             $$SELECT left(string_agg(md5(random()::text || n), ''), bytes)
               FROM generate_series(1, bytes / 32 + 1) n$$",
    );
}

fn event(db: &Db, column: &str, value: &str) -> Result<(), crate::support::SqlError> {
    db.attempt(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id{}) VALUES ({}, {}, {}{})",
        if ["agent_id", "occurred_at", "conversation_id"].contains(&column) {
            String::new()
        } else {
            format!(", {column}")
        },
        if column == "agent_id" { value } else { "'sup'" },
        if column == "occurred_at" { value } else { "now()" },
        if column == "conversation_id" { value } else { "'c'" },
        if ["agent_id", "occurred_at", "conversation_id"].contains(&column) {
            String::new()
        } else {
            format!(", {value}")
        },
    ))
}

#[test]
fn a_text_has_a_longest_length_and_the_error_says_which() {
    let db = db("bounds_texts");
    with_noise(&db);
    for (columns, most) in [
        (
            &[
                "agent_id",
                "intent_classified",
                "outcome_label",
                "agent_version",
                "model",
                "prompt_version",
                "provider",
            ][..],
            256,
        ),
        (
            &["conversation_id", "user_id", "business_event_id"][..],
            1024,
        ),
    ] {
        for column in columns {
            event(&db, column, &noise(most)).unwrap();
            let error = event(&db, column, &noise(most + 1)).unwrap_err();
            assert_eq!(error.sqlstate, "22001", "{error}");
            assert!(
                error
                    .message
                    .starts_with(&format!("{column} cannot be {} bytes long", most + 1)),
                "{error}"
            );
            assert!(
                error.detail.contains(&most.to_string()) && !error.hint.is_empty(),
                "{error}"
            );
            // as short when it is stored, and as long: characters of two bytes
            let error = event(&db, column, &format!("repeat('ä', {most})")).unwrap_err();
            assert_eq!(error.sqlstate, "22001", "{error}");
        }
    }
    // an update is checked as an insertion is
    event(&db, "model", "'m'").unwrap();
    assert_sqlstate(
        &db,
        &format!(
            "UPDATE agent_metrics.agent_events SET model = {}",
            noise(300)
        ),
        "22001",
    );
    for statement in [
        "INSERT INTO agent_metrics.business_events (business_event_id, kind) VALUES (repeat('x', 1025), 'charge')",
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, customer_id)
         VALUES ('x', 'charge', repeat('x', 1025))",
        "INSERT INTO agent_metrics.business_events (business_event_id, kind) VALUES ('x', repeat('x', 257))",
        "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label)
         VALUES ('sup', 'c', 'team', repeat('x', 257))",
        "INSERT INTO agent_metrics.survey_answers (agent_id, conversation_id, score)
         VALUES ('sup', repeat('x', 1025), 9)",
        "INSERT INTO agent_metrics.outcomes (label) VALUES (repeat('x', 257))",
        "SELECT agent_metrics.register_agent(repeat('x', 257), 'support', 'O')",
    ] {
        assert_sqlstate(&db, statement, "22001");
    }
}

#[test]
fn a_moment_lies_in_the_years_1_to_9999() {
    let db = db("bounds_moments");
    for good in ["'0001-01-01 00:00:00+00'", "'9999-12-31 23:57:00+00'"] {
        event(&db, "occurred_at", good).unwrap();
    }
    for bad in [
        "'0001-12-31 23:57:00+00 BC'",
        "'10000-01-01 00:00:00+00'",
        "'294276-12-31 23:59:59'",
        "'4714-11-24 00:00:00+00 BC'",
        "'infinity'",
        "'-infinity'",
    ] {
        let error = event(&db, "occurred_at", bad).unwrap_err();
        assert_eq!(error.sqlstate, "22008", "{bad}: {error}");
        assert!(
            error.message.starts_with("occurred_at cannot be "),
            "{error}"
        );
    }
    for statement in [
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at)
         VALUES ('x', 'charge', '20000-01-01')",
        "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, reviewed_at)
         VALUES ('sup', 'c', 'team', '20000-01-01')",
    ] {
        assert_sqlstate(&db, statement, "22008");
    }
    db.exec("SELECT agent_metrics.register_agent('sup', 'support', 'O')");
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn json_has_a_deepest_level() {
    let db = db("bounds_depth");
    let nested = |depth: usize| format!("(repeat('[', {depth}) || repeat(']', {depth}))::jsonb");
    event(&db, "tools_called", &nested(64)).unwrap();
    for deep in [65, 1_000, 3_000] {
        let error = event(&db, "tools_called", &nested(deep)).unwrap_err();
        assert_eq!(error.sqlstate, "54000", "{error}");
    }
    let object = |depth: usize| {
        format!("(repeat('{{\"a\": [1, \"b\", ', {depth}) || '1' || repeat(']}}', {depth}))::jsonb")
    };
    let insert = |detail: &str| {
        db.attempt(&format!(
            "INSERT INTO agent_metrics.business_events (business_event_id, kind, detail)
             VALUES (gen_random_uuid()::text, 'charge', {detail})"
        ))
    };
    insert(&object(32)).unwrap();
    assert_eq!(insert(&object(33)).unwrap_err().sqlstate, "54000");
}

/// Incompressible values of full length, in every column at once, by every way that a turn goes.
#[test]
fn values_of_full_length_are_refreshed_archived_restored_closed_and_erased() {
    let db = shop("bounds_full");
    with_noise(&db);
    db.exec("SELECT setseed(0.5)");
    db.exec(&format!(
        "SELECT agent_metrics.register_agent({agent}, 'sales', 'O') FROM generate_series(1, 2);
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, intent_classified,
                                                 latency_ms, cost_usd, outcome_label, business_event_id,
                                                 agent_version, model, prompt_version, provider, error)
         SELECT a.agent_id, date_trunc('month', now()) - interval '5 months' + n * interval '7 hours', {id}, {id},
                {name}, 10, 0.1, {name}, {id}, {name}, {name}, {name}, {name}, {id}
         FROM agent_metrics.agents a, generate_series(1, 20) n WHERE length(a.agent_id) = 256;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id, customer_id, amount_usd)
         SELECT {id}, 'charge', e.conversation_id, {id}, 5
         FROM agent_metrics.agent_events e WHERE length(e.agent_id) = 256;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, customer_id)
         SELECT DISTINCT ON (1) e.business_event_id, 'lead_qualified', {id}
         FROM agent_metrics.agent_events e WHERE length(e.agent_id) = 256;
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label)
         SELECT e.agent_id, e.conversation_id, {id}, e.outcome_label
         FROM agent_metrics.agent_events e WHERE length(e.agent_id) = 256;
         INSERT INTO agent_metrics.turn_scores (agent_id, occurred_at, event_id, criterion, conversation_id, score)
         SELECT e.agent_id, e.occurred_at, e.event_id, {name}, e.conversation_id, 1
         FROM agent_metrics.agent_events e WHERE length(e.agent_id) = 256",
        agent = noise(256),
        id = noise(1024),
        name = noise(256)
    ));
    refresh(&db);
    assert_rollups(&db);
    let unmapped =
        db.number("SELECT count(*) FROM agent_kpi.unmapped_labels WHERE length(agent_id) = 256");
    assert!(unmapped > 0.0);
    let before = db.value(
        "SELECT md5(string_agg(r::text, ',' ORDER BY r::text)) FROM agent_metrics_internal.rollups r",
    );
    // archived
    db.exec("UPDATE agent_metrics.settings SET value = '30' WHERE name = 'hot_days'");
    db.exec(
        "CREATE TEMP TABLE step AS
         SELECT p.partition, agent_metrics.begin_archive(p.partition, '/nowhere', p.partition || '.parquet') AS id
         FROM agent_metrics.archivable_partitions() p;
         SELECT agent_metrics.condense_archive(id, 1, 'x', 1), agent_metrics.detach_archive(id) FROM step",
    );
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.value(
            "SELECT md5(string_agg(r::text, ',' ORDER BY r::text)) FROM agent_metrics_internal.rollups r"
        ),
        before
    );
    // closed
    db.exec(
        "SELECT agent_metrics.close_period(
             (date_trunc('month', now()) - interval '5 months')::date, 'controller')",
    );
    // erased
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id)
         VALUES ('sup', now(), {id}, 'gone' || left({id}, 1000))",
        id = noise(1024)
    ));
    db.exec(
        "SELECT * FROM agent_metrics.erase_user((SELECT user_id FROM agent_metrics.agent_events
                                                 WHERE user_id LIKE 'gone%'))",
    );
    refresh(&db);
    assert_verified(&db);
}

/// What no trigger checked: stored before there was one, or while it was off.
#[test]
fn rows_that_were_accepted_before_there_were_bounds_stop_no_refresh() {
    let db = shop("bounds_before");
    with_noise(&db);
    db.exec(
        "SELECT agent_metrics.register_agent(
             u, CASE u WHEN 'lead' THEN 'sales' ELSE 'support' END, 'O')
         FROM unnest(ARRAY['label', 'user', 'lead', 'named', 'far', 'old', 'fine']) u",
    );
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER zz_check_turn;
         ALTER TABLE agent_metrics.business_events DISABLE TRIGGER zz_check_row;
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         VALUES ('label', now(), 'p', {long});
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id)
         VALUES ('user', now(), 'p', {long}), ('lead', now(), 'p', {long});
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, business_event_id)
         VALUES ('named', now(), 'p', {long});
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('far', '294276-12-31 23:59:59', 'p', 1e300),
                ('old', '4714-11-24 00:00:00+00 BC', 'p', 1e300), ('fine', now(), 'p', 1);
         INSERT INTO agent_metrics.business_events (
             business_event_id, kind, conversation_id, customer_id)
         VALUES ('b', 'ticket_resolved', 'p', {long});
         ALTER TABLE agent_metrics.agent_events ENABLE ALWAYS TRIGGER zz_check_turn;
         ALTER TABLE agent_metrics.business_events ENABLE ALWAYS TRIGGER zz_check_row",
        long = noise(9600)
    ));
    let agents = db.number("SELECT count(*) FROM agent_metrics.agents");
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.refresh()"),
        agents
    );
    assert_verified(&db);
    assert_eq!(
        db.lines("SELECT agent_id, turns FROM agent_metrics_internal.uncounted_turns() ORDER BY 1"),
        ["far|1", "old|1"]
    );
    // nor does that they go
    db.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'p'");
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.refresh()"),
        agents
    );
    assert_rollups(&db);
}

/// One agent that cannot be refreshed, or that somebody holds, is left out of a refresh of all, with a word.
#[test]
fn one_agents_poison_holds_up_no_other() {
    let db = shop("bounds_poison");
    db.exec(
        "CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN IF NEW.agent_id = 'sup' THEN
                         RAISE EXCEPTION 'poison'
                             USING ERRCODE = 'data_exception', DETAIL = 'why', HINT = 'cure';
                     END IF; RETURN NEW; END$$;
         CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON agent_metrics.conversations
             FOR EACH ROW EXECUTE FUNCTION public.poison();
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT agent_id, now(), 'new' FROM agent_metrics.agents",
    );
    let others = db.number("SELECT count(*) FROM agent_metrics.agents WHERE agent_id <> 'sup'");
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.refresh()"),
        others
    );
    let error = db.error("SELECT * FROM agent_metrics.refresh('sup')");
    assert_eq!(
        (
            error.sqlstate.as_str(),
            error.message.as_str(),
            error.hint.as_str()
        ),
        ("22000", "poison", "cure")
    );
    db.exec("DROP TRIGGER poison ON agent_metrics.conversations");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT agent_id, now(), 'newer' FROM agent_metrics.agents",
    );
    let holder = db.session();
    holder.exec(
        "BEGIN; SELECT FROM agent_metrics_internal.agent_watermarks WHERE agent_id = 'sup' FOR UPDATE",
    );
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.refresh()"),
        others
    );
    holder.exec("ROLLBACK");
    refresh(&db);
    assert_rollups(&db);
}
