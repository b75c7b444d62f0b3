//! `farhelm demo`: the whole way from a tap through a relay to an agent and back, told in the terminal.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use farhelm_core::codex::decision::Decision;

use super::{Context, Exit, Failure};
use crate::demo::story::{self, Step};
use crate::demo::world::{self, Behind, World};
use crate::terminal::qr::Code;
use crate::terminal::screen::Screen;
use crate::terminal::{approval, sanitize};

/// A demo that isn't done by then is broken; it usually takes two seconds, with the real Codex five.
const LIMIT: Duration = Duration::from_secs(60);

const STEP: Style = AnsiColor::Cyan.on_default().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();

/// Watch it work: a relay, a host and a phone find each other, pair, and steer an agent
///
/// Three libp2p nodes run in this process and talk over loopback, with real handshakes and circuits. The agent is a
/// scripted one, or your own `codex` against a scripted model: no account, no cost, no network. Nothing of yours is
/// touched, and nothing is left behind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm demo\n  farhelm demo --codex")]
pub(super) struct Demo {
    /// Put the real `codex` on PATH behind the host, in a CODEX_HOME of its own
    #[arg(long)]
    codex: bool,
}

/// Tells the story; whatever happens, the world is cleaned up.
pub(super) async fn run(args: Demo, context: &Context) -> Result<(), Failure> {
    let (behind, agent) =
        if args.codex { (Behind::Codex(None), "Codex") } else { (Behind::Script, "a scripted agent") };
    let world = World::start(behind).await.map_err(|error| failure(&error))?;
    let mut teller = Teller { context, steps: 0, said: Ok(()) };
    let told = context.unless_stopped(async {
        let mut tell = |step| teller.tell(&step);
        match tokio::time::timeout(LIMIT, story::run(&world, agent, &mut tell)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(story::Error::World(error))) => Err(failure(&error)),
            Ok(Err(error)) => Err(Failure::new(Exit::Failed, error)),
            Err(_) => Err(Failure::new(Exit::Failed, format!("the demo isn't done after {} s", LIMIT.as_secs()))),
        }
    });
    let told = told.await;
    let cleaned = world.shutdown().await.map_err(|error| failure(&error));
    told.and(teller.said).and(cleaned)
}

fn failure(error: &world::Error) -> Failure {
    let code = match error {
        world::Error::Codex(_) => Exit::CodexAway,
        _ => Exit::Failed,
    };
    Failure::new(code, error)
}

struct Teller<'a> {
    context: &'a Context,
    steps: u32,
    /// The first failure to write, which the story doesn't stop for.
    said: Result<(), Failure>,
}

impl Teller<'_> {
    fn tell(&mut self, step: &Step) {
        let heading = heading(step);
        self.steps += u32::from(heading.is_some());
        let number = self.steps;
        let title = heading.map(|text| format!("\n{STEP}{number:>2}  {text}{STEP:#}\n")).unwrap_or_default();
        let screen = &self.context.screen;
        let said = self.context.say(step, || format!("{title}{}", body(step, screen)));
        if self.said.is_ok() {
            self.said = said;
        }
    }
}

/// What a step is called; those without a heading belong to the one before.
const fn heading(step: &Step) -> Option<&'static str> {
    Some(match step {
        Step::Relay { .. } => "A relay, as anyone can run one",
        Step::Host { .. } => "A host, with an agent behind it and a reservation on the relay",
        Step::Ticket { .. } => "The desk shows a code, the phone reads it",
        Step::Words { .. } => "Desk and phone show the same words, so nobody is in between",
        Step::Path { direct: true, .. } => "A direct path was found, and the session moved to it",
        Step::Path { direct: false, .. } => "The session runs",
        Step::Said { .. } => "The phone says",
        Step::Approval { .. } => "The agent stops and asks; this is on the phone",
        Step::Answer { .. } => "The agent goes on",
        Step::Done { .. } => "Done",
        Step::Paired { .. } | Step::Decided { .. } => return None,
    })
}

fn body(step: &Step, screen: &Screen) -> String {
    match step {
        Step::Relay { address } => format!("    {DIM}{address}{DIM:#}"),
        Step::Host { id, agent } => format!("    {DIM}{id}{DIM:#}\n    {}", sanitize::line(agent)),
        Step::Ticket { ticket, address } => {
            let drawn = Code::new(&ticket.encode()).and_then(|code| code.draw(screen));
            let code = drawn.unwrap_or_else(|error| format!("    {DIM}(not drawn: {error}){DIM:#}\n"));
            format!("\n{code}\n    {DIM}it leads to {address}{DIM:#}")
        }
        Step::Words { words } => format!("    {}", words.join(" ")),
        Step::Paired { host } => format!("    {GOOD}paired with {}{GOOD:#}", sanitize::line(host)),
        Step::Path { path, round_trip_ms, .. } => {
            let round_trip = round_trip_ms.map(|ms| format!(", round trip {ms:.1} ms")).unwrap_or_default();
            format!("    {path}{round_trip}")
        }
        Step::Said { prompt } => format!("    “{}”", sanitize::line(prompt)),
        Step::Approval { approval: asked } => format!("\n{}", approval::show(asked, screen.size.columns)),
        Step::Decided { decision } => {
            let word = if *decision == Decision::Accept { "accepted" } else { "declined" };
            format!("    {GOOD}{word} on the phone, signed over what was shown{GOOD:#}")
        }
        Step::Answer { text } => {
            sanitize::block(text).lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
        }
        Step::Done { sent, received, seconds } => format!(
            "    {sent} bytes up, {received} bytes down, {seconds:.1} s. Nothing is left behind.\n    Next: \
             {GOOD}farhelm host{GOOD:#} on the machine with your Codex."
        ),
    }
}
