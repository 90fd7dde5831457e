//! Streams: what one end knows, and what passes between two.
//!
//! Each end owns the pipe that leads to it. What Linux does is followed where it matters to a
//! server; the system's buffers on both sides and the wire between them are one pipe.

use std::ops::Deref;

use super::net::{Errno, Kind, Net};
use super::pipe::Pipe;
use super::watch::Directions;
use crate::base::address::NetAddr;
use crate::sys::Readiness;

pub(super) struct StreamEnd {
    pub(super) local: NetAddr,
    pub(super) remote: NetAddr,
    /// The other end, while it is open. `None` while `Connecting` and once `Dead`.
    pub(super) mate: Option<usize>,
    /// Bytes on their way to this end. Finished by the mate's FIN.
    pub(super) inbox: Pipe,
    pub(super) state: StreamState,
    /// Why it is dead, until somebody was told (SO_ERROR).
    error: Option<Errno>,
    /// Our FIN is sent.
    is_finished: bool,
    /// The mate's FIN was read.
    has_read_end: bool,
}

/// | state | event | next |
/// |---|---|---|
/// | `Connecting` | the listener has room | `Open` |
/// | `Connecting` | nobody listens | `Dead` |
/// | `Open` | reset, or a write to an end that is gone | `Dead` |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamState {
    Connecting,
    Open,
    Dead,
}

impl StreamEnd {
    pub(super) fn new(local: NetAddr, remote: NetAddr, capacity: usize) -> StreamEnd {
        StreamEnd {
            local,
            remote,
            mate: None,
            inbox: Pipe::new(capacity),
            state: StreamState::Connecting,
            error: None,
            is_finished: false,
            has_read_end: false,
        }
    }

    pub(super) fn open(&mut self, mate: usize) {
        assert_eq!(self.state, StreamState::Connecting);
        self.state = StreamState::Open;
        self.mate = Some(mate);
    }

    pub(super) fn die(&mut self, why: Errno) {
        self.state = StreamState::Dead;
        self.error = Some(why);
        self.mate = None;
    }

    pub(super) fn ready(&self, has_room: bool) -> Directions {
        let is_dead = self.state == StreamState::Dead;
        let is_open = self.state == StreamState::Open;
        Directions {
            read: is_dead || self.inbox.len() > 0 || self.inbox.is_finished(),
            write: is_dead || is_open && (has_room || self.is_finished),
        }
    }

    /// As mio reads them from epoll's flags.
    pub(super) fn hints(&self) -> Readiness {
        let both = Readiness::READ_CLOSED.with(Readiness::WRITE_CLOSED);
        if self.state == StreamState::Dead {
            return both.with(Readiness::ERROR);
        }
        let none = Readiness::default();
        let urgent = if self.inbox.has_urgent() { Readiness::PRIORITY } else { none };
        urgent.with(match (self.inbox.is_finished(), self.is_finished) {
            (true, true) => both,
            (true, false) => Readiness::READ_CLOSED,
            (false, _) => none,
        })
    }

    fn is_unix(&self) -> bool {
        self.local.inet().is_none()
    }
}

impl Net {
    pub(super) fn stream(&self, id: usize) -> &StreamEnd {
        match &self.sockets[id].kind {
            Kind::Stream(stream) => stream,
            _ => panic!("socket {id} is not a stream"),
        }
    }

    pub(super) fn stream_mut(&mut self, id: usize) -> &mut StreamEnd {
        match &mut self.sockets[id].kind {
            Kind::Stream(stream) => stream,
            _ => panic!("socket {id} is not a stream"),
        }
    }

    pub(super) fn connected(&mut self, id: usize) -> Result<NetAddr, Errno> {
        let stream = self.stream_mut(id);
        match (stream.state, stream.error.take()) {
            (_, Some(why)) => Err(why),
            (StreamState::Connecting, None) => Err(libc::EAGAIN),
            (StreamState::Open, None) => Ok(stream.remote.clone()),
            (StreamState::Dead, None) => Err(libc::ENOTCONN),
        }
    }

    pub(super) fn read(&mut self, id: usize, into: &mut [u8]) -> Result<usize, Errno> {
        let stream = self.stream_mut(id);
        let taken_bytes = stream.inbox.take(into);
        if taken_bytes > 0 {
            if let Some(mate) = stream.mate {
                self.touch(mate);
            }
            return Ok(taken_bytes);
        }
        if stream.inbox.is_finished() {
            stream.has_read_end = true;
            return Ok(0);
        }
        match (stream.state, stream.error.take()) {
            (_, Some(why)) => Err(why),
            (StreamState::Dead, None) => Ok(0),
            (_, None) => Err(libc::EAGAIN),
        }
    }

    /// How many bytes a write would take now; all that is offered where they go nowhere.
    pub(super) fn room(&self, id: usize) -> usize {
        self.stream(id).mate.map_or(usize::MAX, |mate| self.stream(mate).inbox.room())
    }

    /// Writes the first `limit` bytes of the chunks, or as many as fit.
    pub(super) fn write<B: Deref<Target = [u8]>>(
        &mut self,
        id: usize,
        chunks: &[B],
        limit: usize,
    ) -> Result<usize, Errno> {
        let room = self.room(id);
        let stream = self.stream_mut(id);
        if let Some(why) = stream.error.take() {
            return Err(why);
        }
        if stream.state == StreamState::Connecting {
            return Err(libc::EAGAIN);
        }
        if stream.state == StreamState::Dead || stream.is_finished {
            return Err(libc::EPIPE);
        }
        let Some(mate) = stream.mate else {
            if stream.is_unix() {
                return Err(libc::EPIPE);
            }
            // TCP learns only by the answer, a reset, that nobody is there any more.
            stream.die(libc::EPIPE);
            self.touch_for_end(id);
            return Ok(limit);
        };
        if room == 0 && limit > 0 {
            return Err(libc::EAGAIN);
        }
        let taken_bytes = limit.min(room);
        self.stream_mut(mate).inbox.put(chunks, taken_bytes);
        self.touch(mate);
        Ok(taken_bytes)
    }

    pub(super) fn finish(&mut self, id: usize) -> Result<(), Errno> {
        let stream = self.stream_mut(id);
        if stream.state != StreamState::Open {
            return Err(libc::ENOTCONN);
        }
        stream.is_finished = true;
        if let Some(mate) = stream.mate {
            self.stream_mut(mate).inbox.finish();
            self.touch_for_end(mate);
        }
        Ok(())
    }

    /// Sends an urgent byte (MSG_OOB): to a reader of the others, a place where reads stop.
    pub(super) fn send_urgent(&mut self, id: usize) {
        if let Some(mate) = self.stream(id).mate {
            self.stream_mut(mate).inbox.mark_urgent();
            self.touch_for_end(mate);
        }
    }

    /// Closes as close(2) does. With unread input that is a reset: the peer must not believe that
    /// it was read (RFC 2525, section 2.17).
    pub(super) fn close_stream(&mut self, id: usize) {
        if self.stream(id).inbox.len() > 0 {
            return self.reset(id);
        }
        if let Some(mate) = self.stream(id).mate {
            let mate_end = self.stream_mut(mate);
            mate_end.inbox.finish();
            mate_end.mate = None;
            self.touch_for_end(mate);
        }
        self.remove(id);
    }

    pub(super) fn abort(&mut self, id: usize) {
        if self.stream(id).is_unix() { self.close_stream(id) } else { self.reset(id) }
    }

    /// Closes; the peer loses what it has not read yet.
    fn reset(&mut self, id: usize) {
        if let Some(mate) = self.stream(id).mate {
            let mate_end = self.stream_mut(mate);
            if mate_end.has_read_end {
                mate_end.die(libc::EPIPE);
            } else {
                mate_end.inbox.lose();
                mate_end.die(libc::ECONNRESET);
            }
            self.touch_for_end(mate);
        }
        self.remove(id);
    }
}
