//! `farhelm doctor`: what is wrong here, and what to do about it. Looks, and changes nothing.

mod state;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;

use super::{Context, Exit, Failure};
use crate::terminal::sanitize;

/// Look whether everything that is kept here is in order, and say what to do where it isn't
///
/// That is: who may read it, the settings, the key, who is paired, what waits for phones, and the record of what they
/// had done. Nothing is changed. What a running host writes to is left out; stop it to have that looked at, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm doctor --state\n  farhelm doctor --state --json")]
pub(super) struct Doctor {
    /// Look at what is kept on this machine; the same as nothing for now
    #[arg(long)]
    state: bool,
}

/// Something that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What: a few words.
    what: String,
    /// How it is.
    found: Found,
    /// A sentence for people; where something is wrong it says what to do.
    says: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Found {
    /// In order.
    Ok,
    /// It isn't there, and needn't be.
    Absent,
    /// It works, and somebody should look at it.
    Odd,
    /// It can't be used, or must not be.
    Bad,
    /// Somebody else has it open, so it wasn't looked at.
    InUse,
}

impl Finding {
    fn new(what: impl Into<String>, found: Found, says: impl Into<String>) -> Self {
        Self { what: what.into(), found, says: says.into() }
    }
}

pub(super) fn run(args: &Doctor, context: &Context) -> Result<(), Failure> {
    // What is kept is all that it looks at so far.
    let Doctor { state: _ } = args;
    let findings = state::examine(context)?;
    findings.iter().try_for_each(|finding| context.say(finding, || line(finding)))?;
    match findings.iter().filter(|finding| finding.found == Found::Bad).count() {
        0 => Ok(()),
        wrong => {
            let failure = Failure::new(Exit::State, format_args!("{wrong} of {} are not in order", findings.len()));
            Err(failure.next("do what is said above, the first one first"))
        }
    }
}

fn line(finding: &Finding) -> String {
    let (word, colour) = match finding.found {
        Found::Ok => ("ok", AnsiColor::Green),
        Found::Absent => ("none", AnsiColor::BrightBlack),
        Found::Odd => ("look", AnsiColor::Yellow),
        Found::Bad => ("bad", AnsiColor::Red),
        Found::InUse => ("in use", AnsiColor::BrightBlack),
    };
    let style: Style = colour.on_default();
    let [what, says] = [&finding.what, &finding.says].map(|text| sanitize::line(text));
    format!("{style}{word:>6}{style:#}  {what}: {says}")
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    #[test]
    fn a_finding_is_a_line_whatever_it_says() {
        let finding = Finding::new("devices", Found::Bad, "one\nis \u{1b}[31mbad");
        assert_eq!(strip_str(&line(&finding)).to_string(), "   bad  devices: one␊is ␛[31mbad");
    }
}
