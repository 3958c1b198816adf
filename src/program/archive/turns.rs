//! Turns between the database and a file: which columns there are, how each travels, and what their content adds up to.
//!
//! The columns are those that `agent_events` has, so one that a user added is archived too. `recorded_in` alone stays
//! behind: it is the bookkeeping of one cluster.
//!
//! The checksum is made once by the server and once from the file. Of each turn, each value is written as the number
//! of its characters, a colon and the value (`-` for NULL), all in the order of the columns; the first 60 bits of the
//! text's SHA-256 are added up over the turns. Length before value makes the text unambiguous; a sum does not depend
//! on the order of the turns.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, Row};

/// How a value travels and is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole number.
    Integer,
    /// Microseconds since 1970, UTC.
    Moment,
    /// A double.
    Float,
    /// True or false.
    Boolean,
    /// JSON, as text.
    Json,
    /// Anything else, as the server writes it: numeric keeps its digits, uuid its hyphens.
    Text,
}

/// A column of `agent_events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How its values travel.
    pub kind: Kind,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A whole number, or microseconds since 1970.
    Integer(i64),
    /// A double.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A text.
    Text(String),
}

/// How many turns, and the sum over their content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Turns.
    pub turns: u64,
    /// Sum of the first 60 bits of each turn's SHA-256.
    pub sum: u128,
}

impl Tally {
    /// Counts one more turn.
    pub fn add(&mut self, turn: &[Cell]) {
        let mut text = String::with_capacity(256);
        for cell in turn {
            let value = match cell {
                Cell::Null => {
                    text.push('-');
                    continue;
                }
                Cell::Integer(value) => value.to_string(),
                Cell::Float(value) => format!("{:016x}", value.to_bits()),
                Cell::Boolean(value) => value.to_string(),
                Cell::Text(value) => value.clone(),
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "{}:{value}", value.chars().count());
        }
        let digest = Sha256::digest(text.as_bytes());
        let first = digest
            .iter()
            .take(8)
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        self.turns += 1;
        self.sum += u128::from(first >> 4);
    }
}

/// The columns of `agent_events` but `recorded_in`, in their order.
pub async fn columns(client: &Client) -> Result<Vec<Column>> {
    let rows = client
        .query(
            "SELECT a.attname::text, t.typname::text
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = 'agent_metrics.agent_events'::regclass AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attname <> 'recorded_in' AND a.attgenerated = ''
             ORDER BY a.attnum",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let (name, type_name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let kind = match type_name.as_str() {
                "int2" | "int4" | "int8" => Kind::Integer,
                "timestamptz" => Kind::Moment,
                "float8" => Kind::Float,
                "bool" => Kind::Boolean,
                "json" | "jsonb" => Kind::Json,
                _ => Kind::Text,
            };
            Ok(Column { name, kind })
        })
        .collect()
}

/// A name as SQL writes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The values of the columns, as they travel.
pub fn expressions(columns: &[Column]) -> String {
    let all: Vec<String> = columns.iter().map(expression).collect();
    all.join(", ")
}

fn expression(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.kind {
        Kind::Integer => format!("{name}::bigint"),
        // The ends of bigint stand for those of time.
        Kind::Moment => format!(
            "CASE WHEN isfinite({name}) THEN (extract(epoch FROM {name}) * 1000000)::bigint
                  WHEN {name} > '2000-01-01' THEN 9223372036854775807
                  WHEN {name} < '2000-01-01' THEN -9223372036854775807 - 1 END"
        ),
        Kind::Float | Kind::Boolean => name,
        Kind::Json | Kind::Text => format!("{name}::text"),
    }
}

/// The tally of the rows of `from`, by the server: count and sum, as text.
pub async fn tally(
    client: &impl tokio_postgres::GenericClient,
    columns: &[Column],
    from: &str,
) -> Result<Tally> {
    let parts: Vec<String> = columns
        .iter()
        .map(|column| {
            let value = expression(column);
            let text = match column.kind {
                Kind::Float => format!("encode(float8send({value}), 'hex')"),
                Kind::Integer | Kind::Moment | Kind::Boolean => format!("({value})::text"),
                Kind::Json | Kind::Text => value,
            };
            format!("coalesce(char_length({text}) || ':' || {text}, '-')")
        })
        .collect();
    let sql = format!(
        "SELECT count(*),
                coalesce(sum(('x' || left(encode(sha256(convert_to({}, 'UTF8')), 'hex'),
                                          15))::bit(60)::bigint), 0)::text
         FROM {from}",
        parts.join(" || ")
    );
    let row = client.query_one(&sql, &[]).await?;
    let (turns, sum): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Tally {
        turns: u64::try_from(turns)?,
        sum: sum.parse()?,
    })
}

/// The cells of a row that [`expressions`] asked for.
pub fn cells(columns: &[Column], row: &Row) -> Result<Vec<Cell>> {
    columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            Ok(match column.kind {
                Kind::Integer | Kind::Moment => row
                    .try_get::<_, Option<i64>>(i)?
                    .map_or(Cell::Null, Cell::Integer),
                Kind::Float => row
                    .try_get::<_, Option<f64>>(i)?
                    .map_or(Cell::Null, Cell::Float),
                Kind::Boolean => row
                    .try_get::<_, Option<bool>>(i)?
                    .map_or(Cell::Null, Cell::Boolean),
                Kind::Json | Kind::Text => row
                    .try_get::<_, Option<String>>(i)?
                    .map_or(Cell::Null, Cell::Text),
            })
        })
        .collect()
}

/// Appends a turn as a line of COPY's text format.
pub fn copy_line(columns: &[Column], turn: &[Cell], line: &mut String) -> Result<()> {
    for (i, (column, cell)) in columns.iter().zip(turn).enumerate() {
        if i > 0 {
            line.push('\t');
        }
        match (cell, column.kind) {
            (Cell::Null, _) => line.push_str("\\N"),
            (Cell::Integer(value), Kind::Moment) => {
                line.push_str(&moment(*value));
            }
            (Cell::Integer(value), Kind::Integer) => line.push_str(&value.to_string()),
            (Cell::Float(value), Kind::Float) => line.push_str(&value.to_string()),
            (Cell::Boolean(value), Kind::Boolean) => line.push_str(if *value { "t" } else { "f" }),
            (Cell::Text(value), Kind::Json | Kind::Text) => {
                for c in value.chars() {
                    match c {
                        '\\' => line.push_str("\\\\"),
                        '\n' => line.push_str("\\n"),
                        '\r' => line.push_str("\\r"),
                        '\t' => line.push_str("\\t"),
                        c => line.push(c),
                    }
                }
            }
            _ => bail!("column {} does not hold what its kind says", column.name),
        }
    }
    line.push('\n');
    Ok(())
}

/// A moment as the server reads it, from microseconds since 1970: every one that it knows, also those that no calendar
/// of the machine does.
fn moment(micros: i64) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    const DAY: i64 = 86_400_000_000;
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    // Years of March to February in cycles of 400 (Hinnant, chrono-compatible low-level date algorithms).
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march = (5 * day_of_year + 2) / 153;
    let (day, month) = (
        day_of_year - (153 * march + 2) / 5 + 1,
        if march < 10 { march + 3 } else { march - 9 },
    );
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    // The year before 1 is 1 BC.
    let (year, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    let seconds = rest / 1_000_000;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06}+00{era}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        rest % 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_of_the_server_can_be_written() {
        use chrono::{DateTime, Utc};
        for (micros, text) in [
            (0, "1970-01-01 00:00:00.000000+00"),
            (-1, "1969-12-31 23:59:59.999999+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000000+00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999+00 BC"),
            (8_458_041_600_000_000_000, "269994-09-02 00:00:00.000000+00"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ] {
            assert_eq!(moment(micros), text, "{micros}");
        }
        let mut micros = -62_000_000_000_000_000;
        while micros < 250_000_000_000_000_000 {
            let same: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(
                moment(micros),
                same.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
            );
            micros += 86_399_000_017 * 37;
        }
    }

    #[test]
    fn a_tally_tells_content_and_not_order() {
        let turn = |a: &str, b: &str| vec![Cell::Text(a.to_owned()), Cell::Text(b.to_owned())];
        let of = |turns: &[Vec<Cell>]| {
            let mut tally = Tally::default();
            turns.iter().for_each(|turn| tally.add(turn));
            tally
        };
        assert_eq!(
            of(&[turn("a", "b"), turn("c", "d")]),
            of(&[turn("c", "d"), turn("a", "b")])
        );
        assert_ne!(of(&[turn("ab", "c")]), of(&[turn("a", "bc")]));
        assert_ne!(of(&[turn("-", "")]), of(&[vec![Cell::Null, Cell::Null]]));
    }
}
