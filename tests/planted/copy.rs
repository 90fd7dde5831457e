//! A copy of the package, in which faults are planted, built and run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
/// What the copy needs to be built and tested.
const COPIED: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "README.md", "src", "benches", "examples", "tests"];

/// With a folder of its own to build in, which is kept: to cargo, all copies are one package.
pub(crate) struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    pub(crate) fn new(number: u64) -> Copy {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("planted-{number}"));
        let copy = Copy { root: base.join("package"), target: base.join("target") };
        let _ = fs::remove_dir_all(&copy.root);
        fs::create_dir_all(&copy.root).unwrap();
        for name in COPIED {
            copy_all(&Path::new(PACKAGE).join(name), &copy.root.join(name));
        }
        copy
    }

    /// Replaces a file.
    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.root.join(file), text).unwrap();
    }

    /// Builds and runs the simulation: the first seed that fails, and what is said of it.
    pub(crate) fn simulate(&self, seeds: u64) -> Option<(String, String)> {
        self.build();
        let program = self.target.join("debug/examples/simulate");
        let program = program.display();
        let mut from = 0;
        while from < seeds {
            let count = AT_ONCE.min(seeds - from);
            let command = format!("{program} --from {from} --seeds {count}");
            let Some(ran) = self.run(&command, RUNNING) else {
                let hangs = |seed| {
                    let command = format!("{program} --seed {seed}");
                    self.run(&command, RUNNING_ONE).is_none()
                };
                let seed = (from..from + count).find(|&seed| hangs(seed)).unwrap_or(from);
                return Some((seed.to_string(), "it hangs".to_owned()));
            };
            if !ran.is_success {
                return Some(ran.seed_and_complaint());
            }
            from += count;
        }
        None
    }

    /// Optimized a little, for it has much to do, and with every assertion.
    fn build(&self) {
        let profile = "profile.dev.package.tidemill";
        let command = format!(
            "cargo build --quiet --example simulate \
             --config {profile}.opt-level=1 --config {profile}.debug=0"
        );
        let built = self.run(&command, BUILDING).expect("building ends");
        assert!(built.is_success, "the fault is not Rust any more:\n{}", built.text);
    }

    /// Runs a command of tests: the names of those that fail.
    pub(crate) fn test(&self, command: &str) -> String {
        let Some(ran) = self.run(command, BUILDING) else { return "it hangs".to_owned() };
        let failed = |line: &str| {
            let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
            Some(name.replace("::tests::", "::"))
        };
        let names: Vec<String> = ran.text.lines().filter_map(failed).collect();
        match names.as_slice() {
            [] if ran.is_success => "none".to_owned(),
            [] => "it breaks off".to_owned(),
            [one] => one.clone(),
            [one, rest @ ..] => format!("{one} and {} more", rest.len()),
        }
    }

    /// What a command came to; nothing where it does not end in time.
    fn run(&self, command: &str, patience: Duration) -> Option<Ran> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("({command}) 2>&1")])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = std::io::Read::read_to_end(&mut output, &mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        let text = receiver.recv_timeout(patience);
        if text.is_err() {
            // The whole group: the shell, and the program that never ends.
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
        }
        let is_success = child.wait().unwrap().success();
        text.ok().map(|text| Ran { text, is_success })
    }
}

struct Ran {
    text: String,
    is_success: bool,
}

impl Ran {
    /// From `seed 7 fails: client 3: is never answered`.
    fn seed_and_complaint(&self) -> (String, String) {
        let told = self.text.lines().find_map(|line| line.strip_prefix("seed "));
        let (seed, what) = told
            .and_then(|told| told.split_once(" fails: "))
            .unwrap_or_else(|| panic!("it fails, and does not tell how:\n{}", self.text));
        (seed.to_owned(), what.to_owned())
    }
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_all(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

const BUILDING: Duration = Duration::from_secs(900);
/// For `AT_ONCE` seeds: longer is a hang.
const RUNNING: Duration = Duration::from_secs(600);
const AT_ONCE: u64 = 100;
const RUNNING_ONE: Duration = Duration::from_secs(60);
