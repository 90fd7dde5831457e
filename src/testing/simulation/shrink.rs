//! What is told of a failure: as little as still makes it happen.

use std::fmt;

use super::Simulation;
use crate::sim::{Mishap, Plan};

/// A promise was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed of the world in which it was.
    pub seed: u64,
    /// Which promise.
    pub what: String,
    /// What of the plan is needed for the run to fail; without the rest it still does, though
    /// not always in the same way.
    pub plan: Plan,
    /// The last that happened, under that plan.
    pub timeline: Vec<String>,
}

impl Simulation {
    pub(super) fn explain(&self, what: String) -> Failure {
        let mut least = self.clone();
        let mut what = what;
        for mishap in self.plan.mishaps() {
            let mut without = least.clone();
            without.plan = without.plan.without(mishap);
            if let Err(its) = without.outcome() {
                (least, what) = (without, its);
            }
        }
        let timeline = least.trace(TIMELINE_LINES).1;
        Failure { seed: self.seed, what, plan: least.plan, timeline }
    }
}

impl Failure {
    /// The names of the mishaps that are needed, for a command line.
    pub fn mishaps(&self) -> String {
        let names: Vec<&str> = self.plan.mishaps().map(Mishap::name).collect();
        names.join(",")
    }
}

/// The seed, what is wrong, the plan, and the timeline, on several lines.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.timeline {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} fails: {}", self.seed, self.what)?;
        write!(f, "the least plan: {}", self.plan)
    }
}

impl std::error::Error for Failure {}

const TIMELINE_LINES: usize = 60;
