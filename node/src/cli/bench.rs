//! `farhelm bench`: what is promised in numbers, measured here.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, Exit, Failure};
use crate::bench::connect;
use crate::bench::wire::{self, Measured};

/// Measure what Farhelm promises in numbers, on this machine
///
/// Everything runs in this process and on loopback: a scripted agent, a host and a phone. Nothing of yours is touched.
/// When a limit is missed, the command fails.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm bench wire\n  farhelm bench connect")]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Connect(Connect),
    Wire(Wire),
}

/// How soon a phone that was just started has its first thread list, in round trips of its path to the host
///
/// Over a relay and directly by a known address, on links with a known delay, beside what libp2p alone takes for a stream
/// and a byte there and back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm bench connect\n  farhelm bench connect --json")]
struct Connect {}

/// What an answer costs on its way to a phone, and how much later it is there
///
/// An agent writes 2,000 words as fast as it can, and 500 at 100 a second. Counted are the app-server's JSON, the
/// session's records and what TCP carried. The delay is from the app-server's word to the phone's screen.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm bench wire\n  farhelm bench wire --json")]
struct Wire {}

/// Measures, and fails if a limit is missed.
pub(super) async fn run(args: Bench, context: &Context) -> Result<(), Failure> {
    match args.what {
        What::Connect(Connect {}) => connect(context).await,
        What::Wire(Wire {}) => wire(context).await,
    }
}

/// What was said, and what was missed.
struct Said<'a> {
    context: &'a Context,
    said: Result<(), Failure>,
    missed: Vec<&'static str>,
}

impl<'a> Said<'a> {
    const fn new(context: &'a Context) -> Self {
        Self { context, said: Ok(()), missed: Vec::new() }
    }

    fn say(&mut self, name: &'static str, met: bool, event: &impl Serialize, text: impl FnOnce() -> String) {
        if !met {
            self.missed.push(name);
        }
        let this = self.context.say(event, text);
        self.said = std::mem::replace(&mut self.said, Ok(())).and(this);
    }

    fn judge(self) -> Result<(), Failure> {
        self.said?;
        if self.missed.is_empty() { Ok(()) } else { Err(too_much(&self.missed)) }
    }
}

async fn wire(context: &Context) -> Result<(), Failure> {
    let mut said = Said::new(context);
    let measured = wire::run(|measured| {
        said.say(measured.name, measured.is_thrifty() && measured.is_prompt(), &measured, || text(&measured));
    });
    let measured = async { measured.await.map_err(|error| Failure::new(Exit::Failed, error)) };
    context.unless_stopped(measured).await?;
    said.judge()
}

async fn connect(context: &Context) -> Result<(), Failure> {
    context.note("Starting a phone again and again, over links that take their time; this takes half a minute.");
    let mut said = Said::new(context);
    let measured = connect::run(connect::RUNS, |measured| {
        said.say(measured.name, measured.is_prompt(), &measured, || trips(&measured));
    });
    let measured = async { measured.await.map_err(|error| Failure::new(Exit::Failed, error)) };
    context.unless_stopped(measured).await?;
    said.judge()
}

fn trips(measured: &connect::Measured) -> String {
    let connect::Measured { name, round_trip_ms, list_ms, list, list_limit, bare, more, more_limit } = measured;
    format!(
        "{name}, {round_trip_ms:.0} ms there and back\n  first thread list   {list:.2} round trips (limit \
         {list_limit:.0}), {list_ms:.0} ms\n  libp2p alone        {bare:.2} round trips; {more:.2} fewer (limit \
         {more_limit:.1})"
    )
}

fn too_much(missed: &[&str]) -> Failure {
    let failure = Failure::new(Exit::Failed, format_args!("a limit was missed: {}", missed.join(", ")));
    failure.next("the limits are those of a release build on a machine that has time; try again with one")
}

fn text(measured: &Measured) -> String {
    let Measured { name, words, app_server_bytes, session_bytes, socket_bytes, a_record_each_bytes, .. } = measured;
    let Measured { ratio, ratio_limit, delay_p50_ms, delay_p99_ms, delay_limit_ms, .. } = measured;
    format!(
        "{words} words, {name}\n  the app-server's JSON   {app_server_bytes:>8} bytes\n  \
         the session's records   {session_bytes:>8} bytes, {ratio:.3} of it (limit {ratio_limit:.2})\n  \
         TCP to the phone        {socket_bytes:>8} bytes\n  \
         with a record a word    {a_record_each_bytes:>8} bytes\n  \
         added delay             p50 {delay_p50_ms:.1} ms, p99 {delay_p99_ms:.1} ms (limit {delay_limit_ms:.0} ms)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_stands_beside_its_limits() {
        let measured = Measured {
            name: "100 a second",
            words: 500,
            app_server_bytes: 120_000,
            session_bytes: 24_000,
            socket_bytes: 31_000,
            a_record_each_bytes: 110_000,
            ratio: 0.2,
            ratio_limit: 0.25,
            delay_p50_ms: 12.34,
            delay_p99_ms: 51.0,
            delay_limit_ms: 50.0,
        };
        assert!(measured.is_thrifty() && !measured.is_prompt());
        insta::assert_snapshot!(text(&measured), @"
        500 words, 100 a second
          the app-server's JSON     120000 bytes
          the session's records      24000 bytes, 0.200 of it (limit 0.25)
          TCP to the phone           31000 bytes
          with a record a word      110000 bytes
          added delay             p50 12.3 ms, p99 51.0 ms (limit 50 ms)
        ");
        assert_eq!(too_much(&["100 a second"]).code(), Exit::Failed);
    }
}
