//! Reading tables of other roles: nothing that their owner put there runs with the reader's rights.
//!
//! Planning a query runs functions of the table's owner: the constant parts of an index's or a statistic's expressions
//! are folded, whatever columns are read. So a table is planned as its owner, under a lock that keeps it as it is; the
//! columns are read through their types' output functions, which only a superuser can make. The rows are fetched by the
//! caller, whose right to read each column is asked first. (A view's functions run as its reader, so SQL asks before whose
//! they are.)

use super::abi::{self, Relation, sql_functions};
use super::fault::Fault;
use pgrx::PgSqlErrorCode;

/// The relation, locked, or the error that it is gone. Not for everybody: a lock holds others up, and what a table's owner
/// wrote runs as its owner in the caller's session.
fn locked(oid: u32, is_still: bool) -> Result<Relation, Fault> {
    if !abi::is_follower() {
        return Err(Fault::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied to follow attached tables",
            "It takes the right to change agent_metrics.attached_tables.",
            "SELECT agent_metrics.grant_access(role, 'admin') gives it.",
        ));
    }
    Relation::lock(oid, is_still).ok_or_else(|| {
        Fault::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("there is no table of oid {oid}"),
            "It was dropped meanwhile.",
            "Try again.",
        )
    })
}

/// The query that gives each row as one array of texts, NULL where no column is named.
fn query(relation: &Relation, columns: &[Option<String>]) -> Result<String, Fault> {
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        let Some(name) = column else {
            fields.push("NULL".to_owned());
            continue;
        };
        let name_in_sql = relation.column(name).ok_or_else(|| {
            Fault::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!("table {} has no column \"{name}\"", relation.name),
                "It is part of how the table was attached.",
                "Bring it back, or detach the table and attach it as it is now.",
            )
        })?;
        // A name alone is a column, or an error: after a dot it might be a function.
        fields.push(format!(
            "CASE WHEN {name_in_sql} IS NOT NULL THEN pg_catalog.format('%s', {name_in_sql}) END"
        ));
    }
    Ok(format!(
        "SELECT ARRAY[{}]::pg_catalog.text[] FROM {} AS \"a row\"",
        fields.join(", "),
        relation.name
    ))
}

sql_functions! {
    /// `open_source(relation, columns)`: a cursor over the rows, each an array of texts.
    fn open_source(call) {
        let relation = locked(call.int4(0).cast_unsigned(), false)?;
        let query = query(&relation, &abi::names(call, 1))?;
        if relation.hides_rows() {
            return Err(Fault::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("row-level security hides rows of {}", relation.name),
                "Rows that the caller cannot see would be taken for deleted, and a policy is its owner's code.",
                "Let a role read it that no policy applies to.",
            ));
        }
        Ok(Some(abi::bytes(abi::open_cursor_as(relation.reader(), &query).as_bytes())))
    }

    /// `row_fields(source_row, columns)`: columns of a row as text.
    fn row_fields(call) { Ok(abi::row_texts(call, 0, &abi::names(call, 1))) }

    /// `hold_still(relation, against_indexes)`: until the transaction ends nobody changes what it is; its rows may be written.
    fn hold_still(call) {
        Ok(Some(abi::boolean(locked(call.int4(0).cast_unsigned(), call.boolean(1))?.is_table())))
    }
}
