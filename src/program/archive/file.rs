//! The Parquet file of an archive.
//!
//! One row group for each [`GROUP`] turns, in the order of the primary key; Zstandard; every column optional. What
//! Parquet's own types do not say of a column is in the key `agent_metrics.columns` of the file's metadata, as JSON.
//! The file is written as `NAME.part`, synced, read back, and only then gets its name: a file with its name is whole.
//!
//! A file is read only after its SHA-256 is the one that the database has, and even then the Parquet crate is not
//! trusted with it: what the file says of itself is held against bounds, and a panic is an error.

use std::cell::Cell as Flag;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use anyhow::{Context, Result, bail};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use sha2::{Digest, Sha256};

use super::folder::{Folder, open_file};
use super::turns::{Cell, Column, Kind, Tally};

/// Turns in a row group.
const GROUP: usize = 50_000;

/// Key of the file's metadata that holds the columns.
const COLUMNS: &str = "agent_metrics.columns";

/// What a file's metadata may take at most.
const FOOTER: u64 = 64 * 1024 * 1024;

/// A file being written.
pub struct Writer {
    columns: Vec<Column>,
    writer: SerializedFileWriter<File>,
    /// Name of the file while it is written.
    part: String,
    path: PathBuf,
    waiting: Vec<Vec<Cell>>,
}

impl Writer {
    /// Begins `NAME` as `NAME.part`, in place of one that an earlier run left.
    pub fn create(folder: &Folder, name: &str, columns: &[Column]) -> Result<Self> {
        let part = part_of(name);
        let path = folder.path().join(&part);
        let file = folder.create(&part)?;
        let fields = columns
            .iter()
            .map(|column| {
                let (physical, logical) = match column.kind {
                    Kind::Integer => (Physical::INT64, None),
                    Kind::Moment => (
                        Physical::INT64,
                        Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
                    ),
                    Kind::Float => (Physical::DOUBLE, None),
                    Kind::Boolean => (Physical::BOOLEAN, None),
                    Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
                    Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                };
                Ok(Arc::new(
                    Type::primitive_type_builder(&column.name, physical)
                        .with_repetition(Repetition::OPTIONAL)
                        .with_logical_type(logical)
                        .build()?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        let schema = Type::group_type_builder("turn")
            .with_fields(fields)
            .build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(format!("agent_metrics {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![KeyValue::new(
                COLUMNS.to_owned(),
                serde_json::to_string(columns)?,
            )]))
            .build();
        Ok(Self {
            columns: columns.to_vec(),
            writer: SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?,
            part,
            path,
            waiting: Vec::with_capacity(GROUP),
        })
    }

    /// Writes one turn.
    pub fn add(&mut self, turn: Vec<Cell>) -> Result<()> {
        self.waiting.push(turn);
        if self.waiting.len() >= GROUP {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the file and has the disk keep it. It still is `NAME.part`, which is returned.
    pub fn finish(mut self) -> Result<String> {
        let path = self.path.clone();
        let words = || format!("{} cannot be written", path.display());
        self.flush()?;
        let file = self.writer.into_inner().with_context(words)?;
        file.sync_all().with_context(words)?;
        Ok(self.part)
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        write_group(&mut self.writer, &self.columns, &self.waiting)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        self.waiting.clear();
        Ok(())
    }
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    columns: &[Column],
    turns: &[Vec<Cell>],
) -> Result<()> {
    let mut group = writer.next_row_group()?;
    for (i, column) in columns.iter().enumerate() {
        let Some(mut chunk) = group.next_column()? else {
            bail!("the file has no column {}", column.name);
        };
        let cells = || turns.iter().filter_map(|turn| turn.get(i));
        let levels: Vec<i16> = cells().map(|cell| i16::from(*cell != Cell::Null)).collect();
        match chunk.untyped() {
            ColumnWriter::Int64ColumnWriter(typed) => {
                let values: Vec<i64> = cells()
                    .filter_map(|cell| match cell {
                        Cell::Integer(value) => Some(*value),
                        _ => None,
                    })
                    .collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::DoubleColumnWriter(typed) => {
                let values: Vec<f64> = cells()
                    .filter_map(|cell| match cell {
                        Cell::Float(value) => Some(*value),
                        _ => None,
                    })
                    .collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::BoolColumnWriter(typed) => {
                let values: Vec<bool> = cells()
                    .filter_map(|cell| match cell {
                        Cell::Boolean(value) => Some(*value),
                        _ => None,
                    })
                    .collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::ByteArrayColumnWriter(typed) => {
                let values: Vec<ByteArray> = cells()
                    .filter_map(|cell| match cell {
                        Cell::Text(value) => Some(ByteArray::from(value.as_str())),
                        _ => None,
                    })
                    .collect();
                typed.write_batch(&values, Some(&levels), None)?;
            }
            _ => bail!("column {} has a type that is not written", column.name),
        }
        chunk.close()?;
    }
    group.close()?;
    Ok(())
}

/// A file to be read, and its columns.
pub struct Reader {
    reader: SerializedFileReader<File>,
    path: PathBuf,
    /// The columns, in their order.
    pub columns: Vec<Column>,
}

impl Reader {
    /// Opens the file at a path whose SHA-256 has to be the given one.
    pub fn open(path: &Path, checksum: &str) -> Result<Self> {
        Self::checked(open_file(path)?, path, checksum)
    }

    /// The same of a file of the folder.
    pub fn open_in(folder: &Folder, name: &str, checksum: &str) -> Result<Self> {
        Self::checked(folder.file(name)?, &folder.path().join(name), checksum)
    }

    fn checked(mut file: File, path: &Path, checksum: &str) -> Result<Self> {
        let found =
            checksum_of(&mut file).with_context(|| format!("{} cannot be read", path.display()))?;
        if found != checksum {
            bail!(
                "{} is damaged, or is another file: its checksum is {found}, and {checksum} was archived",
                path.display()
            );
        }
        Self::new(file, path)
    }

    /// Reads a file's metadata. Fails with its name when it is damaged, or is none of ours.
    pub fn new(file: File, path: &Path) -> Result<Self> {
        let damaged = || {
            format!(
                "{} is no archive of agent-metrics, or is damaged",
                path.display()
            )
        };
        guarded(|| Self::read(file, path)).with_context(damaged)
    }

    fn read(file: File, path: &Path) -> Result<Self> {
        check_footer(&file)?;
        let size = i64::try_from(file.metadata()?.len())?;
        let reader = SerializedFileReader::new(file)?;
        let metadata = reader.metadata();
        let columns = metadata
            .file_metadata()
            .key_value_metadata()
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == COLUMNS))
            .and_then(|pair| pair.value.as_deref())
            .context("it does not name its columns")?;
        let columns: Vec<Column> = serde_json::from_str(columns)?;
        for group in metadata.row_groups() {
            if !(0..=GROUP as i64).contains(&group.num_rows())
                || group.num_columns() != columns.len()
            {
                bail!("a piece of it has {} turns", group.num_rows());
            }
            for chunk in group.columns() {
                // The dictionary, where there is one, lies before the data and counts.
                let from = chunk
                    .dictionary_page_offset()
                    .unwrap_or(chunk.data_page_offset());
                let length = chunk.compressed_size();
                if from < 0 || length < 0 || from.checked_add(length).is_none_or(|end| end > size) {
                    bail!("a piece of it lies outside of it");
                }
            }
        }
        Ok(Self {
            reader,
            path: path.to_owned(),
            columns,
        })
    }

    /// How many pieces the file has.
    pub fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// The turns of one piece.
    pub fn group(&self, number: usize) -> Result<Vec<Vec<Cell>>> {
        guarded(|| self.read_group(number))
            .with_context(|| format!("{} is damaged", self.path.display()))
    }

    fn read_group(&self, number: usize) -> Result<Vec<Vec<Cell>>> {
        let group = self.reader.get_row_group(number)?;
        let rows = usize::try_from(group.metadata().num_rows())?.min(GROUP);
        let mut turns = vec![Vec::with_capacity(self.columns.len()); rows];
        for (i, column) in self.columns.iter().enumerate() {
            let mut levels = Vec::with_capacity(rows);
            let mut cells: Box<dyn Iterator<Item = Result<Cell>>> =
                match group.get_column_reader(i)? {
                    ColumnReader::Int64ColumnReader(mut typed) => {
                        let mut values = Vec::with_capacity(rows);
                        typed.read_records(rows, Some(&mut levels), None, &mut values)?;
                        Box::new(values.into_iter().map(|value| Ok(Cell::Integer(value))))
                    }
                    ColumnReader::DoubleColumnReader(mut typed) => {
                        let mut values = Vec::with_capacity(rows);
                        typed.read_records(rows, Some(&mut levels), None, &mut values)?;
                        Box::new(values.into_iter().map(|value| Ok(Cell::Float(value))))
                    }
                    ColumnReader::BoolColumnReader(mut typed) => {
                        let mut values = Vec::with_capacity(rows);
                        typed.read_records(rows, Some(&mut levels), None, &mut values)?;
                        Box::new(values.into_iter().map(|value| Ok(Cell::Boolean(value))))
                    }
                    ColumnReader::ByteArrayColumnReader(mut typed) => {
                        let mut values = Vec::with_capacity(rows);
                        typed.read_records(rows, Some(&mut levels), None, &mut values)?;
                        Box::new(
                            values.into_iter().map(|value: ByteArray| {
                                Ok(Cell::Text(value.as_utf8()?.to_owned()))
                            }),
                        )
                    }
                    _ => bail!("column {} has another type", column.name),
                };
            if levels.len() != rows {
                bail!(
                    "column {} has {} of {rows} values",
                    column.name,
                    levels.len()
                );
            }
            for (turn, level) in turns.iter_mut().zip(&levels) {
                turn.push(if *level == 0 {
                    Cell::Null
                } else {
                    cells
                        .next()
                        .with_context(|| format!("column {} ends early", column.name))??
                });
            }
        }
        Ok(turns)
    }

    /// What the file's content adds up to. `each` hears how many turns were read so far.
    pub fn tally(&self, mut each: impl FnMut(u64)) -> Result<Tally> {
        let mut tally = Tally::default();
        for number in 0..self.groups() {
            for turn in self.group(number)? {
                tally.add(&turn);
            }
            each(tally.turns);
        }
        Ok(tally)
    }
}

/// What the file `name` is called while it is written.
pub fn part_of(name: &str) -> String {
    format!("{name}.part")
}

/// The SHA-256 of a file's bytes, as `archives.checksum` has it. The file is read from its beginning, and left there.
pub fn checksum_of(file: &mut File) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    file.rewind()?;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    file.rewind()?;
    let digits: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("sha256:{digits}"))
}

/// Whether the end of the file says of the metadata what can be: their length, then `PAR1`.
fn check_footer(mut file: &File) -> Result<()> {
    let size = file.metadata()?.len();
    if size < 12 {
        bail!("it has {size} bytes");
    }
    let mut end = [0; 8];
    file.seek(SeekFrom::Start(size - 8))?;
    file.read_exact(&mut end)?;
    file.rewind()?;
    let (length, magic) = end.split_at(4);
    let length = u64::from(u32::from_le_bytes(length.try_into()?));
    if magic != b"PAR1" || length > size - 12 || length > FOOTER {
        bail!("its end is not that of a Parquet file");
    }
    Ok(())
}

thread_local! {
    /// Whether a panic of this thread is an error that is told elsewhere.
    static GUARDED: Flag<bool> = const { Flag::new(false) };
}

/// Turns a panic of the Parquet crate, which damaged bytes can cause, into an error, and keeps its
/// words off the terminal.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    GUARDED.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("its content contradicts itself")))
}
