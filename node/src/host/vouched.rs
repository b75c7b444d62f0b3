//! What the host signs for a phone to keep: its revocation epoch, and how far its record of what phones had done goes.
//!
//! Said when a phone attaches and again when it changes; of the record, which grows with every act, once in some seconds
//! at most.

use std::time::Duration;

use farhelm_core::audit::Head;
use farhelm_core::pairing::RevocationEpoch;
use farhelm_core::wire::Envelope;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A phone that was away hears of the newest head only, so this is how much of the record it may miss by a crash.
const BETWEEN: Duration = Duration::from_secs(3);

/// What there is to say to one phone.
#[derive(Debug, Clone)]
pub struct Vouched {
    epoch: watch::Receiver<RevocationEpoch>,
    head: watch::Receiver<Option<Head>>,
    /// When the next head may go.
    due: Instant,
}

impl Vouched {
    /// Begins with what is so now.
    pub fn new(mut epoch: watch::Receiver<RevocationEpoch>, mut head: watch::Receiver<Option<Head>>) -> Self {
        epoch.mark_changed();
        head.mark_changed();
        Self { epoch, head, due: Instant::now() }
    }

    /// The next thing to say; for ever, if there is none. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> Envelope {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.epoch.changed() => {
                    return Envelope::RevocationEpoch(self.epoch.borrow_and_update().clone());
                }
                Some(head) = next_head(&mut self.head, self.due) => {
                    self.due = Instant::now() + BETWEEN;
                    return Envelope::AuditHead(head);
                }
                // Nobody records, and nobody takes anything away any more: the host stops.
                else => std::future::pending::<()>().await,
            }
        }
    }
}

/// The head, once it has changed and may be said. None if there will be none.
async fn next_head(head: &mut watch::Receiver<Option<Head>>, due: Instant) -> Option<Head> {
    loop {
        head.changed().await.ok()?;
        // Dropped while it waits, it is as if it hadn't looked.
        head.mark_changed();
        sleep_until(due).await;
        if let Some(head) = head.borrow_and_update().clone() {
            return Some(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::audit::Chain;
    use farhelm_core::identity::Identity;
    use tokio::time::timeout;

    use super::*;

    fn head(at_ms: u64) -> Head {
        let host = Identity::from_seed(&[7; 32]);
        Chain::begin(host.node_id()).head(&host, at_ms)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_so_is_said_at_once_and_heads_not_too_often() {
        let host = Identity::from_seed(&[7; 32]);
        let (epoch, heard) = watch::channel(RevocationEpoch::sign(&host, 1, 5));
        let (heads, seen) = watch::channel(Some(head(1)));
        let mut vouched = Vouched::new(heard, seen);
        assert!(matches!(vouched.next().await, Envelope::RevocationEpoch(epoch) if epoch.number == 1));
        assert!(matches!(vouched.next().await, Envelope::AuditHead(head) if head.at_ms == 1));

        let begin = Instant::now();
        heads.send_replace(Some(head(2)));
        assert!(timeout(BETWEEN / 2, vouched.next()).await.is_err(), "not yet, and it isn't lost by that");
        heads.send_replace(Some(head(3)));
        epoch.send_replace(RevocationEpoch::sign(&host, 2, 6));
        assert!(matches!(vouched.next().await, Envelope::RevocationEpoch(epoch) if epoch.number == 2));
        assert!(matches!(vouched.next().await, Envelope::AuditHead(head) if head.at_ms == 3));
        assert!(begin.elapsed() >= BETWEEN);
        assert!(timeout(BETWEEN * 2, vouched.next()).await.is_err(), "each once");
    }
}
