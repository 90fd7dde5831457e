//! The faults, read from `faults.diff`.
//!
//! ```text
//! fault: a wake-up is lost after a short write
//! seed: 3
//! --- src/hub/mod.rs
//!          self.budget.add(charge, now);
//! -        self.mark_dirty(slot);
//! ```
//!
//! A hunk has no line numbers: the lines that stay and those that go must be in the file exactly
//! once as they stand here, so that a fault whose place has changed is told of. In place of `seed`
//! there may be `open`, with why the simulation is not known to find it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// A mistake that a maintainer could make.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) found: Found,
    /// From the root of the package.
    pub(crate) file: &'static str,
    /// What is replaced, and by what.
    was: String,
    becomes: String,
}

pub(crate) enum Found {
    /// By the simulation, at this seed first.
    Seed(u64),
    /// Not that anybody knows.
    Open,
}

pub(crate) static FAULTS: LazyLock<Vec<Fault>> = LazyLock::new(|| {
    let entries = include_str!("faults.diff").split("\nfault: ").skip(1);
    entries.map(|entry| Fault::read(entry).unwrap_or_else(|| panic!("{entry}"))).collect()
});

impl Fault {
    fn read(entry: &'static str) -> Option<Fault> {
        let mut lines = entry.lines();
        let name = lines.next()?;
        let found = match lines.next()?.split_once(": ")? {
            ("seed", seed) => Found::Seed(seed.parse().ok()?),
            ("open", _) => Found::Open,
            _ => return None,
        };
        let file = lines.next()?.strip_prefix("--- ")?;
        let (mut was, mut becomes) = (String::new(), String::new());
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (mark, text) = line.split_at(1);
            let text = format!("{text}\n");
            match mark {
                " " => {
                    was.push_str(&text);
                    becomes.push_str(&text);
                }
                "-" => was.push_str(&text),
                "+" => becomes.push_str(&text),
                _ => return None,
            }
        }
        Some(Fault { name, found, file, was, becomes })
    }

    pub(crate) fn seed(&self) -> Option<u64> {
        match self.found {
            Found::Seed(seed) => Some(seed),
            Found::Open => None,
        }
    }

    /// The file without the fault.
    pub(crate) fn healthy(&self) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", self.file))
    }

    /// The file with the fault.
    pub(crate) fn planted(&self) -> Result<String, String> {
        let text = self.healthy();
        match text.matches(&self.was).count() {
            1 => Ok(text.replacen(&self.was, &self.becomes, 1)),
            count => Err(format!(
                "{:?} has {count} places in {}. The text has moved on: give the fault its place \
                 there, or drop it if it can't be made any more. It was\n{}",
                self.name, self.file, self.was
            )),
        }
    }
}
