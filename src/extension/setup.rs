//! Versions, event ids, cadence, and the scripts that `setup()` runs.

use super::abi::{self, sql_functions};
use super::error::SqlError;
use crate::measures::cadence::{self, Cadence};
use chrono::{DateTime, Utc};

/// What `setup()` runs, in the order of `sql/manifest`.
mod scripts {
    include!(concat!(env!("OUT_DIR"), "/scripts.rs"));
}

/// Microseconds from 1970 (Unix) to 2000 (PostgreSQL).
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Name and text of a script by its number, from 1.
fn script(number: i32) -> Option<&'static (&'static str, &'static str)> {
    let position = usize::try_from(number).ok()?.checked_sub(1)?;
    scripts::SCRIPTS.get(position)
}

/// A cadence and its time zone. What is too long to be one is refused by its beginning, before it is copied or read.
fn cadence(call: &abi::Call) -> Result<Cadence, SqlError> {
    let beginning = |position| {
        let bytes = call.varlena(position);
        String::from_utf8_lossy(bytes.get(..=cadence::LONGEST).unwrap_or(&bytes)).into_owned()
    };
    Ok(Cadence::parse(&beginning(0), &beginning(1))?)
}

sql_functions! {
    /// `version()`
    fn library_version(_call) { Ok(Some(abi::bytes(env!("CARGO_PKG_VERSION").as_bytes()))) }

    /// `setup_script(number)`: NULL after the last.
    fn setup_script(call) { Ok(script(call.int4(0)).map(|(_, text)| abi::bytes(text.as_bytes()))) }

    /// `setup_script_name(number)`: NULL after the last.
    fn setup_script_name(call) { Ok(script(call.int4(0)).map(|(name, _)| abi::bytes(name.as_bytes()))) }

    /// `new_event_id()`: a uuid of version 7, whose order is that of its making.
    fn new_event_id(_call) { Ok(Some(abi::uuid(uuid::Uuid::now_v7().into_bytes()))) }

    /// `check_cadence(cadence, time_zone)`
    fn check_cadence(call) {
        cadence(call)?;
        Ok(Some(abi::boolean(true)))
    }

    /// `next_due(cadence, time_zone, after)`: NULL when it never fires again.
    fn next_due(call) {
        let cadence = cadence(call)?;
        let after = DateTime::<Utc>::from_timestamp_micros(call.int8(2).saturating_add(POSTGRES_EPOCH));
        let due = after.and_then(|after| cadence.next_after(after));
        Ok(due.map(|due| abi::int8(due.timestamp_micros() - POSTGRES_EPOCH)))
    }
}
