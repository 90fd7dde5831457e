//! Lines of the log that clients can bring about: of each kind only so many a second.

use crate::base::time::Time;

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    AcceptFailed,
    ConnectionRefused,
    HandlerPanicked,
    ServicePanicked,
    DatagramPanicked,
    DropPanicked,
    Overload,
    Stall,
}

const KINDS: usize = Notice::Stall as usize + 1;

/// Lines of one kind that are logged in a second.
pub(crate) const PER_SECOND: u32 = 10;

#[derive(Default)]
pub(crate) struct Notices([Window; KINDS]);

#[derive(Clone, Copy, Default)]
struct Window {
    /// When it ends.
    end: Time,
    said_count: u32,
    /// Lines not logged since the last that was.
    suppressed_count: u64,
}

impl Notices {
    /// Whether a line may be logged: then how many like it were not since the last.
    pub(crate) fn admit(&mut self, kind: Notice, now: Time) -> Option<u64> {
        let window = &mut self.0[kind as usize];
        if now >= window.end {
            window.end = now + std::time::Duration::from_secs(1);
            window.said_count = 0;
        }
        if window.said_count >= PER_SECOND {
            window.suppressed_count += 1;
            return None;
        }
        window.said_count += 1;
        Some(std::mem::take(&mut window.suppressed_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_so_many_lines_a_second_and_the_next_tells_of_the_others() {
        let mut notices = Notices::default();
        let mut admit = |kind, millis| notices.admit(kind, Time::from_millis(millis));
        for _ in 0..PER_SECOND {
            assert_eq!(admit(Notice::Stall, 5), Some(0));
        }
        assert_eq!(admit(Notice::Stall, 5), None);
        assert_eq!(admit(Notice::Stall, 1004), None);
        assert_eq!(admit(Notice::Overload, 1004), Some(0), "another kind");
        assert_eq!(admit(Notice::Stall, 1005), Some(2));
        assert_eq!(admit(Notice::Stall, 1006), Some(0));
    }
}
