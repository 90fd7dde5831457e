//! Replays what fuzzers have found worth keeping.

use std::panic::catch_unwind;
use std::path::Path;
use std::{env, fs};

use tidemill::Rng;

use crate::TARGETS;

#[test]
fn every_corpus_passes() {
    for (name, target) in TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for entry in entries {
            let file = entry.unwrap().path();
            let data = fs::read(&file).unwrap();
            let outcome = catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "{name}: {}", file.display());
            count += 1;
        }
        assert!(count >= 5, "{} has {count} files", dir.display());
    }
}

#[test]
fn every_target_has_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path} is not built");
        let text = fs::read_to_string(root.join(&path)).unwrap();
        assert!(text.contains(&format!("tidemill_fuzz::{name}(")), "{path} calls another");
    }
}

#[test]
fn targets_bear_any_bytes() {
    for (name, target) in TARGETS {
        target(&[]);
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let len = 1 << rng.below(9);
            let data = rng.bytes(len);
            let outcome = catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "{name}, seed {seed}");
        }
    }
}
