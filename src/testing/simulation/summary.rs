//! What a run, or several, came to.

use std::fmt;
use std::time::Duration;

use crate::sim::Mishap;

/// What a run, or several, came to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Worlds.
    pub runs: u64,
    /// Turns of all reactors.
    pub turns: u64,
    /// Connections that clients began.
    pub lifetimes: u64,
    /// Handlers that were made.
    pub handlers: u64,
    /// The most connections that the reactors had at once.
    pub connections_max: usize,
    /// On the clocks of the worlds.
    pub virtual_time: Duration,
    /// Promises that were looked at.
    pub checks: u64,
    /// By the order of [`Mishap::ALL`].
    pub(super) dealt: [u64; Mishap::COUNT],
    /// [`World::trace_hash`](crate::sim::World::trace_hash) of one run, those of several mixed.
    pub trace_hash: u64,
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            runs: 0,
            turns: 0,
            lifetimes: 0,
            handlers: 0,
            connections_max: 0,
            virtual_time: Duration::ZERO,
            checks: 0,
            dealt: [0; Mishap::COUNT],
            trace_hash: 0,
        }
    }
}

impl Summary {
    /// How often a mishap has happened.
    pub fn dealt(&self, mishap: Mishap) -> u64 {
        self.dealt[mishap as usize]
    }

    /// Both together, in whatever order.
    pub fn add(&mut self, other: &Summary) {
        self.runs += other.runs;
        self.turns += other.turns;
        self.lifetimes += other.lifetimes;
        self.handlers += other.handlers;
        self.connections_max = self.connections_max.max(other.connections_max);
        self.virtual_time += other.virtual_time;
        self.checks += other.checks;
        for (mine, its) in self.dealt.iter_mut().zip(other.dealt) {
            *mine += its;
        }
        self.trace_hash ^= other.trace_hash;
    }
}

/// Some lines, the mishaps with their counts last.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        writeln!(f, "{} worlds, {hours:.1} virtual hours, {} turns", self.runs, self.turns)?;
        writeln!(
            f,
            "{} connection lifetimes, {} handlers, at most {} at once",
            self.lifetimes, self.handlers, self.connections_max
        )?;
        write!(f, "{} checks; dealt:", self.checks)?;
        for &mishap in Mishap::ALL {
            write!(f, "\n  {:>10} {}", self.dealt(mishap), mishap.name())?;
        }
        Ok(())
    }
}
