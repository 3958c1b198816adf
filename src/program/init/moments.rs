//! How a source writes moments, found by looking at all of them: one form that fits every row, or none.
//!
//! Where a form is open to two readings (3/4/2026), and no row decides, or where no zone is named, nothing is guessed:
//! the person is asked.

use anyhow::{Result, bail};

use super::fields::Mapped;
use super::script::{Script, literal};

/// A form, by the text that has it.
struct Form {
    /// Regular expression of the server.
    pattern: &'static str,
    /// SQL of the moment, `$` for the text; without a zone a timestamp.
    sql: &'static str,
    /// The form in words.
    words: &'static str,
    has_zone: bool,
}

macro_rules! date {
    ($day:literal) => {
        concat!(
            "^",
            $day,
            "([ T,]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]+)?)?)?$"
        )
    };
}

const FORMS: &[Form] = &[
    Form {
        pattern: concat!(
            r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?",
            " ?(Z|z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)$"
        ),
        sql: "$::timestamptz",
        words: "ISO 8601 with a zone",
        has_zone: true,
    },
    Form {
        pattern: date!("[0-9]{4}-[0-9]{2}-[0-9]{2}"),
        sql: "$::timestamp",
        words: "ISO 8601",
        has_zone: false,
    },
    Form {
        pattern: r"^[0-9]{9,10}(\.[0-9]+)?$",
        sql: "to_timestamp($::double precision)",
        words: "seconds since 1970",
        has_zone: true,
    },
    Form {
        pattern: "^[0-9]{12,13}$",
        sql: "to_timestamp($::numeric / 1000)",
        words: "milliseconds since 1970",
        has_zone: true,
    },
    Form {
        pattern: "^[0-9]{15,16}$",
        sql: "to_timestamp($::numeric / 1000000)",
        words: "microseconds since 1970",
        has_zone: true,
    },
    Form {
        pattern: "^[0-9]{18,19}$",
        sql: "to_timestamp($::numeric / 1000000000)",
        words: "nanoseconds since 1970",
        has_zone: true,
    },
    Form {
        pattern: date!(r"(0?[1-9]|[12][0-9]|3[01])\.(0?[1-9]|1[0-2])\.[0-9]{4}"),
        sql: "to_timestamp($, 'DD.MM.YYYY HH24:MI:SS.US')::timestamp",
        words: "DD.MM.YYYY",
        has_zone: false,
    },
    Form {
        pattern: date!("(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/[0-9]{4}"),
        sql: "to_timestamp($, 'MM/DD/YYYY HH24:MI:SS.US')::timestamp",
        words: "MM/DD/YYYY",
        has_zone: false,
    },
    Form {
        pattern: date!("(0?[1-9]|[12][0-9]|3[01])/(0?[1-9]|1[0-2])/[0-9]{4}"),
        sql: "to_timestamp($, 'DD/MM/YYYY HH24:MI:SS.US')::timestamp",
        words: "DD/MM/YYYY",
        has_zone: false,
    },
];

/// What was found.
pub struct Moments {
    /// SQL of the moment, `$` for the text.
    pub sql: String,
    /// The form and the zone in words.
    pub words: String,
    /// Whether the text says no zone, and one has to be named.
    pub needs_zone: bool,
}

/// The form of every text of a column; `given` is a pattern of `to_timestamp` that the person gave.
pub async fn find(
    script: &Script<'_>,
    relation: &str,
    column: &Mapped,
    given: Option<&str>,
) -> Result<Moments> {
    if let Some(pattern) = given {
        let has_zone = ["TZ", "OF"].iter().any(|zone| pattern.contains(zone));
        return Ok(Moments {
            sql: format!(
                "to_timestamp($, {}){}",
                literal(pattern),
                if has_zone { "" } else { "::timestamp" }
            ),
            words: pattern.to_owned(),
            needs_zone: !has_zone,
        });
    }
    let text = column.trimmed();
    let fits: Vec<String> = FORMS
        .iter()
        .map(|form| {
            format!(
                "coalesce(bool_and({text} ~ {}), false)",
                literal(form.pattern)
            )
        })
        .collect();
    let rows = script
        .look(&format!(
            "SELECT ARRAY[{}], min({text}), max({text}) FROM {relation}",
            fits.join(", ")
        ))
        .await?;
    let Some(row) = rows.first() else {
        bail!("there is no row");
    };
    let fits: Vec<bool> = row.try_get(0)?;
    let (first, last): (Option<String>, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let fitting: Vec<&Form> = FORMS
        .iter()
        .zip(&fits)
        .filter(|(_, fits)| **fits)
        .map(|(form, _)| form)
        .collect();
    match fitting[..] {
        [form] => Ok(Moments {
            sql: form.sql.to_owned(),
            words: form.words.to_owned(),
            needs_zone: !form.has_zone,
        }),
        [] => bail!(
            "column \"{}\" has moments in no form that is known, such as \"{first}\" or \"{last}\"; give the form as \
             to_timestamp() of PostgreSQL has it, such as --time-format 'YYYYMMDD HH24MISS'",
            column.column
        ),
        _ => bail!(
            "column \"{}\" can be read in two ways, such as \"{first}\": give --time-format 'MM/DD/YYYY HH24:MI:SS' \
             or 'DD/MM/YYYY HH24:MI:SS'",
            column.column
        ),
    }
}
