//! The record of what phones had done, when its host is killed while it writes to it.

// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "killed/after.rs"]
mod after;
mod killed;
#[path = "killed/moment.rs"]
mod moment;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use farhelm_core::audit::{Effect, Record};
use farhelm_core::identity::Identity;
use farhelm_store::{Audit, audit};

const DIR: &str = "FARHELM_RECORDED";
const KILLS: u32 = 25;

fn host() -> Identity {
    Identity::from_seed(&[9; 32])
}

fn path(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

/// The writer's side: a test only so that this very binary can be run as another process.
#[test]
fn as_another_process_record_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let chain = Audit::open(&path(Path::new(&dir)), &host()).unwrap();
    for at_ms in 0..100_000 {
        let record = chain.append(Record::new(at_ms, "turn/start", Effect::Asked)).unwrap();
        writeln!(std::io::stdout(), "\nrecorded {}", record.seq).unwrap();
    }
}

fn writer(dir: &Path) -> Child {
    killed::run("as_another_process_record_until_killed", &[(DIR, dir)])
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("recorded ")?.parse().ok()
}

#[test]
fn what_was_recorded_survives_a_sigkill_at_any_moment_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for kill in 0..KILLS {
        let moment = Duration::from_micros(u64::from(kill) * 97 % 1_500);
        let seen = after::after(writer(dir.path()), 5 + kill as usize, moment, acknowledged);
        let last = *seen.last().unwrap();
        let kept = audit::read(&path(dir.path())).unwrap();
        let whole = kept.verify(host().node_id(), &[]).unwrap_or_else(|broken| panic!("kill {kill}: {broken}"));
        // One more may stand there, of which nobody was told.
        assert!((last..=last + 1).contains(&whole.end.seq()), "kill {kill}: {} after {last}", whole.end.seq());
    }
}
