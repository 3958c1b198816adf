//! Erasure: a person leaves the facts and every number, by one call.

use std::fs;

use crate::partitions::archive::{archive, file_of, name_of, no_folder};
use crate::partitions::by_hand::two_months;
use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::program::works;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, db};

#[test]
fn erasing_a_user_takes_him_out_of_facts_conversations_and_rollups() {
    let db = shop("erasure");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms)
         VALUES ('sup', '2026-03-04 10:00:00+00', 'shared', 'user1', 5),
                ('sup', '2026-03-04 10:01:00+00', 'shared', 'user2', 6);
         INSERT INTO agent_metrics.business_events (business_event_id, kind, customer_id, conversation_id, detail)
         VALUES ('his', 'charge', 'user1', NULL, '{\"name\": \"Ada\"}');
         SELECT agent_metrics.ingest_events('[{\"agent_id\": \"sup\", \"user_id\": \"user1\"}, {\"agent_id\": \"sup\", '
                                            '\"user_id\": \"user10\"}, {\"x\": {\"y\": [\"user1\"]}}]')",
    );
    db.exec(
        "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, occurred_at, event_id, reviewer, answer_verdict)
         SELECT agent_id, conversation_id, occurred_at, event_id, 'team', 'supported'
         FROM agent_metrics.agent_events WHERE user_id IN ('user1', 'user2');
         INSERT INTO agent_metrics.turn_scores (agent_id, conversation_id, occurred_at, event_id, score)
         SELECT agent_id, conversation_id, occurred_at, event_id, 0.5
         FROM agent_metrics.agent_events WHERE user_id IN ('user1', 'user2');
         INSERT INTO agent_metrics.survey_answers (agent_id, conversation_id, score, respondent_id)
         SELECT DISTINCT agent_id, conversation_id, 9, user_id
         FROM agent_metrics.agent_events WHERE user_id IN ('user1', 'user2')",
    );
    refresh(&db);
    let his = db.number(
        "SELECT count(DISTINCT (agent_id, conversation_id))
         FROM agent_metrics.agent_events WHERE user_id = 'user1'",
    );
    let turns =
        db.number("SELECT count(*) FROM agent_metrics.agent_events WHERE user_id = 'user1'");
    let said = db.lines("SELECT what, count FROM agent_metrics.erase_user('user1') ORDER BY what");
    assert!(said.contains(&format!("agent_events|{turns}")), "{said:?}");
    assert!(
        said.contains(&"quarantined_events|2".to_owned()),
        "{said:?}"
    );
    let before = db.number("SELECT count(*) FROM agent_metrics.conversations");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.conversations"),
        before - (his - 1.0),
        "all but the shared one went"
    );
    for table in ["reviews", "turn_scores"] {
        assert_eq!(
            db.number(&format!(
                "SELECT count(*) FROM {} x
                 WHERE NOT EXISTS (SELECT FROM agent_metrics.agent_events e
                                   WHERE e.event_id = x.event_id)",
                crate::support::full(table)
            )),
            0.0,
            "{table}"
        );
        assert!(
            db.number(&format!(
                "SELECT count(*) FROM {}",
                crate::support::full(table)
            )) > 0.0
        );
    }
    for (table, column) in [
        ("survey_answers", "respondent_id"),
        ("agent_events", "user_id"),
        ("business_events", "customer_id"),
        ("conversations", "lead_id"),
        ("leads", "lead_id"),
    ] {
        assert_eq!(
            db.number(&format!(
                "SELECT count(*) FROM {} WHERE {column} = 'user1'",
                crate::support::full(table)
            )),
            0.0,
            "{table}"
        );
    }
    assert_eq!(
        db.lines(
            "SELECT kind, customer_id IS NULL, detail IS NULL
             FROM agent_metrics.business_events WHERE business_event_id = 'his'"
        ),
        ["charge|t|t"]
    );
    assert_sqlstate(&db, "SELECT agent_metrics.erase_user('')", "22023");
    assert_sqlstate(&db, "SELECT agent_metrics.erase_user(NULL)", "22023");
    // called again it finds nothing
    let said = db.lines("SELECT what FROM agent_metrics.erase_user('user1') WHERE count > 0");
    assert_eq!(said, [""; 0]);
}

#[test]
fn an_erased_user_does_not_come_back_with_an_archive() {
    let (db, [old, _]) = two_months("erasure_archive");
    db.exec("UPDATE agent_metrics.settings SET value = '7' WHERE name = 'hot_days'");
    let folder = no_folder(&db);
    archive(&db, &folder);
    let said = db.lines("SELECT what, count FROM agent_metrics.erase_user('u1')");
    let name = name_of(&old);
    assert!(
        said.iter()
            .any(|line| line.contains(&format!("{name}.parquet"))),
        "{said:?}"
    );
    assert!(
        said.contains(&"archived_conversations|20".to_owned()),
        "{said:?}"
    );
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.conversations"),
        40.0
    );
    for entry in fs::read_dir(&folder).unwrap() {
        works(
            db.url(),
            &["restore", entry.unwrap().path().to_str().unwrap()],
        );
    }
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.agent_events WHERE user_id = 'u1'",
    );
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.agent_events"),
        80.0
    );
    fs::remove_dir_all(&folder).unwrap();
}

/// Two months of a conversation that two people share, old enough to be archived; the months' partitions.
fn shared_conversation(name: &str) -> (Db, [String; 2]) {
    let (db, months) = two_months(name);
    db.exec(&format!(
        "UPDATE agent_metrics.settings SET value = '7' WHERE name = 'hot_days';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id)
         SELECT agent_id, min(occurred_at) + interval '1 minute', 'shared', 'stays' FROM {} GROUP BY agent_id
         UNION ALL SELECT agent_id, min(occurred_at) + interval '1 minute', 'shared', 'goes' FROM {} GROUP BY agent_id",
        months[0], months[1]
    ));
    refresh(&db);
    assert_rollups(&db);
    (db, months)
}

#[test]
fn those_who_spoke_with_an_erased_user_are_counted_when_their_month_comes_back() {
    let (db, [old, _]) = shared_conversation("erasure_shared_archive");
    let folder = no_folder(&db);
    archive(&db, &folder);
    db.exec("SELECT agent_metrics.erase_user('goes')");
    refresh(&db);
    let file = file_of(&folder, &old);
    works(db.url(), &["restore", file.to_str().unwrap()]);
    refresh(&db);
    assert_verified(&db);
    assert!(
        db.number(
            "SELECT count(*) FROM agent_metrics.conversations
             WHERE conversation_id = 'shared' AND lead_id = 'stays'"
        ) > 0.0
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn erasing_a_user_leaves_a_month_that_is_being_archived_to_those_who_spoke_with_him() {
    let (db, [old, new]) = shared_conversation("erasure_while_writing");
    // the month of him who goes is archived, that of her who stays is being written when he asks
    let [old, new] = [&old, &new].map(|month| name_of(month));
    db.exec(&format!(
        "SELECT agent_metrics.begin_archive('{new}', 'nowhere', 'new.parquet');
         SELECT agent_metrics.condense_archive(archive_id, 1, '1', 1) FROM agent_metrics_internal.archives;
         SELECT agent_metrics.detach_archive(archive_id) FROM agent_metrics_internal.archives;
         SELECT agent_metrics.drop_archive(archive_id) FROM agent_metrics_internal.archives;
         SELECT agent_metrics.begin_archive('{old}', 'nowhere', 'old.parquet');
         SELECT agent_metrics.condense_archive(archive_id, 1, '1', 1)
         FROM agent_metrics_internal.archives WHERE state = 'writing';
         SELECT agent_metrics.erase_user('goes');
         SELECT agent_metrics.detach_archive(archive_id) FROM agent_metrics_internal.archives WHERE state = 'writing'"
    ));
    refresh(&db);
    assert_verified(&db);
    assert!(
        db.number(
            "SELECT count(*) FROM agent_metrics.conversations
             WHERE conversation_id = 'shared' AND lead_id = 'stays'"
        ) > 0.0
    );
}

#[test]
fn no_row_stops_an_erasure_and_a_person_is_found_wherever_he_is_named() {
    let db = shop("erasure_wrong_rows");
    let deep = format!("{}\"deep-1\"{}", "[".repeat(13_000), "]".repeat(13_000));
    // as it was accepted before there was a bound
    db.exec(&format!(
        r#"ALTER TABLE agent_metrics.quarantined_events DISABLE TRIGGER ALL;
           INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, reason) VALUES
               ('deep', '{deep}', 'old'), ('deeper', '{{"x": {}}}', 'old'), ('number', '{{"user_id": 4711}}', 'x'),
               ('key', '{{"users": {{"u-key": 1}}}}', 'x'),
               ('text', '{{"value": "{{\"user\": {{\"id\": \"u-text\"}}}}"}}', 'x'),
               ('other', '["u-key-2", "a u-key b", 47110]', 'x');
           UPDATE agent_metrics.quarantined_events SET event = '["u-event"]' WHERE quarantine_id = 'deeper';
           ALTER TABLE agent_metrics.quarantined_events ENABLE ALWAYS TRIGGER zz_check_row;
           ALTER TABLE agent_metrics.business_events DISABLE TRIGGER ALL;
           INSERT INTO agent_metrics.business_events (business_event_id, kind, customer_id, detail) VALUES
               ('kept', 'charge', 'u-key', '{{}}'), ('wrong', repeat('k', 300), 'u-key', '{{}}');
           ALTER TABLE agent_metrics.business_events ENABLE ALWAYS TRIGGER zz_check_row;
           ALTER TABLE agent_metrics.business_events ENABLE ALWAYS TRIGGER log_business_event"#,
        deep.replace("deep-1", "x")
    ));
    let left = |user: &str| {
        db.exec(&format!("SELECT agent_metrics.erase_user('{user}')"));
        db.lines(
            "SELECT string_agg(quarantine_id, ' ' ORDER BY quarantine_id)
             FROM agent_metrics.quarantined_events",
        )
        .remove(0)
    };
    assert_eq!(left("nobody"), "deep deeper key number other text");
    assert_eq!(left("deep-1"), "deeper key number other text");
    assert_eq!(left("u-event"), "key number other text");
    assert_eq!(left("u-text"), "key number other");
    assert_eq!(left("4711"), "key other");
    // a word of ours is in every delivery, and names nobody
    assert_eq!(left("user_id"), "key other");
    let said = db.lines(
        "SELECT what, count, note
         FROM agent_metrics.erase_user('u-key') WHERE what = 'business_events' ORDER BY note",
    );
    assert_eq!(
        said,
        [
            "business_events|1|deleted, for it cannot be kept without his name: kind cannot be 300 bytes long",
            "business_events|1|kept without customer_id, conversation_id and detail",
        ]
    );
    assert_eq!(
        db.lines(
            "SELECT business_event_id, customer_id IS NULL
             FROM agent_metrics.business_events WHERE business_event_id IN ('kept', 'wrong')"
        ),
        ["kept|t"]
    );
    assert_eq!(
        db.lines("SELECT quarantine_id FROM agent_metrics.quarantined_events"),
        ["other"]
    );
    // an id that no index takes
    let long: String = db
        .value("SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100) AS n")
        .unwrap();
    db.exec(&format!("SELECT agent_metrics.erase_user('{long}')"));
}

#[test]
fn an_erasure_leaves_the_tables_of_others_alone_and_knows_all_of_ours() {
    let db = shop("erasure_tables");
    // made by somebody who may, with a trap in it
    db.exec(
        "CREATE TABLE agent_metrics.theirs (conversation_id text, agent_id integer);
         INSERT INTO agent_metrics.theirs SELECT DISTINCT conversation_id, 1
         FROM agent_metrics.agent_events WHERE user_id = 'user1'",
    );
    let before = db.number("SELECT count(*) FROM agent_metrics.theirs");
    assert!(before > 0.0);
    let said = db.lines("SELECT DISTINCT what FROM agent_metrics.erase_user('user1')");
    assert!(!said.contains(&"theirs".to_owned()), "{said:?}");
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.theirs"),
        before
    );
    // those that are not named go by the next refresh, or keep nothing of him
    let refreshed = [
        "archived_conversation_segments",
        "changes",
        "conversation_facts",
        "conversation_segments",
        "conversations",
        "theirs",
    ];
    for table in db.lines(
        "SELECT DISTINCT c.relname
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'conversation_id'
         WHERE c.relnamespace IN ('agent_metrics'::regnamespace,
                                  'agent_metrics_internal'::regnamespace)
           AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    ) {
        assert!(
            said.contains(&table) || refreshed.contains(&table.as_str()),
            "{table}"
        );
    }
}

#[test]
fn a_write_to_an_attached_table_that_waits_to_be_followed_names_an_erased_user_no_longer() {
    let db = db("erasure_attached");
    db.exec(
        "CREATE TABLE tickets (id text PRIMARY KEY, status text, closed_at timestamptz, chat text, customer text);
         SELECT agent_metrics.attach_business_events('tickets', business_event_id => 'id', occurred_at => 'closed_at',
                                                     kind => 'status', conversation_id => 'chat',
                                                     customer_id => 'customer');
         INSERT INTO tickets
         VALUES ('t-1', 'solved', now(), 'c-1', 'u-gone'), ('t-2', 'solved', now(), 'c-2', 'u-here')",
    );
    db.exec("SELECT * FROM agent_metrics.erase_user('u-gone')");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.attached_changes WHERE fields::text LIKE '%u-gone%'",
    );
    db.exec("SELECT * FROM agent_metrics.sync_business_events()");
    assert_eq!(
        db.lines(
            "SELECT business_event_id, conversation_id, customer_id
             FROM agent_metrics.business_events ORDER BY 1"
        ),
        ["t-1||", "t-2|c-2|u-here"]
    );
}
