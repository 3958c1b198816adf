//! Versions, event ids, cadence, and the scripts that `setup()` runs.

use super::abi::{self, sql_functions};
use super::error::SqlError;
use crate::measures::cadence::{self, Cadence};
use chrono::{DateTime, Utc};

/// Migrations in order; what is released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../../sql/migrations/0001_configuration.sql"),
    include_str!("../../sql/migrations/0002_facts.sql"),
    include_str!("../../sql/migrations/0003_rollups.sql"),
    include_str!("../../sql/migrations/0004_shipped_rows.sql"),
    include_str!("../../sql/migrations/0005_partitions.sql"),
    include_str!("../../sql/migrations/0006_costs.sql"),
    include_str!("../../sql/migrations/0007_day_facts.sql"),
    include_str!("../../sql/migrations/0008_thresholds.sql"),
    include_str!("../../sql/migrations/0009_evals.sql"),
    include_str!("../../sql/migrations/0010_audits.sql"),
    include_str!("../../sql/migrations/0011_money.sql"),
    include_str!("../../sql/migrations/0012_sources.sql"),
    include_str!("../../sql/migrations/0013_program.sql"),
];

/// Views, replaced at each setup(), in the order in which they refer to each other.
const VIEWS: &[&str] = &[
    include_str!("../../sql/views/00_triggers.sql"),
    include_str!("../../sql/views/00_maintenance.sql"),
    include_str!("../../sql/views/00_split.sql"),
    include_str!("../../sql/views/00_readings.sql"),
    include_str!("../../sql/views/01_measures.sql"),
    include_str!("../../sql/views/02_kpi.sql"),
    include_str!("../../sql/views/03_agents.sql"),
    include_str!("../../sql/views/04_tiles.sql"),
    include_str!("../../sql/views/05_health.sql"),
    include_str!("../../sql/views/06_archive.sql"),
    include_str!("../../sql/views/07_business.sql"),
    include_str!("../../sql/views/08_breaches.sql"),
    include_str!("../../sql/views/08_audits.sql"),
    include_str!("../../sql/views/09_money.sql"),
    include_str!("../../sql/views/09_sources.sql"),
    include_str!("../../sql/views/09_close.sql"),
    include_str!("../../sql/views/10_program.sql"),
];

/// Microseconds from 1970 (Unix) to 2000 (PostgreSQL).
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

fn script(scripts: &[&str], number: i32) -> abi::Answer {
    let position = usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(1));
    Ok(position
        .and_then(|position| scripts.get(position))
        .map(|script| abi::bytes(script.as_bytes())))
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

    /// `migration_script(number)`: NULL after the last.
    fn migration_script(call) { script(MIGRATIONS, call.int4(0)) }

    /// `view_script(number)`: NULL after the last.
    fn view_script(call) { script(VIEWS, call.int4(0)) }

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
