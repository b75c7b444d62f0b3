//! What can be set: each setting with its place in the file, what it may be, and what it means to a person.

use std::fmt;

use farhelm_core::policy::Rules;

/// One setting of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// The loosest approval policy for phones.
    ApprovalPolicy,
    /// The loosest sandbox for phones.
    Sandbox,
    /// Whether that sandbox reaches the network.
    NetworkAccess,
    /// Whether phones may accept for the rest of a session.
    AcceptForSession,
    /// Whether a running turn keeps the machine awake.
    MobileKeepAwake,
    /// Whether phones may have Codex use the computer.
    ComputerUseMobile,
    /// Whether phones may connect.
    RemoteConnections,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false` in the file, on or off for people.
    Switch,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// What a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A word of its [`Kind`].
    Word(String),
}

impl Setting {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::ApprovalPolicy,
        Self::Sandbox,
        Self::NetworkAccess,
        Self::AcceptForSession,
        Self::MobileKeepAwake,
        Self::ComputerUseMobile,
        Self::RemoteConnections,
    ];

    /// The setting of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }

    /// Its name, in the file and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApprovalPolicy => "approval_policy",
            Self::Sandbox => "sandbox",
            Self::NetworkAccess => "network_access",
            Self::AcceptForSession => "accept_for_session",
            Self::MobileKeepAwake => "mobile_keep_awake",
            Self::ComputerUseMobile => "computer_use_mobile",
            Self::RemoteConnections => "remote_connections",
        }
    }

    /// The table it stands in.
    pub const fn table(self) -> &'static str {
        match self {
            Self::ApprovalPolicy | Self::Sandbox | Self::NetworkAccess => "floor",
            Self::AcceptForSession => "approvals",
            Self::MobileKeepAwake | Self::ComputerUseMobile | Self::RemoteConnections => "features",
        }
    }

    /// What it may be.
    pub const fn kind(self) -> Kind {
        match self {
            Self::ApprovalPolicy => Kind::OneOf(&["untrusted", "on-request", "never"]),
            Self::Sandbox => Kind::OneOf(&["read-only", "workspace-write", "danger-full-access"]),
            _ => Kind::Switch,
        }
    }

    /// What it means, in a line that fits a narrow terminal.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ApprovalPolicy => "the loosest for work from phones",
            Self::Sandbox => "the widest for work from phones",
            Self::NetworkAccess => "that sandbox may reach the network",
            Self::AcceptForSession => "phones may accept for a whole session",
            Self::MobileKeepAwake => "a running turn keeps the machine awake",
            Self::ComputerUseMobile => "phones may have Codex use the computer",
            Self::RemoteConnections => "phones may connect at all",
        }
    }

    /// Whether Codex's own `[features]` count where the host's file says nothing.
    pub fn is_shared_with_codex(self) -> bool {
        self.table() == "features"
    }

    /// What it is in these rules.
    pub fn of(self, rules: &Rules) -> Value {
        match self {
            Self::ApprovalPolicy => Value::Word(rules.approval_policy.clone()),
            Self::Sandbox => Value::Word(rules.sandbox.clone()),
            Self::NetworkAccess => Value::Switch(rules.network_access),
            Self::AcceptForSession => Value::Switch(rules.accept_for_session),
            Self::MobileKeepAwake => Value::Switch(rules.mobile_keep_awake),
            Self::ComputerUseMobile => Value::Switch(rules.computer_use_mobile),
            Self::RemoteConnections => Value::Switch(rules.remote_connections),
        }
    }

    /// Puts a value of its kind into these rules.
    pub(super) fn put(self, value: Value, rules: &mut Rules) {
        match (self, value) {
            (Self::ApprovalPolicy, Value::Word(word)) => rules.approval_policy = word,
            (Self::Sandbox, Value::Word(word)) => rules.sandbox = word,
            (Self::NetworkAccess, Value::Switch(on)) => rules.network_access = on,
            (Self::AcceptForSession, Value::Switch(on)) => rules.accept_for_session = on,
            (Self::MobileKeepAwake, Value::Switch(on)) => rules.mobile_keep_awake = on,
            (Self::ComputerUseMobile, Value::Switch(on)) => rules.computer_use_mobile = on,
            (Self::RemoteConnections, Value::Switch(on)) => rules.remote_connections = on,
            (setting, value) => tracing::error!(?setting, ?value, "a value of another kind"),
        }
    }

    /// A value as a person writes it; `None` if it isn't one of this setting.
    pub fn read(self, text: &str) -> Option<Value> {
        match (self.kind(), text) {
            (Kind::Switch, "on" | "true") => Some(Value::Switch(true)),
            (Kind::Switch, "off" | "false") => Some(Value::Switch(false)),
            (Kind::Switch, _) => None,
            (Kind::OneOf(words), word) => words.contains(&word).then(|| Value::Word(word.to_owned())),
        }
    }
}

impl Kind {
    /// What is allowed, as the file has it.
    pub fn in_the_file(self) -> String {
        match self {
            Self::Switch => "true or false".into(),
            Self::OneOf(words) => words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "),
        }
    }
}

/// What is allowed, for people.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("on or off"),
            Self::OneOf(words) => f.write_str(&words.join(", ")),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch(true) => "on",
            Self::Switch(false) => "off",
            Self::Word(word) => word,
        })
    }
}

/// The one of `known` that `name` was most likely meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|word| (strsim::jaro_winkler(name, word), word));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_found_by_its_name_and_has_its_own_place_in_the_rules() {
        for setting in Setting::ALL {
            assert_eq!(Setting::named(setting.name()), Some(setting));
            let (mut rules, before) = (Rules::default(), Rules::default());
            let other = match setting.of(&before) {
                Value::Switch(on) => Value::Switch(!on),
                Value::Word(_) => {
                    setting.read(if setting == Setting::Sandbox { "read-only" } else { "never" }).unwrap()
                }
            };
            setting.put(other.clone(), &mut rules);
            assert_eq!(setting.of(&rules), other);
            let changed = Setting::ALL.into_iter().filter(|s| s.of(&rules) != s.of(&before)).collect::<Vec<_>>();
            assert_eq!(changed, [setting]);
        }
    }

    #[test]
    fn only_values_of_its_kind_are_read() {
        assert_eq!(Setting::RemoteConnections.read("off"), Some(Value::Switch(false)));
        assert_eq!(Setting::Sandbox.read("read-only"), Some(Value::Word("read-only".into())));
        for (setting, text) in
            [(Setting::RemoteConnections, "read-only"), (Setting::Sandbox, "on"), (Setting::ApprovalPolicy, "Never")]
        {
            assert_eq!(setting.read(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_name_is_named_and_a_far_one_is_not() {
        let names = || Setting::ALL.iter().map(|setting| setting.name());
        assert_eq!(nearest("sandbx", names()), Some("sandbox"));
        assert_eq!(nearest("computer_use", names()), Some("computer_use_mobile"));
        assert_eq!(nearest("zzz", names()), None);
    }
}
