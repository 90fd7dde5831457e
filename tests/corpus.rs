//! Replays what fuzzers have found worth keeping. `fuzz/README.md` tells how to find more.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use tidemill::Rng;
use tidemill::testing::{replay, targets::TARGETS};

/// Whether the crate is a checkout, and not a package, of which `fuzz/` is no part.
fn is_checkout() -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").is_dir()
}

#[test]
fn every_corpus_passes() {
    if !is_checkout() {
        return;
    }
    for (name, target) in TARGETS {
        let count = replay(format!("fuzz/corpus/{name}"), target);
        assert!(count >= 5, "fuzz/corpus/{name} has {count} files");
    }
}

#[test]
fn every_target_has_its_file() {
    if !is_checkout() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path} is not built");
        let text = fs::read_to_string(root.join("fuzz").join(&path)).unwrap();
        assert!(text.contains(&format!("targets::{name}(")), "{path} calls something else");
    }
}

#[test]
fn targets_bear_any_bytes() {
    for (name, target) in TARGETS {
        target(&[]);
        for seed in 0..100 {
            let mut rng = Rng::new(seed);
            let len = 1 << rng.below(9);
            let data = rng.bytes(len);
            let outcome = catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "{name}, seed {seed}");
        }
    }
}
