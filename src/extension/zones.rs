//! Buckets on the clock of a zone, as the server's own time zone database has it: the one source of where hours and
//! days begin, for the refresh, `verify()` and every view.

use super::abi::{self, ServerZone, sql_functions};
use super::error::SqlError;
use crate::measures::zone::{Level, Windows};
use pgrx::PgSqlErrorCode;
use std::cell::RefCell;

/// The server's moments: after the first, before the last. What lies outside is infinite.
const MOMENTS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// The server's infinite dates.
const DATES: [i32; 2] = [i32::MIN, i32::MAX];

thread_local! {
    /// The zone that was asked last: nearly all that a session asks is of the report zone.
    static LAST: RefCell<Option<(Vec<u8>, Windows<ServerZone>)>> = const { RefCell::new(None) };
}

/// Ask the buckets of the zone of that name.
pub fn in_zone<T>(
    name: &[u8],
    ask: impl FnOnce(&mut Windows<ServerZone>) -> T,
) -> Result<T, SqlError> {
    LAST.with_borrow_mut(|last| {
        let windows = match last {
            Some((known, windows)) if known == name => windows,
            _ => {
                let Some(zone) = ServerZone::named(name) else {
                    return Err(SqlError::new(
                        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                        format!(
                            "time zone \"{}\" not recognized",
                            String::from_utf8_lossy(name)
                        ),
                        "The server's time zone database has no zone of that name.",
                        "SELECT name FROM pg_timezone_names lists them.",
                    ));
                };
                &mut last.insert((name.to_vec(), Windows::new(zone))).1
            }
        };
        Ok(ask(windows))
    })
}

fn level(name: &[u8]) -> Result<Level, SqlError> {
    match name {
        b"fine" => Ok(Level::Fine),
        b"hour" => Ok(Level::Hour),
        b"day" => Ok(Level::Day),
        _ => Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("no level \"{}\"", String::from_utf8_lossy(name)),
            "Buckets are five minutes, an hour or a day long.",
            "Levels are fine, hour and day.",
        )),
    }
}

fn moment(at: i64) -> abi::Answer {
    if MOMENTS.contains(&at) {
        return Ok(Some(abi::int8(at)));
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
        "timestamp out of range",
        "The bucket begins or ends where the server has no moments.",
        "Ask for a bucket between the years -4712 and 294276.",
    ))
}

sql_functions! {
    /// `bucket_start(at, level, time_zone)`
    fn bucket_start(call) {
        let (at, level) = (call.int8(0), level(call.bytes(1))?);
        if !MOMENTS.contains(&at) {
            return Ok(Some(abi::int8(at)));
        }
        moment(in_zone(call.bytes(2), |zone| zone.start(at, level))?)
    }

    /// `bucket_end(at, level, time_zone)`
    fn bucket_end(call) {
        let (at, level) = (call.int8(0), level(call.bytes(1))?);
        if !MOMENTS.contains(&at) {
            return Ok(Some(abi::int8(at)));
        }
        moment(in_zone(call.bytes(2), |zone| zone.end(at, level))?)
    }

    /// `day_of(at, time_zone)`
    fn day_of(call) {
        let at = call.int8(0);
        if !MOMENTS.contains(&at) {
            return Ok(Some(abi::int4(if at < 0 { i32::MIN } else { i32::MAX })));
        }
        let day = in_zone(call.bytes(1), |zone| zone.day_of(at))?;
        Ok(i32::try_from(day).ok().map(abi::int4))
    }

    /// `day_start(day, time_zone)`
    fn day_start(call) {
        let day = call.date(0);
        if DATES.contains(&day) {
            return Ok(Some(abi::int8(if day < 0 { i64::MIN } else { i64::MAX })));
        }
        moment(in_zone(call.bytes(1), |zone| zone.day_start(i64::from(day)))?)
    }
}
