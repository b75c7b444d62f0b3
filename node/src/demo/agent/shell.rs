//! What the scripted agent does in place of running a command.
//!
//! It runs nothing. `echo`, `true`, `false`, `exit N` and `touch FILE`, joined by `&&` or `;`, are acted out, files
//! only below the scratch folder; any other command answers that the scripted agent runs none, with status 127.

use std::io;
use std::path::Path;

use super::files::{Files, absolute, needs_approval};

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What it printed.
    pub(crate) output: String,
    /// Its exit status.
    pub(crate) status: i32,
    /// The sandbox refused something. Codex then emits no item at all; only the model hears of it.
    pub(crate) denied: bool,
}

impl Outcome {
    /// What Codex tells the model.
    pub(crate) fn report(&self) -> String {
        let tokens = self.output.len().div_ceil(4);
        format!(
            "Chunk ID: 000000\nWall time: 0.0000 seconds\nProcess exited with code {}\nOriginal token count: {tokens}\n\
             Output:\n{}",
            self.status, self.output
        )
    }
}

/// Acts out `line` in `folder`.
pub(crate) fn run(line: &str, folder: &Path, sandboxed: bool, files: &mut dyn Files) -> Outcome {
    let mut outcome = Outcome { output: String::new(), status: 0, denied: false };
    for sequence in line.split(';') {
        for command in sequence.split("&&") {
            let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
            if let ["exit", rest @ ..] = &words[..] {
                outcome.status = rest.first().and_then(|n| n.parse().ok()).unwrap_or(outcome.status);
                return outcome;
            }
            outcome.step(&words, folder, sandboxed, files);
            if outcome.status != 0 {
                break;
            }
        }
    }
    outcome
}

impl Outcome {
    fn step(&mut self, words: &[&str], folder: &Path, sandboxed: bool, files: &mut dyn Files) {
        self.status = match words {
            [] | ["true"] => 0,
            ["false"] => 1,
            ["echo", rest @ ..] => {
                self.output += &format!("{}\n", rest.join(" "));
                0
            }
            ["touch", name] => self.touch(name, folder, sandboxed, files),
            [name, ..] => {
                self.output += &format!("{name}: the scripted agent runs no commands\n");
                127
            }
        };
    }

    fn touch(&mut self, name: &str, folder: &Path, sandboxed: bool, files: &mut dyn Files) -> i32 {
        let path = absolute(folder, name);
        if sandboxed && needs_approval(folder, &path) {
            self.denied = true;
            self.output += &format!("touch: cannot touch '{name}': Read-only file system\n");
            return 1;
        }
        let touched = match files.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.write(&path, ""),
            other => other.map(drop),
        };
        match touched {
            Ok(()) => 0,
            Err(error) => {
                self.output += &format!("touch: cannot touch '{name}': {error}\n");
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Scratch;
    use super::*;

    fn acted(line: &str, sandboxed: bool) -> (tempfile::TempDir, Outcome) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("canonical");
        std::fs::create_dir(path.join("w")).expect("created");
        let mut files = Scratch::new(&path).expect("opened");
        let outcome = run(line, &path.join("w"), sandboxed, &mut files);
        (folder, outcome)
    }

    #[test]
    fn a_touched_file_is_there() {
        let (folder, outcome) = acted("touch a.txt && echo 'made it'", true);
        assert!(folder.path().join("w/a.txt").exists());
        assert_eq!(outcome, Outcome { output: "made it\n".into(), status: 0, denied: false });
    }

    #[test]
    fn the_sandbox_denies_what_is_outside() {
        let (folder, outcome) = acted("touch ../a.txt && echo no", true);
        assert!(outcome.denied && outcome.status == 1 && !outcome.output.contains("no\n"));
        assert!(!folder.path().join("a.txt").exists());
        let (folder, outcome) = acted("touch ../a.txt", false);
        assert!(!outcome.denied && folder.path().join("a.txt").exists());
    }

    #[test]
    fn nothing_else_is_run() {
        let (_folder, outcome) = acted("false; rm -rf x; exit 3; echo no", false);
        assert_eq!((outcome.output.as_str(), outcome.status), ("rm: the scripted agent runs no commands\n", 3));
        assert_eq!(acted("ls", false).1.status, 127);
    }
}
