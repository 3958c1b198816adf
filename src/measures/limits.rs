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

/// How deep a jsonb is nested: 1 for an array or object of plain values. Reads the stored form (jsonb.h): a container is a
/// word with its count and kind, an entry of four bytes for each element (two for each pair of an object), and then their
/// values. What does not look like it ends the walk, so that no bytes can lead it astray; it stops as soon as it is too deep.
pub fn json_depth(jsonb: &[u8]) -> usize {
    const COUNT: u32 = 0x0FFF_FFFF;
    const OBJECT: u32 = 0x2000_0000;
    const ARRAY: u32 = 0x4000_0000;
    const LENGTH: u32 = 0x0FFF_FFFF;
    const KIND: u32 = 0x7000_0000;
    const CONTAINER: u32 = 0x5000_0000;
    const HAS_OFFSET: u32 = 0x8000_0000;
    let word = |at: usize| {
        let bytes = jsonb.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let mut deepest = 0;
    let mut waiting = vec![(0_usize, 1_usize)];
    while let Some((start, level)) = waiting.pop() {
        let Some(header) = word(start) else { continue };
        deepest = deepest.max(level);
        if deepest > DEPTH_MAX || header & (OBJECT | ARRAY) == 0 {
            continue;
        }
        let count = (header & COUNT) as usize;
        let entries = if header & OBJECT != 0 {
            count.saturating_mul(2)
        } else {
            count
        };
        let Some(values) = entries
            .checked_mul(4)
            .and_then(|size| start.checked_add(4 + size))
        else {
            continue;
        };
        let mut offset = 0_usize;
        for entry in 0..entries {
            let Some(head) = word(start + 4 + entry * 4) else {
                break;
            };
            let begin = offset;
            offset = if head & HAS_OFFSET != 0 {
                (head & LENGTH) as usize
            } else {
                offset.saturating_add((head & LENGTH) as usize)
            };
            if head & KIND == CONTAINER {
                // a container begins at the next multiple of four
                let Some(at) = values.checked_add(begin) else {
                    break;
                };
                waiting.push((at.next_multiple_of(4), level + 1));
            }
        }
    }
    deepest
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
