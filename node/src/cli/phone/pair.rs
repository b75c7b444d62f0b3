//! `farhelm phone pair`: reads a ticket, shows the four words, waits for the desk.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Context, Failure, open};
use crate::terminal::{ceremony, ticket};

/// How long the desk may think; it asks its person for at most ten minutes.
const DESK: Duration = Duration::from_secs(10 * 60 + 30);

/// How long the host may take to say where else it can be reached; what didn't fit the picture travels here.
const ABOUT: Duration = Duration::from_secs(5);

/// Pair with the host that shows a code
///
/// Asks for the code's text and doesn't show it. The code holds a secret, so it isn't taken as an argument, where
/// other users of this machine could read it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone pair\n  farhelm phone pair screenshot.png\n  farhelm phone pair - < ticket.txt"
)]
pub(super) struct Pair {
    /// A photograph or screenshot of the code, or `-` for its text on standard input
    #[arg(value_name = "PICTURE | -")]
    picture: Option<PathBuf>,

    /// What the host calls this phone [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) async fn run(args: Pair, context: &Context) -> Result<(), Failure> {
    let ticket = context.unless_stopped(async { Ok(ticket::read(args.picture.as_deref()).await?) }).await?;
    let client = open(context, args.name.as_deref()).await?;
    let paired = context
        .unless_stopped(async {
            let pairing = client.pair_with(ticket).await?;
            let (host, name, words) = (pairing.host().to_string(), pairing.name().to_owned(), pairing.words());
            let event = json!({"is": "words", "host": host, "name": name, "words": words});
            context.say(&event, || ceremony::shows(&name, &words))?;
            context.note("Waiting for the desk …");
            let paired = pairing.finish(DESK).await?;
            let event = json!({"is": "paired", "host": host, "name": paired.name});
            context.say(&event, || ceremony::paired(&paired.name, &host))?;
            let mut about = paired.host.about();
            let _ = tokio::time::timeout(ABOUT, about.wait_for(Option::is_some)).await;
            Ok(())
        })
        .await;
    client.shutdown().await;
    paired
}
