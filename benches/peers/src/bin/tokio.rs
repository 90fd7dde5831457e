//! tokio, three ways:
//!
//! - alone: the current-thread runtime, its fastest for one processor: tasks need no
//!   synchronization, and nobody steals them;
//! - `--threads N`: the multi-thread runtime, which is what `#[tokio::main]` gives;
//! - `--lean`, with either: no buffer for each connection. A task waits until its socket is
//!   readable and only then borrows its thread's buffer, so that an idle connection costs a task
//!   and its registration.
//!
//! Elsewhere a task has a buffer of 8 KiB, as is usual, and enough for what is measured. The loop
//! of accepting is a task as well, which the multi-thread runtime runs better than the future of
//! `block_on`. No timers are enabled. Since version 1.x a short read tells tokio, too, that a
//! socket is empty: it needs as few system calls as we do.
//! `--udp` echoes datagrams, one with each call: tokio has no batches.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use peers::READ_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;

fn main() -> io::Result<()> {
    let runtime = match peers::number("--threads") {
        Some(threads) => Builder::new_multi_thread().worker_threads(threads).enable_io().build()?,
        None => Builder::new_current_thread().enable_io().build()?,
    };
    let is_lean = peers::has("--lean");
    runtime.block_on(async {
        let served = if peers::has("--udp") {
            tokio::spawn(datagrams(UdpSocket::from_std(peers::datagrams())?))
        } else {
            tokio::spawn(accept(TcpListener::from_std(peers::listener())?, is_lean))
        };
        served.await?
    })
}

async fn accept(listener: TcpListener, is_lean: bool) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        if is_lean {
            tokio::spawn(echo_lean(stream));
        } else {
            tokio::spawn(echo(stream));
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn echo_lean(mut stream: TcpStream) -> io::Result<()> {
    while let Some(rest) = poll_fn(|cx| answer(cx, &mut stream)).await? {
        if !rest.is_empty() {
            stream.write_all(&rest).await?;
        }
    }
    Ok(())
}

/// Reads once, and writes what came as far as the system takes it; the rest, which allocates only
/// where there is one, is for the caller. None is the end. (`try_read` would not do: only
/// `poll_read` learns from a short read that there is no more.)
fn answer(cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<Option<Vec<u8>>>> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        let came = buffer.filled();
        if came.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let sent = match Pin::new(stream).poll_write(cx, came) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(Some(came[sent..].to_vec())))
    })
}

async fn datagrams(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..count], from).await?;
    }
}
