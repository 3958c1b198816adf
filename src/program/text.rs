//! Text that somebody else chose, for a terminal or a log: what is no plain character is shown as its number, so that
//! no label clears a screen, forges a log line or turns a line round.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The text with every character that does something, rather than show something, as `\u{1b}`.
pub fn shown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            plain.push(c);
        } else {
            plain.extend(c.escape_unicode());
        }
    }
    plain
}

/// Bytes that ought to be UTF-8, with those that are not as `\\xe9`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut plain = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        plain.push_str(chunk.valid());
        for byte in chunk.invalid() {
            plain.push_str(&format!("\\x{byte:02x}"));
        }
    }
    plain
}

/// The SQL that reads a moment for a person: in UTC, to the minute. As text, since the server knows moments that
/// no type here does: those before our era, those after the year 262142, and `infinity`.
pub fn moment_of(expression: &str) -> String {
    format!(
        "CASE WHEN isfinite({expression})
              THEN to_char({expression} AT TIME ZONE 'UTC', 'FMDD Mon FMYYYY, HH24:MI \"UTC\"')
                || CASE WHEN {expression} < '0001-01-01 00:00:00+00' THEN ' BC' ELSE '' END
              ELSE ({expression})::text END"
    )
}

/// Rows of one column of bytes, as text.
pub fn lines(rows: &[tokio_postgres::Row]) -> anyhow::Result<Vec<String>> {
    rows.iter().map(|row| Ok(bytes(row.try_get(0)?))).collect()
}

fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            // zero width, directions, line and paragraph separators, their overrides and isolates
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'))
}

/// Prints a line on standard output, whatever is in it.
#[macro_export]
#[doc(hidden)]
macro_rules! say {
    ($($words:tt)*) => { $crate::program::text::say(&format!($($words)*)) };
}

/// Prints a line on standard output. The program's own line breaks are calls of their own.
pub fn say(line: &str) {
    use std::io::Write;
    // Nobody is left to be told that standard output is closed.
    let _ = writeln!(std::io::stdout().lock(), "{}", shown(line));
}

/// Whether standard error is a screen that can be written over: a terminal that is not a dumb one.
pub fn is_screen() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal()
        && std::env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// A progress bar on standard error, where it is a screen: with what is done, its message and what is left.
pub fn bar(name: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(
        Some(length),
        if is_screen() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    if let Ok(style) = ProgressStyle::with_template(
        "{msg:>24} {wide_bar} {human_pos}/{human_len}, {per_sec}, {eta} to go",
    ) {
        bar.set_style(style);
    }
    bar.with_message(shown(name))
}

/// The time that something takes, where standard error is a screen.
pub fn spinner(name: &str) -> ProgressBar {
    if !is_screen() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(shown(name));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(std::time::Duration::from_millis(200));
    spinner
}

/// Where the log goes: standard error, each event on one line.
#[derive(Debug, Default)]
pub struct Log;

impl std::io::Write for Log {
    /// The subscriber writes an event at once.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut stderr = std::io::stderr().lock();
        stderr.write_all(shown(line).as_bytes())?;
        stderr.write_all(b"\n")?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_something_is_shown_as_a_number() {
        assert_eq!(
            shown("a\u{1b}[2J\r\nb\u{9b}0m\u{202e}\u{2066}c\u{7f}\t"),
            "a\\u{1b}[2J\\u{d}\\u{a}b\\u{9b}0m\\u{202e}\\u{2066}c\\u{7f}\\u{9}"
        );
        for plain in ["Grüße, 東京 \u{1f600}", "a \\ b \"c\"", "", "2,340 ms"] {
            assert_eq!(shown(plain), plain);
        }
        for c in ('\0'..='\u{10ffff}').filter(|c| c.is_control()) {
            assert!(!shown(&c.to_string()).contains(c));
        }
    }
}
