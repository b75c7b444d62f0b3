//! `--paths`: which paths may carry sessions, the same words on both sides.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use farhelm_overlay::Policy;

/// For `farhelm host` and `farhelm phone`.
#[derive(Debug, Clone, Args)]
pub(super) struct Paths {
    /// Which paths may carry sessions: only direct ones (relays then only introduce, and help through NATs once paired),
    /// any, or only relayed ones (the other side doesn't learn this machine's address) [default: prefer-direct, or what
    /// a host's config.toml says]
    #[arg(long, env = "FARHELM_PATHS", value_name = "POLICY", value_parser = policy())]
    pub(super) paths: Option<Policy>,
}

fn policy() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(Policy::ALL.map(|(_, name)| name)).try_map(|name| name.parse::<Policy>())
}
