//! A handler that is wrong in one way, and some that are not: each line is answered by itself in
//! capitals, and after the peer's end the connection closes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tidemill::{Context, Fault as Error, StreamHandler};

/// What is wrong with the handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing, and each answer is written at once.
    Nothing,
    /// Nothing; it answers later, and as much as there is room for.
    NothingAndQueues,
    /// Nothing, and it answers later and pauses until then.
    NothingAndWaits,
    /// A mark for each read.
    AnswersReads,
    /// A line that has not come whole is taken, and forgotten.
    LineLostAtCut,
    /// Lines that come while some answers are not sent.
    ForgetsWhenBusy,
    /// Answers that waited for room.
    NeverDrains,
    /// It counts lines, for all connections together.
    SharesACount,
    /// It takes a byte behind an empty line, whether or not it has come.
    TakesTooMuch,
    /// On a NUL.
    PanicsOnNul,
    /// It counts on never being shown input while it pauses; a shutdown does that.
    PanicsWhenPausedByShutdown,
    /// Where its peer did not read for a while.
    PanicsOnDrain,
    /// Each line is answered by all that came before, too.
    WritesAllAgain,
    /// More than there was room for, each time that there is.
    WritesForEver,
    /// At the end of the input, though it has answered all.
    NeverCloses,
    /// The same, and it says every few seconds that it is there.
    BeatsForEver,
    /// After a short line, and sets no timer.
    NeverResumes,
    /// A timer that is due at once sets itself again.
    Spins,
}

use Fault::*;

pub(crate) struct Capitals {
    fault: Fault,
    answers: VecDeque<Vec<u8>>,
    has_ended: bool,
    /// Of all that came.
    lines: Vec<u8>,
    shared_count: Rc<Cell<usize>>,
}

impl Capitals {
    pub(crate) fn new(fault: Fault, shared_count: &Rc<Cell<usize>>) -> Capitals {
        Capitals {
            fault,
            answers: VecDeque::new(),
            has_ended: false,
            lines: Vec::new(),
            shared_count: shared_count.clone(),
        }
    }

    fn waits(&self) -> bool {
        matches!(self.fault, NothingAndWaits | PanicsWhenPausedByShutdown)
    }

    fn queues(&self) -> bool {
        matches!(self.fault, NothingAndQueues | NeverDrains)
    }

    fn on_line(&mut self, cx: &mut Context<'_>, line: &[u8]) {
        assert!(self.fault != PanicsOnNul || !line.contains(&0), "a NUL");
        let mut answer = line.to_ascii_uppercase();
        match self.fault {
            ForgetsWhenBusy if cx.backlog() > 0 => return,
            SharesACount => {
                self.shared_count.set(self.shared_count.get() + 1);
                answer.splice(0..0, self.shared_count.get().to_string().into_bytes());
            }
            WritesAllAgain => {
                self.lines.extend(&answer);
                answer.clone_from(&self.lines);
            }
            NeverResumes if line.len() < 3 => cx.pause(),
            Spins => assert!(cx.set_timer(BEAT, Duration::ZERO)),
            _ => {}
        }
        self.answers.push_back(answer);
        if self.waits() {
            cx.pause();
        }
        if self.waits() || self.queues() {
            assert!(cx.set_timer(ANSWER, Duration::from_millis(3)));
        } else {
            self.answer(cx);
        }
    }

    /// Writes what waits, as far as there is room if it is one who looks; closes behind the last.
    fn answer(&mut self, cx: &mut Context<'_>) {
        while !(self.queues() && cx.is_full()) {
            let Some(answer) = self.answers.pop_front() else { break };
            cx.write(&answer);
        }
        if self.has_ended && self.answers.is_empty() {
            cx.close();
        }
    }
}

impl StreamHandler for Capitals {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Error> {
        if self.fault == AnswersReads {
            cx.write(b"+");
        }
        let is_answered = self.answers.is_empty();
        assert!(self.fault != PanicsWhenPausedByShutdown || is_answered, "it pauses");
        if self.waits() {
            self.answer(cx);
        }
        let mut taken = 0;
        while let Some(index) = input[taken..].iter().position(|&byte| byte == b'\n') {
            let (line, behind) = input[taken..].split_at(index + 1);
            if line.len() > LINE_BYTES_MAX {
                return Err(Error::new("a line is too long"));
            }
            self.on_line(cx, line);
            taken += line.len();
            if self.fault == TakesTooMuch && line == b"\n" {
                return Ok(taken + 1);
            }
            if behind.is_empty() || !cx.wants_input() {
                return Ok(taken);
            }
        }
        if input.len() - taken > LINE_BYTES_MAX {
            return Err(Error::new("a line is too long"));
        }
        Ok(if self.fault == LineLostAtCut { input.len() } else { taken })
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &[u8]) -> Result<(), Error> {
        match self.fault {
            NeverCloses => return Ok(()),
            BeatsForEver => assert!(cx.set_timer(BEAT, Duration::from_secs(5))),
            _ => {
                self.has_ended = true;
                if !self.queues() || self.answers.is_empty() {
                    self.answer(cx);
                }
            }
        }
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.has_ended = true;
        self.answer(cx);
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        assert!(self.fault != PanicsOnDrain, "it drains");
        if self.fault == WritesForEver {
            cx.write(&[b'.'; 70_000]);
        }
        if self.fault != NeverDrains {
            self.answer(cx);
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, tag: u32) -> Result<(), Error> {
        match tag {
            ANSWER => {
                self.answer(cx);
                cx.resume();
            }
            _ if self.fault == Spins => assert!(cx.set_timer(BEAT, Duration::ZERO)),
            _ => {
                cx.write(b"still here\n");
                assert!(cx.set_timer(BEAT, Duration::from_secs(5)));
            }
        }
        Ok(())
    }
}

const LINE_BYTES_MAX: usize = 60;
/// The tags of timers.
const ANSWER: u32 = 1;
const BEAT: u32 = 2;
