//! What a host and a phone keep in their state directory: who may read it, and whether it is whole and fits together.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use farhelm_core::audit::{Effect, Record};
use farhelm_core::identity::{Identity, NodeId};
use farhelm_platform::lock::{self, Lock};
use farhelm_platform::{directories, process, secret_file};
use farhelm_store::{Journal, OpenError, Store, audit};

use super::{Finding, Found};
use crate::cli::home::{AUDIT, JOURNAL, KEY, STORE};
use crate::cli::{Context, Exit, Failure, phone, when};
use crate::host::devices::now_ms;
use crate::host::settings::{FILE, Settings};

/// Files that are looked at, at most: there are a dozen, and one for each host of a phone.
const FILES: usize = 4096;
/// How deep: the phone's secrets are in folders of a folder.
const DEPTH: usize = 4;

/// Everything there is to say about what is kept here.
pub(super) fn examine(context: &Context) -> Result<Vec<Finding>, Failure> {
    let directories = context.directories()?;
    let (state, config) = (directories.state(), directories.config());
    if !state.exists() {
        let nothing = Failure::new(Exit::NotFound, format_args!("nothing is kept in {}", state.display()));
        return Err(nothing.next("start `farhelm host` or `farhelm phone pair`, or name another --state-dir"));
    }
    let mut findings = vec![directory(state), readable(state), settings(config)];
    // So that no host starts while its files are looked at.
    let lock = Lock::take(state, "farhelm doctor");
    let (key, host) = key(state);
    findings.push(key);
    match &lock {
        Ok(_) => {
            findings.push(devices(&state.join(STORE), host, &removals(&state.join(AUDIT))));
            findings.push(journal("what waits for phones", &state.join(JOURNAL)));
        }
        Err(lock::Error::Held { by, .. }) => {
            let in_use = |what: &str| Finding::new(what, Found::InUse, format!("{by} has it open"));
            findings.extend(["devices", "what waits for phones"].map(in_use));
        }
        Err(error) => findings.push(Finding::new("lock", Found::Bad, error.to_string())),
    }
    findings.push(journal("what waits for hosts", &state.join(phone::JOURNAL)));
    findings.push(record(&state.join(AUDIT), host));
    Ok(findings)
}

fn directory(state: &Path) -> Finding {
    match directories::private(state) {
        Ok(()) => Finding::new("directory", Found::Ok, format!("{} is yours alone", state.display())),
        Err(error) => Finding::new("directory", Found::Bad, error.to_string()),
    }
}

/// Whether anybody else may read or write a file in it.
fn readable(state: &Path) -> Finding {
    let mut looked = 0;
    let wrong = loose(state, DEPTH, &mut looked);
    match wrong {
        None => Finding::new("files", Found::Ok, format!("nobody else can read them ({looked} looked at)")),
        Some(says) => Finding::new("files", Found::Bad, says),
    }
}

/// The first file that somebody else may read, and what to do.
fn loose(folder: &Path, depth: usize, looked: &mut usize) -> Option<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return Some(format!("cannot look into {}: {error}", folder.display())),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.into_iter().take(FILES) {
        *looked += 1;
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if let Some(says) = open_to_others(&path, &found) {
            return Some(says);
        }
        if found.is_dir() && depth > 1 {
            let within = loose(&path, depth - 1, looked);
            if within.is_some() {
                return within;
            }
        }
    }
    None
}

/// Settings and a public certificate may be read by all; whatever else is here may not.
fn open_to_others(path: &Path, found: &Metadata) -> Option<String> {
    let (owner, user, mode) = (found.uid(), process::user(), found.mode() & 0o7777);
    if owner != user {
        return Some(format!("{} belongs to user {owner}, not to you (user {user})", path.display()));
    }
    let is_settings = path.file_name().is_some_and(|name| name == FILE) || path.ends_with("config");
    if found.is_symlink() || is_settings || mode & 0o077 == 0 {
        return None;
    }
    let (shown, right) = (path.display(), if found.is_dir() { "700" } else { "600" });
    Some(format!("others may use {shown} (mode {mode:04o}); run: chmod {right} '{shown}'"))
}

fn settings(config: &Path) -> Finding {
    let path = config.join(FILE);
    if !path.exists() {
        return Finding::new("settings", Found::Absent, "everything is as by default");
    }
    match Settings::check(&path) {
        Ok(()) => Finding::new("settings", Found::Ok, format!("{} can be read", path.display())),
        Err(error) => Finding::new("settings", Found::Bad, error.to_string()),
    }
}

/// The host's key, and who it is.
fn key(state: &Path) -> (Finding, Option<NodeId>) {
    match secret_file::read::<32>(&state.join(KEY)) {
        Ok(seed) => {
            let host = Identity::from_seed(&seed).node_id();
            (Finding::new("key", Found::Ok, format!("this host is {host}")), Some(host))
        }
        Err(secret_file::Error::Missing { .. }) => {
            (Finding::new("key", Found::Absent, "no host was started here"), None)
        }
        Err(error) => (Finding::new("key", Found::Bad, error.to_string()), None),
    }
}

/// Devices of which the record says last that they were removed, and when, in Unix milliseconds.
fn removals(record: &Path) -> BTreeMap<NodeId, u64> {
    let mut removed = BTreeMap::new();
    // One that can't be read is for `record` to name.
    let entries = audit::read(record).map(|kept| kept.entries).unwrap_or_default();
    for record in entries.iter().filter_map(|entry| Record::decode(&entry.record).ok()) {
        let (Some(about), Effect::Done) = (record.about, &record.effect) else { continue };
        match record.act.as_str() {
            "revoke" | "farhelm/devices/revoke" => _ = removed.insert(about, record.at_ms),
            "pair" => _ = removed.remove(&about),
            _ => {}
        }
    }
    removed
}

/// Who is paired, and whether those that were removed were so by this host and still are.
fn devices(path: &Path, host: Option<NodeId>, removals: &BTreeMap<NodeId, u64>) -> Finding {
    const WHAT: &str = "devices";
    if !path.exists() {
        return match host {
            None => Finding::new(WHAT, Found::Absent, "no host was started here"),
            Some(_) => {
                Finding::new(WHAT, Found::Odd, "nobody is paired: the file is missing, but the host's key is not")
            }
        };
    }
    let Some(host) = host else {
        return Finding::new(WHAT, Found::Bad, "the key is gone, and without it no phone knows this host; restore it");
    };
    let store = match Store::look(path) {
        Ok(store) => store,
        Err(error) => return unopened(WHAT, &error),
    };
    match look_through(&store, host, removals) {
        Ok((found, says)) => Finding::new(WHAT, found, says),
        Err(error) => Finding::new(WHAT, Found::Bad, error.to_string()),
    }
}

fn look_through(
    store: &Store,
    host: NodeId,
    removals: &BTreeMap<NodeId, u64>,
) -> Result<(Found, String), farhelm_store::Error> {
    let (devices, removed, now) = (store.devices()?, store.tombstones()?, now_ms());
    for key in &removed {
        let tombstone = store.tombstone(*key)?;
        if tombstone.is_none_or(|tombstone| tombstone.verify(host, *key).is_err()) {
            let says =
                format!("that {key} was removed is not signed by this host; key and devices belong to two hosts");
            return Ok((Found::Bad, says));
        }
    }
    if let Some(both) = devices.iter().find(|device| removed.contains(&device.key)) {
        return Ok((Found::Bad, format!("{} is paired and removed at once; revoke it and pair it again", both.key)));
    }
    if let Some((device, at_ms)) = devices.iter().find_map(|device| Some((device, removals.get(&device.key)?))) {
        let says = format!(
            "{} is paired, though the record says that it was removed on {}: this is an older file, put back in place; \
             run: farhelm freeze, then look at `farhelm devices`",
            device.key,
            when::shown(*at_ms)
        );
        return Ok((Found::Bad, says));
    }
    let over = devices.iter().filter(|device| device.grant.resolve(&[]).expired(now)).count();
    let epoch = store.epoch()?;
    let says =
        format!("{} paired, {over} of them past their time, {} removed, epoch {epoch}", devices.len(), removed.len());
    Ok(match store.frozen()? {
        Some(frozen) => (Found::Odd, format!("{says}; frozen since {}: `farhelm thaw`", when::shown(frozen.at_ms))),
        None => (Found::Ok, says),
    })
}

fn journal(what: &str, path: &Path) -> Finding {
    if !path.exists() {
        return Finding::new(what, Found::Absent, "nothing");
    }
    let peers = match Journal::look(path) {
        Ok(journal) => journal.peers(),
        Err(error) => return unopened(what, &error),
    };
    match peers {
        Ok(peers) => Finding::new(what, Found::Ok, format!("whole, with {} peers", peers.len())),
        Err(error) => Finding::new(what, Found::Bad, error.to_string()),
    }
}

/// The record of what phones had done: its chain, and the head beside it.
fn record(path: &Path, host: Option<NodeId>) -> Finding {
    const WHAT: &str = "record";
    if !path.exists() && path.with_extension("log.head").exists() {
        let says = format!("{} is missing, and the head beside it says that it was there", path.display());
        return Finding::new(WHAT, Found::Bad, format!("{says}; keep a copy for whoever looks into it"));
    }
    let Some(host) = host.filter(|_| path.exists()) else {
        return Finding::new(WHAT, Found::Absent, "nothing is recorded");
    };
    let kept = match audit::read(path) {
        Ok(kept) => kept,
        Err(error) => return unopened(WHAT, &error),
    };
    match kept.verify(host, &[]) {
        Ok(whole) => Finding::new(WHAT, Found::Ok, format!("whole, {} entries", whole.end.seq())),
        Err(broken) => Finding::new(WHAT, Found::Bad, format!("{broken}; keep a copy for whoever looks into it")),
    }
}

fn unopened(what: &str, error: &OpenError) -> Finding {
    let found = if matches!(error, OpenError::InUse { .. }) { Found::InUse } else { Found::Bad };
    Finding::new(what, found, error.to_string())
}
