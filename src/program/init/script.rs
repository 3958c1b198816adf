//! What `init` does, as SQL: each statement is printed before it is run, so that the output is a script for psql that
//! does the same again.
//!
//! Standard output has the SQL and nothing else; what a person reads goes to standard error.

use std::fs::File;
use std::io::Read;
use std::pin::pin;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures_util::SinkExt;
use indicatif::ProgressBar;
use tokio_postgres::{Client, Row};

use crate::program::text;
use crate::say;

/// Bytes that are sent at once.
const PIECE: usize = 64 * 1024;

/// Runs statements and prints them.
pub struct Script<'a> {
    client: &'a Client,
}

impl<'a> Script<'a> {
    /// For this session.
    pub fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// A comment above what comes next.
    pub fn title(&self, words: &str) {
        say!("");
        say!("-- {words}");
    }

    /// Prints a statement.
    pub fn print(&self, statement: &str) {
        for line in format!("{statement};").lines() {
            say!("{line}");
        }
    }

    /// Prints and runs a statement.
    pub async fn run(&self, statement: &str) -> Result<()> {
        self.print(statement);
        self.client.batch_execute(statement).await?;
        Ok(())
    }

    /// Prints and runs a statement, and returns its one row.
    pub async fn row(&self, statement: &str) -> Result<Row> {
        self.print(statement);
        Ok(self.client.query_one(statement, &[]).await?)
    }

    /// Prints and runs a statement, and returns how many rows it wrote.
    pub async fn count(&self, statement: &str) -> Result<u64> {
        self.print(statement);
        Ok(self.client.execute(statement, &[]).await?)
    }

    /// Runs a query that changes nothing, and is not part of the script.
    pub async fn look(&self, query: &str) -> Result<Vec<Row>> {
        Ok(self.client.query(query, &[]).await?)
    }

    /// Prints psql's `\copy`, and does the same: the file into the table, with a bar.
    pub async fn copy(&self, table: &str, path: &str, options: &str) -> Result<()> {
        say!(
            "\\copy {table} FROM '{}' WITH ({options})",
            path.replace('\'', "''")
        );
        let unreadable = || format!("{path} cannot be read");
        let mut file = File::open(path).with_context(unreadable)?;
        let bar = text::bar(path, file.metadata().with_context(unreadable)?.len());
        let copied = self.send(table, &mut file, options, &bar).await;
        bar.finish_and_clear();
        // The line of the file is in the error's context, which one line of words leaves out.
        copied.map_err(|error| {
            let database = error
                .downcast_ref::<tokio_postgres::Error>()
                .and_then(tokio_postgres::Error::as_db_error);
            match database {
                Some(said) => {
                    let place = said
                        .where_()
                        .and_then(|place| place.lines().find(|line| line.starts_with("COPY")));
                    anyhow!(
                        "{path}: {} ({})",
                        said.message(),
                        place.unwrap_or("while it was copied")
                    )
                }
                None => error.context(unreadable()),
            }
        })
    }

    async fn send(
        &self,
        table: &str,
        file: &mut File,
        options: &str,
        bar: &ProgressBar,
    ) -> Result<()> {
        let statement = format!("COPY {table} FROM STDIN WITH ({options})");
        let mut sink = pin!(self.client.copy_in::<_, Bytes>(statement.as_str()).await?);
        let mut piece = vec![0; PIECE];
        loop {
            let length = file.read(&mut piece)?;
            if length == 0 {
                break;
            }
            sink.send(Bytes::copy_from_slice(&piece[..length])).await?;
            bar.inc(length as u64);
        }
        sink.finish().await?;
        Ok(())
    }
}

/// A string as SQL writes it.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A name as SQL writes it: in quotes where it needs them.
pub fn name(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    // A keyword in quotes is a name; so is a plain word that is none.
    if is_plain && !KEYWORDS.contains(&text) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

/// Words that are no names without quotes: those that PostgreSQL reserves, in part or wholly.
const KEYWORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_names_are_quoted_as_sql_has_it() {
        assert_eq!(literal("Head of Support"), "'Head of Support'");
        assert_eq!(literal("it's a \\"), "E'it''s a \\\\'");
        assert_eq!(name("closed_at"), "closed_at");
        assert_eq!(name("Closed \"at\""), "\"Closed \"\"at\"\"\"");
        assert_eq!(name("user"), "\"user\"");
        assert_eq!(name("2nd"), "\"2nd\"");
    }
}
