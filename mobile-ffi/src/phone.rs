//! This device: its identity, the hosts it is paired with, and the network under them.

use std::sync::Arc;

use farhelm_phone::{Client, Config, NodeId};

use crate::error::{CallError, PairError};
use crate::host::Host;
use crate::key_store::{Adapted, KeyStore};
use crate::pairing::Pairing;
use crate::records::{KnownHost, PathPolicy};
use crate::runtime::Runtime;

/// This phone. Keep one for each key store, and only one: two sessions of one device replace each other.
///
/// When it and every [`Host`] of it are gone, everything is cut. [`shutdown`](Self::shutdown) says goodbye first.
#[derive(uniffi::Object)]
pub struct Phone {
    client: Client,
    runtime: Runtime,
}

#[uniffi::export]
impl Phone {
    /// Loads or makes this phone's identity and starts its network. Connects to nobody yet. `device_name` is what hosts
    /// show for it; at most 64 bytes are kept.
    /// `journal` is a file in a folder that is this app's alone: in it is kept what is on its way to hosts and from
    /// them, so that it survives the end of the app; without one it survives the end of connections only. `paths` says
    /// which paths may carry sessions; without it any may, and direct ones come first.
    #[uniffi::constructor(default(journal = None, paths = None))]
    pub async fn open(
        device_name: String,
        store: Arc<dyn KeyStore>,
        journal: Option<String>,
        paths: Option<PathPolicy>,
    ) -> Result<Self, CallError> {
        let runtime = Runtime::new().map_err(|error| CallError::Network(format!("no threads to run on: {error}")))?;
        let (journal, paths) = (journal.map(Into::into), paths.map(Into::into).unwrap_or_default());
        let config = Config { journal, paths, ..Config::new(device_name) };
        let opening = async { Client::open(config, Arc::new(Adapted(store))).await };
        let client = runtime.run(async { opening.await.map_err(CallError::from) }).await?;
        Ok(Self { client, runtime })
    }

    /// This phone's id, which is also its peer id.
    pub fn id(&self) -> String {
        self.client.id().to_string()
    }

    /// Every host this phone remembers, by name.
    pub async fn hosts(&self) -> Result<Vec<KnownHost>, CallError> {
        let client = self.client.clone();
        let listing = async move { Ok::<_, CallError>(client.hosts().await?) };
        Ok(self.runtime.run(listing).await?.into_iter().map(KnownHost::from).collect())
    }

    /// The app found a host in this network, as Bonjour or Android's NSD tell it: the service `_farhelm._tcp`, with the
    /// host's id in the TXT record's `id`, TCP's port as its port and QUIC's in `quic`. `addresses` are multiaddrs, such as
    /// `/ip4/192.168.1.7/tcp/24000`; what isn't one is left out. Hosts that aren't paired are ignored.
    pub async fn found_nearby(&self, host: String, addresses: Vec<String>) -> Result<(), CallError> {
        let id = node_id(&host)?;
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let client = self.client.clone();
        let noting = async move {
            client.found_nearby(id, addresses).await;
            Ok(())
        };
        self.runtime.run(noting).await
    }

    /// Begins a pairing with the text of a QR: on return the host is proven, and the four words can be compared.
    pub async fn pair(&self, ticket: String) -> Result<Arc<Pairing>, PairError> {
        let client = self.client.clone();
        let beginning = async move { client.pair(&ticket).await.map_err(PairError::from) };
        let begun = self.runtime.run(beginning).await?;
        Ok(Pairing::new(begun, self.runtime.clone()))
    }

    /// A paired host, at once; it connects in the background, and stays connected until [`forget`](Self::forget),
    /// [`shutdown`](Self::shutdown) or the end of the phone.
    pub async fn connect(&self, host: String) -> Result<Arc<Host>, CallError> {
        let (client, id) = (self.client.clone(), node_id(&host)?);
        let connected = self.runtime.run(async move { Ok::<_, CallError>(client.connect(id).await?) }).await?;
        Ok(Host::new(connected, self.runtime.clone()))
    }

    /// To be called when the device's network changed: every connection is proven or made anew, at once.
    pub async fn network_changed(&self) -> Result<(), CallError> {
        let client = self.client.clone();
        let proving = async move {
            client.network_changed().await;
            Ok(())
        };
        self.runtime.run(proving).await
    }

    /// To be called when the app comes to the front or leaves it; at first it is in front. In front a dead connection is
    /// noticed within seconds, else radio and battery are left alone.
    pub async fn set_active(&self, active: bool) -> Result<(), CallError> {
        let client = self.client.clone();
        let setting = async move {
            client.set_active(active).await;
            Ok(())
        };
        self.runtime.run(setting).await
    }

    /// To be called when the app or the device is awake again: nobody waits for a retry that was due meanwhile.
    pub async fn did_resume(&self) -> Result<(), CallError> {
        let client = self.client.clone();
        let waking = async move {
            client.did_resume().await;
            Ok(())
        };
        self.runtime.run(waking).await
    }

    /// The person has taken note that a host's record isn't what it was: from here on it counts as it is. Says whether
    /// it was broken.
    pub async fn accept_record(&self, host: String) -> Result<bool, CallError> {
        let (client, id) = (self.client.clone(), node_id(&host)?);
        self.runtime.run(async move { Ok(client.accept_record(id).await?) }).await
    }

    /// Forgets a host, here only: the host still lists this phone until somebody removes it there.
    pub async fn forget(&self, host: String) -> Result<(), CallError> {
        let (client, id) = (self.client.clone(), node_id(&host)?);
        self.runtime.run(async move { Ok(client.forget(id).await?) }).await
    }

    /// Says goodbye to every host and ends the network. Whatever is called afterwards fails.
    pub async fn shutdown(&self) -> Result<(), CallError> {
        let client = self.client.clone();
        let ending = async move {
            client.shutdown().await;
            Ok(())
        };
        self.runtime.run(ending).await
    }
}

fn node_id(text: &str) -> Result<NodeId, CallError> {
    let sentence = "this is no host's id; take one from the list of hosts";
    text.parse().map_err(|_| CallError::NotPaired(sentence.into()))
}
