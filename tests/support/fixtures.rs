//! Data sets with a truth that shares nothing with us, and how an answer is compared with it.
//!
//! Real data lie in `../shared/fixtures` or where `AGENT_METRICS_FIXTURES` says, with files of truth that other tools
//! wrote; without them a test says that it skips, since the data are not to be copied into the project. The sample in
//! `tests/data` is there for everyone (sample.rs makes it), and its truth is computed by truths.rs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::rollups::within;
use super::{Session, golden, truths};

/// The data set that everyone has.
pub const SAMPLE: &str = "sample";

/// A row of a truth file, or of an answer: values by the name of their column.
pub type Row = BTreeMap<String, String>;

/// A file of a data set, named `DATASET/FILE`; None where the data are not.
pub fn file(name: &str) -> Option<Vec<u8>> {
    let folder = if name.split('/').next() == Some(SAMPLE) {
        golden::path("tests/data")
    } else {
        std::env::var_os("AGENT_METRICS_FIXTURES")
            .map_or_else(|| golden::path("../shared/fixtures"), PathBuf::from)
    };
    let path = folder.join(name);
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return None;
    }
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The rows of a file of a data set.
pub fn rows(name: &str) -> Option<Vec<Row>> {
    let bytes = file(name)?;
    let rows = csv::Reader::from_reader(bytes.as_slice())
        .deserialize()
        .collect::<Result<Vec<Row>, _>>();
    Some(rows.unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// A truth: the file of others, or of the sample what is computed here.
pub fn truth(name: &str) -> Option<Vec<Row>> {
    match name.split_once('/') {
        Some((SAMPLE, file)) => truths::computed(SAMPLE, file),
        _ => rows(name),
    }
}

/// Rows of a query, by the value of its first column.
pub fn answers(session: &Session, columns: &[&str], sql: &str) -> BTreeMap<String, Row> {
    let named = |row: Vec<Option<String>>| {
        assert_eq!(row.len(), columns.len(), "{sql}");
        columns
            .iter()
            .map(|name| (*name).to_owned())
            .zip(row.into_iter().map(Option::unwrap_or_default))
            .collect::<Row>()
    };
    session
        .rows(sql)
        .into_iter()
        .map(named)
        .map(|row| (row[columns[0]].clone(), row))
        .collect()
}

/// Compares the columns of an answer with the truth: percentiles within 1/128, all else to nine digits; NULL is "".
pub fn compare(place: &str, truth: &Row, answer: &Row) -> usize {
    let mut compared = 0;
    for (name, ours) in answer.iter().filter(|(name, _)| *name != "key") {
        let theirs = &truth[name];
        let agree = match (theirs.parse::<f64>(), ours.parse::<f64>()) {
            (Ok(theirs), Ok(ours)) if name.ends_with("_nearest") => within(ours, theirs),
            (Ok(theirs), Ok(ours)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-3),
            _ => theirs == ours,
        };
        assert!(
            agree,
            "{place}: {name} is {ours:?}, and should be {theirs:?}"
        );
        compared += 1;
    }
    compared
}
