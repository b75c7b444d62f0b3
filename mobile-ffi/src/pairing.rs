//! A pairing under way: the words are on the screen, and the desk is asked when a person finishes it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farhelm_phone as phone;

use crate::error::PairError;
use crate::host::Host;
use crate::runtime::Runtime;

/// A pairing with a host that has proven itself; nothing was said of this phone yet but its id. Dropping it ends it.
#[derive(uniffi::Object)]
pub struct Pairing {
    host: String,
    name: String,
    words: Vec<String>,
    begun: Mutex<Option<phone::Pairing>>,
    runtime: Runtime,
}

impl Pairing {
    pub(crate) fn new(begun: phone::Pairing, runtime: Runtime) -> Arc<Self> {
        let words = begun.words().map(ToOwned::to_owned).into();
        let (host, name) = (begun.host().to_string(), begun.name().to_owned());
        Arc::new(Self { host, name, words, begun: Mutex::new(Some(begun)), runtime })
    }
}

#[uniffi::export]
impl Pairing {
    /// The host's id.
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// The host's name as the ticket says; perhaps cut or empty.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Four words that the desk shows too: a person compares.
    pub fn words(&self) -> Vec<String> {
        self.words.clone()
    }

    /// Says who this phone is, and waits for the desk for at most `patience`. Once only.
    pub async fn finish(&self, patience: Duration) -> Result<Arc<Host>, PairError> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(PairError::Finished)?;
        let finishing = async move { begun.finish(patience).await.map_err(PairError::from) };
        let paired = self.runtime.run(finishing).await?;
        Ok(Host::new(paired.host, self.runtime.clone()))
    }
}
