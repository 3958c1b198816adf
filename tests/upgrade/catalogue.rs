//! All that the server's catalogue says of our objects, as lines that can be compared: `catalogue.sql` asks for it.
//! OIDs are left out; where one stands for an object, its name is in the line. So is `pg_attver`, a number that newer
//! minor versions of PostgreSQL put among a column's options.

use super::Session;

/// Every line, in order.
pub fn of(session: &Session) -> Vec<String> {
    let parts = include_str!("catalogue.sql").split("\n--# ").skip(1);
    let mut parts = parts.map(|part| part.split_once('\n').unwrap());
    let (_, ours) = parts.next().unwrap();
    session.exec("SET search_path = pg_catalog");
    let mut lines: Vec<String> = Vec::new();
    for (part, query) in parts {
        // an array of rights has the order in which they were given
        let rows = session.lines(&format!("{ours} SELECT '{part}', t.* FROM ({query}) t"));
        lines.extend(rows.iter().map(|row| in_order(row)));
    }
    session.exec("RESET search_path");
    lines.sort();
    lines
}

/// The line with the entries of its access lists (`{owner=r/owner,reader=r/owner}`) in one order.
fn in_order(line: &str) -> String {
    let fields = line.split('|').map(|field| {
        if field.starts_with('{')
            && field.contains("=")
            && field.contains('/')
            && field.ends_with('}')
        {
            let mut entries: Vec<&str> = field.trim_matches(['{', '}']).split(',').collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        } else {
            field.to_owned()
        }
    });
    fields.collect::<Vec<_>>().join("|")
}

/// Lines that only one of them has, by their beginning, marked by whose they are.
pub fn differences(updated: &[String], fresh: &[String]) -> Vec<String> {
    let only = |mark: &str, some: &[String], others: &[String]| {
        let mine = some
            .iter()
            .filter(|line| others.binary_search(line).is_err());
        let beginning = |line: &String| {
            line.replace('\n', " ")
                .chars()
                .take(300)
                .collect::<String>()
        };
        mine.map(|line| format!("{mark}: {}", beginning(line)))
            .collect::<Vec<_>>()
    };
    [
        only("updated only", updated, fresh),
        only("fresh only", fresh, updated),
    ]
    .concat()
}

/// Whatever an update may forget or leave behind, the comparison names it.
#[test]
fn a_change_of_anything_is_seen() {
    let db = super::db("upgrade_seen");
    let before = of(&db);
    assert_eq!(differences(&before, &of(&db)), [""; 0]);
    for (statement, part, name) in [
        (
            "CREATE INDEX extra ON agent_metrics.agents (kind)",
            "index",
            "extra",
        ),
        (
            "ALTER TABLE agent_metrics.agents ALTER COLUMN kind DROP NOT NULL",
            "column",
            "kind",
        ),
        (
            "ALTER TABLE agent_metrics.agents ALTER COLUMN actor SET DEFAULT 'human'",
            "column",
            "actor",
        ),
        (
            "ALTER TABLE agent_metrics.agents ADD CHECK (kind <> '')",
            "constraint",
            "agents_kind_check",
        ),
        (
            "ALTER TABLE agent_metrics.agents ADD COLUMN extra integer",
            "column",
            "extra",
        ),
        (
            "ALTER TABLE agent_metrics.agents DISABLE TRIGGER check_agent",
            "trigger",
            "check_agent",
        ),
        (
            "ALTER TABLE agent_metrics.agents ENABLE ROW LEVEL SECURITY",
            "relation",
            "agent_metrics.agents",
        ),
        (
            "CREATE POLICY extra ON agent_metrics.agents USING (true)",
            "policy",
            "extra",
        ),
        (
            "CREATE STATISTICS agent_metrics.extra ON kind, owner FROM agent_metrics.agents",
            "statistics",
            "extra",
        ),
        (
            "GRANT SELECT ON agent_kpi.kpi_daily TO pg_monitor",
            "relation",
            "kpi_daily",
        ),
        (
            "GRANT UPDATE (kind) ON agent_metrics.agents TO pg_monitor",
            "column",
            "kind",
        ),
        (
            "GRANT CREATE ON SCHEMA agent_kpi TO pg_monitor",
            "schema",
            "agent_kpi",
        ),
        (
            "ALTER VIEW agent_kpi.freshness RESET (security_barrier)",
            "relation",
            "freshness",
        ),
        (
            "COMMENT ON COLUMN agent_metrics.agents.kind IS 'another'",
            "comment",
            "kind",
        ),
        (
            "COMMENT ON FUNCTION agent_metrics.refresh(text) IS 'another'",
            "comment",
            "refresh",
        ),
        (
            "ALTER FUNCTION agent_metrics.refresh(text) RESET search_path",
            "function",
            "refresh",
        ),
        (
            "ALTER FUNCTION agent_metrics.refresh(text) OWNER TO pg_monitor",
            "function",
            "refresh",
        ),
        (
            "ALTER FUNCTION agent_metrics.refresh(text) STABLE",
            "function",
            "refresh",
        ),
        (
            "ALTER EXTENSION agent_metrics DROP FUNCTION agent_metrics.refresh(text)",
            "member",
            "refresh",
        ),
        (
            "CREATE TYPE agent_metrics.extra AS ENUM ('a')",
            "type",
            "extra",
        ),
    ] {
        db.exec(&format!("BEGIN; {statement}"));
        let found = differences(&of(&db), &before);
        db.exec("ROLLBACK");
        let is_named = |line: &String| {
            line.starts_with(&format!("updated only: {part}|")) && line.contains(name)
        };
        let is_gone = |line: &String| {
            line.starts_with(&format!("fresh only: {part}|")) && line.contains(name)
        };
        assert!(
            found.iter().any(|line| is_named(line) || is_gone(line)),
            "{statement}: {found:?}"
        );
    }
}
