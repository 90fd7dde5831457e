//! The example that runs simulations, as a process.

use std::process::{Command, Output};

/// The program. `cargo test` builds the examples of a package before its tests run, and puts them
/// beside the tests. (`cargo test --test NAME` alone does not; add `--examples`.)
fn simulate(arguments: &[&str]) -> Output {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples/simulate");
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    Command::new(program).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn a_wrong_option_is_one_line_and_status_2() {
    let wrong: [(&[&str], &str); 10] = [
        (&["--sedes", "1"], "invalid option '--sedes'"),
        (&["extra"], "unexpected argument \"extra\""),
        (&["--seeds", "x"], "--seeds: x: not a number"),
        (&["--seeds", "-1"], "--seeds: -1: not a number"),
        (&["--seeds"], "missing argument for option '--seeds'"),
        (&["--jobs", "0"], "--jobs: not from 1 to 1024"),
        (&["--clients", "0"], "--clients: not from 1 to 1000000"),
        (&["--handler", "http"], "--handler: http: not echo, line, chat or proxy"),
        (&["--only", "short-read,rain"], "--only: no fault rain"),
        (&["--trace"], "--trace needs --seed"),
    ];
    for (arguments, what) in wrong {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!("simulate: {what} (see --help)\n")
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_run_is_summed_up_with_every_fault_by_name() {
    let output = simulate(&["--seeds", "8", "--jobs", "2"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "no progress where nobody looks");
    let said = stdout(&output);
    assert!(said.starts_with("8 worlds, "), "{said}");
    for name in ["virtual hours", "turns", "lifetimes", "checks", "short-read", "send-enobufs"] {
        assert!(said.contains(name), "{name} is missing: {said}");
    }
}

#[test]
fn a_seed_is_replayed_line_by_line_and_always_the_same() {
    let replay = || simulate(&["--seed", "3", "--handler", "proxy", "--trace"]);
    let output = replay();
    assert_eq!(output.status.code(), Some(0));
    let said = stdout(&output);
    assert!(said.lines().count() > 100 && said.contains("client 0  connects"), "{said}");
    assert!(said == stdout(&replay()), "the same seed gives the same history");
}
