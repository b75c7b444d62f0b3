//! The keeper on a disk without room.
//!
//! The disk is a real one, of a megabyte, in memory, mounted in a namespace of the test's own. Where there are no such
//! namespaces the test says so and shows nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use farhelm_overlay::channel;
use farhelm_phone::Why;

use super::*;

const DIR: &str = "FARHELM_TEST_FULL_DIR";
const TEST: &str = "host::logs::tests::full::a_full_disk_acknowledges_nothing_says_so_and_hides_no_gap";

/// Runs the test again, with a small disk at `DIR`.
fn on_a_small_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m none \"$0\" || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]).arg(dir.path());
    command.arg(std::env::current_exe().unwrap()).args(["--exact", TEST, "--nocapture"]).env(DIR, dir.path());
    match command.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) if done.status.code() == Some(101) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
        // A plain `cargo test` goes on without; under `tests/run` that is a failure.
        other => {
            assert!(std::env::var_os("FARHELM_TEST_ALL").is_none(), "no small disk here: {other:?}");
            eprintln!("left out, as there is no small disk here: {other:?}");
        }
    }
}

/// Leaves no room beside it.
fn fill(filler: &Path) {
    let mut file = File::create(filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

/// Asks for something that takes a page.
fn large(seq: u64) -> Entry {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    let params = ByteBuf::from(format!("{{}}{}", " ".repeat(3000)));
    let envelope = Envelope::Request(Request { id: ByteArray::new(id), method: "turn/start".into(), params });
    Entry { seq, body: ByteBuf::from(Logged { act: Some(ActId::new(id)), envelope }.encode()) }
}

/// The phone asks until the path ends: what was acknowledged, and why it ended.
async fn until_the_end(phone: &mut Phone) -> (u64, Option<CloseReason>) {
    let Phone { channel, path, .. } = phone;
    let mut stored = 0;
    loop {
        path.entry(large(stored + 1)).await;
        tokio::select! {
            why = path.ended() => return (stored, why),
            upto = acknowledgement(channel) => stored = upto,
        }
    }
}

async fn acknowledgement(channel: &mut Channel) -> u64 {
    loop {
        if let Envelope::Ack(ack) = channel.receive().await.expect("an envelope") {
            return ack.upto;
        }
    }
}

/// The host closes the path, as it was told to; the phone reads it to its end.
async fn closed(mut phone: Phone, why: CloseReason) -> channel::Error {
    tokio::spawn(phone.at_host.close(why));
    loop {
        match phone.channel.receive().await {
            Ok(Envelope::Ack(ack)) => panic!("{ack:?} of what isn't stored"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_says_so_and_hides_no_gap() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return on_a_small_disk() };
    let desk = Desk::on(Arc::new(Journal::open(&dir.join("journal")).unwrap()));
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    let Envelope::Attached(before) = phone.told().await else { panic!("the host's position") };
    fill(&dir.join("filler"));
    let (stored, why) = within(until_the_end(&mut phone)).await;
    assert_eq!(why, Some(CloseReason::StoreFailed));
    let error = within(closed(phone, CloseReason::StoreFailed)).await;
    assert!(Why::from(&error).to_string().contains("free space on its disk"), "{error}");

    desk.logs.push(device(), ended("lost"));
    let (_phone, at_host) = channels(&Identity::from_seed(&[2; 32])).await;
    let refused = desk.logs.attach(device(), attach(2, None), at_host.sender()).await.map(drop);
    assert_eq!(refused, Err(Refused::StoreFailed));

    fs::remove_file(dir.join("filler")).unwrap();
    let mut phone = Phone::at(&desk, attach(3, Some(Heard { log: before.position.log, upto: 0 }))).await;
    let Envelope::Attached(after) = phone.told().await else { panic!("the host's position") };
    assert_eq!(after.position.heard.map_or(0, |heard| heard.upto), stored);
    assert_eq!(desk.journal.read(device()).unwrap().acts.len() as u64, stored);
    assert_ne!(after.position.log, before.position.log, "what couldn't be logged is lost, so the log begins anew");
    phone.path.entry(large(stored + 1)).await;
    assert_eq!(phone.acknowledged().await, stored + 1);
}
