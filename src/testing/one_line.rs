//! Fuzz targets of one line.

/// A whole fuzz target for a decoder: [`testing::decoder`](crate::testing::decoder) with an
/// expression that makes one at the start of a stream.
///
/// A file in `fuzz/fuzz_targets` is then this, and its first line `#![no_main]`:
///
/// ```
/// # mod libfuzzer_sys {
/// #     macro_rules! fuzz_target {
/// #         (|$data:ident: &[u8]| $body:expr) => {
/// #             pub fn fuzz($data: &[u8]) { $body }
/// #         };
/// #     }
/// #     pub(crate) use fuzz_target;
/// # }
/// use tidemill::codec::Netstrings;
///
/// tidemill::fuzz_decoder!(Netstrings::new().with_limit(300));
/// # fuzz(b"5:hello,3:");
/// ```
///
/// It expands to `libfuzzer_sys::fuzz_target!`, so `libfuzzer-sys` has to be a dependency, as it is
/// of every package that `cargo fuzz init` makes.
#[macro_export]
macro_rules! fuzz_decoder {
    ($decoder:expr $(,)?) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::testing::decoder(|| $decoder, data));
    };
}

/// A whole fuzz target for a handler: [`testing::handler`](crate::testing::handler) with an
/// expression that makes one for a new connection; or, with
/// [`HandlerChecks`](crate::testing::HandlerChecks) as the second argument, those.
///
/// A file in `fuzz/fuzz_targets` is then this, and its first line `#![no_main]`:
///
/// ```
/// # mod libfuzzer_sys {
/// #     macro_rules! fuzz_target {
/// #         (|$data:ident: &[u8]| $body:expr) => {
/// #             pub fn fuzz($data: &[u8]) { $body }
/// #         };
/// #     }
/// #     pub(crate) use fuzz_target;
/// # }
/// use tidemill::protocols::LineEcho;
///
/// tidemill::fuzz_handler!(LineEcho::framed());
/// # fuzz(b"one\ntwo");
/// ```
///
/// ```
/// # mod libfuzzer_sys {
/// #     macro_rules! fuzz_target {
/// #         (|$data:ident: &[u8]| $body:expr) => {
/// #             pub fn fuzz($data: &[u8]) { $body }
/// #         };
/// #     }
/// #     pub(crate) use fuzz_target;
/// # }
/// use tidemill::protocols::Echo;
/// use tidemill::testing::HandlerChecks;
///
/// tidemill::fuzz_handler!(Echo, HandlerChecks::<()>::default().output_max(|bytes| bytes));
/// # fuzz(b"hello");
/// ```
#[macro_export]
macro_rules! fuzz_handler {
    ($handler:expr $(,)?) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::testing::handler(|| $handler, data));
    };
    ($handler:expr, $checks:expr $(,)?) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| drop($checks.run(|| $handler, data)));
    };
}
