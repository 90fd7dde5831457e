//! An event-loop server core: one thread serves many sockets, and you write what happens with
//! their bytes.
//!
//! A [`Reactor`] owns the sockets of one thread. The system tells it, as *edges*, which of them
//! may have changed; it turns edges into *flags*, works through lists at its own pace, reads
//! bytes, lends them to the connection's *handler* with a *context*, collects what the handler
//! says, and writes it. A [`Server`] is several reactors, each in a thread. Handlers know bytes,
//! frames and time, but no sockets: everything below them can be exchanged for a simulated world
//! with a clock of its own.
//!
//! Three kinds of people are meant to find what they need:
//!
//! | who | starts with |
//! |---|---|
//! | wants to **embed** a server in a program, a tool or a test, perhaps in a loop that is there already | [`Server`], [`Reactor`], [`guide::embedding`] |
//! | wants to **measure** what a readiness loop costs, or to compare another one with it | `examples/server.rs`, `examples/load.rs`, `cargo bench`, [`Counters`] |
//! | wants to **break** a protocol or this loop on purpose, repeatably | [`sim`], [`testing`], `fuzz/` |
//!
//! The [`guide`] tells the whole story, from `setblocking` to backpressure, and has a
//! [table](guide::from_python) for those who come from Python's `socket`, `select` and `asyncio`.
//!
//! # A first server
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//! use tidemill::codec::{Line, Lines};
//! use tidemill::{Context, Fault, FrameHandler, Framed, NetAddr, Server};
//!
//! /// One connection: greets whoever is named.
//! struct Greeter {
//!     greeted_count: u32,
//! }
//!
//! impl FrameHandler<Lines> for Greeter {
//!     fn on_frame(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
//!         let name = std::str::from_utf8(line.text())?; // an error ends this connection
//!         self.greeted_count += 1;
//!         cx.write(format!("{}. Hello, {name}!\n", self.greeted_count).as_bytes());
//!         Ok(())
//!     }
//! }
//!
//! let service = |_peer: &NetAddr| Framed::new(Lines::default(), Greeter { greeted_count: 0 });
//! let running = Server::builder().listen("127.0.0.1:0".parse()?, service).bind()?.start()?;
//!
//! // A client that blocks, as clients may.
//! let address = running.bound()[0].address.inet().unwrap();
//! let mut stream = TcpStream::connect(address)?;
//! stream.write_all(b"Ada\nGrace\n")?;
//! let mut answers = BufReader::new(stream).lines();
//! assert_eq!(answers.next().unwrap()?, "1. Hello, Ada!");
//! assert_eq!(answers.next().unwrap()?, "2. Hello, Grace!");
//!
//! running.handle().shutdown(Duration::from_secs(1));
//! println!("{}", running.join()?); // 1 finished, 0 aborted, 0 bytes undelivered
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The picture
//!
//! ```text
//!             handler (your code, or protocols)            bytes, frames, time
//!    Context<'_> ▲ frames, messages, timers │ writes, close, timers
//!                │                          ▼
//!    inbound: rest · decoder          hub: rows of connections · outboxes · phases · deadlines · lists
//!                ▲ bytes                    │ bytes
//!                └───────── reactor: one turn, in named steps ─────┐
//!                                    ▲ edges      │ read, write    │ letters from other threads
//!                         Platform:  sys::Os (mio)   or   sim::Node (network and clock in memory)
//! ```
//!
//! **The turn.** [`Reactor::turn`] waits until there is something to do, and does it in steps:
//!
//! | step | what | callbacks |
//! |---|---|---|
//! | 1 | sleep until an edge, a deadline or a letter | |
//! | 2 | read the clock: time then stands still until the next turn | |
//! | 3 | edges: the usual request is read and answered at once, and the usual end told; the others become flags, and whoever they concern goes on a list | `on_bytes`, `on_eof` |
//! | 4 | accept, take connections that other reactors accepted, start outgoing ones; datagrams | `accept`, `on_open`, `on_datagram` |
//! | 5 | read from those on the list, each within a budget, and send what they answer | `on_bytes`, `on_eof` |
//! | 6 | letters from other threads | `on_message` |
//! | 7 | timers and deadlines | `on_timer` |
//! | 8 | write what waits; outgoing connections are made | `on_open` |
//! | 9 | those whose outbox has drained | `on_drain` |
//! | 10 | ended connections are told, and their places come free | `on_close` |
//!
//! A [shutdown](Handle::shutdown) begins between steps 3 and 4 (`on_shutdown`).
//!
//! **Two tables.** A connection is three things under one number: a *source*, which the system owns; an
//! *inbound* half, which its handler owns; and an *outbound* half, which any callback may write
//! to. A handler and a context over every outbox borrow different tables, so there is no
//! `RefCell`, no `Rc`, and no callback within a callback.
//!
//! **Floors.** One folder of `src/` is one floor, and imports point down: `base` (data
//! structures) → [`codec`], `hub`, [`sys`] → `handler`, [`sim`] → [`protocols`] → `reactor` →
//! [`server`], with [`testing`] beside them. A test holds the table.
//!
//! # Vocabulary
//!
//! One word has one meaning, in names, docs and log lines.
//!
//! | word | meaning |
//! |---|---|
//! | *platform* | the world a reactor lives in: [`sys::Os`], or a simulated [`sim::Node`] |
//! | *reactor* | one event loop with its sockets, in one thread: [`Reactor`] |
//! | *server* | several reactors with their listeners, one handle and one limit on connections: [`Server`] |
//! | *turn* | once through the loop: [`Reactor::turn`] |
//! | *edge* | news from the platform that a socket *may* have become ready; it promises nothing |
//! | *flag* | what the reactor remembers: readable, writable, paused; set by edges, cleared by `WouldBlock` |
//! | *endpoint* | what is not a connection: a listener or a datagram socket ([`EndpointId`]) |
//! | *connection* | a stream, accepted, adopted or started by us ([`ConnId`]) |
//! | *handler* | what one connection does: [`StreamHandler`], [`FrameHandler`]; or one datagram socket: [`DatagramHandler`] |
//! | *service* | makes the handlers of a listener: [`Service`], or a closure |
//! | *context* | what a callback may do, about its own connection: [`Context`] |
//! | *desk* | what every callback finds before it, about everything else: [`Desk`] |
//! | *frame* | one message within a stream, borrowed from the input |
//! | *codec* | bytes into frames ([`Decoder`](codec::Decoder)) and back ([`Encoder`](codec::Encoder)) |
//! | *rest* | input that a handler did not take; it is shown again with more behind it |
//! | *carry* | the buffer that keeps a rest |
//! | *outbox* | bytes that the system did not take yet; there only while there are any |
//! | *backlog* | how many bytes those are: [`Context::backlog`]. (Of a listener: how many clients may wait, [`ListenOptions::backlog`](sys::ListenOptions::backlog).) |
//! | *letter* | whatever a [`Handle`] sends to a reactor from another thread; a *message* is one for a handler |
//! | *phase* | where a connection stands: connecting, open, flushing, lingering, closed |
//! | *deadline* | when a connection ends if nothing happens ([`Deadline`]); a *timer* is a handler's own |
//! | *fault* | an error that a handler answers: [`Fault`] |
//!
//! And of ending, where so many words are nearly alike:
//!
//! | word | meaning |
//! |---|---|
//! | *drain* | an outbox falls to the low mark: [`on_drain`](StreamHandler::on_drain) |
//! | *finish* | end our direction once all is written (FIN), and go on listening: [`Context::finish`] |
//! | *close* | end in good order: take no more input, deliver, then end: [`Context::close`] |
//! | *flush* | the phase after a close, in which what is queued is delivered |
//! | *linger* | the phase after that: our end is sent, the peer's is awaited |
//! | *abort* | end at once, by a reset; what is queued is lost: [`Context::abort`] |
//! | *shutdown* | the end of a whole reactor or server: [`Handle::shutdown`] |
//! | *end* | any of these, or the peer's doing; [`CloseReason`] says which |
//!
//! # Errors and limits
//!
//! - **Writing never fails and never blocks.** Trouble with a connection arrives once, as the
//!   [`CloseReason`] of [`on_close`](StreamHandler::on_close), and says whose it was: the peer's
//!   (`Reset`, `TimedOut`, `InputLimit`), the handler's (`Fault`, `Panicked`, `OutputLimit`), the
//!   system's (`Failed`).
//! - **`WouldBlock` is not an error** and never leaves the reactor.
//! - An error that a handler answers, or a panic in it, ends that one connection. So does any
//!   error number of a stream that nobody thought of: all are sorted in one place,
//!   [`sys::errors`], and none ends the loop. [`Reactor::run`] fails only where waiting does.
//! - **Everything has a limit**, and every limit has a default that is on: [`Limits`]. What a
//!   limit means to the client stands in the README.
//! - The library installs no signal handlers, loggers or panic hooks, and changes no process
//!   limits; [`stop_on_signals`](server::Builder::stop_on_signals) is the one exception, and is
//!   asked for. It speaks to the [`log`] crate.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `signals` | on | [`Builder::stop_on_signals`](server::Builder::stop_on_signals): SIGINT and SIGTERM start an orderly shutdown (by `signal-hook`) |
//!
//! The simulation and what is for testing need no feature.
//!
//! # Platforms
//!
//! Linux first: there everything is tested. Other Unix systems that mio polls by epoll or kqueue
//! (Android, the BSDs, macOS) are meant to work and are not tested regularly. Windows is not
//! supported. Unix sockets with abstract names are Linux's alone. Rust 1.85 or later.

#![deny(unsafe_code)]

mod base;
pub mod codec;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handler;
mod hub;
pub mod protocols;
mod reactor;
pub mod server;
pub mod sim;
pub mod sys;
pub mod testing;

pub use base::address::{Address, AddressError, NetAddr};
pub use base::histogram::Histogram;
pub use base::id::{ConnId, EndpointId};
pub use base::prefix::{Prefix, PrefixError};
pub use base::rng::Rng;
pub use base::time::{Time, Timeout};
pub use handler::{
    AtLimit, Connect, Context, DatagramContext, DatagramHandler, Desk, FrameHandler, Framed,
    Handle, Refused, ReplyTooLarge, Service, ServiceContext, StreamHandler, Ticket,
};
pub use hub::admission::{Access, Refusal};
pub use hub::counters::{Counters, Report};
pub use hub::groups::{Broadcast, Group, Receipt, Slow};
pub use hub::limits::{Limits, WhenFull};
pub use hub::metrics::Metrics;
pub use hub::reason::{CloseReason, Deadline, Fault, Gone};
pub use reactor::{Placement, Reactor, Turn};
pub use server::{BindError, Running, Server};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
