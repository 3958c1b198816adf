//! Documents without what somebody said in them: each message, each body of a log record and each text that is too long
//! gives way to nothing or to its length.
//!
//! It reads no grammar, only strings, brackets and words, so it takes a document that was cut off, or that is none, as
//! far as it goes. Of JSON it makes JSON. Each byte is looked at a constant number of times, and the stack is bounded.

use std::borrow::Cow;
use std::ops::Range;

use super::json::unescaped;
use super::spans::content::{VALUE_MAX, is_content};

/// Deeper than this nothing is kept.
const LEVELS: usize = 256;
/// Longest body of a log record that can be the name of an event.
const EVENT_NAME_MAX: usize = 100;

/// What is kept, and what stands for the rest.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Most bytes of a string.
    pub longest: usize,
    /// Most bytes of a string that is a document itself, which is looked through; 0: none is.
    pub longest_document: usize,
    /// Most bytes of all that is kept.
    pub most: usize,
    /// The length of what is gone stands in its place, else null.
    pub tells_length: bool,
}

/// What of a delivery leaves the door: names, and documents in which names may be. As JSON, with null for the rest.
pub const DOOR: Rules = Rules {
    longest: VALUE_MAX,
    longest_document: 64 * 1024,
    most: usize::MAX,
    tells_length: false,
};

/// How a text that is no JSON is kept.
pub const QUARANTINE: Rules = Rules {
    longest: 64,
    longest_document: 0,
    most: 8 * 1024,
    tells_length: true,
};

/// What a value of an object is, by its key.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Role {
    #[default]
    Plain,
    /// A message.
    Content,
    /// `key` of an attribute.
    Name,
    /// `value` of an attribute.
    Value,
    /// What a log record says.
    Body,
    /// How a span ended, of which a message is the reason.
    Status,
    /// What was counted, by whatever names: tokens, costs.
    Counted,
}

/// An object or a list that is open.
#[derive(Debug, Default)]
struct Frame {
    /// What the next value is.
    role: Role,
    /// The attribute's name is that of a message.
    is_content: bool,
    /// Where the attribute's value stands, which may come before its name.
    value: Option<Range<usize>>,
    /// It is, or is in, what a log record says.
    is_in_body: bool,
    /// It is a span's status.
    is_status: bool,
    /// It is, or is in, what was counted: names of content say there what the numbers are of.
    is_counted: bool,
}

impl Frame {
    /// Whether the next value is to go, whatever it is.
    fn drops(&self) -> bool {
        self.role == Role::Content || self.role == Role::Value && self.is_content
    }
}

/// Whether what a log record says is the name of an event: words with dots between, and nothing else.
pub fn is_event_name(body: &str) -> bool {
    body.len() <= EVENT_NAME_MAX
        && body.contains('.')
        && body.split('.').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}

/// The document without its messages.
pub fn redact(document: &[u8], rules: Rules) -> String {
    redact_in(document, rules, false)
}

/// The text of an attribute that is a document itself, without its messages.
pub fn redact_attribute(name: &str, document: &str) -> String {
    let rules = Rules {
        longest_document: 0,
        ..DOOR
    };
    redact_in(document.as_bytes(), rules, is_counted(name))
}

fn redact_in(document: &[u8], rules: Rules, is_counted: bool) -> String {
    let mut redactor = Redactor {
        text: document,
        at: 0,
        out: String::with_capacity(document.len().min(rules.most)),
        rules,
        frames: Vec::new(),
        words: 0,
        is_counted,
    };
    redactor.run();
    redactor.out
}

/// Whether what is below a name is numbers of tokens or of money.
pub fn is_counted(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["usage", "token", "cost"]
        .iter()
        .any(|word| name.contains(word))
}

struct Redactor<'a> {
    text: &'a [u8],
    at: usize,
    out: String,
    rules: Rules,
    frames: Vec<Frame>,
    /// Bytes of words that are no JSON, which wait to be told together.
    words: usize,
    /// The whole of it is what was counted.
    is_counted: bool,
}

impl Redactor<'_> {
    fn run(&mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            if self.out.len() > self.rules.most {
                break;
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' if self.words > 0 => {
                    self.words += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | b'\n' => self.keep(byte),
                b'"' => self.string(),
                b'{' | b'[' => self.open(byte),
                b'}' | b']' => self.close(byte),
                b',' => {
                    self.tell_words();
                    self.keep(byte);
                    if let Some(frame) = self.frames.last_mut() {
                        frame.role = Role::Plain;
                    }
                }
                b':' => {
                    self.tell_words();
                    self.keep(byte);
                }
                _ => self.word(),
            }
        }
        self.tell_words();
        if self.out.len() > self.rules.most {
            let end = super::spans::content::beginning(&self.out, self.rules.most).len();
            self.out.truncate(end);
            self.out.push('…');
        }
    }

    fn keep(&mut self, byte: u8) {
        self.out.push(char::from(byte));
        self.at += 1;
    }

    /// What stands for so many bytes that are gone.
    fn mark(&mut self, length: usize) {
        if self.rules.tells_length {
            self.out.push_str(&format!("\"[{length} bytes]\""));
        } else {
            self.out.push_str("null");
        }
    }

    fn tell_words(&mut self) {
        if self.words > 0 {
            let length = std::mem::take(&mut self.words);
            self.mark(length);
        }
    }

    fn string(&mut self) {
        self.tell_words();
        let begins = self.at;
        let end = end_of_string(self.text, begins);
        let is_whole = end > begins + 1 && self.text.get(end - 1) == Some(&b'"');
        let inside = &self.text[begins + 1..if is_whole { end - 1 } else { end }];
        self.at = end;
        let is_key = self.text[end..]
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            == Some(&b':');
        if is_key {
            return self.key(inside);
        }
        let Some(frame) = self.frames.last() else {
            return self.literal(inside, is_whole);
        };
        if frame.drops() {
            return self.mark(inside.len());
        }
        match frame.role {
            Role::Body => self.body(inside, is_whole),
            _ if frame.is_in_body => self.body(inside, is_whole),
            Role::Name if !frame.is_counted => self.name(inside),
            Role::Value => {
                let from = self.out.len();
                self.literal(inside, is_whole);
                self.value_ends(from);
            }
            _ => self.literal(inside, is_whole),
        }
    }

    /// The name of an attribute. If it is that of a message its value goes, be it there already or still to come.
    fn name(&mut self, inside: &[u8]) {
        self.literal(inside, true);
        let name = plain(inside);
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        frame.is_counted = is_counted(&name);
        frame.is_content = is_content(&name);
        if frame.is_content
            && let Some(value) = frame.value.take()
        {
            let mark = if self.rules.tells_length {
                format!("\"[{} bytes]\"", value.len())
            } else {
                "null".to_owned()
            };
            // What comes after the value is the name alone.
            self.out.replace_range(value, &mark);
        }
    }

    fn key(&mut self, inside: &[u8]) {
        if inside.len() > self.rules.longest {
            self.out.push_str(&format!("\"[{} bytes]\"", inside.len()));
        } else {
            self.literal(inside, true);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.role = match &*plain(inside) {
                "key" => Role::Name,
                "value" => Role::Value,
                "body" => Role::Body,
                "status" => Role::Status,
                "message" | "description" if frame.is_status => Role::Plain,
                _ if frame.is_counted => Role::Plain,
                name if is_counted(name) => Role::Counted,
                name if is_content(name) => Role::Content,
                _ => Role::Plain,
            };
        }
    }

    fn body(&mut self, inside: &[u8], is_whole: bool) {
        if is_whole && is_event_name(&plain(inside)) {
            self.literal(inside, true);
        } else {
            self.mark(inside.len());
        }
    }

    /// A string as it is, unless it is too long. What a database cannot hold in one (a zero, half a pair) is replaced.
    fn literal(&mut self, inside: &[u8], is_whole: bool) {
        if inside.len() > self.rules.longest {
            return match self.document(inside) {
                Some(document) => self.out.push_str(&document),
                None => self.mark(inside.len()),
            };
        }
        self.out.push('"');
        if inside.contains(&b'\\') && inside.windows(2).any(|pair| pair == b"\\u") {
            self.escaped(inside);
        } else {
            push(&mut self.out, inside);
        }
        if is_whole {
            self.out.push('"');
        }
    }

    /// A long string that is a document, as a string without its messages.
    fn document(&self, inside: &[u8]) -> Option<String> {
        if inside.len() > self.rules.longest_document || inside.first() != Some(&b'{') {
            return None;
        }
        let is_counted = self.frames.iter().any(|frame| frame.is_counted);
        let rules = Rules {
            longest_document: 0,
            ..self.rules
        };
        let document = redact_in(plain(inside).as_bytes(), rules, is_counted);
        serde_json::to_string(&document).ok()
    }

    /// A string with `\u` in it.
    fn escaped(&mut self, inside: &[u8]) {
        let unit = |at: usize| {
            let digits = inside.get(at..at + 6)?.strip_prefix(b"\\u")?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let mut at = 0;
        while at < inside.len() {
            let length = match (inside[at], unit(at), unit(at + 6)) {
                (b'\\', Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
                (b'\\', Some(0 | 0xD800..=0xDFFF), _) => {
                    self.out.push_str("\\ufffd");
                    at += 6;
                    continue;
                }
                (b'\\', Some(_), _) => 6,
                (b'\\', None, _) => 2,
                _ => inside[at..]
                    .iter()
                    .position(|byte| *byte == b'\\')
                    .unwrap_or(inside.len() - at),
            };
            let end = (at + length).min(inside.len());
            push(&mut self.out, &inside[at..end]);
            at = end;
        }
    }

    fn open(&mut self, byte: u8) {
        self.tell_words();
        let inner = match self.frames.last() {
            Some(frame) => Frame {
                is_in_body: frame.is_in_body || frame.role == Role::Body,
                is_status: frame.role == Role::Status,
                is_counted: frame.is_counted || frame.role == Role::Counted,
                ..Frame::default()
            },
            None => Frame {
                is_counted: self.is_counted,
                ..Frame::default()
            },
        };
        let drops = self.frames.last().is_some_and(Frame::drops);
        if drops || self.frames.len() >= LEVELS {
            let end = end_of_nest(self.text, self.at);
            let length = end - self.at;
            self.at = end;
            return self.mark(length);
        }
        if let Some(frame) = self.frames.last_mut().filter(|f| f.role == Role::Value) {
            // it ends where the bracket closes
            frame.value = Some(self.out.len()..self.out.len());
        }
        self.frames.push(inner);
        self.keep(byte);
    }

    fn close(&mut self, byte: u8) {
        self.tell_words();
        self.frames.pop();
        self.keep(byte);
        let end = self.out.len();
        if let Some(frame) = self.frames.last_mut().filter(|f| f.role == Role::Value)
            && let Some(value) = &mut frame.value
        {
            value.end = end;
        }
    }

    fn value_ends(&mut self, from: usize) {
        let end = self.out.len();
        if let Some(frame) = self.frames.last_mut() {
            frame.value = Some(from..end);
        }
    }

    /// A number, true, false, null; or something that is no JSON, which is only counted.
    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .position(|byte| b" \t\r\n\"{}[],:".contains(byte))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        if self.words > 0 || !is_scalar(word) {
            self.words += length;
            return;
        }
        let (drops, is_value) = match self.frames.last() {
            Some(frame) => (
                frame.drops() || frame.is_in_body || frame.role == Role::Body,
                frame.role == Role::Value,
            ),
            None => (false, false),
        };
        let from = self.out.len();
        if drops {
            self.mark(length);
        } else {
            push(&mut self.out, word);
        }
        if is_value {
            self.value_ends(from);
        }
    }
}

/// Whether a word is a number, true, false or null.
fn is_scalar(word: &[u8]) -> bool {
    matches!(word, b"true" | b"false" | b"null")
        || word.len() <= 400
            && word
                .first()
                .is_some_and(|byte| *byte == b'-' || byte.is_ascii_digit())
            && word
                .iter()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
}

/// Where a string that begins here ends: after its closing quote, or with the text.
fn end_of_string(text: &[u8], begins: usize) -> usize {
    let mut at = begins + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where an object or a list that begins here ends: after its closing bracket, or with the text.
fn end_of_nest(text: &[u8], begins: usize) -> usize {
    let (mut at, mut depth) = (begins, 0_usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The string that a literal stands for.
fn plain(inside: &[u8]) -> Cow<'_, str> {
    if inside.contains(&b'\\')
        && let Some(plain) = unescaped(inside)
    {
        return Cow::Owned(String::from_utf8_lossy(&plain).into_owned());
    }
    String::from_utf8_lossy(inside)
}

/// Appends bytes that ought to be UTF-8 without a zero.
fn push(out: &mut String, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if text.contains('\0') {
        out.push_str(&text.replace('\0', "\u{fffd}"));
    } else {
        out.push_str(&text);
    }
}

#[cfg(test)]
mod tests;
