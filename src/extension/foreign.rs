//! Reading tables of other roles: nothing that their owner put there runs with the reader's rights.
//!
//! Planning a query runs functions of the table's owner: the constant parts of an index's or a statistic's expressions
//! are folded, whatever columns are read. With whose rights ever that happens, it happens in the caller's session,
//! whose cursors and settings it can reach. So a table is not planned: its rows are read one by one, and the columns
//! shown by their types' output functions, which only a superuser can make. The caller's right to each column is asked
//! first. (A view is planned, and its functions run as its reader, so SQL asks before whose they all are.)

use super::abi::{self, Call, Relation, Since, sql_functions};
use super::error::SqlError;
use pgrx::PgSqlErrorCode;

/// The relation, locked, or the error that it is gone. Not for everybody: a lock holds others up.
fn locked(oid: u32, is_still: Option<bool>) -> Result<Relation, SqlError> {
    if !abi::is_follower() {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied to follow attached tables",
            "It takes the right to change agent_metrics_internal.attached_tables.",
            "SELECT agent_metrics.grant_access(role, 'admin') gives it.",
        ));
    }
    // What a view reads is locked too, which its reader need not have a right on; the server's own tables are nobody's.
    let is_refused = if is_still.is_some() {
        oid < 16384
    } else {
        !Relation::may_be_read(oid)
    };
    if is_refused {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied to read the relation of oid {oid}"),
            "It is gone, or the caller has no right on it or on its schema.",
            "Let its owner grant SELECT on it, or on the columns that are followed, and USAGE on its schema.",
        ));
    }
    Relation::lock(oid, is_still.unwrap_or(false)).ok_or_else(|| {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("there is no table of oid {oid}"),
            "It was dropped meanwhile.",
            "Try again.",
        )
    })
}

/// The columns in SQL, where one is named; an error for one that is not there or that the caller may not read, and
/// where none is named: then nothing would have been asked for.
fn quoted_names(
    relation: &Relation,
    columns: &[Option<String>],
) -> Result<Vec<Option<String>>, SqlError> {
    let mut quoted = Vec::with_capacity(columns.len());
    for column in columns {
        let Some(name) = column else {
            quoted.push(None);
            continue;
        };
        quoted.push(Some(relation.column(name)?.ok_or_else(|| {
            SqlError::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!("table {} has no column \"{name}\"", relation.name),
                "It is part of how the table was attached.",
                "Bring it back, or detach the table and attach it as it is now.",
            )
        })?));
    }
    if quoted.iter().all(Option::is_none) {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("no column of {} is named", relation.name),
            "Each column that is read is one that the caller may read.",
            "Name the columns.",
        ));
    }
    Ok(quoted)
}

fn refuse_hidden(relation: &Relation) -> Result<(), SqlError> {
    if !relation.hides_rows() {
        return Ok(());
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("row-level security hides rows of {}", relation.name),
        "Rows that the caller cannot see would be taken for deleted, and a policy is its owner's code.",
        "Let a role read it that no policy applies to.",
    ))
}

/// From where on rows are read, as the third and fourth argument say; `None` where one is empty.
fn since(call: &Call) -> Option<Since> {
    let text = |position| String::from_utf8_lossy(call.bytes(position)).into_owned();
    let since = Since {
        column: text(2),
        value: text(3),
    };
    (!since.column.is_empty() && !since.value.is_empty()).then_some(since)
}

/// The query that gives each row as one array of texts, NULL where no column is named.
fn query(
    relation: &Relation,
    columns: &[Option<String>],
    since: Option<Since>,
) -> Result<String, SqlError> {
    // A name alone is a column, or an error: after a dot it might be a function.
    let fields: Vec<String> = quoted_names(relation, columns)?
        .into_iter()
        .map(|name| match name {
            Some(name) => {
                format!("CASE WHEN {name} IS NOT NULL THEN pg_catalog.format('%s', {name}) END")
            }
            None => "NULL".to_owned(),
        })
        .collect();
    let mut query = format!(
        "SELECT ARRAY[{}]::pg_catalog.text[] FROM {} AS \"a row\"",
        fields.join(", "),
        relation.name
    );
    if let Some(Since { column, value }) = since {
        let names = quoted_names(relation, &[Some(column)])?;
        if let (Some(Some(name)), Some(value)) = (names.first(), abi::literal(&value)) {
            query += &format!(" WHERE {name} OPERATOR(pg_catalog.>=) {value}");
        }
    }
    Ok(query)
}

sql_functions! {
    /// `open_source(relation, columns, watermark, since)`: a cursor over the rows of a view or foreign table, each an
    /// array of texts, all or from some value of a column on; NULL for a table, which is not planned.
    fn open_source(call) {
        let relation = locked(call.int4(0).cast_unsigned(), None)?;
        if relation.is_table() {
            return Ok(None);
        }
        let query = query(&relation, &abi::names(call, 1), since(call))?;
        refuse_hidden(&relation)?;
        Ok(Some(abi::bytes(abi::open_cursor(&query).as_bytes())))
    }

    /// `scan_source(relation, columns, watermark, since)`: the rows of a table and of what inherits from it, each an
    /// array of texts, all or from some value of a column on.
    fn scan_source(call) {
        let oid = call.int4(0).cast_unsigned();
        let relation = locked(oid, None)?;
        let names = abi::names(call, 1);
        let since = since(call);
        quoted_names(&relation, &names)?;
        if let Some(since) = &since {
            quoted_names(&relation, &[Some(since.column.clone())])?;
        }
        refuse_hidden(&relation)?;
        abi::put_rows(call, &abi::leaves(oid)?, &names, since.as_ref())?;
        Ok(None)
    }

    /// `row_fields(source_row, columns)`: columns of a row as text.
    fn row_fields(call) { Ok(abi::row_texts(call, 0, &abi::names(call, 1))) }

    /// `hold_still(relation, against_indexes)`: until the transaction ends nobody changes what it is; its
    /// rows may be written.
    fn hold_still(call) {
        Ok(Some(abi::boolean(locked(call.int4(0).cast_unsigned(), Some(call.boolean(1)))?.is_table())))
    }
}
