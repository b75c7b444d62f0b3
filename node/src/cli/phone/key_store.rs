//! The terminal phone's key store: private files below the state directory, one a name.
//!
//! A file is written whole or not at all and readable by the user alone; looser ones are refused, not mended, because
//! what they hold may be known by now. It encrypts nothing: whoever is root can read it.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use farhelm_phone::KeyStore;
use farhelm_phone::key_store::Error;
use farhelm_platform::{directories, secret_file};
use zeroize::Zeroizing;

/// What one value may have; the phone's are smaller.
const LIMIT: u64 = 64 * 1024;

/// A directory of secrets.
#[derive(Debug, Clone)]
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) const fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// `kind/name` is a file in a directory of its own.
    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let fits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.split('/').count() > 2 || !name.split('/').all(fits) {
            return Err(Error::Failed(format!("{name:?} is no name for a secret")));
        }
        Ok(self.0.join(name))
    }

    /// File systems block.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let files = self.clone();
        let done = tokio::task::spawn_blocking(move || act(files)).await;
        done.unwrap_or_else(|_| Err(Error::Failed("interrupted".into())))
    }
}

#[async_trait]
impl KeyStore for Files {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = self.path(name)?;
        self.with(move |_| match secret_file::read_up_to(&path, LIMIT) {
            Ok(value) => Ok(Some(value)),
            Err(secret_file::Error::Missing { .. }) => Ok(None),
            Err(error) => Err(refused(&error)),
        })
        .await
    }

    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        let path = self.path(name)?;
        self.with(move |files| {
            let directory = path.parent().unwrap_or(&files.0);
            directories::private(directory).map_err(|error| Error::Locked(error.to_string()))?;
            secret_file::replace(&path, &value).map_err(|error| refused(&error))
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name)?;
        self.with(move |_| match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&path, &error)),
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        self.with(|files| {
            let mut names = Vec::new();
            for (name, is_directory) in entries(&files.0)? {
                if is_directory {
                    let below = entries(&files.0.join(&name))?;
                    names.extend(below.into_iter().filter(|below| !below.1).map(|below| format!("{name}/{}", below.0)));
                } else {
                    names.push(name);
                }
            }
            names.retain(|name| files.path(name).is_ok());
            Ok(names)
        })
        .await
    }
}

/// What is in a directory: names, and whether each is a directory. One that isn't there is empty.
fn entries(directory: &Path) -> Result<Vec<(String, bool)>, Error> {
    let listed = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| failed(directory, &error))?,
    };
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| failed(directory, &error))?;
        let is_directory = entry.file_type().map_err(|error| failed(directory, &error))?.is_dir();
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, is_directory));
        }
    }
    Ok(entries)
}

fn refused(error: &secret_file::Error) -> Error {
    match error {
        secret_file::Error::Io { .. } => Error::Failed(error.to_string()),
        _ => Error::Locked(error.to_string()),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn value(byte: u8) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![byte; 40])
    }

    #[tokio::test]
    async fn values_are_kept_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::at(folder.path().join("phone"));
        assert_eq!(files.list().await, Ok(Vec::new()), "nothing is made by looking");
        files.put("identity", value(1)).await.unwrap();
        files.put("host/12D3KooW", value(2)).await.unwrap();
        files.put("host/12D3KooW", value(3)).await.unwrap();
        let mut names = files.list().await.unwrap();
        names.sort();
        assert_eq!(names, ["host/12D3KooW", "identity"]);
        assert_eq!(files.get("host/12D3KooW").await, Ok(Some(value(3))));
        files.delete("host/12D3KooW").await.unwrap();
        files.delete("host/12D3KooW").await.unwrap();
        assert_eq!(files.get("host/12D3KooW").await, Ok(None));
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::at(folder.path().join("phone"));
        files.put("identity", value(1)).await.unwrap();
        let path = folder.path().join("phone/identity");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(files.get("identity").await, Err(Error::Locked(_))));
    }

    #[tokio::test]
    async fn a_name_never_leaves_the_directory() {
        let files = Files::at("/nowhere".into());
        for name in ["", "..", "../identity", "host/..", "/etc/passwd", "a/b/c", "a\0b"] {
            assert!(matches!(files.get(name).await, Err(Error::Failed(_))), "{name:?}");
        }
    }
}
