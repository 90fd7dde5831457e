//! [`Delimited`] by one byte against tokio-util's `AnyDelimiterCodec`.
//!
//! They agree on frames, on what is too long, and, with [`Delimited::or_end`], on what only the
//! end of the stream ends. They differ in this: after an error `AnyDelimiterCodec` goes on behind
//! the next delimiter; ours are final.

use tidemill::codec::{Delimited, DelimitedError, Encoder};
use tidemill::testing::Choices;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Encoder as _};

use crate::stream::{Stream, frames};
use crate::tokio;

/// The first two bytes are the delimiter and the limit; then come cuts and the stream.
pub fn versus_delimiter_codec(data: &[u8]) {
    let mut choices = Choices::new(data);
    let delimiter = vec![choices.byte()];
    let limit_bytes = choices.below(256);
    let stream = Stream::new(choices);
    let (seeks, writes) = (delimiter.clone(), delimiter.clone());
    let mut theirs = AnyDelimiterCodec::new_with_max_length(seeks, writes, limit_bytes);
    let (their_frames, their_end) = tokio::read_pieces(&mut theirs, stream.pieces());
    let ours = || Delimited::new(&delimiter).with_limit(limit_bytes).or_end();
    let (our_frames, end) = frames(stream.read(ours(), <[u8]>::to_vec));
    assert_eq!(our_frames, their_frames);
    match (end, their_end) {
        (Ok(()), Ok(())) => {}
        (
            Err(DelimitedError::TooLong { .. }),
            Err(AnyDelimiterCodecError::MaxChunkLengthExceeded),
        ) => {}
        ends => panic!("{ends:?}"),
    }
    for frame in &our_frames {
        // They write strings only.
        let Ok(text) = std::str::from_utf8(frame) else { continue };
        let (mut out, mut their_out) = (Vec::new(), BytesMut::new());
        ours().encode(frame, &mut out).expect("it was read");
        theirs.encode(text, &mut their_out).expect("they refuse nothing");
        assert_eq!(out, their_out);
    }
}
