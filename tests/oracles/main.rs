//! The oracles of `testing` find what they are for: decoders and handlers, each wrong in one way,
//! and the same without its fault. `cargo test --test oracles -- --nocapture` shows who found what.

mod handlers;
mod lengths;
mod lines;

use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Once;

use lengths::{Bars, EncoderFault, Lengths, LengthsEncoder};
use lines::Lines;
use tidemill::codec::Decoder;
use tidemill::testing::{self, HandlerChecks, Reading, random_input};

/// More random inputs than any fault should take.
const INPUTS: u64 = 100;
/// Likewise for handlers, whom each input is played a dozen times.
const HANDLER_INPUTS: u64 = 60;

thread_local! {
    /// A panic is what is waited for.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Who found a fault: an oracle, or the decoder by a panic of its own.
fn finder(run: impl FnOnce()) -> Option<String> {
    let message = panic_of(run)?;
    let oracle = message.strip_prefix("testing::").and_then(|rest| rest.split(':').next());
    let oracle = oracle.unwrap_or("its own panic");
    assert!(
        oracle == "its own panic" || message.contains("input: "),
        "a failure says with what: {message}"
    );
    Some(oracle.to_owned())
}

/// With what message it panics, if it does; nothing is printed.
fn panic_of(run: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                loud(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    let panic = outcome.err()?;
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// The oracle that finds the fault, and with which of the random inputs: `decoder`, and if all of
/// them pass, the comparison with a model.
fn first_found<D>(
    make: impl Fn() -> D,
    model: impl Fn(&[u8]) -> Reading<Vec<u8>, D::Error>,
) -> Option<(String, u64)>
where
    D: for<'a> Decoder<Frame<'a> = &'a [u8], Error: PartialEq>,
{
    let find = |run: &dyn Fn(&[u8])| {
        (0..INPUTS).find_map(|seed| Some((finder(|| run(&random_input(seed)))?, seed + 1)))
    };
    find(&|input| testing::decoder(&make, input)).or_else(|| {
        find(&|input| {
            testing::agrees_with(&make, input, <[u8]>::to_vec, &model);
        })
    })
}

/// Asserts that each fault is found by the oracle that it is said to be found by. (An answer that
/// none may give is found by whoever first makes the decoder give it.)
fn assert_found<F: Copy + Debug, D>(
    faults: &[(F, &str)],
    make: impl Fn(F) -> D,
    model: impl Fn(&[u8]) -> Reading<Vec<u8>, D::Error>,
) where
    D: for<'a> Decoder<Frame<'a> = &'a [u8], Error: PartialEq>,
{
    let found: Vec<_> =
        faults.iter().map(|&(fault, _)| first_found(|| make(fault), &model)).collect();
    let mut wrong = Vec::new();
    for ((fault, expected), found) in faults.iter().zip(found) {
        let (oracle, inputs) = found.unwrap_or(("nobody".to_owned(), INPUTS));
        println!("{:24} {oracle:14} {inputs:4}", format!("{fault:?}"));
        if oracle != *expected {
            wrong.push(format!("{fault:?}: {oracle}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn faults_of_lines_are_found() {
    use lines::Fault::*;
    let faults = [
        (Nothing, "nobody"),
        (StartLostAtCut, "cuts"),
        (SearchesAgain, "linear"),
        (SearchesAgainBackwards, "linear"),
        (TakesTooMuch, "bounded"),
        (TakesNothing, "cuts"),
        (NoLimit, "bounded"),
        (NoLimitAtAll, "bounded"),
        (LimitOffByOne, "bounded"),
        (LimitWhileWaiting, "cuts"),
        (LimitWhenWhole, "bounded"),
        (LimitMoves, "bounded"),
        (LimitWithoutEnding, "bounded"),
        (PanicsOnNul, "its own panic"),
        (PanicsOnBadUtf8, "its own panic"),
        (CrLostAtCut, "cuts"),
        (RestLostAtEof, "agrees_with"),
        (RestCutAtEof, "agrees_with"),
        (RestDroppedAtEof, "agrees_with"),
        (ShownTwiceAfterCut, "cuts"),
        (ShownTwice, "agrees_with"),
        (NeedsTooMuch, "bounded"),
        (NeedsNothing, "cuts"),
        (SkipsTheLine, "cuts"),
        (SkipsTooMuch, "cuts"),
        (OffsetOfTheRead, "cuts"),
        (ErrorTellsTheRead, "cuts"),
        (RefusesNothing, "cuts"),
        (LosesPatience, "cuts"),
        (DropsWithTheNext, "cuts"),
        (EndsAtNul, "agrees_with"),
    ];
    assert_found(&faults, Lines::new, lines::model);
}

#[test]
fn faults_of_lengths_are_found() {
    use lengths::Fault::*;
    let faults = [
        (Nothing, "nobody"),
        (HalfALength, "cuts"),
        (LimitOffByOne, "bounded"),
        (NoLimit, "bounded"),
        (LimitWithoutLength, "bounded"),
        (Overflows, "its own panic"),
        (SlicesTooEarly, "its own panic"),
        (WrongOrder, "agrees_with"),
        (HalfAPayload, "agrees_with"),
        (NeedsTheWholeFrame, "cuts"),
        (ChecksAgain, "linear"),
        (LengthOfTheLast, "agrees_with"),
        (ForgetsLengthAtCut, "cuts"),
    ];
    assert_found(&faults, Lengths::new, lengths::model);
}

#[test]
fn a_delimiter_missed_at_a_cut_is_found() {
    let make = |misses_cut_delimiters| move || Bars { misses_cut_delimiters, scanned: 0 };
    let input = b"one||two||";
    testing::decoder(make(false), input);
    assert_eq!(finder(|| testing::decoder(make(true), input)).as_deref(), Some("cuts"));
}

#[test]
fn memory_of_the_decoder_itself_is_found() {
    let make = || Lines::new(lines::Fault::KeepsCopies);
    let held = |lines: &Lines| lines.copies.capacity();
    let find = |seed| finder(|| testing::bounded(make, &random_input(seed), held));
    assert_eq!((0..INPUTS).find_map(find).as_deref(), Some("bounded"));
}

#[test]
fn faults_of_encoders_are_found() {
    let items: Vec<Vec<u8>> = (0..60).map(random_input).chain([vec![b'x'; 301]]).collect();
    for fault in [
        EncoderFault::Nothing,
        EncoderFault::CutsTheLength,
        EncoderFault::LeavesHalf,
        EncoderFault::Clears,
        EncoderFault::DropsEmpty,
        EncoderFault::WritesTooLong,
    ] {
        let found = finder(|| {
            let encoder = || LengthsEncoder(fault);
            let decoder = || Lengths::new(lengths::Fault::Nothing);
            testing::round_trip(encoder, decoder, &items, |item| item, <[u8]>::to_vec);
        });
        let is_found = found.as_deref() == Some("round_trip");
        assert_eq!(is_found, fault != EncoderFault::Nothing, "{fault:?}: {found:?}");
    }
}

/// Each is found by `testing::handler`, and says what is wrong.
#[test]
fn faults_of_handlers_are_found() {
    use handlers::{Capitals, Fault::*};
    const CUT: &str = "the answers depend on how the stream is cut";
    let faults = [
        (Nothing, None),
        (NothingAndQueues, None),
        (NothingAndWaits, None),
        (AnswersReads, Some(CUT)),
        (LineLostAtCut, Some(CUT)),
        (ForgetsWhenBusy, Some(CUT)),
        (NeverDrains, Some("it leaves the end to the idle deadline")),
        (SharesACount, Some("a second connection is answered otherwise")),
        (TakesTooMuch, Some("the handler took")),
        (PanicsOnNul, Some("the handler panicked: a NUL")),
        (PanicsWhenPausedByShutdown, Some("the handler panicked: it pauses")),
        (PanicsOnDrain, Some("the handler panicked: it drains")),
        (WritesAllAgain, Some("it writes more than")),
        (WritesForEver, Some("it writes more than")),
        (NeverCloses, Some("it leaves the end to the idle deadline")),
        (BeatsForEver, Some("it writes more than")),
        (NeverResumes, Some("it leaves the end to the idle deadline")),
        (Spins, Some("it has not come to rest")),
    ];
    let checks = HandlerChecks::<()>::default().output_max(|input_bytes| 2 * input_bytes);
    let mut wrong = Vec::new();
    for (fault, expected) in faults {
        let found = (0..HANDLER_INPUTS).find_map(|seed| {
            let count = Rc::default();
            let run = || drop(checks.run(|| Capitals::new(fault, &count), &random_input(seed)));
            Some((panic_of(run)?, seed + 1))
        });
        let (message, inputs) = found.unwrap_or(("nothing".to_owned(), HANDLER_INPUTS));
        let first = message.lines().next().unwrap_or_default();
        println!("{:27} {inputs:4} {first}", format!("{fault:?}"));
        if !first.contains(expected.unwrap_or("nothing")) {
            wrong.push(format!("{fault:?}: {first}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_failure_says_what_where_and_how_to_see_it_again() {
    let fail = || {
        testing::decoder(|| Lines::new(lines::Fault::CrLostAtCut), b"one\r\ntwo");
    };
    let message = *panic::catch_unwind(fail).unwrap_err().downcast::<String>().unwrap();
    assert_eq!(
        message,
        "testing::cuts: the stream reads otherwise when it is cut: behind 0 frames\n  \
         comes [111, 110, 101, 13], ending at byte 5\n  \
         but in one piece [111, 110, 101], ending at byte 5\n  \
         input: 8 bytes, b\"one\\r\\ntwo\"\n  \
         caller: eager, byte by byte\n  \
         again: the same call with this input; nothing else was chosen by chance"
    );
}
