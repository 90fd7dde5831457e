//! A thread for each connection, with calls that block: std alone.
//!
//! A stack of 64 KiB, where two megabytes are usual (it only costs addresses until it is used),
//! with a buffer of 16 KiB on it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

fn main() {
    let listener = peers::listener();
    listener.set_nonblocking(false).expect("blocking mode");
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let thread = thread::Builder::new().stack_size(64 * 1024);
                if let Err(error) = thread.spawn(move || echo(stream)) {
                    eprintln!("threads: a client is turned away: {error}");
                }
            }
            Err(error) => eprintln!("threads: {error}"),
        }
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
