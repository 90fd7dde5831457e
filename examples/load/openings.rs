//! `connect` and `idle`: connections that are made, answered once, and closed or kept.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::options::{Extent, Mode, Options};
use crate::pattern::{PIECE_BYTES, Pattern};
use crate::schedule::Schedule;
use crate::tally::{Nanos, Tally};
use crate::team::{Share, ended, is_would_block, wait};

pub(crate) struct Openings {
    poll: Poll,
    slots: Vec<Slot>,
    /// Slots without a connection.
    free: Vec<usize>,
    /// Moments at which connections were due that found no slot.
    late: VecDeque<Nanos>,
    pattern: Pattern,
    scratch: Box<[u8; PIECE_BYTES]>,
    size: u64,
    keeps: bool,
    first_connection: usize,
    started_count: u64,
    /// Not yet closed, or, where they are kept, not yet answered.
    busy_count: usize,
}

/// One connection at a time. Its number says which bytes it sends.
struct Slot {
    socket: Option<TcpStream>,
    phase: Phase,
    due: Nanos,
    start: u64,
    sent: u64,
    received: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// Connected; some of the answer is missing.
    Asking,
    /// Answered and our end sent; theirs is awaited.
    Closing,
    /// Answered, and kept.
    Kept,
}

impl Openings {
    pub(crate) fn new(options: &Options, share: &Share) -> io::Result<Openings> {
        let slots = share.connections.clone().map(|_| Slot::EMPTY).collect();
        Ok(Openings {
            poll: Poll::new()?,
            slots,
            free: (0..share.connections.len()).rev().collect(),
            late: VecDeque::new(),
            pattern: Pattern::new(options.mode, options.size),
            scratch: Box::new([0; PIECE_BYTES]),
            size: options.size as u64,
            keeps: options.mode == Mode::Idle,
            first_connection: share.connections.start,
            started_count: 0,
            busy_count: 0,
        })
    }

    pub(crate) fn run(
        &mut self,
        options: &Options,
        share: &Share,
        schedule: &mut Schedule,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut rounds_left = match options.extent {
            Extent::Rounds(rounds) => rounds,
            Extent::Time { .. } => 0,
        };
        let is_timed = rounds_left == 0;
        let mut in_round = 0; // connections of this round that have not been started
        let at_once = if self.keeps { OPENING_AT_ONCE } else { self.slots.len() };
        let mut last_step = 0;
        loop {
            let now = schedule.now();
            if self.busy_count == 0 && in_round == 0 && rounds_left > 0 {
                rounds_left -= 1;
                in_round = self.slots.len();
            }
            while let Some((_, due)) = schedule.take_due(now) {
                self.late.push_back(due);
            }
            while self.busy_count < at_once && !self.free.is_empty() {
                let due = if schedule.is_open_loop() {
                    match self.late.pop_front() {
                        Some(due) => due,
                        None => break,
                    }
                } else if in_round > 0 {
                    in_round -= 1;
                    schedule.now()
                } else if is_timed && now < schedule.end {
                    schedule.now()
                } else {
                    break;
                };
                self.start(options, due, tally);
            }
            if self.busy_count == 0 {
                last_step = now;
                let is_over = if schedule.is_open_loop() {
                    schedule.next_due().is_none() && self.late.is_empty()
                } else {
                    rounds_left == 0 && in_round == 0 && (!is_timed || now >= schedule.end)
                };
                let is_full = self.keeps && self.free.is_empty();
                if is_over || is_full {
                    return Ok(());
                }
            }
            wait(&mut self.poll, &mut events, schedule.patience(now))?;
            for event in &events {
                last_step = schedule.now();
                self.advance(event.token().0, schedule, tally)?;
            }
            share.progress.store(tally.count, Relaxed);
            if schedule.now().saturating_sub(last_step) > options.timeout.as_nanos() as Nanos {
                let what = format!("{} connections do not get on", self.busy_count);
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        }
    }

    /// Has each kept connection answer once more, and answers how many there are.
    pub(crate) fn ask_again(&mut self, options: &Options) -> io::Result<usize> {
        let mut asked_count = 0;
        for slot in &mut self.slots {
            let Some(socket) = slot.socket.take() else { continue };
            let mut socket = std::net::TcpStream::from(socket);
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(options.timeout))?;
            let piece = self.pattern.piece(slot.start, self.size);
            socket.write_all(piece)?;
            let came = &mut self.scratch[..piece.len()];
            socket.read_exact(came)?;
            self.pattern.check(slot.start, came)?;
            asked_count += 1;
        }
        Ok(asked_count)
    }

    /// Starts a connection in a free slot. One that cannot be made is counted, and its slot left
    /// for the next.
    fn start(&mut self, options: &Options, due: Nanos, tally: &mut Tally) {
        let index = self.free.pop().expect("asked for one");
        let number = self.first_connection + self.started_count as usize;
        self.started_count += 1;
        self.busy_count += 1;
        let address = options.addresses[number % options.addresses.len()];
        let socket = match options.from {
            None => TcpStream::connect(address),
            Some(mut from) => {
                from.set_port(from.port() + number as u16); // there are enough above it
                connect_from(from, address)
            }
        };
        let socket = socket.and_then(|mut socket| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(index), both)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => {
                let start = self.pattern.start(number);
                self.slots[index] = Slot {
                    socket: Some(socket),
                    phase: Phase::Connecting,
                    due,
                    start,
                    sent: start,
                    received: start,
                };
            }
            Err(error) => self.fail(index, &error, tally),
        }
    }

    fn fail(&mut self, index: usize, error: &io::Error, tally: &mut Tally) {
        tally.failed(error);
        self.free(index);
    }

    fn free(&mut self, index: usize) {
        self.slots[index] = Slot::EMPTY;
        self.busy_count -= 1;
        // Who keeps connections does not try again in place of those that failed.
        if !self.keeps {
            self.free.push(index);
        }
    }

    /// Does what an event allows.
    ///
    /// # Errors
    /// The server sent something wrong.
    fn advance(&mut self, index: usize, schedule: &Schedule, tally: &mut Tally) -> io::Result<()> {
        let slot = &mut self.slots[index];
        if slot.socket.is_none() {
            return Ok(()); // an old event
        }
        let phase_before = slot.phase;
        match slot.advance(&self.pattern, self.size, &mut self.scratch[..]) {
            Ok(phase) => slot.phase = phase,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
            Err(error) if phase_before == Phase::Kept => {
                tally.failed(&error); // it was counted as answered, too
                *slot = Slot::EMPTY;
                return Ok(());
            }
            Err(error) => {
                self.fail(index, &error, tally);
                return Ok(());
            }
        }
        if phase_before != Phase::Closing && slot.received == slot.start + self.size {
            if slot.phase == Phase::Asking {
                tally.answered(slot.due, schedule.now());
                if self.keeps {
                    slot.phase = Phase::Kept;
                    self.busy_count -= 1;
                } else {
                    slot.phase = Phase::Closing;
                    let socket = slot.socket.as_ref().expect("it has just been read");
                    let _ = socket.shutdown(Shutdown::Write); // it may be reset already
                }
            }
        } else if slot.phase == Phase::Closing && slot.socket.is_none() {
            self.free(index);
        }
        Ok(())
    }
}

impl Slot {
    const EMPTY: Slot =
        Slot { socket: None, phase: Phase::Connecting, due: 0, start: 0, sent: 0, received: 0 };

    fn advance(&mut self, pattern: &Pattern, size: u64, scratch: &mut [u8]) -> io::Result<Phase> {
        let socket = self.socket.as_mut().expect("the caller has looked");
        let mut phase = self.phase;
        if phase == Phase::Connecting {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Ok(_) => phase = Phase::Asking,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(phase),
                Err(error) => return Err(error),
            }
        }
        while phase == Phase::Asking && self.sent < self.start + size {
            let piece = pattern.piece(self.sent, self.start + size - self.sent);
            match socket.write(piece) {
                Ok(count) => self.sent += count as u64,
                Err(error) if is_would_block(&error) => break,
                Err(error) => return Err(error),
            }
        }
        loop {
            match socket.read(scratch) {
                Ok(0) if phase == Phase::Closing => {
                    self.socket = None;
                    return Ok(phase);
                }
                Ok(0) => return Err(ended()),
                Ok(count) if self.received + count as u64 <= self.sent => {
                    pattern.check(self.received, &scratch[..count])?;
                    self.received += count as u64;
                    if self.received == self.start + size {
                        return Ok(phase);
                    }
                }
                Ok(_) => {
                    let what = "more came than was sent";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Err(error) if is_would_block(&error) => return Ok(phase),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Starts a connection from an address and port of ours.
fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?; // an earlier load's connection may be in TIME_WAIT
    socket.bind(&from.into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Far fewer than a server's backlog, so that none has to send its SYN again after a second.
const OPENING_AT_ONCE: usize = 64;
