//! [`Slip`] against `slip-codec`.
//!
//! They agree on packets, on escapes and on ENDs without anything between them, which are none.
//! They differ in this:
//!
//! - `slip-codec` has no limit but the room there is: it is given as much as our limit allows.
//! - After an error it goes on behind the next END; ours are final.
//! - The end of the stream within a frame and the end between two are one to it.

use slip_codec::{SlipDecoder, SlipEncoder, SlipError as TheirError};
use tidemill::codec::{Encoder, Slip, SlipError};
use tidemill::testing::Choices;

use crate::stream::{Stream, frames};

/// The first byte is the limit; then come cuts and the stream.
pub fn versus_slip_codec(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = choices.below(256);
    let stream = Stream::new(choices);
    let make = || Slip::new().with_limit(limit_bytes);
    let (our_frames, end) = frames(stream.read(make(), |frame| frame.to_bytes().into_owned()));

    let mut source = stream.bytes;
    let mut theirs = SlipDecoder::new();
    let mut room = vec![0; limit_bytes];
    for frame in &our_frames {
        let len = theirs.decode(&mut source, &mut &mut room[..]).expect("we could read it");
        assert_eq!(room[..len], frame[..]);
        let (mut out, mut their_out) = (Vec::new(), Vec::new());
        make().encode(frame, &mut out).expect("it was read");
        SlipEncoder::new(true).encode(frame, &mut their_out).expect("a vector takes all");
        assert_eq!(out, their_out);
    }
    let next = theirs.decode(&mut source, &mut &mut room[..]);
    match end {
        Ok(()) => assert!(matches!(next, Err(TheirError::EndOfStream)), "{next:?}"),
        Err(SlipError::UnexpectedEnd { .. }) => {
            assert!(matches!(next, Err(TheirError::EndOfStream)), "{next:?}");
        }
        Err(SlipError::TooLong { .. }) => {
            assert!(matches!(next, Err(TheirError::OversizedPacket)), "{next:?}");
        }
        Err(SlipError::BadEscape { .. }) => {
            assert!(matches!(next, Err(TheirError::FramingError)), "{next:?}");
        }
        Err(error) => panic!("{error} is new"),
    }
}
