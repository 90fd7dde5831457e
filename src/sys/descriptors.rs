//! How many descriptors the process has open.

use std::{fs, io};

/// How many descriptors this process has open, from `/dev/fd` (on Linux a link to
/// `/proc/self/fd`, proc(5)). It reads a directory of that many entries: not for a callback in
/// which others wait.
///
/// # Errors
/// There is no such directory, or no descriptor left to read it with.
pub fn descriptor_count() -> io::Result<u64> {
    let mut count: u64 = 0;
    for entry in fs::read_dir("/dev/fd")? {
        entry?;
        count += 1;
    }
    Ok(count.saturating_sub(1)) // the one that was needed to look
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_counted() {
        let _open: Vec<fs::File> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let count = descriptor_count().unwrap();
        assert!((53..100_000).contains(&count), "{count}");
    }
}
