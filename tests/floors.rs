//! The floors of `src/`: which folder may name which, and what is named in one place only.
//!
//! The scanner knows comments, strings, modules within files and what is compiled for tests only;
//! it does not know macros, and a path that one puts together escapes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each folder of `src/`, with those it may name, and those that only its tests may.
const FLOORS: [(&str, &[&str], &[&str]); 10] = [
    ("base", &[], &[]),
    // What tests say of a codec the oracles in `testing` say of everybody's: there is one of each.
    ("codec", &[], &["base", "testing"]),
    ("hub", &["base", "sys"], &[]),
    ("sys", &["base"], &[]),
    ("handler", &["base", "codec", "hub", "sys"], &[]),
    ("sim", &["base", "sys"], &[]),
    ("protocols", &["base", "codec", "handler", "hub"], &[]),
    ("reactor", &["base", "handler", "hub", "sys"], &["codec", "protocols", "sim", ROOT]),
    ("server", &["base", "handler", "hub", "reactor", "sys"], &[]),
    (
        "testing", // beside them all: nobody may name it, but for tests
        &["base", "codec", "handler", "hub", "protocols", "reactor", "server", "sim", "sys"],
        &[],
    ),
];

/// What `lib.rs` exports under a name without a folder.
const ROOT: &str = "the crate's root";

/// Crates that have a place, by how the paths start where they may be named.
const PLACES: [(&str, &[&str]); 4] = [
    ("mio", &["sys/os.rs", "sys/os/"]),
    // The conformance test holds real far ends next to simulated ones.
    ("socket2", &["sys/", "sim/conformance/"]),
    ("memchr", &["codec/"]),
    ("signal_hook", &["server/"]),
];

/// A word of a source file.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// A file as the scanner sees it.
struct Source {
    /// Below `src/` or the like: `hub/mod.rs`.
    path: String,
    tokens: Vec<Token>,
    /// By token: whether it is compiled for tests only.
    is_test: Vec<bool>,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let tokens = tokens(text);
        let is_test = tested(&tokens);
        Source { path: path.to_owned(), tokens, is_test }
    }

    /// `hub/mod.rs` is `[hub]`, and `hub/limits.rs` is `[hub, limits]`.
    fn module(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let stem = stem.trim_end_matches("/mod");
        if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
    }

    fn folder(&self) -> String {
        self.module().into_iter().next().unwrap_or_default()
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    fn at(&self, index: usize, what: impl std::fmt::Display) -> String {
        format!("src/{}:{}: {what}", self.path, self.tokens[index].line)
    }

    /// Modules that are in files of their own and compiled for tests only.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let is_declared = |&index: &usize| {
            self.is_test[index] && self.text(index) == "mod" && self.text(index + 2) == ";"
        };
        let name = |index: usize| [self.module(), vec![self.text(index + 1).to_owned()]].concat();
        (0..self.tokens.len()).filter(is_declared).map(name).collect()
    }

    /// Every folder that is named by a path, with the token that starts it.
    fn named_folders(&self) -> Vec<(usize, String)> {
        let mut named = Vec::new();
        let mut module = self.module();
        // For each brace that is open: whether it opened a module.
        let mut braces = Vec::new();
        for index in 0..self.tokens.len() {
            match self.text(index) {
                "{" => {
                    let is_module = index >= 2 && self.text(index - 2) == "mod";
                    if is_module {
                        module.push(self.text(index - 1).to_owned());
                    }
                    braces.push(is_module);
                }
                "}" if braces.pop() == Some(true) => {
                    module.pop();
                }
                "crate" if self.text(index + 1) == "::" => {
                    named.extend(self.heads(index + 2).into_iter().map(|head| (index, head)));
                }
                "super" if index < 2 || self.text(index - 2) != "super" => {
                    let (mut depth, mut end) = (module.len(), index);
                    while self.text(end) == "super" && self.text(end + 1) == "::" {
                        depth = depth.saturating_sub(1);
                        end += 2;
                    }
                    if depth == 0 && end > index {
                        named.extend(self.heads(end).into_iter().map(|head| (index, head)));
                    }
                }
                _ => {}
            }
        }
        named
    }

    /// The first words of what is named at a place: one, or those of a group.
    fn heads(&self, index: usize) -> Vec<String> {
        if self.text(index) != "{" {
            return vec![self.text(index).to_owned()];
        }
        let (mut heads, mut depth, mut is_head) = (Vec::new(), 0, true);
        for token in &self.tokens[index..] {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," if depth == 1 => is_head = true,
                text if depth == 1 && is_head => {
                    heads.push(text.to_owned());
                    is_head = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }
}

/// The words of a text, without comments, strings and lifetimes; `::` is one.
fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut index, mut line) = (0, 1);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    while index < bytes.len() {
        let rest = &bytes[index..];
        let len = match rest[0] {
            byte if byte.is_ascii_whitespace() => 1,
            b'/' if rest.starts_with(b"//") => find(rest, b"\n").unwrap_or(rest.len()),
            b'/' if rest.starts_with(b"/*") => comment(rest),
            b'"' => string(rest),
            b'r' | b'b' | b'c' if literal_prefix(rest).is_some() => literal_prefix(rest).unwrap(),
            b'\'' => quote(rest),
            byte => {
                let word = rest.iter().take_while(|&&byte| is_word(byte)).count();
                let len = if rest.starts_with(b"::") { 2 } else { word.max(1) };
                if !byte.is_ascii_digit() {
                    let text = String::from_utf8_lossy(&rest[..len]).into_owned();
                    tokens.push(Token { text, line });
                }
                len
            }
        };
        line += rest[..len].iter().filter(|&&byte| byte == b'\n').count();
        index += len;
    }
    tokens
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The length of a block comment, which may hold others.
fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < rest.len() {
        let (change, len) = match &rest[index..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        index += len;
        if depth == 0 {
            break;
        }
    }
    index
}

/// The length of a string with escapes.
fn string(rest: &[u8]) -> usize {
    let mut index = 1;
    while index < rest.len() && rest[index] != b'"' {
        index += if rest[index] == b'\\' { 2 } else { 1 };
    }
    (index + 1).min(rest.len())
}

/// The length of `r#"…"#`, `b"…"`, `b'…'` and the like, where one starts here.
fn literal_prefix(rest: &[u8]) -> Option<usize> {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let is_raw = rest[..letters].contains(&b'r');
    let hashes = rest[letters..].iter().take_while(|&&byte| byte == b'#').count();
    match rest.get(letters + hashes)? {
        b'"' if is_raw => {
            let end = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
            let start = letters + hashes + 1;
            Some(start + find(&rest[start..], &end)? + end.len())
        }
        b'"' if letters <= 2 && hashes == 0 => Some(letters + string(&rest[letters..])),
        b'\'' if letters == 1 && rest[0] == b'b' => Some(1 + quote(&rest[1..])),
        _ => None,
    }
}

/// The length of a character, or of the tick of a lifetime with its name.
fn quote(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return rest[3..].iter().position(|&byte| byte == b'\'').map_or(rest.len(), |at| at + 4);
    }
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]).into_owned();
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(char), Some('\'')) => 2 + char.len_utf8(),
        _ => 1 + rest[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count(),
    }
}

/// By token: whether it belongs to an item under `#[cfg(test)]`.
fn tested(tokens: &[Token]) -> Vec<bool> {
    let mut is_test = vec![false; tokens.len()];
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    for start in 0..tokens.len() {
        let is_attribute = text(start) == "#" && text(start + 1) == "[";
        if !is_attribute || text(start + 2) != "cfg" {
            continue;
        }
        let end = closing(tokens, start + 1);
        let mentions = |word: &str| tokens[start..end].iter().any(|token| token.text == word);
        if mentions("test") && !mentions("not") {
            let end = item_end(tokens, end + 1);
            is_test[start..end].fill(true);
        }
    }
    is_test
}

/// The index of what closes the bracket at `index`.
fn closing(tokens: &[Token], index: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(index) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// Behind the item that starts at `index`: its `;`, or the brace that closes its body.
fn item_end(tokens: &[Token], mut index: usize) -> usize {
    let is_use = tokens[index..].iter().take(6).any(|token| token.text == "use");
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            ";" => return index + 1,
            "{" if !is_use => return closing(tokens, index) + 1,
            "(" | "[" | "{" => index = closing(tokens, index),
            _ => {}
        }
        index += 1;
    }
    tokens.len()
}

/// All that is wrong, as `src/FILE:LINE: what`.
fn violations(sources: &[Source]) -> Vec<String> {
    let test_modules: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    let mut wrong = Vec::new();
    for source in sources {
        let module = source.module();
        let is_test = test_modules.iter().any(|test| module.starts_with(test));
        wrong.extend(upward(source, is_test));
        wrong.extend(misplaced(source));
    }
    wrong
}

/// Paths to folders that may not be named.
fn upward(source: &Source, is_test: bool) -> Vec<String> {
    let folder = source.folder();
    if folder.is_empty() {
        return Vec::new(); // lib.rs names all
    }
    let Some((_, allowed, allowed_in_tests)) = FLOORS.iter().find(|floor| floor.0 == folder) else {
        let wrong = source.path != "guide.rs" || !source.named_folders().is_empty();
        return wrong
            .then(|| format!("src/{}: {folder} is on no floor", source.path))
            .into_iter()
            .collect();
    };
    let folders: Vec<&str> = FLOORS.iter().map(|floor| floor.0).collect();
    let mut wrong = Vec::new();
    for (index, named) in source.named_folders() {
        let named = if folders.contains(&named.as_str()) { &*named } else { ROOT };
        let is_test = is_test || source.is_test[index];
        let may = named == folder
            || allowed.contains(&named)
            || (is_test && allowed_in_tests.contains(&named));
        if !may {
            wrong.push(source.at(index, format_args!("{folder} may not name {named}")));
        }
    }
    wrong
}

/// Words that have no business where they are.
fn misplaced(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        let word = token.text.as_str();
        let is_path =
            source.text(index + 1) == "::" && !(index > 0 && source.text(index - 1) == "::");
        let place = PLACES.iter().find(|(name, _)| *name == word && is_path);
        let is_misplaced = match word {
            "unsafe" => !source.path.starts_with("sys/"),
            "sleep" | "sleep_ms" | "sleep_until" => true,
            "mio" | "Instant" | "SystemTime" if source.path.starts_with("reactor/") => true,
            _ => place.is_some_and(|(_, places)| {
                !places.iter().any(|place| source.path.starts_with(place))
            }),
        };
        if is_misplaced {
            wrong.push(source.at(index, format_args!("{word} has no place here")));
        }
    }
    wrong
}

/// Every Rust file below a folder.
fn read(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push(Source::new(&below, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

#[test]
fn imports_point_down_and_everything_is_in_its_place() {
    let sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let paths: usize = sources.iter().map(|source| source.named_folders().len()).sum();
    assert!(sources.len() > 50 && paths > 100, "{} files, {paths} paths", sources.len());
    let wrong = violations(&sources);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_folder_is_on_a_floor_and_every_floor_has_a_folder() {
    let sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let is_inside = |source: &&Source| source.path.contains('/');
    let found: BTreeSet<String> = sources.iter().filter(is_inside).map(Source::folder).collect();
    let table: BTreeSet<String> = FLOORS.iter().map(|floor| floor.0.to_owned()).collect();
    assert_eq!(found, table);
}

#[test]
fn no_test_sleeps() {
    for mut source in read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")) {
        source.tokens.retain(|token| token.text.starts_with("sleep"));
        assert_eq!(misplaced(&source), [""; 0], "in tests/");
    }
}

// The scanner itself.

/// What is wrong in a file of this name and text.
fn wrong(path: &str, text: &str) -> Vec<String> {
    violations(&[Source::new(path, text)])
}

#[test]
fn a_path_that_points_up_is_found_with_its_line() {
    let found = wrong(
        "hub/mod.rs",
        "//! Fine.\n\nuse crate::base::time::Time;\nuse crate::reactor::Turn;\n",
    );
    assert_eq!(found, ["src/hub/mod.rs:4: hub may not name reactor"]);
}

#[test]
fn paths_are_found_in_every_form() {
    let up = "src/codec/line.rs:1: codec may not name hub";
    for text in [
        "use crate::{hub::Hub, codec::Lines};",
        "use crate::{codec::{Lines, Line}, hub};",
        "fn f() { crate::hub::shared() }",
        "use super::super::hub::Hub;",
        "use super::super::{hub, codec};",
        "mod inner { use super::super::super::hub::Hub; }",
        "pub(in crate::hub) fn f() {}",
        "#[cfg(not(test))] use crate::hub::Hub;",
        "const A: (char, &str) = ('\"', r#\"\"\"#); use crate::hub::Hub; // \"",
        "fn f<'a>(x: &'a str) -> char { '\\'' } use crate::hub::Hub;",
    ] {
        assert_eq!(wrong("codec/line.rs", text), [up], "{text}");
    }
}

#[test]
fn what_only_looks_like_a_path_up_is_let_through() {
    for text in [
        "use super::hub::Hub;", // a module of this folder
        "mod inner { use super::super::hub; }",
        "/// See [`Limits`](crate::hub::limits::Limits).\nfn f() {}",
        "/* use crate::hub::Hub; /* nested */ use crate::hub; */",
        "const TEXT: &str = \"use crate::hub::Hub;\";",
        "const TEXT: &[u8] = br#\"use \"crate::hub::Hub;\"#;",
        "use std::hub;",
    ] {
        assert_eq!(wrong("codec/line.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn tests_may_name_more_but_not_all() {
    assert_eq!(wrong("codec/line.rs", "#[cfg(test)]\nuse crate::base::rng::Rng;"), [""; 0]);
    assert_eq!(wrong("codec/line.rs", "#[cfg(test)] mod tests { use crate::base::Rng; }"), [""; 0]);
    let behind = "#[cfg(test)] mod tests { fn f() {} }\nuse crate::base::Rng;";
    assert_eq!(wrong("codec/line.rs", behind), ["src/codec/line.rs:2: codec may not name base"]);
    let inside = "#[cfg(test)] mod tests { use crate::hub::Hub; }";
    assert_eq!(wrong("codec/line.rs", inside), ["src/codec/line.rs:1: codec may not name hub"]);
}

#[test]
fn files_of_tests_are_known_by_their_declaration() {
    let using = "use crate::sim::World;\nuse crate::Counters;\nuse crate::server::Server;";
    let parent = Source::new("reactor/mod.rs", "#[cfg(test)]\nmod tests;\nmod read;");
    let tests = Source::new("reactor/tests/mod.rs", using);
    let read = Source::new("reactor/read.rs", using);
    let found = violations(&[parent, tests, read]);
    let expected = [
        "src/reactor/tests/mod.rs:3: reactor may not name server",
        "src/reactor/read.rs:1: reactor may not name sim",
        "src/reactor/read.rs:2: reactor may not name the crate's root",
        "src/reactor/read.rs:3: reactor may not name server",
    ];
    assert_eq!(found, expected);
}

#[test]
fn words_out_of_place_are_found() {
    let found = |path, text| wrong(path, text).len();
    assert_eq!(found("sys/os.rs", "use mio::Poll;"), 0);
    assert_eq!(found("sys/net.rs", "use mio::Poll;"), 1);
    assert_eq!(found("reactor/mod.rs", "fn f(mio: u32) {}"), 1);
    assert_eq!(found("sys/net.rs", "use socket2::Socket;"), 0);
    assert_eq!(found("hub/mod.rs", "use socket2::Socket;"), 1);
    assert_eq!(found("sys/raw.rs", "unsafe { f() }"), 0);
    assert_eq!(found("base/wheel.rs", "unsafe { f() }"), 1);
    assert_eq!(found("base/wheel.rs", "#![deny(unsafe_code)] // unsafe"), 0);
    assert_eq!(found("reactor/due.rs", "let now = Instant::now();"), 1);
    assert_eq!(found("sys/os.rs", "let now = Instant::now();"), 0);
    assert_eq!(found("sys/os.rs", "std::thread::sleep(span);"), 1);
    assert_eq!(found("attic/old.rs", ""), 1);
}
