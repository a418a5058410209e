//! The mark that LLVM leaves on a variable that is to become internal once everything is imported:
//! the attribute `"thinlto-internalize"`.
//!
//! In: a module and which of its variables get the mark; or a module, and it says which have it.
//! Out: for `rewrite` the attribute groups and lists with the mark among them. It must not know why
//! a variable is marked.
//!
//! A variable names an attribute list, of which it uses the groups of the function position
//! (`BitcodeReader::parseGlobalVarRecord`). A mark makes a list that no other has: the old one's
//! groups, and in place of the one at the function position a new one that says the same and the
//! mark. See [`crate::symbols::ParamAttrs`] for the layout of groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::bitcode::{GlobalKind, Module, block_id};
use crate::bitstream::{Block, BlockReader, Entry, Record, Writer};
use crate::error::{Error, Result};

const MARK: &[u8] = b"thinlto-internalize";
/// `PARAMATTR_CODE_ENTRY`: the groups of a list.
const LIST: u32 = 2;
/// `PARAMATTR_GRP_CODE_ENTRY`.
const GROUP: u32 = 3;
/// In place of a parameter: the function, or the variable, itself.
const FUNCTION: u64 = 0xffff_ffff;
/// An attribute of characters without a value.
pub(super) const STRING: u64 = 3;
/// The same with a value, which is as many characters behind the first zero.
pub(super) const STRING_WITH_VALUE: u64 = 4;
/// The width of abbreviation ids in a block that is made here.
const WIDTH: u32 = 3;

/// The attribute groups and lists of a module.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) groups: Vec<Vec<u64>>,
    lists: Vec<Vec<u64>>,
}

impl Attributes {
    pub(super) fn read(module: &Module<'_>) -> Result<Self> {
        let mut found = Attributes::default();
        let mut record = Record::new();
        for block in &module.blocks {
            let (code, into) = match block.id {
                block_id::PARAMATTR_GROUP => (GROUP, &mut found.groups),
                block_id::PARAMATTR => (LIST, &mut found.lists),
                _ => continue,
            };
            let mut reader = BlockReader::new(module.location.data, block, &module.block_info);
            loop {
                match reader.next(&mut record)? {
                    Entry::End { .. } => break,
                    Entry::Record if record.code == code => into.push(record.fields.clone()),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// The groups of a list, which is named by 1 + its position; 0 names none.
    fn list(&self, list: u32) -> &[u64] {
        let at = (list as usize).checked_sub(1);
        at.and_then(|at| self.lists.get(at)).map_or(&[], Vec::as_slice)
    }

    /// What a list says of the function position, and which group says it.
    fn function_group(&self, list: u32) -> Option<(u64, &[u64])> {
        self.list(list).iter().find_map(|wanted| {
            self.groups.iter().find_map(|group| match group.as_slice() {
                [id, FUNCTION, rest @ ..] if id == wanted => Some((*id, rest)),
                _ => None,
            })
        })
    }
}

/// The fields of the mark in a group.
fn mark() -> Vec<u64> {
    [STRING].into_iter().chain(MARK.iter().map(|&c| u64::from(c))).chain([0]).collect()
}

/// The definitions of variables that have the mark, by value id.
///
/// # Errors
/// Malformed attribute blocks.
pub fn marked(module: &Module<'_>) -> Result<BTreeSet<usize>> {
    let attributes = Attributes::read(module)?;
    let mark = mark();
    // String attributes come last in a group, so that what looks like the mark is the mark.
    let has_mark = |list| {
        attributes
            .function_group(list)
            .is_some_and(|(_, fields)| fields.windows(mark.len()).any(|w| w == mark))
    };
    let globals = module.globals.iter().enumerate();
    let variables = globals.filter(|(_, g)| g.kind == GlobalKind::Variable && !g.is_declaration);
    Ok(variables
        .filter(|(_, g)| g.attributes != 0 && has_mark(g.attributes))
        .map(|v| v.0)
        .collect())
}

/// Attribute groups and lists to be written behind a module's own.
#[derive(Debug, Default)]
pub(super) struct Marks {
    groups: Vec<Vec<u64>>,
    lists: Vec<Vec<u64>>,
    /// By the value id of a variable, the list that it gets.
    pub of: BTreeMap<usize, u32>,
    written: [bool; 2],
}

impl Marks {
    /// For `variables`, by value id.
    pub fn new(module: &Module<'_>, variables: &BTreeSet<usize>) -> Result<Self> {
        let mut marks = Marks::default();
        if variables.is_empty() {
            return Ok(marks);
        }
        let attributes = Attributes::read(module)?;
        let named = |group: &Vec<u64>| group.first().copied().unwrap_or(0);
        let mut next_group = attributes.groups.iter().map(named).max().unwrap_or(0) + 1;
        let mut by_old: BTreeMap<u32, u32> = BTreeMap::new();
        for &id in variables {
            let Some(g) = module.globals.get(id).filter(|g| g.kind == GlobalKind::Variable) else {
                return Err(Error::misuse(format!("no variable has the value id {id}")));
            };
            let list = *by_old.entry(g.attributes).or_insert_with(|| {
                let old = attributes.function_group(g.attributes);
                let said = old.map_or(&[][..], |(_, said)| said);
                marks.groups.push([&[next_group, FUNCTION], said, &mark()].concat());
                let replaced = old.map(|(id, _)| id);
                let kept = attributes.list(g.attributes).iter().copied();
                let kept = kept.filter(|&group| Some(group) != replaced);
                marks.lists.push(kept.chain([next_group]).collect());
                next_group += 1;
                (attributes.lists.len() + marks.lists.len()) as u32
            });
            marks.of.insert(id, list);
        }
        Ok(marks)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Copies one of the two blocks, longer by what is new.
    pub fn extend(
        &mut self,
        writer: &mut Writer,
        width: u32,
        module: &Module<'_>,
        block: &Block,
    ) -> Result<()> {
        // Lists name groups, which must have been read.
        if block.id == block_id::PARAMATTR {
            self.write(writer, width, block_id::PARAMATTR_GROUP);
        }
        let data = module.location.data;
        let open = writer.begin_block(width, block.id, block.abbrev_width);
        let mut reader = BlockReader::new(data, block, &module.block_info);
        let mut record = Record::new();
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::DefineAbbrev { start, end } => writer.copy_bits(data, start, end),
                Entry::Record => writer.copy_bits(data, record.start, record.end),
                Entry::Block(inner) => writer.copy_block(block.abbrev_width, data, &inner),
            }
        }
        self.records(writer, block.id, block.abbrev_width);
        writer.end_block(open);
        Ok(())
    }

    /// Writes what the module had no block for, before its first global value.
    pub fn finish(&mut self, writer: &mut Writer, width: u32) {
        if !self.is_empty() {
            self.write(writer, width, block_id::PARAMATTR_GROUP);
            self.write(writer, width, block_id::PARAMATTR);
        }
    }

    fn write(&mut self, writer: &mut Writer, width: u32, id: u32) {
        let [groups, lists] = self.written;
        if (id == block_id::PARAMATTR && lists) || (id == block_id::PARAMATTR_GROUP && groups) {
            return;
        }
        let open = writer.begin_block(width, id, WIDTH);
        self.records(writer, id, WIDTH);
        writer.end_block(open);
    }

    fn records(&mut self, writer: &mut Writer, id: u32, width: u32) {
        let [groups, lists] = &mut self.written;
        let (code, records, written) = match id {
            block_id::PARAMATTR => (LIST, &self.lists, lists),
            _ => (GROUP, &self.groups, groups),
        };
        for fields in records {
            writer.record(width, code, fields);
        }
        *written = true;
    }
}
