//! The faults, read from `faults.diff`.
//!
//! ```text
//! fault: a wake-up is lost after a short write
//! seed: 3 client 19: never answered
//! --- src/hub/mod.rs
//!          self.budget.add(charge, now);
//! -        self.mark_dirty(slot);
//! ```
//!
//! A hunk has no line numbers: the lines that stay and those that go must be in the file exactly
//! once as they stand here, so that a fault whose place has changed is told of. Behind `seed` stands
//! the first that found it, and which promise was broken. In its place there may be `elsewhere`,
//! with the test that finds what a simulation cannot, and why it cannot.

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
    /// By a test of that name, in that file.
    Elsewhere { file: &'static str, test: &'static str },
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
            ("seed", found) => Found::Seed(found.split_once(' ')?.0.parse().ok()?),
            ("elsewhere", found) => {
                let (file, test) = found.split_once(' ')?.0.split_once("::")?;
                Found::Elsewhere { file, test }
            }
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
            Found::Elsewhere { .. } => None,
        }
    }

    /// Whether the test that finds it is there.
    pub(crate) fn has_test(&self) -> bool {
        let Found::Elsewhere { file, test } = self.found else { return true };
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        text.is_ok_and(|text| text.contains(&format!("fn {test}(")))
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
