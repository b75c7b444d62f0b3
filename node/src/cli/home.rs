//! A node's home on this machine: its directories, the lock on them, its key.

use std::path::Path;

use farhelm_core::identity::Identity;
use farhelm_platform::directories::{self, Directories};
use farhelm_platform::lock::Lock;
use farhelm_platform::secret_file;
use farhelm_store::{Audit, Journal, Store};

use super::{Context, Exit, Failure};

/// The key's file: 32 bytes, the Ed25519 seed.
pub(super) const KEY: &str = "identity.key";

/// The store's file.
pub(super) const STORE: &str = "host.redb";

/// The file of what is on its way to phones and from them.
pub(super) const JOURNAL: &str = "journal.redb";

/// The file of what phones had the host do.
pub(super) const AUDIT: &str = "audit.log";

/// Everything a host keeps, held by this process until it is dropped.
pub(super) struct HostHome {
    pub(super) directories: Directories,
    pub(super) identity: Identity,
    pub(super) store: Store,
    pub(super) journal: Journal,
    pub(super) audit: Audit,
    // Last: dropped after the store is closed.
    pub(super) lock: Lock,
}

impl HostHome {
    /// Opens it, or says who has it open. What isn't there yet is made.
    pub(super) fn open(context: &Context, doing: &str) -> Result<Self, Failure> {
        let directories = context.directories()?;
        directories.prepare()?;
        let lock = Lock::take(directories.state(), doing)?;
        let identity = identity(directories.state())?;
        let store = Store::open(&directories.state().join(STORE)).map_err(|error| Failure::new(Exit::State, error))?;
        let journal = directories.state().join(JOURNAL);
        let journal = Journal::open(&journal).map_err(|error| Failure::new(Exit::State, error))?;
        let audit = Audit::open(&directories.state().join(AUDIT), &identity);
        let audit = audit.map_err(|error| Failure::new(Exit::State, error))?;
        Ok(Self { directories, identity, store, journal, audit, lock })
    }
}

/// The key in `directory`, made at the first start. The directory is made as well; one that others may look into is
/// refused.
pub(super) fn identity(directory: &Path) -> Result<Identity, Failure> {
    directories::private(directory)?;
    let path = directory.join(KEY);
    match secret_file::read::<32>(&path) {
        Ok(seed) => Ok(Identity::from_seed(&seed)),
        Err(secret_file::Error::Missing { .. }) => {
            let identity = Identity::generate(&mut rand::rng());
            secret_file::create(&path, &*identity.seed())?;
            Ok(identity)
        }
        Err(error) => Err(error.into()),
    }
}

/// What this machine calls itself, for people who give no name.
pub(super) fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "host".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("relay");
        let made = identity(&home).unwrap().node_id();
        assert_eq!(identity(&home).unwrap().node_id(), made);
        let mode = std::fs::metadata(home.join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("relay");
        identity(&home).unwrap();
        std::fs::set_permissions(home.join(KEY), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(identity(&home).unwrap_err().code(), Exit::State);
    }

    #[test]
    fn a_damaged_key_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("relay");
        identity(&home).unwrap();
        std::fs::write(home.join(KEY), b"short").unwrap();
        assert_eq!(identity(&home).unwrap_err().code(), Exit::State);
        assert_eq!(std::fs::read(home.join(KEY)).unwrap(), b"short");
    }
}
