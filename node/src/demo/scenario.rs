//! The keywords in a prompt, and what they make the scripted model and the scripted agent do.
//!
//! The first keyword in the text decides; parameters are `key=value` words anywhere in it.
//!
//! | keyword | parameters (default) | what happens |
//! |---|---|---|
//! | `EXEC` | `cmd=`rest of the line (`echo hello-from-exec`) | a command inside the sandbox, then a closing text |
//! | `ESCALATE` | `cmd=`rest of the line | a command that asks to leave the sandbox: always needs an approval |
//! | `PATCH` | `file=` (`hello.txt`) | adds a file of two lines, then a closing text |
//! | `PATCHUPD` | `file=`, `from=` (`hello`), `to=` (`goodbye`) | replaces one line of a file |
//! | `SLOW` | `secs=` (20), `every=` milliseconds (250) | an answer with one word each `every` milliseconds |
//! | `LONG` | `n=` (2000), `size=` (12), `delay=` milliseconds (0) | an answer of `n` pieces of `size` bytes |
//! | `ASK` | | a question to the person, which the real Codex asks in plan mode only; the scripted agent asks none |
//! | `CALL` | `tool=`, `args=`rest of the line, JSON | a tool of Codex's such as `view_image`, or `mcp__server/tool`; the scripted agent has none |
//! | `FAIL` | `code=` an HTTP status or `context` (500) | the model fails |
//! | none | | an answer that repeats the prompt |
//!
//! Numbers are capped, so that a prompt can't ask for an endless answer.

use std::time::Duration;

use serde_json::Value;

/// What a prompt asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scenario {
    /// Repeat the prompt.
    Answer,
    /// Run a command.
    Command {
        /// The command line, for a shell.
        command: String,
        /// Ask to run it outside the sandbox.
        escalate: bool,
    },
    /// Add a file with [`ADDED`] as its content.
    AddFile {
        /// Its name, relative to the thread's folder or absolute.
        file: String,
    },
    /// Replace one line of a file.
    UpdateFile {
        /// Its name, relative to the thread's folder or absolute.
        file: String,
        /// The line as it is.
        from: String,
        /// The line as it shall be.
        to: String,
    },
    /// Answer slowly, to have time for steering and interrupting.
    Slow {
        /// Words in the answer.
        ticks: u64,
        /// Pause before each word.
        every: Duration,
    },
    /// Answer at length.
    Long {
        /// Pieces in the answer.
        deltas: u64,
        /// Bytes of each piece.
        size: usize,
        /// Pause before each piece.
        delay: Duration,
    },
    /// Ask the person something.
    Ask,
    /// Call a tool of Codex's.
    Call {
        /// Its name; that of an MCP server's stands behind its namespace and a slash.
        tool: String,
        /// What it is called with.
        arguments: Value,
    },
    /// Fail.
    Fail(Failure),
}

/// How the model fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// With this HTTP status.
    Status(u16),
    /// Saying that the prompt doesn't fit.
    ContextWindow,
}

/// One piece of a streamed answer and the pause before it.
pub type Delta = (Duration, String);

/// The content of a file that [`Scenario::AddFile`] adds.
pub const ADDED: &str = "hello\nfrom the scripted model\n";

impl Scenario {
    /// Reads the prompt.
    pub fn of(prompt: &str) -> Self {
        match prompt.split(|c: char| !is_word(c)).find(|word| KEYWORDS.contains(word)) {
            Some("EXEC") => Self::command(prompt, false),
            Some("ESCALATE") => Self::command(prompt, true),
            Some("PATCH") => Self::AddFile { file: file(prompt) },
            Some("PATCHUPD") => Self::UpdateFile {
                file: file(prompt),
                from: word(prompt, "from").unwrap_or("hello").into(),
                to: word(prompt, "to").unwrap_or("goodbye").into(),
            },
            Some("SLOW") => Self::slow(prompt),
            Some("LONG") => Self::Long {
                deltas: number(prompt, "n", 2000, 100_000),
                size: number(prompt, "size", 12, 8192) as usize,
                delay: Duration::from_millis(number(prompt, "delay", 0, 1000)),
            },
            Some("ASK") => Self::Ask,
            Some("CALL") => Self::Call {
                tool: word(prompt, "tool").unwrap_or_default().into(),
                arguments: rest_of_line(prompt, "args").and_then(|args| args.parse().ok()).unwrap_or_default(),
            },
            Some("FAIL") => Self::Fail(match word(prompt, "code") {
                Some("context") => Failure::ContextWindow,
                code => {
                    Failure::Status(code.and_then(|c| c.parse().ok()).filter(|c| (400..600).contains(c)).unwrap_or(500))
                }
            }),
            _ => Self::Answer,
        }
    }

    /// The keyword that stands for it, for the closing text after a tool has run.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Answer => "",
            Self::Command { escalate: false, .. } => "EXEC",
            Self::Command { escalate: true, .. } => "ESCALATE",
            Self::AddFile { .. } => "PATCH",
            Self::UpdateFile { .. } => "PATCHUPD",
            Self::Slow { .. } => "SLOW",
            Self::Long { .. } => "LONG",
            Self::Ask => "ASK",
            Self::Call { .. } => "CALL",
            Self::Fail(_) => "FAIL",
        }
    }

    /// The answer to `prompt` in the pieces in which it is streamed; empty where no text comes first.
    pub fn deltas(&self, prompt: &str) -> Vec<Delta> {
        match *self {
            Self::Answer => words(&format!("Scripted answer to: {}", clip(prompt, 300))),
            Self::Ask => words("There is nobody to ask here."),
            Self::Call { .. } => words("There is no such tool here."),
            Self::Slow { ticks, every } => (0..ticks).map(|i| (every, format!("tick{i} "))).collect(),
            Self::Long { deltas, size, delay } => (0..deltas).map(|i| (delay, piece(i, size))).collect(),
            _ => Vec::new(),
        }
    }

    /// The text that closes a turn in which a tool ran and reported `output`.
    pub fn closing(&self, output: &str) -> Vec<Delta> {
        words(&format!("Done {}. Tool said: {}", self.keyword(), clip(output, 400)))
    }

    fn command(prompt: &str, escalate: bool) -> Self {
        let command = rest_of_line(prompt, "cmd").unwrap_or("echo hello-from-exec");
        Self::Command { command: command.into(), escalate }
    }

    fn slow(prompt: &str) -> Self {
        let every = number(prompt, "every", 250, 60_000).max(1);
        let ticks = number(prompt, "secs", 20, 3600) * 1000 / every;
        Self::Slow { ticks: ticks.min(100_000), every: Duration::from_millis(every) }
    }
}

/// The patch, in the form the model sends, that adds `file`.
pub fn add_patch(file: &str) -> String {
    let lines: String = ADDED.lines().map(|line| format!("+{line}\n")).collect();
    format!("*** Begin Patch\n*** Add File: {file}\n{lines}*** End Patch\n")
}

/// The patch, in the form the model sends, that replaces the line `from` of `file`.
pub fn update_patch(file: &str, from: &str, to: &str) -> String {
    format!("*** Begin Patch\n*** Update File: {file}\n@@\n-{from}\n+{to}\n*** End Patch\n")
}

fn file(prompt: &str) -> String {
    word(prompt, "file").unwrap_or("hello.txt").into()
}

fn word<'a>(prompt: &'a str, key: &str) -> Option<&'a str> {
    after(prompt, key)?.split_whitespace().next()
}

fn rest_of_line<'a>(prompt: &'a str, key: &str) -> Option<&'a str> {
    after(prompt, key)?.lines().next().map(str::trim)
}

fn number(prompt: &str, key: &str, default: u64, most: u64) -> u64 {
    word(prompt, key).and_then(|n| n.parse().ok()).unwrap_or(default).min(most)
}

/// What follows `key=`, where `key` is a word of its own.
fn after<'a>(prompt: &'a str, key: &str) -> Option<&'a str> {
    prompt.match_indices(key).find_map(|(at, _)| {
        let starts_word = !prompt[..at].chars().next_back().is_some_and(is_word);
        prompt[at + key.len()..].strip_prefix('=').filter(|_| starts_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits after each run of white space, as a model's tokens roughly do.
fn words(text: &str) -> Vec<Delta> {
    let mut pieces: Vec<Delta> = Vec::new();
    let mut ended = true;
    for c in text.chars() {
        if ended && !c.is_whitespace() {
            pieces.push((Duration::ZERO, String::new()));
        }
        ended = c.is_whitespace();
        if let Some((_, piece)) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

fn piece(index: u64, size: usize) -> String {
    let mut piece = format!("{index:06} ");
    piece.truncate(size);
    piece.extend(std::iter::repeat_n('x', size.saturating_sub(piece.len())));
    piece
}

fn clip(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

const KEYWORDS: [&str; 9] = ["EXEC", "ESCALATE", "PATCHUPD", "PATCH", "SLOW", "LONG", "ASK", "CALL", "FAIL"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keyword_decides() {
        let scenario = Scenario::of("please PATCH file=a.txt and then EXEC cmd=ls");
        assert_eq!(scenario, Scenario::AddFile { file: "a.txt".into() });
        assert_eq!(Scenario::of("DISPATCH an EXECUTOR"), Scenario::Answer);
    }

    #[test]
    fn a_command_reaches_to_the_end_of_its_line() {
        let scenario = Scenario::of("ESCALATE xcmd=no cmd=touch a && echo b\nand more");
        assert_eq!(scenario, Scenario::Command { command: "touch a && echo b".into(), escalate: true });
    }

    #[test]
    fn numbers_are_capped() {
        let Scenario::Slow { ticks, every } = Scenario::of("SLOW secs=99999999999 every=0") else { panic!("not slow") };
        assert!(ticks <= 100_000 && every > Duration::ZERO);
    }

    #[test]
    fn a_failure_is_a_status_or_the_context_window() {
        assert_eq!(Scenario::of("FAIL code=429"), Scenario::Fail(Failure::Status(429)));
        assert_eq!(Scenario::of("FAIL code=200"), Scenario::Fail(Failure::Status(500)));
        assert_eq!(Scenario::of("FAIL code=context"), Scenario::Fail(Failure::ContextWindow));
    }

    #[test]
    fn the_pieces_of_an_answer_are_the_answer() {
        let text: String = Scenario::Answer.deltas("ä  b\nc ").into_iter().map(|(_, piece)| piece).collect();
        assert_eq!(text, "Scripted answer to: ä  b\nc ");
        let long = Scenario::of("LONG n=3 size=9").deltas("");
        assert_eq!(
            long.iter().map(|(_, piece)| piece.as_str()).collect::<Vec<_>>(),
            ["000000 xx", "000001 xx", "000002 xx"]
        );
    }

    #[test]
    fn a_patch_names_its_file_and_lines() {
        assert_eq!(
            add_patch("a"),
            "*** Begin Patch\n*** Add File: a\n+hello\n+from the scripted model\n*** End Patch\n"
        );
        assert!(update_patch("a", "x", "y").contains("@@\n-x\n+y\n"));
    }
}
