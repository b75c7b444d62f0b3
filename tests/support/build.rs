//! Programs and libraries that cargo doesn't build for a test by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds what isn't built yet; gives the folder in which it lies.
///
/// # Why the whole workspace
/// Cargo chooses the features of shared dependencies by what is selected. This is the selection (with the examples,
/// that of tests) of `cargo test --workspace`, so after that nothing is built a second time.
pub(crate) fn workspace() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--workspace", "--lib", "--bins", "--examples", "--locked"]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("debug")
}
