//! `udp`: datagrams with numbers, so that what is lost, doubled or late is known for what it is.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::options::{Extent, NUMBER_BYTES, Options};
use crate::pattern::Pattern;
use crate::schedule::Schedule;
use crate::tally::{Nanos, Tally};
use crate::team::{Share, is_would_block, wait};

pub(crate) struct Datagrams {
    poll: Poll,
    sockets: Vec<Socket>,
    pattern: Pattern,
    scratch: Box<[u8; 65_536]>,
    size: usize,
    unanswered_count: u64,
}

/// One socket, connected, so that only the server's datagrams reach it.
struct Socket {
    socket: UdpSocket,
    /// Of the first in `waiting`.
    first_number: u64,
    /// By number: when it was due; none if it is answered.
    waiting: VecDeque<Option<Nanos>>,
    /// How many numbers were sent; those above are due, and wait for the system.
    sent_count: u64,
}

impl Datagrams {
    pub(crate) fn new(options: &Options, share: &Share) -> io::Result<Datagrams> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(share.connections.len());
        for connection in share.connections.clone() {
            let address = options.addresses[connection % options.addresses.len()];
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let mut socket = UdpSocket::bind(any.parse().expect("an address"))?;
            socket.connect(address)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(sockets.len()), both)?;
            let waiting = VecDeque::with_capacity(options.depth);
            sockets.push(Socket { socket, first_number: 0, waiting, sent_count: 0 });
        }
        Ok(Datagrams {
            poll,
            sockets,
            pattern: Pattern::new(options.mode, options.size),
            scratch: Box::new([0; 65_536]),
            size: options.size,
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
            self.issue_to_all(options.depth, schedule.now())?;
        }
        let timeout = options.timeout.as_nanos() as Nanos;
        let mut next_look = timeout / 4;
        loop {
            let now = schedule.now();
            while let Some((number, due)) = schedule.take_due(now) {
                let index = (number % self.sockets.len() as u64) as usize;
                self.issue(index, 1, due);
                self.send(index)?;
            }
            if self.unanswered_count == 0 {
                if rounds_left > 0 {
                    rounds_left -= 1;
                    self.issue_to_all(options.depth, now)?;
                } else if refills || schedule.next_due().is_none() {
                    return Ok(());
                }
            }
            wait(&mut self.poll, &mut events, schedule.patience(now))?;
            for event in &events {
                let index = event.token().0;
                let settled = self.receive(index, schedule, tally)?;
                let now = schedule.now();
                if refills && now < schedule.end {
                    self.issue(index, settled, now);
                }
                self.send(index)?;
            }
            let now = schedule.now();
            if now >= next_look {
                next_look = now + timeout / 4;
                for index in 0..self.sockets.len() {
                    let lost = self.lose(index, now.saturating_sub(timeout), tally);
                    if refills && now < schedule.end {
                        self.issue(index, lost, now);
                        self.send(index)?;
                    }
                }
            }
            share.progress.store(tally.count, Relaxed);
        }
    }

    fn issue(&mut self, index: usize, count: usize, due: Nanos) {
        self.sockets[index].waiting.extend(std::iter::repeat_n(Some(due), count));
        self.unanswered_count += count as u64;
    }

    fn issue_to_all(&mut self, count: usize, now: Nanos) -> io::Result<()> {
        for index in 0..self.sockets.len() {
            self.issue(index, count, now);
            self.send(index)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let socket = &mut self.sockets[index];
        let end = socket.first_number + socket.waiting.len() as u64;
        while socket.sent_count < end {
            let number = socket.sent_count;
            let payload = &mut self.scratch[..self.size];
            payload[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
            payload[NUMBER_BYTES..].copy_from_slice(body(&self.pattern, number, self.size));
            match socket.socket.send(payload) {
                Ok(_) => socket.sent_count += 1,
                Err(error) if is_would_block(&error) => break,
                // Nobody listens there, the peer says; that is for whoever reads the count of
                // the lost. (It tells of an earlier datagram.)
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what has come, and answers how many datagrams are no longer waited for.
    fn receive(
        &mut self,
        index: usize,
        schedule: &Schedule,
        tally: &mut Tally,
    ) -> io::Result<usize> {
        let socket = &mut self.sockets[index];
        let mut answered_count = 0;
        loop {
            let count = match socket.socket.recv(&mut self.scratch[..]) {
                Ok(count) => count,
                Err(error) if is_would_block(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let came = &self.scratch[..count];
            let Some((number, rest)) = came.split_first_chunk() else { return Err(strange()) };
            let number = u64::from_be_bytes(*number);
            if number >= socket.sent_count || rest != body(&self.pattern, number, self.size) {
                return Err(strange());
            }
            let Some(place) = number.checked_sub(socket.first_number) else { continue }; // late
            if let Some(due) = socket.waiting[place as usize].take() {
                tally.answered(due, schedule.now());
                answered_count += 1;
            }
        }
        socket.forget_settled();
        self.unanswered_count -= answered_count as u64;
        Ok(answered_count)
    }

    /// Gives up datagrams that were due before this, and answers how many.
    fn lose(&mut self, index: usize, before: Nanos, tally: &mut Tally) -> usize {
        let socket = &mut self.sockets[index];
        let mut lost_count = 0;
        let sent_count = (socket.sent_count - socket.first_number) as usize;
        for waiting in socket.waiting.iter_mut().take(sent_count) {
            if let Some(due) = waiting.take_if(|due| *due < before) {
                tally.lost_count += u64::from(tally.counts(due));
                lost_count += 1;
            }
        }
        socket.forget_settled();
        self.unanswered_count -= lost_count as u64;
        lost_count
    }
}

impl Socket {
    fn forget_settled(&mut self) {
        while self.first_number < self.sent_count && self.waiting.front() == Some(&None) {
            self.waiting.pop_front();
            self.first_number += 1;
        }
    }
}

/// What follows the number.
fn body(pattern: &Pattern, number: u64, size: usize) -> &[u8] {
    pattern.piece(number.wrapping_mul(size as u64), (size - NUMBER_BYTES) as u64)
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a datagram came that was not sent")
}
