//! What goes out in the same flight as a handshake's proof, before the host has answered it.

use std::sync::{Arc, Mutex, PoisonError};

use farhelm_core::wire::envelope::Request;
use farhelm_store::journal::ActId;

/// What goes with a handshake, as far as it may change until it goes. Shared by who asks and the attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flight(Arc<Mutex<Flown>>);

#[derive(Debug, Default)]
struct Flown {
    left: bool,
    reads: Vec<Request>,
    went: Vec<ActId>,
}

impl Flight {
    fn with<T>(&self, act: impl FnOnce(&mut Flown) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are to go with it, and none of those before.
    pub(crate) fn load(&self, reads: Vec<Request>) {
        self.with(|flown| flown.reads = reads);
    }

    /// Something may leave from here on.
    pub(crate) fn leave(&self) {
        self.with(|flown| flown.left = true);
    }

    /// What is read with the handshake that goes out now.
    pub(crate) fn take_off(&self) -> Vec<Request> {
        self.with(|flown| {
            flown.went = flown.reads.iter().map(|request| request.id).collect();
            flown.reads.clone()
        })
    }

    /// Whether anything may have left.
    pub(crate) fn has_left(&self) -> bool {
        self.with(|flown| flown.left)
    }

    /// What was read with the last handshake.
    pub(crate) fn went(&self) -> Vec<ActId> {
        self.with(|flown| flown.went.clone())
    }
}
