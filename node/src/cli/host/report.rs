//! What a running host says at its terminal: who and where it is, how it stands with Codex, what goes on when it stops.

use std::collections::BTreeSet;
use std::path::PathBuf;

use farhelm_core::identity::NodeId;
use farhelm_core::wire::envelope::HostState;
use serde::Serialize;

use super::super::freeze::because;
use super::super::grant::CONTESTED;
use super::super::{Context, Failure};
use crate::host::app_server::{How, State};
use crate::host::control::{self, FrozenRow};
use crate::host::folders::{Opened, Opening};
use crate::host::logs::Contested;
use crate::host::remote::Done;
use crate::host::{Config, Host};
use crate::terminal::sanitize;

/// What scripts read, one a line. Not an envelope of the protocol.
#[derive(Debug, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum Event {
    Started { id: String, name: String, folder: PathBuf },
    Codex { ready: bool, text: String, desk_command: Option<String> },
    Opened { folder: String, startable: bool, text: String },
    Settings { fault: Option<String> },
    Frozen { frozen: Option<FrozenRow> },
    Contested { device: String, name: String },
    Remote { by: String, by_name: String, act: String, device: Option<String>, name: String },
    Reachable { relays: Vec<String>, direct: Vec<String>, forwarded: Vec<String> },
    Stopping { running: Vec<String> },
}

pub(super) struct Report<'a> {
    context: &'a Context,
    name: String,
    folder: PathBuf,
}

impl<'a> Report<'a> {
    pub(super) fn new(context: &'a Context, config: &Config) -> Self {
        Self { context, name: config.name.clone(), folder: config.folder.clone() }
    }

    pub(super) fn started(&self, host: &Host) -> Result<(), Failure> {
        let (id, name, folder) = (host.node_id().to_string(), self.name.clone(), self.folder.clone());
        let text = format!(
            "Host “{}” ({id})\nThreads from phones work in {}. Ctrl-C stops it.",
            sanitize::line(&name),
            sanitize::line(&folder.display().to_string()),
        );
        self.context.say(&Event::Started { id, name, folder }, || text)?;
        if host.relays()?.is_empty() {
            self.context.note(
                "No relay is known, so phones find it only on this network or where it can be reached directly.\n  \
                 → on a machine with a public address run `farhelm relay`, then here `farhelm host relays add` with \
                 the address it prints",
            );
        }
        Ok(())
    }

    /// Says what changes until the program is stopped.
    pub(super) async fn follow(&self, host: &Host) -> Result<(), Failure> {
        let (mut codex, mut about, mut opened) = (host.codex(), host.about(), host.opened());
        let (mut fault, mut faulty) = (host.settings().fault(), None);
        let (mut frozen, mut cold) = (host.devices().frozen(), None);
        let (mut remote, mut contested, mut told) = (host.remote(), host.contested(), Default::default());
        let mut said = (None, None);
        let mut known = Vec::new();
        loop {
            let (state, reachable) =
                (codex.borrow_and_update().clone(), Reachable::of(host, &about.borrow_and_update()));
            if said.0.as_ref() != Some(&state) {
                self.codex(&state)?;
                said.0 = Some(state);
            }
            if said.1.as_ref() != Some(&reachable) {
                self.reachable(&reachable)?;
                said.1 = Some(reachable);
            }
            let folders = opened.borrow_and_update().clone();
            folders.iter().filter(|folder| !known.contains(*folder)).try_for_each(|folder| self.opened(folder))?;
            known = folders;
            let now = fault.borrow_and_update().clone();
            if faulty != now {
                self.settings(now.clone())?;
                faulty = now;
            }
            let now = *frozen.borrow_and_update();
            if cold != now {
                self.frozen(control::frozen(host)?)?;
                cold = now;
            }
            tokio::select! {
                () = self.context.stop.cancelled() => return Ok(()),
                Ok(()) = codex.changed() => {}
                Ok(()) = about.changed() => {}
                Ok(()) = opened.changed() => {}
                Ok(()) = fault.changed() => {}
                Ok(()) = frozen.changed() => {}
                Ok(()) = contested.changed() => self.contested(host, &mut told, &contested.borrow_and_update().clone())?,
                Ok(done) = remote.recv() => self.remote(done)?,
                else => return Ok(()),
            }
        }
    }

    fn codex(&self, state: &State) -> Result<(), Failure> {
        let (ready, text, desk_command) = match state {
            State::Connecting { why: None } => return Ok(()),
            State::Connecting { why: Some(why) } => (false, format!("Codex: {why}; connecting again"), None),
            State::Away { why, what_to_do } => (false, format!("Codex: {why}\n  → {what_to_do}"), None),
            State::Ready { version, how, .. } => {
                let warning = version.warning().map(|warning| format!("\n  {warning}")).unwrap_or_default();
                (true, format!("Codex {version}, {how}{warning}"), how.desk_command())
            }
        };
        let at_the_desk = desk_command.iter().map(|command| format!("\n  → at the desk: {command}"));
        let shown = sanitize::block(&format!("{text}{}", at_the_desk.collect::<String>()));
        self.context.say(&Event::Codex { ready, text, desk_command }, || shown)
    }

    /// A folder that Codex trusted already is nothing to tell a person; scripts may wait for it.
    fn opened(&self, opened: &Opened) -> Result<(), Failure> {
        let (folder, startable) = (opened.folder.clone(), opened.opening.is_startable());
        let text = opened.to_string();
        if opened.opening == Opening::Trusted && !self.context.json() {
            return Ok(());
        }
        let shown = sanitize::block(&text);
        self.context.say(&Event::Opened { folder, startable, text }, || shown)
    }

    fn settings(&self, fault: Option<String>) -> Result<(), Failure> {
        let text = match &fault {
            Some(fault) => format!("Settings: {fault}\n  What held before goes on to hold."),
            None => "Settings: the file is in order again.".into(),
        };
        let shown = sanitize::block(&text);
        self.context.say(&Event::Settings { fault }, || shown)
    }

    fn frozen(&self, frozen: Option<FrozenRow>) -> Result<(), Failure> {
        let text = match &frozen {
            Some(frozen) => {
                format!("No phone can connect: {}.\n  → `farhelm thaw` lets them in again", because(frozen))
            }
            None => "Thawed: paired phones can connect again.".into(),
        };
        self.context.say(&Event::Frozen { frozen }, || text)
    }

    /// Says it of each phone once.
    fn contested(&self, host: &Host, told: &mut BTreeSet<NodeId>, now: &Contested) -> Result<(), Failure> {
        for device in now.keys().filter(|device| told.insert(**device)) {
            let name = host.devices().names().borrow().get(device).cloned().unwrap_or_default();
            let text = format!("“{}” ({device}): {CONTESTED}.", sanitize::line(&name));
            self.context.say(&Event::Contested { device: device.to_string(), name }, || text)?;
        }
        Ok(())
    }

    /// What an owner's phone did to devices.
    fn remote(&self, done: Done) -> Result<(), Failure> {
        let Done { by, by_name, act, device, name } = done;
        let to = if device.is_some() { format!(" “{}”", sanitize::line(&name)) } else { " this host".into() };
        let text = format!("“{}” {act}{to} from afar ({by}).", sanitize::line(&by_name));
        let (by, device) = (by.to_string(), device.map(|device| device.to_string()));
        self.context.say(&Event::Remote { by, by_name, act, device, name }, || text)
    }

    fn reachable(&self, reachable: &Reachable) -> Result<(), Failure> {
        let Reachable { relays, direct, forwarded } = reachable.clone();
        if relays.is_empty() && direct.is_empty() {
            return Ok(());
        }
        let through: String = relays.iter().map(|relay| format!("\n  {}", sanitize::line(relay))).collect();
        let text = match relays.len() {
            0 => "Reachable on this network".into(),
            _ => format!("Reachable on this network and through{through}"),
        };
        let routers: String =
            forwarded.iter().map(|port| format!("\n  {}, which the router leads here", sanitize::line(port))).collect();
        self.context.say(&Event::Reachable { relays, direct, forwarded }, || text + &routers)
    }

    pub(super) async fn stopping(&self, host: &Host) -> Result<(), Failure> {
        let running = host.running().await;
        let titles: Vec<String> = running.into_iter().map(|(thread, title)| format!("{title} ({thread})")).collect();
        let own = matches!(&*host.codex().borrow(), State::Ready { how: How::Own { .. }, .. });
        let list: String = titles.iter().map(|title| format!("\n  {}", sanitize::line(title))).collect();
        let text = match (titles.len(), own) {
            (0, _) => "Stopping.".into(),
            (_, true) => format!("Stopping, and with it these turns of its own app-server:{list}"),
            (_, false) => format!("Stopping. Codex goes on with these turns, and no phone hears of them:{list}"),
        };
        self.context.say(&Event::Stopping { running: titles }, || text)
    }
}

/// Where phones are told to look.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reachable {
    relays: Vec<String>,
    direct: Vec<String>,
    forwarded: Vec<String>,
}

impl Reachable {
    fn of(host: &Host, about: &HostState) -> Self {
        let forwarded = host.forwarded().iter().map(ToString::to_string).collect();
        Self { relays: about.relays.clone(), direct: about.direct.clone(), forwarded }
    }
}
