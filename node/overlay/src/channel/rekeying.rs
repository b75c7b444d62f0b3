//! New keys while a channel lives: the rekey's machine, between the task that opens and the one that seals.
//!
//! Neither waits for the other. The reader hands over what the peer says and switches its opener at the peer's marker;
//! the writer asks before each frame what is due, and switches its sealer at our own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use farhelm_core::session::record::{Opener, Sealer};
use farhelm_core::session::rekey::{Message, Outgoing, Rekey, Root};

use super::Error;
use super::hands::now;

/// The machine that both tasks share.
#[derive(Debug)]
pub(super) struct Rekeying(Mutex<Rekey>);

impl Rekeying {
    pub(super) fn new(root: Root) -> Self {
        Self(Mutex::new(Rekey::new(root, now())))
    }

    /// The next frame that changes keys, sealed; `encode` makes it a piece. Until there is none, nothing else is sealed.
    pub(super) fn frame(
        &self,
        sealer: &mut Sealer,
        encode: impl FnOnce(Message) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let next = self.lock().next(sealer.is_worn(), now(), &mut rand::rng())?;
        Ok(match next {
            None => None,
            Some(Outgoing::Message(message)) => Some(sealer.seal(&encode(message))?),
            Some(Outgoing::Last(marker, keys)) => Some(sealer.seal_last(&encode(marker), &keys)?),
        })
    }

    /// What the peer says. If it is its marker, the next frame is under other keys.
    pub(super) fn receive(&self, message: Message, opener: &mut Opener) -> Result<(), Error> {
        let keys = self.lock().receive(message, now(), &mut rand::rng())?;
        keys.map_or(Ok(()), |keys| opener.switch(&keys)).map_err(Error::from)
    }

    /// A frame was opened: perhaps the last for which the peer's keys were good.
    pub(super) fn opened(&self, opener: &Opener) {
        if opener.is_worn() {
            self.lock().wear();
        }
    }

    #[cfg(test)]
    pub(super) fn epoch(&self) -> u32 {
        self.lock().epoch()
    }

    fn lock(&self) -> MutexGuard<'_, Rekey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
