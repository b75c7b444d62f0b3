//! Hears of every process that waits at a fault point, does what the plan says, and lets it go on.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::world::World;

/// Until the world is gone.
pub(crate) fn listen(world: &Arc<World>) {
    let listener = UnixListener::bind(world.path("faults.sock")).expect("a socket");
    let world = Arc::downgrade(world);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if world.strong_count() == 0 {
                return;
            }
            tokio::spawn(attend(socket, world.clone()));
        }
    });
}

async fn attend(socket: UnixStream, world: Weak<World>) {
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    if !matches!(socket.read_line(&mut line).await, Ok(1..)) {
        return;
    }
    let report: Value = serde_json::from_str(&line).expect("a report");
    let pid = u32::try_from(report["pid"].as_u64().expect("a number")).expect("a process id");
    let Some(world) = world.upgrade() else { return };
    let point = report["point"].as_str().expect("a name");
    let kind = world.begun.load(Ordering::Acquire).then(|| world.plan.next(point)).flatten();
    let word = match kind {
        Some(kind) => {
            world.note(format_args!("{point}: {kind:?}"));
            world.fault(kind, pid, report["n"].as_u64().unwrap_or_default().is_multiple_of(2)).await
        }
        None => "go",
    };
    // It may have been killed meanwhile.
    let _ = socket.write_all(format!("{word}\n").as_bytes()).await;
}
