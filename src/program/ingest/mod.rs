//! `ingest`: files and folders of events, once each.
//!
//! Purpose: every good line is stored, a bad one is kept apart with its place, and nothing stops a file: whatever
//! happens, the next run goes on where this one ended.
//!
//! - [`pieces`]: lines and values of JSON
//! - [`rows`]: rows of CSV
//! - [`progress`]: how far each file was read
//!
//! State: none but the piece at hand and a portion of others. Failure: a file that cannot be read any further is named,
//! and the next one is read.

mod pieces;
mod progress;
mod rows;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use tokio_postgres::error::SqlState;

use self::pieces::{Kind, Piece, Pieces, Placed, Position};
use self::progress::{Counts, Progress};
use self::rows::Rows;
use crate::measures::redact::{QUARANTINE, redact};
use crate::program::connect::Database;
use crate::program::{error, text};
use crate::say;

/// How names of files with events end; in a folder others are passed over.
const ENDINGS: [&str; 5] = ["json", "jsonl", "ndjson", "csv", "log"];
/// And of packed ones, after that.
const PACKED: [&str; 2] = ["gz", "zst"];
/// So many bytes and pieces are one transaction.
const PORTION: usize = 4 * 1024 * 1024;
const PIECES: usize = 10_000;
/// So much is read at once.
const BUFFER: usize = 256 * 1024;

/// Reads files and folders. False: some of them could not be read to the end.
pub async fn run(database: &mut Database, paths: &[PathBuf]) -> Result<bool> {
    let mut files = Vec::new();
    for path in paths {
        let found = path.canonicalize().with_context(|| {
            format!(
                "{} is not there, or cannot be read; name a file or a folder",
                path.display()
            )
        })?;
        if found.is_dir() {
            collect(&found, &mut files)?;
        } else {
            files.push(found);
        }
    }
    ensure!(
        !files.is_empty(),
        "there is no file to read; name one, or a folder with files that end in .json, .jsonl, .ndjson, .csv or .log, \
         also with .gz or .zst after it"
    );
    files.dedup();
    let mut is_well = true;
    for path in files {
        let name = path.display().to_string();
        match ingest(database, &path).await {
            Ok(None) => say!("{name}: nothing new"),
            Ok(Some(counts)) => say!(
                "{name}: {} stored, {} there already, {} incomplete, {} in quarantine",
                counts.stored,
                counts.repeated,
                counts.waiting,
                counts.quarantined
            ),
            Err(error) if error::is_lost(&error) && !is_of_file(&error) => return Err(error),
            Err(error) => {
                is_well = false;
                eprintln!(
                    "agent-metrics: {}: {}",
                    text::shown(&name),
                    text::shown(&error::of(&error))
                );
            }
        }
    }
    Ok(is_well)
}

/// Whether the file is at fault, and not the server: what the one cannot give has the other's kind of error.
fn is_of_file(error: &anyhow::Error) -> bool {
    error
        .chain()
        .all(|cause| !cause.is::<tokio_postgres::Error>())
}

/// The files of a folder and of those in it, in the order of their names; links are not followed.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let mut entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .with_context(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().with_context(unreadable)?);
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file() && holds_events(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn holds_events(path: &Path) -> bool {
    let ends = |path: &Path, endings: &[&str]| {
        let extension = path.extension().and_then(std::ffi::OsStr::to_str);
        extension.is_some_and(|one| {
            endings
                .iter()
                .any(|ending| one.eq_ignore_ascii_case(ending))
        })
    };
    ends(path, &ENDINGS)
        || ends(path, &PACKED) && ends(Path::new(path.file_stem().unwrap_or_default()), &ENDINGS)
}

/// A file as it is unpacked, from its begin. The bar follows its bytes on the disk.
fn unpacked(file: File, bar: &ProgressBar) -> Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let magic = file.fill_buf()?;
    let (is_gzip, is_zstd) = (
        magic.starts_with(&[0x1f, 0x8b]),
        magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
    );
    let file = bar.wrap_read(file);
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
    } else if is_zstd {
        Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::new(file)?))
    } else {
        Box::new(BufReader::with_capacity(BUFFER, file))
    })
}

/// What comes out of a file.
enum Source {
    Json(Pieces<Box<dyn BufRead>>),
    Csv(Rows<Box<dyn BufRead>>),
}

impl Source {
    /// Opens it where the last run ended.
    fn open(file: &File, at: Position, bar: &ProgressBar) -> Result<Self> {
        let open = || -> Result<Box<dyn BufRead>> {
            let mut file = file.try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            bar.set_position(0);
            unpacked(file, bar)
        };
        let mut input = open()?;
        let mut head = Vec::new();
        input.by_ref().take(BUFFER as u64).read_to_end(&mut head)?;
        ensure!(
            !head.starts_with(&[0xff, 0xfe]) && !head.starts_with(&[0xfe, 0xff]),
            "it is UTF-16; make UTF-8 of it with: iconv -f UTF-16 -t UTF-8"
        );
        let kind = Kind::of(&head);
        let mut input = open()?;
        io::copy(&mut input.by_ref().take(at.byte), &mut io::sink())?;
        Ok(match kind {
            Kind::Csv(delimiter) => {
                let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
                let mut first = csv::ReaderBuilder::new()
                    .delimiter(delimiter)
                    .from_reader(head);
                let header = Rows::<Box<dyn BufRead>>::header(first.headers()?)?;
                Self::Csv(Rows::new(input, delimiter, header, at))
            }
            kind => Self::Json(Pieces::new(input, kind, at)),
        })
    }

    fn next(&mut self) -> Result<Option<Placed>> {
        match self {
            Self::Json(pieces) => Ok(pieces.next()?),
            Self::Csv(rows) => rows.next(),
        }
    }
}

/// Reads one file. `None`: nothing is new in it.
async fn ingest(database: &mut Database, path: &Path) -> Result<Option<Counts>> {
    let mut file = File::open(path).context("it cannot be opened")?;
    let mut progress = Progress::of(database, path, &mut file).await?;
    if progress.is_done {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bar = text::bar(&name, progress.size);
    let mut source = Source::open(&file, progress.at, &bar)?;
    let mut portion = Portion {
        name: path.to_string_lossy().replace('\0', ""),
        next: progress.at,
        ..Portion::default()
    };
    let mut counts = Counts::default();
    let broken = loop {
        match source.next() {
            Ok(Some(placed)) => portion.add(placed),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
        if portion.bytes >= PORTION || portion.pieces.len() >= PIECES {
            counts += portion.store(database, &mut progress, false).await?;
        }
    };
    counts += portion
        .store(database, &mut progress, broken.is_none())
        .await?;
    bar.finish_and_clear();
    match broken {
        None => Ok(Some(counts)),
        Some(error) => Err(error.context(format!(
            "it cannot be read from line {} on ({} stored before)",
            progress.at.line, counts.stored
        ))),
    }
}

/// Pieces that are stored together.
#[derive(Default)]
struct Portion {
    /// The file's name.
    name: String,
    pieces: Vec<Placed>,
    bytes: usize,
    next: Position,
}

impl Portion {
    fn add(&mut self, placed: Placed) {
        self.bytes += match &placed.piece {
            Piece::Good(document) => document.len(),
            Piece::Bad(kept, ..) => kept.len(),
        };
        self.next = placed.next;
        self.pieces.push(placed);
    }

    /// Stores what is here, and how far the file is read, in one transaction; in smaller ones where that fails.
    async fn store(
        &mut self,
        database: &mut Database,
        progress: &mut Progress,
        is_end: bool,
    ) -> Result<Counts> {
        let pieces = std::mem::take(&mut self.pieces);
        self.bytes = 0;
        let mut counts = Counts::default();
        // Parts that are left, the next one last.
        let mut parts = vec![&pieces[..]];
        while let Some(part) = parts.pop() {
            let next = part.last().map_or(self.next, |placed| placed.next);
            let is_done = is_end && parts.is_empty();
            match self.commit(database, progress, part, next, is_done).await {
                Ok(more) => counts += more,
                Err(error) if part.len() > 1 && is_of_data(&error) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => match part {
                    [
                        Placed {
                            piece: Piece::Good(document),
                            line,
                            next,
                        },
                    ] if is_of_data(&error) => {
                        let kept = redact(document.as_bytes(), QUARANTINE);
                        let piece = Piece::Bad(kept, document.len() as u64, error::of(&error));
                        let bad = Placed {
                            piece,
                            line: *line,
                            next: *next,
                        };
                        counts += self
                            .commit(database, progress, &[bad], *next, is_done)
                            .await?;
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(counts)
    }

    async fn commit(
        &self,
        database: &mut Database,
        progress: &mut Progress,
        part: &[Placed],
        next: Position,
        is_done: bool,
    ) -> Result<Counts> {
        let transaction = database.transaction().await?;
        let place = |line: u64| format!("{}:{line}", self.name);
        let (mut lines, mut places, mut counts) = (Vec::new(), Vec::new(), Counts::default());
        for placed in part {
            match &placed.piece {
                Piece::Good(document) => {
                    lines.push(document.as_str());
                    places.push(place(placed.line));
                }
                Piece::Bad(kept, bytes, reason) => {
                    transaction
                        .execute(
                            "SELECT agent_metrics_internal.quarantine_text($1, $2, $3, $4)",
                            &[kept, &place(placed.line), &i64::try_from(*bytes)?, reason],
                        )
                        .await?;
                    counts.quarantined += 1;
                }
            }
        }
        if !lines.is_empty() {
            let row = transaction
                .query_one(
                    "SELECT i.stored, i.repeated, i.quarantined, i.waiting
                     FROM agent_metrics_internal.ingest_lines($1, $2) i",
                    &[&lines, &places],
                )
                .await?;
            counts += Counts {
                stored: row.try_get(0)?,
                repeated: row.try_get(1)?,
                quarantined: row.try_get(2)?,
                waiting: row.try_get(3)?,
            };
        }
        // The position moves with what was stored: so the one is never there without the other.
        let before = progress.at;
        let reached = progress.reached(&transaction, next, is_done, counts).await;
        if reached.is_ok()
            && let Err(error) = transaction.commit().await
        {
            progress.at = before;
            return Err(error.into());
        }
        reached.map(|()| counts)
    }
}

/// Whether a value is at fault, and not the server, or time.
fn is_of_data(error: &anyhow::Error) -> bool {
    let code = error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    code.is_some_and(|code: &SqlState| ["22", "23", "54"].contains(&&code.code()[..2]))
}
