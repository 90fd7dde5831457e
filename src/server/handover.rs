//! What a process leaves to the one that takes its place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Server;
use crate::sys::pass_on::Duplicate;

/// The sockets of a server, for the process that takes its place: a restart in which nobody is
/// refused. From [`Server::handover`].
///
/// 1. The next process is started with them ([`successor`](crate::sys::successor)), serves what
///    it has [`inherited`](crate::sys::inherited), and says so in some way.
/// 2. This one [concludes](Handover::conclude), and [winds down](crate::Handle::wind_down).
///
/// As long as this is there, its listeners go on being connected to, whether or not the server
/// itself still serves: drop it where the server is to end without a successor.
#[derive(Debug)]
pub struct Handover(Vec<(usize, Duplicate)>);

impl Handover {
    /// Each socket, with the number of the builder's call that asked for it; several, where each
    /// reactor has its own. Who serves them all may do so by other reactors than before.
    ///
    /// They are as they are here. Datagram sockets of Linux have UDP_GRO set (udp(7)): several
    /// datagrams may come as one. Whoever serves them by something else than this crate has to know
    /// that option, or to switch it off; and what waits in them by then may be joined all the same.
    pub fn sockets(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.0.iter().map(|(listing, duplicate)| (*listing, duplicate.fd.as_fd()))
    }

    /// The sockets belong to the next process from now on: paths of Unix sockets stay when this
    /// one closes them.
    pub fn conclude(self) {
        for (_, duplicate) in self.0 {
            duplicate.keep_path();
        }
    }
}

impl<M: Send + 'static> Server<M> {
    /// A duplicate of every socket, to be passed on to another process later.
    ///
    /// # Errors
    /// Descriptors have run out.
    pub fn handover(&self) -> io::Result<Handover> {
        let listing = |endpoint| {
            let bound = self.bound.iter().find(|bound| bound.endpoint == endpoint);
            bound.expect("all endpoints are told of").listing
        };
        let mut sockets = Vec::new();
        for seat in &self.seats {
            for (endpoint, listener, ..) in &seat.listeners {
                if let Some(listener) = listener {
                    sockets.push((listing(*endpoint), listener.duplicate()?));
                }
            }
            for (endpoint, socket, _) in &seat.datagrams {
                sockets.push((listing(*endpoint), socket.duplicate()?));
            }
        }
        sockets.sort_by_key(|(listing, _)| *listing);
        Ok(Handover(sockets))
    }
}
