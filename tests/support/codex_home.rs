//! The real Codex in a home of its own: never the user's, never on the network, nothing left behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use farhelm::demo::model::codex_config;

/// A CODEX_HOME, a folder to work in and a place for sockets. Whatever Codex still runs there ends with it.
pub(crate) struct CodexHome {
    root: tempfile::TempDir,
}

impl CodexHome {
    /// Configured for a model server on this port of loopback. Not in the temp dir, where Codex refuses to put its helpers.
    pub(crate) fn new(model_port: u16) -> Self {
        let root = tempfile::Builder::new().prefix("codex").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let home = Self { root: root.expect("a scratch folder") };
        fs::create_dir(home.path()).expect("a CODEX_HOME");
        fs::create_dir(home.folder("work")).expect("a folder to work in");
        // What a person is asked at the first start: whether the folder is theirs, and whether to try a newer model.
        let work = home.folder("work");
        let answered = format!(
            "\n[projects.{work:?}]\ntrust_level = \"trusted\"\n\n[notice.model_migrations]\n\"gpt-5.5\" = \"gpt-6-sol\"\n"
        );
        fs::write(home.path().join("config.toml"), codex_config(model_port) + &answered).expect("a configuration");
        home
    }

    /// The CODEX_HOME itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder("home")
    }

    /// A folder or file beside it: `work` is there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The processes whose command line names a path in here.
    fn processes(&self) -> Vec<u32> {
        let root = self.root.path().as_os_str().as_bytes();
        let names = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(root.len()).any(|part| part == root)
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(names).collect()
    }

    /// What Codex's socket links point at, in the temp dir.
    fn sockets(&self) -> Vec<PathBuf> {
        let control = self.path().join("app-server-control");
        let folders = [control, self.folder("run"), self.folder("other"), self.folder("work")];
        let entries = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    }
}

impl Drop for CodexHome {
    fn drop(&mut self) {
        // The daemon has a companion that `daemon stop` doesn't end. Gone before their files are, or they write new ones.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.processes();
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            for pid in left {
                let _ = Command::new("sh").args(["-c", "kill -9 $0", &pid.to_string()]).status();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for socket in self.sockets() {
            let _ = fs::remove_file(&socket);
            let _ = fs::remove_file(socket.with_extension("lock"));
        }
    }
}
