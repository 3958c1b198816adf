//! How long a text, how far a moment and how deep a JSON value may be that is stored.

/// Most bytes of a name, a label, a segment.
pub const NAME_MAX: usize = 256;
/// Most bytes of an id that somebody else gives: conversation, user, customer, business event.
pub const ID_MAX: usize = 1024;
/// Microseconds from 2000-01-01 (the server's epoch) to the begin of year 1.
pub const FIRST_MOMENT: i64 = -63_082_281_600_000_000;
/// And to the begin of year 10000, the first moment that is too late.
pub const END_OF_MOMENTS: i64 = 252_455_616_000_000_000;
/// Deepest nesting of a JSON value.
pub const DEPTH_MAX: usize = 64;

/// How deep a jsonb is nested, as far as it matters.
pub fn json_depth(jsonb: &[u8]) -> usize {
    // what cannot be walked through is too deep
    super::json::depth(jsonb, DEPTH_MAX, || ()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn the_first_and_the_last_moment_are_those_of_the_years_one_and_ten_thousand() {
        let epoch = chrono::NaiveDate::from_ymd_opt(2000, 1, 1).unwrap();
        for (year, moment) in [(1, FIRST_MOMENT), (10_000, END_OF_MOMENTS)] {
            let day = chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
            assert_eq!((day - epoch).num_microseconds().unwrap(), moment);
        }
    }

    #[test]
    fn depth_of_damaged_bytes_is_found_or_given_up() {
        assert_eq!(json_depth(&[]), 0);
        assert_eq!(json_depth(&words(&[0x4000_0000])), 1);
        assert_eq!(
            json_depth(&words(&[0x4000_0001, 0x5000_0004, 0x4000_0000])),
            2
        );
        assert_eq!(json_depth(&words(&[0x4FFF_FFFF, 0x5FFF_FFFF])), 1);
        assert_eq!(
            json_depth(&words(&[0x6FFF_FFFF, 0xDFFF_FFFF, 0x5FFF_FFFF])),
            1
        );
    }
}
