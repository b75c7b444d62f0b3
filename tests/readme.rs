//! The README keeps its order, and every command in it is one that a test or CI runs.

use std::fs;
use std::path::Path;

fn root(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of the shell blocks, without comments.
fn commands(readme: &str) -> Vec<String> {
    let blocks = readme.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// The words that name a `farhelm` command: `phone approve` of `farhelm phone approve --yes`.
fn name(command: &str) -> Vec<&str> {
    let words = command.split_whitespace().skip(1);
    words.take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase())).collect()
}

/// A suite's text: its file, and those in the folder of its name.
fn suite(name: &str) -> String {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name));
    let files = folder.into_iter().flatten().map(|entry| entry.expect("a folder of ours").path());
    let parts = files.filter_map(|path| fs::read_to_string(path).ok());
    root(&format!("tests/{name}.rs")) + &parts.collect::<String>()
}

#[test]
fn it_speaks_to_its_three_readers_in_their_order() {
    let readme = root("README.md");
    let order =
        ["See it work", "Pair my phone", "Run a relay", "How it works, and what a relay sees", "Limits", "Test"];
    let headings: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings, order);
    let limits = readme.split("## Limits").nth(1).expect("limits");
    assert!(limits.trim().starts_with("- Today's phone is a terminal or a library."), "the first limit");
}

#[test]
fn every_command_is_run_by_a_test_or_by_ci() {
    let ci = root(".ci/run");
    // Those that start the program itself, as a process.
    let processes: String = ["cli", "phone", "processes"].map(suite).concat();
    for command in commands(&root("README.md")) {
        let run = match command.split_whitespace().next() {
            Some("farhelm") => {
                let words = name(&command);
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                // The phone's own suite leaves the word `phone` out.
                let of_phone = quoted.split_first().filter(|(first, _)| **first == "\"phone\"").map(|(_, rest)| rest);
                let begins = |words: &[String]| processes.contains(&format!("[{}", words.join(", ")));
                processes.contains(&quoted.join(", ")) || of_phone.is_some_and(begins)
            }
            Some("cargo") => {
                let (plain, locked) = (command.as_str(), command.replacen(" --release", " --release --locked", 1));
                ci.contains(plain) || ci.contains(&locked)
            }
            _ => ci.contains(&command),
        };
        assert!(run, "nothing runs `{command}`");
    }
}

#[test]
fn what_it_links_to_is_there() {
    let readme = root("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        root(link);
    }
}
