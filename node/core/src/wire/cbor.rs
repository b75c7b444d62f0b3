//! The one codec, and the only file that names the CBOR crate (RFC 8949).
//!
//! Structs are maps with short text keys; trailing bytes are an error. Nothing that is signed or hashed goes through
//! here: transcripts have an encoder of their own ([`crate::session::transcript`]), so that re-encoding never matters.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes that aren't the value they should be. Says where, not what: the text may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than this kind of value may have; nothing was read.
    #[error("{length} bytes where at most {limit} are allowed")]
    TooLong {
        /// Bytes received.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not CBOR, not this type, or followed by further bytes.
    #[error("malformed at byte {offset}")]
    Malformed {
        /// Where the decoder stopped.
        offset: u64,
    },
}

/// Encodes a value. Our own types always can be; a failure is a bug and panics.
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    serde_cbor::to_vec(value).expect("our own types encode")
}

/// Decodes exactly one value of at most `limit` bytes.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, Error> {
    if bytes.len() > limit {
        return Err(Error::TooLong { length: bytes.len(), limit });
    }
    serde_cbor::from_slice(bytes).map_err(|error| Error::Malformed { offset: error.offset() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(from_slice::<u8>(&[1], 8), Ok(1));
        assert!(matches!(from_slice::<u8>(&[1, 0], 8), Err(Error::Malformed { .. })));
    }

    #[test]
    fn the_limit_comes_before_decoding() {
        assert_eq!(from_slice::<u8>(&[0xff; 9], 8), Err(Error::TooLong { length: 9, limit: 8 }));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // A byte string that claims 2^62 bytes, and an array that claims as many elements.
        for head in [0x5b, 0x9b] {
            let bytes = [head, 0x40, 0, 0, 0, 0, 0, 0, 0];
            assert!(from_slice::<Vec<u8>>(&bytes, 64).is_err());
            assert!(from_slice::<serde_bytes::ByteBuf>(&bytes, 64).is_err());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(from_slice::<serde_json::Value>(&[0x81; 4096], 4096).is_err());
    }
}
