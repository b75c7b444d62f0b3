//! A file as redb would leave it, without touching it: what is written stays in memory.
//!
//! redb repairs and migrates what it opens, and its read-only opening refuses a file that wasn't closed, so neither
//! serves to look at a file that may have to be refused. This isn't a copy either: a journal may be tens of megabytes,
//! and what an examination writes is some pages.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock};

use redb::StorageBackend;

const BLOCK: usize = 4096;

/// A file and what differs from it.
pub(crate) struct Shadow {
    file: File,
    changes: RwLock<Changes>,
}

struct Changes {
    length: u64,
    /// Of the file's own bytes only those before this one count: it was cut here and made longer again.
    kept: u64,
    blocks: HashMap<u64, Box<[u8; BLOCK]>>,
}

impl Shadow {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, changes: RwLock::new(Changes { length, kept: length, blocks: HashMap::new() }) })
    }

    /// One block as it is now.
    fn block(&self, changes: &Changes, number: u64) -> io::Result<Box<[u8; BLOCK]>> {
        if let Some(block) = changes.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK]);
        let start = number * BLOCK as u64;
        let from_file = changes.kept.saturating_sub(start).min(BLOCK as u64);
        self.file.read_exact_at(&mut block[..usize::try_from(from_file).unwrap_or(BLOCK)], start)?;
        Ok(block)
    }
}

impl Changes {
    fn reach(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset.checked_add(length as u64);
        end.filter(|end| *end <= self.length).map(drop).ok_or(ErrorKind::UnexpectedEof.into())
    }
}

/// Splits a range at the blocks' borders: the block, where in it, and how much.
fn pieces(mut offset: u64, mut length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let (number, inside) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
        let piece = length.min(BLOCK - inside);
        offset += piece as u64;
        length -= piece;
        (piece > 0).then_some((number, inside, piece))
    })
}

impl StorageBackend for Shadow {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.read().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        changes.reach(offset, out.len())?;
        for (number, inside, piece) in pieces(offset, out.len()) {
            let (now, rest) = out.split_at_mut(piece);
            now.copy_from_slice(&self.block(&changes, number)?[inside..inside + piece]);
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let end = length / BLOCK as u64;
        if length < changes.length && !length.is_multiple_of(BLOCK as u64) {
            let mut last = self.block(&changes, end)?;
            last[(length % BLOCK as u64) as usize..].fill(0);
            changes.blocks.insert(end, last);
        }
        changes.blocks.retain(|number, _| number * (BLOCK as u64) < length);
        changes.length = length;
        changes.kept = changes.kept.min(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        changes.reach(offset, data.len())?;
        for (number, inside, piece) in pieces(offset, data.len()) {
            let (now, rest) = data.split_at(piece);
            let mut block = self.block(&changes, number)?;
            block[inside..inside + piece].copy_from_slice(now);
            changes.blocks.insert(number, block);
            data = rest;
        }
        Ok(())
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn shadow(bytes: &[u8]) -> Shadow {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Shadow::new(file).unwrap()
    }

    fn all(shadow: &Shadow) -> Vec<u8> {
        let mut bytes = vec![9; usize::try_from(shadow.len().unwrap()).unwrap()];
        shadow.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn it_shows_what_was_written_and_the_file_does_not() {
        let before: Vec<u8> = (0..10_000_u32).map(|place| place.to_le_bytes()[0]).collect();
        let (shadow, mut after) = (shadow(&before), before.clone());
        for (offset, length) in [(0, 1), (4090, 20), (9_999, 1), (3000, 6000), (50, 0)] {
            shadow.write(offset as u64, &vec![7; length]).unwrap();
            after[offset..offset + length].fill(7);
            assert!(all(&shadow) == after, "{length} at {offset}");
        }
        let mut file = vec![0; before.len()];
        shadow.file.read_exact_at(&mut file, 0).unwrap();
        assert!(file == before && shadow.file.metadata().unwrap().len() == 10_000);
    }

    #[test]
    fn what_was_cut_off_is_zero_when_it_grows_again() {
        for cut in [0, 1, 4095, 4096, 4097, 9_000] {
            let shadow = shadow(&[5; 10_000]);
            shadow.write(9_500, &[6; 100]).unwrap();
            shadow.set_len(cut).unwrap();
            shadow.set_len(12_000).unwrap();
            let cut = usize::try_from(cut).unwrap();
            assert!(all(&shadow) == [vec![5; cut], vec![0; 12_000 - cut]].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn nothing_is_read_or_written_behind_the_end() {
        let shadow = shadow(&[1; 100]);
        for offset in [99, 100, 5_000, u64::MAX] {
            assert_eq!(shadow.read(offset, &mut [0; 2]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(shadow.write(offset, &[0; 2]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }
}
