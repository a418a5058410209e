//! The records of a METADATA block, and which of their fields name something.
//!
//! In: a METADATA block, of a module or of a body. Out: its records in one flat table, its
//! strings, and of each record the metadata and the values that it names. What a record means is
//! of no interest here: only which fields are numbers of metadata and which are plain integers.
//!
//! Source: `parseOneMetadata` of LLVM's `MetadataLoader.cpp` and the `writeDI...` functions of its
//! `BitcodeWriter.cpp`, 14 to 22. Numbers count the strings first, then every record that defines
//! a metadata. A field that names one is its number plus one, zero for null, but where
//! [`FIELDS`] says otherwise. [`FIELDS`] lists the fields that are integers; all others are taken
//! for names: should a later LLVM add an integer, something may be kept that nobody needs, never
//! the other way round.

use crate::bitcode::Module;
use crate::bitstream::{Block, BlockReader, Cursor, Entry, Fields, Record};
use crate::error::{Error, Result};

/// Codes of records (`bitc::MetadataCodes`).
#[allow(missing_docs)]
pub(super) mod code {
    pub const STRING_OLD: u32 = 1;
    pub const VALUE: u32 = 2;
    pub const NODE: u32 = 3;
    pub const NAME: u32 = 4;
    pub const DISTINCT_NODE: u32 = 5;
    pub const KIND: u32 = 6;
    pub const LOCATION: u32 = 7;
    pub const OLD_NODE: u32 = 8;
    pub const OLD_FN_NODE: u32 = 9;
    pub const NAMED_NODE: u32 = 10;
    pub const BASIC_TYPE: u32 = 15;
    pub const DERIVED_TYPE: u32 = 17;
    pub const COMPOSITE_TYPE: u32 = 18;
    pub const COMPILE_UNIT: u32 = 20;
    pub const SUBPROGRAM: u32 = 21;
    pub const TEMPLATE_VALUE: u32 = 26;
    pub const GLOBAL_VAR: u32 = 27;
    pub const LOCAL_VAR: u32 = 28;
    pub const EXPRESSION: u32 = 29;
    pub const STRINGS: u32 = 35;
    pub const GLOBAL_DECL_ATTACHMENT: u32 = 36;
    pub const INDEX_OFFSET: u32 = 38;
    pub const INDEX: u32 = 39;
    pub const ARG_LIST: u32 = 46;
    pub const ASSIGN_ID: u32 = 47;
}

/// `(code, fields that are integers)`.
const FIELDS: &[(u32, &[usize])] = &[
    (code::NODE, &[]),
    (code::DISTINCT_NODE, &[]),
    (12, &[0, 1, 2]),       // GENERIC_DEBUG
    (13, &[0]),             // SUBRANGE
    (14, &[0, 1, 3, 4, 5]), // ENUMERATOR
    (code::BASIC_TYPE, &[0, 1, 4, 5, 6, 7, 8]),
    (16, &[0, 3]), // FILE
    (code::DERIVED_TYPE, &[0, 1, 4, 8, 10, 12, 14]),
    (code::COMPOSITE_TYPE, &[0, 1, 4, 8, 10, 12, 24]),
    (19, &[0, 1, 3]), // SUBROUTINE_TYPE
    (code::COMPILE_UNIT, &[0, 1, 4, 6, 8, 14, 15, 17, 18, 19]),
    (code::SUBPROGRAM, &[0, 5, 7, 9, 10, 11, 16, 20]),
    (22, &[0, 3, 4]), // LEXICAL_BLOCK
    (23, &[0, 3]),    // LEXICAL_BLOCK_FILE
    (24, &[0]),       // NAMESPACE
    (25, &[0, 3]),    // TEMPLATE_TYPE
    (code::TEMPLATE_VALUE, &[0, 1, 4]),
    (code::GLOBAL_VAR, &[0, 5, 7, 8, 11]),
    (code::LOCAL_VAR, &[0, 4, 6, 7, 8]),
    (30, &[0, 3, 6]),       // OBJC_PROPERTY
    (31, &[0, 1, 4]),       // IMPORTED_ENTITY
    (32, &[0]),             // MODULE
    (33, &[0, 1, 2]),       // MACRO
    (34, &[0, 1, 2]),       // MACRO_FILE
    (37, &[0]),             // GLOBAL_VAR_EXPR
    (40, &[0, 4, 5, 6, 7]), // LABEL
    (41, &[0, 1]),          // STRING_TYPE
    (44, &[0, 5]),          // COMMON_BLOCK
    (45, &[0]),             // GENERIC_SUBRANGE
    (48, &[0]),             // SUBRANGE_TYPE
    (49, &[0]),             // FIXED_POINT_TYPE
];

/// A record: its code and fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entity<'t> {
    pub code: u32,
    pub fields: &'t [u64],
}

/// What a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Metadata(u64),
    /// A value, by its id.
    Value(u64),
}

/// A block, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Table<'a> {
    /// The strings, which have the first numbers.
    pub strings: Vec<&'a [u8]>,
    /// Those that define a metadata, in order: the first has the number `strings.len()`.
    entities: Vec<(u32, usize, usize)>,
    fields: Vec<u64>,
    /// The named nodes, whose fields are numbers.
    pub named: Vec<(Vec<u8>, Vec<u64>)>,
    /// GLOBAL_DECL_ATTACHMENT `[value, n x (kind, metadata)]`.
    pub attachments: Vec<Vec<u64>>,
    /// KIND records, which stood here before LLVM 4.
    pub kinds: Vec<Vec<u64>>,
}

impl<'a> Table<'a> {
    /// Reads a block.
    ///
    /// # Errors
    /// Malformed bits; records of LLVM before 3.9, which name values by type and number.
    pub fn read(module: &Module<'a>, block: &Block) -> Result<Self> {
        let mut table = Table::default();
        let mut reader = BlockReader::new(module.location.data, block, &module.block_info);
        let mut record = Record::new();
        let mut name = Vec::new();
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => return Ok(table),
                Entry::Record => match record.code {
                    code::STRINGS => table.read_strings(&record)?,
                    code::NAME => name = record.string(),
                    code::NAMED_NODE => {
                        table.named.push((std::mem::take(&mut name), record.fields.clone()));
                    }
                    code::GLOBAL_DECL_ATTACHMENT => table.attachments.push(record.fields.clone()),
                    code::KIND => table.kinds.push(record.fields.clone()),
                    code::INDEX_OFFSET | code::INDEX => {}
                    code::OLD_NODE | code::OLD_FN_NODE => {
                        return Err(
                            Error::unsupported("metadata of LLVM before 3.9").at_bit(record.start)
                        );
                    }
                    code => {
                        let start = table.fields.len();
                        table.fields.extend_from_slice(&record.fields);
                        table.entities.push((code, start, table.fields.len()));
                    }
                },
                _ => {}
            }
        }
    }

    /// `[count, offset of the characters] blob`: lengths as vbr6, and at the offset the characters.
    fn read_strings(&mut self, record: &Record<'a>) -> Result<()> {
        let mut f = Fields::new(record, "METADATA_STRINGS");
        let count = f.next("count")?;
        let offset = f.next("offset")?;
        let blob = record.blob.unwrap_or(&[]);
        let split = usize::try_from(offset).ok().and_then(|at| blob.split_at_checked(at));
        let Some((lengths, mut chars)) = split else {
            return Err(f.error(format_args!("characters at {offset} of {}", blob.len())));
        };
        if count > lengths.len() as u64 * 8 / 6 || !self.entities.is_empty() {
            return Err(f.error(format_args!("{count} strings do not fit")));
        }
        let mut lengths = Cursor::new(lengths);
        for _ in 0..count {
            let len = usize::try_from(lengths.vbr(6)?).ok();
            let Some((string, rest)) = len.and_then(|len| chars.split_at_checked(len)) else {
                return Err(f.error("a string runs past the characters"));
            };
            self.strings.push(string);
            chars = rest;
        }
        Ok(())
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.strings.len() + self.entities.len()
    }

    /// How much memory it takes, in bytes, roughly.
    pub fn size(&self) -> usize {
        16 * self.strings.len() + 24 * self.entities.len() + 8 * self.fields.len()
    }

    /// The record of a number; `None` for a string and for what is not there.
    pub fn get(&self, id: u64) -> Option<Entity<'_>> {
        let index = usize::try_from(id).ok()?.checked_sub(self.strings.len())?;
        self.entities.get(index).and_then(|&entity| self.entity(entity))
    }

    /// All records, in the order of their numbers.
    pub fn records(&self) -> impl Iterator<Item = Entity<'_>> {
        self.entities.iter().filter_map(|&entity| self.entity(entity))
    }

    fn entity(&self, (code, start, end): (u32, usize, usize)) -> Option<Entity<'_>> {
        Some(Entity { code, fields: self.fields.get(start..end)? })
    }

    /// The fields of a record, to be changed.
    pub fn fields_mut(&mut self, index: usize) -> Option<(u32, &mut [u64])> {
        let &(code, start, end) = self.entities.get(index)?;
        Some((code, self.fields.get_mut(start..end)?))
    }
}

/// Says what a record names.
pub(super) fn edges(entity: Entity<'_>, say: &mut dyn FnMut(Edge)) {
    let Entity { code, fields } = entity;
    let plus_one = |field: u64, say: &mut dyn FnMut(Edge)| {
        if let Some(id) = field.checked_sub(1) {
            say(Edge::Metadata(id));
        }
    };
    match code {
        code::STRING_OLD | code::EXPRESSION | code::ASSIGN_ID => {}
        // [type, value]
        code::VALUE => {
            if let Some(&value) = fields.get(1) {
                say(Edge::Value(value));
            }
        }
        // [distinct, line, column, scope, inlined at + 1, implicit]: the scope is never null
        code::LOCATION => {
            if let Some(&scope) = fields.get(3) {
                say(Edge::Metadata(scope));
            }
            if let Some(&inlined_at) = fields.get(4) {
                plus_one(inlined_at, say);
            }
        }
        // [n x metadata]
        code::ARG_LIST => fields.iter().for_each(|&id| say(Edge::Metadata(id))),
        _ => match FIELDS.iter().find(|layout| layout.0 == code) {
            Some((_, integers)) => {
                let integers = if is_old(code, fields) { &[0][..] } else { integers };
                let sizes = sizes(code, fields);
                for (at, &field) in fields.iter().enumerate() {
                    if !integers.contains(&at) && !sizes.contains(&at) {
                        plus_one(field, say);
                    }
                }
            }
            // Whatever it is: a number, or a number plus one.
            None => {
                for &field in fields {
                    say(Edge::Metadata(field));
                    plus_one(field, say);
                }
            }
        },
    }
}

/// Whether a record is laid out as before LLVM 8: what is said of its integers does not hold.
fn is_old(code: u32, fields: &[u64]) -> bool {
    let flags = fields.first().copied().unwrap_or(0);
    match code {
        // HasSPFlags
        code::SUBPROGRAM => flags & 4 == 0,
        // version 2
        code::GLOBAL_VAR => flags >> 1 < 2,
        // HasAlignment
        code::LOCAL_VAR => flags & 2 == 0,
        // without isDefault
        code::TEMPLATE_VALUE => fields.len() < 6,
        _ => false,
    }
}

/// Sizes and offsets are integers before LLVM 21, and metadata where a flag says so.
fn sizes(code: u32, fields: &[u64]) -> &'static [usize] {
    let flags = fields.first().copied().unwrap_or(0);
    match code {
        code::BASIC_TYPE if flags & 2 == 0 => &[3],
        code::DERIVED_TYPE if flags & 2 == 0 => &[7, 9],
        code::COMPOSITE_TYPE if flags & 4 == 0 => &[7, 9],
        _ => &[],
    }
}
