//! How the program ends: one exit code a reason, and what is said about it.
//!
//! The codes are an interface: scripts branch on them. They never change meaning; new reasons get new numbers.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::terminal::sanitize;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NEXT: Style = AnsiColor::Cyan.on_default();

/// Why the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped as asked.
    Done = 0,
    /// Failed for a reason without a code of its own.
    Failed = 1,
    /// The command line isn't one.
    Usage = 2,
    /// The desk said no.
    Declined = 10,
    /// The ticket is too old.
    Expired = 11,
    /// Somebody used the ticket before.
    Spent = 12,
    /// No path to the host.
    Unreachable = 13,
    /// No ticket, or a damaged one.
    BadTicket = 14,
    /// There is nothing of that name here.
    NotFound = 15,
    /// The host doesn't allow it to this device.
    Refused = 16,
    /// Codex isn't there.
    CodexAway = 17,
    /// It was sent, and the link broke before the answer.
    OutcomeUnknown = 18,
    /// The state directory or a file in it can't be used.
    State = 19,
    /// An address or port can't be listened on.
    Listen = 20,
    /// A settings file doesn't say what it may.
    Config = 21,
    /// Ended by Ctrl-C or SIGTERM before it was done.
    Interrupted = 130,
}

impl Exit {
    /// Every reason, in the order of the numbers.
    pub const ALL: [Self; 16] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Declined,
        Self::Expired,
        Self::Spent,
        Self::Unreachable,
        Self::BadTicket,
        Self::NotFound,
        Self::Refused,
        Self::CodexAway,
        Self::OutcomeUnknown,
        Self::State,
        Self::Listen,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for the help.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; or a host or relay that was stopped with Ctrl-C or SIGTERM",
            Self::Failed => "failed; the message says why",
            Self::Usage => "the command line was not understood",
            Self::Declined => "declined at the desk",
            Self::Expired => "the code has expired, by the host's clock",
            Self::Spent => "the code was used already",
            Self::Unreachable => "the host could not be reached",
            Self::BadTicket => "no code, or one that can't be read",
            Self::NotFound => "no such host, thread, approval or device",
            Self::Refused => "the host does not allow this to this device",
            Self::CodexAway => "Codex is not running or not installed",
            Self::OutcomeUnknown => "sent, but the link broke before the answer: it may have happened",
            Self::State => "the state directory can't be used, or another farhelm holds it",
            Self::Listen => "a port or address could not be listened on",
            Self::Config => "the host's settings file can't be used; the message says which line",
            Self::Interrupted => "interrupted before it was done",
        }
    }

    /// All codes as a table, for the long help and the man page.
    pub fn table() -> String {
        let rows = Self::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A command's failure: what a script reads (the code) and what a person reads (the rest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: Exit,
    message: String,
    next_step: Option<String>,
    quiet: bool,
}

impl Failure {
    /// A failure whose message either says what to do next or is given [`Failure::next`].
    pub fn new(code: Exit, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), next_step: None, quiet: false }
    }

    /// Adds what the person can do now.
    pub fn next(mut self, step: impl fmt::Display) -> Self {
        self.next_step = Some(step.to_string());
        self
    }

    /// Standard output took no more. When its reader has left (`farhelm … | head`), that is not worth a word.
    pub(super) fn of_output(error: &io::Error) -> Self {
        let failure = Self::new(Exit::Failed, format_args!("can't write to standard output: {error}"));
        Self { quiet: error.kind() == io::ErrorKind::BrokenPipe, ..failure.next("make room, or write elsewhere") }
    }

    /// The exit code.
    pub const fn code(&self) -> Exit {
        self.code
    }

    /// Says it: as JSON on standard output, or in words on standard error. Text from elsewhere is made safe.
    pub(super) fn report(&self, json: bool) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        if json {
            return writeln!(io::stdout(), "{}", self.to_json());
        }
        write!(anstream::stderr(), "{}", self.styled())
    }

    fn styled(&self) -> String {
        let message = sanitize::block(&self.message);
        let next = self.next_step.iter().map(|step| format!("  {NEXT}→{NEXT:#} {}\n", sanitize::block(step)));
        format!("{ERROR}error:{ERROR:#} {message}\n{}", next.collect::<String>())
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": {
            "code": self.code.code(),
            "name": self.code,
            "message": self.message,
            "next": self.next_step,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<farhelm_platform::directories::Error> for Failure {
    fn from(error: farhelm_platform::directories::Error) -> Self {
        Self::new(Exit::State, error)
    }
}

impl From<farhelm_platform::secret_file::Error> for Failure {
    fn from(error: farhelm_platform::secret_file::Error) -> Self {
        Self::new(Exit::State, error)
    }
}

impl From<farhelm_platform::lock::Error> for Failure {
    fn from(error: farhelm_platform::lock::Error) -> Self {
        Self::new(Exit::State, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_these_for_ever() {
        insta::assert_snapshot!(Exit::table(), @"
        Exit codes:
            0  done; or a host or relay that was stopped with Ctrl-C or SIGTERM
            1  failed; the message says why
            2  the command line was not understood
           10  declined at the desk
           11  the code has expired, by the host's clock
           12  the code was used already
           13  the host could not be reached
           14  no code, or one that can't be read
           15  no such host, thread, approval or device
           16  the host does not allow this to this device
           17  Codex is not running or not installed
           18  sent, but the link broke before the answer: it may have happened
           19  the state directory can't be used, or another farhelm holds it
           20  a port or address could not be listened on
           21  the host's settings file can't be used; the message says which line
          130  interrupted before it was done
        ");
    }

    #[test]
    fn a_failure_ends_with_what_to_do() {
        let failure = Failure::new(Exit::NotFound, "no host is called desk").next("farhelm phone hosts");
        let plain = anstream::adapter::strip_str(&failure.styled()).to_string();
        assert_eq!(plain, "error: no host is called desk\n  → farhelm phone hosts\n");
    }

    #[test]
    fn a_peers_words_cannot_drive_the_terminal() {
        let failure = Failure::new(Exit::Failed, "host says \x1b]0;x\x07").next("\x1b[2J");
        let plain = anstream::adapter::strip_str(&failure.styled()).to_string();
        assert_eq!(plain, "error: host says ␛]0;x␇\n  → ␛[2J\n");
    }

    #[test]
    fn for_scripts_a_failure_is_one_object() {
        let failure = Failure::new(Exit::Spent, "used").next("scan a new one");
        let json = r#"{"error":{"code":12,"message":"used","name":"spent","next":"scan a new one"}}"#;
        assert_eq!(failure.to_json().to_string(), json);
    }
}
