//! The text of the host's `config.toml`: read with every name known and every value allowed, and changed with all that
//! a person wrote around them left as it is. Pure.
//!
//! ```toml
//! [floor]
//! approval_policy = "on-request"
//! sandbox = "workspace-write"
//! network_access = false
//!
//! [approvals]
//! accept_for_session = false
//! deny = ["mkfs*"]
//! two_person = ["git push"]
//! step_up = ["terraform apply"]
//! deadline_minutes = 1440
//!
//! [devices]
//! right = "operator"
//! folders = ["~/work"]
//!
//! [network]
//! paths = "prefer-direct"
//! port_mapping = true
//! mdns = false
//!
//! [features]
//! mobile_keep_awake = false
//! computer_use_mobile = false
//! remote_connections = true
//! ```

use std::collections::BTreeMap;

use farhelm_core::policy::{Conditions, Standard};
use toml::de::{DeTable, DeValue};
use toml_edit::{DocumentMut, Item, Table};

use super::network::Network;
use super::setting::{Setting, Value, nearest};
use super::{conditions, network, standard};

/// All there are.
const TABLES: [&str; 5] = ["floor", conditions::TABLE, standard::TABLE, network::TABLE, "features"];

/// What a file sets.
pub(super) type Values = BTreeMap<Setting, Value>;

/// All that a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The settings with one value.
    pub(super) values: Values,
    /// What is asked beyond a right.
    pub(super) conditions: Conditions,
    /// What newcomers get; folders as they are written.
    pub(super) standard: Standard,
    /// How the host is reached.
    pub(super) network: Network,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Reads the host's own file: unknown names and other values than the allowed ones are faults.
pub(super) fn read(text: &str) -> Result<Contents, Fault> {
    let fault = |at: usize, what: String| Fault { line: line_of(text, at), what };
    let whole = DeTable::parse(text).map_err(|error| {
        fault(error.span().map_or(0, |span| span.start), error.message().lines().collect::<Vec<_>>().join("; "))
    })?;
    let mut contents = Contents::default();
    for (name, content) in whole.get_ref() {
        let at = name.span().start;
        let table = name.get_ref();
        if !TABLES.contains(&table.as_ref()) {
            return Err(fault(at, format!("there is no table {table:?}; {}", instead(table, &TABLES))));
        }
        let DeValue::Table(content) = content.get_ref() else {
            return Err(fault(at, format!("{table:?} must be a table: write [{table}] and its settings below")));
        };
        for (name, value) in content {
            contents.take(table, name.get_ref(), value.get_ref()).map_err(|what| fault(name.span().start, what))?;
        }
    }
    Ok(contents)
}

impl Contents {
    /// Takes an entry of a table that there is.
    fn take(&mut self, table: &str, name: &str, value: &DeValue<'_>) -> Result<(), String> {
        let is_read = match table {
            conditions::TABLE => conditions::read(name, value, &mut self.conditions)?,
            standard::TABLE => standard::read(name, value, &mut self.standard)?,
            network::TABLE => network::read(name, value, &mut self.network)?,
            _ => false,
        };
        if !is_read {
            let (setting, value) = entry(table, name, value)?;
            self.values.insert(setting, value);
        }
        Ok(())
    }
}

/// All that a table may hold.
fn names(table: &str) -> Vec<&'static str> {
    let settings = Setting::ALL.into_iter().filter(|setting| setting.table() == table).map(Setting::name);
    let others: &[&str] = match table {
        conditions::TABLE => &conditions::NAMES,
        standard::TABLE => &standard::NAMES,
        network::TABLE => &network::NAMES,
        _ => &[],
    };
    settings.chain(others.iter().copied()).collect()
}

fn entry(table: &str, name: &str, value: &DeValue<'_>) -> Result<(Setting, Value), String> {
    let Some(setting) = Setting::named(name).filter(|setting| setting.table() == table) else {
        return Err(format!("[{table}] has no setting {name:?}; {}", instead(name, &names(table))));
    };
    let value = match value {
        DeValue::Boolean(on) => setting.read(if *on { "on" } else { "off" }),
        // A switch in quotes isn't one.
        DeValue::String(word) => setting.read(word).filter(|value| matches!(value, Value::Word(_))),
        _ => None,
    };
    let value = value.ok_or_else(|| format!("{} must be {}", setting.name(), one_of(setting)))?;
    Ok((setting, value))
}

fn one_of(setting: Setting) -> String {
    match setting.kind() {
        kind @ super::setting::Kind::Switch => kind.in_the_file(),
        kind => format!("one of {}", kind.in_the_file()),
    }
}

fn instead(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => format!("there is {}", known.join(", ")),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// Reads the switches of Codex's own file, whose other contents are Codex's business. `None` if it isn't TOML.
pub(super) fn read_codex(text: &str) -> Option<Values> {
    let whole: toml::Table = text.parse().ok()?;
    let features = whole.get("features").and_then(toml::Value::as_table);
    let shared = Setting::ALL.into_iter().filter(|setting| setting.is_shared_with_codex());
    let value = |setting: Setting| features?.get(setting.name())?.as_bool().map(Value::Switch);
    Some(shared.filter_map(|setting| Some((setting, value(setting)?))).collect())
}

/// Changes one setting of a file that can be read, or takes it out. Comments and order stay.
pub(super) fn write(text: &str, setting: Setting, value: Option<&Value>) -> Result<String, Fault> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| Fault {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        what: error.message().to_owned(),
    })?;
    let table = document.entry(setting.table()).or_insert_with(|| Item::Table(Table::new()));
    let Some(table) = table.as_table_like_mut() else {
        return Err(Fault { line: 1, what: format!("{:?} must be a table", setting.table()) });
    };
    match value {
        Some(value) => {
            let mut new = match value {
                Value::Switch(on) => toml_edit::Value::from(*on),
                Value::Word(word) => toml_edit::Value::from(word.as_str()),
            };
            // What stands behind the value on its line.
            if let Some(old) = table.get(setting.name()).and_then(Item::as_value) {
                *new.decor_mut() = old.decor().clone();
            }
            table.insert(setting.name(), Item::Value(new));
        }
        None => _ = table.remove(setting.name()),
    }
    if table.is_empty() {
        document.remove(setting.table());
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "# mine\n[floor]\napproval_policy = \"untrusted\"\nsandbox = \"read-only\"\nnetwork_access = true\n\n\
        [approvals]\naccept_for_session = true\n\n[features]\nmobile_keep_awake = true # a laptop\n\
        computer_use_mobile = true\nremote_connections = false\n";

    fn fault(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn every_setting_is_read() {
        let values = read(WHOLE).unwrap().values;
        assert_eq!(values.keys().copied().collect::<Vec<_>>(), Setting::ALL);
        assert_eq!(values[&Setting::Sandbox], Value::Word("read-only".into()));
        assert_eq!(values[&Setting::RemoteConnections], Value::Switch(false));
        assert_eq!(read("floor.sandbox = \"read-only\"").unwrap().values.len(), 1);
        assert_eq!(read("").unwrap(), Contents::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_would_be_right() {
        let faults = [
            "[floor]\nsandbx = \"read-only\"",
            "[flor]\nsandbox = \"read-only\"",
            "[devices]\nmany = 3",
            "[desk]\nmany = 3",
            "[features]\n\nzzz = true",
            "[floor]\nsandbox = \"none\"",
            "[features]\nremote_connections = \"off\"",
            "[floor]\nnetwork_access = 1",
            "floor = true",
            "[features]\ncomputer_use_mobile = yes",
            "[features]\nremote_connections = true\nremote_connections = false",
        ];
        insta::assert_snapshot!(faults.map(fault).join("\n"));
    }

    #[test]
    fn of_codexs_file_only_the_switches_count_and_nothing_in_it_is_a_fault() {
        let text = "model = \"gpt-5\"\n[features]\nremote_connections = false\nunknown = 3\nmobile_keep_awake = \"yes\"\n\
            [floor]\nsandbox = \"danger-full-access\"";
        assert_eq!(read_codex(text), Some(Values::from([(Setting::RemoteConnections, Value::Switch(false))])));
        for text in ["features = 1", ""] {
            assert_eq!(read_codex(text), Some(Values::new()), "{text}");
        }
        assert_eq!(read_codex("no toml"), None);
    }

    #[test]
    fn a_change_leaves_everything_else_as_it_was() {
        let off = Value::Switch(false);
        let changed = write(WHOLE, Setting::MobileKeepAwake, Some(&off)).unwrap();
        assert_eq!(changed, WHOLE.replace("mobile_keep_awake = true", "mobile_keep_awake = false"));
        assert_eq!(
            write(WHOLE, Setting::AcceptForSession, None).unwrap(),
            WHOLE.replace("[approvals]\naccept_for_session = true\n\n", "")
        );
    }

    #[test]
    fn what_was_written_is_read_back() {
        for (setting, value) in read(WHOLE).unwrap().values {
            for before in ["", "# only a comment\n", "[features]\n", "features = { remote_connections = true }\n"] {
                let text = write(before, setting, Some(&value)).unwrap();
                assert_eq!(read(&text).unwrap().values[&setting], value, "{text}");
                let gone = write(&text, setting, None).unwrap();
                assert!(!read(&gone).unwrap().values.contains_key(&setting), "{gone}");
            }
        }
    }
}
