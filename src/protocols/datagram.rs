//! The echo protocol over datagrams (RFC 862).

use crate::base::address::NetAddr;
use crate::handler::{DatagramContext, DatagramHandler};

/// Sends every datagram back to where it came from, except to ports below 1024: there live the
/// servers (echo, chargen, domain, …) that would answer in turn, for ever, where somebody forged
/// the sender's address (CERT CA-1996-01). Those are counted as
/// [`datagram_replies_refused`](crate::Counters::datagram_replies_refused).
#[derive(Clone, Copy, Debug, Default)]
pub struct DatagramEcho;

impl<M: 'static> DatagramHandler<M> for DatagramEcho {
    #[inline]
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, M>, from: &NetAddr, payload: &[u8]) {
        match from.port() {
            Some(port) if port < FIRST_CLIENT_PORT => cx.count_refused_reply(),
            None if from.is_unnamed() => {}
            _ => {
                // A reply as long as its request is always allowed.
                let _ = cx.reply(payload);
            }
        }
    }
}

/// The first port that a program may use without privilege.
const FIRST_CLIENT_PORT: u16 = 1024;
