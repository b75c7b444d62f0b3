//! A pattern over commands, as a host's owner writes it: `rm -rf *`, `git push*`, `*prod*`.
//!
//! # What a pattern matches, exactly
//! `*` is any text, also none and also over spaces; `?` is one character; everything else is itself, case counts, and a
//! run of spaces is one. A pattern matches a command if it matches whole words that stand one after another in one of
//! the command's *readings*, anywhere. The first of them may have a folder in front: `rm *` matches `/bin/rm x`.
//!
//! | reading | of `sudo bash -lc "cd /; 'r'm -rf x"` |
//! |---|---|
//! | the text as it is | `sudo bash -lc "cd /; 'r'm -rf x"` |
//! | each simple command, cut at ; & \| ( ) { } ` < > and line ends, without quotes and backslashes | `sudo bash -lc cd /; 'r'm -rf x` |
//! | the same of every word that could be a command line itself, and of that again | `cd /`, `rm -rf x` |
//!
//! So quotes, a shell around it and a program that starts another (`sudo`, `env`, `xargs`) don't hide a word. What is
//! nested too deep to be read matches every pattern. Readings are generous: `echo "rm -rf x"` is matched by
//! `rm -rf *`, too, which costs a person a walk to the desk.
//!
//! # What it can't see
//! Anything but the text: variables (`$X`), aliases, shell globs (`/bin/r?`) and brace lists (`{rm,-rf}`), other forms of
//! the same (`rm -r -f`), what a script, `make` or an interpreter does, what is decoded at run time. A pattern holds
//! up a slip, and a model that goes the usual way; the sandbox and the person who looks are what holds up the rest.

use std::fmt;

/// The longest pattern, in bytes.
const LONGEST: usize = 256;
/// How deep a command line inside of a command line is read.
const DEEPEST: usize = 8;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// What stands at the beginning of a word, and what after a folder.
    globs: [Vec<char>; 2],
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It would match nothing, or everything by mistake.
    #[error("a pattern is empty; write a command, or \"*\" for every command")]
    Empty,
    /// Longer than the limit of 256 bytes.
    #[error("a pattern is longer than {LONGEST} bytes; shorten it with *")]
    TooLong,
    /// It is shown on a line.
    #[error("a pattern holds a control character; write it on one line, with spaces")]
    Control,
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, Unfit> {
        if text.len() > LONGEST {
            return Err(Unfit::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(Unfit::Control);
        }
        let text = joined(text.split_whitespace());
        if text.is_empty() {
            return Err(Unfit::Empty);
        }
        let globs = ["* ", "*/"].map(|before| format!("{before}{text} *").chars().collect());
        Ok(Self { text, globs })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches this command, which has been read.
    pub fn matches(&self, command: &Readings) -> bool {
        let found = |reading: &Vec<char>| self.globs.iter().any(|glob| is_match(glob, reading));
        command.too_deep || command.readings.iter().any(found)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A command in all its readings.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    readings: Vec<Vec<char>>,
    too_deep: bool,
}

impl Readings {
    /// Reads a command line. The work is bounded by its length times [`DEEPEST`].
    pub fn of(command: &str) -> Self {
        let mut all = Self::default();
        all.add(command.split_whitespace());
        all.read(command, 0);
        all
    }

    fn read(&mut self, line: &str, depth: usize) {
        if depth > DEEPEST {
            self.too_deep = true;
            return;
        }
        for words in simple_commands(line) {
            // A space inside of a word is one between words here: it is matched rather than missed.
            self.add(words.iter().flat_map(|word| word.split_whitespace()));
            let inner = words.iter().filter(|word| *word != line && word.contains(is_special));
            inner.for_each(|word| self.read(word, depth + 1));
        }
    }

    fn add<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let reading = joined(words);
        if !reading.is_empty() {
            self.readings.push(format!(" {reading} ").chars().collect());
        }
    }
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// What makes a word worth reading as a command line.
fn is_special(c: char) -> bool {
    c.is_whitespace() || is_cut(c) || matches!(c, '\'' | '"' | '\\')
}

/// What ends a simple command.
const fn is_cut(c: char) -> bool {
    matches!(c, ';' | '&' | '|' | '(' | ')' | '{' | '}' | '`' | '\n' | '\r' | '<' | '>')
}

/// The simple commands of a line, each as its words without quotes. A quote that isn't closed ends with the line.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut cut = Cutter::default();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (cut.quote, c) {
            (Some(quote), c) if c == quote => cut.quote = None,
            (Some('\''), c) => cut.push(c),
            // A line that goes on behind a backslash is one line.
            (_, '\\') => rest.next().filter(|next| *next != '\n').into_iter().for_each(|next| cut.push(next)),
            (Some(_), c) => cut.push(c),
            (None, '\'' | '"') => (cut.quote, cut.is_word) = (Some(c), true),
            // $'…' and $"…" are quotes as well.
            (None, '$') if matches!(rest.peek(), Some('\'' | '"')) => {}
            (None, c) if is_cut(c) => cut.end_command(),
            (None, c) if c.is_whitespace() => cut.end_word(),
            (None, c) => cut.push(c),
        }
    }
    cut.end_command();
    cut.commands
}

#[derive(Default)]
struct Cutter {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    /// Whether a word has begun, if only with a quote.
    is_word: bool,
    quote: Option<char>,
}

impl Cutter {
    fn push(&mut self, c: char) {
        self.word.push(c);
        self.is_word = true;
    }

    fn end_word(&mut self) {
        if std::mem::take(&mut self.is_word) {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

/// Whether a glob matches a whole text. It goes back to the last `*` only, so it takes their lengths multiplied at worst.
fn is_match(glob: &[char], text: &[char]) -> bool {
    let (mut g, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (g, t) = (g + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (g, t) = (at + 1, from + 1);
            }
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, command: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(&Readings::of(command))
    }

    #[test]
    fn quoting_a_shell_around_it_and_a_program_that_starts_it_hide_nothing() {
        for command in [
            "rm -rf /",
            "rm   -rf\t/",
            "/bin/rm -rf /",
            "'rm' -rf /",
            "r'm' \"-rf\" /",
            "r\\m -rf /",
            "r\\\nm -rf /",
            "$'rm' -rf /",
            "''rm -rf /",
            "/bin/bash -lc 'rm -rf /'",
            "bash -lc \"rm -rf /\"",
            "bash -lc 'bash -c \"r'\"'\"'m'\"'\"' -rf /\"'",
            "bash -lc 'cd /x && rm -rf y'",
            "true;rm -rf x",
            "true|rm -rf x",
            "true&rm -rf x",
            "true\nrm -rf x",
            "(rm -rf x)",
            "{ rm -rf x; }",
            "echo $(rm -rf x)",
            "echo \"$(rm -rf x)\"",
            "echo \"`rm -rf x`\"",
            "X=1 rm -rf x",
            "sudo -u root rm -rf x",
            "env -i A=b nohup rm -rf x",
            "find . -exec rm -rf {} ;",
            "eval 'rm -rf x'",
            "rm>log -rf x",
            "'rm -rf x",
        ] {
            // A redirection in between is where the text stops being one command.
            let pattern = if command.contains('>') { "rm" } else { "rm -rf*" };
            assert!(matches(pattern, command), "{command}");
        }
    }

    #[test]
    fn other_commands_are_left_alone() {
        for (pattern, command) in [
            ("rm -rf *", "rm x"),
            ("rm", "rmdir x"),
            ("rm", "bash -lc 'farm x'"),
            ("rm *", "RM x"),
            ("git push", "git pull"),
            ("git push", "git status; echo push"),
            ("?", "ab"),
            ("terraform apply*", "bash -lc 'terraform plan'"),
        ] {
            assert!(!matches(pattern, command), "{pattern}: {command}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_words_anywhere() {
        for (pattern, command) in [
            ("*", "anything"),
            ("git push", "git push --force"),
            ("git push*--force*", "bash -lc 'git push origin --force-with-lease'"),
            ("*prod*", "deploy --to=production"),
            ("rm /etc/*", "/bin/rm /etc/passwd"),
            ("r?", "rm x"),
            ("git  push", "git push"),
            ("ä*", "bash -c 'ärger'"),
        ] {
            assert!(matches(pattern, command), "{pattern}: {command}");
        }
    }

    #[test]
    fn what_it_cannot_see_is_known() {
        for command in
            ["rm -r -f x", "$X -rf x", "{rm,-rf,x}", "/bin/r? -rf x", "sh x.sh", "echo cm0gLXJm|base64 -d|sh"]
        {
            assert!(!matches("rm -rf*", command), "{command}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_to_be_read_matches() {
        let nested = (0..DEEPEST + 2).fold("ls".to_owned(), |inner, _| {
            format!("sh -c \"{}\"", inner.replace('\\', "\\\\").replace('"', "\\\""))
        });
        assert!(matches("rm", &nested));
        assert!(!matches("rm", "sh -c \"sh -c 'ls'\""));
    }

    #[test]
    fn a_text_that_is_no_pattern_is_refused() {
        assert_eq!(Pattern::new(" "), Err(Unfit::Empty));
        assert_eq!(Pattern::new("rm\n"), Err(Unfit::Control));
        assert_eq!(Pattern::new(&"x".repeat(LONGEST + 1)), Err(Unfit::TooLong));
        assert_eq!(Pattern::new(" git   push ").unwrap().as_str(), "git push");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm_and_matched_by_everything(command in ".{0,200}", pattern in "[a-z*? ]{0,20}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let _ = pattern.matches(&Readings::of(&command));
            }
            let readings = Readings::of(&command);
            prop_assert_eq!(Pattern::new("*").unwrap().matches(&readings), !command.trim().is_empty());
        }

        #[test]
        fn a_command_in_single_quotes_behind_a_shell_is_still_matched(word in "[a-z]{1,8}", rest in "[a-z /.-]{0,20}") {
            let inner = format!("{word} {rest}");
            prop_assert!(matches(&word, &format!("bash -lc '{inner}'")), "{}", inner);
            let inner = format!("bash -c \"{inner}\"");
            prop_assert!(matches(&word, &format!("bash -lc '{inner}'")), "{}", inner);
        }
    }
}
