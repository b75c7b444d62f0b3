//! Who holds a reservation. Asked before libp2p grants one, told when one ends.
//!
//! # Why our own
//! libp2p counts a renewal like a newcomer, so a full relay throws out whoever renews first and the host is
//! unreachable until the next one expires. Here the count is ours and libp2p's is switched off: whoever has a place
//! keeps it.

use std::collections::HashSet;

use libp2p::PeerId;

/// The places and who has them.
#[derive(Debug)]
pub(crate) struct Ledger {
    places: usize,
    holders: HashSet<PeerId>,
}

impl Ledger {
    pub(crate) fn new(places: usize) -> Self {
        Self { places, holders: HashSet::new() }
    }

    /// Whether `peer` may have a reservation; takes the place if so.
    pub(crate) fn admit(&mut self, peer: PeerId) -> bool {
        let admitted = self.holders.contains(&peer) || self.holders.len() < self.places;
        if admitted {
            self.holders.insert(peer);
        }
        admitted
    }

    /// Its reservation ran out, or it left.
    pub(crate) fn release(&mut self, peer: &PeerId) -> bool {
        self.holders.remove(peer)
    }

    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ledger_still_renews() {
        let [a, b, c] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let mut ledger = Ledger::new(2);
        assert!(ledger.admit(a) && ledger.admit(b));
        assert!(!ledger.admit(c));
        assert!(ledger.admit(a), "a renewal");
        assert!(ledger.release(&b) && !ledger.release(&b));
        assert!(ledger.admit(c));
        assert_eq!(ledger.len(), 2);
    }
}
