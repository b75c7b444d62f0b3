//! What a person names of a grant, made into what is stored: folders that exist, canonical, and a time to come.

use std::path::Path;

use farhelm_core::policy::{Folders, Terms, Until, is_within};

use super::folders;

/// Folders in one grant at the most.
pub const FOLDERS: usize = 32;
/// Their bytes, all together: a row of the store takes twice that, and a phone is told all of them.
pub const FOLDERS_BYTES: usize = 8 * 1024;

/// Why terms aren't taken. Every text ends with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It isn't there, isn't a folder, or can't be looked at.
    #[error("{0:?} is not a folder that farhelm can look into; name one that exists")]
    NoFolder(String),
    /// No folder, too many, or too long ones.
    #[error(
        "a grant takes 1 to {FOLDERS} folders of {FOLDERS_BYTES} bytes together; name a folder that holds them, or leave --folder out"
    )]
    Folders,
    /// Its time is over already.
    #[error("that time is over; name one to come, like 8h, tonight or 2030-01-31T18:00:00Z")]
    Past,
}

/// Judges terms: folders are made canonical, and one that lies in another is left out, as it is included.
pub fn settle(terms: Terms, now_ms: u64) -> Result<Terms, Error> {
    let folders = match terms.folders {
        Some(Folders::Only(named)) => Some(Folders::Only(canonical(&named)?)),
        other => other,
    };
    match terms.until {
        Some(Until::Ms(ms)) if ms <= now_ms => Err(Error::Past),
        _ => Ok(Terms { folders, ..terms }),
    }
}

fn canonical(named: &[String]) -> Result<Vec<String>, Error> {
    let folder = |name: &String| {
        let found = folders::canonical(name).filter(|path| Path::new(path).is_dir());
        found.ok_or_else(|| Error::NoFolder(name.clone()))
    };
    let mut all = named.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
    // A folder sorts before what lies in it.
    all.sort();
    let mut kept: Vec<String> = Vec::new();
    for folder in all {
        if !kept.iter().any(|root| is_within(&folder, root)) {
            kept.push(folder);
        }
    }
    let bytes: usize = kept.iter().map(String::len).sum();
    if kept.is_empty() || kept.len() > FOLDERS || bytes > FOLDERS_BYTES { Err(Error::Folders) } else { Ok(kept) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn only(folders: &[&Path]) -> Terms {
        let text = |path: &&Path| path.to_str().unwrap().to_owned();
        Terms { folders: Some(Folders::Only(folders.iter().map(text).collect())), ..Terms::default() }
    }

    #[test]
    fn folders_become_canonical_and_what_is_included_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/inner")).unwrap();
        fs::create_dir(root.join("real-too")).unwrap();
        symlink(root.join("real"), root.join("link")).unwrap();
        let named = only(&[&root.join("link/inner"), &root.join("real-too"), &root.join("link"), &root.join("real")]);
        assert_eq!(settle(named, 0), Ok(only(&[&root.join("real"), &root.join("real-too")])));
        assert_eq!(settle(only(&[&root, Path::new("/")]), 0), Ok(only(&[Path::new("/")])));
    }

    #[test]
    fn what_is_no_folder_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for bad in [&*file, &dir.path().join("gone"), Path::new("relative"), Path::new("")] {
            let refused = settle(only(&[dir.path(), bad]), 0);
            assert_eq!(refused, Err(Error::NoFolder(bad.to_str().unwrap().to_owned())));
        }
    }

    #[test]
    fn no_folder_and_too_many_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: String| {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        assert_eq!(settle(only(&[]), 0), Err(Error::Folders));
        let many: Vec<_> = (0..=FOLDERS).map(|n| made(n.to_string())).collect();
        let many: Vec<&Path> = many.iter().map(|path| &**path).collect();
        assert_eq!(settle(only(&many), 0), Err(Error::Folders));
        assert!(settle(only(&many[1..]), 0).is_ok());
        // A file's name has at most 255 bytes.
        let long: Vec<_> = (10..42).map(|n| made(format!("{n}{}", "x".repeat(250)))).collect();
        let long: Vec<&Path> = long.iter().map(|path| &**path).collect();
        assert_eq!(settle(only(&long), 0), Err(Error::Folders));
    }

    #[test]
    fn a_time_that_is_over_is_refused() {
        let until = |ms| Terms { until: Some(Until::Ms(ms)), ..Terms::default() };
        assert_eq!(settle(until(10), 10), Err(Error::Past));
        assert_eq!(settle(until(11), 10), Ok(until(11)));
        let for_good = Terms { until: Some(Until::ForGood), ..Terms::default() };
        assert_eq!(settle(for_good.clone(), 10), Ok(for_good));
    }
}
