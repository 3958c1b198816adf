//! A table of the warehouse, as somebody named it.

use anyhow::Result;
use tokio_postgres::error::SqlState;

use super::script::{Script, literal};

/// What is known of it.
pub struct Relation {
    /// Schema and name, as SQL writes them.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Those of them that are moments without a zone.
    pub local: Vec<String>,
    /// The columns of its primary key; empty: it has none.
    pub key: Vec<String>,
    /// Whether it is one of agent_metrics' own.
    pub is_ours: bool,
}

impl Relation {
    /// Looks it up. None: there is no such table, or what was said is no name.
    pub async fn find(script: &Script<'_>, said: &str) -> Result<Option<Self>> {
        let rows = script
            .look(&format!(
                "SELECT format('%I.%I', n.nspname, c.relname), x.columns, x.local,
                        ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
                              WHERE i.indrelid = c.oid AND i.indisprimary
                                AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
                              ORDER BY a.attnum),
                        n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
                 FROM pg_class c
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 CROSS JOIN LATERAL (
                     SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{{}}') AS columns,
                            coalesce(array_agg(a.attname::text)
                                         FILTER (WHERE a.atttypid = 'timestamp'::regtype), '{{}}') AS local
                     FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) x
                 WHERE c.oid = to_regclass({})",
                literal(said)
            ))
            .await;
        let rows = match rows {
            Err(error)
                if error
                    .downcast_ref::<tokio_postgres::Error>()
                    .and_then(tokio_postgres::Error::code)
                    == Some(&SqlState::INVALID_NAME) =>
            {
                return Ok(None);
            }
            rows => rows?,
        };
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: row.try_get(0)?,
            columns: row.try_get(1)?,
            local: row.try_get(2)?,
            key: row.try_get(3)?,
            is_ours: row.try_get(4)?,
        }))
    }
}
