//! Whether the simulation would notice: known faults are planted in the library, one at a time.
//!
//! Nothing of this is in the library. A fault is a change of its text, applied to a copy of the
//! package below `target/`. There the simulation is built, with its assertions, and run until it
//! fails: a fault that survives 10,000 seeds means that the simulation is too kind.
//!
//! ```text
//! cargo test --test planted -- --ignored --nocapture             about half a minute a fault
//! PLANTED=linger cargo test --test planted -- --ignored ...      only those with this in their name
//! ```
//!
//! For each there is a line of a table: the first seed that fails, and what that run said.
//!
//! | variable | default | |
//! |---|---|---|
//! | `PLANTED` | | only the faults with one of these, between commas, in their name |
//! | `PLANTED_SEEDS` | 10000 | how many seeds are tried |
//! | `PLANTED_JOBS` | 1 | how many copies are made, built and run at once |
//! | `PLANTED_TESTS` | | a command such as `cargo test --lib -- reactor:: hub::`, which is run in the copy too: which tests fail |
//!
//! Without `--ignored` this is asserted: each fault still has its place in the text, and the seeds
//! that found it find nothing in the library as it is.

mod copy;
mod faults;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use copy::Copy;
use faults::{FAULTS, Fault, Found};
use tidemill::testing::simulation::{Builtin, Simulation};

#[test]
fn every_fault_has_its_place() {
    let names: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.name).collect();
    assert_eq!(names.len(), FAULTS.len(), "two faults have one name");
    let broken: Vec<String> = FAULTS.iter().filter_map(|fault| fault.planted().err()).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
    let untested = FAULTS.iter().find(|fault| !fault.has_test());
    assert!(untested.is_none(), "{:?}: no test of that name", untested.map(|it| it.name));
}

/// What found a fault once finds it again should it come back.
#[test]
fn seeds_that_found_a_fault_pass() {
    let seeds: BTreeSet<u64> = FAULTS.iter().filter_map(|fault| fault.seed()).collect();
    for seed in seeds {
        let builtin = Builtin::ALL[(seed % Builtin::ALL.len() as u64) as usize];
        let outcome = Simulation::new(seed).builtin(builtin).run();
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
#[ignore = "it builds the simulation once for each fault"]
fn the_simulation_catches_every_fault() {
    let wanted = or("PLANTED", "");
    let number = |name, usual| or(name, usual).parse::<u64>().unwrap_or_else(|_| panic!("{name}"));
    let (seeds, jobs) = (number("PLANTED_SEEDS", "10000"), number("PLANTED_JOBS", "1"));
    let tests = or("PLANTED_TESTS", "");
    let chosen: Vec<&Fault> =
        FAULTS.iter().filter(|it| wanted.split(',').any(|part| it.name.contains(part))).collect();
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    println!("| planted | file | seed | what the simulation said | tests that fail |");
    println!("|---|---|---|---|---|");
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (chosen, next, survivors, tests) = (&chosen, &next, &survivors, &tests);
            scope.spawn(move || {
                let copy = Copy::new(job);
                // Nor can it be what an earlier run, which was cut short, has left behind.
                assert_eq!(copy.simulate(100), None, "it fails without a fault");
                while let Some(fault) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    copy.write(fault.file, &fault.planted().unwrap());
                    let caught = copy.simulate(seeds);
                    let failed = if tests.is_empty() { String::new() } else { copy.test(tests) };
                    copy.write(fault.file, &fault.healthy());
                    let (seed, what) = caught.clone().unwrap_or_default();
                    println!("| {} | {} | {seed} | {what} | {failed} |", fault.name, fault.file);
                    if caught.is_none() && matches!(fault.found, Found::Seed(_)) {
                        survivors.lock().unwrap().push(fault.name);
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "these survive {seeds} seeds: {survivors:#?}");
}

fn or(variable: &str, usual: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
}
