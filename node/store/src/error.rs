//! Why a store doesn't open, and why it doesn't answer. Every text names the file and ends with what to do.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a store can't be opened. Every text ends with what to do. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; check the directory or pass another --state-dir", path.display())]
    Io {
        /// What we were doing.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The disk is full, or what we may use of it.
    #[error("there is no room on the disk for {}; make room on it and start again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the secrets in it.
    #[error(
        "others may read {} (mode {mode:04o}), which holds secrets; run: chmod 600 '{}', and pair again if they did",
        path.display(),
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it open.
    #[error("{} is open in another process; stop that host or pass another --state-dir", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It isn't a store of Farhelm's.
    #[error("{} is not a Farhelm store and is left as it is; move it away or pass another --state-dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is one, and damaged.
    #[error("{} is damaged ({detail}) and is left as it is; {instead}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        detail: String,
        /// What to do.
        instead: &'static str,
    },
    /// A newer version wrote it.
    #[error("{} was written by a newer Farhelm (its schema is {found}, this one knows {known}); update farhelm", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: u64,
        /// The highest one that this version reads.
        known: u64,
    },
}

/// Why the store couldn't answer or change. Nothing was changed then (but see [`Error::Storage`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full, or what we may use of it. What was to be written isn't acknowledged; what was, is there.
    #[error("there is no room on the disk for {}; make room on it, nothing else is needed", file.display())]
    Full {
        /// The file.
        file: PathBuf,
    },
    /// The disk or the file failed us. If a commit fails, it may have happened all the same: whoever goes on reads
    /// what is there first. The next call opens the file again.
    #[error("{} can't be used: {error}; check the disk", file.display())]
    Storage {
        /// The file.
        file: PathBuf,
        /// What it said.
        error: Box<redb::Error>,
    },
    /// It failed before, and couldn't be opened again.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
    /// A value isn't what this version wrote.
    #[error(
        "{} holds an entry in {table} that this version can't read; update farhelm or restore a backup",
        file.display()
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// A value is larger than its kind may be, so that it couldn't be read back.
    #[error("an entry of {length} bytes is too long for {} ({table}); shorten what it is made of", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
        /// The table.
        table: &'static str,
        /// The encoded value's bytes.
        length: usize,
    },
}

impl Error {
    // The file's name is added where it is known: `name`.

    pub(crate) fn unreadable(table: &'static str) -> Self {
        Self::Unreadable { file: PathBuf::new(), table }
    }

    pub(crate) fn too_long(table: &'static str, length: usize) -> Self {
        Self::TooLong { file: PathBuf::new(), table, length }
    }

    /// Says which file it is about.
    pub(crate) fn name(&mut self, path: &Path) {
        match self {
            Self::Full { file }
            | Self::Storage { file, .. }
            | Self::Unreadable { file, .. }
            | Self::TooLong { file, .. } => path.clone_into(file),
            Self::Open(_) => {}
        }
    }

    /// Whether the database may have stopped with it.
    pub(crate) const fn stops(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Storage { .. })
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Open(Box::new(error))
    }
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if is_full(&error) => Self::Full { file: PathBuf::new() },
            error => Self::Storage { file: PathBuf::new(), error: Box::new(error) },
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),+) => {$(
        impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )+};
}
from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError, CompactionError);

/// Whether there is no room, or none for us.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}
