//! `farhelm pair`: a fresh code from the running host, through its control socket; and the desk's part of the pairing,
//! which a starting host plays at its own terminal in the same way.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use clap::Args;
use farhelm_core::pairing::Ticket;
use farhelm_platform::secret_file;
use zeroize::Zeroizing;

use super::grant::{self, Named};
use super::host::settings::after_pairing;
use super::{Context, Exit, Failure};
use crate::host::control::{Client, Reply, Request};
use crate::terminal::qr::Code;
use crate::terminal::{ask, ceremony, invitation};

const EXAMPLES: &str = "Examples:
  farhelm pair
  farhelm pair --png ticket.png --minutes 10
  farhelm pair --yes --json
  farhelm pair --right viewer --folder . --until 8h";

/// How long the person at the desk may compare words.
const THINKING: Duration = Duration::from_secs(10 * 60);

/// The picture of a ticket that didn't fit the terminal, in the runtime directory.
const PICTURE: &str = "ticket.png";

/// Show a fresh code for a phone; `farhelm host` must be running
///
/// What isn't said of the phone's rights comes by itself: the phone that comes while none is paired is owner, any
/// other is operator, in the folder the host was started in and those Codex trusts, until it is removed; [devices] in
/// the host's config.toml may say another right and other folders. A phone that is paired already keeps what it has.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pair {
    /// Pair whoever comes first without asking; the code then ends after a minute
    #[arg(long)]
    pub(super) yes: bool,

    /// Also write the code as a picture that only you can read; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    pub(super) png: Option<PathBuf>,

    /// How long the code is good for [default: 5, or 1 with --yes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(super) minutes: Option<u64>,

    #[command(flatten)]
    pub(super) named: Named,
}

pub(super) async fn run(args: Pair, context: &Context) -> Result<(), Failure> {
    attend(&args, context.directories()?.runtime(), context).await
}

/// Shows a code, asks about the phone that comes, and says how it ended; then shows what holds for every phone. A
/// declined phone voids the code; the next one is shown at once, as long as somebody is there to look at it.
pub(super) async fn attend(args: &Pair, runtime: &Path, context: &Context) -> Result<(), Failure> {
    context.unless_stopped(pair(args, runtime, context)).await?;
    after_pairing(context).await;
    Ok(())
}

async fn pair(args: &Pair, runtime: &Path, context: &Context) -> Result<(), Failure> {
    if !args.yes && !ask::is_possible() {
        let missing = "there is no terminal at which a phone could be compared and let in";
        return Err(Failure::new(Exit::Usage, missing).next("run `farhelm pair` at a terminal, or pass --yes"));
    }
    loop {
        match Offer::make(args, runtime, context).await?.attend().await {
            Err(failure) if failure.code() == Exit::Declined && args.png.is_none() => {
                context.note("Declined. That code is void; here is another.\n");
            }
            ended => return ended,
        }
    }
}

type Question = Pin<Box<dyn Future<Output = Result<bool, ask::Error>> + Send>>;

/// One code on the screen, and the connection to the host that belongs to it.
struct Offer<'a> {
    args: &'a Pair,
    context: &'a Context,
    client: Client,
    picture: Picture,
    /// The phone that is being asked about.
    question: Option<Question>,
}

impl<'a> Offer<'a> {
    async fn make(args: &'a Pair, runtime: &Path, context: &'a Context) -> Result<Self, Failure> {
        let terms = args.named.terms()?;
        let mut client = Client::connect(runtime).await?;
        client.send(&Request::Pair { seconds: args.lifetime().as_secs(), yes: args.yes, terms }).await?;
        let picture = Picture(runtime.join(PICTURE));
        Ok(Self { args, context, client, picture, question: None })
    }

    async fn attend(mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                reply = self.client.next() => if self.heard(reply?)? { return Ok(()) },
                answer = pending(&mut self.question) => {
                    self.question = None;
                    // Nobody there, or nobody sure, is a no.
                    let yes = answer.unwrap_or(false);
                    self.client.send(&Request::Answer { yes }).await?;
                }
            }
        }
    }

    /// Takes what the host says; `true` once a phone is paired.
    fn heard(&mut self, reply: Reply) -> Result<bool, Failure> {
        match &reply {
            Reply::Ticket { text, .. } => self.show(text, &reply)?,
            Reply::Asks { name, words, grant } => {
                self.context.say(&reply, || format!("{}{}\n", ceremony::asks(name, words), grant::sentence(grant)))?;
                let question = async { ask::confirm("Do they agree, word for word?", THINKING).await };
                self.question = Some(Box::pin(question));
            }
            Reply::Paired { name, device, grant, opened } => {
                let paired = ceremony::paired(name, device);
                let (may, opened) = (grant::sentence(grant), grant::opened(opened));
                self.context.say(&reply, || format!("{paired}\n{may}{opened}"))?;
                return Ok(true);
            }
            Reply::SecondScan => self.context.say(&reply, || ceremony::SECOND_SCAN.into())?,
            Reply::WrongGate => self.context.say(&reply, || ceremony::WRONG_GATE.into())?,
            Reply::Declined => return Err(Failure::new(Exit::Declined, "the phone was declined; the code is void")),
            Reply::Expired => {
                return Err(Failure::new(Exit::Expired, "the code has expired, no phone came")
                    .next("show a fresh one with `farhelm pair`"));
            }
            Reply::Refused { message, why } => return Err(Failure::new((*why).into(), message)),
            _ => return Err(crate::host::control::ControlError::Language.into()),
        }
        Ok(false)
    }

    fn show(&self, text: &str, reply: &Reply) -> Result<(), Failure> {
        let text = Zeroizing::new(text.to_owned());
        if let Some(png) = &self.args.png {
            let code = Code::new(&text).map_err(|error| Failure::new(Exit::Failed, error))?;
            secret_file::create(png, &code.png())?;
        }
        if self.context.json() {
            return self.context.say(reply, String::new);
        }
        let ticket = Ticket::decode(&text).map_err(|error| Failure::new(Exit::BadTicket, error))?;
        let minutes = self.args.lifetime().as_secs() / 60;
        let drawn = invitation::draw(&ticket, minutes, &self.context.screen, &self.picture.0);
        let drawn = drawn.map_err(|error| Failure::new(Exit::State, error))?;
        self.context.say(reply, || drawn.text)
    }
}

impl Pair {
    /// Without a person to compare words, a code ends sooner.
    fn lifetime(&self) -> Duration {
        Duration::from_secs(60 * self.minutes.unwrap_or(if self.yes { 1 } else { 5 }))
    }
}

async fn pending(question: &mut Option<Question>) -> Result<bool, ask::Error> {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

/// A picture of a ticket that goes when the ticket does.
struct Picture(PathBuf);

impl Drop for Picture {
    fn drop(&mut self) {
        // Commonly it was never written.
        let _ = std::fs::remove_file(&self.0);
    }
}
