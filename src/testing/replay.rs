//! A folder of inputs, in `cargo test`.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Runs the body of a fuzz target with each file of a folder, in the order of their names, and
/// answers how many there were. Subfolders, and files whose names start with a dot, do not count.
///
/// Tests run in the folder of their package, so the corpus of a target is one line:
///
/// ```no_run
/// # use tidemill::{codec::Netstrings, testing};
/// # fn make() -> Netstrings { Netstrings::new() }
/// testing::replay("fuzz/corpus/frames", |data| testing::decoder(make, data));
/// ```
///
/// # Panics
/// The body does: the message names the file. Or there is no such folder, no file in it, or one
/// cannot be read: a corpus that was moved is not one that passes.
pub fn replay(folder: impl AsRef<Path>, body: impl Fn(&[u8])) -> usize {
    let folder = folder.as_ref();
    let files = files(folder);
    assert!(!files.is_empty(), "testing::replay: no files in {}", folder.display());
    for file in &files {
        let data = fs::read(file)
            .unwrap_or_else(|error| panic!("testing::replay: {}: {error}", file.display()));
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(&data))) {
            panic!("testing::replay: {}: {}", file.display(), message_of(&*payload));
        }
    }
    files.len()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries =
        entries.unwrap_or_else(|error| panic!("testing::replay: {}: {error}", folder.display()));
    let is_hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.is_file() && !is_hidden(path)).collect();
    files.sort_unstable();
    files
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const FOLDER: &str = "src/testing/harness";

    #[test]
    fn every_file_is_shown_in_order() {
        let seen = RefCell::new(Vec::new());
        let count = replay(FOLDER, |data| seen.borrow_mut().push(data.to_vec()));
        let names = ["mod.rs", "spy.rs", "steps.rs", "tests.rs", "transcript.rs"];
        let all = names.map(|name| fs::read(Path::new(FOLDER).join(name)).unwrap());
        assert_eq!((count, seen.into_inner()), (names.len(), all.to_vec()));
    }

    #[test]
    #[should_panic(expected = "src/testing/harness/spy.rs: it is 7")]
    fn a_failure_names_its_file() {
        replay(FOLDER, |data| assert!(!data.starts_with(b"//! What stands"), "it is {}", 7));
    }

    #[test]
    #[should_panic(expected = "src/testing/nowhere: No such file")]
    fn a_folder_that_is_missing_is_an_error() {
        replay("src/testing/nowhere", |_| {});
    }

    #[test]
    fn a_folder_without_files_is_an_error() {
        let folder = std::env::temp_dir().join(format!("tidemill-replay-{}", std::process::id()));
        fs::create_dir_all(folder.join("subfolder")).unwrap();
        fs::write(folder.join(".gitkeep"), "").unwrap();
        let payload = catch_unwind(|| replay(&folder, |_| {})).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        assert!(message_of(&*payload).starts_with("testing::replay: no files in "));
    }
}
