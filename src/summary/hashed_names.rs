//! Hashes of names that were made for a summary, for whoever comes with the same names.
//!
//! In: names by their places in a string table, with their GUIDs. Out: the GUIDs of symbols, most of
//! which have those names. It must not know what the names are of.

use std::collections::HashMap;

use super::guid::Batch;
use crate::ir::Guid;

/// Names of a module that were hashed for its summary, by where they are in its string table: the
/// symbols of the module have mostly the same names, at the same places.
#[derive(Debug, Default)]
pub struct HashedNames {
    /// Offset, size and hash, in the order of the globals.
    names: Vec<(u32, u32, Guid)>,
    /// By the hash of the name, the GUIDs that the module stores and that are others.
    pub(super) renamed: HashMap<Guid, Guid>,
}

impl HashedNames {
    /// Takes names of external linkage, whose identifier is the name alone.
    pub(super) fn fill(&mut self, names: impl Iterator<Item = (u32, u32, Guid)>) {
        self.names.clear();
        self.names.extend(names);
    }

    /// The hashes of names, of which those in `strtab` may be known.
    pub fn guids_of<'n>(
        &self,
        strtab: &[u8],
        identifiers: impl ExactSizeIterator<Item = &'n [u8]>,
    ) -> Vec<Guid> {
        let mut guids = vec![Guid::default(); identifiers.len()];
        let mut batch = Batch::default();
        // Where the last name was found: the next is mostly the one behind it, but where functions
        // end and variables begin.
        let mut at = 0;
        let mut places = Places::default();
        for (identifier, place) in identifiers.zip(0u32..) {
            match self.find(strtab, identifier, &mut at, &mut places) {
                Some(guid) => {
                    if let Some(slot) = guids.get_mut(place as usize) {
                        *slot = guid;
                    }
                }
                None => batch.push(&[], identifier, place, &mut guids),
            }
        }
        batch.finish(&mut guids);
        guids
    }

    /// The GUID that the module stores for a value with a name of this hash, if it is another.
    pub fn renamed(&self, name: Guid) -> Option<Guid> {
        self.renamed.get(&name).copied()
    }

    #[inline]
    fn find(
        &self,
        strtab: &[u8],
        name: &[u8],
        at: &mut usize,
        places: &mut Places,
    ) -> Option<Guid> {
        let offset = name.as_ptr().addr().checked_sub(strtab.as_ptr().addr())?;
        if offset.checked_add(name.len())? > strtab.len() {
            return None;
        }
        let known = |at: usize| {
            let &(start, size, guid) = self.names.get(at)?;
            ((start as usize, size as usize) == (offset, name.len())).then_some(guid)
        };
        let guid = match known(*at) {
            Some(guid) => guid,
            None => {
                *at = places.find(&self.names, offset as u32, |at| known(at).is_some())?;
                known(*at)?
            }
        };
        *at += 1;
        // A leading \1 is no part of what was hashed.
        (name.first() != Some(&1)).then_some(guid)
    }
}

/// Where in a list of names the one is that stands at an offset: a hash table, made when it is
/// first asked. It may forget names, which are then hashed again.
#[derive(Default)]
struct Places {
    /// A power of two of places; [`Places::NONE`] for none.
    table: Vec<u32>,
}

impl Places {
    const NONE: u32 = u32::MAX;
    /// So many places are looked at; offsets of a malformed file may all fall together.
    const TRIES: usize = 8;

    /// The places that an offset may stand for, the likeliest first.
    #[inline]
    fn tries(&self, offset: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.table.len().wrapping_sub(1);
        let first = (u64::from(offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (first..first + Self::TRIES).map(move |at| at & mask)
    }

    #[cold]
    fn fill(&mut self, names: &[(u32, u32, Guid)]) {
        self.table = vec![Self::NONE; (names.len() * 2).next_power_of_two()];
        for (&(offset, ..), at) in names.iter().zip(0..) {
            let mut tries = self.tries(offset);
            if let Some(free) = tries.find(|&at| self.table.get(at) == Some(&Self::NONE))
                && let Some(place) = self.table.get_mut(free)
            {
                *place = at;
            }
        }
    }

    fn find(
        &mut self,
        names: &[(u32, u32, Guid)],
        offset: u32,
        fits: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.table.is_empty() {
            self.fill(names);
        }
        self.tries(offset)
            .map_while(|at| self.table.get(at).filter(|&&at| at != Self::NONE))
            .map(|&at| at as usize)
            .find(|&at| fits(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::guid_of;

    #[test]
    fn names_that_were_hashed_are_known_by_their_place() {
        let strtab = b"mainfoobar\x01esc";
        let known = |offset, size| (offset, size, Guid(1000 + u64::from(offset)));
        let mut hashed = HashedNames::default();
        hashed.fill([known(7, 3), known(0, 4), known(10, 4)].into_iter());
        let other = b"main".to_vec();
        let names: [&[u8]; 6] =
            [&strtab[7..10], &strtab[0..4], &strtab[4..7], &strtab[0..3], &strtab[10..14], &other];
        let expected =
            [Guid(1007), Guid(1000)].into_iter().chain(names[2..].iter().map(|n| guid_of(n)));
        let found = hashed.guids_of(strtab, names.into_iter());
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
