//! What a destination imports from one source module, as a module of its own.
//!
//! In: the source, which of its definitions are imported, and what the thin link made of its
//! names. Out: bitcode with those definitions and declarations of the rest, to be linked into the
//! destination as any module is (`LLVMLinkModules2`): what comes of it equals what LLVM's
//! `FunctionImporter` makes of the whole source. It must not know the thin link nor its index.
//!
//! LLVM has a linker of its own for imports (`IRMover::move` with `IsPerformingImport`), which the
//! C API does not offer. The slice makes up for the differences:
//!
//! | LLVM's import | the slice |
//! |---|---|
//! | definitions that are not on the list are taken for declarations | they are declarations |
//! | imports become available_externally | external, so that they are linked though nothing may refer to them yet; the caller changes them after all links |
//! | locals are renamed, external and hidden (`FunctionImportGlobalProcessing`) | the same, in their records |
//! | an alias on the list becomes a copy of its aliasee (`replaceAliasWithAliasee`) | the body stands twice |
//! | other aliases and ifuncs are declared without attributes (`copyGlobalValueProto`) | the same |
//! | comdats of what is imported are cleared, others not linked | no COMDAT record is left |
//! | module asm and appending variables stay behind | no ASM record; appending variables lose their names, so that nothing can meet them |
//!
//! Everything else is copied as bits, so that value, type, metadata and attribute ids keep their
//! meaning. See [`super::rewrite`], which does the same for whole modules.

use std::collections::{BTreeMap, BTreeSet};

use super::blockaddress;
use super::constants;
use super::debug_info;
use super::metadata::Table;
use super::output::{Output, TOP};
use super::reach::{Graph, Reach};
use super::records::{Aliasee, GlobalRecord, kind_of, originals};
use super::references::Sink;
use super::{Fate, GlobalEdit};
use crate::bitcode::field::{function, variable};
use crate::bitcode::{
    Constants, Extent, GlobalKind, GlobalValue, Module, Type, TypeTable, block_id, constant_code,
    module_code, module_flag,
};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Record};
use crate::error::{Error, Result};
use crate::ir::{DllStorage, Linkage, UnnamedAddr, Visibility};
use crate::symbols::ParamAttrs;

/// Whether a name is one of some set.
pub type Names<'r> = &'r dyn Fn(&[u8]) -> bool;

/// What a destination imports from one source module.
#[derive(Clone, Copy)]
pub struct SliceRequest<'r> {
    /// The definitions that are imported, by value id in the source: functions, variables, and
    /// aliases of functions, which become copies of their aliasees.
    pub definitions: &'r BTreeSet<usize>,
    /// New names of the source's local definitions that the thin link promoted: value id to name
    /// (`f.llvm.123`). All of them that the slice may mention must be here.
    pub promoted: &'r BTreeMap<usize, Vec<u8>>,
    /// Of `definitions`, the variables that are written and never read: their initializers become
    /// zero, as LLVM makes them, so that nothing is mentioned that the source does not export.
    pub write_only: &'r BTreeSet<usize>,
    /// Values whose every definition in the link is dso_local, as the index knows
    /// (`ValueInfo::isDSOLocal` with its propagation): they become dso_local.
    pub dso_local: &'r BTreeSet<usize>,
    /// Declarations lose dso_local (PIC and not PIE ELF), as in [`super::thin::edits`]. Comes
    /// before `dso_local`.
    pub clear_dso_local_on_declarations: bool,
    /// Names that the destination has, defined or not. What the slice says of such a name is not
    /// to change what the destination says: linking whole modules takes the lesser of the two
    /// (`ModuleLinker::linkIfNeeded`), LLVM's import does not look.
    pub in_destination: Names<'r>,
    /// Names that the destination declares but does not define, at this point of the link. LLVM
    /// 20 and later give such a declaration the signature of its definition where they meet it;
    /// the slice then has a stub of it. `None`: the LLVM that will link it does not do so.
    pub declared_in_destination: Option<Names<'r>>,
}

/// Bitcode to be linked into the destination, and what to do after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// A file of one module.
    pub bitcode: Vec<u8>,
    /// Names of functions that are one block of `unreachable`: to be deleted once this slice is
    /// linked and before the next is.
    pub stubs: Vec<Vec<u8>>,
    /// What is imported, in the order of value ids: becomes available_externally after all links.
    pub imported: Vec<Imported>,
    /// What imported definitions mention and the destination did not have: it declares them once
    /// the slice is linked.
    pub declared: Vec<Declared>,
}

/// A declaration that comes with a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name in the destination.
    pub name: Vec<u8>,
    /// Its visibility there.
    pub visibility: Visibility,
    /// Whether its address matters.
    pub unnamed_addr: UnnamedAddr,
}

/// An imported definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its name in the destination.
    pub name: Vec<u8>,
    /// A function or a variable; never an alias, which became a function.
    pub kind: GlobalKind,
}

/// Cuts a slice out of `source`.
///
/// # Errors
/// Malformed bits; a module before version 2 (LLVM 5) or not read whole; a request for what is no
/// definition, or for an alias of something else than a function.
pub fn slice(source: &Module<'_>, request: &SliceRequest<'_>) -> Result<Slice> {
    if source.version < 2 || source.extent != Extent::All {
        return Err(Error::unsupported(format!(
            "module block of version {}; only version 2 (LLVM 5 and later) can be imported from",
            source.version
        )));
    }
    let with_bodies: Vec<usize> = source.functions_with_bodies().collect();
    if with_bodies.len() != source.bodies.len() {
        return Err(Error::malformed(format!(
            "{} function bodies for {} defined functions",
            source.bodies.len(),
            with_bodies.len()
        ))
        .at_bit(source.location.block.start));
    }
    let constants = Constants::read(source)?;
    let types = TypeTable::read(source)?;
    let mut table = metadata(source)?;
    let identified = debug_info::cut(&mut table);
    let graph = Graph { module: source, constants: &constants, types: &types, table: &table };
    let mut cutter = Cutter {
        graph: &graph,
        source,
        request,
        originals: originals(source)?,
        with_bodies,
        bodies: Vec::new(),
        imported: Vec::new(),
        reach: Reach::new(&graph),
        identified,
        linked: Vec::new(),
        stubs: BTreeSet::new(),
        zeros: BTreeMap::new(),
    };
    for &id in request.definitions {
        cutter.import(id)?;
    }
    cutter.find_reached()?;
    let bitcode = cutter.write()?;
    let stubs = cutter.stubs.iter().map(|&id| cutter.name(id).to_vec()).collect();
    let declared = cutter.declared();
    Ok(Slice { bitcode, stubs, imported: cutter.imported, declared })
}

/// The module's metadata.
fn metadata<'a>(source: &Module<'a>) -> Result<Table<'a>> {
    let mut blocks = source.blocks.iter().filter(|block| block.id == block_id::METADATA);
    match (blocks.next(), blocks.next()) {
        (None, _) => Ok(Table::default()),
        (Some(block), None) => Table::read(source, block),
        (Some(_), Some(second)) => {
            Err(Error::unsupported("a second METADATA block in a module").at_bit(second.start))
        }
    }
}

struct Cutter<'s, 'a> {
    graph: &'s Graph<'s, 'a>,
    source: &'s Module<'a>,
    request: &'s SliceRequest<'s>,
    originals: Vec<GlobalRecord>,
    with_bodies: Vec<usize>,
    /// The functions that have a body in the slice, by value id; whose it is; and its number
    /// among the source's.
    bodies: Vec<(usize, usize, usize)>,
    imported: Vec<Imported>,
    reach: Reach,
    /// Metadata that are kept without being reached.
    identified: Vec<u64>,
    /// The globals that are linked with the imported definitions, by value id.
    linked: Vec<usize>,
    /// Functions that get a body of `unreachable`.
    stubs: BTreeSet<usize>,
    /// For each variable that is only written, the constant that becomes its zero.
    zeros: BTreeMap<usize, u64>,
}

impl Cutter<'_, '_> {
    /// Notes that a definition is imported.
    fn import(&mut self, id: usize) -> Result<()> {
        let Some(g) = self.source.globals.get(id) else {
            return Err(Error::misuse(format!("no global has the value id {id}")));
        };
        let kind = match g.kind {
            GlobalKind::Function | GlobalKind::Variable if g.is_declaration => {
                return Err(self.refused(g, "is only declared and cannot be imported"));
            }
            GlobalKind::Function => {
                self.bodies.push((id, id, self.body_of(id)?));
                GlobalKind::Function
            }
            GlobalKind::Variable => GlobalKind::Variable,
            GlobalKind::Alias => {
                let base = self.base(id).filter(|&base| {
                    self.source.globals.get(base).is_some_and(|g| g.kind == GlobalKind::Function)
                });
                let Some(base) = base else {
                    return Err(self.refused(g, "is no alias of a function"));
                };
                self.bodies.push((id, base, self.body_of(base)?));
                GlobalKind::Function
            }
            GlobalKind::IFunc => return Err(self.refused(g, "is an ifunc")),
        };
        let name = self.name(id).to_vec();
        self.imported.push(Imported { name, kind });
        Ok(())
    }

    fn refused(&self, g: &GlobalValue<'_>, why: &str) -> Error {
        Error::misuse(format!("import of {}, which {why}", String::from_utf8_lossy(&g.name)))
            .at_bit(g.record_bit)
    }

    /// Which of the source's bodies a function has.
    fn body_of(&self, function: usize) -> Result<usize> {
        self.with_bodies
            .binary_search(&function)
            .map_err(|_| Error::misuse(format!("import of function {function}, which has no body")))
    }

    /// The name that a value has in the destination; empty for what must not meet anything there.
    fn name(&self, id: usize) -> &[u8] {
        if let Some(name) = self.request.promoted.get(&id) {
            return name;
        }
        match self.source.globals.get(id) {
            // A local that is not promoted is known to its own module alone.
            Some(g) if g.linkage.is_local() || g.linkage == Linkage::Appending => &[],
            Some(g) => &g.name,
            None => &[],
        }
    }

    /// The function or variable that an alias comes down to.
    fn base(&self, alias: usize) -> Option<usize> {
        let mut id = alias;
        // Aliases may not go round in circles; hostile ones may.
        for _ in 0..=self.source.globals.len() {
            let g = self.source.globals.get(id)?;
            match g.kind {
                GlobalKind::Function | GlobalKind::Variable => return Some(id),
                GlobalKind::Alias | GlobalKind::IFunc => {
                    id = self.graph.constants.base_global(u64::from(g.operand))?;
                }
            }
        }
        None
    }

    /// Finds what the imported definitions need, which locals that must not be, and the stubs.
    fn find_reached(&mut self) -> Result<()> {
        let graph = self.graph;
        let mut roots = Reach::new(graph);
        for &(_, function, body) in &self.bodies {
            roots.body(graph, function, body)?;
            if let Some(record) = self.originals.get(function) {
                for at in [function::PROLOGUE_DATA, function::PREFIX_DATA, function::PERSONALITY] {
                    reach_operand(&mut roots, record.get(at));
                }
            }
        }
        let variables: Vec<usize> = self
            .request
            .definitions
            .iter()
            .copied()
            .filter(|&id| self.kind(id) == Some(GlobalKind::Variable))
            .collect();
        for &id in &variables {
            roots.value(id as u64);
        }
        let write_only =
            |id: &usize| self.request.write_only.contains(id) && variables.contains(id);
        let mut zeros: Vec<usize> = variables.iter().copied().filter(write_only).collect();
        loop {
            let mut reach = roots.clone();
            for id in variables.iter().filter(|id| !zeros.contains(id)) {
                if let Some(record) = self.originals.get(*id) {
                    reach_operand(&mut reach, record.get(variable::INIT_ID));
                }
            }
            reach.code(graph);
            self.check_locals(&reach)?;
            reach.described(graph);
            let stubs = self.find_stubs(&reach)?;
            let globals = 0..self.source.globals.len();
            self.linked = globals.filter(|&id| reach.has(id as u64)).collect();
            reach.all(graph, &self.identified);
            // A zero takes the place of a constant that nobody needs.
            let free = graph.constants.iter().map(|(id, _)| id).filter(|&id| !reach.has(id));
            let places: BTreeMap<usize, u64> = zeros.iter().copied().zip(free).collect();
            if places.len() == zeros.len() {
                (self.reach, self.stubs, self.zeros) = (reach, stubs, places);
                return Ok(());
            }
            // As good, only that it stays what it is.
            zeros.clear();
        }
    }

    fn declared(&self) -> Vec<Declared> {
        let declared = |&id: &usize| {
            let g = self.source.globals.get(id)?;
            let name = self.name(id);
            let comes = !self.is_imported(id)
                && !name.is_empty()
                && !name.starts_with(b"llvm.")
                && !(self.request.in_destination)(name);
            let indirect = matches!(g.kind, GlobalKind::Alias | GlobalKind::IFunc);
            comes.then(|| Declared {
                name: name.to_vec(),
                visibility: match g.linkage.is_local() {
                    _ if indirect => Visibility::Default,
                    true => Visibility::Hidden,
                    false => g.visibility,
                },
                unnamed_addr: if indirect { UnnamedAddr::None } else { g.unnamed_addr },
            })
        };
        self.linked.iter().filter_map(declared).collect()
    }

    fn kind(&self, id: usize) -> Option<GlobalKind> {
        self.source.globals.get(id).map(|g| g.kind)
    }

    /// What runs may only mention locals that others can refer to.
    fn check_locals(&self, reach: &Reach) -> Result<()> {
        for (id, g) in self.source.globals.iter().enumerate() {
            if g.linkage.is_local() && reach.has(id as u64) && self.name(id).is_empty() {
                return Err(Error::unsupported(format!(
                    "an import mentions the local {}, which is not promoted",
                    String::from_utf8_lossy(&g.name)
                ))
                .at_bit(g.record_bit));
            }
        }
        Ok(())
    }

    /// Functions whose definition gives a declaration of the destination its signature: LLVM's
    /// `hasExactDefinition`, after locals became external.
    fn find_stubs(&self, reach: &Reach) -> Result<BTreeSet<usize>> {
        let mut stubs = BTreeSet::new();
        let Some(declared) = self.request.declared_in_destination else { return Ok(stubs) };
        for &id in &self.with_bodies {
            let Some(g) = self.source.globals.get(id) else { continue };
            let exact = g.linkage == Linkage::External || g.linkage.is_local();
            let met = exact && reach.has(id as u64) && !self.is_imported(id);
            if met && declared(self.name(id)) {
                stubs.insert(id);
            }
        }
        if stubs.is_empty() {
            return Ok(stubs);
        }
        let attributes = ParamAttrs::read(self.source)?;
        let interposable = module_flag(self.source, b"SemanticInterposition")?.unwrap_or(0) != 0;
        stubs.retain(|&id| {
            self.source.globals.get(id).is_some_and(|g| {
                let local = g.linkage.is_local() || self.stays_dso_local(id, g);
                !attributes.is_no_builtin(g.attributes) && (!interposable || local)
            })
        });
        Ok(stubs)
    }

    /// Whether a global that is declared in the slice is dso_local there.
    fn stays_dso_local(&self, id: usize, g: &GlobalValue<'_>) -> bool {
        let implied = g.visibility != Visibility::Default && g.linkage != Linkage::ExternalWeak;
        if self.request.clear_dso_local_on_declarations && !implied {
            return false;
        }
        g.dso_local || self.request.dso_local.contains(&id)
    }

    fn write(&self) -> Result<Vec<u8>> {
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
                        if !self.bodies.is_empty() || !self.stubs.is_empty() {
                            out.symbol_table_offset(width);
                        }
                    }
                    // GUIDs are by value ids that the slice does not keep.
                    module_code::HASH
                    | module_code::COMDAT
                    | module_code::ASM
                    | module_code::GUIDLIST => {}
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
        let of = |&(id, _, n): &(usize, usize, usize)| (id, Some(n));
        let mut bodies: Vec<(usize, Option<usize>)> = self.bodies.iter().map(of).collect();
        bodies.extend(self.stubs.iter().map(|&id| (id, None)));
        bodies.sort_unstable();
        for (id, body) in bodies {
            out.at_body(id)?;
            let Some(body) = body else {
                write_stub(out, width);
                continue;
            };
            let Some(body) = module.bodies.get(body) else { continue };
            let codes = blockaddress::dangling_in_body(module, body, &self.lost())?;
            let patches = debug_info::patches(module, body, self.graph.table)?;
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
                self.with_bodies.binary_search(&id).is_ok() && !self.is_imported(id)
            })
        }
    }

    fn is_imported(&self, id: usize) -> bool {
        self.request.definitions.contains(&id)
    }

    /// The record of a value in the slice.
    fn global(&self, id: usize, out: &mut Output) -> Result<GlobalRecord> {
        let (Some(g), Some(original)) = (self.source.globals.get(id), self.originals.get(id))
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
                new.set(function::IS_PROTO, u64::from(!self.stubs.contains(&id)));
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
        if !imported && (self.request.in_destination)(name) {
            edit.visibility = Some(Visibility::Default);
            edit.unnamed_addr = Some(UnnamedAddr::Global);
            if new.kind == GlobalKind::Variable {
                new.set(variable::IS_CONST, new.get(variable::IS_CONST) | 1);
            }
        }
        new.apply(&edit, Aliasee::default()).map_err(|e| e.at_bit(g.record_bit))?;
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
            .and_then(|base| self.originals.get(base))
            .ok_or_else(|| Error::malformed("an alias of nothing").at_bit(self.bit(id)))?;
        let edit = GlobalEdit { fate: Fate::Define, ..GlobalEdit::default() };
        new.apply(&edit, Aliasee { record: Some(of), directly: true, is_function: true })?;
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
        let record = self.base(id).and_then(|base| self.originals.get(base));
        let edit = GlobalEdit {
            fate: Fate::Declare,
            linkage: Some(Linkage::External),
            visibility: Some(Visibility::Default),
            dll_storage: Some(DllStorage::None),
            dso_local: Some(false),
            unnamed_addr: Some(UnnamedAddr::None),
            ..GlobalEdit::default()
        };
        new.apply(&edit, Aliasee { record, directly: true, is_function })?;
        if new.kind == GlobalKind::Function {
            new.set(function::PARAM_ATTR, 0);
        }
        Ok(())
    }

    fn bit(&self, id: usize) -> u64 {
        self.source.globals.get(id).map_or(0, |g| g.record_bit)
    }
}

/// Marks the value that a field of a record stands for: its id plus one, zero for none.
fn reach_operand(reach: &mut Reach, field: u64) {
    if let Some(id) = field.checked_sub(1) {
        reach.value(id);
    }
}

/// A body of one block that is never reached.
fn write_stub(out: &mut Output, width: u32) {
    const ABBREV_WIDTH: u32 = 4;
    const DECLAREBLOCKS: u32 = 1;
    const UNREACHABLE: u32 = 15;
    let open = out.writer.begin_block(width, block_id::FUNCTION, ABBREV_WIDTH);
    out.writer.record(ABBREV_WIDTH, DECLAREBLOCKS, &[1]);
    out.writer.record(ABBREV_WIDTH, UNREACHABLE, &[]);
    out.writer.end_block(open);
}
