//! What happened, as lines.

use std::fmt;

use crate::base::time::Time;

/// Who did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Peer,
    Handler,
    Other,
    End,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Mark::Peer => '>',
            Mark::Handler => '<',
            Mark::Other => '!',
            Mark::End => '=',
        }
    }
}

#[derive(Default)]
pub(super) struct Transcript(Vec<Entry>);

struct Entry {
    at: Time,
    mark: Mark,
    what: String,
}

impl Transcript {
    pub(super) fn push(&mut self, at: Time, mark: Mark, what: String) {
        self.0.push(Entry { at, mark, what });
    }

    /// A line for each line.
    pub(super) fn push_bytes(&mut self, at: Time, mark: Mark, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.push(at, mark, quoted(line));
        }
    }

    /// The end of it, for the message of a panic.
    pub(super) fn tail(&self) -> String {
        let start = self.0.len().saturating_sub(TAIL_LINES);
        let text = lines(&self.0[start..]);
        if start == 0 { text } else { format!("({start} lines before)\n{text}") }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lines(&self.0))
    }
}

/// Times are aligned, and the last is the widest.
fn lines(entries: &[Entry]) -> String {
    let width = entries.last().map_or(0, |last| stamp(last.at).len());
    let line = |Entry { at, mark, what }: &Entry| {
        format!("{:>width$} {} {what}\n", stamp(*at), mark.sign())
    };
    entries.iter().map(line).collect()
}

/// Seconds with milliseconds.
fn stamp(at: Time) -> String {
    format!("{}.{:03}", at.as_millis() / 1000, at.as_millis() % 1000)
}

/// As in a string literal, and cut.
fn quoted(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    let mut text = String::from("\"");
    for &byte in shown {
        match byte {
            b'\'' => text.push('\''), // needs no escape within double quotes
            _ => text.extend(std::ascii::escape_default(byte).map(char::from)),
        }
    }
    text.push('"');
    if shown.len() < bytes.len() {
        text += &format!("... ({} bytes)", bytes.len());
    }
    text
}

/// Of one line.
const SHOWN_MAX: usize = 120;
/// Of a transcript within a message.
const TAIL_LINES: usize = 60;
