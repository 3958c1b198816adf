//! The form a person reads and the parser takes back:
//!
//! ```text
//! 5 [12.25, 8033.5] 12.25 96*3 8064
//! ```
//!
//! the number of values, the exact extremes, then each bucket's value and, after a star, its count if above one.

use super::SketchError;
use super::encoding::{Stored, encode};
use super::mapping::{accepted_bits, index_of_bits, value_of};
use std::fmt::Write;

/// No text of a sketch is longer, in bytes: there are fewer than 2^17 buckets, each a number of at most 24 characters,
/// a count of at most 20, a star and a space. What is longer is refused before it is read.
pub const LONGEST: usize = 8 << 20;

/// A number in the fewest digits that bring the same double back, with an exponent where it is very large or small.
fn number(value: f64) -> String {
    let digits = format!("{value:?}");
    digits
        .strip_suffix(".0")
        .map_or(digits.clone(), str::to_owned)
}

/// The text form of a stored sketch.
pub fn to_text(stored: &Stored<'_>) -> Result<String, SketchError> {
    let (min, max) = (number(stored.min()), number(stored.max()));
    let mut text = format!("{} [{min}, {max}]", stored.count());
    for bucket in stored.buckets() {
        let (index, times) = bucket?;
        // The bucket of the largest doubles stands where infinity would be; the largest double rounds to it.
        let value = number(value_of(index).min(f64::MAX));
        let star = if times == 1 {
            String::new()
        } else {
            format!("*{times}")
        };
        // Writing to a String cannot fail.
        let _ = write!(text, " {value}{star}");
    }
    Ok(text)
}

/// The stored form of a text.
pub fn from_text(text: &str) -> Result<Vec<u8>, SketchError> {
    const SHAPE: SketchError =
        SketchError::Corrupt("it must read: count [min, max] value*count value ...");
    let (count, rest) = text.trim().split_once('[').ok_or(SHAPE)?;
    let (extremes, buckets) = rest.split_once(']').ok_or(SHAPE)?;
    let (min, max) = extremes.split_once(',').ok_or(SHAPE)?;
    let count: u64 = count.trim().parse().map_err(|_| SHAPE)?;
    let bits = |number: &str| -> Result<u64, SketchError> {
        let value: f64 = number.trim().parse().map_err(|_| SHAPE)?;
        accepted_bits(value).ok_or(SketchError::Value(value))
    };
    let mut parsed: Vec<(u32, u64)> = Vec::new();
    for word in buckets.split_ascii_whitespace() {
        let (value, times) = word.split_once('*').unwrap_or((word, "1"));
        let times: u64 = times.parse().map_err(|_| SHAPE)?;
        let index = index_of_bits(bits(value)?);
        if times == 0 || parsed.last().is_some_and(|(before, _)| *before >= index) {
            return Err(SketchError::Corrupt(
                "its buckets must ascend and hold something",
            ));
        }
        parsed.push((index, times));
    }
    let bytes = encode(count, bits(min)?, bits(max)?, parsed.into_iter());
    Stored::check(&bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::sketch::Sketch;

    #[test]
    fn text_comes_back() {
        let mut sketch = Sketch::default();
        for value in [
            0.0,
            12.25,
            96.0,
            96.1,
            96.2,
            8033.5,
            1e-9,
            1e12,
            f64::MAX,
            0.1 + 0.2,
        ] {
            sketch.add(value).unwrap();
        }
        let bytes = sketch.encode().unwrap().unwrap();
        let text = to_text(&Stored::check(&bytes).unwrap()).unwrap();
        assert_eq!(from_text(&text).unwrap(), bytes);
    }

    #[test]
    fn text_that_is_none() {
        for text in [
            "",
            "1",
            "1 [1,1]",
            "2 [1,1] 1",
            "1 [1,1] 1*0",
            "1 [1,1] 2",
            "2 [1,2] 2 1",
            "1 [-1,1] 1",
            "x [1,1] 1",
            "1 [nan,1] 1",
        ] {
            assert!(from_text(text).is_err(), "{text}");
        }
    }
}
