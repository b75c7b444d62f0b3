//! What holds on this host for every phone: the host's own `config.toml` over the switches in Codex's over defaults.
//!
//! | | says | is |
//! |---|---|---|
//! | `config.toml` in the host's config directory | everything | read and, by [`Settings::set`], written |
//! | `[features]` of `config.toml` in CODEX_HOME | the three switches | only read |
//! | [`Rules::default`] | the rest | |
//!
//! Published as [`Rules`], [`Conditions`] and [`Standard`]: whoever acts by them holds a receiver. A running host looks every second
//! whether its own file is another one, and reads both anew when it is, when it is asked about its settings (`farhelm
//! host settings`), before it makes an offer, and when a connection to Codex comes up. A file with a fault changes
//! nothing: all stays as it was, and a fault in the host's own is said. A file that is gone sets nothing.
//!
//! # Why it looks instead of being told
//! A watch by the operating system misses files behind links and on network disks, and editors that put a new file in
//! place. Looking costs one `stat` a second.
//!
//! # Why not on a signal
//! SIGHUP also comes when a terminal is closed, and a host that was started there is meant to end by it.

mod conditions;
mod file;
mod network;
mod setting;
mod standard;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farhelm_core::policy::{Conditions, Rules, Standard};
use farhelm_platform::{config_file, secret_file};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::folders;

pub use file::Fault;
use file::{Contents, Values};
pub use network::Network;
pub use setting::{Kind, Setting, Value, nearest};

/// The file's name, in the host's config directory and in CODEX_HOME.
pub const FILE: &str = "config.toml";

/// A file that sets every key to its default, with what each means: what `farhelm config example` prints.
pub const EXAMPLE: &str = include_str!("example.toml");

/// How often a running host looks whether its file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Why settings can't be read or changed. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file doesn't say what it may.
    #[error("{}, {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// No such setting, or not with this value: the program that asks is of another version.
    #[error("this host has no setting {name:?} that can be {value:?}; `farhelm host settings` shows what there is")]
    Unknown {
        /// The setting.
        name: String,
        /// What it was to be.
        value: Option<String>,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}; make it readable, or move it away", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file can't be written.
    #[error(transparent)]
    Write(#[from] secret_file::Error),
    /// Its directory can't be made.
    #[error("cannot create {}: {source}; make it possible, or pass another --state-dir", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The host's own file.
    Ours,
    /// Codex's file.
    Codex,
    /// Nobody said anything else.
    Default,
}

/// A setting as it stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub value: String,
    /// Where that comes from.
    pub source: Source,
    /// What it means.
    pub meaning: String,
    /// What else there is to say, as that this machine can't be kept awake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The settings of a host. Clones share them.
#[derive(Debug, Clone)]
pub struct Settings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None`: nothing is read or written, as in a test.
    path: Option<PathBuf>,
    layers: Mutex<Layers>,
    rules: watch::Sender<Rules>,
    conditions: watch::Sender<Conditions>,
    standard: watch::Sender<Standard>,
    /// What is wrong with the file, as long as it is.
    fault: watch::Sender<Option<String>>,
}

#[derive(Debug, Clone, Default)]
struct Layers {
    ours: Values,
    conditions: Conditions,
    standard: Standard,
    network: Network,
    codex: Values,
    codex_home: Option<PathBuf>,
}

impl Settings {
    /// Reads the file in this directory; one that isn't there sets nothing.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let settings = Self::at(Some(directory.join(FILE)));
        settings.reload()?;
        Ok(settings)
    }

    fn at(path: Option<PathBuf>) -> Self {
        let (layers, rules) = (Layers::default(), Rules::default());
        let (rules, fault) = (watch::channel(rules).0, watch::channel(None).0);
        let conditions = watch::channel(Conditions::default()).0;
        let standard = watch::channel(Standard::default()).0;
        Self(Arc::new(Shared { path, layers: Mutex::new(layers), rules, conditions, standard, fault }))
    }

    /// What holds, and its changes.
    pub fn rules(&self) -> watch::Receiver<Rules> {
        self.0.rules.subscribe()
    }

    /// What is asked of phones beyond a right, and its changes.
    pub fn conditions(&self) -> watch::Receiver<Conditions> {
        self.0.conditions.subscribe()
    }

    /// What a device gets of which nothing else is named, and its changes. Folders are canonical.
    pub fn standard(&self) -> watch::Receiver<Standard> {
        self.0.standard.subscribe()
    }

    /// How the host is reached, as the file says it now.
    pub fn network(&self) -> Network {
        self.layers().network
    }

    /// What is wrong with the file, while the rules of before hold; and its changes.
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.0.fault.subscribe()
    }

    /// Every setting as it stands.
    pub fn rows(&self) -> Vec<Row> {
        let layers = self.layers();
        let row = |setting: Setting| {
            let (value, source) = layers.effective(setting);
            let (name, meaning) = (setting.name().into(), setting.meaning().into());
            Row { name, value: value.to_string(), source, meaning, note: None }
        };
        Setting::ALL.map(row).into()
    }

    /// Reads the files anew. A fault in the host's own leaves what it said before.
    pub fn reload(&self) -> Result<(), Error> {
        let mut layers = self.layers();
        layers.read_codex();
        self.publish(&layers);
        let ours = self.text().and_then(|text| self.understood(&text));
        self.0.fault.send_if_modified(|said| {
            let now = ours.as_ref().err().map(ToString::to_string);
            let changed = *said != now;
            *said = now;
            changed
        });
        layers.take(ours?);
        self.publish(&layers);
        Ok(())
    }

    /// Judges a file without taking it. One that isn't there is a fault, too.
    pub fn check(path: &Path) -> Result<(), Error> {
        let settings = Self::at(Some(path.to_owned()));
        let text = config_file::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        settings.understood(&text).map(drop)
    }

    /// Reads the file anew whenever it has become another one, for ever.
    pub async fn follow(self) {
        let mut look = tokio::time::interval(LOOK);
        let mut seen = None;
        loop {
            look.tick().await;
            let now = self.stamp();
            if seen != Some(now) {
                seen = Some(now);
                // A fault is kept, to be said at the desk.
                let _ = self.reload();
            }
        }
    }

    /// What tells one state of the file from another, links followed: device, file, length, time. `None`: no file.
    fn stamp(&self) -> Option<(u64, u64, u64, i64, i64)> {
        let found = std::fs::metadata(self.0.path.as_ref()?).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    }

    /// Reads the switches of the Codex whose home this is, now and with every [`reload`](Self::reload).
    pub fn read_codex(&self, codex_home: &Path) {
        let mut layers = self.layers();
        layers.codex_home = Some(codex_home.to_owned());
        layers.read_codex();
        self.publish(&layers);
    }

    /// Writes a setting into the host's file, or with `None` takes it out, and publishes what holds then. The value
    /// must be of the setting's kind. `false` if the file said so before.
    pub fn set(&self, setting: Setting, value: Option<&Value>) -> Result<bool, Error> {
        let mut layers = self.layers();
        let mut ours = match &self.0.path {
            // Somebody may have edited it since.
            Some(_) => self.understood(&self.text()?)?,
            None => Contents {
                values: layers.ours.clone(),
                conditions: layers.conditions.clone(),
                standard: layers.standard.clone(),
                network: layers.network,
            },
        };
        let changed = ours.values.get(&setting) != value;
        if let (Some(path), true) = (&self.0.path, changed) {
            let text = file::write(&self.text()?, setting, value).map_err(|fault| self.faulty(fault))?;
            ours = self.understood(&text)?;
            put(path, &text)?;
        } else {
            match value {
                Some(value) => _ = ours.values.insert(setting, value.clone()),
                None => _ = ours.values.remove(&setting),
            }
        }
        layers.take(ours);
        self.0.fault.send_if_modified(|said| said.take().is_some());
        self.publish(&layers);
        Ok(changed)
    }

    fn layers(&self) -> MutexGuard<'_, Layers> {
        self.0.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> Result<String, Error> {
        let Some(path) = &self.0.path else { return Ok(String::new()) };
        match config_file::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|source| Error::Read { path: path.clone(), source }),
        }
    }

    fn understood(&self, text: &str) -> Result<Contents, Error> {
        file::read(text).map_err(|fault| self.faulty(fault))
    }

    fn faulty(&self, fault: Fault) -> Error {
        Error::File { path: self.0.path.clone().unwrap_or_default(), fault }
    }

    fn publish(&self, layers: &Layers) {
        let new = layers.rules();
        self.0.rules.send_if_modified(|rules| {
            let changed = *rules != new;
            *rules = new;
            changed
        });
        self.0.conditions.send_if_modified(|conditions| {
            let changed = *conditions != layers.conditions;
            conditions.clone_from(&layers.conditions);
            changed
        });
        let new = layers.standard_here();
        self.0.standard.send_if_modified(|standard| {
            let changed = *standard != new;
            *standard = new;
            changed
        });
    }
}

/// Settings without a file: the defaults, and what is set in memory.
impl Default for Settings {
    fn default() -> Self {
        Self::at(None)
    }
}

impl Layers {
    fn take(&mut self, Contents { values, conditions, standard, network }: Contents) {
        (self.ours, self.conditions, self.standard, self.network) = (values, conditions, standard, network);
    }

    /// With its folders canonical. One that is gone keeps its name. One that can't be is nobody's home, and if none is
    /// left, devices have none: what was meant as a limit isn't lifted.
    fn standard_here(&self) -> Standard {
        let home = folders::home();
        let whole = |folder: &String| match folder.strip_prefix("~/") {
            Some(rest) => home.as_ref().map(|home| format!("{home}/{rest}")),
            None => Some(folder.clone()),
        };
        let canonical = |named: &Vec<String>| named.iter().filter_map(|one| folders::canonical(&whole(one)?)).collect();
        Standard { folders: self.standard.folders.as_ref().map(canonical), right: self.standard.right }
    }

    /// A file that isn't understood leaves what it said before: a switch isn't to turn over by a slip of the pen.
    fn read_codex(&mut self) {
        let Some(path) = self.codex_home.as_ref().map(|home| home.join(FILE)) else { return };
        let text = match config_file::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        };
        match text.map(|text| file::read_codex(&text)) {
            Ok(Some(switches)) => self.codex = switches,
            Ok(None) => tracing::warn!(path = %path.display(), "Codex's settings aren't TOML"),
            Err(error) => tracing::warn!(%error, path = %path.display(), "can't read Codex's settings"),
        }
    }

    fn effective(&self, setting: Setting) -> (Value, Source) {
        let ours = self.ours.get(&setting).map(|value| (value.clone(), Source::Ours));
        let codex = || self.codex.get(&setting).map(|value| (value.clone(), Source::Codex));
        ours.or_else(codex).unwrap_or_else(|| (setting.of(&Rules::default()), Source::Default))
    }

    fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        Setting::ALL.into_iter().for_each(|setting| setting.put(self.effective(setting).0, &mut rules));
        rules
    }
}

/// Writes the file whole or not at all. A link to it, as those who keep their settings elsewhere have, stays a link.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        // Nothing in it is secret, so one that others may read is as good.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| Error::Create { path: directory.to_owned(), source })?;
    }
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(secret_file::replace(&file, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A config directory and a CODEX_HOME.
    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("codex")).unwrap();
            Self(folder)
        }

        fn ours(&self) -> PathBuf {
            self.0.path().join("config/farhelm").join(FILE)
        }

        fn write(&self, text: &str) {
            farhelm_platform::directories::private(self.ours().parent().unwrap()).unwrap();
            fs::write(self.ours(), text).unwrap();
        }

        fn codex(&self, text: &str) -> PathBuf {
            fs::write(self.0.path().join("codex").join(FILE), text).unwrap();
            self.0.path().join("codex")
        }

        fn open(&self) -> Result<Settings, Error> {
            Settings::open(self.ours().parent().unwrap())
        }
    }

    fn of(settings: &Settings, setting: Setting) -> (String, Source) {
        let row = settings.rows().into_iter().find(|row| row.name == setting.name()).unwrap();
        (row.value, row.source)
    }

    const ON: Value = Value::Switch(true);
    const OFF: Value = Value::Switch(false);

    #[test]
    fn without_any_file_the_defaults_hold_and_none_is_written() {
        let world = World::new();
        let settings = world.open().unwrap();
        assert_eq!(*settings.rules().borrow(), Rules::default());
        assert!(settings.rows().iter().all(|row| row.source == Source::Default));
        assert!(!world.ours().exists());
    }

    #[test]
    fn ours_wins_over_codexs_and_codexs_over_the_default() {
        let world = World::new();
        let codex = world.codex("[features]\nmobile_keep_awake = true\nremote_connections = false\n");
        world.write("[features]\nremote_connections = true\n");
        let settings = world.open().unwrap();
        settings.read_codex(&codex);
        assert_eq!(of(&settings, Setting::RemoteConnections), ("on".into(), Source::Ours));
        assert_eq!(of(&settings, Setting::MobileKeepAwake), ("on".into(), Source::Codex));
        assert_eq!(of(&settings, Setting::ComputerUseMobile), ("off".into(), Source::Default));
        let rules = settings.rules().borrow().clone();
        assert!(rules.remote_connections && rules.mobile_keep_awake && !rules.computer_use_mobile);
    }

    #[test]
    fn codexs_file_cannot_loosen_the_floor_and_is_never_written() {
        let world = World::new();
        let text = "[floor]\nsandbox = \"danger-full-access\"\n[approvals]\naccept_for_session = true\n";
        let codex = world.codex(text);
        let settings = world.open().unwrap();
        settings.read_codex(&codex);
        assert_eq!(*settings.rules().borrow(), Rules::default());
        settings.set(Setting::ComputerUseMobile, Some(&ON)).unwrap();
        assert_eq!(fs::read_to_string(codex.join(FILE)).unwrap(), text);
    }

    #[test]
    fn codexs_file_is_read_anew_with_ours_and_one_that_is_no_toml_changes_nothing() {
        let world = World::new();
        let codex = world.codex("[features]\nremote_connections = false\n");
        let settings = world.open().unwrap();
        settings.read_codex(&codex);
        for (text, allowed) in [("[features\n", false), ("", true), ("features.remote_connections = false", false)] {
            world.codex(text);
            settings.reload().unwrap();
            assert_eq!(settings.rules().borrow().remote_connections, allowed, "{text}");
        }
        // A fault in ours doesn't hide Codex's.
        world.write("no toml");
        world.codex("");
        settings.reload().unwrap_err();
        assert!(settings.rules().borrow().remote_connections);
    }

    #[test]
    fn a_setting_is_written_published_and_taken_back() {
        let world = World::new();
        let codex = world.codex("[features]\ncomputer_use_mobile = true\n");
        let settings = world.open().unwrap();
        settings.read_codex(&codex);
        let mut rules = settings.rules();
        assert!(settings.set(Setting::ComputerUseMobile, Some(&OFF)).unwrap());
        assert!(rules.has_changed().unwrap() && !rules.borrow_and_update().computer_use_mobile);
        assert!(!settings.set(Setting::ComputerUseMobile, Some(&OFF)).unwrap());
        assert!(!rules.has_changed().unwrap());
        assert_eq!(of(&world.open().unwrap(), Setting::ComputerUseMobile), ("off".into(), Source::Ours));
        assert!(settings.set(Setting::ComputerUseMobile, None).unwrap());
        assert_eq!(of(&settings, Setting::ComputerUseMobile), ("on".into(), Source::Codex));
    }

    #[test]
    fn a_changed_file_counts_once_it_is_read_anew() {
        let world = World::new();
        let settings = world.open().unwrap();
        world.write("[floor]\nsandbox = \"read-only\"\n");
        settings.reload().unwrap();
        assert_eq!(settings.rules().borrow().sandbox, "read-only");
        // What a person edited meanwhile isn't lost by a change of ours.
        world.write("[floor]\napproval_policy = \"untrusted\" # careful\n");
        settings.set(Setting::MobileKeepAwake, Some(&ON)).unwrap();
        assert_eq!(settings.rules().borrow().approval_policy, "untrusted");
        assert!(fs::read_to_string(world.ours()).unwrap().contains("\"untrusted\" # careful"));
    }

    #[test]
    fn a_bad_file_is_no_start_and_later_leaves_the_rules_as_they_were() {
        let world = World::new();
        let settings = world.open().unwrap();
        settings.set(Setting::RemoteConnections, Some(&OFF)).unwrap();
        world.write("[features]\nremote_conections = true\n");
        assert!(matches!(world.open(), Err(Error::File { .. })));
        let error = settings.reload().unwrap_err().to_string();
        assert!(error.ends_with(
            "line 2: [features] has no setting \"remote_conections\"; did you mean \"remote_connections\"?"
        ));
        assert_eq!(*settings.fault().borrow(), Some(error));
        assert!(!settings.rules().borrow().remote_connections);
        assert!(matches!(settings.set(Setting::MobileKeepAwake, Some(&ON)), Err(Error::File { .. })));
        world.write("");
        settings.reload().unwrap();
        assert_eq!(*settings.fault().borrow(), None);
        assert_eq!(*settings.rules().borrow(), Rules::default());
    }

    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let world = World::new();
        world.write("");
        let elsewhere = world.0.path().join("dotfiles.toml");
        fs::rename(world.ours(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, world.ours()).unwrap();
        world.open().unwrap().set(Setting::NetworkAccess, Some(&ON)).unwrap();
        assert!(world.ours().symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "[floor]\nnetwork_access = true\n");
    }

    #[test]
    fn the_example_sets_every_key_to_its_default() {
        let file::Contents { values, conditions, standard, network } = file::read(EXAMPLE).unwrap();
        assert_eq!(network, Network::default());
        for setting in Setting::ALL {
            assert_eq!(values.get(&setting), Some(&setting.of(&Rules::default())), "{}", setting.name());
        }
        assert_eq!((conditions, standard), (Conditions::default(), Standard::default()));
        for name in conditions::NAMES.iter().chain(&standard::NAMES) {
            assert!(EXAMPLE.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
        }
    }
}
