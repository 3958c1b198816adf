//! A file, piece by piece: a line, an element of a list, a row. What is no JSON is a piece too, without what was said
//! in it. Nothing but the piece at hand is in memory, and that has a bound.

use std::io::{self, BufRead};

use serde::de::IgnoredAny;

use crate::measures::redact::{DOOR, QUARANTINE, redact};

/// Most bytes of a piece: what one call of the database takes.
pub const PIECE_MAX: usize = 16 * 1024 * 1024;
/// So much of what is too large is looked at.
const HEAD: usize = 64 * 1024;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A document a line.
    Lines,
    /// A list of documents, or one on many lines.
    Values,
    /// The list in a document of OTLP that may be too large for one piece: its name, and where its elements begin.
    Wrapped(&'static str, usize),
    /// Rows with a header.
    Csv(u8),
}

/// Names of the list that a document of OTLP is.
const LISTS: [&str; 5] = [
    "resourceSpans",
    "resourceLogs",
    "resource_spans",
    "resource_logs",
    "batches",
];

impl Kind {
    /// By how the file begins.
    pub fn of(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head));
        let text = &*text;
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        let begins = |line: &str| line.starts_with(['{', '[']);
        if begins(first.trim_start()) {
            let is_whole = serde_json::from_str::<IgnoredAny>(first).is_ok();
            // A line that was cut off, and then others.
            let is_cut =
                first.starts_with('{') && lines.next().is_some_and(|line| line.starts_with('{'));
            if is_whole || is_cut {
                return Self::Lines;
            }
            let before = head.len() - text.len();
            let wrapped = LISTS
                .iter()
                .find_map(|list| Some(Self::Wrapped(list, before + list_begins(text, list)?)));
            return wrapped.unwrap_or(Self::Values);
        }
        if lines.any(begins) {
            return Self::Lines;
        }
        let count = |delimiter: &u8| first.bytes().filter(|byte| byte == delimiter).count();
        match b",;\t|".iter().max_by_key(|delimiter| count(delimiter)) {
            Some(delimiter) if count(delimiter) > 0 => Self::Csv(*delimiter),
            _ => Self::Lines,
        }
    }
}

/// Where the elements of a list begin, if a document begins with it.
fn list_begins(text: &str, list: &str) -> Option<usize> {
    let rest = text.trim_start().strip_prefix('{')?.trim_start();
    let rest = rest
        .strip_prefix('"')?
        .strip_prefix(list)?
        .strip_prefix('"')?;
    let rest = rest
        .trim_start()
        .strip_prefix(':')?
        .trim_start()
        .strip_prefix('[')?;
    Some(text.len() - rest.len())
}

/// What a piece is.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A document, without messages.
    Good(String),
    /// What is none: what is kept of it, how many bytes it has, and why.
    Bad(String, u64, String),
}

/// A piece, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Placed {
    /// The piece.
    pub piece: Piece,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Where the next one begins.
    pub next: Position,
}

/// A place in a file as it is unpacked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub byte: u64,
    /// Its line, from 1.
    pub line: u64,
}

/// Reads lines and values.
pub struct Pieces<R> {
    input: R,
    kind: Kind,
    at: Position,
    /// The bracket of the list that holds all the others may come.
    is_fresh: bool,
}

impl<R: BufRead> Pieces<R> {
    /// From a place on, at which the input stands.
    pub fn new(input: R, kind: Kind, at: Position) -> Self {
        Self {
            input,
            kind,
            at,
            is_fresh: at.byte == 0,
        }
    }

    /// The next piece; `None`: that was the last.
    pub fn next(&mut self) -> io::Result<Option<Placed>> {
        if let (Kind::Wrapped(_, begins), 0) = (self.kind, self.at.byte) {
            let mut left = begins;
            self.skip(|_| {
                left = left.wrapping_sub(1);
                left != usize::MAX
            })?;
            self.is_fresh = false;
        }
        loop {
            let begins = if self.kind == Kind::Lines {
                self.at
            } else {
                self.skip_between()?
            };
            let (bytes, length, is_ended) = match self.kind {
                Kind::Lines => self.line()?,
                _ => self.value()?,
            };
            if length == 0 {
                return Ok(None);
            }
            let content = bytes.trim_ascii();
            if content.is_empty() {
                continue;
            }
            let piece = match self.kind {
                Kind::Wrapped(list, _) => piece(content, length, Some(list)),
                _ => piece(content, length, None),
            };
            // What was cut off at the very end may be on its way: where the file has grown it is read again.
            let next = if is_ended || matches!(piece, Piece::Good(_)) {
                self.at
            } else {
                begins
            };
            return Ok(Some(Placed {
                piece,
                line: begins.line,
                next,
            }));
        }
    }

    /// A line without its end, how long it is, and whether it has an end.
    fn line(&mut self) -> io::Result<(Vec<u8>, u64, bool)> {
        let mut bytes = Vec::new();
        let mut length = 0;
        loop {
            let part = self.input.fill_buf()?;
            if part.is_empty() {
                return Ok((bytes, length, false));
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(part.len(), |end| end + 1);
            keep(&mut bytes, &part[..taken], length);
            length += taken as u64;
            self.input.consume(taken);
            self.at.byte += taken as u64;
            if end.is_some() {
                self.at.line += 1;
                return Ok((bytes, length, true));
            }
        }
    }

    /// One value, from its first byte to its last. One that is too large ends with its line.
    fn value(&mut self) -> io::Result<(Vec<u8>, u64, bool)> {
        let mut bytes = Vec::new();
        let mut length: u64 = 0;
        let (mut depth, mut is_in_string, mut is_escaped) = (0_u64, false, false);
        loop {
            let part = self.input.fill_buf()?;
            if part.is_empty() {
                return Ok((bytes, length, false));
            }
            let mut end = None;
            for (at, byte) in part.iter().enumerate() {
                if *byte == b'\n' {
                    self.at.line += 1;
                    if length + at as u64 > PIECE_MAX as u64 {
                        end = Some(at + 1);
                        break;
                    }
                }
                if is_in_string {
                    match byte {
                        _ if is_escaped => is_escaped = false,
                        b'\\' => is_escaped = true,
                        b'"' => is_in_string = false,
                        _ => {}
                    }
                    continue;
                }
                match byte {
                    b'"' => is_in_string = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth > 1 => depth -= 1,
                    b'}' | b']' if depth == 1 => end = Some(at + 1),
                    b',' | b'}' | b']' if depth == 0 => end = Some(at),
                    _ => {}
                }
                if end.is_some() {
                    break;
                }
            }
            let taken = end.unwrap_or(part.len());
            keep(&mut bytes, &part[..taken], length);
            length += taken as u64;
            self.input.consume(taken);
            self.at.byte += taken as u64;
            if end.is_some() {
                return Ok((bytes, length, true));
            }
        }
    }

    /// Goes over what stands between values, and says where the next one begins.
    fn skip_between(&mut self) -> io::Result<Position> {
        let mut is_fresh = self.is_fresh;
        self.skip(|byte| match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}' | 0xef | 0xbb | 0xbf => true,
            b'[' => std::mem::take(&mut is_fresh),
            _ => false,
        })?;
        self.is_fresh = false;
        Ok(self.at)
    }

    fn skip(&mut self, mut is_between: impl FnMut(u8) -> bool) -> io::Result<()> {
        loop {
            let part = self.input.fill_buf()?;
            let end = part.iter().position(|byte| !is_between(*byte));
            let taken = end.unwrap_or(part.len());
            let lines = part[..taken].iter().filter(|byte| **byte == b'\n').count();
            let is_over = end.is_some() || part.is_empty();
            self.input.consume(taken);
            self.at.byte += taken as u64;
            self.at.line += lines as u64;
            if is_over {
                return Ok(());
            }
        }
    }
}

/// Keeps what may be a piece; of what is too large, the head.
fn keep(bytes: &mut Vec<u8>, part: &[u8], before: u64) {
    if before + part.len() as u64 <= PIECE_MAX as u64 {
        bytes.extend_from_slice(part);
    } else {
        let room = HEAD.saturating_sub(bytes.len()).min(part.len());
        bytes.extend_from_slice(&part[..room]);
        bytes.truncate(HEAD);
    }
}

/// What so many bytes are.
pub fn piece(bytes: &[u8], length: u64, list: Option<&str>) -> Piece {
    match fault(bytes, length) {
        Some(reason) => {
            let head = &bytes[..bytes.len().min(HEAD)];
            Piece::Bad(redact(head, QUARANTINE), length, reason)
        }
        None => Piece::Good(match list {
            None => without_messages(bytes, list),
            Some(name) => format!("{{\"{name}\":[{}]}}", without_messages(bytes, list)),
        }),
    }
}

/// A document of OTLP without messages. Other forms go as they are: which of their columns are messages is the mapper's
/// to know.
fn without_messages(document: &[u8], list: Option<&str>) -> String {
    let has = |name: &&str| {
        document
            .windows(name.len())
            .any(|text| text == name.as_bytes())
    };
    if list.is_some() || LISTS.iter().any(has) {
        redact(document, DOOR)
    } else {
        String::from_utf8_lossy(document).into_owned()
    }
}

/// Why the database could not read it.
fn fault(bytes: &[u8], length: u64) -> Option<String> {
    if length > PIECE_MAX as u64 {
        return Some(format!(
            "{} MB, and one event or document has 16 at most",
            length / 1024 / 1024
        ));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        Err(error) => return Some(format!("no UTF-8 at byte {}", error.valid_up_to() + 1)),
    };
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Some(error.to_string());
    }
    if !text.starts_with(['{', '[']) {
        return Some("neither an object nor a list".to_owned());
    }
    unstorable(bytes).map(str::to_owned)
}

/// Escapes that JSON allows and no text of the database can hold.
fn unstorable(json: &[u8]) -> Option<&'static str> {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(next) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        match (unit(at), unit(at + 6)) {
            (Some(0), _) => return Some("\\u0000, which no text of the database can hold"),
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => return Some("half of a surrogate pair"),
            _ => at += 2,
        }
        if at >= json.len() {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &[u8]) -> Vec<(u64, Result<String, String>)> {
        // a buffer of few bytes: every boundary is somewhere
        let input = io::BufReader::with_capacity(7, text);
        let mut pieces = Pieces::new(input, kind, Position { byte: 0, line: 1 });
        let mut found = Vec::new();
        while let Some(placed) = pieces.next().unwrap() {
            found.push((
                placed.line,
                match placed.piece {
                    Piece::Good(text) => Ok(text),
                    Piece::Bad(text, _, _) => Err(text),
                },
            ));
        }
        found
    }

    #[test]
    fn what_a_file_holds_is_seen_by_how_it_begins() {
        for (head, kind) in [
            ("{\"a\": 1}\n{\"b\"", Kind::Lines),
            ("\u{feff}\n[{\"a\": 1}]\n", Kind::Lines),
            ("{\"a\": 1, \"b\n{\"b\": 1}", Kind::Lines),
            ("[\n  {\"a\": 1},", Kind::Values),
            ("{\n  \"a\": 1", Kind::Values),
            (
                "{ \"resourceSpans\" : [ {",
                Kind::Wrapped("resourceSpans", 21),
            ),
            ("agent_id;occurred_at,x;y\n", Kind::Csv(b';')),
            ("a\tb\n", Kind::Csv(b'\t')),
            ("\0garbage, or not\n{\"a\": 1}", Kind::Lines),
            ("words", Kind::Lines),
        ] {
            assert_eq!(Kind::of(head.as_bytes()), kind, "{head}");
        }
    }

    #[test]
    fn lines_that_are_no_json_stop_nothing() {
        let text = [
            &b"{\"a\": 1}\n\n{\"a\": \"\\u0000\"}\r\n{\"a\": \"\\ud800\"}\n"[..],
            b"{\"a\": \"\xff\"}\n5\n{\"a\"\n{\"b\": 2}",
        ];
        let found = read(Kind::Lines, &text.concat());
        let good: Vec<u64> = found
            .iter()
            .filter(|(_, p)| p.is_ok())
            .map(|(line, _)| *line)
            .collect();
        let bad: Vec<u64> = found
            .iter()
            .filter(|(_, p)| p.is_err())
            .map(|(line, _)| *line)
            .collect();
        assert_eq!((good, bad), (vec![1, 8], vec![3, 4, 5, 6, 7]), "{found:?}");
    }

    #[test]
    fn values_are_found_however_they_are_laid_out() {
        let text = b"[\n {\"a\": \"]}\\\"\"},\n\n {\n \"b\": [1]} , 5,\n{\"c\": 1}]\n";
        let found = read(Kind::Values, text);
        assert_eq!(
            found,
            [
                (2, Ok("{\"a\": \"]}\\\"\"}".to_owned())),
                (4, Ok("{\n \"b\": [1]}".to_owned())),
                (5, Err("5".to_owned())),
                (6, Ok("{\"c\": 1}".to_owned())),
            ]
        );
        let text = b" { \"resourceSpans\": [ {\"a\": 1},\n {\"b\": 2} ] }\n";
        let found = read(Kind::of(text), text);
        assert_eq!(
            found
                .into_iter()
                .map(|(_, p)| p.unwrap())
                .collect::<Vec<_>>(),
            [
                "{\"resourceSpans\":[{\"a\": 1}]}",
                "{\"resourceSpans\":[{\"b\": 2}]}"
            ]
        );
    }

    #[test]
    fn what_is_too_large_takes_no_memory_and_the_next_is_read() {
        let mut text = b"{\"a\": \"".to_vec();
        text.resize(17 * 1024 * 1024, b'x');
        text.extend_from_slice(b"\n{\"b\": 2}\n");
        for kind in [Kind::Lines, Kind::Values] {
            let input = io::BufReader::new(&text[..]);
            let mut pieces = Pieces::new(input, kind, Position { byte: 0, line: 1 });
            let first = pieces.next().unwrap().unwrap();
            let Piece::Bad(kept, length, reason) = first.piece else {
                panic!("{kind:?}")
            };
            assert!(kept.len() < 100 && length > 17_000_000, "{kept}");
            assert!(
                reason.contains("17 MB") || reason.contains("16 MB"),
                "{reason}"
            );
            let second = pieces.next().unwrap().unwrap();
            assert_eq!(
                second.piece,
                Piece::Good("{\"b\": 2}".to_owned()),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn what_is_cut_off_at_the_end_is_read_again_when_it_is_whole() {
        let input = io::BufReader::new(&b"{\"a\": 1}\n{\"b\": "[..]);
        let mut pieces = Pieces::new(input, Kind::Lines, Position { byte: 0, line: 1 });
        let first = pieces.next().unwrap().unwrap();
        let second = pieces.next().unwrap().unwrap();
        assert!(matches!(second.piece, Piece::Bad(..)));
        assert_eq!((second.next, second.line), (first.next, 2));
        assert_eq!(second.next, Position { byte: 9, line: 2 });
    }
}
