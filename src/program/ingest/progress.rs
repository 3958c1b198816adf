//! How far each file was read: in the database, in the transaction that stores what was read.
//!
//! A file is known by its path and by how it begins. One that grew is read from where the last run ended; another under
//! the same path begins otherwise, and is read as a new one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, Transaction};

use super::pieces::Position;

/// So many bytes say which file it is.
const HEAD: u64 = 64 * 1024;

/// A file, and how far it was read.
#[derive(Debug)]
pub struct Progress {
    path_hash: String,
    head_hash: String,
    /// Its bytes on the disk.
    pub size: u64,
    /// Where to go on.
    pub at: Position,
    /// It was read to its end, and nothing has come since.
    pub is_done: bool,
}

/// What became of pieces.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// New.
    pub stored: i64,
    /// There already.
    pub repeated: i64,
    /// Kept apart.
    pub quarantined: i64,
    /// What waits for an agent or a conversation, of all that was sent: it is in no sum.
    pub waiting: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.stored += more.stored;
        self.repeated += more.repeated;
        self.quarantined += more.quarantined;
        self.waiting += more.waiting;
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn head(file: &mut File, bytes: u64) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(bytes).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head)
}

fn number(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).context("a file of more than nine exabytes")
}

impl Progress {
    /// Looks up how far it was read, and notes it down if it is new.
    pub async fn of(client: &Client, path: &Path, file: &mut File) -> Result<Self> {
        let size = file.metadata()?.len();
        let shown = path.to_string_lossy().replace('\0', "");
        let path_hash = hash(path.as_os_str().as_encoded_bytes());
        let known = client
            .query(
                "SELECT f.head_hash::text, f.head_bytes, f.position, f.line, f.is_done, f.size
                 FROM agent_metrics_internal.ingested_files f WHERE f.path_hash = $1::text::uuid",
                &[&path_hash],
            )
            .await?;
        for row in known {
            let bytes = u64::try_from(row.try_get::<_, i64>(1)?)?;
            let old_size = u64::try_from(row.try_get::<_, i64>(5)?)?;
            let head_hash = row.try_get::<_, String>(0)?.replace('-', "");
            if size >= old_size && hash(&head(file, bytes)?) == head_hash {
                return Ok(Self {
                    path_hash,
                    head_hash,
                    size,
                    at: Position {
                        byte: u64::try_from(row.try_get::<_, i64>(2)?)?,
                        line: u64::try_from(row.try_get::<_, i64>(3)?)?,
                    },
                    is_done: row.try_get(4)? && size == old_size,
                });
            }
        }
        let head = head(file, HEAD)?;
        let head_hash = hash(&head);
        client
            .execute(
                "INSERT INTO agent_metrics_internal.ingested_files (path_hash, head_hash, head_bytes, path, size)
                 VALUES ($1::text::uuid, $2::text::uuid, $3, $4, $5)
                 ON CONFLICT (path_hash, head_hash) DO UPDATE
                 SET position = 0, line = 1, is_done = false, size = excluded.size, head_bytes = excluded.head_bytes",
                &[&path_hash, &head_hash, &number(head.len() as u64)?, &shown, &number(size)?],
            )
            .await?;
        Ok(Self {
            path_hash,
            head_hash,
            size,
            at: Position { byte: 0, line: 1 },
            is_done: false,
        })
    }

    /// Notes down, together with what was stored, that it is read so far.
    pub async fn reached(
        &mut self,
        transaction: &Transaction<'_>,
        next: Position,
        is_done: bool,
        counts: Counts,
    ) -> Result<()> {
        let changed = transaction
            .execute(
                "UPDATE agent_metrics_internal.ingested_files f
                 SET position = $4, line = $5, is_done = $6, size = $7, stored = f.stored + $8,
                     repeated = f.repeated + $9, quarantined = f.quarantined + $10, changed_at = now()
                 WHERE f.path_hash = $1::text::uuid AND f.head_hash = $2::text::uuid AND f.position = $3",
                &[
                    &self.path_hash,
                    &self.head_hash,
                    &number(self.at.byte)?,
                    &number(next.byte)?,
                    &number(next.line)?,
                    &is_done,
                    &number(self.size)?,
                    &counts.stored,
                    &counts.repeated,
                    &counts.quarantined,
                ],
            )
            .await?;
        if changed == 0 {
            bail!("another agent-metrics ingest reads it just now; let that one finish");
        }
        self.at = next;
        Ok(())
    }
}
