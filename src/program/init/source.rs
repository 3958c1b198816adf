//! Where the turns come from: a CSV file, a file of JSON lines, or a table of the database; as columns of text.
//!
//! A file is copied into a temporary table as it is. What it holds is then looked at in SQL, all of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::relation::Relation;
use super::script::{Script, literal, name};

/// So much of a file is looked at before it is copied.
const HEAD: u64 = 1024 * 1024;
/// So many lines of JSON are looked at for their keys.
const SAMPLE: i64 = 1000;
/// So deep lie keys that are looked at.
const DEPTH: usize = 3;
/// Where files are copied to.
const STAGING: &str = "pg_temp.staging";

/// What the rows are.
pub enum Shape {
    /// Rows with columns.
    Columns,
    /// Whole events, which `ingest_events` understands: OTLP, or objects with our own names.
    Events,
}

/// Turns that are not ours yet.
pub struct Source {
    /// How it is called: the file, or the table.
    pub title: String,
    /// What its rows are.
    pub shape: Shape,
    /// Its columns.
    pub columns: Vec<String>,
    /// SQL of each column's text, in the same order.
    texts: Vec<String>,
    /// What comes after FROM.
    pub relation: String,
    /// SQL of a text that tells two rows apart.
    pub identity: String,
}

impl Source {
    /// Looks what is meant, and copies a file.
    pub async fn open(script: &Script<'_>, from: &str, encoding: &str) -> Result<Self> {
        match File::open(from) {
            Ok(file) => {
                let mut head = Vec::new();
                file.take(HEAD)
                    .read_to_end(&mut head)
                    .with_context(|| format!("{from} cannot be read"))?;
                Self::file(script, from, &head, encoding).await
            }
            Err(error) => match Self::table(script, from).await? {
                Some(table) => Ok(table),
                None => bail!(
                    "{from} is no file that can be read ({error}), and no table of this database; give --from a CSV \
                     file, a file of JSON lines, or schema.table"
                ),
            },
        }
    }

    async fn file(script: &Script<'_>, path: &str, head: &[u8], encoding: &str) -> Result<Self> {
        ensure!(!head.is_empty(), "{path} is empty");
        ensure!(
            !head.starts_with(&[0xff, 0xfe]) && !head.starts_with(&[0xfe, 0xff]),
            "{path} is UTF-16; make UTF-8 of it with: iconv -f UTF-16 -t UTF-8"
        );
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        let is_utf8 = match std::str::from_utf8(head) {
            Ok(_) => true,
            // The end of the head may be the middle of a character.
            Err(error) => error.error_len().is_none() && head.len() as u64 >= HEAD - 3,
        };
        ensure!(
            is_utf8 || !encoding.eq_ignore_ascii_case("utf8"),
            "{path} is no UTF-8; say what it is, such as --encoding WIN1252 or LATIN1"
        );
        let head = String::from_utf8_lossy(head);
        if head.trim_start().starts_with(['{', '[']) {
            Self::json(script, path, &head, encoding).await
        } else {
            Self::csv(script, path, &head, encoding).await
        }
    }

    async fn csv(script: &Script<'_>, path: &str, head: &str, encoding: &str) -> Result<Self> {
        let (delimiter, header) =
            header(head).with_context(|| format!("{path} cannot be read as CSV"))?;
        let columns = distinct(&header);
        script.title(&format!(
            "What {} has, as text",
            crate::program::text::shown(path)
        ));
        let list: Vec<String> = columns
            .iter()
            .map(|column| format!("{} text", name(column)))
            .collect();
        script
            .run(&format!(
                "CREATE TEMP TABLE staging (\n    {})",
                list.join(", ")
            ))
            .await?;
        let options = format!(
            "FORMAT csv, HEADER true, DELIMITER {}, ENCODING {}",
            if delimiter == '\t' {
                "E'\\t'".to_owned()
            } else {
                literal(&delimiter.to_string())
            },
            literal(encoding)
        );
        script.copy(STAGING, path, &options).await?;
        Ok(Self {
            title: path.to_owned(),
            shape: Shape::Columns,
            texts: columns
                .iter()
                .map(|column| format!("s.{}", name(column)))
                .collect(),
            columns,
            relation: format!("{STAGING} s"),
            identity: "s::text".to_owned(),
        })
    }

    async fn json(script: &Script<'_>, path: &str, head: &str, encoding: &str) -> Result<Self> {
        let line = head
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        let is_whole = (line.len() as u64) < HEAD;
        ensure!(
            line.trim_start().starts_with('{')
                && (!is_whole || serde_json::from_str::<Value>(line).is_ok()),
            "{path} has no JSON object a line; make lines of it with: jq -c '.[]? // .' {path} >lines.jsonl"
        );
        script.title(&format!(
            "What {} has, a line each",
            crate::program::text::shown(path)
        ));
        script.run("CREATE TEMP TABLE staging (line jsonb)").await?;
        // Neither character is in JSON: each line is taken whole.
        let options = format!(
            "FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING {}",
            literal(encoding)
        );
        script.copy(STAGING, path, &options).await?;
        let mut source = Self {
            title: path.to_owned(),
            shape: Shape::Columns,
            columns: Vec::new(),
            texts: Vec::new(),
            relation: format!("{STAGING} s"),
            identity: "s.line::text".to_owned(),
        };
        let lines = script
            .look(&format!(
                "SELECT s.line::text FROM {STAGING} s LIMIT {SAMPLE}"
            ))
            .await?;
        let mut paths = BTreeSet::new();
        for line in &lines {
            let Some(line) = line.try_get::<_, Option<&str>>(0)? else {
                continue;
            };
            keys(&serde_json::from_str(line)?, &mut Vec::new(), &mut paths);
        }
        let has = |key: &str| paths.contains(&[key.to_owned()][..]);
        if has("resourceSpans")
            || ["agent_id", "occurred_at", "conversation_id"]
                .iter()
                .all(|key| has(key))
        {
            source.shape = Shape::Events;
        }
        for path in paths {
            let steps: Vec<String> = path.iter().map(|step| literal(step)).collect();
            source
                .texts
                .push(format!("(s.line #>> ARRAY[{}])", steps.join(", ")));
            source.columns.push(path.join("."));
        }
        Ok(source)
    }

    async fn table(script: &Script<'_>, from: &str) -> Result<Option<Self>> {
        let Some(found) = Relation::find(script, from).await? else {
            return Ok(None);
        };
        let Relation {
            name: table,
            columns,
            key,
            is_ours,
            ..
        } = found;
        ensure!(
            !is_ours,
            "{table} is agent_metrics' own; its turns are here already"
        );
        let texts: Vec<String> = columns
            .iter()
            .map(|column| format!("s.{}::text", name(column)))
            .collect();
        Ok(Some(Self {
            title: table.clone(),
            shape: Shape::Columns,
            identity: if key.is_empty() {
                "s::text".to_owned()
            } else {
                let parts: Vec<String> = key
                    .iter()
                    .map(|column| format!("s.{}", name(column)))
                    .collect();
                format!("concat_ws('/', {}, {})", literal(&table), parts.join(", "))
            },
            relation: format!("{table} s"),
            columns,
            texts,
        }))
    }

    /// SQL of a column's text.
    pub fn text(&self, column: &str) -> Result<&str> {
        match self.columns.iter().position(|known| known == column) {
            Some(place) => Ok(&self.texts[place]),
            None => bail!(
                "{} has no column \"{column}\"; it has: {}",
                self.title,
                self.columns.join(", ")
            ),
        }
    }
}

/// What stands between the columns of a CSV file, and its first line: whichever makes most columns.
fn header(head: &str) -> Result<(char, Vec<String>)> {
    let mut best = (',', Vec::new());
    for delimiter in [',', ';', '\t', '|'] {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter as u8)
            .has_headers(false)
            .flexible(true)
            .from_reader(head.as_bytes());
        let Some(Ok(record)) = reader.records().next() else {
            continue;
        };
        let columns: Vec<String> = record
            .iter()
            .map(|column| column.trim().to_owned())
            .collect();
        if columns.len() > best.1.len() {
            best = (delimiter, columns);
        }
    }
    ensure!(
        best.1.len() > 1,
        "its first line has no comma, semicolon, tab or | between names of columns"
    );
    Ok(best)
}

/// Names for columns: none empty, longer than the server takes, or twice.
fn distinct(header: &[String]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::with_capacity(header.len());
    for (place, given) in header.iter().enumerate() {
        let mut column: String = given.chars().filter(|c| !c.is_control()).collect();
        while column.len() > 50 {
            column.pop();
        }
        if column.is_empty() || columns.contains(&column) {
            column = format!("{column}_{}", place + 1);
        }
        columns.push(column);
    }
    columns
}

/// The paths to everything in an object that is no object itself.
fn keys(value: &Value, path: &mut Vec<String>, paths: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::Object(fields) if path.len() < DEPTH => {
            for (key, value) in fields {
                path.push(key.clone());
                keys(value, path, paths);
                path.pop();
            }
        }
        _ if !path.is_empty() => drop(paths.insert(path.clone())),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_with_what_divides_it() {
        let (delimiter, columns) = header("ts;\"a;b\";user\n1;2;3\n").unwrap();
        assert_eq!(
            (delimiter, columns),
            (
                ';',
                vec!["ts".to_owned(), "a;b".to_owned(), "user".to_owned()]
            )
        );
        assert_eq!(header("a\tb,c\td\n").unwrap().0, '\t');
        assert!(header("nothing\n").is_err());
    }

    #[test]
    fn columns_get_names_that_differ() {
        let header = ["a", "", "a", ""].map(str::to_owned);
        assert_eq!(distinct(&header), ["a", "_2", "a_3", "_4"]);
    }

    #[test]
    fn keys_are_found_inside_too() {
        let mut paths = BTreeSet::new();
        keys(
            &serde_json::json!({"a": 1, "b": {"c": [2], "d": {"e": {"f": 3}}}}),
            &mut Vec::new(),
            &mut paths,
        );
        let paths: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["a", "b.c", "b.d.e"]);
    }
}
