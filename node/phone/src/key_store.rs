//! Where the phone keeps its secrets: a door that whoever builds on this library opens.
//!
//! On a phone that is the Keychain or the Keystore, in the terminal a directory of private files. This crate touches no
//! file system. Values are small (an identity, one record a host, under 16 KiB) and hold keys.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use zeroize::Zeroizing;

/// Why a store couldn't do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is there but closed: a locked device, a refused prompt, a file that others may read.
    #[error("the key store is closed to us: {0}; unlock it or mend its permissions, then try again")]
    Locked(String),
    /// It failed.
    #[error("the key store failed: {0}; free space or mend it, then try again")]
    Failed(String),
    /// It didn't answer.
    #[error("the key store does not answer; unlock the device, then try again")]
    Silent,
}

/// Keeps named secrets. `put` must be durable when it returns, and whole or not at all.
///
/// Names are ASCII: letters, digits, `-` and one `/` at most.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The value of that name, if there is one.
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error>;

    /// Stores or replaces a value.
    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), Error>;

    /// Removes a value; one that isn't there is no error.
    async fn delete(&self, name: &str) -> Result<(), Error>;

    /// Every name there is.
    async fn list(&self) -> Result<Vec<String>, Error>;
}

/// A store that forgets with the process: for tests, examples and demos.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, Secret>>);

struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Secret>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl KeyStore for Memory {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Ok(self.with(|all| all.get(name).map(|secret| secret.0.clone())))
    }

    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        self.with(|all| drop(all.insert(name.to_owned(), Secret(value))));
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        self.with(|all| drop(all.remove(name)));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.with(|all| all.keys().cloned().collect()))
    }
}
