//! Edges: who is owed one, and when it is due.
//!
//! A watched socket is *armed* in the directions in which it is owed an edge: both when it is
//! registered, later the one in which a call answered `WouldBlock`. An edge is due once an armed
//! direction is ready, and disarms it. Nothing else makes an edge, so a reactor that forgets a
//! socket without having seen `WouldBlock` never hears of it again.

use std::time::Duration;

use super::agenda::Event;
use super::net::{Kind, Net};
use crate::sys::{Edge, Readiness, Token};

pub(super) struct Watch {
    pub(super) node: usize,
    pub(super) token: Token,
    armed: Directions,
    /// Whether the socket is on its node's list of news.
    is_listed: bool,
}

impl Watch {
    pub(super) fn new(node: usize, token: Token) -> Watch {
        Watch { node, token, armed: Directions { read: true, write: true }, is_listed: false }
    }
}

/// One of a socket's two directions.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Read,
    Write,
}

#[derive(Clone, Copy)]
pub(super) struct Directions {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Directions {
    fn and(self, other: Directions) -> Directions {
        Directions { read: self.read && other.read, write: self.write && other.write }
    }

    fn without(self, other: Directions) -> Directions {
        Directions { read: self.read && !other.read, write: self.write && !other.write }
    }

    fn any(self) -> bool {
        self.read || self.write
    }
}

impl Net {
    /// A call answered `WouldBlock`: an edge is owed.
    pub(super) fn arm(&mut self, id: usize, direction: Direction) {
        if let Some(watch) = self.watch_mut(id) {
            match direction {
                Direction::Read => watch.armed.read = true,
                Direction::Write => watch.armed.write = true,
            }
        }
        self.touch(id);
    }

    /// The socket's readiness may have changed: lists it if an edge is due.
    pub(super) fn touch(&mut self, id: usize) {
        if !self.sockets.contains(id) {
            return;
        }
        let ready = self.ready(id);
        if let Some(watch) = self.watch_mut(id) {
            if !watch.is_listed && watch.armed.and(ready).any() {
                watch.is_listed = true;
                let node = watch.node;
                self.news[node].push_back(id);
            }
        }
    }

    /// The connection took a turn (FIN, reset), which with hints is an edge to everybody.
    pub(super) fn touch_for_end(&mut self, id: usize) {
        if self.has_hints {
            self.arm(id, Direction::Read);
            self.arm(id, Direction::Write);
        }
        self.touch(id);
    }

    /// Appends the edges that are due to a node: one for each socket, in the order in which they
    /// became due. What was due but has passed stays owed. Those that `is_late` says so of are
    /// due again a moment later.
    pub(super) fn gather(
        &mut self,
        node: usize,
        edges: &mut Vec<Edge>,
        mut is_late: impl FnMut() -> bool,
    ) {
        while let Some(id) = self.news[node].pop_front() {
            if !self.sockets.contains(id) {
                continue; // closed since
            }
            let ready = self.ready(id);
            let hints = self.hints(id);
            // The place may have gone to a socket that is not, or elsewhere, watched.
            let Some(watch) = self.watch_mut(id).filter(|watch| watch.node == node) else {
                continue;
            };
            watch.is_listed = false;
            let due = watch.armed.and(ready);
            if due.any() && is_late() {
                let at = self.agenda.now + self.agenda.span_below(LATE_MOST);
                self.agenda.add(at, Event::Edge(id));
                self.note_delay(id, at);
                continue;
            }
            watch.armed = watch.armed.without(due);
            if due.any() {
                edges.push(Edge { token: watch.token, ready: flags(due).with(hints) });
            }
        }
    }

    /// Whom a node watches at one place of the table, if anybody.
    pub(super) fn watched_at(&self, index: usize, node: usize) -> Option<Token> {
        let watch = self.sockets.get(index)?.watch.as_ref()?;
        (watch.node == node).then_some(watch.token)
    }

    /// What the socket is registered under, if it is.
    pub(super) fn token(&self, id: usize) -> Option<Token> {
        self.sockets[id].watch.as_ref().map(|watch| watch.token)
    }

    fn watch_mut(&mut self, id: usize) -> Option<&mut Watch> {
        self.sockets.get_mut(id)?.watch.as_mut()
    }

    /// Whether a call in each direction would find something other than `WouldBlock`.
    fn ready(&self, id: usize) -> Directions {
        match &self.sockets[id].kind {
            Kind::Stream(stream) => {
                let has_room = stream.mate.is_none_or(|mate| self.stream(mate).inbox.room() > 0);
                stream.ready(has_room)
            }
            Kind::Listener(listener) => {
                Directions { read: !listener.queue.is_empty(), write: false }
            }
            Kind::Datagram(socket) => Directions { read: !socket.queue.is_empty(), write: true },
        }
    }

    fn hints(&self, id: usize) -> Readiness {
        match &self.sockets[id].kind {
            Kind::Stream(stream) if self.has_hints => stream.hints(),
            _ => Readiness::default(),
        }
    }
}

fn flags(directions: Directions) -> Readiness {
    let none = Readiness::default();
    let readable = if directions.read { Readiness::READABLE } else { none };
    let writable = if directions.write { Readiness::WRITABLE } else { none };
    readable.with(writable)
}

const LATE_MOST: Duration = Duration::from_millis(20);
