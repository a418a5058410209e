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
use crate::bitstream::{Abbrev, Scalar, Tail, Writer, abbrev_id};

/// Fields of COMPILE_UNIT.
mod unit {
    pub const ENUMS: usize = 9;
    pub const RETAINED_TYPES: usize = 10;
    pub const GLOBALS: usize = 12;
    pub const IMPORTED_ENTITIES: usize = 13;
    pub const MACROS: usize = 16;
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
const NOT_IMPORTED: [&[u8]; 2] = [b"llvm.pseudo_probe_desc", b"llvm.stats"];

/// Cuts the debug information down to what is imported. Gives the definitions of types that have
/// an identifier and no name, which LLVM loads with the compile units before it cuts those: by its
/// identifier such a definition takes the place of a declaration that the destination has
/// (`DICompositeType::buildODRType`). To be kept, though nothing may name them.
pub(super) fn cut(table: &mut Table<'_>) -> Vec<u64> {
    table.named.retain(|(name, _)| !NOT_IMPORTED.contains(&&**name));
    let mut index = 0;
    while let Some((record, fields)) = table.fields_mut(index) {
        if record == code::COMPOSITE_TYPE {
            let get = |at: usize| fields.get(at).copied().unwrap_or(0);
            let declared = get(composite::IDENTIFIER) != 0
                && matches!(
                    get(composite::TAG),
                    DW_TAG_CLASS_TYPE
                        | DW_TAG_ENUMERATION_TYPE
                        | DW_TAG_STRUCTURE_TYPE
                        | DW_TAG_UNION_TYPE
                );
            let name = get(composite::NAME);
            if declared && name != 0 {
                forward_declare(table, index, name);
            }
        }
        index += 1;
    }
    let definitions = identified_definitions(table);
    index = 0;
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
    definitions
}

/// Of what named metadata lead to, the definitions of types that have an identifier.
fn identified_definitions(table: &Table<'_>) -> Vec<u64> {
    let mut loaded = Needed::none(table);
    for (_, nodes) in &table.named {
        nodes.iter().for_each(|&node| loaded.add(node));
    }
    loaded.follow(table, &mut |_| {});
    let strings = table.strings.len();
    let identified = |(index, entity): (usize, Entity<'_>)| {
        let get = |at: usize| entity.fields.get(at).copied().unwrap_or(0);
        let definition = entity.code == code::COMPOSITE_TYPE
            && get(composite::IDENTIFIER) != 0
            && get(composite::FLAGS) & FLAG_FWD_DECL == 0;
        (definition && loaded.has(strings + index)).then_some((strings + index) as u64)
    };
    table.records().enumerate().filter_map(identified).collect()
}

fn forward_declare(table: &mut Table<'_>, index: usize, name: u64) {
    let name = table.string(name).unwrap_or(&[]);
    let spelled = name.contains(&b'<') && !name.starts_with(b"_STN|");
    let Some((_, fields)) = table.fields_mut(index) else { return };
    if let Some(flags) = fields.get_mut(composite::FLAGS) {
        *flags |= FLAG_FWD_DECL;
    }
    for at in
        [composite::BASE_TYPE, composite::OFFSET, composite::ELEMENTS, composite::VTABLE_HOLDER]
    {
        clear(fields, at);
    }
    if spelled {
        clear(fields, composite::TEMPLATE_PARAMS);
    }
    for at in composite::IDENTIFIER + 1..fields.len() {
        // Not a reference; zero would be a kind.
        if at != composite::ENUM_KIND {
            clear(fields, at);
        }
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
