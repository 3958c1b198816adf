//! Rows of CSV, each as an event of our own form.

use std::io::{self, Read};

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use super::pieces::{PIECE_MAX, Piece, Placed, Position};
use crate::measures::redact::{QUARANTINE, redact};

/// Columns of `agent_events` that `ingest_events` takes.
const COLUMNS: [&str; 23] = [
    "agent_id",
    "agent_version",
    "business_event_id",
    "conversation_id",
    "cost_usd",
    "error",
    "event_id",
    "intent_classified",
    "is_eval",
    "latency_ms",
    "model",
    "occurred_at",
    "outcome_label",
    "outcome_source",
    "prompt_version",
    "provider",
    "token_usage_cache_read",
    "token_usage_cache_write",
    "token_usage_input",
    "token_usage_output",
    "tools_called",
    "turn_index",
    "user_id",
];

/// Reads rows.
pub struct Rows<R> {
    reader: csv::Reader<Bounded<R>>,
    header: Vec<String>,
    from: Position,
}

impl<R: Read> Rows<R> {
    /// The header's columns, each of which has to be one of ours.
    pub fn header(line: &csv::StringRecord) -> Result<Vec<String>> {
        let header: Vec<String> = line.iter().map(|column| column.trim().to_owned()).collect();
        for (place, column) in header.iter().enumerate() {
            ensure!(
                COLUMNS.contains(&column.as_str()),
                "its column \"{column}\" is none of agent_events; rename it or leave it out, or let agent-metrics init \
                 read the file: it asks which column is what. Known are: {}",
                COLUMNS.join(", ")
            );
            ensure!(
                !header[..place].contains(column),
                "it has the column \"{column}\" twice; leave one out"
            );
        }
        for column in ["agent_id", "occurred_at", "conversation_id"] {
            ensure!(
                header.iter().any(|known| known == column),
                "it has no column {column}, which every turn has; its first line is: {}",
                header.join(", ")
            );
        }
        Ok(header)
    }

    /// From a place on, at which the input stands: at the begin of the file the header is read over.
    pub fn new(input: R, delimiter: u8, header: Vec<String>, at: Position) -> Self {
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(at.byte == 0)
            .flexible(true)
            .from_reader(Bounded {
                input,
                left: PIECE_MAX,
            });
        Self {
            reader,
            header,
            from: at,
        }
    }

    /// The next row; `None`: that was the last.
    pub fn next(&mut self) -> Result<Option<Placed>> {
        let mut record = csv::ByteRecord::new();
        self.reader.get_mut().left = PIECE_MAX;
        let is_there = self.reader.read_byte_record(&mut record)?;
        if !is_there {
            return Ok(None);
        }
        let place = |position: &csv::Position| Position {
            byte: self.from.byte + position.byte(),
            line: self.from.line + position.line() - 1,
        };
        let (begins, next) = (record.position().map(place), place(self.reader.position()));
        let line = begins.map_or(next.line, |begins| begins.line);
        let length = record.as_slice().len() as u64;
        let piece = match self.event(&record) {
            Ok(event) => Piece::Good(event),
            Err(reason) => Piece::Bad(redact(record.as_slice(), QUARANTINE), length, reason),
        };
        Ok(Some(Placed { piece, line, next }))
    }

    fn event(&self, record: &csv::ByteRecord) -> Result<String, String> {
        if record.len() != self.header.len() {
            return Err(format!(
                "{} fields, and the header has {}",
                record.len(),
                self.header.len()
            ));
        }
        let mut event = Map::new();
        for (column, field) in self.header.iter().zip(record) {
            let text = std::str::from_utf8(field).map_err(|_| format!("{column} is no UTF-8"))?;
            if text.contains('\0') {
                return Err(format!(
                    "{column} has a zero, which no text of the database can hold"
                ));
            }
            if text.is_empty() {
                continue;
            }
            // What is JSON in the table is JSON in the file; one that is none is refused by the database.
            let value = match serde_json::from_str::<Value>(text) {
                Ok(value) if column == "tools_called" => value,
                _ => Value::from(text),
            };
            event.insert(column.clone(), value);
        }
        serde_json::to_string(&event).map_err(|error| error.to_string())
    }
}

/// An input of which so much is read for one row: a quote that is never closed would take the whole file.
pub struct Bounded<R> {
    input: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a row of more than 16 MB: a quote is not closed",
            ));
        }
        let read = self.input.read(buffer)?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_events_and_a_bad_row_stops_nothing() {
        let text = b"agent_id,occurred_at,conversation_id,tools_called,cost_usd,error\n\
                     a,2026-01-01,c-1,\"[\"\"x\"\"]\",0.10,\n\
                     a,2026-01-01,\"c\n2\",,,\"5\"\n\
                     a,2026-01-01\n\
                     a,2026-01-01,\xff,,,\n\
                     a,2026-01-01,c-3,,,";
        let mut first = csv::Reader::from_reader(&text[..]);
        let header = Rows::<&[u8]>::header(first.headers().unwrap()).unwrap();
        let start = Position { byte: 0, line: 1 };
        let mut rows = Rows::new(&text[..], b',', header.clone(), start);
        let mut found = Vec::new();
        while let Some(placed) = rows.next().unwrap() {
            found.push(placed);
        }
        let good = |place: usize| match &found[place].piece {
            Piece::Good(event) => serde_json::from_str::<Value>(event).unwrap(),
            bad => panic!("{bad:?}"),
        };
        assert_eq!(
            found.iter().map(|placed| placed.line).collect::<Vec<_>>(),
            [2, 3, 5, 6, 7]
        );
        assert_eq!(good(0)["tools_called"], serde_json::json!(["x"]));
        assert_eq!(good(0)["cost_usd"], "0.10");
        assert_eq!(
            (&good(1)["conversation_id"], &good(1)["error"]),
            (&"c\n2".into(), &"5".into())
        );
        assert!(
            matches!(&found[2].piece, Piece::Bad(..)) && matches!(&found[3].piece, Piece::Bad(..))
        );
        assert_eq!(good(4)["conversation_id"], "c-3");
        // from the middle on
        let next = found[1].next;
        let mut rows = Rows::new(&text[next.byte as usize..], b',', header, next);
        assert_eq!(rows.next().unwrap().unwrap(), found[2]);
    }

    #[test]
    fn a_header_that_is_not_ours_says_what_to_do() {
        for (line, words) in [
            (
                &["agent_id", "occurred_at", "ticket"][..],
                "\"ticket\" is none of",
            ),
            (&["agent_id", "occurred_at"], "no column conversation_id"),
            (&["agent_id", "agent_id"], "twice"),
        ] {
            let error = Rows::<&[u8]>::header(&csv::StringRecord::from(line.to_vec())).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
