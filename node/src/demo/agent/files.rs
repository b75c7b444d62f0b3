//! What the scripted agent may read and write, and the diffs of what it writes.
//!
//! [`Scratch`] is the only hand that touches the disk, and only below its folder: symbolic links are resolved before
//! a path is judged. Codex's own rule for asking ([`needs_approval`]) is a different matter: inside the thread's
//! folder it writes freely (workspace-write), outside of it and in a few protected folders it asks first.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

/// Files, on disk or (in tests) in memory. Paths are absolute and without `..`.
pub(crate) trait Files: Send {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Creates or replaces a file, with its folders.
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()>;
}

/// The files below one folder.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// `folder` must exist.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.canonicalize()? })
    }

    /// Refuses what lies outside, by way of a symbolic link too.
    fn check(&self, path: &Path) -> io::Result<()> {
        let existing = path.ancestors().find(|p| p.symlink_metadata().is_ok()).unwrap_or(path);
        if existing.canonicalize()?.starts_with(&self.folder) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "outside of the scripted agent's scratch folder"))
    }
}

impl Files for Scratch {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.check(path)?;
        std::fs::read_to_string(path)
    }

    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        self.check(path)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)
    }
}

/// Whether a patch of `path` asks first, with on-request and workspace-write in `folder`.
pub(crate) fn needs_approval(folder: &Path, path: &Path) -> bool {
    match path.strip_prefix(folder) {
        Ok(inside) => inside.components().next().is_some_and(|first| PROTECTED.iter().any(|p| first.as_os_str() == *p)),
        Err(_) => true,
    }
}

/// `name` below `folder`, or itself if absolute, without `.` and `..`.
pub(crate) fn absolute(folder: &Path, name: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in folder.join(name).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// As the model named it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    before: Option<String>,
    after: String,
    line: usize,
}

impl Change {
    /// A new file.
    pub(crate) fn add(folder: &Path, name: &str, text: &str) -> Self {
        Self { name: name.into(), path: absolute(folder, name), before: None, after: text.into(), line: 0 }
    }

    /// One line of a file replaced; the error is the text Codex gives the model.
    pub(crate) fn update(files: &dyn Files, folder: &Path, name: &str, from: &str, to: &str) -> Result<Self, String> {
        let path = absolute(folder, name);
        let before = files.read(&path).map_err(|error| {
            format!("apply_patch verification failed: Failed to read file to update {}: {error}", path.display())
        })?;
        let Some(line) = before.lines().position(|line| line == from) else {
            let path = path.display();
            return Err(format!("apply_patch verification failed: Failed to find expected lines in {path}:\n{from}"));
        };
        let after = before.lines().enumerate().map(|(at, old)| format!("{}\n", if at == line { to } else { old }));
        let after = after.collect();
        Ok(Self { name: name.into(), path, before: Some(before), after, line })
    }

    /// The `changes` of the item: plain content for a new file, a hunk for an old one.
    pub(crate) fn changes(&self) -> Value {
        let (kind, diff) = match &self.before {
            None => (json!({"type": "add"}), self.after.clone()),
            Some(_) => (json!({"type": "update", "move_path": null}), self.hunk(1)),
        };
        json!([{"path": self.path, "kind": kind, "diff": diff}])
    }

    /// The turn's diff in git's form. Blob ids are zeros: nothing here needs SHA-1.
    pub(crate) fn diff(&self, folder: &Path) -> String {
        let shown = self.path.strip_prefix(folder).unwrap_or(&self.path).display();
        let (head, old) = match &self.before {
            None => (format!("new file mode 100644\nindex {NO_BLOB}..{NO_BLOB}\n"), "/dev/null".to_owned()),
            Some(_) => (format!("index {NO_BLOB}..{NO_BLOB}\n"), format!("a/{shown}")),
        };
        format!("diff --git a/{shown} b/{shown}\n{head}--- {old}\n+++ b/{shown}\n{}", self.hunk(3))
    }

    /// What Codex tells the model once it is done.
    pub(crate) fn report(&self) -> String {
        let letter = if self.before.is_some() { 'M' } else { 'A' };
        format!(
            "Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\n{letter} {}\n",
            self.name
        )
    }

    /// Does it.
    pub(crate) fn apply(&self, files: &mut dyn Files) -> io::Result<()> {
        files.write(&self.path, &self.after)
    }

    fn hunk(&self, context: usize) -> String {
        let new: Vec<&str> = self.after.lines().collect();
        let Some(before) = &self.before else {
            let lines: String = new.iter().map(|line| format!("+{line}\n")).collect();
            return format!("@@ -0,0 +1,{} @@\n{lines}", new.len());
        };
        let old: Vec<&str> = before.lines().collect();
        let (start, end) = (self.line.saturating_sub(context), (self.line + 1 + context).min(old.len()));
        let mut hunk = format!("@@ -{0},{1} +{0},{1} @@\n", start + 1, end - start);
        for at in start..end {
            match at == self.line {
                true => hunk += &format!("-{}\n+{}\n", old[at], new[at]),
                false => hunk += &format!(" {}\n", old[at]),
            }
        }
        hunk
    }
}

/// Folders of a workspace that Codex never writes without asking.
const PROTECTED: [&str; 3] = [".git", ".codex", ".agents"];
const NO_BLOB: &str = "0000000000000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_scratch_folder_is_touched() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("scratch");
        std::fs::create_dir(&folder).expect("created");
        let mut files = Scratch::new(&folder).expect("opened");
        let folder = folder.canonicalize().expect("canonical");
        files.write(&folder.join("a/b.txt"), "x").expect("written");
        assert_eq!(files.read(&folder.join("a/b.txt")).expect("read"), "x");
        assert!(files.write(&outer.path().join("c.txt"), "x").is_err());
        std::os::unix::fs::symlink(outer.path(), folder.join("link")).expect("linked");
        assert!(files.write(&folder.join("link/c.txt"), "x").is_err());
        assert!(!outer.path().join("c.txt").exists());
    }

    #[test]
    fn inside_the_workspace_no_patch_asks() {
        let folder = Path::new("/w");
        let asks = |name| needs_approval(folder, &absolute(folder, name));
        assert!(!asks("a.txt") && !asks("b/../a.txt") && !asks("/w/a.txt"));
        assert!(asks("../a.txt") && asks("/etc/a") && asks(".git/config") && asks("x/../.codex/a"));
    }

    #[test]
    fn an_update_is_shown_as_a_hunk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("canonical");
        std::fs::write(path.join("a"), "1\n2\n3\n4\n5\n").expect("written");
        let files = Scratch::new(&path).expect("opened");
        let change = Change::update(&files, &path, "a", "3", "three").expect("a change");
        assert_eq!(change.changes()[0]["diff"], "@@ -2,3 +2,3 @@\n 2\n-3\n+three\n 4\n");
        assert!(change.diff(&path).ends_with("--- a/a\n+++ b/a\n@@ -1,5 +1,5 @@\n 1\n 2\n-3\n+three\n 4\n 5\n"));
        assert!(
            Change::update(&files, &path, "a", "6", "").is_err_and(|e| e.contains("Failed to find expected lines"))
        );
        assert!(Change::update(&files, &path, "b", "6", "").is_err_and(|e| e.contains("Failed to read file")));
    }

    #[test]
    fn a_new_file_is_shown_whole() {
        let change = Change::add(Path::new("/w"), "a", "x\ny\n");
        assert_eq!(change.changes()[0]["diff"], "x\ny\n");
        assert!(change.diff(Path::new("/w")).ends_with("--- /dev/null\n+++ b/a\n@@ -0,0 +1,2 @@\n+x\n+y\n"));
    }
}
