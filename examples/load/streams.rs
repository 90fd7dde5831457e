//! `echo`, `line` and `length`: messages on connections that stay.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::Relaxed;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::options::{Extent, Options};
use crate::pattern::{PIECE_BYTES, Pattern};
use crate::schedule::Schedule;
use crate::tally::{Nanos, Tally};
use crate::team::{Share, connect, ended, is_would_block, lost, wait};

pub(crate) struct Streams {
    poll: Poll,
    streams: Vec<Stream>,
    pattern: Pattern,
    scratch: Box<[u8; PIECE_BYTES]>,
    size: u64,
    depth: usize,
    unanswered_count: u64,
}

/// Places in the stream of bytes: `received <= sent <= due`.
struct Stream {
    socket: TcpStream,
    start: u64,
    received: u64,
    sent: u64,
    due: u64,
    /// When the messages that are not answered yet were due.
    waiting: VecDeque<Nanos>,
}

impl Streams {
    /// Connects.
    pub(crate) fn new(options: &Options, share: &Share) -> io::Result<Streams> {
        let pattern = Pattern::new(options.mode, options.size);
        let poll = Poll::new()?;
        let mut streams = Vec::with_capacity(share.connections.len());
        for connection in share.connections.clone() {
            let mut socket = TcpStream::from_std(connect(options, connection)?);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(streams.len()), both)?;
            let start = pattern.start(connection);
            let waiting = VecDeque::with_capacity(options.depth);
            streams.push(Stream {
                socket,
                start,
                received: start,
                sent: start,
                due: start,
                waiting,
            });
        }
        Ok(Streams {
            poll,
            streams,
            pattern,
            scratch: Box::new([0; PIECE_BYTES]),
            size: options.size as u64,
            depth: options.depth,
            unanswered_count: 0,
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
        let refills = rounds_left == 0 && !schedule.is_open_loop();
        if refills {
            self.issue_to_all(schedule.now())?;
        }
        let mut last_answer = 0;
        loop {
            let now = schedule.now();
            while let Some((number, due)) = schedule.take_due(now) {
                let index = (number % self.streams.len() as u64) as usize;
                self.issue(index, 1, due);
                self.send(index)?;
            }
            if self.unanswered_count == 0 {
                last_answer = now; // nobody is waited for
                if rounds_left > 0 {
                    rounds_left -= 1;
                    self.issue_to_all(now)?;
                } else if refills || schedule.next_due().is_none() {
                    return Ok(());
                }
            }
            wait(&mut self.poll, &mut events, schedule.patience(now))?;
            for event in &events {
                let index = event.token().0;
                if event.is_writable() {
                    self.send(index)?;
                }
                if event.is_readable() || event.is_error() {
                    let is_last = event.is_read_closed() || event.is_error();
                    let answered = self.receive(index, is_last, schedule, tally)?;
                    if answered == 0 {
                        continue;
                    }
                    last_answer = schedule.now();
                    if refills && last_answer < schedule.end {
                        self.issue(index, answered, last_answer);
                        self.send(index)?;
                    }
                }
            }
            share.progress.store(tally.count, Relaxed);
            if schedule.now().saturating_sub(last_answer) > options.timeout.as_nanos() as Nanos {
                let what = format!("{} answers did not come", self.unanswered_count);
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        }
    }

    fn issue(&mut self, index: usize, count: usize, due: Nanos) {
        let stream = &mut self.streams[index];
        stream.due += count as u64 * self.size;
        stream.waiting.extend(std::iter::repeat_n(due, count));
        self.unanswered_count += count as u64;
    }

    fn issue_to_all(&mut self, now: Nanos) -> io::Result<()> {
        for index in 0..self.streams.len() {
            self.issue(index, self.depth, now);
            self.send(index)?;
        }
        Ok(())
    }

    /// Sends what is due, as far as the system takes it.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let stream = &mut self.streams[index];
        while stream.sent < stream.due {
            let piece = self.pattern.piece(stream.sent, stream.due - stream.sent);
            match stream.socket.write(piece) {
                Ok(count) => stream.sent += count as u64,
                Err(error) if is_would_block(&error) => break,
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }

    /// Takes what has come, and answers how many messages it completes.
    fn receive(
        &mut self,
        index: usize,
        is_last: bool,
        schedule: &Schedule,
        tally: &mut Tally,
    ) -> io::Result<usize> {
        let stream = &mut self.streams[index];
        let waiting_before = stream.waiting.len();
        loop {
            let count = match stream.socket.read(&mut self.scratch[..]) {
                Ok(0) => return Err(ended()),
                Ok(count) => count,
                Err(error) if is_would_block(&error) => break,
                Err(error) => return Err(lost(&error)),
            };
            if stream.received + count as u64 > stream.sent {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "more came than was sent"));
            }
            self.pattern.check(stream.received, &self.scratch[..count])?;
            stream.received += count as u64;
            let now = schedule.now();
            let whole = stream.due - stream.waiting.len() as u64 * self.size;
            for _ in 0..(stream.received - whole) / self.size {
                let due = stream.waiting.pop_front().expect("received <= due");
                tally.answered(due, now);
            }
            // On a stream a short read has emptied the socket, but for its end.
            if count < PIECE_BYTES && !is_last {
                break;
            }
        }
        debug_assert!(stream.start <= stream.received && stream.sent <= stream.due);
        let answered = waiting_before - stream.waiting.len();
        self.unanswered_count -= answered as u64;
        Ok(answered)
    }
}
