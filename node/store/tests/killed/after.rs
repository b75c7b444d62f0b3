//! Killed after it has acknowledged something.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use crate::moment::wait;

/// Lets it acknowledge `count` steps, each a line that `step` knows, kills it a moment later, and returns all that it
/// acknowledged.
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
