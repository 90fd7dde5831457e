//! What happened: a hash of everything, and the last of it in words.

use std::collections::VecDeque;
use std::fmt;

use super::faults::Call;
use super::mishap::Mishap;
use super::net::Errno;
use crate::base::time::Time;
use crate::sys::{Edge, Token};

pub(super) struct Trace {
    hash: u64,
    /// The last of what happened; `kept.len() <= kept_max`.
    kept: VecDeque<(Time, Happening)>,
    kept_max: usize,
}

pub(super) enum Happening {
    Called { node: usize, call: Call, socket: usize, outcome: Result<u64, Errno> },
    Told { node: usize, edge: Edge },
    Dealt(Mishap),
    Noted(String),
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace { hash: FNV_OFFSET, kept: VecDeque::new(), kept_max: 0 }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn keep(&mut self, lines_max: usize) {
        self.kept_max = lines_max;
        self.kept.clear();
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept_max > 0
    }

    pub(super) fn add(&mut self, now: Time, happening: Happening) {
        if !matches!(happening, Happening::Noted(_)) {
            self.mix(now.as_nanos());
        }
        match &happening {
            Happening::Called { node, call, socket, outcome } => {
                self.mix(1 | (*node as u64) << 8 | (*call as u64) << 24 | (*socket as u64) << 32);
                match outcome {
                    Ok(count) => self.mix(*count),
                    // Numbers differ between systems, names do not.
                    Err(errno) => self.mix_text(errno_name(*errno)),
                }
            }
            Happening::Told { node, edge } => {
                let (kind, slot) = match edge.token {
                    Token::Connection(slot) => (2, slot),
                    Token::Endpoint(slot) => (3, slot),
                };
                self.mix(kind | (*node as u64) << 8 | u64::from(slot) << 32);
                self.mix(edge.ready.bits().into());
            }
            Happening::Dealt(mishap) => self.mix_text(mishap.name()),
            // Which are there only where somebody reads them.
            Happening::Noted(_) => {}
        }
        if self.kept_max > 0 {
            if self.kept.len() == self.kept_max {
                self.kept.pop_front();
            }
            self.kept.push_back((now, happening));
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.kept.iter().map(|(at, happening)| format!("{at}  {happening}")).collect()
    }

    /// FNV-1a over words instead of bytes (Fowler, Noll and Vo), with a shift so that high bits
    /// matter to low ones. It finds differences; it is not meant to resist anybody.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(FNV_PRIME);
        self.hash ^= self.hash >> 29;
    }

    fn mix_text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.mix(byte.into()));
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::Called { node, call, socket, outcome: Ok(count) } => {
                write!(f, "node {node}  {call:?} socket {socket}: {count}")
            }
            Happening::Called { node, call, socket, outcome: Err(errno) } => {
                write!(f, "node {node}  {call:?} socket {socket}: {}", errno_name(*errno))
            }
            Happening::Told { node, edge } => {
                write!(f, "node {node}  edge {:?}: {:?}", edge.token, edge.ready)
            }
            Happening::Dealt(mishap) => write!(f, "mishap  {}", mishap.name()),
            Happening::Noted(text) => f.write_str(text),
        }
    }
}

/// The name of an error number: those that the world itself deals.
pub(super) fn errno_name(errno: Errno) -> &'static str {
    let names = [
        (libc::EAGAIN, "EAGAIN"),
        (libc::EINTR, "EINTR"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::EPIPE, "EPIPE"),
        (libc::EPROTO, "EPROTO"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENFILE, "ENFILE"),
        (libc::ENOBUFS, "ENOBUFS"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EMSGSIZE, "EMSGSIZE"),
        (libc::ENOTCONN, "ENOTCONN"),
        (libc::ENOENT, "ENOENT"),
        (libc::EINVAL, "EINVAL"),
        (libc::EADDRINUSE, "EADDRINUSE"),
    ];
    names.iter().find(|(number, _)| *number == errno).map_or("an error", |(_, name)| name)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
