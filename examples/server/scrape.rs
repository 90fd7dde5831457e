//! `GET /metrics` for Prometheus, from a reactor of its own: it answers also while the server is
//! full, or stuck.

use std::fmt::Write;
use std::time::Duration;

use tidemill::codec::{Line, Lines};
use tidemill::server::BindError;
use tidemill::sys::{Inherited, descriptor_count, descriptor_limit};
use tidemill::{Address, Context, Fault, FrameHandler, Framed, Handle, Limits, NetAddr, Server};

/// A server of the metrics of another: where one is asked for, and at sockets that are there.
pub(crate) fn bind(
    address: Option<Address>,
    inherited: Vec<Inherited>,
    of: Handle,
) -> Result<Option<Server>, BindError> {
    if address.is_none() && inherited.is_empty() {
        return Ok(None);
    }
    let limits = Limits { connections: 64, first_byte: PATIENCE, ..Limits::default() };
    let service = move |_: &NetAddr| {
        let scrape = Scrape { of: of.clone(), lines: 0, status: "", is_head: false };
        Framed::new(Lines::default(), scrape)
    };
    let mut server = Server::builder().limits(limits);
    if let Some(address) = address {
        server = server.listen(address, service.clone());
    }
    for socket in inherited {
        server = server.listen_on(socket, service.clone());
    }
    server.bind().map(Some)
}

/// One request of HTTP/1 (RFC 9112), after whose answer the connection closes.
struct Scrape {
    of: Handle,
    /// Lines of the head that have come.
    lines: usize,
    /// What the first of them will be answered with.
    status: &'static str,
    /// Whether the answer is to be without its body (HEAD: RFC 9110, section 9.3.2).
    is_head: bool,
}

impl FrameHandler<Lines> for Scrape {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.expect_within(PATIENCE);
        Ok(())
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
        self.lines += 1;
        if self.lines == 1 {
            self.status = status(line.text());
            self.is_head = line.text().starts_with(b"HEAD ");
        } else if line.text().is_empty() || self.lines > HEAD_LINES {
            self.answer(cx);
            cx.close();
        }
        Ok(())
    }
}

impl Scrape {
    fn answer(&self, cx: &mut Context<'_>) {
        let body = match self.status {
            OK => metrics(&self.of),
            other => format!("{other}\n"),
        };
        let (status, length) = (self.status, body.len());
        let allow = if status == NOT_ALLOWED { "Allow: GET, HEAD\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             {allow}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        cx.write(head.as_bytes());
        if !self.is_head {
            cx.write(body.as_bytes());
        }
    }
}

/// How a request line is answered.
fn status(line: &[u8]) -> &'static str {
    let mut words = line.split(|byte| *byte == b' ');
    // What is asked behind a `?` is nothing that we know.
    let path = |target: &[u8]| target.split(|byte| *byte == b'?').next() == Some(b"/metrics");
    match (words.next(), words.next(), words.next()) {
        (Some(b"GET" | b"HEAD"), Some(target), Some(b"HTTP/1.1" | b"HTTP/1.0")) => {
            if path(target) {
                OK
            } else {
                "404 Not Found"
            }
        }
        (Some(_), Some(_), Some(b"HTTP/1.1" | b"HTTP/1.0")) => NOT_ALLOWED,
        _ => "400 Bad Request",
    }
}

fn metrics(of: &Handle) -> String {
    let mut text = of.metrics().to_prometheus();
    if let Ok(open) = descriptor_count() {
        let _ = write!(text, "# TYPE process_open_fds gauge\nprocess_open_fds {open}\n");
    }
    let most = descriptor_limit();
    let _ = write!(text, "# TYPE process_max_fds gauge\nprocess_max_fds {most}\n");
    text
}

const OK: &str = "200 OK";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const HEAD_LINES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);
