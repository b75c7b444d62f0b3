//! Envelopes as they travel, each in pieces under one key.
//!
//! redb keeps a value in one page, whose size is a power of two: one of 8 MiB and some bytes would take, and be written
//! as, 16 MiB, and a file with a few of them would be mostly air. The first piece stands under the key itself, so that
//! most bodies are one row, the others under the key and their number, big endian.

use farhelm_core::wire::limits;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::Error;
use crate::row::{Key, Value};

/// With its key it fits into a page of 64 KiB.
const PIECE: usize = 60 * 1024;

/// A key and the body under it.
type Keyed = (Vec<u8>, Vec<u8>);

/// A table of bodies; none is larger than an envelope may be, and all keys are of one length.
#[derive(Clone, Copy)]
pub(super) struct Bodies(&'static str);

impl Bodies {
    pub(super) const fn new(table: &'static str) -> Self {
        Self(table)
    }

    const fn table(self) -> TableDefinition<'static, Key, Value> {
        TableDefinition::new(self.0)
    }

    /// Makes the table, if it isn't there.
    pub(super) fn create(self, transaction: &WriteTransaction) -> Result<(), Error> {
        transaction.open_table(self.table())?;
        Ok(())
    }

    /// The body under `key`.
    pub(super) fn get(self, transaction: &ReadTransaction, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        whole(&transaction.open_table(self.table())?, key)
    }

    /// Every body from the key `first` to `last`, by key, of which each has this length.
    pub(super) fn range(
        self,
        transaction: &ReadTransaction,
        first: &[u8],
        last: &[u8],
        length: usize,
    ) -> Result<Vec<Keyed>, Error> {
        let mut bodies: Vec<Keyed> = Vec::new();
        for row in transaction.open_table(self.table())?.range(first..=&*end(last))? {
            let (key, piece) = row?;
            match bodies.last_mut() {
                Some((before, body)) if key.value().len() > length && key.value().starts_with(before) => {
                    body.extend_from_slice(piece.value());
                }
                _ => bodies.push((key.value().to_vec(), piece.value().to_vec())),
            }
        }
        Ok(bodies)
    }

    /// Puts a body under `key`, unless it stands there already.
    pub(super) fn put(self, transaction: &WriteTransaction, key: &[u8], body: &[u8]) -> Result<(), Error> {
        if body.len() > limits::ENVELOPE {
            return Err(Error::too_long(self.0, body.len()));
        }
        let mut table = transaction.open_table(self.table())?;
        match whole(&table, key)? {
            Some(there) if there == body => return Ok(()),
            Some(_) => table.retain_in(key..=&*end(key), |_, _| false)?,
            None => {}
        }
        let (first, rest) = body.split_at(body.len().min(PIECE));
        table.insert(key, first)?;
        for (number, piece) in (1_u16..).zip(rest.chunks(PIECE)) {
            table.insert(&*[key, &number.to_be_bytes()].concat(), piece)?;
        }
        Ok(())
    }

    /// Removes every body from the key `first` to `last`.
    pub(super) fn remove(self, transaction: &WriteTransaction, first: &[u8], last: &[u8]) -> Result<(), Error> {
        let mut table = transaction.open_table(self.table())?;
        Ok(table.retain_in(first..=&*end(last), |_, _| false)?)
    }
}

fn whole(table: &impl ReadableTable<Key, Value>, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut body: Option<Vec<u8>> = None;
    for row in table.range(key..=&*end(key))? {
        body.get_or_insert_default().extend_from_slice(row?.1.value());
    }
    Ok(body)
}

/// The last of a body's pieces is not above this.
fn end(key: &[u8]) -> Vec<u8> {
    [key, &u16::MAX.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase};

    use super::*;

    const BODIES: Bodies = Bodies::new("bodies");

    fn database() -> Database {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        change(&database, |transaction| BODIES.create(transaction));
        database
    }

    fn change(database: &Database, change: impl FnOnce(&WriteTransaction) -> Result<(), Error>) {
        let transaction = database.begin_write().unwrap();
        change(&transaction).unwrap();
        transaction.commit().unwrap();
    }

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|place| (place / 7).to_le_bytes()[0]).collect()
    }

    #[test]
    fn a_body_of_any_length_is_read_whole_and_replaced_whole() {
        let database = database();
        let lengths = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, limits::ENVELOPE, 2 * PIECE + 5, 7, 0];
        change(&database, |transaction| BODIES.put(transaction, b"a", &body(5)));
        change(&database, |transaction| BODIES.put(transaction, b"c", &body(PIECE + 5)));
        for length in lengths {
            change(&database, |transaction| BODIES.put(transaction, b"b", &body(length)));
            let transaction = database.begin_read().unwrap();
            assert!(BODIES.get(&transaction, b"b").unwrap() == Some(body(length)), "{length} bytes");
            let all = [(&b"a"[..], 5), (b"b", length), (b"c", PIECE + 5)].map(|(key, n)| (key.to_vec(), body(n)));
            assert!(BODIES.range(&transaction, b"a", b"c", 1).unwrap() == all, "{length} bytes");
        }
    }

    #[test]
    fn a_removed_body_leaves_no_piece() {
        let database = database();
        for key in [b"a", b"b", b"c"] {
            change(&database, |transaction| BODIES.put(transaction, key, &body(3 * PIECE)));
        }
        change(&database, |transaction| BODIES.remove(transaction, b"a", b"b"));
        let transaction = database.begin_read().unwrap();
        let left = BODIES.range(&transaction, b"", b"z", 1).unwrap();
        assert!(left == [(b"c".to_vec(), body(3 * PIECE))]);
    }

    /// As before there were pieces.
    #[test]
    fn a_large_body_in_one_row_is_read_as_well() {
        let database = database();
        change(&database, |transaction| {
            let mut table = transaction.open_table(BODIES.table())?;
            table.insert(&b"a"[..], &*body(5 * PIECE))?;
            Ok(table.insert(&b"b"[..], &*body(2)).map(drop)?)
        });
        let transaction = database.begin_read().unwrap();
        assert!(BODIES.get(&transaction, b"a").unwrap() == Some(body(5 * PIECE)));
        let both = [(b"a".to_vec(), body(5 * PIECE)), (b"b".to_vec(), body(2))];
        assert!(BODIES.range(&transaction, b"a", b"b", 1).unwrap() == both);
    }
}
