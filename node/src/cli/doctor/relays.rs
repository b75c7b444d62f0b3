//! The relays that are asked: those that the host here has, those of the hosts that the phone here is paired with, and
//! those that are named.

use farhelm_overlay::Multiaddr;
use farhelm_store::Store;

use crate::cli::devices::ask;
use crate::cli::home::STORE;
use crate::cli::{Context, Exit, Failure, phone};
use crate::host::control::{Reply, Request};
use crate::host::relay_address;

/// Each once, those that are named first.
pub(super) async fn known(context: &Context, named: &[String]) -> Result<Vec<Multiaddr>, Failure> {
    let mut relays = Vec::new();
    for address in named {
        relays.push(relay_address(address)?);
    }
    // What isn't readable is for `state` to name.
    relays.extend(of_host(context).await?.iter().filter_map(|address| relay_address(address).ok()));
    relays.extend(phone::relays(context).await.map_err(|error| Failure::new(Exit::State, error))?);
    let mut once = Vec::new();
    for relay in relays {
        if !once.contains(&relay) {
            once.push(relay);
        }
    }
    Ok(once)
}

async fn of_host(context: &Context) -> Result<Vec<String>, Failure> {
    if let Some(Reply::Relays { relays }) = ask(&Request::Relays, context).await? {
        return Ok(relays.into_iter().map(|relay| relay.address).collect());
    }
    let store = context.directories()?.state().join(STORE);
    let looked = if store.exists() { Store::look(&store).ok() } else { None };
    Ok(looked.and_then(|store| store.relays().ok()).unwrap_or_default())
}
