//! Questions to the person at the terminal: yes or no, a line, and a secret that isn't echoed.
//!
//! All can be given up at any time: dropping the future ends the question and leaves the terminal as it was. Neither
//! asks where nobody can answer (no terminal, or a job in the background, which reading would stop with `SIGTTIN`).
//!
//! # Why what was typed before is thrown away
//! A `y` meant for something else, still waiting in the terminal's buffer, must not answer a question that appeared
//! after it. So the buffer is emptied before a question is shown.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, LocalModes, OptionalActions, QueueSelector, Termios};
use tokio::sync::oneshot;
use zeroize::{Zeroize, Zeroizing};

/// How often a waiting question looks whether it was given up.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// An answer's bytes at the most; a line of a terminal holds 4096.
const ANSWER: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard input isn't a terminal, or this process isn't in its foreground.
    #[error("there is no terminal to ask at")]
    NotATerminal,
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    TimedOut,
    /// The terminal was closed, or Ctrl-D pressed.
    #[error("the terminal was closed")]
    Closed,
    /// The terminal refused.
    #[error("can't ask at the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Whether a question would reach a person.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && is_foreground(&io::stdin())
}

/// Asks `question` on standard error and waits for `y` or `n`; Enter alone means no. The text must be safe to print
/// (see `terminal::sanitize`).
pub async fn confirm(question: &str, within: Duration) -> Result<bool, Error> {
    if !is_possible() {
        return Err(Error::NotATerminal);
    }
    on_a_thread(question.to_owned(), move |question, given_up| {
        confirm_at(&io::stdin(), &mut io::stderr(), question, within, given_up)
    })
    .await
}

/// Asks for a line. The prompt must be safe to print.
pub async fn line(prompt: &str, within: Duration) -> Result<Zeroizing<String>, Error> {
    if !is_possible() {
        return Err(Error::NotATerminal);
    }
    on_a_thread(prompt.to_owned(), move |prompt, given_up| {
        line_at(&io::stdin(), &mut io::stderr(), prompt, within, given_up).map(Zeroizing::new)
    })
    .await
}

/// Asks for a line that isn't echoed.
pub async fn hidden(prompt: &str) -> Result<Zeroizing<String>, Error> {
    if !is_possible() {
        return Err(Error::NotATerminal);
    }
    // Off before the prompt is shown: who sees it may paste at once. And the reading thread can't be stopped, so if
    // this is given up, it is we who turn the echo on again.
    let _modes = KeepModes::without_echo(io::stdin())?;
    on_a_thread(prompt.to_owned(), |prompt, _| match rpassword::prompt_password(prompt) {
        Ok(secret) => Ok(Zeroizing::new(secret)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::Closed),
        Err(error) => Err(error.into()),
    })
    .await
}

/// Runs a blocking question on a thread of its own, which the end of the program doesn't wait for.
async fn on_a_thread<T: Send + 'static>(
    text: String,
    question: impl FnOnce(&str, &AtomicBool) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let given_up = GivenUp(Arc::new(AtomicBool::new(false)));
    let flag = given_up.0.clone();
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new().name("question".into()).spawn(move || {
        // The asker may be gone; then nobody wants the answer.
        let _ = answer.send(question(&text, &flag));
    })?;
    answered.await.unwrap_or(Err(Error::Closed))
}

fn confirm_at(
    terminal: &impl AsFd,
    out: &mut impl Write,
    question: &str,
    within: Duration,
    given_up: &AtomicBool,
) -> Result<bool, Error> {
    let end = Instant::now() + within;
    termios::tcflush(terminal, QueueSelector::IFlush).map_err(io::Error::from)?;
    loop {
        write!(out, "{question} [y/N] ")?;
        out.flush()?;
        let mut line = read_line(terminal, end, given_up).inspect_err(|_| _ = writeln!(out))?;
        let answer = line.trim().to_ascii_lowercase();
        line.zeroize();
        match answer.as_str() {
            "y" | "yes" => return Ok(true),
            "" | "n" | "no" => return Ok(false),
            _ => writeln!(out, "Please answer y or n.")?,
        }
    }
}

fn line_at(
    terminal: &impl AsFd,
    out: &mut impl Write,
    prompt: &str,
    within: Duration,
    given_up: &AtomicBool,
) -> Result<String, Error> {
    termios::tcflush(terminal, QueueSelector::IFlush).map_err(io::Error::from)?;
    write!(out, "{prompt}")?;
    out.flush()?;
    read_line(terminal, Instant::now() + within, given_up).inspect_err(|_| _ = writeln!(out))
}

/// One line; the terminal itself collects it (canonical mode), so one read gives one.
fn read_line(terminal: &impl AsFd, end: Instant, given_up: &AtomicBool) -> Result<String, Error> {
    while !given_up.load(Ordering::Relaxed) {
        if Instant::now() >= end {
            return Err(Error::TimedOut);
        }
        let mut polled = [PollFd::new(terminal, PollFlags::IN)];
        match poll(&mut polled, Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let mut bytes = [0; ANSWER];
        match rustix::io::read(terminal, &mut bytes).map_err(io::Error::from)? {
            0 => return Err(Error::Closed),
            length => return Ok(String::from_utf8_lossy(&bytes[..length]).into_owned()),
        }
    }
    Err(Error::Closed)
}

fn is_foreground(terminal: &impl AsFd) -> bool {
    termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Tells the asking thread on drop that nobody waits any more.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts a terminal's modes back on drop.
struct KeepModes<T: AsFd> {
    terminal: T,
    modes: Termios,
}

impl<T: AsFd> KeepModes<T> {
    /// Turns the echo off until this is dropped.
    fn without_echo(terminal: T) -> io::Result<Self> {
        let modes = termios::tcgetattr(&terminal)?;
        let mut silent = modes.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, modes })
    }
}

impl<T: AsFd> Drop for KeepModes<T> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.modes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portable_pty::{MasterPty, PtySize, native_pty_system};
    use std::fs::File;

    /// A terminal and the person at it.
    struct Desk {
        _master: Box<dyn MasterPty + Send>,
        keyboard: Box<dyn Write + Send>,
        terminal: File,
    }

    impl Desk {
        fn new() -> Self {
            let pair = native_pty_system().openpty(PtySize::default()).unwrap();
            let path = pair.master.tty_name().unwrap();
            let terminal = File::options().read(true).write(true).open(path).unwrap();
            Self { keyboard: pair.master.take_writer().unwrap(), _master: pair.master, terminal }
        }

        /// Types `keys` once the question is on the screen.
        fn answer(&mut self, keys: &str) -> (Result<bool, Error>, String) {
            self.answer_within(keys, Duration::from_secs(20), &AtomicBool::new(false))
        }

        fn answer_within(
            &mut self,
            keys: &str,
            within: Duration,
            given_up: &AtomicBool,
        ) -> (Result<bool, Error>, String) {
            let mut out =
                Typist { keyboard: &mut self.keyboard, keys: keys.lines().map(str::to_owned).collect(), shown: vec![] };
            let answer = confirm_at(&self.terminal, &mut out, "Pair?", within, given_up);
            (answer, String::from_utf8(out.shown).unwrap())
        }
    }

    /// Collects what is shown, and types the next line whenever a question is complete (it is flushed).
    struct Typist<'a> {
        keyboard: &'a mut (dyn Write + Send),
        keys: std::collections::VecDeque<String>,
        shown: Vec<u8>,
    }

    impl Write for Typist<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.shown.extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.keys.pop_front().map_or(Ok(()), |line| writeln!(self.keyboard, "{line}"))
        }
    }

    #[test]
    fn only_an_explicit_yes_is_one() {
        for (keys, yes) in [("y\n", true), ("Yes\n", true), ("n\n", false), ("NO\n", false), ("\n", false)] {
            assert_eq!(Desk::new().answer(keys).0.unwrap(), yes, "{keys:?}");
        }
    }

    #[test]
    fn anything_else_is_asked_again() {
        let (answer, shown) = Desk::new().answer("maybe\ny\n");
        assert!(answer.unwrap());
        assert_eq!(shown, "Pair? [y/N] Please answer y or n.\nPair? [y/N] ");
    }

    #[test]
    fn what_was_typed_before_the_question_does_not_answer_it() {
        let mut desk = Desk::new();
        desk.keyboard.write_all(b"y\n").unwrap();
        // The line discipline has it once it is readable.
        poll(&mut [PollFd::new(&desk.terminal, PollFlags::IN)], Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap();
        assert!(!desk.answer("n\n").0.unwrap());
    }

    #[test]
    fn a_line_is_taken_as_it_was_typed() {
        let mut desk = Desk::new();
        let mut out = Typist { keyboard: &mut desk.keyboard, keys: ["two words".to_owned()].into(), shown: vec![] };
        let line = line_at(&desk.terminal, &mut out, "Why: ", Duration::from_secs(20), &AtomicBool::new(false));
        assert_eq!(line.unwrap(), "two words\n");
        assert_eq!(out.shown, b"Why: ");
    }

    #[test]
    fn nobody_answering_is_named() {
        let (answer, _) = Desk::new().answer_within("", Duration::from_millis(50), &AtomicBool::new(false));
        assert!(matches!(answer, Err(Error::TimedOut)));
    }

    #[test]
    fn a_question_that_was_given_up_ends() {
        let (answer, _) = Desk::new().answer_within("", Duration::from_secs(60), &AtomicBool::new(true));
        assert!(matches!(answer, Err(Error::Closed)));
    }

    #[test]
    fn the_end_of_input_is_no_answer() {
        let (answer, _) = Desk::new().answer("\u{4}");
        assert!(matches!(answer, Err(Error::Closed)));
    }

    #[test]
    fn the_echo_is_off_for_a_secret_and_on_again_after_it() {
        let desk = Desk::new();
        let echo = || termios::tcgetattr(&desk.terminal).unwrap().local_modes.contains(LocalModes::ECHO);
        assert!(echo());
        let silent = KeepModes::without_echo(desk.terminal.try_clone().unwrap()).unwrap();
        assert!(!echo());
        drop(silent);
        assert!(echo());
    }

    #[tokio::test]
    async fn without_a_terminal_nothing_is_asked() {
        if is_possible() {
            return; // A person runs the tests at a terminal; `tests/cli.rs` covers this without one.
        }
        assert!(matches!(confirm("Pair?", Duration::from_secs(1)).await, Err(Error::NotATerminal)));
        assert!(matches!(hidden("Ticket: ").await, Err(Error::NotATerminal)));
    }
}
