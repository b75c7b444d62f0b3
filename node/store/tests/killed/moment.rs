//! A moment, measured.

use std::time::{Duration, Instant};

/// Shorter than what a sleep can do.
pub(crate) fn wait(moment: Duration) {
    let start = Instant::now();
    while start.elapsed() < moment {
        std::hint::spin_loop();
    }
}
