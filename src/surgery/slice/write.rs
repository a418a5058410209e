//! The bitcode of a slice.
//!
//! In: a [`Cutter`] that knows what is imported and what that needs. Out: the file. One pass over
//! the source's module block: records of globals are written anew, constants and metadata as far
//! as they are needed, the bodies that are imported copied as bits, everything else copied. It
//! decides nothing.

use super::Cutter;
use crate::bitcode::field::{function, variable};
use crate::bitcode::{GlobalKind, GlobalValue, Type, block_id, constant_code, module_code};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Record};
use crate::error::{Error, Result};
use crate::ir::{DllStorage, Linkage, UnnamedAddr, Visibility};
use crate::surgery::output::{Output, TOP};
use crate::surgery::records::{Aliasee, GlobalRecord, kind_of};
use crate::surgery::{Fate, GlobalEdit, blockaddress, constants, debug_info};

impl Cutter<'_, '_> {
    /// Writes it.
    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let module = self.source;
        let data = module.location.data;
        let block = module.location.block;
        let width = block.abbrev_width;
        let bodies = |block: &Block| block.end - block.start;
        let all: u64 = module.bodies.iter().map(bodies).sum();
        let kept: u64 =
            self.bodies.iter().filter_map(|&(_, _, n)| module.bodies.get(n)).map(bodies).sum();
        let bits = (block.end - block.start).saturating_sub(all) + kept;
        let mut out = Output::new(module, Vec::new(), (bits / 8) as usize + (1 << 12));

        let open = out.writer.begin_block(TOP, block.id, width);
        let mut reader = BlockReader::new(data, &block, &BlockInfo::default());
        let mut record = Record::new();
        let (mut next_global, mut next_body) = (0, 0);
        let mut next_constant = module.globals.len() as u64;
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => break,
                Entry::DefineAbbrev { start, end } => out.writer.copy_bits(data, start, end),
                Entry::Record => match record.code {
                    code if kind_of(code).is_some() => {
                        let new = self.global(next_global, &mut out)?;
                        out.writer.record(width, new.code(), &new.fields);
                        next_global += 1;
                    }
                    module_code::VSTOFFSET => {
                        if !self.bodies.is_empty() {
                            out.symbol_table_offset(width);
                        }
                    }
                    // GUIDs are by value ids that the slice does not keep.
                    module_code::HASH | module_code::COMDAT | module_code::GUIDLIST => {}
                    module_code::ASM => {
                        let asm: Vec<u64> = self.symvers().into_iter().map(u64::from).collect();
                        if !asm.is_empty() {
                            out.writer.record(width, module_code::ASM, &asm);
                        }
                    }
                    _ => out.writer.copy_bits(data, record.start, record.end),
                },
                Entry::Block(inner) => match inner.id {
                    block_id::FUNCTION => {
                        next_body += 1;
                        if next_body == module.bodies.len() {
                            self.write_bodies(&mut out)?;
                        }
                    }
                    block_id::CONSTANTS => {
                        next_constant = constants::write(
                            &mut out.writer,
                            module,
                            &inner,
                            next_constant,
                            &|id, constant| self.constant(id, constant),
                        )?;
                    }
                    block_id::METADATA => {
                        let attached = |id| self.reach.keeps_attachment(self.graph, id);
                        let needed = &self.reach.metadata;
                        let table = self.graph.table;
                        debug_info::write(&mut out.writer, module, table, needed, &attached);
                    }
                    // Rewritten behind the bodies.
                    block_id::VALUE_SYMTAB => {}
                    // No longer true of what is written.
                    block_id::GLOBALVAL_SUMMARY
                    | block_id::FULL_LTO_GLOBALVAL_SUMMARY
                    | block_id::USELIST => {}
                    _ => out.writer.copy_block(width, data, &inner),
                },
            }
        }
        out.writer.end_block(open);
        Ok(out.finish())
    }

    /// The reader gives bodies to functions in the order of their records.
    fn write_bodies(&self, out: &mut Output) -> Result<()> {
        let module = self.source;
        let width = module.location.block.abbrev_width;
        let of = |&(id, _, n): &(usize, usize, usize)| (id, n);
        let mut bodies: Vec<(usize, usize)> = self.bodies.iter().map(of).collect();
        bodies.sort_unstable();
        for (id, body) in bodies {
            out.at_body(id)?;
            let Some(body) = module.bodies.get(body) else { continue };
            let codes = blockaddress::dangling_in_body(module, body, &self.lost())?;
            let patches = match self.tables.full_types {
                true => Vec::new(),
                false => debug_info::patches(module, body, self.graph.table)?,
            };
            out.writer.copy_block(width, module.location.data, body);
            blockaddress::make_null(&mut out.writer, body, &codes);
            debug_info::apply(&mut out.writer, body, &patches);
        }
        out.symbol_table(width)
    }

    /// What becomes of a constant.
    fn constant(&self, id: u64, constant: &Record<'_>) -> constants::Fate {
        if let Some((&variable, _)) = self.zeros.iter().find(|(_, place)| **place == id) {
            let ty = self.source.globals.get(variable).map_or(0, |g| g.type_id);
            return constants::Fate::Zero(ty);
        }
        let dangling = constant.code == constant_code::BLOCKADDRESS
            && constant.fields.get(1).is_some_and(|&function| self.lost()(function));
        match self.reach.has(id) {
            true if dangling => constants::Fate::Null,
            true => constants::Fate::Keep,
            false => constants::Fate::Drop,
        }
    }

    /// Whether a value is a function of the source that has no body in the slice.
    fn lost(&self) -> impl Fn(u64) -> bool + use<'_> {
        |id| {
            usize::try_from(id).is_ok_and(|id| {
                self.tables.with_bodies.binary_search(&id).is_ok() && !self.is_imported(id)
            })
        }
    }

    /// The record of a value in the slice.
    fn global(&self, id: usize, out: &mut Output) -> Result<GlobalRecord> {
        let (Some(g), Some(original)) =
            (self.source.globals.get(id), self.tables.originals.get(id))
        else {
            return Err(Error::malformed("more global values than before"));
        };
        let imported = self.is_imported(id);
        // Intrinsics may have types that nothing else may; they are the same in every module.
        let intrinsic = g.kind == GlobalKind::Function && g.name.starts_with(b"llvm.");
        if !imported && !intrinsic && !self.reach.has(id as u64) {
            return Ok(self.bare(g, original, out));
        }
        let mut new = original.clone();
        match g.kind {
            GlobalKind::Alias if imported => self.copy_aliasee(id, &mut new)?,
            GlobalKind::Alias | GlobalKind::IFunc => self.declare_indirect(id, &mut new)?,
            GlobalKind::Function if !imported => {
                new.set(function::IS_PROTO, 1);
                for position in
                    [function::PROLOGUE_DATA, function::PREFIX_DATA, function::PERSONALITY]
                {
                    new.set(position, 0);
                }
            }
            GlobalKind::Variable if !imported => new.set(variable::INIT_ID, 0),
            GlobalKind::Variable => {
                if let Some(zero) = self.zeros.get(&id) {
                    new.set(variable::INIT_ID, zero + 1);
                }
            }
            GlobalKind::Function => {}
        }
        let mut edit = GlobalEdit {
            linkage: (g.linkage != Linkage::ExternalWeak).then_some(Linkage::External),
            clear_comdat: true,
            ..GlobalEdit::default()
        };
        // As `FunctionImportGlobalProcessing::processGlobalForThinLTO` does it, in its order.
        let indirect = matches!(g.kind, GlobalKind::Alias | GlobalKind::IFunc) && !imported;
        if !indirect {
            let mut visibility = g.visibility;
            if g.linkage.is_local() {
                visibility = Visibility::Hidden;
                edit.visibility = Some(visibility);
                edit.dso_local = Some(true);
            }
            let implied = visibility != Visibility::Default && g.linkage != Linkage::ExternalWeak;
            if self.request.clear_dso_local_on_declarations && !implied {
                edit.dso_local = Some(false);
            } else if self.request.dso_local.contains(&id) {
                edit.dso_local = Some(true);
                if g.dll_storage == DllStorage::Import {
                    edit.dll_storage = Some(DllStorage::None);
                }
            }
        }
        let name = self.name(id);
        let supersedes = self.superseding.contains(&id);
        if !imported && !supersedes && (self.request.in_destination)(name) {
            edit.visibility = Some(Visibility::Default);
            edit.unnamed_addr = Some(UnnamedAddr::Global);
            if new.kind == GlobalKind::Variable {
                new.set(variable::IS_CONST, new.get(variable::IS_CONST) | 1);
            }
        }
        new.apply(&edit, Aliasee::default());
        new.set_name(out.name(name));
        // A copy of an aliasee must not keep that one's.
        new.set_partition(if g.partition.is_empty() { [0; 2] } else { out.name(g.partition) });
        Ok(new)
    }

    /// What is not reached is of no use but for its number, and must not meet anything in the
    /// destination: linking even declarations merges visibility and more. Only a variable keeps
    /// its name: the linker puts the destination's variables that the source has too into the
    /// source's order. It says nothing that could win in a merge.
    fn bare(&self, g: &GlobalValue<'_>, original: &GlobalRecord, out: &mut Output) -> GlobalRecord {
        let is_function = match g.kind {
            GlobalKind::Function => true,
            GlobalKind::Variable => false,
            GlobalKind::Alias | GlobalKind::IFunc => {
                matches!(self.graph.types.get(g.type_id), Ok(Type::Function { .. }))
            }
        };
        if is_function {
            let mut new = GlobalRecord::empty(GlobalKind::Function);
            new.set(function::TYPE, u64::from(g.type_id));
            new.set(function::IS_PROTO, 1);
            if g.kind != GlobalKind::Function || original.get(function::ADDR_SPACE) != 0 {
                new.set(function::ADDR_SPACE, u64::from(g.address_space));
            }
            return new;
        }
        let mut new = GlobalRecord::empty(GlobalKind::Variable);
        new.set(variable::TYPE, u64::from(g.type_id));
        // Constant, and the type is the value's own.
        new.set(variable::IS_CONST, 3 | u64::from(g.address_space) << 2);
        new.set(variable::UNNAMED_ADDR, 1);
        let meets = g.kind == GlobalKind::Variable
            && !g.linkage.is_local()
            && g.linkage != Linkage::Appending;
        if meets {
            new.set_name(out.name(&g.name));
        }
        new
    }

    /// An imported alias becomes a function with the attributes of its aliasee, as a clone has
    /// them; name, visibility and linkage are its own.
    fn copy_aliasee(&self, id: usize, new: &mut GlobalRecord) -> Result<()> {
        let base = self.base(id);
        let of = base
            .and_then(|base| self.tables.originals.get(base))
            .ok_or_else(|| Error::malformed("an alias of nothing").at_bit(self.bit(id)))?;
        new.become_copy(of);
        for position in [function::UNNAMED_ADDR, function::DLL_STORAGE, function::DSO_LOCAL] {
            new.set(position, of.get(position));
        }
        Ok(())
    }

    /// An alias or ifunc that is not imported becomes a bare declaration; only the calling
    /// convention is kept, where LLVM takes C's: a call of another would be undefined.
    fn declare_indirect(&self, id: usize, new: &mut GlobalRecord) -> Result<()> {
        let type_id = self.source.globals.get(id).map_or(0, |g| g.type_id);
        let is_function = matches!(self.graph.types.get(type_id), Ok(Type::Function { .. }));
        let record = self.base(id).and_then(|base| self.tables.originals.get(base));
        let edit = GlobalEdit {
            fate: Fate::Declare,
            linkage: Some(Linkage::External),
            visibility: Some(Visibility::Default),
            dll_storage: Some(DllStorage::None),
            dso_local: Some(false),
            unnamed_addr: Some(UnnamedAddr::None),
            ..GlobalEdit::default()
        };
        new.apply(&edit, Aliasee { record, is_function });
        if new.kind == GlobalKind::Function {
            new.set(function::PARAM_ATTR, 0);
        }
        Ok(())
    }

    fn bit(&self, id: usize) -> u64 {
        self.source.globals.get(id).map_or(0, |g| g.record_bit)
    }
}
