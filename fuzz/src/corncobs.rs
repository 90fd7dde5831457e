//! [`Cobs`] against `corncobs`.
//!
//! They agree on what a frame stands for and on what is none, and write the same, but for this:
//!
//! - Behind a full last block `corncobs` writes no empty one, as we do not; the paper allows both,
//!   and both of us read both.
//! - `corncobs` decodes one frame and has no limit: it is shown the frames one by one, and what of
//!   theirs is longer than our limit must be what we refuse.
//! - Zeros without anything between them are no frames to us; `corncobs` is not asked.

use tidemill::codec::{Cobs, CobsError, Encoder};
use tidemill::testing::Choices;

use crate::stream::{Stream, frames};

/// The first two bytes are the limit; then come cuts and the stream.
pub fn versus_corncobs(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = choices.below(1000);
    let stream = Stream::new(choices);
    let make = || Cobs::new().with_limit(limit_bytes);
    let (our_frames, end) = frames(stream.read(make(), |frame| frame.to_bytes().into_owned()));

    let mut their_frames =
        stream.bytes.split_inclusive(|byte| *byte == 0).filter(|encoded| *encoded != [0]).map(
            |encoded| {
                let mut payload = Vec::new();
                ::corncobs::decode(encoded, &mut payload).ok().map(|()| payload)
            },
        );
    for frame in &our_frames {
        let theirs = their_frames.next().expect("as many frames");
        assert_eq!(theirs.as_ref(), Some(frame));
        assert!(frame.len() <= limit_bytes);
        let (mut out, mut their_out) = (Vec::new(), Vec::new());
        make().encode(frame, &mut out).expect("it was read");
        ::corncobs::encode(frame, &mut their_out);
        assert_eq!(out, their_out);
    }
    let next = their_frames.next();
    match end {
        Ok(()) => assert_eq!(next, None),
        Err(CobsError::TooLong { .. }) => {
            // It may be bad as well, further behind.
            assert!(
                next.is_some_and(|next| next.is_none_or(|payload| payload.len() > limit_bytes))
            );
        }
        Err(CobsError::CutOff { .. } | CobsError::UnexpectedEnd { .. }) => {
            assert!(next.is_some_and(|next| next.is_none()));
        }
        Err(error) => panic!("{error} is new"),
    }
}
