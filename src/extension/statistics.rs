//! The statistics of audits over plain numbers.

use super::abi::{self, Answer, Call, sql_functions};
use super::error::SqlError;
use super::sketch_type::fraction;
use crate::measures::statistics::agreement::Raters;
use crate::measures::statistics::sample::{Estimate, Stratum, corrected, stratified};
use crate::measures::statistics::{Interval, multiple, paired, ranks, rate};
use pgrx::PgSqlErrorCode;

fn impossible(value: impl std::fmt::Display, detail: &str) -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        format!("impossible count {value}"),
        detail,
        "Give counts as whole numbers from 0 upwards.",
    )
}

/// A count: no negative number.
fn count(call: &Call, position: usize) -> Result<u64, SqlError> {
    let value = call.int8(position);
    u64::try_from(value)
        .map_err(|_| impossible(value, "Something cannot have happened fewer than 0 times."))
}

/// Three counts of pairs.
fn pairs(call: &Call, position: usize) -> Result<(u64, u64, u64), SqlError> {
    Ok((
        count(call, position)?,
        count(call, position + 1)?,
        count(call, position + 2)?,
    ))
}

/// Three counts of pairs: changed one way, changed the other way, all.
fn changed_pairs(call: &Call, position: usize) -> Result<(u64, u64, u64), SqlError> {
    let (lost, gained, total) = pairs(call, position)?;
    if lost.saturating_add(gained) > total {
        return Err(impossible(
            format!("{lost} + {gained} of {total}"),
            "No more pairs can have changed than there are.",
        ));
    }
    Ok((lost, gained, total))
}

fn bonett_price(call: &Call) -> Result<Option<Interval>, SqlError> {
    let (lost, gained, total) = changed_pairs(call, 0)?;
    Ok(paired::bonett_price(
        lost,
        gained,
        total,
        fraction(call.float8(3))?,
    ))
}

fn raters(call: &Call) -> Result<Raters, SqlError> {
    Ok(Raters {
        both: count(call, 0)?,
        first: count(call, 1)?,
        second: count(call, 2)?,
        neither: count(call, 3)?,
    })
}

/// An array of p values.
fn probabilities(call: &Call) -> Result<Vec<Option<f64>>, SqlError> {
    let given = abi::float8_array(call, 0)?;
    for p in given.iter().flatten() {
        fraction(*p)?;
    }
    abi::check_for_interrupts();
    Ok(given)
}

/// Three arrays of the same length: sizes, sampled, hits.
fn strata(call: &Call) -> Result<Option<Estimate>, SqlError> {
    let (sizes, sampled, hits) = (
        abi::float8_array(call, 0)?,
        abi::float8_array(call, 1)?,
        abi::float8_array(call, 2)?,
    );
    if sizes.len() != sampled.len() || sizes.len() != hits.len() {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!(
                "strata of {}, {} and {} numbers",
                sizes.len(),
                sampled.len(),
                hits.len()
            ),
            "Each stratum has its size, how many of it were reviewed, and how many of those count.",
            "Give three arrays of the same length.",
        ));
    }
    let whole = |value: Option<f64>| match value {
        Some(value) if value >= 0.0 && value.fract() == 0.0 && value < 9e15 => Ok(value as u64),
        Some(value) => Err(impossible(value, "The numbers of a stratum are counts.")),
        None => Err(impossible("NULL", "The numbers of a stratum are counts.")),
    };
    let mut rows = Vec::with_capacity(sizes.len());
    for ((size, sampled), hits) in sizes.iter().zip(&sampled).zip(&hits) {
        abi::check_for_interrupts();
        let stratum = Stratum {
            size: whole(*size)?,
            sampled: whole(*sampled)?,
            hits: whole(*hits)?,
        };
        if stratum.sampled > stratum.size || stratum.hits > stratum.sampled {
            return Err(impossible(
                format!(
                    "{} of {} of {}",
                    stratum.hits, stratum.sampled, stratum.size
                ),
                "No more can be reviewed than there are, and no more can count than were reviewed.",
            ));
        }
        rows.push(stratum);
    }
    Ok(stratified(&rows))
}

fn judged(call: &Call) -> Result<Option<Estimate>, SqlError> {
    let share = |position| {
        call.rate(position)
            .map(|rate| (rate.hits() as u64, rate.total() as u64))
    };
    Ok(corrected(share(0)?, share(1)?, share(2)?))
}

fn judged_interval(call: &Call) -> Result<Option<Interval>, SqlError> {
    let confidence = fraction(call.float8(3))?;
    Ok(judged(call)?.and_then(|estimate| estimate.interval(confidence)))
}

fn number(value: Option<f64>) -> Answer {
    Ok(value.map(abi::float8))
}

sql_functions! {
    /// `mcnemar_exact(lost, gained)`
    fn mcnemar_exact(call) { number(Some(paired::mcnemar_exact(count(call, 0)?, count(call, 1)?))) }

    /// `mcnemar_mid(lost, gained)`
    fn mcnemar_mid(call) { number(Some(paired::mcnemar_mid(count(call, 0)?, count(call, 1)?))) }

    /// `bonett_price_low(lost, gained, total, confidence)`
    fn bonett_price_low(call) { number(bonett_price(call)?.map(|interval| interval.low)) }

    /// `bonett_price_high(lost, gained, total, confidence)`
    fn bonett_price_high(call) { number(bonett_price(call)?.map(|interval| interval.high)) }

    /// `minimum_detectable_change(total, discordance, power, alpha)`
    fn minimum_detectable_change(call) {
        let (discordance, power, alpha) = (
            fraction(call.float8(1))?,
            fraction(call.float8(2))?,
            fraction(call.float8(3))?,
        );
        number(paired::minimum_detectable_change(count(call, 0)?, discordance, power, alpha))
    }

    /// `moved_more_than(hits1, total1, hits2, total2, points)`
    fn moved_more_than(call) {
        let points = u64::from(
            u32::try_from(call.int4(4))
                .map_err(|_| impossible(call.int4(4), "Points are a distance."))?,
        );
        let moved = paired::moved(count(call, 0)?, count(call, 1)?, count(call, 2)?, count(call, 3)?, points);
        Ok(Some(abi::boolean(moved)))
    }

    /// `widened_p(first1, second1, total1, first2, second2, total2)`
    fn widened_p(call) { number(paired::widened_p(changed_pairs(call, 0)?, changed_pairs(call, 3)?)) }

    /// `wilcoxon_signed_rank(differences)`
    fn wilcoxon_signed_rank(call) {
        let given: Vec<f64> = abi::float8_array(call, 0)?.into_iter().flatten().collect();
        abi::check_for_interrupts();
        number(ranks::signed_rank(&given))
    }

    /// `benjamini_hochberg(p[])`
    fn benjamini_hochberg(call) {
        Ok(abi::new_float8_array(multiple::benjamini_hochberg(&probabilities(call)?)))
    }

    /// `cohen_kappa(both, first, second, neither)`
    fn cohen_kappa(call) { number(raters(call)?.cohen_kappa()) }

    /// `gwet_ac1(both, first, second, neither)`
    fn gwet_ac1(call) { number(raters(call)?.gwet_ac1()) }

    /// `stratified_rate(sizes, sampled, hits)`
    fn stratified_rate(call) { number(strata(call)?.map(|estimate| estimate.value)) }

    /// `stratified_error(sizes, sampled, hits)`
    fn stratified_error(call) { number(strata(call)?.and_then(|estimate| estimate.error)) }

    /// `judge_corrected(apparent, sensitivity, specificity)`
    fn judge_corrected(call) { number(judged(call)?.map(|estimate| estimate.value)) }

    /// `judge_corrected_low(apparent, sensitivity, specificity, confidence)`
    fn judge_corrected_low(call) { number(judged_interval(call)?.map(|interval| interval.low)) }

    /// `judge_corrected_high(apparent, sensitivity, specificity, confidence)`
    fn judge_corrected_high(call) { number(judged_interval(call)?.map(|interval| interval.high)) }

    /// `zero_failures_needed(rate, confidence)`
    fn zero_failures_needed(call) {
        let (rate, confidence) = (call.float8(0), call.float8(1));
        match rate::zero_failures_needed(fraction(rate)?, fraction(confidence)?) {
            // 2^63 is the first that a bigint cannot hold.
            Some(needed) if needed < 9_223_372_036_854_775_808.0 => Ok(Some(abi::int8(needed as i64))),
            Some(needed) => Err(SqlError::new(
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("{needed:e} observations are more than a bigint counts"),
                format!("So many show at confidence {confidence} that a rate is below {rate:e}."),
                "Ask for a larger rate.",
            )),
            None => Ok(None),
        }
    }
}
