//! `archive` and `restore`: months of turns that are no longer hot, in Parquet files.
//!
//! A partition is written to a file, the file is read back, and its count and checksum are compared with the server's;
//! only then does an empty partition take its place, and only then is the old table dropped. Each step is a
//! transaction or a rename, and `agent_metrics_internal.archives` says how far an archive has come, so that a kill at
//! any moment loses nothing and the next run goes on. What the turns add up to stays in the database, so no number
//! changes. A partition that is written to meanwhile is archived again; a lock is waited for a tenth of a second at a
//! time, so that no insert waits longer.

pub mod file;
pub mod folder;
pub mod turns;

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::say;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};

use crate::program::connect::Database;
use crate::program::scheduler::jobs;
use crate::program::{error, text};
use file::{Reader, Writer};
use folder::Folder;
use turns::Tally;

/// Key of the advisory lock of archive and restore: "agentarc" in ASCII.
const KEY: i64 = 0x6167_656e_7461_7263;

/// How often a partition that is written to meanwhile is begun anew before it is left for another time.
const ATTEMPTS: usize = 3;

/// How long a lock is sought.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a session that was killed may take to be gone.
const FAREWELL: Duration = Duration::from_secs(10);

/// Pause between two tries for a lock, in which whoever waited behind the first gets on.
const PAUSE: Duration = Duration::from_millis(200);

/// A partition that is to be archived, as `archivable_partitions()` gives it.
struct Candidate {
    partition: String,
    from_time: String,
    to_time: String,
    archive_id: Option<i64>,
    state: Option<String>,
    file: Option<String>,
}

/// Archives every partition that is older than the hot days, and returns how many there were. One that cannot be
/// archived keeps no other from it.
pub async fn archive(database: &mut Database, folder: &Path) -> Result<usize> {
    let folder = Folder::open(folder)?;
    alone(database).await?;
    let candidates = candidates(database).await?;
    let mut failed: Option<anyhow::Error> = None;
    for candidate in &candidates {
        match archive_one(database, &folder, candidate).await {
            Ok(()) => {}
            Err(error) if error::is_lost(&error) => return Err(error),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    tracing::warn!("{}", error::of(&earlier));
                }
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if candidates.is_empty() {
        say!("nothing to archive: no month with turns is older than the setting hot_days");
    }
    Ok(candidates.len())
}

async fn archive_one(
    database: &mut Database,
    folder: &Folder,
    candidate: &Candidate,
) -> Result<()> {
    let id = if candidate.state.as_deref() == Some("detached") {
        candidate.archive_id.context("an archive has no id")?
    } else {
        write(database, folder, candidate).await?
    };
    drop_table(database, folder, id).await
}

/// Brings the turns of an archive back, and returns how many there were.
pub async fn restore(database: &mut Database, path: &Path) -> Result<u64> {
    alone(database).await?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} is no file name", path.display()))?;
    let row = database
        .query_opt(
            "SELECT a.archive_id, a.state, a.turns, a.checksum
             FROM agent_metrics_internal.archives a WHERE a.file = $1",
            &[&name],
        )
        .await?;
    let Some(row) = row else {
        bail!(
            "{name} is no archive of this database; SELECT file, state FROM agent_metrics_internal.archives lists them"
        );
    };
    let (id, state): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    if state != "archived" {
        bail!("the turns of {name} are in the database already: its state is {state}");
    }
    let (turns, checksum): (i64, String) = (row.try_get(2)?, row.try_get(3)?);
    let turns = u64::try_from(turns)?;
    let reader = Reader::open(path, &checksum)?;
    let present = turns::columns(database).await?;
    if let Some(column) = reader.columns.iter().find(|c| !present.contains(c)) {
        bail!(
            "{name} has a column {} that agent_events has not; add it, with the type it had, and run this again",
            column.name
        );
    }
    let names: Vec<String> = reader
        .columns
        .iter()
        .map(|column| turns::quoted(&column.name))
        .collect();
    let names = names.join(", ");

    // One transaction: a kill leaves everything as it was.
    let transaction = database.transaction().await?;
    transaction
        .batch_execute(
            "CREATE TEMP TABLE restoring (
                 LIKE agent_metrics.agent_events INCLUDING DEFAULTS) ON COMMIT DROP",
        )
        .await?;
    let bar = text::bar("restoring", turns);
    let mut expected = Tally::default();
    {
        let sql = format!("COPY pg_temp.restoring ({names}) FROM STDIN");
        let mut sink = pin!(transaction.copy_in::<_, Bytes>(&sql).await?);
        for number in 0..reader.groups() {
            for turns in reader.group(number)?.chunks(2_000) {
                let mut text = String::with_capacity(turns.len() * 200);
                for turn in turns {
                    expected.add(turn);
                    turns::copy_line(&reader.columns, turn, &mut text)?;
                }
                sink.send(Bytes::from(text)).await?;
                bar.inc(turns.len() as u64);
            }
        }
        sink.finish().await?;
    }
    bar.finish_and_clear();
    let found = turns::tally(&transaction, &reader.columns, "pg_temp.restoring").await?;
    if found != expected || found.turns != turns {
        bail!(
            "{} does not come back as it was archived: {} turns of {turns}, \
             with the sum {} for {}; nothing was restored",
            path.display(),
            found.turns,
            found.sum,
            expected.sum
        );
    }
    let inserted = transaction
        .execute(
            &format!(
                "INSERT INTO agent_metrics.agent_events ({names})
                 SELECT {names} FROM pg_temp.restoring ON CONFLICT DO NOTHING"
            ),
            &[],
        )
        .await?;
    transaction
        .execute("SELECT agent_metrics.finish_restore($1)", &[&id])
        .await?;
    transaction
        .execute("SELECT agent_metrics_internal.erase_again()", &[])
        .await?;
    transaction.commit().await?;
    say!("restored {inserted} turns from {name}");
    Ok(inserted)
}

/// Writes a partition to its file until the file is checked and nothing was written to the partition meanwhile; then
/// an empty partition is in its place.
async fn write(database: &mut Database, folder: &Folder, candidate: &Candidate) -> Result<i64> {
    let name = file_of(database, folder, candidate).await?;
    for _ in 0..ATTEMPTS {
        let folder_text = folder.path().display().to_string();
        let row = patiently(
            database,
            "SELECT agent_metrics.begin_archive($1, $2, $3)",
            &[&candidate.partition, &folder_text, &name],
        )
        .await?;
        let id: i64 = row.try_get(0)?;
        let written = write_file(database, folder, &name, candidate).await?;
        database
            .execute(
                "SELECT agent_metrics.condense_archive($1, $2, $3, $4)",
                &[
                    &id,
                    &i64::try_from(written.turns)?,
                    &written.checksum,
                    &i64::try_from(written.bytes)?,
                ],
            )
            .await?;
        match detach(database, id).await {
            Ok(()) => {
                say!(
                    "archived {} turns of {} in {name}, {:.1} MB",
                    written.turns,
                    candidate.partition,
                    written.bytes as f64 / 1e6
                );
                return Ok(id);
            }
            Err(error) if is(&error, &SqlState::T_R_SERIALIZATION_FAILURE) => {
                tracing::info!(
                    "{} was written to meanwhile: beginning again",
                    candidate.partition
                );
            }
            Err(error) => return Err(error),
        }
    }
    bail!(
        "partition {} is being written to, so its archive never holds what it holds; run this again later",
        candidate.partition
    )
}

/// How often the agents with turns that nobody counts yet are refreshed before a month is left for another time.
const DETACH_ROUNDS: u32 = 20;

/// Has an empty partition take the archived one's place, once every agent's rollups count its turns.
async fn detach(database: &Database, id: i64) -> Result<()> {
    for _ in 0..DETACH_ROUNDS {
        let row = patiently(database, "SELECT agent_metrics.detach_archive($1)", &[&id]).await?;
        let Some(behind) = row.try_get::<_, Option<Vec<String>>>(0)? else {
            return Ok(());
        };
        let round = jobs::refresh(database, &behind, true).await?;
        if let Some((agent, words)) = round.failed.first() {
            bail!(
                "agent {agent} has turns there that its rollups do not count, and its refresh fails: {words}"
            );
        }
    }
    bail!(
        "the rollups never come to count all of the month's turns, for others arrive; run this again later"
    )
}

async fn drop_table(database: &Database, folder: &Folder, id: i64) -> Result<()> {
    let row = database
        .query_one(
            "SELECT a.file, a.folder, a.partition, a.checksum
             FROM agent_metrics_internal.archives a WHERE a.archive_id = $1",
            &[&id],
        )
        .await?;
    let (name, written_to, partition): (String, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let checksum: String = row.try_get(3)?;
    folder::check_name(&name)?;
    // The last look before the table goes: the file may have gone since.
    let kept = || {
        format!(
            "the turns are still in table agent_metrics.{partition}_archived; \
             put the file back, or name the folder that it was written to ({written_to}) with \
             --folder, and run this again"
        )
    };
    Reader::open_in(folder, &name, &checksum)
        .and_then(|reader| reader.tally(|_| ()))
        .with_context(kept)?;
    patiently(database, "SELECT agent_metrics.drop_archive($1)", &[&id]).await?;
    Ok(())
}

/// What was written.
struct Written {
    turns: u64,
    checksum: String,
    bytes: u64,
}

/// Writes the file, reads it back, compares it with the server's tally and gives it its name.
async fn write_file(
    database: &mut Database,
    folder: &Folder,
    name: &str,
    candidate: &Candidate,
) -> Result<Written> {
    let columns = turns::columns(database).await?;
    let from = format!(
        "agent_metrics.agent_events WHERE occurred_at >= '{}' AND occurred_at < '{}'",
        candidate.from_time, candidate.to_time
    );
    let transaction = database
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let expected = turns::tally(&transaction, &columns, &from).await?;
    let bar = text::bar(&candidate.partition, expected.turns * 2);
    let mut writer = Writer::create(folder, name, &columns)?;
    let sql = format!(
        "SELECT {} FROM {from} ORDER BY agent_id, occurred_at, event_id",
        turns::expressions(&columns)
    );
    let parameters: [&(dyn ToSql + Sync); 0] = [];
    {
        let mut rows = pin!(transaction.query_raw(&sql, parameters).await?);
        while let Some(row) = rows.try_next().await? {
            writer.add(turns::cells(&columns, &row)?)?;
            bar.inc(1);
        }
    }
    transaction.commit().await?;
    let part = writer.finish()?;
    let mut file = folder.file(&part)?;
    let path = folder.path().join(&part);
    let (checksum, bytes) = (file::checksum_of(&mut file)?, file.metadata()?.len());
    let found = Reader::new(file, &path)?.tally(|read| bar.set_position(expected.turns + read))?;
    bar.finish_and_clear();
    if found != expected {
        bail!(
            "{} reads back {} turns with the sum {}, and the partition has {} with {}; nothing was dropped",
            path.display(),
            found.turns,
            found.sum,
            expected.turns,
            expected.sum
        );
    }
    folder.rename(&part, name)?;
    Ok(Written {
        turns: found.turns,
        checksum,
        bytes,
    })
}

/// Name of a partition's file. One that no archive claims is somebody else's and left alone.
async fn file_of(database: &Database, folder: &Folder, candidate: &Candidate) -> Result<String> {
    if let Some(name) = &candidate.file {
        folder::check_name(name)?;
        return Ok(name.clone());
    }
    let earlier: i64 = database
        .query_one(
            "SELECT count(*) FROM agent_metrics_internal.archives a WHERE a.partition = $1",
            &[&candidate.partition],
        )
        .await?
        .try_get(0)?;
    let name = if earlier == 0 {
        format!("{}.parquet", candidate.partition)
    } else {
        format!("{}.{}.parquet", candidate.partition, earlier + 1)
    };
    folder::check_name(&name)?;
    if folder.has(&name)? {
        bail!(
            "{} is there already and no archive of this database claims it; move it away, or name another --folder",
            folder.path().join(&name).display()
        );
    }
    Ok(name)
}

async fn candidates(database: &Database) -> Result<Vec<Candidate>> {
    let rows = database
        .query(
            "SELECT p.partition, to_char(p.from_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00'),
                    to_char(p.to_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00'), p.archive_id, p.state, p.file
             FROM agent_metrics.archivable_partitions() p",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Candidate {
                partition: row.try_get(0)?,
                from_time: row.try_get(1)?,
                to_time: row.try_get(2)?,
                archive_id: row.try_get(3)?,
                state: row.try_get(4)?,
                file: row.try_get(5)?,
            })
        })
        .collect()
}

/// One archive or restore at a time in a database. The lock goes with the session, and the server may take some seconds
/// to see that one has gone.
async fn alone(database: &Database) -> Result<()> {
    let begun = Instant::now();
    loop {
        let is_alone: bool = database
            .query_one("SELECT pg_try_advisory_lock($1)", &[&KEY])
            .await?
            .try_get(0)?;
        if is_alone {
            return Ok(());
        }
        if begun.elapsed() > FAREWELL {
            bail!("another agent-metrics archive or restore is at work in this database");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a statement whose lock is waited for a tenth of a second, again and again with pauses.
async fn patiently(
    database: &Database,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row> {
    let begun = Instant::now();
    loop {
        match database.query_one(sql, parameters).await {
            Err(error)
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
                    && begun.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return Ok(answer?),
        }
    }
}

fn is(error: &anyhow::Error, state: &SqlState) -> bool {
    error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        == Some(state)
}
