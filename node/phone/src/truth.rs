//! Whether the threads here are those at the host: what its digests say, and what is done about it.
//!
//! ```text
//!           differs               asked to show it again      its snapshot         agrees: repaired
//!  Agrees ──────────▶ Differs ─────────────▶ Asked ─────────────▶ Shown ──────────▶ Agrees
//!                                                                   │ differs still
//!                                                                   ▼
//!                                                                 Beyond ─ agrees ─▶ Agrees
//! ```
//! A thread is shown again once for each difference. One that differs even then isn't asked for again, or a host and a
//! phone that don't count alike would never stop; what is here is the host's own snapshot at least.

/// How often a thread here was held against the host's, since this program connected to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Truth {
    /// Digests of followed threads that were compared.
    pub compared: u64,
    /// Times that a thread turned out to be another than the host's; each is repaired, unrepaired, or being repaired.
    pub differed: u64,
    /// Times that it was the host's again.
    pub repaired: u64,
    /// Times that it still was another after the host had shown it again.
    pub unrepaired: u64,
}

/// How one thread stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As far as anybody knows.
    #[default]
    Agrees,
    /// The host has to show it again.
    Differs,
    /// It was told so; until it does, digests say nothing new.
    Asked,
    /// It did.
    Shown,
    /// It differed all the same.
    Beyond,
}

impl Standing {
    /// Takes the word of a digest and counts it. Says whether the host has to show the thread again.
    pub(crate) fn compare(&mut self, agrees: impl FnOnce() -> bool, truth: &mut Truth) -> bool {
        if *self == Self::Asked {
            return false;
        }
        truth.compared += 1;
        let (next, counter) = match (*self, agrees()) {
            (Self::Agrees | Self::Beyond, true) => (Self::Agrees, None),
            (_, true) => (Self::Agrees, Some(&mut truth.repaired)),
            (Self::Agrees, false) => (Self::Differs, Some(&mut truth.differed)),
            (Self::Shown, false) => (Self::Beyond, Some(&mut truth.unrepaired)),
            (unchanged, false) => (unchanged, None),
        };
        *self = next;
        counter.into_iter().for_each(|counter| *counter += 1);
        next == Self::Differs
    }

    /// The host was told to show the thread again.
    pub(crate) const fn ask(&mut self) {
        *self = Self::Asked;
    }

    /// The host showed the thread.
    pub(crate) fn show(&mut self) {
        if matches!(self, Self::Differs | Self::Asked) {
            *self = Self::Shown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted in the order of the fields.
    fn counts(truth: Truth) -> [u64; 4] {
        [truth.compared, truth.differed, truth.repaired, truth.unrepaired]
    }

    #[test]
    fn a_difference_is_repaired_by_the_next_snapshot() {
        let (mut standing, mut truth) = (Standing::default(), Truth::default());
        assert!(!standing.compare(|| true, &mut truth));
        assert!(standing.compare(|| false, &mut truth));
        assert!(standing.compare(|| false, &mut truth), "nobody was asked yet");
        standing.ask();
        assert!(!standing.compare(|| false, &mut truth), "this was under way before");
        standing.show();
        assert!(!standing.compare(|| true, &mut truth));
        assert_eq!((standing, counts(truth)), (Standing::Agrees, [4, 1, 1, 0]));
    }

    #[test]
    fn what_differs_even_then_is_left_until_it_agrees_by_itself() {
        let (mut standing, mut truth) = (Standing::default(), Truth::default());
        standing.compare(|| false, &mut truth);
        standing.ask();
        standing.show();
        assert!(!standing.compare(|| false, &mut truth));
        standing.show();
        assert!(!standing.compare(|| false, &mut truth));
        assert_eq!((standing, counts(truth)), (Standing::Beyond, [3, 1, 0, 1]));
        standing.compare(|| true, &mut truth);
        assert!(standing.compare(|| false, &mut truth), "another difference");
        assert_eq!(counts(truth), [5, 2, 0, 1]);
    }

    #[test]
    fn what_agrees_before_anybody_was_asked_is_repaired_as_well() {
        let (mut standing, mut truth) = (Standing::default(), Truth::default());
        standing.compare(|| false, &mut truth);
        standing.compare(|| true, &mut truth);
        assert_eq!((standing, counts(truth)), (Standing::Agrees, [2, 1, 1, 0]));
    }
}
