//! Codecs over memory, each in frames and bytes a second, beside loops that do no more than they
//! must.
//!
//! `cargo bench --bench codecs` takes about two minutes; `cargo bench --bench codecs -- lines` a
//! part of it. Beside tokio-util's codecs: `benches/peers/benches/codecs.rs`.

#[path = "counted/src/codecs.rs"]
mod codecs;

use std::hint::black_box;
use std::time::Duration;

use codecs::{Visitor, decode_all};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemill::codec::{Decoder, Encoder};

/// Of one frame's text or payload.
const FRAME_BYTES: [usize; 3] = [16, 64, 1024];

struct Bench<'a> {
    criterion: &'a mut Criterion,
    frame_bytes: usize,
}

impl Bench<'_> {
    fn run(&mut self, name: &str, frames: usize, bytes: usize, mut work: impl FnMut() -> usize) {
        let mut group = self.criterion.benchmark_group(name);
        let (elements, bytes) = (frames as u64, bytes as u64);
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        group.bench_function(self.frame_bytes.to_string(), |b| b.iter(&mut work));
        group.finish();
    }
}

impl Visitor for Bench<'_> {
    fn decode<D: Decoder>(
        &mut self,
        name: &str,
        make: impl Fn() -> D,
        input: &[u8],
        look: impl for<'a> Fn(D::Frame<'a>),
    ) {
        let mut decoder = make();
        let frames = decode_all(&mut decoder, input, &look);
        self.run(&format!("decode: {name}"), frames, input.len(), || {
            decode_all(&mut decoder, black_box(input), &look)
        });
    }

    fn encode<E: for<'a> Encoder<Item<'a> = &'a [u8]>>(
        &mut self,
        name: &str,
        make: impl Fn() -> E,
        item: &[u8],
        count: usize,
    ) {
        let (mut encoder, mut out) = (make(), Vec::new());
        self.run(&format!("encode: {name}"), count, count * item.len(), || {
            out.clear();
            for _ in 0..count {
                assert!(encoder.encode(black_box(item), &mut out).is_ok());
            }
            out.len()
        });
    }
}

fn all(c: &mut Criterion) {
    for frame_bytes in FRAME_BYTES {
        let mut bench = Bench { criterion: c, frame_bytes };
        codecs::visit(&mut bench, frame_bytes);
        let line = [vec![b'x'; frame_bytes], b"\n".to_vec()].concat();
        let lines = line.repeat(64 * 1024 / line.len());
        let count = memchr_all(&lines);
        bench.run("limit: memchr for lines", count, lines.len(), || memchr_all(black_box(&lines)));
        let frame = [&(frame_bytes as u16).to_be_bytes()[..], &line[..frame_bytes]].concat();
        let frames = frame.repeat(64 * 1024 / frame.len());
        let count = lengths_all(&frames);
        bench.run("limit: lengths of 2 bytes", count, frames.len(), || {
            lengths_all(black_box(&frames))
        });
    }
}

/// The least that finding lines can cost.
fn memchr_all(input: &[u8]) -> usize {
    let (mut start, mut count) = (0, 0);
    for end in memchr::memchr_iter(b'\n', input) {
        black_box(&input[start..end]);
        start = end + 1;
        count += 1;
    }
    count
}

/// The least that finding frames behind a length of two bytes can cost.
fn lengths_all(mut input: &[u8]) -> usize {
    let mut count = 0;
    while let Some((prefix, rest)) = input.split_first_chunk() {
        let Some((frame, rest)) = rest.split_at_checked(u16::from_be_bytes(*prefix).into()) else {
            break;
        };
        black_box(frame);
        input = rest;
        count += 1;
    }
    count
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(10)
        .without_plots()
}

criterion_group! { name = benches; config = short(); targets = all }
criterion_main!(benches);
