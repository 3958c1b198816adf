//! What a turn may cost and have used: an amount of dollars, and an object of kinds of usage, each a whole number of
//! tokens.
//!
//! Both are read where they lie. A jsonb is as jsonb.h lays it out: a word with kind and count, a word for each key and
//! then for each value, then the keys and values. What does not fit is no object of counts.

use super::json::{COUNT, HAS_END, KIND, NUMERIC, OBJECT, SCALAR, word};

/// Whether a numeric lies in [0, 1e12). Read from its header, which holds the sign and the weight of the first digit
/// (base 10000): see PostgreSQL's numeric.c, `NumericChoice`.
pub fn is_amount(numeric: &[u8]) -> bool {
    const SIGN: u16 = 0xC000;
    const LONG_POSITIVE: u16 = 0x0000;
    const SHORT: u16 = 0x8000;
    const SHORT_NEGATIVE: u16 = 0x2000;
    const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
    const SHORT_WEIGHT: u16 = 0x003F;
    let word = |at: usize| {
        let bytes = numeric.get(at..at + 2)?;
        Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
    };
    let Some(header) = word(0) else { return false };
    let (weight, digits) = match header & SIGN {
        SHORT if header & SHORT_NEGATIVE == 0 => {
            let weight = (header & SHORT_WEIGHT) as i16;
            let is_below_one = header & SHORT_WEIGHT_NEGATIVE != 0;
            (if is_below_one { -1 } else { weight }, numeric.len() - 2)
        }
        LONG_POSITIVE => match word(2) {
            Some(weight) => (weight as i16, numeric.len() - 4),
            None => return false,
        },
        // Negative, NaN or infinite.
        _ => return false,
    };
    // 10000^3 is 1e12.
    digits == 0 || weight < 3
}

/// Whether a jsonb is an object.
pub fn is_object(jsonb: &[u8]) -> bool {
    word(jsonb, 0).is_some_and(|header| header & OBJECT != 0 && header & SCALAR == 0)
}

/// Whether a jsonb is an object whose values are whole numbers from 0 to below 1e12.
pub fn is_counts(jsonb: &[u8]) -> bool {
    is_object(jsonb) && are_counts(jsonb).unwrap_or(false)
}

fn are_counts(jsonb: &[u8]) -> Option<bool> {
    let pairs = (word(jsonb, 0)? & COUNT) as usize;
    let data = 4 + 8 * pairs;
    let mut offset = 0_usize;
    for number in 0..2 * pairs {
        let entry = word(jsonb, 4 + 4 * number)?;
        let length = (entry & COUNT) as usize;
        let end = if entry & HAS_END == 0 {
            offset + length
        } else {
            length
        };
        if number >= pairs {
            // A number lies at a multiple of four, behind the word with its own length.
            let start = data + offset.next_multiple_of(4) + 4;
            let numeric = jsonb.get(start..data + end)?;
            if entry & KIND != NUMERIC || !is_amount(numeric) || !is_whole(numeric)? {
                return Some(false);
            }
        }
        offset = end;
    }
    Some(true)
}

/// Whether a numeric that is an amount has no digits behind the point: it has no more digits (base 10000) than the
/// weight of the first says are before it, since zeros at the end are not stored.
fn is_whole(numeric: &[u8]) -> Option<bool> {
    const LONG: u16 = 0x8000;
    const WEIGHT_IS_NEGATIVE: u16 = 0x0040;
    const WEIGHT: u16 = 0x003F;
    let half = |at: usize| {
        let bytes = numeric.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_ne_bytes(*bytes))
    };
    let header = half(0)?;
    let (weight, digits) = if header & LONG == 0 {
        (half(2)? as i16, numeric.len().checked_sub(4)? / 2)
    } else if header & WEIGHT_IS_NEGATIVE != 0 {
        (-1, numeric.len().checked_sub(2)? / 2)
    } else {
        ((header & WEIGHT) as i16, numeric.len().checked_sub(2)? / 2)
    };
    Some(i64::try_from(digits).ok()? <= i64::from(weight) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_no_counts() {
        for words in [
            &[][..],
            &[0x2000_0001],
            &[0x2FFF_FFFF, 0xFFFF_FFFF],
            &[0x2000_0001, 1, 0x9FFF_FFFF],
            &[0x4000_0000],
            &[0x3000_0001],
        ] {
            let bytes: Vec<u8> = words
                .iter()
                .flat_map(|word: &u32| word.to_ne_bytes())
                .collect();
            assert!(!is_counts(&bytes), "{words:x?}");
        }
        assert!(is_counts(&0x2000_0000_u32.to_ne_bytes()));
    }
}
