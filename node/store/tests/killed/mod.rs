//! Another process that is killed: one of the test's own binary, running one of its tests.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Runs `test` of this binary as another process, with these variables.
pub(crate) fn run(test: &str, variables: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).envs(variables.iter().copied());
    command.stdout(Stdio::piped()).spawn().unwrap()
}
