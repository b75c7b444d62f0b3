//! Killed while it writes.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use crate::moment::wait;

/// Kills it a moment after it wrote to the file. An opening may be over by then.
pub(crate) fn amidst(mut child: Child, file: &Path, moment: Duration) {
    let modified = || std::fs::metadata(file).unwrap().modified().unwrap();
    let before = modified();
    while modified() == before && child.try_wait().unwrap().is_none() {}
    wait(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}
