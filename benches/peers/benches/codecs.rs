//! tidemill's codecs beside tokio-util's, and for lines beside the search alone, over the same
//! bytes: whole frames, as many as a read brings.
//!
//! ```text
//! cargo bench --manifest-path benches/peers/Cargo.toml --bench codecs
//! ```
//!
//! tokio-util's decoders take frames out of a `BytesMut`, and own them (`LinesCodec` as a
//! `String`); ours borrow them. Filling the `BytesMut` anew is not measured: it happens between
//! the iterations. Where tokio-util hands out `Bytes`, nothing is copied there either.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemill::codec::{self as ours, ByteOrder, Ending, Lines, Utf8Lines, Width};
use tokio_util::codec::{AnyDelimiterCodec, Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

const INPUT_BYTES: usize = 64 * 1024;
const FRAME_BYTES: [usize; 3] = [16, 64, 1024];

fn decode_ours<D: ours::Decoder>(decoder: &mut D, input: &[u8]) -> usize {
    let (mut taken, mut count) = (0, 0);
    while let Ok(Some((frame, len))) = decoder.decode(&input[taken..]) {
        black_box(frame);
        taken += len;
        count += 1;
    }
    assert_eq!(taken, input.len());
    count
}

fn decode_theirs<D: Decoder>(decoder: &mut D, mut input: BytesMut) -> usize {
    let mut count = 0;
    while let Ok(Some(frame)) = decoder.decode(&mut input) {
        black_box(frame);
        count += 1;
    }
    assert!(input.is_empty());
    count
}

fn memchr_all(input: &[u8]) -> usize {
    let (mut start, mut count) = (0, 0);
    for end in memchr::memchr_iter(b'\n', input) {
        black_box(&input[start..end]);
        start = end + 1;
        count += 1;
    }
    count
}

fn lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("lines");
    for size in FRAME_BYTES {
        let line = [vec![b'x'; size], b"\n".to_vec()].concat();
        let input = line.repeat(INPUT_BYTES / line.len());
        let (elements, bytes) = ((input.len() / line.len()) as u64, input.len() as u64);
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        group.bench_function(BenchmarkId::new("memchr alone", size), |b| {
            b.iter(|| memchr_all(black_box(&input)));
        });
        group.bench_function(BenchmarkId::new("tidemill", size), |b| {
            let mut lines = Lines::new(Ending::Any);
            b.iter(|| decode_ours(&mut lines, black_box(&input)));
        });
        group.bench_function(BenchmarkId::new("tidemill, UTF-8", size), |b| {
            let mut lines = Utf8Lines::new(Lines::new(Ending::Any));
            b.iter(|| decode_ours(&mut lines, black_box(&input)));
        });
        group.bench_function(BenchmarkId::new("tokio-util LinesCodec", size), |b| {
            let mut codec = LinesCodec::new_with_max_length(8192);
            let fill = || BytesMut::from(&input[..]);
            b.iter_batched(fill, |it| decode_theirs(&mut codec, it), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("tokio-util AnyDelimiterCodec", size), |b| {
            let delimiters = (b"\n".to_vec(), b"\n".to_vec());
            let mut codec =
                AnyDelimiterCodec::new_with_max_length(delimiters.0, delimiters.1, 8192);
            let fill = || BytesMut::from(&input[..]);
            b.iter_batched(fill, |it| decode_theirs(&mut codec, it), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn lengths(c: &mut Criterion) {
    let mut group = c.benchmark_group("length of 4 bytes");
    for size in FRAME_BYTES {
        let frame = [&(size as u32).to_be_bytes()[..], &vec![b'x'; size]].concat();
        let input = frame.repeat(INPUT_BYTES / frame.len());
        let (elements, bytes) = ((input.len() / frame.len()) as u64, input.len() as u64);
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        group.bench_function(BenchmarkId::new("tidemill", size), |b| {
            let mut frames = ours::LengthPrefixed::new(Width::Four, ByteOrder::Big);
            b.iter(|| decode_ours(&mut frames, black_box(&input)));
        });
        group.bench_function(BenchmarkId::new("tokio-util", size), |b| {
            let mut codec = LengthDelimitedCodec::new();
            let fill = || BytesMut::from(&input[..]);
            b.iter_batched(fill, |it| decode_theirs(&mut codec, it), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("tidemill, encode", size), |b| {
            let mut frames = ours::LengthPrefixed::new(Width::Four, ByteOrder::Big);
            let (item, mut out) = (&frame[4..], Vec::new());
            b.iter(|| {
                out.clear();
                for _ in 0..elements {
                    ours::Encoder::encode(&mut frames, black_box(item), &mut out).unwrap();
                }
            });
        });
        group.bench_function(BenchmarkId::new("tokio-util, encode", size), |b| {
            let mut codec = LengthDelimitedCodec::new();
            let (item, mut out) = (bytes::Bytes::copy_from_slice(&frame[4..]), BytesMut::new());
            b.iter(|| {
                out.clear();
                for _ in 0..elements {
                    codec.encode(black_box(item.clone()), &mut out).unwrap();
                }
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(10)
        .without_plots()
}

criterion_group! { name = benches; config = short(); targets = lines, lengths }
criterion_main!(benches);
