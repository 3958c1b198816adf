//! What words mean: kinds of business events and labels that nobody mapped are listed; a meaning, a statistic and a
//! setting that nothing knows are refused.

use crate::support::asserts::{assert_no_rows, refused_by_us};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Session, db};

fn kinds(session: &Session) -> Vec<String> {
    session.lines("SELECT kind, source, events, reason FROM agent_kpi.unmapped_event_kinds ORDER BY kind, source")
}

#[test]
fn kinds_without_a_meaning_are_counted_until_they_have_one() {
    let db = shop("meanings_kinds");
    assert_eq!(kinds(&db), [""; 0]);
    db.exec(
        "CREATE TABLE public.tickets (id integer PRIMARY KEY, status text, at timestamptz, chat text);
         INSERT INTO public.tickets VALUES (1, 'Solved', '2026-03-02', 'sup-1-1'),
                                           (2, 'Solved', '2026-03-02', 'sup-1-2'),
                                           (3, 'Waiting', '2026-03-02', 'sup-1-3');
         SELECT agent_metrics.attach_business_events('public.tickets', 'id', 'at', kind => 'status',
                                                     conversation_id => 'chat', id_prefix => 't-');
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('own', 'Solved', 'sup-1-4')",
    );
    let unmapped = "no row of event_kinds";
    assert_eq!(
        kinds(&db),
        [
            format!("Solved||1|{unmapped}"),
            format!("Solved|public.tickets|2|{unmapped}"),
            format!("Waiting|public.tickets|1|{unmapped}")
        ]
    );
    db.exec(
        "INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('Solved', 'resolved'), ('Waiting', 'nothing')",
    );
    assert_eq!(kinds(&db), [""; 0]);
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT conversation_id, outcome_label, outcome_source FROM agent_metrics.conversations
             WHERE conversation_id IN ('sup-1-1', 'sup-1-2', 'sup-1-4') ORDER BY 1"
        ),
        [
            "sup-1-1|resolved|crm",
            "sup-1-2|resolved|crm",
            "sup-1-4|resolved|crm"
        ]
    );
    // a label that goes takes the meaning with it
    db.exec("DELETE FROM agent_metrics.outcomes WHERE label = 'resolved'");
    assert_eq!(
        db.lines("SELECT kind, sum(events) FROM agent_kpi.unmapped_event_kinds GROUP BY kind ORDER BY kind"),
        ["Solved|3", "ticket_resolved|6"]
    );
}

#[test]
fn a_label_that_is_mapped_is_no_complaint_any_more() {
    let db = shop("meanings_labels");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label, outcome_source)
         VALUES ('sup', '2026-03-05 00:00+00', 'x', 'DONE', 'agent'), ('sup', '2026-03-05 00:01+00', 'x', 'OK', 'crm')",
    );
    refresh(&db);
    let labels = "SELECT outcome_label, conversations FROM agent_kpi.unmapped_labels ORDER BY 1";
    assert_eq!(
        db.lines(labels),
        ["DONE|1", "OK|1"],
        "each, not one of a conversation"
    );
    db.exec("INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('DONE', true)");
    assert_eq!(db.lines(labels), ["OK|1"], "before any refresh");
    db.exec("INSERT INTO agent_metrics.outcomes (label) VALUES ('OK')");
    assert_no_rows(&db, labels);
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn words_that_nothing_knows_are_refused() {
    let db = db("meanings_refused");
    for (sql, names) in [
        ("INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('k', 'reopen')", "meaning \"reopen\""),
        ("INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('k', '')", "meaning \"\""),
        ("INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('k', 'Resolved')", "meaning \"Resolved\""),
        ("UPDATE agent_metrics.event_kinds SET meaning = 'human touch' WHERE kind = 'human_touch'", "\"human touch\""),
        (
            "INSERT INTO agent_metrics.benchmarks (vertical, metric, statistic, value, source, year)
             VALUES ('any', 'task_succes_rate', 'median', 0.8, 's', 2026)",
            "\"task_succes_rate\"",
        ),
        (
            "INSERT INTO agent_metrics.benchmarks (vertical, metric, statistic, value, source, year)
             VALUES ('any', 'task_success_rate', 'mean', 0.8, 's', 2026)",
            "statistic \"mean\"",
        ),
        ("INSERT INTO agent_metrics.settings (name, value) VALUES ('report_timezone', 'UTC')", "\"report_timezone\""),
        ("UPDATE agent_metrics.settings SET value = 'agents.example' WHERE name = 'page_url'", "\"agents.example\""),
    ] {
        refused_by_us(&db, sql, "22023", names);
    }
    // what is meant is named, and what may be said
    let error =
        db.error("INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('k', 'reopen')");
    assert!(error.hint.starts_with("Did you mean reopened?"), "{error}");
    assert!(
        error.detail.contains("resolved") && error.detail.contains("human_touch"),
        "{error}"
    );
    // a meaning of one's own, and a setting of one's own
    db.exec(
        "INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('wow', true);
         INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('Wow!', 'wow');
         INSERT INTO agent_metrics.settings (name, value) VALUES ('dashboards.colour', 'blue');
         UPDATE agent_metrics.settings SET value = 'https://agents.example' WHERE name = 'page_url'",
    );
}
