//! The one encoder for everything that is hashed or signed: fields in order, each preceded by its length.
//!
//! It never goes through CBOR, so two encodings of one value can't exist, and no field can flow into the next.

use sha2::{Digest, Sha256};

/// A running SHA-256 over length-prefixed fields (u64 big endian, then the bytes), begun with a domain.
#[derive(Clone)]
pub struct Transcript(Sha256);

impl Transcript {
    /// Begins with the domain as first field; every use has its own.
    pub fn new(domain: &str) -> Self {
        Self(Sha256::new()).bytes(domain.as_bytes())
    }

    /// Adds a field of bytes.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
        self
    }

    /// Adds a field of UTF-8 text.
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds a number as eight bytes, big endian.
    pub fn number(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Adds an optional text: a count of 0, or a count of 1 and the text.
    pub fn optional(self, field: Option<&str>) -> Self {
        match field {
            None => self.number(0),
            Some(text) => self.number(1).text(text),
        }
    }

    /// The hash.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_can_not_move_between_fields() {
        let a = Transcript::new("t").text("ab").text("c").finish();
        let b = Transcript::new("t").text("a").text("bc").finish();
        assert_ne!(a, b);
        assert_ne!(Transcript::new("t").optional(None).finish(), Transcript::new("t").optional(Some("")).finish());
    }
}
