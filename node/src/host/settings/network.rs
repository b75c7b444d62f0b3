//! The part of `config.toml` that says how this host is reached. It is read when a host starts.

use farhelm_overlay::Policy;
use toml::de::DeValue;

/// The table it stands in.
pub(super) const TABLE: &str = "network";
/// Its names.
pub(super) const NAMES: [&str; 3] = ["paths", "port_mapping", "mdns"];

/// How this host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Which paths may carry sessions.
    pub paths: Policy,
    /// Whether the router is asked to lead ports to this host.
    pub port_mapping: bool,
    /// Whether this host is announced in its network.
    pub mdns: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { paths: Policy::default(), port_mapping: true, mdns: false }
    }
}

/// Reads one entry; `false` if this name isn't one of these.
pub(super) fn read(name: &str, value: &DeValue<'_>, to: &mut Network) -> Result<bool, String> {
    match (name, value) {
        ("paths", DeValue::String(word)) => to.paths = word.parse().map_err(|_| paths())?,
        ("paths", _) => return Err(paths()),
        ("port_mapping", DeValue::Boolean(on)) => to.port_mapping = *on,
        ("mdns", DeValue::Boolean(on)) => to.mdns = *on,
        ("port_mapping" | "mdns", _) => return Err(format!("{name} must be true or false")),
        _ => return Ok(false),
    }
    Ok(true)
}

fn paths() -> String {
    let words = Policy::ALL.map(|(_, name)| format!("{name:?}")).join(", ");
    format!("paths must be one of {words}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::settings::file;

    fn read(text: &str) -> Result<Network, String> {
        file::read(text).map(|contents| contents.network).map_err(|fault| fault.to_string())
    }

    #[test]
    fn how_a_host_is_reached_is_read() {
        let wanted = Network { paths: Policy::DirectOnly, port_mapping: false, mdns: true };
        assert_eq!(read("[network]\npaths = \"direct-only\"\nport_mapping = false\nmdns = true"), Ok(wanted));
        assert_eq!(read(""), Ok(Network::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, said) in [
            ("[network]\npaths = \"fast\"", "line 2: paths must be one of \"direct-only\", "),
            ("[network]\npaths = 1", "line 2: paths must be one of"),
            ("[network]\nport_mapping = \"on\"", "line 2: port_mapping must be true or false"),
            ("[network]\nport_maping = true", "line 2: [network] has no setting \"port_maping\"; did you mean"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.starts_with(said), "{fault}");
        }
    }
}
