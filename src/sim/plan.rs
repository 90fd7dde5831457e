//! What goes wrong how often: odds for every mishap, from a seed, from bytes, or by hand.

use std::fmt;

use super::faults::Manners;
use super::mishap::Mishap;
use crate::base::rng::Rng;

/// Odds for every [`Mishap`], and how much edges tell. The default is that nothing goes wrong,
/// and not one edge comes more than is promised.
///
/// ```
/// use tidemill::sim::{Mishap, Plan};
///
/// let plan = Plan::default().with(Mishap::ShortRead, 2500).with(Mishap::AcceptEmfile, 50);
/// assert_eq!(plan.to_string(), "short-read 25%, accept-emfile 0.5%");
/// assert_eq!(plan.without(Mishap::ShortRead).odds(Mishap::ShortRead), 0);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Times in `Plan::OF`.
    odds: [u16; Mishap::COUNT],
    /// As [`Manners::hints`].
    pub hints: bool,
    /// As [`Manners::short_read_drains`].
    pub short_read_drains: bool,
    /// As [`Manners::reset_delivers`].
    pub reset_delivers: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            odds: [0; Mishap::COUNT],
            hints: false,
            short_read_drains: false,
            reset_delivers: false,
        }
    }
}

impl Plan {
    /// Odds count times in so many.
    pub const OF: u16 = 10_000;

    /// A plan of its own for each seed: half of all mishaps are off, some of the others are far
    /// more frequent than usual; and edges are strict (nothing that is not promised) or chatty.
    /// Faults that always come together hide one another; a swarm of differing plans does not.
    /// (Groce, Zhang, Eide, Chen and Regehr, "Swarm Testing", 2012.)
    pub fn swarm(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x5741_524d);
        let mut plan = Plan::default();
        let is_chatty = rng.chance(1, 2);
        plan.hints = rng.chance(1, 2);
        for &mishap in Mishap::ALL {
            let usual = u64::from(mishap.usual_odds());
            let odds = match rng.below(8) {
                0..4 => 0,
                4..7 => usual,
                _ => (usual * 8).min(u64::from(Plan::OF) * 3 / 4),
            };
            let is_off = mishap.is_about_edges() && !is_chatty;
            plan.set(mishap, if is_off { 0 } else { odds as u16 });
        }
        if plan.odds(Mishap::ShortRead) == 0 && rng.chance(1, 2) {
            (plan.hints, plan.short_read_drains) = (true, true);
        }
        plan.reset_delivers = rng.chance(1, 2);
        plan
    }

    /// A plan from any bytes, such as a fuzzer's: the first is about edges, each of those that
    /// follow is the odds of one mishap, in the order of [`Mishap::ALL`]. What is missing is zero.
    pub fn from_bytes(bytes: &[u8]) -> Plan {
        let mut plan = Plan::default();
        let Some((&edges, odds)) = bytes.split_first() else { return plan };
        for (&mishap, &byte) in Mishap::ALL.iter().zip(odds) {
            // Never more than three times in four, so that whoever tries again gets there.
            plan.set(mishap, u16::from(byte) * 29);
        }
        plan.hints = edges & 1 == 1;
        plan.reset_delivers = edges & 4 == 4;
        if edges & 2 == 2 && plan.odds(Mishap::ShortRead) == 0 {
            (plan.hints, plan.short_read_drains) = (true, true);
        }
        plan
    }

    /// How often it happens, times in [`Plan::OF`].
    pub fn odds(&self, mishap: Mishap) -> u16 {
        self.odds[mishap as usize]
    }

    /// The same plan with other odds for one mishap.
    ///
    /// # Panics
    /// The odds are above [`Plan::OF`].
    #[must_use]
    pub fn with(mut self, mishap: Mishap, odds: u16) -> Plan {
        self.set(mishap, odds);
        self
    }

    /// The same plan without one mishap.
    #[must_use]
    pub fn without(self, mishap: Mishap) -> Plan {
        self.with(mishap, 0)
    }

    /// The same plan with none but these.
    #[must_use]
    pub fn only(mut self, kept: &[Mishap]) -> Plan {
        for &mishap in Mishap::ALL {
            if !kept.contains(&mishap) {
                self.set(mishap, 0);
            }
        }
        self
    }

    /// What may happen, in order.
    pub fn mishaps(&self) -> impl Iterator<Item = Mishap> {
        Mishap::ALL.iter().copied().filter(|&mishap| self.odds(mishap) > 0)
    }

    /// Asserts that it does not contradict itself.
    pub(super) fn check(&self) {
        let is_coherent = !(self.short_read_drains && self.odds(Mishap::ShortRead) > 0);
        assert!(is_coherent, "a short read can't both drain and leave something behind");
    }

    fn set(&mut self, mishap: Mishap, odds: u16) {
        assert!(odds <= Plan::OF, "{} happens more often than always", mishap.name());
        self.odds[mishap as usize] = odds;
    }
}

impl From<Manners> for Plan {
    fn from(manners: Manners) -> Plan {
        let mut plan = Plan {
            hints: manners.hints || manners.short_read_drains,
            short_read_drains: manners.short_read_drains,
            reset_delivers: manners.reset_delivers,
            ..Plan::default()
        };
        let percents = [
            (Mishap::ShortRead, manners.short_reads),
            (Mishap::ShortWrite, manners.short_writes),
            (Mishap::WouldBlock, manners.would_block),
            (Mishap::Interrupted, manners.interrupted),
            (Mishap::StrayEdge, manners.stray_edges),
            (Mishap::DoubledEdge, manners.doubled_edges),
            (Mishap::StaleEdge, manners.stale_edges),
        ];
        for (mishap, percent) in percents {
            plan.set(mishap, u16::from(percent.min(100)) * (Plan::OF / 100));
        }
        plan
    }
}

/// `short-read 25%, accept-emfile 0.5%; edges with hints`
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |mishap| f64::from(self.odds(mishap)) * 100.0 / f64::from(Plan::OF);
        let named = |mishap: Mishap| format!("{} {}%", mishap.name(), percent(mishap));
        let odds: Vec<String> = self.mishaps().map(named).collect();
        f.write_str(if odds.is_empty() { "nothing goes wrong" } else { "" })?;
        f.write_str(&odds.join(", "))?;
        match (self.hints, self.short_read_drains) {
            (_, true) => f.write_str("; edges with hints, short reads drain"),
            (true, false) => f.write_str("; edges with hints"),
            (false, false) => Ok(()),
        }
    }
}
