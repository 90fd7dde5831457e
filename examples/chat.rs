//! A chat: names, rooms, and lines that reach everybody in the room, on any number of threads.
//!
//! ```text
//! cargo run --release --example chat -- --threads 2
//! nc 127.0.0.1 7011                       # in two other terminals; then type:
//!   /name ada
//!   /join mill
//!   good morning
//! ```
//!
//! What to look at:
//!
//! - A room is a [`Group`]. Its members sit on several reactors; [`Handle::broadcast`] reaches
//!   them all, and the bytes of a line are kept once, however many are to read them.
//! - Somebody who does not read (`nc 127.0.0.1 7011 | sleep 1000`) holds back nobody: above the
//!   high mark of the outbox lines pass by ([`Slow::Skip`]), and after a minute without taking a
//!   byte the connection ends.
//! - What others will see is cleaned and cut first: a line may hold escape sequences.
//!
//! [`Handle::broadcast`]: tidemill::Handle::broadcast

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemill::codec::{Ending, Line, Lines};
use tidemill::{
    Address, Broadcast, CloseReason, Context, Fault, FrameHandler, Framed, Group, Limits, NetAddr,
    Server, Slow,
};

/// One connection.
struct Guest {
    hall: Arc<Hall>,
    name: String,
    room: String,
    group: Group,
}

impl FrameHandler<Lines> for Guest {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.name = self.hall.admit();
        cx.write(format!("* You are {}. {COMMANDS}\n", self.name).as_bytes());
        self.enter(cx, LOBBY);
        Ok(())
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
        let text = printable(line.text());
        let (command, argument) = text.split_once(' ').unwrap_or((&text, ""));
        match command {
            "" if argument.is_empty() => {}
            "/name" => self.rename(cx, argument.trim()),
            "/join" if is_name(argument.trim()) => {
                self.leave(cx, "leaves for another room");
                self.enter(cx, argument.trim());
            }
            "/join" => cx.write(NO_NAME),
            "/who" => cx.write(self.hall.who(&self.room).as_bytes()),
            "/quit" => {
                self.part(cx);
                cx.close();
            }
            command if command.starts_with('/') => cx.write(format!("* {COMMANDS}\n").as_bytes()),
            _ => self.tell_room(cx, format!("{}: {text}\n", self.name)),
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _why: &CloseReason) {
        self.part(cx);
    }
}

impl Guest {
    fn new(hall: Arc<Hall>) -> Guest {
        Guest { hall, name: String::new(), room: String::new(), group: Group(0) }
    }

    fn enter(&mut self, cx: &mut Context<'_>, room: &str) {
        self.group = self.hall.enter(room, &self.name);
        self.room = room.to_owned();
        cx.join(self.group);
        cx.write(self.hall.who(room).as_bytes());
        self.tell_room(cx, format!("* {} comes in\n", self.name));
    }

    fn leave(&mut self, cx: &mut Context<'_>, how: &str) {
        cx.leave(self.group);
        self.tell_room(cx, format!("* {} {how}\n", self.name));
        self.hall.leave(&self.room, &self.name);
    }

    /// Once, at the first sign of the end: `on_close` comes only after the last bytes have gone.
    fn part(&mut self, cx: &mut Context<'_>) {
        if !self.name.is_empty() {
            self.leave(cx, "has gone");
            self.hall.dismiss(&std::mem::take(&mut self.name));
        }
    }

    fn rename(&mut self, cx: &mut Context<'_>, name: &str) {
        if !is_name(name) {
            cx.write(NO_NAME);
        } else if !self.hall.rename(&self.room, &self.name, name) {
            cx.write(b"* somebody has that name\n");
        } else {
            let before = std::mem::replace(&mut self.name, name.to_owned());
            cx.write(format!("* You are {name}.\n").as_bytes());
            self.tell_room(cx, format!("* {before} is now {name}\n"));
        }
    }

    /// To everybody in the room but the speaker, whose terminal shows the line already.
    fn tell_room(&self, cx: &mut Context<'_>, line: String) {
        let line = Broadcast::new(self.group, line.into_bytes()).except(cx.id()).slow(Slow::Skip);
        if cx.handle().broadcast(line).is_err() {
            cx.write(b"* too busy: not everybody heard that\n");
        }
    }
}

/// Who is where, for all threads. Locked for a moment only, and never while writing.
#[derive(Default)]
struct Hall(Mutex<Guests>);

#[derive(Default)]
struct Guests {
    admitted: u64,
    names: HashSet<String>,
    /// Rooms with somebody in them.
    rooms: BTreeMap<String, Room>,
    rooms_opened: u64,
}

struct Room {
    group: Group,
    names: BTreeSet<String>,
}

impl Hall {
    /// A name for somebody new.
    fn admit(&self) -> String {
        let mut guests = self.lock();
        loop {
            guests.admitted += 1;
            let name = format!("guest{}", guests.admitted);
            if guests.names.insert(name.clone()) {
                return name;
            }
        }
    }

    fn dismiss(&self, name: &str) {
        self.lock().names.remove(name);
    }

    /// Opens the room if need be. A group's number is used for one room only.
    fn enter(&self, room: &str, name: &str) -> Group {
        let mut guests = self.lock();
        let next = guests.rooms_opened + 1;
        let is_new = !guests.rooms.contains_key(room);
        guests.rooms_opened += u64::from(is_new);
        let new = || Room { group: Group(next), names: BTreeSet::new() };
        let room = guests.rooms.entry(room.to_owned()).or_insert_with(new);
        room.names.insert(name.to_owned());
        room.group
    }

    fn leave(&self, room: &str, name: &str) {
        let mut guests = self.lock();
        if let Some(it) = guests.rooms.get_mut(room) {
            it.names.remove(name);
            if it.names.is_empty() {
                guests.rooms.remove(room);
            }
        }
    }

    /// False where the name is taken.
    fn rename(&self, room: &str, before: &str, name: &str) -> bool {
        let mut guests = self.lock();
        if !guests.names.insert(name.to_owned()) {
            return false;
        }
        guests.names.remove(before);
        if let Some(room) = guests.rooms.get_mut(room) {
            room.names.remove(before);
            room.names.insert(name.to_owned());
        }
        true
    }

    fn who(&self, room: &str) -> String {
        let guests = self.lock();
        let names = guests.rooms.get(room).map(|it| &it.names);
        let count = names.map_or(0, BTreeSet::len);
        let shown: Vec<&str> =
            names.into_iter().flatten().take(SHOWN_MAX).map(String::as_str).collect();
        let more = if count > SHOWN_MAX { ", …" } else { "" };
        format!("* {count} in {room}: {}{more}\n", shown.join(", "))
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // every change is whole by itself
    }
}

/// Without what could move a cursor, or turn the direction of other people's text.
fn printable(text: &[u8]) -> String {
    let turns = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let is_seen = |c: &char| !c.is_control() && !turns.iter().any(|range| range.contains(c));
    String::from_utf8_lossy(text).chars().filter(is_seen).collect()
}

fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=20).contains(&name.len()) && name.bytes().all(is_good)
}

const LOBBY: &str = "lobby";
const COMMANDS: &str = "/name NAME, /join ROOM, /who, /quit; all else is said to the room.";
const NO_NAME: &[u8] = b"* a name is 1 to 20 letters, digits, - or _\n";
const SHOWN_MAX: usize = 50;
const LINE_BYTES: usize = 1000;

struct Options {
    address: Address,
    threads: usize,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options =
            Options { address: Address::Inet(([127, 0, 0, 1], 7011).into()), threads: 1 };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("threads") => options.threads = parser.value()?.parse()?,
                Value(address) => options.address = address.parse()?,
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let hall = Arc::new(Hall::default());
    let never = Duration::MAX; // to listen in silence is allowed
    let server = Server::builder()
        .threads(options.threads)
        .limits(Limits { first_byte: never, idle: never, ..Limits::default() })
        .listen(options.address, move |_: &NetAddr| {
            let lines = Lines::new(Ending::Any).with_limit(LINE_BYTES);
            Framed::new(lines, Guest::new(hall.clone()))
        })
        .stop_on_signals(Duration::from_secs(2))
        .bind()?;
    for bound in server.bound() {
        writeln!(io::stdout(), "listening on {}", bound.address)?;
    }
    writeln!(io::stdout(), "{}", server.run()?)?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match Options::parse().map(serve) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(1, &error),
        Err(error) => fail(2, &format_args!("{error} (usage: chat [--threads N] [ADDRESS])")),
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("chat: {error}");
    ExitCode::from(code)
}
