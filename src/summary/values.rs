//! The values of a file under their ids.
//!
//! In: the ids that records use and, where the file stores them, GUIDs. Out: *slots*, which are
//! dense and exist only for values that something mentions.

use std::collections::HashMap;

use super::types::Ref;
use crate::bitcode::GuidList;
use crate::bitstream::Fields;
use crate::error::{Error, Result};
use crate::ir::Guid;

/// The values of a file: which ids are used, and the GUIDs that the file gives.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// By id, the slot; [`Values::NO_SLOT`] for an id that nothing has used so far.
    slots: Vec<u32>,
    /// Slots of ids that are too large for a table of the file's size.
    far: HashMap<u64, u32>,
    /// Ids below are the module's globals.
    global_count: usize,
    /// The GUIDs that the module stores of its globals.
    listed: GuidList,
    /// Ids from here on go to `far`.
    limit: u64,
    /// By slot, the GUID; 0 as long as it must be hashed.
    pub(super) guids: Vec<Guid>,
    /// By slot, the global; [`Values::NO_GLOBAL`] for an id beyond them.
    pub(super) globals: Vec<u32>,
    /// By slot, whether the file gave the GUID.
    pub(super) stored: Vec<bool>,
}

impl Values {
    const NO_SLOT: u32 = u32::MAX;
    pub(super) const NO_GLOBAL: u32 = u32::MAX;

    /// For a module of so many globals whose block has so many bits. Each summary takes more than
    /// eight of them, and writers number values densely.
    pub(super) fn begin(&mut self, global_count: usize, bits: u64, listed: GuidList) {
        self.slots.clear();
        self.slots.resize(global_count, Self::NO_SLOT);
        self.far.clear();
        self.global_count = global_count;
        self.listed = listed;
        self.limit = (global_count as u64 + bits / 8).min(u64::from(Ref::LIMIT));
        self.guids.clear();
        self.globals.clear();
        self.stored.clear();
    }

    /// By global, its slot; a number that is no slot for one that nothing has used, and for one
    /// whose GUID the file gave.
    pub(super) fn slots_of_globals(&self) -> impl Iterator<Item = u32> + '_ {
        let hashed = |&slot: &u32| match self.stored.get(slot as usize) {
            Some(false) => slot,
            _ => Self::NO_SLOT,
        };
        self.slots.iter().take(self.global_count).map(hashed)
    }

    /// Gives every global a slot, in order.
    pub(super) fn take_all_globals(&mut self) {
        for id in 0..self.global_count as u64 {
            self.slot(id);
        }
    }

    /// The slot of an id; `None` where it is no value of the file.
    #[inline(always)]
    pub(super) fn slot(&mut self, id: u64) -> Option<u32> {
        match usize::try_from(id).ok().and_then(|id| self.slots.get(id)) {
            Some(&slot) if slot != Self::NO_SLOT => Some(slot),
            _ => self.first_use(id),
        }
    }

    #[inline(never)]
    fn first_use(&mut self, id: u64) -> Option<u32> {
        if id >= self.global_count as u64 {
            return self.far.get(&id).copied();
        }
        let listed = self.listed.get(id as usize);
        let slot = self.add(listed.unwrap_or_default(), id as u32, listed.is_some());
        if let Some(place) = self.slots.get_mut(id as usize) {
            *place = slot;
        }
        Some(slot)
    }

    fn add(&mut self, guid: Guid, global: u32, stored: bool) -> u32 {
        let slot = self.guids.len() as u32;
        self.guids.push(guid);
        self.globals.push(global);
        self.stored.push(stored);
        slot
    }

    /// Adds a value that was looked up elsewhere.
    pub(super) fn look_up(&mut self, id: u64, guid: Guid) -> Option<u32> {
        let slot = self.add(guid, Self::NO_GLOBAL, true);
        self.far.insert(id, slot);
        Some(slot)
    }

    /// The file says which GUID an id stands for.
    pub(super) fn set_guid(&mut self, id: u64, guid: u64, fields: &Fields<'_>) -> Result<()> {
        let guid = Guid(guid);
        if let Some(slot) = self.slot(id) {
            let (Some(old), Some(stored)) =
                (self.guids.get_mut(slot as usize), self.stored.get_mut(slot as usize))
            else {
                return Ok(());
            };
            if *stored && *old != guid {
                return Err(fields.error(format_args!("value {id} has two GUIDs")));
            }
            (*old, *stored) = (guid, true);
            return Ok(());
        }
        if self.guids.len() as u64 >= u64::from(Ref::LIMIT) {
            return Err(Error::unsupported("more values than one index can hold"));
        }
        let slot = self.add(guid, Self::NO_GLOBAL, true);
        if id >= self.limit {
            self.far.insert(id, slot);
            return Ok(());
        }
        let len = id as usize + 1;
        if self.slots.len() < len {
            self.slots.resize(len, Self::NO_SLOT);
        }
        if let Some(place) = self.slots.get_mut(id as usize) {
            *place = slot;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::Record;

    #[test]
    fn far_ids_take_no_room() {
        let mut values = Values::default();
        values.begin(3, 800, GuidList::default());
        let record = Record::new();
        let f = Fields::new(&record, "FS_VALUE_GUID");
        values.set_guid(u64::MAX, 7, &f).unwrap();
        values.set_guid(u64::from(u32::MAX), 8, &f).unwrap();
        values.set_guid(50, 9, &f).unwrap();
        assert!(values.slots.len() <= 103);
        let slot = values.slot(u64::MAX).unwrap();
        assert_eq!(values.guids[slot as usize], Guid(7));
        assert_eq!(values.slot(51), None);
        assert!(values.slot(2).is_some());
        assert!(values.set_guid(50, 10, &f).is_err());
    }
}
