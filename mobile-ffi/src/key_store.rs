//! Where the app keeps the phone's secrets: Keychain on iOS, Keystore on Android. The app implements it.
//!
//! Ed25519 keys are *stored* by it, not bound to hardware: the library holds them in memory while it runs. Values that
//! cross are copied by UniFFI and the app's language; those copies are not wiped.

use std::sync::Arc;

use async_trait::async_trait;
use farhelm_phone::key_store;
use zeroize::Zeroizing;

/// Why the app's store couldn't do what it was asked. The reason is shown to a person; keep secrets out of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum StoreError {
    /// It is there but closed: the device is locked, or a prompt was refused.
    #[error("{reason}")]
    Locked {
        /// What happened, in a few words.
        reason: String,
    },
    /// It failed.
    #[error("{reason}")]
    Failed {
        /// What happened, in a few words.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for StoreError {
    /// The app threw something that is no `StoreError`.
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

/// Keeps named secrets for this device only: not in backups, readable after the first unlock. `put` must be durable
/// when it returns, and whole or not at all. A call that takes longer than a minute counts as failed.
///
/// Names are ASCII: letters, digits, `-` and one `/` at most. Values are small, under 16 KiB.
#[uniffi::export(with_foreign)]
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The value of that name, if there is one.
    async fn get(&self, name: String) -> Result<Option<Vec<u8>>, StoreError>;

    /// Stores or replaces a value.
    async fn put(&self, name: String, value: Vec<u8>) -> Result<(), StoreError>;

    /// Removes a value; one that isn't there is no error.
    async fn delete(&self, name: String) -> Result<(), StoreError>;

    /// Every name there is.
    async fn list(&self) -> Result<Vec<String>, StoreError>;
}

/// The app's store as the client wants it.
pub(crate) struct Adapted(pub(crate) Arc<dyn KeyStore>);

#[async_trait]
impl key_store::KeyStore for Adapted {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, key_store::Error> {
        Ok(self.0.get(name.to_owned()).await?.map(Zeroizing::new))
    }

    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), key_store::Error> {
        Ok(self.0.put(name.to_owned(), value.to_vec()).await?)
    }

    async fn delete(&self, name: &str) -> Result<(), key_store::Error> {
        Ok(self.0.delete(name.to_owned()).await?)
    }

    async fn list(&self) -> Result<Vec<String>, key_store::Error> {
        Ok(self.0.list().await?)
    }
}

impl From<StoreError> for key_store::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { reason } => Self::Locked(reason),
            StoreError::Failed { reason } => Self::Failed(reason),
        }
    }
}
