//! Runs a short `codex` command and keeps what it says, bounded in time and bytes.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// What is kept of each output; Codex says under 2 KiB.
const SAID: u64 = 64 * 1024;

/// What a command said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It couldn't be started or waited for.
    #[error("`codex` can't be run: {0}")]
    Run(#[from] io::Error),
    /// It didn't end.
    #[error("`codex {what}` didn't end within {} s", patience.as_secs())]
    Slow {
        /// Its arguments.
        what: String,
        /// How long it had.
        patience: Duration,
    },
}

/// Runs it to its end; it is killed when it takes too long or the future is dropped.
pub(super) async fn run(mut command: Command, patience: Duration) -> Result<Said, CommandError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::try_join!(child.wait(), text(stdout), text(stderr)) };
    match timeout(patience, ended).await {
        Ok(ended) => ended.map(|(status, stdout, stderr)| Said { status, stdout, stderr }).map_err(CommandError::Run),
        Err(_) => Err(CommandError::Slow { what: arguments(&command), patience }),
    }
}

async fn text(output: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut output) = output {
        (&mut output).take(SAID).read_to_end(&mut bytes).await?;
        // The rest is read, too, so that the command isn't stopped by a full pipe.
        tokio::io::copy(&mut output, &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn arguments(command: &Command) -> String {
    let arguments: Vec<_> = command.as_std().get_args().map(|argument| argument.to_string_lossy()).collect();
    arguments.join(" ")
}

/// Why a `codex` that failed says it did: its last `Error:` with the cause, which stands before a backtrace, else its
/// last line. For a message: without colours and control characters, and not long.
pub(super) fn complaint(said: &str) -> String {
    let plain = anstream::adapter::strip_str(said).to_string();
    let lines: Vec<&str> = plain.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| line.starts_with("Error:") || line.starts_with("error:");
    let why = match lines.iter().rposition(is_error) {
        Some(error) => match lines[error..] {
            [error, "Caused by:", cause, ..] => format!("{error}: {cause}"),
            [error, ..] => error.to_owned(),
            [] => String::new(),
        },
        None => lines.last().copied().unwrap_or("nothing").to_owned(),
    };
    let why = why.trim_start_matches("Error:").trim_start_matches("error:").trim_start();
    why.chars().filter(|c| !c.is_control()).take(COMPLAINT).collect()
}

/// A complaint in characters at the most.
const COMPLAINT: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn both_outputs_and_the_status_are_kept() {
        let said = run(shell("echo out; echo err >&2; exit 3"), PATIENCE).await.unwrap();
        assert_eq!((said.stdout.as_str(), said.stderr.as_str(), said.status.code()), ("out\n", "err\n", Some(3)));
    }

    #[tokio::test]
    async fn an_endless_talker_is_cut_short_and_still_ends() {
        let said = run(shell("head -c 1000000 /dev/zero"), PATIENCE).await.unwrap();
        assert_eq!((said.stdout.len() as u64, said.status.code()), (SAID, Some(0)));
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_named() {
        let error = run(shell("sleep 60"), Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, CommandError::Slow { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = run(Command::new("/nonexistent/codex"), PATIENCE).await.unwrap_err();
        assert!(matches!(error, CommandError::Run(_)), "{error}");
    }

    #[test]
    fn what_codex_complains_of_is_told_from_its_noise() {
        let noise = "{\"timestampMs\":1}\nError: failed to connect to /s\n\nCaused by:\n    No such file (os error 2)\n\nStack backtrace:\n   0: <unknown>\n";
        assert_eq!(complaint(noise), "failed to connect to /s: No such file (os error 2)");
        let usage = "error: unrecognized subcommand 'daemon'\n\nUsage: codex [OPTIONS]\n";
        assert_eq!(complaint(usage), "unrecognized subcommand 'daemon'");
        assert_eq!(complaint("started\nno daemon here\n\n"), "no daemon here");
        assert_eq!(complaint("\n \n"), "nothing");
    }

    #[test]
    fn a_complaint_is_short_and_holds_no_escape_sequences() {
        assert_eq!(complaint("\u{1b}[31mError:\u{1b}[0m no\u{7} luck\nmore"), "no luck");
        assert_eq!(complaint(&"x".repeat(999)).len(), COMPLAINT);
    }
}
