//! What the phone keeps of its host's word: the revocation epoch, which it shows to a host that was set back, and the
//! head of the record, against which the next one is held. Pure.

use farhelm_core::audit::{Backwards, Head};
use farhelm_core::identity::NodeId;
use farhelm_core::pairing::RevocationEpoch;
use serde::{Deserialize, Serialize};

/// What is kept of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kept {
    /// The highest epoch.
    pub(crate) epoch: Option<RevocationEpoch>,
    /// The newest head that followed the one before it.
    pub(crate) head: Option<Head>,
    /// The first one that didn't, until a person has taken note.
    pub(crate) broken: Option<Broken>,
}

/// A host's record isn't what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// How far the record went that this phone knows of.
    pub kept: u64,
    /// How far it goes by the head that doesn't follow.
    pub found: u64,
    /// When that was signed, in Unix milliseconds by the host's clock.
    pub at_ms: u64,
}

impl Kept {
    /// Takes an epoch, if it is this host's and higher than the one there is. Says whether that is so.
    pub(crate) fn take_epoch(&mut self, host: NodeId, epoch: RevocationEpoch) -> bool {
        let is_higher = self.epoch.as_ref().is_none_or(|kept| epoch.number > kept.number);
        if !is_higher || epoch.verify(host).is_err() {
            return false;
        }
        self.epoch = Some(epoch);
        true
    }

    /// Takes a head in place of the one there is. One that doesn't follow is refused, and says so: what was kept stays.
    pub(crate) fn take_head(&mut self, host: NodeId, head: Head) -> Result<(), Refused> {
        if head.verify(host).is_err() || head.host != host {
            return Err(Refused::NotTheHosts);
        }
        if let Some(kept) = &self.head
            && let Err(backwards) = kept.followed_by(&head)
        {
            let broken = Broken { kept: kept.seq, found: head.seq, at_ms: head.at_ms };
            let is_news = self.broken.is_none();
            self.broken.get_or_insert(broken);
            return Err(Refused::Backwards { backwards, is_news });
        }
        self.head = Some(head);
        Ok(())
    }

    /// A person has taken note of what is broken: from here on the record counts as it is now.
    pub(crate) fn accept(&mut self) -> bool {
        let was = self.broken.take().is_some();
        if was {
            self.head = None;
        }
        was
    }
}

/// Why a head isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Somebody else signed it, or nobody.
    NotTheHosts,
    /// The record was shortened or changed.
    Backwards {
        /// How.
        backwards: Backwards,
        /// Whether it wasn't known before.
        is_news: bool,
    },
}

#[cfg(test)]
mod tests {
    use farhelm_core::audit::{Chain, Effect, Record};
    use farhelm_core::identity::Identity;

    use super::*;

    fn identity() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    fn host() -> NodeId {
        identity().node_id()
    }

    /// The head of a chain of so many records about this.
    fn head(records: u64, act: &str) -> Head {
        let mut chain = Chain::begin(host());
        for at_ms in 0..records {
            chain.append(&mut Record::new(at_ms, act, Effect::Done));
        }
        chain.head(&identity(), records)
    }

    #[test]
    fn the_highest_epoch_of_the_host_is_kept_and_no_other() {
        let mut kept = Kept::default();
        let epoch = |number| RevocationEpoch::sign(&identity(), number, 5);
        assert!(kept.take_epoch(host(), epoch(2)));
        assert!(!kept.take_epoch(host(), epoch(2)) && !kept.take_epoch(host(), epoch(1)));
        let forged = RevocationEpoch::sign(&Identity::from_seed(&[8; 32]), 9, 5);
        assert!(!kept.take_epoch(host(), forged));
        assert!(!kept.take_epoch(host(), RevocationEpoch { number: 9, ..epoch(2) }));
        assert_eq!(kept.epoch, Some(epoch(2)));
    }

    #[test]
    fn a_record_that_goes_on_is_followed() {
        let mut kept = Kept::default();
        for records in [0, 3, 3, 8] {
            assert_eq!(kept.take_head(host(), head(records, "a")), Ok(()));
        }
        assert_eq!((kept.head, kept.broken), (Some(head(8, "a")), None));
    }

    #[test]
    fn a_record_that_was_shortened_or_changed_is_told_once_and_what_was_kept_stays() {
        for (next, backwards) in
            [(head(3, "a"), Backwards::Shortened { kept: 5, found: 3 }), (head(5, "b"), Backwards::Changed { at: 5 })]
        {
            let mut kept = Kept { head: Some(head(5, "a")), ..Kept::default() };
            let (found, at_ms) = (next.seq, next.at_ms);
            for is_news in [true, false] {
                let refused = kept.take_head(host(), next.clone());
                assert_eq!(refused, Err(Refused::Backwards { backwards, is_news }));
            }
            assert_eq!((&kept.head, &kept.broken), (&Some(head(5, "a")), &Some(Broken { kept: 5, found, at_ms })));
            // Until a person has taken note.
            assert!(kept.accept() && !kept.accept());
            assert_eq!(kept.take_head(host(), next), Ok(()));
        }
    }

    #[test]
    fn a_head_that_the_host_did_not_sign_is_nothing() {
        let mut kept = Kept { head: Some(head(5, "a")), ..Kept::default() };
        let forged = Head { seq: 9, ..head(5, "a") };
        let mut chain = Chain::begin(Identity::from_seed(&[8; 32]).node_id());
        chain.append(&mut Record::new(0, "a", Effect::Done));
        let other = chain.head(&Identity::from_seed(&[8; 32]), 0);
        for head in [forged, other] {
            assert_eq!(kept.take_head(host(), head), Err(Refused::NotTheHosts));
        }
        assert_eq!(kept.broken, None);
    }
}
