//! How values stand in a table: under a key of bytes, as CBOR of `{v, row}`, so that a later version can tell which
//! shape it reads.
//!
//! Unknown fields in a row are skipped; a change that an older version would misread takes a new `v`, and one that it
//! can't live with takes a new schema (see `file`).

use std::marker::PhantomData;

use farhelm_core::wire::cbor;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Error;

pub(crate) type Key = &'static [u8];
pub(crate) type Value = &'static [u8];
/// A key and a value as they stand in a table.
pub(crate) type Entry<'a> = (redb::AccessGuard<'a, Key>, redb::AccessGuard<'a, Value>);

/// Raised with the first change after a release: before one, no store but a developer's holds an older shape.
const VERSION: u8 = 1;

/// The largest value. A device's folders are most of it; whoever grants bounds them below that.
const LIMIT: usize = 16 * 1024;

#[derive(Serialize, Deserialize)]
struct Versioned<R> {
    v: u8,
    row: R,
}

/// A kind of row, and the table it stands in.
pub(crate) struct Kind<R> {
    table: &'static str,
    row: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Kind<R> {
    pub(crate) const fn new(table: &'static str) -> Self {
        Self { table, row: PhantomData }
    }

    /// Opens the table as it stood when the transaction began.
    pub(crate) fn read(&self, transaction: &ReadTransaction) -> Result<Rows<ReadOnlyTable<Key, Value>, R>, Error> {
        let rows = transaction.open_table(TableDefinition::new(self.table))?;
        Ok(Rows { name: self.table, rows, row: PhantomData })
    }

    /// Opens the table for a change, creating it if need be.
    pub(crate) fn write<'t>(
        &self,
        transaction: &'t WriteTransaction,
    ) -> Result<Rows<redb::Table<'t, Key, Value>, R>, Error> {
        let rows = transaction.open_table(TableDefinition::new(self.table))?;
        Ok(Rows { name: self.table, rows, row: PhantomData })
    }
}

/// A table opened within a transaction.
pub(crate) struct Rows<T, R> {
    name: &'static str,
    rows: T,
    row: PhantomData<fn() -> R>,
}

impl<T: ReadableTable<Key, Value>, R: DeserializeOwned> Rows<T, R> {
    /// What stands under `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<R>, Error> {
        self.rows.get(key)?.map(|value| self.decode(value.value())).transpose()
    }

    /// Everything, by key.
    pub(crate) fn all(&self) -> Result<Vec<(Vec<u8>, R)>, Error> {
        self.rows.iter()?.map(|entry| self.row(entry)).collect()
    }

    /// What stands from `first` to `last`, by key.
    pub(crate) fn range(&self, first: &[u8], last: &[u8]) -> Result<Vec<(Vec<u8>, R)>, Error> {
        self.rows.range(first..=last)?.map(|entry| self.row(entry)).collect()
    }

    fn row(&self, entry: Result<Entry<'_>, redb::StorageError>) -> Result<(Vec<u8>, R), Error> {
        let (key, value) = entry?;
        Ok((key.value().to_vec(), self.decode(value.value())?))
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.rows.is_empty()?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<R, Error> {
        let read: Result<Versioned<R>, _> = cbor::from_slice(bytes, LIMIT);
        let known = read.ok().filter(|versioned| versioned.v == VERSION);
        known.map(|versioned| versioned.row).ok_or_else(|| Error::unreadable(self.name))
    }
}

impl<R: Serialize> Rows<redb::Table<'_, Key, Value>, R> {
    /// Puts a row under `key`, in place of what stood there.
    pub(crate) fn put(&mut self, key: &[u8], row: R) -> Result<(), Error> {
        let bytes = cbor::to_vec(&Versioned { v: VERSION, row });
        if bytes.len() > LIMIT {
            return Err(Error::too_long(self.name, bytes.len()));
        }
        self.rows.insert(key, &bytes[..])?;
        Ok(())
    }

    /// Removes what stands from `first` to `last`.
    pub(crate) fn clear(&mut self, first: &[u8], last: &[u8]) -> Result<(), Error> {
        Ok(self.rows.retain_in(first..=last, |_, _| false)?)
    }

    /// Removes what stands under `key`, and says whether anything did.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<bool, Error> {
        Ok(self.rows.remove(key)?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    const NUMBERS: Kind<u64> = Kind::new("numbers");

    fn stored(bytes: &[u8]) -> Result<Option<u64>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let held = &store.held;
        held.write(|tx| NUMBERS.write(tx)?.rows.insert(&b"k"[..], bytes).map(drop).map_err(Error::from)).unwrap();
        held.read(|tx| NUMBERS.read(tx)?.get(b"k"))
    }

    #[test]
    fn a_row_of_another_version_or_shape_is_refused_by_its_table() {
        let row = |v| cbor::to_vec(&Versioned { v, row: 7_u64 });
        assert_eq!(stored(&row(VERSION)).unwrap(), Some(7));
        for unreadable in [row(VERSION + 1), b"".to_vec(), b"text".to_vec(), [row(VERSION), vec![0]].concat()] {
            assert!(matches!(stored(&unreadable), Err(Error::Unreadable { table: "numbers", .. })));
        }
    }

    #[test]
    fn a_row_that_could_not_be_read_back_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let texts: Kind<String> = Kind::new("texts");
        let write = |length| store.held.write(|tx| texts.write(tx)?.put(b"k", "x".repeat(length)));
        write(LIMIT - 32).unwrap();
        assert!(matches!(write(LIMIT), Err(Error::TooLong { table: "texts", .. })));
        let kept = store.held.read(|tx| texts.read(tx)?.get(b"k")).unwrap();
        assert_eq!(kept.map(|text| text.len()), Some(LIMIT - 32));
    }
}
