//! The GUIDs that LLVM 23 stores in a module, so that they outlast changes of names and linkages.
//!
//! In: a GUIDLIST record. Out: GUIDs by value id.
//!
//! `[n x (high word, low word)]`, one pair for each value of the module's table, constants
//! included; zero where there is none. It stands before the records of the globals. Source: what
//! LLVM 23.1's writer writes, which its `llvm-dis` shows.

use crate::bitstream::{Fields, Record};
use crate::error::Result;
use crate::ir::Guid;

/// The GUIDs of a module's values, where it stores any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuidList(Vec<Guid>);

impl GuidList {
    /// Reads a GUIDLIST record.
    ///
    /// # Errors
    /// Malformed where a word is missing or has more than 32 bits.
    pub fn read(record: &Record<'_>) -> Result<Self> {
        let mut f = Fields::new(record, "GUIDLIST");
        let mut guids = Vec::with_capacity(f.len() / 2);
        while !f.is_empty() {
            let (high, low) = (f.next_u32("high word")?, f.next_u32("low word")?);
            guids.push(Guid(u64::from(high) << 32 | u64::from(low)));
        }
        // What follows the last GUID are the constants of the module.
        let used = guids.iter().rposition(|&guid| guid != Guid(0)).map_or(0, |last| last + 1);
        guids.truncate(used);
        guids.shrink_to_fit();
        Ok(GuidList(guids))
    }

    /// The GUID stored for a value.
    #[inline]
    pub fn get(&self, id: usize) -> Option<Guid> {
        self.0.get(id).copied().filter(|&guid| guid != Guid(0))
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
