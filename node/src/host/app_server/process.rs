//! Which process the app-server is, whoever connects to it and however often.
//!
//! The app-server numbers what it asks from 0 in every process, and asks it again under the same number on every
//! connection. So an approval's name is made of this and that number: it stays the same when the connection is lost or
//! the host is started again, and no other process ever has it.
//!
//! Not a secret and no proof: who may listen on the socket is checked where it is connected to.

use farhelm_core::session::transcript::Transcript;
use farhelm_platform::process::{Birth, birth};
use tokio::net::UnixStream;

/// Names one app-server process.
pub type ProcessEpoch = [u8; 16];

/// Says who listens at the other end of a connection.
pub(super) type Identify = Box<dyn Fn(&UnixStream) -> Option<ProcessEpoch> + Send + Sync>;

/// The process that listens at the other end, if the system tells. To be asked before the handshake: the answer to
/// that then shows that it was alive, so that its id was nobody else's.
pub(super) fn identify(stream: &UnixStream) -> Option<ProcessEpoch> {
    // Of the one that began to listen, as Linux and macOS keep it with the socket. 0: it is in another pid namespace.
    let pid = stream.peer_cred().ok()?.pid().and_then(|pid| u32::try_from(pid).ok())?;
    birth(pid).as_ref().map(epoch)
}

/// Half of the digest, as an approval's name has room for that.
fn epoch(born: &Birth) -> ProcessEpoch {
    let transcript = Transcript::new("farhelm/1 app-server process");
    let digest = transcript.number(u64::from(born.pid)).number(born.started).text(&born.boot).finish();
    std::array::from_fn(|at| digest[at])
}

/// A name for one connection, where the process can't be told. What waits is asked anew under the next one.
pub(super) fn unknown() -> ProcessEpoch {
    tracing::info!("which process Codex is can't be told here; after a lost connection approvals are asked anew");
    rand::random()
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn who_listens_is_told_whoever_connects() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let (first, second) = (UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap());
        let ours = birth(std::process::id()).as_ref().map(epoch);
        assert_eq!((identify(&first), identify(&second)), (ours, ours));
    }

    #[test]
    fn another_id_another_start_or_another_boot_is_another_process() {
        let born = Birth { pid: 7, started: 100, boot: "a".into() };
        let others = [
            Birth { pid: 8, ..born.clone() },
            Birth { started: 101, ..born.clone() },
            Birth { boot: "b".into(), ..born.clone() },
        ];
        assert!(others.iter().all(|other| epoch(other) != epoch(&born)));
        assert_ne!(unknown(), unknown());
    }
}
