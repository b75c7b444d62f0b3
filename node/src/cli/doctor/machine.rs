//! Whether this machine is fit: is Codex there, is the clock right as far as that can be told without asking anybody.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{Finding, Found};
use crate::cli::when;
use crate::host::app_server::{Codex, Options};
use crate::host::devices::now_ms;

/// When this was written: no clock that is right shows less (2026-11-01 UTC).
const WRITTEN_MS: u64 = 1_793_491_200_000;
/// Further ahead than anybody's file is.
const ABSURD: Duration = Duration::from_secs(20 * 365 * 86_400);
/// By how much a file may seem to be of the future: another machine's clock, on a shared file system.
const SLACK: Duration = Duration::from_secs(120);

/// Whether Codex can be started, and is a release that the tests run against.
pub(super) async fn codex() -> Finding {
    const WHAT: &str = "codex";
    let options = Options { codex: None, codex_home: None, runtime_dir: Default::default(), environment: Vec::new() };
    let codex = match Codex::find(&options) {
        Ok(codex) => codex,
        Err(error) => {
            let says = format!("{error}; a host needs it: npm install -g @openai/codex");
            return Finding::new(WHAT, Found::Absent, says);
        }
    };
    let at = codex.program().display().to_string();
    match codex.version().await {
        Ok(version) => {
            let details = json!({ "program": at, "version": version.to_string(), "tested": version.is_tested() });
            let (found, says) = match version.warning() {
                None => (Found::Ok, format!("{version} at {at}")),
                Some(warning) => (Found::Odd, format!("{warning} (found at {at})")),
            };
            Finding::new(WHAT, found, says).with(details)
        }
        Err(error) => Finding::new(WHAT, Found::Odd, format!("{at} is there, but: {error}")),
    }
}

/// Tickets, guests' times and signed records go by the clock.
pub(super) fn clock(state: &Path) -> Finding {
    judge(now_ms(), newest(state))
}

/// When something here was last written.
fn newest(state: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(state).ok()?.flatten();
    entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

fn judge(now_ms: u64, newest: Option<SystemTime>) -> Finding {
    const WHAT: &str = "clock";
    let details = json!({ "now_ms": now_ms });
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
    let written = SystemTime::UNIX_EPOCH + Duration::from_millis(WRITTEN_MS);
    let shown = when::shown(now_ms);
    let ahead = newest.and_then(|newest| newest.duration_since(now).ok()).filter(|ahead| *ahead > SLACK);
    let (found, says) = if now < written || now > written + ABSURD {
        (Found::Bad, format!("{shown} can't be right; tickets and guests' times go by it: set it, or turn on NTP"))
    } else if let Some(ahead) = ahead {
        let says = format!("{shown}, but a file here was written {} s after that; was it set back?", ahead.as_secs());
        (Found::Odd, says)
    } else {
        (Found::Ok, format!("{shown}, as far as can be told without asking anybody"))
    };
    Finding::new(WHAT, found, says).with(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_must_lie_before_it() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let now = WRITTEN_MS + 1_000_000;
        assert_eq!(judge(now, None).found, Found::Ok);
        assert_eq!(judge(now, Some(at(now - 5))).found, Found::Ok);
        assert_eq!(judge(now, Some(at(now + 60_000))).found, Found::Ok, "a shared file system's");
        assert_eq!(judge(now, Some(at(now + 3_600_000))).found, Found::Odd);
        assert_eq!(judge(0, None).found, Found::Bad);
        assert_eq!(judge(u64::MAX / 1_000_000, None).found, Found::Bad);
    }
}
