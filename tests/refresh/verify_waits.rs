//! `verify()` calls nothing wrong that no refresh has seen yet; and what was changed and changed back ends as it began.

use crate::partitions::by_hand::two_months;
use crate::support::Session;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;

fn verified(session: &Session, what: &str) {
    assert_eq!(
        session.lines("SELECT * FROM agent_metrics.verify()"),
        [""; 0],
        "{what}"
    );
}

#[test]
fn a_month_detached_by_hand_is_not_called_wrong_before_a_refresh() {
    let (db, [old, _]) = two_months("waits_detached");
    // a turn that lasts into the next month, and what was said of a turn of an evaluation in a conversation of others
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'sup', date_trunc('month', min(occurred_at)) + interval '1 month' - interval '1 minute',
                'midnight', 7200000 FROM {old};
         UPDATE {old} SET is_eval = true WHERE conversation_id LIKE 'ops-%-1' AND outcome_label IS NULL;
         INSERT INTO agent_metrics.tool_call_verdicts (
             agent_id, occurred_at, event_id, conversation_id, call_index, judged_by, is_correct)
         SELECT agent_id, occurred_at, event_id, 'ops-spanning', 0, 'bob', true FROM {old} WHERE is_eval;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('ops', now(), 'ops-spanning')"
    ));
    refresh(&db);
    assert_rollups(&db);
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DETACH PARTITION {old}"
    ));
    verified(&db, "detached");
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn turns_below_another_clusters_ids_are_not_called_wrong_before_a_refresh() {
    let db = shop("waits_foreign");
    db.exec(
        "ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER ALL;
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, recorded_in)
         VALUES ('sup', '2026-03-03 03:00:00+00', 'foreign', '1000000000');
         ALTER TABLE agent_metrics.agent_events ENABLE TRIGGER ALL;
         SELECT agent_metrics.setup()",
    );
    refresh(&db);
    assert_rollups(&db);
    let turn = "INSERT INTO agent_metrics.agent_events (
                    agent_id, occurred_at, conversation_id, latency_ms, cost_usd)
                VALUES ('sup', '2026-03-03 04:00:00+00', 'local', 5, 1)";
    db.exec("BEGIN");
    db.exec(turn);
    verified(&db, "in its own transaction");
    db.exec("SELECT * FROM agent_metrics.refresh()");
    verified(&db, "refreshed in its own transaction");
    db.exec("COMMIT");
    verified(&db, "committed since");
    db.exec(turn);
    verified(&db, "committed");
    refresh(&db);
    assert_rollups(&db);
    // what is wrong is found all the same
    db.exec(
        "UPDATE agent_metrics_internal.rollups SET turns = turns + 1
         WHERE agent_id = 'sup' AND bucket >= '2026-03-03 04:00:00+00' AND level <> 'day'",
    );
    assert!(db.number("SELECT count(*) FROM agent_metrics.verify()") > 0.0);
}

#[test]
fn an_agent_that_is_renamed_in_its_turns_and_back_ends_as_it_began() {
    let db = shop("waits_renamed");
    db.exec("SELECT agent_metrics.register_agent('new', 'support', 'Head of Support')");
    db.exec(
        "INSERT INTO agent_metrics.tool_call_verdicts (
             agent_id, occurred_at, event_id, conversation_id, call_index, judged_by, is_correct)
         SELECT agent_id, occurred_at, event_id, conversation_id, 0, 'bob', true
         FROM agent_metrics.agent_events WHERE agent_id IN ('sup', 'sal')",
    );
    refresh(&db);
    assert_rollups(&db);
    let rows = || {
        db.lines(
            "SELECT to_jsonb(r)::text FROM agent_metrics_internal.rollups r
             UNION ALL SELECT to_jsonb(c)::text FROM agent_metrics.conversations c
             UNION ALL SELECT to_jsonb(l)::text FROM agent_metrics_internal.leads l
             UNION ALL SELECT to_jsonb(f)::text FROM agent_metrics_internal.conversation_facts f
             UNION ALL SELECT to_jsonb(f)::text FROM agent_metrics_internal.fact_days f
             UNION ALL SELECT to_jsonb(f)::text
                       FROM agent_metrics_internal.active_days f ORDER BY 1",
        )
    };
    let before = rows();
    for (from, to, between) in [
        ("sup", "new", true),
        ("sup", "new", false),
        ("sal", "nobody", true),
        ("sal", "nobody", false),
        ("sal", "sup", true),
    ] {
        for which in [
            "true",
            "conversation_id LIKE '%-2'",
            "turn_index = 1",
            "occurred_at < '2026-03-03'",
        ] {
            db.exec(&format!(
                "UPDATE agent_metrics.agent_events SET agent_id = '{to}', event_id = event_id,
                                                       user_id = coalesce(user_id, '') || '{from}!'
                 WHERE agent_id = '{from}' AND ({which})"
            ));
            verified(&db, to);
            if between {
                refresh(&db);
                assert_rollups(&db);
            }
            db.exec(&format!(
                "UPDATE agent_metrics.agent_events
                 SET agent_id = '{from}', user_id = nullif(replace(user_id, '{from}!', ''), '')
                 WHERE agent_id = '{to}' AND user_id LIKE '%{from}!'"
            ));
            verified(&db, from);
            refresh(&db);
            assert_rollups(&db);
            assert!(rows() == before, "{from} {to} {which}");
            db.exec("SELECT count(*) FROM agent_metrics.rebuild()");
            assert!(rows() == before, "rebuilt: {from} {to} {which}");
        }
    }
}

#[test]
fn what_was_said_of_an_evaluations_turn_follows_it_wherever_it_moves() {
    let db = shop("waits_verdict");
    let turn = "agent_id = 'sup' AND event_id = md5('sup-1-1-1')::uuid";
    db.exec(&format!(
        "INSERT INTO agent_metrics.tool_call_verdicts (
             agent_id, occurred_at, event_id, conversation_id, call_index, judged_by, is_correct)
         SELECT agent_id, occurred_at, event_id, conversation_id, 0, 'bob', false
         FROM agent_metrics.agent_events WHERE {turn};
         INSERT INTO agent_metrics.turn_scores (agent_id, occurred_at, event_id, conversation_id, score)
         SELECT agent_id, occurred_at, event_id, conversation_id, 1 FROM agent_metrics.agent_events WHERE {turn};
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, occurred_at, event_id, reviewer, answer_verdict)
         SELECT agent_id, conversation_id, occurred_at, event_id, 'ann', 'supported'
         FROM agent_metrics.agent_events WHERE {turn}"
    ));
    refresh(&db);
    assert_rollups(&db);
    let facts = || {
        db.lines(
            "SELECT measure, sum(facts) FROM agent_metrics_internal.fact_days
             WHERE measure IN ('tool_calls', 'instruction_scores', 'answers')
             GROUP BY 1 ORDER BY 1",
        )
    };
    let all = facts();
    assert_eq!(all, ["answers|1", "instruction_scores|1", "tool_calls|1"]);
    for (change, counted) in [
        (
            "UPDATE agent_metrics.agent_events SET is_eval = true WHERE",
            false,
        ),
        (
            "UPDATE agent_metrics.agent_events SET conversation_id = 'elsewhere' WHERE",
            false,
        ),
        (
            "UPDATE agent_metrics.agent_events SET is_eval = false WHERE",
            true,
        ),
        (
            "UPDATE agent_metrics.agent_events SET is_eval = true WHERE",
            false,
        ),
        (
            "CREATE TABLE kept AS SELECT * FROM agent_metrics.agent_events WHERE",
            false,
        ),
        ("DELETE FROM agent_metrics.agent_events WHERE", true),
        (
            "INSERT INTO agent_metrics.agent_events SELECT * FROM kept WHERE",
            false,
        ),
    ] {
        db.exec(&format!("{change} {turn}"));
        verified(&db, change);
        refresh(&db);
        verified(&db, change);
        assert_eq!(
            facts(),
            if counted { all.clone() } else { vec![] },
            "{change}"
        );
    }
}

#[test]
fn the_first_day_of_year_one_is_rebuilt_once_wherever_it_begins() {
    let db = shop("waits_year_one");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '0001-01-01 00:00:00+00', 'first', 5),
                ('ops', '0001-01-01 03:00:00+00', 'first', 5),
                ('sal', '9999-12-31 23:59:59+00', 'last', 5)",
    );
    for zone in [
        "UTC",
        "Asia/Kolkata",
        "Pacific/Auckland",
        "America/New_York",
    ] {
        db.exec(&format!(
            "UPDATE agent_metrics.settings SET value = '{zone}' WHERE name = 'report_time_zone'"
        ));
        refresh(&db);
        verified(&db, zone);
        let rows = || {
            db.lines(
                "SELECT to_jsonb(r)::text FROM agent_metrics_internal.rollups r
                 UNION ALL SELECT to_jsonb(f)::text
                           FROM agent_metrics_internal.active_days f ORDER BY 1",
            )
        };
        let before = rows();
        for span in [
            "",
            "'sup', '0001-01-01 00:00:00+00', '0001-01-01 01:00:00+00'",
        ] {
            db.exec(&format!(
                "SELECT count(*) FROM agent_metrics.rebuild({span})"
            ));
            verified(&db, zone);
            assert_eq!(rows(), before, "{zone} {span}");
        }
    }
}
