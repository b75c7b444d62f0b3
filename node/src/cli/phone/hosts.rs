//! `farhelm phone hosts` and `forget`: what this phone remembers.

use clap::Args;
use farhelm_phone::{KnownHost, Standing};
use serde_json::json;

use super::{Context, Failure, choose, heads, open, report};
use crate::cli::grant;
use crate::terminal::sanitize;

/// List the hosts this phone is paired with
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone hosts\n  farhelm phone hosts --json")]
pub(super) struct Hosts {}

/// Forget a host, here only: at the desk this phone stays listed until somebody removes it there
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone forget desk\n  farhelm phone forget 12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
)]
pub(super) struct Forget {
    /// The host's name, or its peer id, or the beginning or end of that
    host: String,
}

pub(super) async fn run(_: &Hosts, context: &Context) -> Result<(), Failure> {
    let client = open(context, None).await?;
    let hosts = client.hosts().await;
    client.shutdown().await;
    let hosts = hosts?;
    if hosts.is_empty() {
        context.note("No host yet. Show a code with `farhelm pair` at the desk, then run `farhelm phone pair`.");
    }
    hosts.iter().try_for_each(|host| context.say(&report::host(host), || row(host)))
}

fn row(host: &KnownHost) -> String {
    let standing = match host.standing {
        Standing::Paired => "paired",
        Standing::Pending => "waits for the desk; the next connection finishes it",
        Standing::Removed { .. } => "removed at the desk; pair again",
        Standing::Damaged => "what was remembered is damaged; pair again",
    };
    let may = host.entitlement.as_ref().map(|entitlement| format!("  {}", grant::entitled(entitlement)));
    let broken = host.broken.as_ref().map(|broken| format!("\n  {}", heads::sentence(broken)));
    let (name, may, broken) = (sanitize::line(&host.name), may.unwrap_or_default(), broken.unwrap_or_default());
    format!("{}  {name}  {standing}{may}{broken}", host.id)
}

pub(super) async fn forget(args: Forget, context: &Context) -> Result<(), Failure> {
    let client = open(context, None).await?;
    let forgotten = async {
        let host = choose(client.hosts().await?, Some(&args.host))?;
        client.forget(host.id).await?;
        Ok::<_, Failure>(host)
    }
    .await;
    client.shutdown().await;
    let host = forgotten?;
    context.say(&json!({"is": "forgotten", "host": host.id.to_string(), "name": host.name}), || {
        format!("Forgot “{}”, here only.", sanitize::line(&host.name))
    })?;
    context.note("At the desk this phone is still listed; `farhelm devices revoke` removes it there.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;
    use farhelm_core::policy::{Entitlement, Right};

    use super::*;

    #[test]
    fn a_row_says_what_the_host_allows_once_it_has_said_so() {
        let id = Identity::from_seed(&[1; 32]).node_id();
        let (standing, entitlement) = (Standing::Paired, None);
        let host = KnownHost { id, name: "desk".into(), standing, entitlement, head: None, broken: None };
        assert_eq!(row(&host), format!("{id}  desk  paired"));
        let allows = |folders: &[&str]| {
            let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
            let entitlement = Entitlement { right: Right::Approver, folders, until_ms: None };
            row(&KnownHost { entitlement: Some(entitlement), ..host.clone() })
        };
        assert_eq!(allows(&["/srv/a", "/srv/\x1b[2J"]), format!("{id}  desk  paired  approver in /srv/a, /srv/␛[2J"));
        assert_eq!(allows(&[]), format!("{id}  desk  paired  approver in no folder"));
    }
}
