//! What a kind of file holds, and how an older one becomes a newer one.
//!
//! A kind's schema is a number in the file. It is raised by adding a step that makes the previous one's tables into
//! this one's; every step there ever was stays, so that whoever updates after two years comes through as well. All the
//! steps that a file needs and its new number are one transaction: a crash between them leaves the older file whole.
//! There is no way back: an older program refuses the newer file (`OpenError::Newer`).

use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableError, WriteTransaction};

use crate::Error;

const SCHEMA: TableDefinition<'static, &'static str, u64> = TableDefinition::new("farhelm.schema");

/// Changes tables within the transaction that changes the schema's number.
pub(crate) type Step = fn(&WriteTransaction) -> Result<(), Error>;

/// A kind of file.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Under which its schema's number stands: one kind isn't taken for another.
    pub(crate) kind: &'static str,
    /// Makes every table of the newest schema, so that a reader never finds one missing.
    pub(crate) create: Step,
    /// The first leads from schema 1 to 2, and so on.
    pub(crate) steps: &'static [Step],
    /// What to do without the file.
    pub(crate) instead: &'static str,
}

impl Layout {
    /// The newest schema, the only one that the rest of the program knows.
    pub(crate) const fn schema(&self) -> u64 {
        1 + self.steps.len() as u64
    }

    /// Makes the tables of an empty database.
    pub(crate) fn furnish(&self, database: &Database) -> Result<(), Error> {
        self.run(database, &[self.create])
    }

    /// Makes what a file of the schema `from` holds into the newest.
    pub(crate) fn migrate(&self, database: &Database, from: u64) -> Result<(), Error> {
        let done = usize::try_from(from).ok().and_then(|from| from.checked_sub(1));
        let steps = done.and_then(|done| self.steps.get(done..)).unwrap_or_default();
        self.run(database, steps)
    }

    fn run(&self, database: &Database, steps: &[Step]) -> Result<(), Error> {
        let transaction = database.begin_write()?;
        steps.iter().try_for_each(|step| step(&transaction))?;
        transaction.open_table(SCHEMA)?.insert(self.kind, self.schema())?;
        Ok(transaction.commit()?)
    }

    /// The schema that the database says it has, if it says that it is of this kind.
    pub(crate) fn schema_of(&self, database: &Database) -> Result<Option<u64>, DatabaseError> {
        let transaction = database.begin_read().map_err(|error| StorageError::Corrupted(error.to_string()))?;
        match transaction.open_table(SCHEMA) {
            Ok(table) => Ok(table.get(self.kind)?.map(|version| version.value())),
            Err(TableError::Storage(error)) => Err(error.into()),
            // No such table, or one of another type: another program's.
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Kind;

    const NOTES: Kind<String> = Kind::new("notes");

    fn note(transaction: &WriteTransaction, text: &str) -> Result<(), Error> {
        let mut notes = NOTES.write(transaction)?;
        let before = notes.get(b"k")?.unwrap_or_default();
        notes.put(b"k", before + text)
    }

    const fn layout(steps: &'static [Step]) -> Layout {
        Layout { kind: "notes", create: |transaction| note(transaction, "new"), steps, instead: "do without it" }
    }

    static FIRST: Layout = layout(&[]);
    static THIRD: Layout = layout(&[|transaction| note(transaction, ", second"), |tx| note(tx, ", third")]);
    static BROKEN: Layout = layout(&[|tx| note(tx, ", second"), |_| Err(Error::unreadable("notes"))]);

    fn held(layout: &Layout) -> Database {
        let database = Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        layout.furnish(&database).unwrap();
        database
    }

    fn stands(database: &Database) -> (Option<u64>, String) {
        let text = NOTES.read(&database.begin_read().unwrap()).unwrap().get(b"k").unwrap();
        (FIRST.schema_of(database).unwrap(), text.unwrap())
    }

    #[test]
    fn each_step_that_is_missing_is_made_in_its_order() {
        let old = held(&FIRST);
        assert_eq!(stands(&old), (Some(1), "new".into()));
        THIRD.migrate(&old, 1).unwrap();
        assert_eq!(stands(&old), (Some(3), "new, second, third".into()));
        let second = held(&FIRST);
        THIRD.migrate(&second, 2).unwrap();
        assert_eq!(stands(&second), (Some(3), "new, third".into()));
        assert_eq!(stands(&held(&THIRD)), (Some(3), "new".into()));
    }

    #[test]
    fn a_step_that_fails_takes_the_earlier_ones_back() {
        let old = held(&FIRST);
        assert!(matches!(BROKEN.migrate(&old, 1), Err(Error::Unreadable { table: "notes", .. })));
        assert_eq!(stands(&old), (Some(1), "new".into()));
    }
}
