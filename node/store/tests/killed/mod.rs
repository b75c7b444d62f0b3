//! Another process that is killed: one of the test's own binary, running one of its tests.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs `test` of this binary as another process, with these variables.
pub(crate) fn run(test: &str, variables: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).envs(variables.iter().copied());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets it acknowledge `count` steps, each a line that `step` knows, kills it a moment later, and returns all that it
/// acknowledged.
#[allow(dead_code)] // Not every test that has this module kills after an acknowledgement.
pub(crate) fn after<S>(mut child: Child, count: usize, moment: Duration, step: impl Fn(&str) -> Option<S>) -> Vec<S> {
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut steps = out.lines().map(|line| line.unwrap()).filter_map(|line| step(&line));
    let mut seen: Vec<_> = steps.by_ref().take(count).collect();
    assert_eq!(seen.len(), count, "it ended by itself");
    wait(moment);
    child.kill().unwrap();
    // What was in the pipe was acknowledged before the kill.
    seen.extend(steps);
    child.wait().unwrap();
    seen
}

/// Kills it a moment after it wrote to the file. An opening may be over by then.
#[allow(dead_code)] // As above.
pub(crate) fn amidst(mut child: Child, file: &Path, moment: Duration) {
    let modified = || std::fs::metadata(file).unwrap().modified().unwrap();
    let before = modified();
    while modified() == before && child.try_wait().unwrap().is_none() {}
    wait(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Shorter than what a sleep can do.
#[allow(dead_code)] // As above.
pub(crate) fn wait(moment: Duration) {
    let start = Instant::now();
    while start.elapsed() < moment {
        std::hint::spin_loop();
    }
}
