//! The metadata of a slice.
//!
//! In: a module's METADATA block, read, and which of it the slice needs. Out: a METADATA block in
//! which every number means what it meant, debug information is cut down to what LLVM imports,
//! and what is not needed takes next to nothing: an empty string, an empty node.
//!
//! What LLVM imports (`IRLinker::prepareCompileUnitsForImport`, and `MetadataLoader` where it is
//! told that it loads for an import):
//!
//! | record | loses |
//! |---|---|
//! | COMPILE_UNIT | enums, retained types, globals, imported entities, macros: its own module describes them |
//! | COMPOSITE_TYPE with a name and an identifier: enumeration, class, structure, union | all that makes it a definition: it becomes a declaration (FlagFwdDecl). Template parameters stay where the name does not spell them |
//! | `llvm.pseudo_probe_desc`, `llvm.stats` | everything: they count what their module emits |

use super::metadata::{Edge, Entity, Table, code, edges};
use crate::bitcode::{Module, block_id};
use crate::bitstream::{
    Abbrev, Block, BlockReader, Cursor, Entry, Record, Scalar, Tail, Writer, abbrev_id,
};
use crate::error::{Error, Result};

/// Fields of COMPILE_UNIT.
mod unit {
    pub const ENUMS: usize = 9;
    pub const RETAINED_TYPES: usize = 10;
    pub const GLOBALS: usize = 12;
    pub const IMPORTED_ENTITIES: usize = 13;
    pub const MACROS: usize = 15;
}

/// Fields of COMPOSITE_TYPE. Behind the identifier everything is a definition's.
mod composite {
    pub const TAG: usize = 1;
    pub const NAME: usize = 2;
    pub const BASE_TYPE: usize = 6;
    pub const OFFSET: usize = 9;
    pub const FLAGS: usize = 10;
    pub const ELEMENTS: usize = 11;
    pub const VTABLE_HOLDER: usize = 13;
    pub const TEMPLATE_PARAMS: usize = 14;
    pub const IDENTIFIER: usize = 15;
    pub const ENUM_KIND: usize = 24;
}

const DW_TAG_CLASS_TYPE: u64 = 0x02;
const DW_TAG_ENUMERATION_TYPE: u64 = 0x04;
const DW_TAG_STRUCTURE_TYPE: u64 = 0x13;
const DW_TAG_UNION_TYPE: u64 = 0x17;
const FLAG_FWD_DECL: u64 = 1 << 2;

/// Named nodes that stay with their module.
const NOT_IMPORTED: [&[u8]; 2] = [PSEUDO_PROBES, b"llvm.stats"];
const PSEUDO_PROBES: &[u8] = b"llvm.pseudo_probe_desc";

/// Whether the module counts probes.
pub(super) fn has_pseudo_probes(table: &Table<'_>) -> bool {
    table.named.iter().any(|(name, _)| **name == *PSEUDO_PROBES)
}

/// Cuts the debug information down to what is imported. Gives the types with an identifier that
/// LLVM loads with the compile units before it cuts those, or with globals. They are to be kept,
/// though nothing may name them: of all types in a context that share an identifier, the first
/// that is loaded stands for all, or the first definition (`DICompositeType::buildODRType`).
/// With `full_types` none of them becomes a declaration.
pub(super) fn cut(table: &mut Table<'_>, full_types: bool) -> Vec<u64> {
    table.named.retain(|(name, _)| !NOT_IMPORTED.contains(&&**name));
    if !full_types {
        declare_types(table, 0, &[]);
    }
    let identified = identified(table);
    let mut index = 0;
    while let Some((record, fields)) = table.fields_mut(index) {
        if record == code::COMPILE_UNIT {
            for at in [
                unit::ENUMS,
                unit::RETAINED_TYPES,
                unit::GLOBALS,
                unit::IMPORTED_ENTITIES,
                unit::MACROS,
            ] {
                clear(fields, at);
            }
        }
        index += 1;
    }
    identified
}

/// Of what named metadata and attachments lead to, the types that have an identifier.
fn identified(table: &Table<'_>) -> Vec<u64> {
    let mut loaded = Needed::none(table);
    for (_, nodes) in &table.named {
        nodes.iter().for_each(|&node| loaded.add(node));
    }
    for attachment in &table.attachments {
        attachment.iter().skip(2).step_by(2).for_each(|&node| loaded.add(node));
    }
    loaded.follow(table, &mut |_| {});
    let strings = table.strings.len();
    let identified = |(index, entity): (usize, Entity<'_>)| {
        let identifier = entity.fields.get(composite::IDENTIFIER).copied().unwrap_or(0);
        let is_type = entity.code == code::COMPOSITE_TYPE && identifier != 0;
        (is_type && loaded.has(strings + index)).then_some((strings + index) as u64)
    };
    table.records().enumerate().filter_map(identified).collect()
}

/// Makes declarations of the types that are imported as such. `first` is the number of the first
/// metadata of `table`; before it come those of `module_strings`.
pub(super) fn declare_types(table: &mut Table<'_>, first: u64, module_strings: &[&[u8]]) {
    let mut index = 0;
    while let Some((record, fields)) = table.fields_mut(index) {
        let name = fields.get(composite::NAME).copied().unwrap_or(0);
        if record == code::COMPOSITE_TYPE && is_declared(fields) {
            let name = string(name, table, first, module_strings);
            let spelled = is_spelled(name);
            if let Some((_, fields)) = table.fields_mut(index) {
                for (at, value) in declaration(fields, spelled) {
                    if let Some(field) = fields.get_mut(at) {
                        *field = value;
                    }
                }
            }
        }
        index += 1;
    }
}

/// The string that a field names, be it the table's or the module's.
fn string<'a>(field: u64, table: &Table<'a>, first: u64, module_strings: &[&'a [u8]]) -> &'a [u8] {
    let Some(id) = field.checked_sub(1) else { return &[] };
    let (strings, index) = match id.checked_sub(first) {
        Some(index) => (&*table.strings, index),
        None => (module_strings, id),
    };
    usize::try_from(index).ok().and_then(|index| strings.get(index)).copied().unwrap_or(&[])
}

/// Whether a COMPOSITE_TYPE is imported as a declaration.
fn is_declared(fields: &[u64]) -> bool {
    let get = |at: usize| fields.get(at).copied().unwrap_or(0);
    get(composite::NAME) != 0
        && get(composite::IDENTIFIER) != 0
        && matches!(
            get(composite::TAG),
            DW_TAG_CLASS_TYPE | DW_TAG_ENUMERATION_TYPE | DW_TAG_STRUCTURE_TYPE | DW_TAG_UNION_TYPE
        )
}

/// Whether a type's name spells its template parameters.
fn is_spelled(name: &[u8]) -> bool {
    name.contains(&b'<') && !name.starts_with(b"_STN|")
}

/// The fields in which a declaration differs from its definition, and their values.
fn declaration(fields: &[u64], spelled: bool) -> Vec<(usize, u64)> {
    let flags = fields.get(composite::FLAGS).copied().unwrap_or(0) | FLAG_FWD_DECL;
    let mut changes = vec![(composite::FLAGS, flags)];
    let parameters = spelled.then_some(composite::TEMPLATE_PARAMS);
    let rest = composite::IDENTIFIER + 1..fields.len();
    let cleared =
        [composite::BASE_TYPE, composite::OFFSET, composite::ELEMENTS, composite::VTABLE_HOLDER];
    // The kind of an enumeration names nothing; zero would be one of them.
    let cleared = cleared.into_iter().chain(parameters).chain(rest);
    changes.extend(cleared.filter(|&at| at != composite::ENUM_KIND).map(|at| (at, 0)));
    changes
}

/// A field to be overwritten where it stands: a vbr6 of so many chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// Where it starts in the source, in bits.
    bit: u64,
    value: u64,
    chunks: u32,
}

/// The same for the types that only one body mentions, and which stand in it.
///
/// # Errors
/// Malformed bits; a record by abbreviation, which no LLVM writes.
pub(super) fn patches(module: &Module<'_>, body: &Block, table: &Table<'_>) -> Result<Vec<Patch>> {
    let data = module.location.data;
    let mut patches = Vec::new();
    let mut entries = BlockReader::new(data, body, &module.block_info);
    let mut record = Record::new();
    loop {
        let block = match entries.next_head(&mut record, 0)? {
            Entry::End { .. } => return Ok(patches),
            Entry::Block(block) if block.id == block_id::METADATA => block,
            // LLVM's writer puts it before the instructions.
            Entry::Block(_) | Entry::DefineAbbrev { .. } => continue,
            Entry::Record if record.code == FUNC_CODE_DECLAREBLOCKS => continue,
            Entry::Record => return Ok(patches),
        };
        let local = Table::read(module, &block)?;
        let mut reader = BlockReader::new(data, &block, &module.block_info);
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::Record
                    if record.code == code::COMPOSITE_TYPE && is_declared(&record.fields) =>
                {
                    if u64::from(record.abbrev) != abbrev_id::UNABBREV_RECORD {
                        return Err(Error::unsupported("abbreviated COMPOSITE_TYPE in a function")
                            .at_bit(record.start));
                    }
                    let name = record.fields.get(composite::NAME).copied().unwrap_or(0);
                    let name = string(name, &local, table.len() as u64, &table.strings);
                    let changes = declaration(&record.fields, is_spelled(name));
                    let places = places(data, &record, block.abbrev_width)?;
                    for (at, value) in changes {
                        if let Some(&(bit, chunks)) = places.get(at) {
                            patches.push(Patch { bit, value, chunks });
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

const FUNC_CODE_DECLAREBLOCKS: u32 = 1;

/// Where the fields of an unabbreviated record stand, and how many chunks each has.
fn places(data: &[u8], record: &Record<'_>, abbrev_width: u32) -> Result<Vec<(u64, u32)>> {
    let start = record.start + u64::from(abbrev_width);
    let mut c = Cursor::range(data, start, record.end);
    c.vbr(6)?;
    c.vbr(6)?;
    let mut places = Vec::with_capacity(record.fields.len());
    for _ in &record.fields {
        let bit = c.bit();
        c.vbr(6)?;
        places.push((bit, ((c.bit() - bit) / 6) as u32));
    }
    Ok(places)
}

/// Patches the copy of `block` that was just written and ends where the writer stands.
pub(super) fn apply(writer: &mut Writer, block: &Block, patches: &[Patch]) {
    let copy = writer.bit() - (block.end - block.body);
    for patch in patches {
        writer.patch_vbr(copy + (patch.bit - block.body), patch.value, 6, patch.chunks);
    }
}

fn clear(fields: &mut [u64], at: usize) {
    if let Some(field) = fields.get_mut(at) {
        *field = 0;
    }
}

/// Which metadata are needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Needed {
    marks: Vec<bool>,
    pending: Vec<u64>,
}

impl Needed {
    /// None of `table` yet.
    pub fn none(table: &Table<'_>) -> Self {
        Needed { marks: vec![false; table.len()], pending: Vec::new() }
    }

    /// Marks one.
    pub fn add(&mut self, id: u64) {
        if let Ok(index) = usize::try_from(id)
            && let Some(mark) = self.marks.get_mut(index)
            && !*mark
        {
            *mark = true;
            self.pending.push(id);
        }
    }

    /// Marks what those marked name, and tells which values are among it.
    pub fn follow(&mut self, table: &Table<'_>, value: &mut dyn FnMut(u64)) {
        while let Some(id) = self.pending.pop() {
            if let Some(entity) = table.get(id) {
                edges(entity, &mut |edge| match edge {
                    Edge::Metadata(id) => self.add(id),
                    Edge::Value(id) => value(id),
                });
            }
        }
    }

    fn has(&self, index: usize) -> bool {
        self.marks.get(index).copied().unwrap_or(false)
    }
}

/// The width of abbreviation ids in the block.
const WIDTH: u32 = 4;

/// Writes the block. `attached` says which values keep their attachments.
pub(super) fn write(
    writer: &mut Writer,
    module: &Module<'_>,
    table: &Table<'_>,
    needed: &Needed,
    attached: &dyn Fn(u64) -> bool,
) {
    let open = writer.begin_block(module.location.block.abbrev_width, block_id::METADATA, WIDTH);
    if !table.strings.is_empty() {
        write_strings(writer, module, table, needed);
    }
    for fields in &table.kinds {
        writer.record(WIDTH, code::KIND, fields);
    }
    for (index, entity) in table.records().enumerate() {
        if needed.has(table.strings.len() + index) {
            writer.record(WIDTH, entity.code, entity.fields);
        } else {
            writer.record(WIDTH, code::NODE, &[]);
        }
    }
    for (name, nodes) in &table.named {
        let name: Vec<u64> = name.iter().map(|&c| u64::from(c)).collect();
        writer.record(WIDTH, code::NAME, &name);
        writer.record(WIDTH, code::NAMED_NODE, nodes);
    }
    for fields in &table.attachments {
        if fields.first().is_some_and(|&value| attached(value)) {
            writer.record(WIDTH, code::GLOBAL_DECL_ATTACHMENT, fields);
        }
    }
    writer.end_block(open);
}

/// `[count, offset of the characters] blob`, see [`Table`].
fn write_strings(writer: &mut Writer, module: &Module<'_>, table: &Table<'_>, needed: &Needed) {
    let kept = |(index, string): (usize, &&'_ [u8])| match needed.has(index) {
        true => string.len(),
        false => 0,
    };
    let mut lengths = Writer::new();
    for string in table.strings.iter().enumerate() {
        lengths.vbr(kept(string) as u64, 6);
    }
    lengths.align32();
    let mut blob = lengths.finish();
    let offset = blob.len() as u64;
    for (index, string) in table.strings.iter().enumerate() {
        if needed.has(index) {
            blob.extend_from_slice(string);
        }
    }
    let layout = Abbrev {
        scalars: vec![Scalar::Literal(u64::from(code::STRINGS)), Scalar::Vbr(6), Scalar::Vbr(6)],
        tail: Tail::Blob,
    };
    // Behind those that BLOCKINFO gives to every METADATA block.
    let given = module.block_info.abbrevs(module.location.data, block_id::METADATA).len();
    let id = abbrev_id::FIRST_APPLICATION as u32 + given as u32;
    writer.define_abbrev(WIDTH, &layout);
    let fields = [table.strings.len() as u64, offset];
    writer.abbreviated(WIDTH, id, &layout, code::STRINGS, &fields, Some(&blob));
}
