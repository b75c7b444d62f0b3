//! `farhelm doctor`: what is wrong here, and what to do about it. Looks, and changes nothing.

mod look;
mod machine;
mod network;
mod relays;
mod state;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{Context, Exit, Failure};
use crate::terminal::sanitize;

/// Look whether everything is in order here, and say what to do where it isn't
///
/// What is kept: who may read it, the settings, the key, who is paired, what waits for phones, and the record of what
/// they had done. The machine: Codex, and the clock. The network: which relays answer and give a place, what gets out
/// to them, and what kind of NAT stands in front. Nothing is changed. What a running host writes to is left out; stop it
/// to have that looked at, too. Relays are asked as a stranger, with a key made for it.
///
/// Ends with 19 if something that is kept is bad, with 13 if no relay answers, else with 0.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  farhelm doctor
  farhelm doctor --state --json
  farhelm doctor --network --relay /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq")]
pub(super) struct Doctor {
    /// Look at what is kept on this machine, and at nothing else unless that is named, too
    #[arg(long)]
    state: bool,
    /// Look at the network, and at nothing else unless that is named, too
    #[arg(long)]
    network: bool,
    /// A relay to ask, beside those that host and phone here know
    #[arg(long, value_name = "MULTIADDR")]
    relay: Vec<String>,
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
    /// For scripts.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
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
        Self { what: what.into(), found, says: says.into(), details: None }
    }

    fn with(self, details: Value) -> Self {
        Self { details: Some(details), ..self }
    }
}

pub(super) async fn run(args: Doctor, context: &Context) -> Result<(), Failure> {
    let Doctor { state, network, relay } = args;
    let all = !(state || network);
    let kept = context.directories()?.state().to_owned();
    // What everything else needs is looked at first, and said at once.
    let mut wrong = Wrong::default();
    if state || all && kept.exists() {
        wrong.state = say(&state::examine(context)?, context)?;
    }
    if all {
        wrong.state += say(&[machine::codex().await, machine::clock(&kept)], context)?;
    }
    if network || all {
        let relays = relays::known(context, &relay).await?;
        if !relays.is_empty() {
            context.note("Asking the relays; this takes a few seconds.");
        }
        let look = context.unless_stopped(look::look(&relays)).await?;
        wrong.network = say(&network::findings(&look), context)?;
    }
    wrong.judge()
}

/// How much is bad.
#[derive(Debug, Default)]
struct Wrong {
    state: usize,
    network: usize,
}

impl Wrong {
    fn judge(&self) -> Result<(), Failure> {
        let failure = match (self.state, self.network) {
            (0, 0) => return Ok(()),
            (0, _) => Failure::new(Exit::Unreachable, "no relay answers"),
            (wrong, _) => Failure::new(Exit::State, format_args!("{wrong} things are not in order")),
        };
        Err(failure.next("do what is said above, the first one first"))
    }
}

/// Says them; how many are bad.
fn say(findings: &[Finding], context: &Context) -> Result<usize, Failure> {
    findings.iter().try_for_each(|finding| context.say(finding, || line(finding)))?;
    Ok(findings.iter().filter(|finding| finding.found == Found::Bad).count())
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
