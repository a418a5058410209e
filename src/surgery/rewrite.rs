//! The pass over a module block that applies [`Edits`].
//!
//! In: a module, read whole, and the edits. Out: bitcode: magic, identification, module, string
//! table. See the head of the folder for what stays and what goes.
//!
//! Metadata's index of offsets is relative and moves along; the other offsets are `output`'s.

use super::blockaddress;
use super::marks::Marks;
use super::metadata;
use super::output::{Output, TOP};
use super::records::{Aliasee, GlobalRecord, kind_of, originals};
use super::{Edits, Fate, GlobalEdit};
use crate::bitcode::field::variable;
use crate::bitcode::{
    Constants, Extent, GlobalKind, Module, Type, TypeTable, block_id, module_code,
};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Record};
use crate::error::{Error, Result};

/// Writes `module` with `edits` applied.
///
/// # Errors
/// The module's bits are malformed, or of module version 0 or 1 (before LLVM 5); an edit names a
/// value that is not there or asks for a definition of what cannot have one.
pub fn rewrite(module: &Module<'_>, edits: &Edits) -> Result<Vec<u8>> {
    if module.version < 2 || module.extent != Extent::All {
        return Err(Error::unsupported(format!(
            "module block of version {}; only version 2 (LLVM 5 and later) can be changed",
            module.version
        )));
    }
    for &id in edits.globals.keys() {
        if id >= module.globals.len() {
            return Err(Error::misuse(format!("no global has the value id {id}")));
        }
    }
    let capacity = (module.location.block.end - module.location.start_bit()) / 8;
    let mut pass = Pass {
        module,
        edits,
        out: Output::new(
            module,
            if edits.fresh_names { Vec::new() } else { module.location.strtab.to_vec() },
            capacity as usize + module.location.strtab.len() + 256,
        ),
        originals: originals(module)?,
        constants: Constants::default(),
        types: None,
        marks: Marks::new(module, &edits.marked)?,
    };
    let changes_alias = |(&id, edit): (&usize, &super::GlobalEdit)| {
        let kind = module.globals.get(id).map(|g| g.kind);
        kind == Some(GlobalKind::Alias) && edit.fate != Fate::Keep
    };
    if edits.globals.iter().any(changes_alias) {
        pass.constants = Constants::read(module)?;
        pass.types = Some(TypeTable::read(module)?);
    }
    pass.module_block()?;
    Ok(pass.out.finish())
}

struct Pass<'m, 'a> {
    module: &'m Module<'a>,
    edits: &'m Edits,
    out: Output,
    originals: Vec<GlobalRecord>,
    /// Read only where an alias becomes something else.
    constants: Constants,
    types: Option<TypeTable>,
    /// Read only where a variable is marked.
    marks: Marks,
}

impl Pass<'_, '_> {
    fn module_block(&mut self) -> Result<()> {
        let module = self.module;
        let data = module.location.data;
        let block = module.location.block;
        let width = block.abbrev_width;
        let with_bodies: Vec<usize> = module.functions_with_bodies().collect();
        if with_bodies.len() != module.bodies.len() {
            return Err(Error::malformed(format!(
                "{} function bodies for {} defined functions",
                module.bodies.len(),
                with_bodies.len()
            ))
            .at_bit(block.start));
        }
        let any_body = with_bodies.iter().any(|&id| self.edits.fate(id) == Fate::Keep);
        let any_dropped = with_bodies.iter().any(|&id| self.edits.fate(id) == Fate::Declare);

        let open = self.out.writer.begin_block(TOP, block.id, width);
        let mut reader = BlockReader::new(data, &block, &BlockInfo::default());
        let mut record = Record::new();
        let (mut next_global, mut next_comdat, mut next_body) = (0, 0, 0);
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::DefineAbbrev { start, end } => self.out.writer.copy_bits(data, start, end),
                Entry::Record => match record.code {
                    code if kind_of(code).is_some() => {
                        self.marks.finish(&mut self.out.writer, width);
                        self.global(next_global, &record, width)?;
                        next_global += 1;
                    }
                    module_code::COMDAT => {
                        self.comdat(next_comdat, &record, width);
                        next_comdat += 1;
                    }
                    module_code::ASM if self.edits.module_asm.is_some() => {
                        let asm = self.edits.module_asm.as_deref().unwrap_or(&[]);
                        let fields: Vec<u64> = asm.iter().map(|&c| u64::from(c)).collect();
                        self.out.writer.record(width, record.code, &fields);
                    }
                    module_code::VSTOFFSET => {
                        if any_body {
                            self.out.symbol_table_offset(width);
                        }
                    }
                    module_code::HASH => {}
                    _ => self.out.writer.copy_bits(data, record.start, record.end),
                },
                Entry::Block(inner) => match inner.id {
                    block_id::FUNCTION => {
                        let id = with_bodies.get(next_body).copied();
                        next_body += 1;
                        if let Some(id) = id.filter(|&id| self.edits.fate(id) == Fate::Keep) {
                            self.body(id, &inner, any_dropped)?;
                        }
                        if next_body == with_bodies.len() {
                            self.out.symbol_table(width)?;
                        }
                    }
                    block_id::CONSTANTS => {
                        let codes = match any_dropped {
                            true => blockaddress::dangling(module, &inner, &self.lost())?,
                            false => Vec::new(),
                        };
                        self.out.writer.copy_block(width, data, &inner);
                        blockaddress::make_null(&mut self.out.writer, &inner, &codes);
                    }
                    block_id::METADATA if !self.edits.forgotten_lists.is_empty() => {
                        self.metadata(&inner, width)?;
                    }
                    block_id::PARAMATTR | block_id::PARAMATTR_GROUP if !self.marks.is_empty() => {
                        self.marks.extend(&mut self.out.writer, width, module, &inner)?;
                    }
                    // Rewritten behind the bodies.
                    block_id::VALUE_SYMTAB => {}
                    // No longer true of what is written.
                    block_id::GLOBALVAL_SUMMARY
                    | block_id::FULL_LTO_GLOBALVAL_SUMMARY
                    | block_id::USELIST => {}
                    _ => self.out.writer.copy_block(width, data, &inner),
                },
            }
        }
        self.out.writer.end_block(open);
        Ok(())
    }

    /// A block of metadata without the lists that go. They stand behind everything whose place
    /// matters: the strings and the index.
    fn metadata(&mut self, block: &Block, width: u32) -> Result<()> {
        let data = self.module.location.data;
        let open = self.out.writer.begin_block(width, block.id, block.abbrev_width);
        let mut reader = BlockReader::new(data, block, &self.module.block_info);
        let mut record = Record::new();
        let mut forgotten = false;
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::DefineAbbrev { start, end } => self.out.writer.copy_bits(data, start, end),
                Entry::Record => {
                    if record.code == metadata::code::NAME {
                        forgotten = self.edits.forgotten_lists.contains(&*record.string());
                    }
                    if !forgotten {
                        self.out.writer.copy_bits(data, record.start, record.end);
                    }
                    forgotten &= record.code == metadata::code::NAME;
                }
                Entry::Block(inner) => {
                    self.out.writer.copy_block(block.abbrev_width, data, &inner);
                }
            }
        }
        self.out.writer.end_block(open);
        Ok(())
    }

    /// Whether a value is a function whose body is not written.
    fn lost(&self) -> impl Fn(u64) -> bool + use<'_> {
        |id| {
            usize::try_from(id).is_ok_and(|id| {
                self.edits.fate(id) == Fate::Declare
                    && self.originals.get(id).is_some_and(|r| r.kind == GlobalKind::Function)
            })
        }
    }

    /// The function or variable that an alias comes down to.
    fn base(&self, alias: usize) -> Option<&GlobalRecord> {
        let mut id = alias;
        // Aliases may not go round in circles; hostile ones may.
        for _ in 0..=self.originals.len() {
            let record = self.originals.get(id)?;
            match record.kind {
                GlobalKind::Function | GlobalKind::Variable => return Some(record),
                GlobalKind::Alias | GlobalKind::IFunc => {
                    let operand = self.module.globals.get(id)?.operand;
                    id = self.constants.base_global(u64::from(operand)).or_else(|| {
                        Some(operand as usize).filter(|&id| id < self.originals.len())
                    })?;
                }
            }
        }
        None
    }

    fn aliasee(&self, alias: usize) -> Aliasee<'_> {
        let global = self.module.globals.get(alias);
        let own = global.zip(self.types.as_ref()).and_then(|(g, t)| t.get(g.type_id).ok());
        let is_function = matches!(own, Some(Type::Function { .. }));
        Aliasee { record: self.base(alias), is_function }
    }

    fn global(&mut self, id: usize, record: &Record<'_>, width: u32) -> Result<()> {
        let list = self.marks.of.get(&id).copied();
        let unchanged = GlobalEdit::default();
        let edit = match self.edits.globals.get(&id) {
            Some(edit) => edit,
            None if list.is_some() || self.edits.fresh_names => &unchanged,
            None => {
                self.out.writer.copy_bits(self.module.location.data, record.start, record.end);
                return Ok(());
            }
        };
        let Some(mut new) = self.originals.get(id).cloned() else {
            return Err(Error::malformed("more global values than before").at_bit(record.start));
        };
        let aliasee = match new.kind {
            GlobalKind::Alias | GlobalKind::IFunc => self.aliasee(id),
            _ => Aliasee::default(),
        };
        new.apply(edit, aliasee);
        if let Some(name) = &edit.name {
            new.set_name(self.out.name(name));
        }
        if let (true, Some(g)) = (self.edits.fresh_names, self.module.globals.get(id)) {
            if edit.name.is_none() {
                new.set_name(self.out.name(&g.name));
            }
            let partition = match g.partition.is_empty() {
                true => [0; 2],
                false => self.out.name(g.partition),
            };
            new.set_partition(partition);
        }
        if let Some(list) = list {
            new.set(variable::ATTRIBUTES, u64::from(list));
        }
        self.out.writer.record(width, new.code(), &new.fields);
        Ok(())
    }

    /// `[strtab offset, strtab size, selection kind]`
    fn comdat(&mut self, index: usize, record: &Record<'_>, width: u32) {
        let kind = self.edits.comdats.get(&index).map(|&kind| (2, selection_code(kind)));
        let module = self.module;
        let own = module.comdats.get(index).filter(|_| self.edits.fresh_names).map(|c| &*c.name);
        let name = self.edits.comdat_names.get(&index).map(Vec::as_slice).or(own);
        if kind.is_none() && name.is_none() {
            self.out.writer.copy_bits(self.module.location.data, record.start, record.end);
            return;
        }
        let mut fields = record.fields.clone();
        let renamed = name.map(|name| self.out.name(name));
        let name = renamed.into_iter().flat_map(|[offset, len]| [(0, offset), (1, len)]);
        for (at, value) in name.chain(kind) {
            if let Some(field) = fields.get_mut(at) {
                *field = value;
            }
        }
        self.out.writer.record(width, record.code, &fields);
    }

    fn body(&mut self, id: usize, body: &Block, any_dropped: bool) -> Result<()> {
        let codes = match any_dropped {
            true => blockaddress::dangling_in_body(self.module, body, &self.lost())?,
            false => Vec::new(),
        };
        self.out.at_body(id)?;
        let width = self.module.location.block.abbrev_width;
        self.out.writer.copy_block(width, self.module.location.data, body);
        blockaddress::make_null(&mut self.out.writer, body, &codes);
        Ok(())
    }
}

/// A COMDAT record counts its kinds from 1.
fn selection_code(kind: crate::ir::SelectionKind) -> u64 {
    kind as u64 + 1
}
