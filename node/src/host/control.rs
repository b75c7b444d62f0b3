//! The socket through which `farhelm pair`, `devices` and `host relays` reach a running host: JSON, one value a line.
//!
//! The socket is 0600 in a directory that is the user's alone; whoever can open it could read the host's key as well.
//! A connection carries one request. `pair` keeps it open: the client is the offer's desk, and its end withdraws it.

mod rows;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farhelm_core::policy::{Grant, Terms};
use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;

use super::desk::{Consent, Desk, Event};
use super::devices::now_ms;
use super::settings::{self, Setting};
use super::{Error, Host};

pub use rows::{DeviceRow, FrozenRow, FrozenWhy, GrantRow, NodeIdText, OpenedRow, RelayRow, Why};

/// The socket's name in the runtime directory.
pub const SOCKET: &str = "control.sock";

/// The longest line: a reply that lists a hundred devices is under a tenth of it.
const LINE: usize = 256 * 1024;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events a pairing client may lag behind.
const EVENTS: usize = 16;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// A fresh ticket, for so long; asked here, or let in without asking.
    Pair {
        /// Seconds until it expires.
        seconds: u64,
        /// Without asking.
        yes: bool,
        /// What is named of what the phone gets.
        terms: Terms,
    },
    /// The answer to [`Reply::Asks`].
    Answer {
        /// Whether the words agree.
        yes: bool,
    },
    /// The paired devices, or one of them.
    Devices {
        /// Its name, or the beginning or end of its id.
        who: Option<String>,
    },
    /// Call a device by another name.
    Rename {
        /// Its name, or the beginning or end of its id.
        who: String,
        /// What it shall be called.
        name: String,
    },
    /// Change what a device may do.
    Grant {
        /// Its name, or the beginning or end of its id.
        who: String,
        /// What changes.
        terms: Terms,
    },
    /// Remove a device.
    Revoke {
        /// Its name, or the beginning or end of its id.
        who: String,
    },
    /// Let no phone in, and have nothing done for any.
    Freeze,
    /// Let them in again.
    Thaw,
    /// Whether the host is frozen.
    Frozen,
    /// The settings, from the file as it is now.
    Settings,
    /// Change a setting.
    Set {
        /// Its name.
        name: String,
        /// What it shall be; `None` takes it out of the file.
        value: Option<String>,
    },
    /// The remembered relays.
    Relays,
    /// Remember a relay.
    AddRelay {
        /// Its multiaddr.
        address: String,
    },
    /// Forget a relay.
    RemoveRelay {
        /// Its multiaddr.
        address: String,
    },
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// The ticket to show. It holds a secret.
    Ticket {
        /// For a QR in the terminal.
        text: String,
        /// The host's addresses, to print beside it.
        addresses: Vec<String>,
        /// Unix seconds.
        expires_at: u64,
    },
    /// A phone wants in.
    Asks {
        /// Its name, not sanitized.
        name: String,
        /// The words it shows.
        words: [String; 4],
        /// What it will get.
        grant: GrantRow,
    },
    /// It is in.
    Paired {
        /// Its name, not sanitized.
        name: String,
        /// Its key.
        device: NodeIdText,
        /// What it got.
        grant: GrantRow,
        /// Folders that were opened for it.
        opened: Vec<OpenedRow>,
    },
    /// The no is stored and the ticket void.
    Declined,
    /// Nobody came in time.
    Expired,
    /// Somebody else tried the ticket after it was used.
    SecondScan,
    /// Somebody tried the ticket's id without its secret.
    WrongGate,
    /// The devices.
    Devices {
        /// In the order of their pairing.
        devices: Vec<DeviceRow>,
    },
    /// It has another name.
    Renamed {
        /// Which one, as it is now.
        device: DeviceRow,
    },
    /// What it may do is changed.
    Granted {
        /// Which one, as it is now.
        device: DeviceRow,
        /// Folders that were opened for it.
        opened: Vec<OpenedRow>,
        /// Whether none of the paired devices is owner now.
        ownerless: bool,
    },
    /// It is removed, and its sessions are cut.
    Revoked {
        /// Which one it was.
        device: DeviceRow,
        /// Whether none of the paired devices is owner now.
        ownerless: bool,
    },
    /// Whether the host is frozen.
    Frozen {
        /// How, if it is.
        frozen: Option<FrozenRow>,
        /// Whether it wasn't before.
        changed: bool,
    },
    /// It isn't frozen (any more).
    Thawed {
        /// How it was, if it was.
        was: Option<FrozenRow>,
    },
    /// The settings.
    Settings {
        /// All of them.
        settings: Vec<settings::Row>,
    },
    /// The relays.
    Relays {
        /// As remembered.
        relays: Vec<RelayRow>,
    },
    /// Done; whether something changed.
    Done {
        /// `false` if it was so before.
        changed: bool,
    },
    /// It can't be done.
    Refused {
        /// Why and what to do, in a sentence or two.
        message: String,
        /// For programs.
        why: Why,
    },
}

type Lines = Framed<UnixStream, LinesCodec>;

fn lines(stream: UnixStream) -> Lines {
    Framed::new(stream, LinesCodec::new_with_max_length(LINE))
}

/// Why a client and a host don't understand each other.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No host runs with this state directory.
    #[error("no host is running here; start it with `farhelm host`")]
    NotRunning,
    /// The connection broke.
    #[error("the host went away: {0}")]
    Io(#[from] io::Error),
    /// A line that isn't one.
    #[error("the host speaks another version; restart it")]
    Language,
}

impl From<LinesCodecError> for ControlError {
    fn from(error: LinesCodecError) -> Self {
        match error {
            LinesCodecError::MaxLineLengthExceeded => Self::Language,
            LinesCodecError::Io(error) => Self::Io(error),
        }
    }
}

/// A client's connection.
pub struct Client(Lines);

impl Client {
    /// Connects to the host whose runtime directory this is.
    pub async fn connect(runtime: &Path) -> Result<Self, ControlError> {
        let path: PathBuf = runtime.join(SOCKET);
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Self(lines(stream))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Err(ControlError::NotRunning)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a request, or the answer to a question.
    pub async fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        let line = serde_json::to_string(request).map_err(|_| ControlError::Language)?;
        Ok(self.0.send(line).await?)
    }

    /// The next reply; an error when the host ends the connection.
    pub async fn next(&mut self) -> Result<Reply, ControlError> {
        let line = self.0.next().await.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))??;
        serde_json::from_str(&line).map_err(|_| ControlError::Language)
    }

    /// Asks and takes the one reply.
    pub async fn ask(mut self, request: &Request) -> Result<Reply, ControlError> {
        self.send(request).await?;
        self.next().await
    }
}

/// Serves clients until `stop`.
pub async fn serve(host: Host, listener: UnixListener, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (host, stop) = (host.clone(), stop.clone());
                tokio::spawn(async move {
                    if let Some(Err(error)) = stop.run_until_cancelled(client(host, lines(stream))).await {
                        tracing::debug!(%error, "a control client left");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "can't take a control client");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn client(host: Host, mut lines: Lines) -> Result<(), ControlError> {
    let line = tokio::time::timeout(PATIENCE, lines.next()).await.map_err(|_| ControlError::Language)?;
    let Some(line) = line.transpose()? else { return Ok(()) };
    let Ok(request) = serde_json::from_str(&line) else {
        let message = "the host doesn't know this request; restart it with the version of this program".into();
        return say(&mut lines, &Reply::Refused { message, why: Why::Failed }).await;
    };
    if let Request::Pair { seconds, yes, terms } = request {
        return pair(&host, lines, Duration::from_secs(seconds.clamp(1, 3600)), yes, terms).await;
    }
    let reply = answer(&host, request).await.unwrap_or_else(|error| refused(&error));
    say(&mut lines, &reply).await
}

async fn say(lines: &mut Lines, reply: &Reply) -> Result<(), ControlError> {
    let line = serde_json::to_string(reply).map_err(|_| ControlError::Language)?;
    Ok(lines.send(line).await?)
}

fn refused(error: &Error) -> Reply {
    Reply::Refused { message: error.to_string(), why: error.into() }
}

async fn answer(host: &Host, request: Request) -> Result<Reply, Error> {
    Ok(match request {
        Request::Devices { who } => {
            let devices = match who {
                Some(who) => vec![host.devices().find(&who)?],
                None => host.devices().list()?,
            };
            let contested = host.contested().borrow().clone();
            let row = |device: &farhelm_store::Device| DeviceRow {
                contested_ms: contested.get(&device.key).copied(),
                ..DeviceRow::at(device, now_ms())
            };
            Reply::Devices { devices: devices.iter().map(row).collect() }
        }
        Request::Rename { who, name } => {
            Reply::Renamed { device: DeviceRow::at(&host.rename(&who, &name).await?, now_ms()) }
        }
        Request::Grant { who, terms } => {
            let book = host.devices();
            let device = host.regrant(book.find(&who)?.key, terms).await?.ok_or_else(|| book.unknown(&who))?;
            let opened = opened(host, &device.grant).await;
            Reply::Granted { device: DeviceRow::at(&device, now_ms()), opened, ownerless: book.is_ownerless()? }
        }
        Request::Revoke { who } => {
            let device = host.devices().find(&who)?;
            host.revoke(device.key).await?;
            Reply::Revoked { device: DeviceRow::at(&device, now_ms()), ownerless: host.devices().is_ownerless()? }
        }
        Request::Freeze => {
            let changed = host.freeze().await?;
            Reply::Frozen { frozen: frozen(host)?, changed }
        }
        Request::Thaw => {
            let was = host.thaw().await?;
            Reply::Thawed { was: was.map(|was| Ok::<_, Error>(FrozenRow::of(&was, &rows(host)?))).transpose()? }
        }
        Request::Frozen => Reply::Frozen { frozen: frozen(host)?, changed: false },
        Request::Settings => {
            host.settings().reload()?;
            Reply::Settings { settings: host.setting_rows() }
        }
        Request::Set { name, value } => Reply::Done { changed: set(host, &name, value.as_deref()).await? },
        Request::Relays => Reply::Relays { relays: relays(host)? },
        Request::AddRelay { address } => Reply::Done { changed: host.add_relay(&address).await? },
        Request::RemoveRelay { address } => Reply::Done { changed: host.remove_relay(&address).await? },
        Request::Pair { .. } | Request::Answer { .. } => {
            let message = "an answer without a question; run `farhelm pair` again".into();
            Reply::Refused { message, why: Why::Failed }
        }
    })
}

/// How this host is frozen, if it is.
pub fn frozen(host: &Host) -> Result<Option<FrozenRow>, Error> {
    let frozen = *host.devices().frozen().borrow();
    frozen.map(|frozen| Ok(FrozenRow::of(&frozen, &rows(host)?))).transpose()
}

fn rows(host: &Host) -> Result<Vec<DeviceRow>, Error> {
    Ok(host.devices().list()?.iter().map(|device| DeviceRow::at(device, now_ms())).collect())
}

/// Opens the folders of a device that may start threads in them.
async fn opened(host: &Host, grant: &Grant) -> Vec<OpenedRow> {
    host.open_for(grant).await.into_iter().map(OpenedRow::from).collect()
}

async fn set(host: &Host, name: &str, value: Option<&str>) -> Result<bool, Error> {
    let unknown = || settings::Error::Unknown { name: name.to_owned(), value: value.map(str::to_owned) };
    let setting = Setting::named(name).ok_or_else(unknown)?;
    let value = value.map(|value| setting.read(value).ok_or_else(unknown)).transpose()?;
    host.set(setting, value.as_ref()).await
}

fn relays(host: &Host) -> Result<Vec<RelayRow>, Error> {
    let held: Vec<_> = host.endpoint().status().reservations.into_iter().filter(|r| !r.addresses.is_empty()).collect();
    let reserved = |address: &str| held.iter().any(|r| address.ends_with(&r.relay.to_string()));
    Ok(host.relays()?.into_iter().map(|address| RelayRow { reserved: Some(reserved(&address)), address }).collect())
}

/// Makes the client the desk of a fresh offer, until it is used, declined, expired, or the client is gone.
async fn pair(host: &Host, mut lines: Lines, lifetime: Duration, yes: bool, terms: Terms) -> Result<(), ControlError> {
    let (events, mut heard) = mpsc::channel(EVENTS);
    let consent = if yes { Consent::Given } else { Consent::Ask };
    let invitation = match host.offer_on(terms, lifetime, Desk::new(consent, events)).await {
        Ok(invitation) => invitation,
        Err(error) => return say(&mut lines, &refused(&error)).await,
    };
    let outcome = at_the_desk(host, &mut lines, &invitation, &mut heard, lifetime).await;
    if let Err(error) = host.withdraw(&invitation) {
        tracing::error!(%error, "can't withdraw an offer");
    }
    outcome
}

async fn at_the_desk(
    host: &Host,
    lines: &mut Lines,
    invitation: &super::invitation::Invitation,
    heard: &mut mpsc::Receiver<Event>,
    lifetime: Duration,
) -> Result<(), ControlError> {
    let shown = invitation.for_terminal();
    let addresses = invitation.ticket().addresses_of_host().iter().map(ToString::to_string).collect();
    let (text, expires_at) = (shown.encode().to_string(), shown.expires_at);
    say(lines, &Reply::Ticket { text, addresses, expires_at }).await?;
    let expired = tokio::time::sleep(lifetime);
    tokio::pin!(expired);
    // Once a phone is being asked about, it may take as long as the person needs.
    let mut question = None;
    loop {
        tokio::select! {
            () = &mut expired, if question.is_none() => return say(lines, &Reply::Expired).await,
            event = heard.recv() => match event {
                Some(Event::Asks { name, words, grant, answer }) => {
                    question = Some(answer);
                    let (words, grant) = (words.map(str::to_owned), GrantRow::at(&grant, now_ms()));
                    say(lines, &Reply::Asks { name, words, grant }).await?;
                }
                Some(Event::Paired { name, device, grant }) => {
                    let opened = opened(host, &grant).await;
                    let (device, grant) = (device.to_string(), GrantRow::at(&grant, now_ms()));
                    return say(lines, &Reply::Paired { name, device, grant, opened }).await;
                }
                Some(Event::Declined) => return say(lines, &Reply::Declined).await,
                Some(Event::SecondScan) => say(lines, &Reply::SecondScan).await?,
                Some(Event::WrongGate) => say(lines, &Reply::WrongGate).await?,
                None => return say(lines, &Reply::Expired).await,
            },
            line = lines.next() => {
                // The client is gone: so is the desk.
                let Some(line) = line else { return Ok(()) };
                if let (Ok(Request::Answer { yes }), Some(answer)) = (serde_json::from_str(&line?), question.take()) {
                    let _: Result<(), bool> = answer.send(yes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, serde_json::Error> {
        serde_json::from_str(line)
    }

    #[test]
    fn a_limit_that_is_not_known_refuses_the_request() {
        let known = read(r#"{"do":"pair","seconds":1,"yes":true,"terms":{"right":"viewer"}}"#);
        assert!(matches!(known, Ok(Request::Pair { terms, .. }) if terms.right.is_some()));
        for unknown in [
            r#"{"do":"pair","seconds":1,"yes":true,"terms":{"rights":"viewer"}}"#,
            r#"{"do":"pair","seconds":1,"yes":true,"terms":{},"folders":["/"]}"#,
            r#"{"do":"pair","seconds":1,"yes":true}"#,
            r#"{"do":"grant","who":"x","terms":{"until":"tonight"}}"#,
            r#"{"do":"grant","who":"x","right":"owner","terms":{}}"#,
        ] {
            assert!(read(unknown).is_err(), "{unknown}");
        }
    }
}
