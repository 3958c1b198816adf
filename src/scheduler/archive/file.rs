//! The Parquet file of an archive.
//!
//! One row group for each [`GROUP`] turns, in the order of the primary key; Zstandard; every column optional. What
//! Parquet's own types do not say of a column is in the key `agent_metrics.columns` of the file's metadata, as JSON.
//! The file is written as `NAME.part`, synced, read back, and only then gets its name: a file with its name is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

use super::turns::{Cell, Column, Kind, Tally};

/// Turns in a row group.
const GROUP: usize = 50_000;

/// Key of the file's metadata that holds the columns.
const COLUMNS: &str = "agent_metrics.columns";

/// A file being written.
pub struct Writer {
    columns: Vec<Column>,
    writer: SerializedFileWriter<File>,
    part: PathBuf,
    waiting: Vec<Vec<Cell>>,
}

impl Writer {
    /// Begins `path` as `path.part`, in place of one that an earlier run left.
    pub fn create(path: &Path, columns: &[Column]) -> Result<Self> {
        let part = part_of(path);
        let file =
            File::create(&part).with_context(|| format!("{} cannot be written", part.display()))?;
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

    /// Ends the file and has the disk keep it. It still is `path.part`.
    pub fn finish(mut self) -> Result<PathBuf> {
        let part = self.part.clone();
        let words = || format!("{} cannot be written", part.display());
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
            .with_context(|| format!("{} cannot be written", self.part.display()))?;
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
    /// Opens a file. Fails with its name when it is not there, is damaged, or is none of ours.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = || {
            format!(
                "{} is no archive of agent-metrics, or is damaged",
                path.display()
            )
        };
        let file =
            File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let reader = SerializedFileReader::new(file).with_context(damaged)?;
        let columns = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == COLUMNS))
            .and_then(|pair| pair.value.as_deref())
            .with_context(damaged)?;
        let columns = serde_json::from_str(columns).with_context(damaged)?;
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
        self.read_group(number)
            .with_context(|| format!("{} is damaged", self.path.display()))
    }

    fn read_group(&self, number: usize) -> Result<Vec<Vec<Cell>>> {
        let group = self.reader.get_row_group(number)?;
        let rows = usize::try_from(group.metadata().num_rows())?;
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

/// What the file `path` is called while it is written.
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Gives a file that was read back its name, and has the disk keep that too.
pub fn publish(part: &Path, path: &Path) -> Result<u64> {
    let words = || format!("{} cannot be written", path.display());
    fs::rename(part, path).with_context(words)?;
    if let Some(folder) = path.parent() {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(words)?;
    }
    Ok(fs::metadata(path).with_context(words)?.len())
}

/// Makes the folder if need be, and tries whether it can be written.
pub fn check_folder(folder: &Path) -> Result<PathBuf> {
    let words = || format!("folder {} cannot be written", folder.display());
    fs::create_dir_all(folder).with_context(words)?;
    let probe = folder.join(".agent-metrics");
    File::create(&probe).with_context(words)?;
    match fs::remove_file(&probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(words);
        }
        _ => {}
    }
    folder.canonicalize().with_context(words)
}
