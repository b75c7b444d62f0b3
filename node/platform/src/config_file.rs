//! Files a user edits: read whole, if they are no longer than such a file can sensibly be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a settings file at the most: hundreds of times what ours need, and Codex's own have a few KiB.
pub const LIMIT: u64 = 1 << 20;

/// Reads a settings file.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::other(format!("longer than {LIMIT} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit_and_refused_beyond_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let limit = usize::try_from(LIMIT).unwrap();
        std::fs::write(&path, " ".repeat(limit)).unwrap();
        assert_eq!(read(&path).unwrap().len(), limit);
        std::fs::write(&path, " ".repeat(limit + 1)).unwrap();
        assert!(read(&path).is_err());
    }
}
