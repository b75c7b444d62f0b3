//! The house rules as tests: what stands on which floor, what may not be in the tree, what a file looks like.
//!
//! They read the sources, the lock file and `cargo tree`; none of them builds anything or needs the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node/ is in the repository").to_owned()
}

/// Every file below `folder`, without build output, the repository's own records and other hidden folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a directory entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match path.is_dir() {
            // In a second work tree `.git` is a file.
            _ if ["target", ".git", "node_modules", "__pycache__"].contains(&name.as_str()) => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that aren't comments, and their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Where one of `words` stands in the code, as `path:line: word`.
    fn naming(&self, words: &[&str]) -> Vec<String> {
        let found = self.code().filter_map(|(at, line)| {
            let word = words.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{at}: {word}", self.path))
        });
        found.collect()
    }
}

/// The Rust files below `folder` of the repository.
fn sources(folder: &str) -> Vec<Source> {
    let rust = files(&root().join(folder)).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a text");
        let path = path.strip_prefix(root()).expect("in the repository").to_string_lossy().replace('\\', "/");
        Source { path, text }
    };
    rust.map(read).collect()
}

/// Where one of `words` stands in code outside of the `allowed` folders and files. This file names them all.
fn named_outside(allowed: &[&str], words: &[&str]) -> Vec<String> {
    let outside = |source: &Source| {
        source.path != "tests/gates.rs" && !allowed.iter().any(|allowed| source.path.starts_with(allowed))
    };
    sources("").iter().filter(|source| outside(source)).flat_map(|source| source.naming(words)).collect()
}

/// The normal dependencies of a package when it is built alone, as `name feature,feature`.
fn tree(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p} {f}", "-p", package])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().map(|line| line.replace(" (*)", "")).collect()
}

/// The entries of a tree that are one of these crates.
fn within<'a>(tree: &'a [String], crates: &[&str]) -> Vec<&'a String> {
    tree.iter().filter(|line| crates.contains(&line.split(' ').next().unwrap_or_default())).collect()
}

#[test]
fn the_phone_library_carries_no_terminal_and_no_relay() {
    let tree = tree("farhelm-mobile");
    let unwanted = ["clap", "clap_builder", "ratatui", "crossterm", "farhelm", "farhelm-relay"];
    assert!(within(&tree, &["farhelm-phone"]).len() == 1, "the phone library stands on farhelm-phone");
    assert!(within(&tree, &unwanted).is_empty(), "{:?}", within(&tree, &unwanted));
    let uniffi = within(&tree, &["uniffi"]);
    let cli = |line: &&&String| line.split_whitespace().last().is_some_and(|f| f.split(',').any(|f| f == "cli"));
    assert!(!uniffi.is_empty() && !uniffi.iter().any(|line| cli(&line)), "{uniffi:?}");
}

#[test]
fn the_core_has_no_runtime_and_no_swarm() {
    let tree = tree("farhelm-core");
    let unwanted = ["tokio", "async-std", "smol", "futures-timer", "libp2p", "libp2p-swarm", "libp2p-core", "mio"];
    assert!(tree.len() > 10 && within(&tree, &unwanted).is_empty(), "{:?}", within(&tree, &unwanted));
}

#[test]
fn the_phone_stands_on_overlay_store_and_core_alone() {
    let ours: Vec<String> = tree("farhelm-phone").into_iter().filter(|line| line.starts_with("farhelm")).collect();
    // The store is where its journal stands: what was tapped outlives the app.
    let allowed = ["farhelm-phone", "farhelm-overlay", "farhelm-store", "farhelm-core"];
    let stray: Vec<_> = ours.iter().filter(|line| within(&[(*line).clone()], &allowed).is_empty()).collect();
    assert!(stray.is_empty(), "{stray:?}");
}

#[test]
fn only_wire_names_the_cbor_crate() {
    assert_eq!(named_outside(&["node/core/src/wire/"], &["serde_cbor"]), [""; 0]);
    let manifests = files(&root()).into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let naming = manifests.filter(|path| fs::read_to_string(path).expect("a text").contains("serde_cbor"));
    let mut naming: Vec<PathBuf> = naming.collect();
    naming.sort();
    assert_eq!(naming, [root().join("Cargo.toml"), root().join("node/core/Cargo.toml")]);
}

#[test]
fn only_overlay_and_relay_name_the_swarm() {
    let words = ["libp2p::swarm", "libp2p_swarm", "SwarmBuilder", "SwarmEvent", "NetworkBehaviour"];
    assert_eq!(named_outside(&["node/overlay/", "node/relay/"], &words), [""; 0]);
}

#[test]
fn only_the_program_names_its_terminal_crates() {
    let words = ["clap::", "clap_complete", "clap_mangen", "ratatui", "rpassword", "indicatif"];
    assert_eq!(named_outside(&["node/src/", "tests/", "examples/"], &words), [""; 0]);
}

#[test]
fn the_phone_opens_no_file_and_no_socket() {
    let words = [
        "std::fs",
        "tokio::fs",
        "tokio::net",
        "std::net::Tcp",
        "std::net::Udp",
        "std::os::unix::net",
        "tokio::process",
    ];
    let found = ["node/phone/src", "mobile-ffi/src"].into_iter().flat_map(sources);
    let found: Vec<String> = found.flat_map(|source| source.naming(&words)).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_core_reads_no_clock_and_starts_nothing() {
    let words = ["Instant::now", "SystemTime::now", "std::fs", "std::net::Tcp", "std::thread", "tokio::", "async fn"];
    // What is compiled for tests alone reads vectors, and has a time to begin with.
    let for_tests = |source: &Source| {
        let at_the_end = ["/tests.rs", "/model.rs", "/vectors.rs"].iter().any(|end| source.path.ends_with(end));
        at_the_end || source.path.contains("/tests/")
    };
    let core = sources("node/core/src").into_iter().filter(|source| !for_tests(source));
    let found: Vec<String> = core.flat_map(|source| source.naming(&words)).collect();
    assert_eq!(found, [""; 0]);
    let lib = fs::read_to_string(root().join("node/core/src/lib.rs")).expect("a text");
    assert!(lib.contains("#[cfg(test)]\nmod vectors;"), "vectors.rs reads files and is for tests alone");
}

#[test]
fn every_test_and_example_is_a_target() {
    let manifest = fs::read_to_string(root().join("node/Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    for (folder, kind) in [("tests", "test"), ("examples", "example")] {
        let targets = manifest.get(kind).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let paths: Vec<&str> = targets.iter().filter_map(|target| target.get("path")?.as_str()).collect();
        for entry in fs::read_dir(root().join(folder)).into_iter().flatten() {
            let name = entry.expect("a directory entry").file_name().to_string_lossy().into_owned();
            let path = format!("../{folder}/{name}");
            assert!(!name.ends_with(".rs") || paths.contains(&path.as_str()), "no target names {folder}/{name}");
        }
        for path in paths {
            assert!(root().join("node").join(path).exists(), "{path} is a target and isn't there");
        }
    }
}

#[test]
fn nothing_else_stands_at_the_front() {
    let allowed = ["Cargo.toml", "Cargo.lock", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];
    let folders = ["node", "mobile-ffi", "examples", "tests", "target"];
    for entry in fs::read_dir(root()).expect("the repository") {
        let entry = entry.expect("a directory entry");
        let (name, folder) = (entry.file_name().to_string_lossy().into_owned(), entry.path().is_dir());
        let known = if folder { folders.contains(&name.as_str()) } else { allowed.contains(&name.as_str()) };
        assert!(known || name.starts_with('.'), "{name} has no place at the top of the repository");
    }
}

#[test]
fn versions_with_advisories_that_concern_us_are_not_locked() {
    let locked = |name: &str| {
        let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
        let lock: toml::Table = lock.parse().expect("TOML");
        let packages = lock["package"].as_array().expect("packages").clone();
        let named = packages.into_iter().filter(move |package| package["name"].as_str() == Some(name));
        named.map(|package| version(package["version"].as_str().expect("a version"))).collect::<Vec<_>>()
    };
    let floors =
        [("libp2p-quic", "0.13.1"), ("yamux", "0.13.10"), ("quinn-proto", "0.11.15"), ("hickory-proto", "0.26.1")];
    for (name, floor) in floors {
        let found = locked(name);
        assert!(!found.is_empty() && found.iter().all(|v| *v >= version(floor)), "{name} {found:?} is below {floor}");
    }
    for unwanted in ["libp2p-gossipsub", "libp2p-rendezvous", "serde_cbor", "libp2p-stream"] {
        assert!(locked(unwanted).is_empty(), "{unwanted} is in the lock file");
    }
}

/// `1.2.3` as numbers; what follows a `-` or `+` counts for nothing.
fn version(text: &str) -> Vec<u64> {
    let bare = text.split(['-', '+']).next().unwrap_or_default();
    bare.split('.').map(|part| part.parse().expect("a number")).collect()
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources("").into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_eq!(silent.map(|source| source.path).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("allow(dead", "_code"),
    ];
    let found: Vec<String> = sources("").iter().flat_map(|source| source.naming(&words)).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn no_file_names_the_place_it_was_written_in() {
    let places = ["main", "wt", "shared", "brief", ".library"].map(|place| format!("/{}/{place}", "work"));
    let tools = ["bench", "studio", "duplicates"].map(|tool| format!("{}-{tool}", "farm"));
    for path in files(&root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let found = places.iter().chain(&tools).find(|word| text.contains(word.as_str()));
        assert!(found.is_none(), "{} names {found:?}", path.display());
    }
}

/// What stands in backticks in the last column of a table of `node/SECURITY.md`.
fn named_in_security() -> Vec<String> {
    let page = fs::read_to_string(root().join("node/SECURITY.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("shown by |"));
    let cells = rows.map(|row| row.trim_end_matches('|').rsplit('|').next().expect("a cell").to_owned());
    cells
        .flat_map(|cell| {
            let names: Vec<_> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            assert!(!names.is_empty(), "nothing shows {cell:?}");
            names
        })
        .collect()
}

/// The names of all tests: functions under an attribute that makes them one, and those of proptest.
fn tests() -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    for source in ["node", "mobile-ffi", "tests"].iter().flat_map(|folder| sources(folder)) {
        let mut is_test = false;
        for line in source.text.lines().map(str::trim) {
            match line {
                "#[test]" => is_test = true,
                _ if line.starts_with("#[tokio::test") => is_test = true,
                _ if line.starts_with("#[") || line.starts_with("//") => {}
                _ => {
                    let name = line.trim_start_matches("async ").strip_prefix("fn ").filter(|_| is_test);
                    found.extend(name.and_then(|rest| rest.split('(').next()).map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
    found
}

#[test]
fn every_row_of_the_threat_model_is_shown_by_tests_that_there_are() {
    let (named, tests) = (named_in_security(), tests());
    assert!(named.len() > 50, "{} names", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
