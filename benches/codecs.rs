//! Codecs over memory, beside loops that do no more than they must.
//!
//! `cargo bench --bench codecs` takes about 15 seconds.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemill::codec::{ByteOrder, Decoder, Encoder, Ending, LengthPrefixed, Lines, Width};

/// What a reactor shows a handler at the most.
const INPUT_BYTES: usize = 64 * 1024;
/// Of one frame's text or payload.
const FRAME_BYTES: [usize; 3] = [16, 64, 1024];

/// Whole frames of one size, about as many bytes as a read brings.
fn input(encoder: &mut impl for<'a> Encoder<Item<'a> = &'a [u8]>, frame_bytes: usize) -> Vec<u8> {
    let frame = vec![b'x'; frame_bytes];
    let mut out = Vec::new();
    while out.len() + 2 * frame_bytes < INPUT_BYTES {
        assert!(encoder.encode(&frame, &mut out).is_ok());
    }
    out
}

/// Takes frames as `Framed` does, and answers how many there were.
fn decode_all(decoder: &mut impl Decoder, input: &[u8]) -> usize {
    let (mut taken, mut count) = (0, 0);
    while let Ok(Some((frame, len))) = decoder.decode(&input[taken..]) {
        black_box(frame);
        taken += len;
        count += 1;
    }
    assert_eq!(taken, input.len());
    count
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

fn lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("lines");
    for frame_bytes in FRAME_BYTES {
        let input = input(&mut Lines::new(Ending::Lf), frame_bytes);
        group.throughput(Throughput::Bytes(input.len() as u64));
        for (name, ending) in [("any", Ending::Any), ("lf", Ending::Lf)] {
            group.bench_function(BenchmarkId::new(name, frame_bytes), |b| {
                let mut lines = Lines::new(ending);
                b.iter(|| decode_all(&mut lines, black_box(&input)));
            });
        }
        group.bench_function(BenchmarkId::new("bare memchr", frame_bytes), |b| {
            b.iter(|| memchr_all(black_box(&input)));
        });
        group.bench_function(BenchmarkId::new("encode", frame_bytes), |b| {
            let mut lines = Lines::new(Ending::Lf);
            let (text, count) = (vec![b'x'; frame_bytes], memchr_all(&input));
            let mut out = Vec::with_capacity(INPUT_BYTES);
            b.iter(|| {
                out.clear();
                for _ in 0..count {
                    lines.encode(black_box(&text), &mut out).expect("it holds no ending");
                }
                out.len()
            });
        });
    }
    group.finish();
}

fn length_prefixed(c: &mut Criterion) {
    let mut group = c.benchmark_group("length_prefixed");
    for frame_bytes in FRAME_BYTES {
        let mut frames = LengthPrefixed::new(Width::Two, ByteOrder::Big);
        let input = input(&mut frames, frame_bytes);
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(BenchmarkId::new("two bytes", frame_bytes), |b| {
            b.iter(|| decode_all(&mut frames, black_box(&input)));
        });
        group.bench_function(BenchmarkId::new("bare loop", frame_bytes), |b| {
            b.iter(|| lengths_all(black_box(&input)));
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .without_plots()
}

criterion_group! { name = benches; config = short(); targets = lines, length_prefixed }
criterion_main!(benches);
