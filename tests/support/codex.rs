//! Where the real Codex is, or that it isn't there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The pinned Codex: the one FARHELM_TEST_CODEX names, else the one that `tests/run` installs. Without it a plain
/// `cargo test` says what it leaves out; under `tests/run` that is a failure.
pub(crate) fn codex() -> Option<PathBuf> {
    let installed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/codex/node_modules/.bin/codex");
    let codex = std::env::var_os("FARHELM_TEST_CODEX").map_or_else(installed, PathBuf::from);
    if codex.exists() {
        return Some(codex);
    }
    let all = std::env::var_os("FARHELM_TEST_ALL").is_some();
    assert!(!all, "{} is missing; run ./tests/run, which installs it", codex.display());
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the capture of a passing test's output.
    let _ = writeln!(io::stderr(), "left out: {test}, which needs the real codex (run ./tests/run, which installs it)");
    None
}
