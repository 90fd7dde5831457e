//! Streams: what one end knows, and what passes between two.
//!
//! Each end owns the pipe that leads to it. What Linux does is followed where it matters to a
//! server; the system's buffers on both sides and the wire between them are one pipe.

use std::ops::Deref;

use super::agenda::Event;
use super::mishap::Mishap;
use super::net::{Errno, Kind, Net};
use super::pipe::Pipe;
use super::watch::Directions;
use crate::base::address::NetAddr;
use crate::base::time::Time;
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
    /// Which knock at a listener's door is its, so that an old one is not taken for it.
    pub(super) knock: u64,
    /// What broke the connection, where chance did.
    pub(super) mishap: Option<Mishap>,
    /// How often a mishap kept it waiting, and until when one does.
    pub(super) delays: u64,
    pub(super) late_until: Time,
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
            knock: 0,
            mishap: None,
            delays: 0,
            late_until: Time::ZERO,
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
        // An error comes before the end on a Unix socket, and behind it on TCP.
        if stream.inbox.is_finished() && !(stream.is_unix() && stream.error.is_some()) {
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
        let is_unix = self.stream(id).is_unix();
        let stream = self.stream_mut(id);
        // On a Unix socket an error is the reader's.
        if let Some(why) = stream.error.take_if(|_| !is_unix) {
            return Err(why);
        }
        if stream.state == StreamState::Connecting {
            return Err(libc::EAGAIN);
        }
        if stream.state == StreamState::Dead || stream.is_finished {
            return Err(libc::EPIPE);
        }
        let Some(mate) = stream.mate else {
            if is_unix {
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
        let at = self.arrival_at(mate);
        self.stream_mut(mate).inbox.put(chunks, taken_bytes, at);
        self.land_at(mate, at);
        Ok(taken_bytes)
    }

    pub(super) fn finish(&mut self, id: usize) -> Result<(), Errno> {
        let stream = self.stream_mut(id);
        match stream.state {
            StreamState::Connecting => return Err(libc::ENOTCONN),
            StreamState::Dead => return Ok(()), // there is nothing to end
            StreamState::Open => stream.is_finished = true,
        }
        if let Some(mate) = stream.mate {
            let at = self.arrival_at(mate);
            self.stream_mut(mate).inbox.finish(at);
            self.land_at(mate, at);
        }
        Ok(())
    }

    /// Sends an urgent byte (MSG_OOB): to a reader of the others, a place where reads stop.
    pub(super) fn send_urgent(&mut self, id: usize) {
        if let Some(mate) = self.stream(id).mate {
            let at = self.arrival_at(mate);
            self.stream_mut(mate).inbox.mark_urgent(at);
            self.land_at(mate, at);
        }
    }

    /// Closes as close(2) does. With unread input that is a reset: the peer must not believe that
    /// it was read (RFC 2525, section 2.17). So is what arrives later.
    pub(super) fn close_stream(&mut self, id: usize) {
        let stream = self.stream(id);
        let (is_in_flight, is_unix) = (stream.inbox.bytes_in_flight() > 0, stream.is_unix());
        if stream.inbox.len() > 0 || is_in_flight && is_unix {
            return self.reset(id);
        }
        if let Some(mate) = stream.mate {
            let last = stream.inbox.in_order(self.agenda.now);
            let at = self.arrival_at(mate);
            let answered = at.max(last + (self.agenda.arrival() - self.agenda.now));
            let mate_end = self.stream_mut(mate);
            mate_end.mate = None;
            mate_end.inbox.finish(at);
            if is_in_flight {
                mate_end.inbox.reset(libc::ECONNRESET, answered);
                self.land_at(mate, answered);
            }
            self.land_at(mate, at);
        }
        self.remove(id);
    }

    /// Closes one that nobody accepted.
    pub(super) fn turn_away(&mut self, id: usize) {
        self.reset(id);
    }

    pub(super) fn abort(&mut self, id: usize) {
        if self.stream(id).is_unix() { self.close_stream(id) } else { self.reset(id) }
    }

    /// The connection is no more, and neither end's doing: this one knows already.
    pub(super) fn break_stream(&mut self, id: usize, mishap: Mishap) {
        self.stain(id, mishap);
        let stream = self.stream_mut(id);
        stream.state = StreamState::Dead;
        stream.error = None;
        stream.inbox.lose();
        if let Some(mate) = stream.mate.take() {
            self.send_reset(mate);
        }
        self.touch_for_end(id);
    }

    /// Something may have arrived at a stream.
    pub(super) fn land(&mut self, id: usize) {
        let (now, is_delivered) = (self.agenda.now, self.reset_delivers);
        if !matches!(self.sockets.get(id), Some(socket) if matches!(socket.kind, Kind::Stream(_))) {
            return; // closed since, and its place another's
        }
        let stream = self.stream_mut(id);
        let landed = stream.inbox.land(now);
        if let Some(why) = landed.reset {
            let has_end = stream.has_read_end || is_delivered && stream.inbox.is_finished();
            if !has_end && !is_delivered {
                stream.inbox.lose();
            }
            // Behind a FIN that has arrived, a reset is nothing to the reader (tcp_reset of Linux).
            let is_reading = !has_end || stream.is_unix();
            stream.die(if is_reading { why } else { libc::EPIPE });
        }
        if landed.is_end || landed.reset.is_some() {
            self.touch_for_end(id);
        } else {
            self.touch(id);
        }
    }

    /// Closes; the peer loses what it has not read yet, unless the plan is better.
    fn reset(&mut self, id: usize) {
        if let Some(mate) = self.stream(id).mate {
            self.send_reset(mate);
        }
        self.remove(id);
    }

    fn send_reset(&mut self, to: usize) {
        let at = self.arrival_at(to);
        let end = self.stream_mut(to);
        end.mate = None;
        end.inbox.reset(libc::ECONNRESET, at);
        self.land_at(to, at);
    }

    /// When what is sent now arrives at a stream.
    fn arrival_at(&mut self, id: usize) -> Time {
        let at = self.agenda.arrival();
        self.stream(id).inbox.in_order(at)
    }

    fn land_at(&mut self, id: usize, at: Time) {
        if at <= self.agenda.now {
            self.land(id);
        } else {
            self.agenda.add(at, Event::Arrival(id));
        }
    }
}
