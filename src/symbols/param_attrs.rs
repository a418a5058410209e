//! The few attributes that matter outside of LLVM.
//!
//! In: a module's PARAMATTR and PARAMATTR_GROUP blocks. Out: which parameters of an attribute
//! list are `sret`, and which are passed by value: names of stdcall, fastcall and vectorcall
//! functions on Windows ask. And which functions are `nobuiltin`: imports ask.
//!
//! Layout (source: `parseAttributeGroupBlock` and `parseAttributeBlock` of LLVM's
//! `BitcodeReader.cpp`): a group is `[group id, parameter, attribute...]` with parameter 0 for the
//! result, 1 on for the parameters and 0xFFFFFFFF for the function. An attribute is
//! `0 key`, `1 key value`, `3 characters 0`, `4 characters 0 characters 0`, `5 key` or
//! `6 key type`. LLVM 19 added `7 key bits lower upper` and `8 key count bits ...` for ranges. A
//! list is `[group id...]`; functions name it by 1 + its position.

use crate::bitcode::{Module, block_id};
use crate::bitstream::{BlockReader, Entry, Record};
use crate::error::Result;

const PARAMATTR_ENTRY: u32 = 2;
const GROUP_ENTRY: u32 = 3;

/// In place of a parameter: the function itself.
const FUNCTION: u64 = 0xffff_ffff;

/// Keys of attributes (`bitc::AttributeKindCodes`).
const BY_VAL: u64 = 3;
const NO_BUILTIN: u64 = 10;
const STRUCT_RET: u64 = 29;
const IN_ALLOCA: u64 = 38;
const PREALLOCATED: u64 = 65;

/// What of a parameter matters here.
#[derive(Clone, Copy, Debug, Default)]
struct Attrs {
    sret: bool,
    no_builtin: bool,
    /// By value, with the type where the attribute has it.
    by_value: Option<Option<u32>>,
}

/// The attribute lists of a module.
#[derive(Clone, Debug, Default)]
pub struct ParamAttrs {
    /// `(group id, parameter, attributes)`; only groups that say something are kept.
    groups: Vec<(u64, u64, Attrs)>,
    lists: Vec<Vec<u64>>,
}

impl ParamAttrs {
    /// Reads both blocks.
    ///
    /// # Errors
    /// Malformed blocks.
    pub fn read(module: &Module<'_>) -> Result<Self> {
        let mut found = ParamAttrs::default();
        let mut record = Record::new();
        for block in &module.blocks {
            if !matches!(block.id, block_id::PARAMATTR | block_id::PARAMATTR_GROUP) {
                continue;
            }
            let mut reader = BlockReader::new(module.location.data, block, &module.block_info);
            loop {
                match reader.next(&mut record)? {
                    Entry::End { .. } => break,
                    Entry::Record => match (block.id, record.code) {
                        (block_id::PARAMATTR, PARAMATTR_ENTRY) => {
                            found.lists.push(record.fields.clone());
                        }
                        (block_id::PARAMATTR_GROUP, GROUP_ENTRY) => found.group(&record.fields),
                        _ => {}
                    },
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    fn group(&mut self, fields: &[u64]) {
        let [id, parameter, rest @ ..] = fields else { return };
        let mut attrs = Attrs::default();
        let mut rest = rest.iter().copied();
        while let Some(kind) = rest.next() {
            match kind {
                0 | 5 => attrs.note(rest.next(), None),
                1 => {
                    let key = rest.next();
                    rest.next();
                    attrs.note(key, None);
                }
                3 | 4 => {
                    for _ in 0..kind - 2 {
                        // A string ends with a zero.
                        rest.by_ref().find(|&c| c == 0);
                    }
                }
                6 => {
                    let key = rest.next();
                    let ty = rest.next().and_then(|t| u32::try_from(t).ok());
                    attrs.note(key, ty);
                }
                // Ranges carry no length of their own; what we look for is written before them,
                // as LLVM sorts attributes by kind.
                _ => break,
            }
        }
        if attrs.sret || attrs.no_builtin || attrs.by_value.is_some() {
            self.groups.push((*id, *parameter, attrs));
        }
    }

    fn find(&self, list: u32, wanted: u64) -> Option<&Attrs> {
        let groups = self.lists.get((list as usize).checked_sub(1)?)?;
        let of_list = self.groups.iter().find(|g| g.1 == wanted && groups.contains(&g.0));
        of_list.map(|g| &g.2)
    }

    /// Whether the list says of its function that calls of it are not of a builtin.
    pub fn is_no_builtin(&self, list: u32) -> bool {
        self.find(list, FUNCTION).is_some_and(|a| a.no_builtin)
    }

    /// Whether parameter `parameter` (from 0) of an attribute list is where the result goes.
    pub fn is_sret(&self, list: u32, parameter: usize) -> bool {
        self.find(list, parameter as u64 + 1).is_some_and(|a| a.sret)
    }

    /// Whether the parameter is a pointer to a value that is passed, and that value's type.
    pub fn by_value(&self, list: u32, parameter: usize) -> Option<Option<u32>> {
        self.find(list, parameter as u64 + 1)?.by_value
    }
}

impl Attrs {
    fn note(&mut self, key: Option<u64>, ty: Option<u32>) {
        match key {
            Some(STRUCT_RET) => self.sret = true,
            Some(NO_BUILTIN) => self.no_builtin = true,
            Some(BY_VAL | IN_ALLOCA | PREALLOCATED) => self.by_value = Some(ty),
            _ => {}
        }
    }
}
