//! What tests assert again and again, in one line each. A failure names the line of the test, and shows the
//! statement.

use super::{Session, SqlError};

/// A query gives no row; a failure shows those that it gave.
#[track_caller]
pub fn assert_no_rows(session: &Session, sql: &str) {
    let rows = session.lines(sql);
    assert!(
        rows.is_empty(),
        "{} rows, and there should be none:\n{}\nfrom: {sql}",
        rows.len(),
        rows.join("\n")
    );
}

/// `verify()` finds nothing. Whether the oracle agrees too is what `books::assert_rollups` asks.
#[track_caller]
pub fn assert_verified(session: &Session) {
    assert_no_rows(session, "SELECT * FROM agent_metrics.verify()");
}

/// What an error of ours has besides its message.
const WHY_AND_WHAT_TO_DO: bool = true;

#[track_caller]
fn assert_error(error: &SqlError, sqlstate: &str, words: &str, explained: bool, sql: &str) {
    assert_eq!(error.sqlstate, sqlstate, "{error}\nfrom: {sql}");
    assert!(
        error.message.contains(words),
        "{words:?} is not in: {error}\nfrom: {sql}"
    );
    assert!(
        !explained || (!error.detail.is_empty() && !error.hint.is_empty()),
        "detail or hint is missing: {error}\nfrom: {sql}"
    );
}

/// An error of ours: it names the value, says why (its detail), and what to do (its hint).
#[track_caller]
pub fn assert_ours(error: &SqlError, sqlstate: &str, words: &str) {
    assert_error(error, sqlstate, words, WHY_AND_WHAT_TO_DO, "");
}

/// A statement fails with this SQLSTATE. Returns the error.
#[track_caller]
pub fn assert_sqlstate(session: &Session, sql: &str, sqlstate: &str) -> SqlError {
    assert_refused(session, sql, sqlstate, "")
}

/// A statement fails with this SQLSTATE and these words in the message. Returns the error.
#[track_caller]
pub fn assert_refused(session: &Session, sql: &str, sqlstate: &str, words: &str) -> SqlError {
    let error = session.error(sql);
    assert_error(&error, sqlstate, words, false, sql);
    error
}

/// A statement fails with an error of ours. Returns the error.
#[track_caller]
pub fn assert_explained(session: &Session, sql: &str, sqlstate: &str, words: &str) -> SqlError {
    let error = session.error(sql);
    assert_error(&error, sqlstate, words, WHY_AND_WHAT_TO_DO, sql);
    error
}

/// Everything that a statement could have changed, as text.
fn everything(session: &Session) -> Vec<String> {
    let tables = [
        "agents",
        "owners",
        "thresholds",
        "agent_kinds",
        "settings",
        "outcomes",
        "event_kinds",
        "agent_events",
        "business_events",
        "changes",
        "conversations",
        "rollups",
        "agent_watermarks",
        "eval_sets",
        "eval_cases",
        "eval_runs",
        "eval_results",
        "alert_channels",
        "alerts",
        "decisions",
    ];
    let each = tables.map(|table| {
        format!(
            "SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t",
            super::full(table)
        )
    });
    // Workers may share the tables among them, and then they come in any order.
    session.lines(&format!("{} ORDER BY 1", each.join(" UNION ALL ")))
}

/// Runs a statement that has to fail, and asserts that it changed nothing.
#[track_caller]
pub fn refused(session: &Session, sql: &str) -> SqlError {
    let before = everything(session);
    let error = session.error(sql);
    assert_eq!(everything(session), before, "{sql} changed something");
    error
}

/// A refusal of ours: SQLSTATE, the value in the message, detail and hint.
#[track_caller]
pub fn refused_by_us(session: &Session, sql: &str, sqlstate: &str, names: &str) {
    let error = refused(session, sql);
    assert_error(&error, sqlstate, names, WHY_AND_WHAT_TO_DO, sql);
}

/// A refusal by a constraint, whose name says what is wrong.
#[track_caller]
pub fn refused_by_constraint(session: &Session, sql: &str, sqlstate: &str, names: &str) {
    let error = refused(session, sql);
    assert_error(&error, sqlstate, names, false, sql);
}
