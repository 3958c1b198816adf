//! Who may send.

use super::{Collector, JSON, TURNS, json};
use crate::support::asserts::assert_explained;
use crate::support::program::{Running, fails};
use crate::support::{db, login};

#[test]
fn without_a_token_this_machine_alone_may_send() {
    let db = db("collect_loopback");
    let line = fails(db.url(), &["collect", "--listen", "0.0.0.0:0"]);
    assert!(line.contains("create_ingest_token"), "{line}");
    let line = fails(db.url(), &["run", "--collect", "0.0.0.0:0"]);
    assert!(line.contains("create_ingest_token"), "{line}");
    db.exec("SELECT agent_metrics.create_ingest_token('team')");
    let running = Running::new(db.url(), &["collect", "--listen", "0.0.0.0:0"]);
    running.says("exporters send to http://0.0.0.0:");
}

#[test]
fn with_one_it_is_wanted_and_what_is_revoked_opens_nothing() {
    let db = db("collect_tokens");
    let collector = Collector::start(db.url());
    let send = |number: u64, token: Option<&str>| {
        let bearer = format!("Bearer {}", token.unwrap_or_default());
        let mut headers = vec![("Content-Type", JSON)];
        headers.extend(token.map(|_| ("Authorization", bearer.as_str())));
        collector.post("/v1/traces", &headers, json(number).as_bytes())
    };
    send(0, None).is(200, "{}");
    let made = |name: &str| {
        db.value(&format!(
            "SELECT agent_metrics.create_ingest_token('{name}')"
        ))
        .unwrap()
    };
    let (one, other) = (made("one"), made("other"));
    assert!(one.len() > 70 && one != other);
    // read again within seconds
    while send(1, None).status != 401 {}
    let refused = send(1, None);
    assert!(
        refused.head.contains("www-authenticate: bearer"),
        "{}",
        refused.head
    );
    send(1, Some("agent_metrics_00")).is(401, "token");
    send(1, Some("")).is(401, "token");
    send(1, Some(&one)).is(200, "{}");
    send(2, Some(&other)).is(200, "{}");
    db.exec("SELECT agent_metrics.revoke_ingest_token('one')");
    while send(3, Some(&one)).status != 401 {}
    send(4, Some(&other)).is(200, "{}");
    // the last one goes, and the door does not stand open
    db.exec("UPDATE agent_metrics.ingest_tokens SET expires_at = now() WHERE name = 'other'");
    while send(4, Some(&other)).status != 401 {}
    send(5, None).is(401, "token");
    let stored = db.lines("SELECT conversation_id FROM agent_metrics.agent_events ORDER BY 1");
    assert!(
        ["c-0", "c-1", "c-2"]
            .iter()
            .all(|one| stored.contains(&(*one).to_owned())),
        "{stored:?}"
    );
    assert!(!stored.contains(&"c-5".to_owned()));
    // the hash alone is kept
    let rows =
        "SELECT count(*) FROM agent_metrics.ingest_tokens t WHERE t::text LIKE '%agent_metrics_%'";
    assert_eq!(db.value(rows).unwrap(), "0");
}

#[test]
fn tokens_are_an_admins_and_wrong_ones_are_refused() {
    let db = db("collect_keepers");
    for (sql, sqlstate, words) in [
        (
            "SELECT agent_metrics.create_ingest_token('')",
            "22023",
            "without a name",
        ),
        (
            "SELECT agent_metrics.create_ingest_token(NULL)",
            "22023",
            "without a name",
        ),
        (
            "SELECT agent_metrics.create_ingest_token('a', '{}')",
            "22023",
            "no list of ids",
        ),
        (
            "SELECT agent_metrics.create_ingest_token('a', ARRAY[NULL])",
            "22023",
            "no list of ids",
        ),
        (
            "SELECT agent_metrics.create_ingest_token('a', NULL, '2020-01-01')",
            "22023",
            "is past",
        ),
        (
            "SELECT agent_metrics.revoke_ingest_token('a')",
            "42704",
            "no token \"a\"",
        ),
    ] {
        assert_explained(&db, sql, sqlstate, words);
    }
    db.exec("SELECT agent_metrics.create_ingest_token('a', ARRAY['bot'], 'infinity')");
    let again = "SELECT agent_metrics.create_ingest_token('a')";
    assert_explained(&db, again, "42710", "already");
    db.exec("SELECT agent_metrics.revoke_ingest_token('a')");
    db.exec("SELECT agent_metrics.create_ingest_token('a')");
    for level in ["reader", "writer"] {
        let (role, session) = login(&db, level);
        db.exec(&format!(
            "SELECT agent_metrics.grant_access('{role}', '{level}')"
        ));
        let error = session.error("SELECT agent_metrics.create_ingest_token('b')");
        assert_eq!(error.sqlstate, "42501");
        assert!(error.hint.contains("admin"), "{error}");
        assert_eq!(
            session
                .error("SELECT FROM agent_metrics.ingest_tokens")
                .sqlstate,
            "42501"
        );
    }
    let (role, session) = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin')"
    ));
    session.exec(
        "SELECT agent_metrics.create_ingest_token('b'), agent_metrics.revoke_ingest_token('a')",
    );
    assert_eq!(db.value(TURNS).unwrap(), "0");
}
