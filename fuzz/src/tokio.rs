//! A caller of tokio-util's decoders: what `FramedRead` does, without the socket, and without going
//! on for ever where a decoder answers one frame after the other without taking a byte.

use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

/// The frames up to the first error, or to the end, and that error; or up to the first frame that
/// took nothing, which is shown.
pub(crate) fn read_pieces<'i, D: Decoder>(
    decoder: &mut D,
    pieces: impl Iterator<Item = &'i [u8]>,
) -> (Vec<D::Item>, Result<(), D::Error>) {
    let mut frames = Vec::new();
    let mut waiting = BytesMut::new();
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let before = waiting.len();
            match decoder.decode(&mut waiting) {
                Ok(Some(frame)) => {
                    frames.push(frame);
                    if waiting.len() == before {
                        return (frames, Ok(()));
                    }
                }
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    loop {
        let before = waiting.len();
        match decoder.decode_eof(&mut waiting) {
            Ok(Some(frame)) => {
                frames.push(frame);
                if waiting.len() == before {
                    return (frames, Ok(()));
                }
            }
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}
