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
//! | module asm stays behind, but for `.symver` of what the destination then has | an ASM record of these |
//! | appending variables stay behind | they lose their names, so that nothing can meet them |
//!
//! Everything else is copied as bits, so that value, type, metadata and attribute ids keep their
//! meaning. See [`super::rewrite`], which does the same for whole modules.

mod write;

use std::collections::{BTreeMap, BTreeSet};

use super::debug_info;
use super::metadata::Table;
use super::reach::{Graph, Reach};
use super::records::{GlobalRecord, originals};
use super::references::Sink;
use crate::bitcode::field::{function, variable};
use crate::bitcode::{
    Constants, Extent, GlobalKind, GlobalValue, Module, TypeTable, block_id, module_flag,
};
use crate::error::{Error, Result};
use crate::ir::{Linkage, UnnamedAddr, Visibility};
use crate::symbols::ParamAttrs;
use crate::symbols::asm::symvers;
use crate::symbols::globals::Globals;

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
    /// 20 and later replace such a declaration by that of its definition where they meet it; see
    /// [`Slice::superseding`]. `None`: the LLVM that will link it does not do so.
    pub declared_in_destination: Option<Names<'r>>,
}

/// Bitcode to be linked into the destination, and what to do after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// A file of one module.
    pub bitcode: Vec<u8>,
    /// Functions whose declarations here, with the signatures of their definitions, are to take
    /// the place of those of the destination, where linking brings them in. The destination's must
    /// not have their names meanwhile.
    pub superseding: Vec<Superseding>,
    /// What is imported, in the order of value ids: becomes available_externally after all links.
    pub imported: Vec<Imported>,
    /// What imported definitions mention and the destination did not have: it declares them once
    /// the slice is linked.
    pub declared: Vec<Declared>,
}

/// A declaration that takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseding {
    /// Its name in the destination.
    pub name: Vec<u8>,
    /// Its visibility.
    pub visibility: Visibility,
    /// Whether its address matters.
    pub unnamed_addr: UnnamedAddr,
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

/// What every slice of a module needs of it, read once.
#[derive(Clone, Debug)]
pub struct Tables<'a> {
    originals: Vec<GlobalRecord>,
    /// The functions that have a body, by value id, in the order of the bodies.
    with_bodies: Vec<usize>,
    constants: Constants,
    types: TypeTable,
    /// The metadata, cut down to what is imported.
    metadata: Table<'a>,
    /// Metadata that are kept without being reached.
    identified: Vec<u64>,
    /// Types stay definitions.
    full_types: bool,
    /// The module counts probes, for sample profiles; no import brings these counts along.
    pub has_pseudo_probes: bool,
    /// The versioned names that module assembly gives to symbols.
    symvers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Tables<'a> {
    /// Reads them. With `full_types`, types with an identifier are imported as the definitions that
    /// they are, not as declarations (`-import-full-type-definitions`).
    ///
    /// # Errors
    /// Malformed bits; a module before version 2 (LLVM 5) or not read whole.
    pub fn read(source: &Module<'a>, full_types: bool) -> Result<Self> {
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
        let mut metadata = metadata(source)?;
        let has_pseudo_probes = debug_info::has_pseudo_probes(&metadata);
        let identified = debug_info::cut(&mut metadata, full_types);
        let originals = originals(source)?;
        // Text that cannot be understood has none, as in LLVM.
        let symvers = symvers(&Globals::new(source)).unwrap_or_default();
        Ok(Tables {
            originals,
            with_bodies,
            constants,
            types,
            metadata,
            identified,
            full_types,
            has_pseudo_probes,
            symvers,
        })
    }

    /// How much memory they take, in bytes, roughly.
    pub fn size(&self) -> usize {
        self.originals.iter().map(|record| 64 + 8 * record.fields.len()).sum::<usize>()
            + self.constants.iter().map(|(_, c)| 80 + 8 * c.fields.len()).sum::<usize>()
            + self.metadata.size()
    }
}

/// Cuts a slice out of `source`, whose tables are `tables`.
///
/// # Errors
/// Malformed bits; a request for what is no definition, or for an alias of something else than a
/// function.
pub fn slice(
    source: &Module<'_>,
    tables: &Tables<'_>,
    request: &SliceRequest<'_>,
) -> Result<Slice> {
    let graph = Graph {
        module: source,
        constants: &tables.constants,
        types: &tables.types,
        table: &tables.metadata,
    };
    let mut cutter = Cutter {
        graph: &graph,
        source,
        tables,
        request,
        bodies: Vec::new(),
        imported: Vec::new(),
        reach: Reach::new(&graph),
        linked: Vec::new(),
        superseding: BTreeSet::new(),
        zeros: BTreeMap::new(),
    };
    for &id in request.definitions {
        cutter.import(id)?;
    }
    cutter.find_reached()?;
    let bitcode = cutter.write()?;
    let superseding = cutter.superseding.iter().filter_map(|&id| cutter.superseding(id)).collect();
    let declared = cutter.declared();
    Ok(Slice { bitcode, superseding, imported: cutter.imported, declared })
}

/// Whether a module counts probes, for sample profiles.
///
/// # Errors
/// Malformed bits.
pub fn has_pseudo_probes(module: &Module<'_>) -> Result<bool> {
    Ok(debug_info::has_pseudo_probes(&metadata(module)?))
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
    tables: &'s Tables<'a>,
    request: &'s SliceRequest<'s>,
    /// The functions that have a body in the slice, by value id; whose it is; and its number
    /// among the source's.
    bodies: Vec<(usize, usize, usize)>,
    imported: Vec<Imported>,
    reach: Reach,
    /// The globals that are linked with the imported definitions, by value id.
    linked: Vec<usize>,
    /// Functions that are declared in place of the destination's declarations.
    superseding: BTreeSet<usize>,
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
        self.tables
            .with_bodies
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

    /// Finds what the imported definitions need, which locals that must not be, and what replaces
    /// declarations.
    fn find_reached(&mut self) -> Result<()> {
        let graph = self.graph;
        let mut roots = Reach::new(graph);
        for &(_, function, body) in &self.bodies {
            roots.body(graph, function, body)?;
            if let Some(record) = self.tables.originals.get(function) {
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
                if let Some(record) = self.tables.originals.get(*id) {
                    reach_operand(&mut reach, record.get(variable::INIT_ID));
                }
            }
            reach.code(graph);
            self.check_locals(&reach)?;
            reach.described(graph);
            let superseding = self.find_superseding(&reach)?;
            let globals = 0..self.source.globals.len();
            self.linked = globals.filter(|&id| reach.has(id as u64)).collect();
            reach.all(graph, &self.tables.identified);
            // A zero takes the place of a constant that nobody needs.
            let free = graph.constants.iter().map(|(id, _)| id).filter(|&id| !reach.has(id));
            let places: BTreeMap<usize, u64> = zeros.iter().copied().zip(free).collect();
            if places.len() == zeros.len() {
                (self.reach, self.superseding, self.zeros) = (reach, superseding, places);
                return Ok(());
            }
            // As good, only that it stays what it is.
            zeros.clear();
        }
    }

    /// Of the source's assembly, what gives versioned names to symbols that the destination has once
    /// the slice is linked (`IRLinker::run`).
    fn symvers(&self) -> Vec<u8> {
        let mut asm = Vec::new();
        if self.tables.symvers.is_empty() {
            return asm;
        }
        let linked = self.linked.iter().chain(self.request.definitions);
        let linked: BTreeSet<&[u8]> = linked.map(|&id| self.name(id)).collect();
        for (name, alias) in &self.tables.symvers {
            if linked.contains(&**name) || (self.request.in_destination)(name) {
                asm.extend_from_slice(&[b".symver ", &**name, b", ", alias, b"\n"].concat());
            }
        }
        asm
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
    fn find_superseding(&self, reach: &Reach) -> Result<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        let Some(declared) = self.request.declared_in_destination else { return Ok(found) };
        for &id in &self.tables.with_bodies {
            let Some(g) = self.source.globals.get(id) else { continue };
            let exact = g.linkage == Linkage::External || g.linkage.is_local();
            let met = exact && reach.has(id as u64) && !self.is_imported(id);
            if met && declared(self.name(id)) {
                found.insert(id);
            }
        }
        if found.is_empty() {
            return Ok(found);
        }
        let attributes = ParamAttrs::read(self.source)?;
        let interposable = module_flag(self.source, b"SemanticInterposition")?.unwrap_or(0) != 0;
        found.retain(|&id| {
            self.source.globals.get(id).is_some_and(|g| {
                let local = g.linkage.is_local() || self.stays_dso_local(id, g);
                !attributes.is_no_builtin(g.attributes) && (!interposable || local)
            })
        });
        Ok(found)
    }

    fn superseding(&self, id: usize) -> Option<Superseding> {
        let g = self.source.globals.get(id)?;
        Some(Superseding {
            name: self.name(id).to_vec(),
            visibility: if g.linkage.is_local() { Visibility::Hidden } else { g.visibility },
            unnamed_addr: g.unnamed_addr,
        })
    }

    /// Whether a global that is declared in the slice is dso_local there.
    fn stays_dso_local(&self, id: usize, g: &GlobalValue<'_>) -> bool {
        let implied = g.visibility != Visibility::Default && g.linkage != Linkage::ExternalWeak;
        if self.request.clear_dso_local_on_declarations && !implied {
            return false;
        }
        g.dso_local || self.request.dso_local.contains(&id)
    }

    fn is_imported(&self, id: usize) -> bool {
        self.request.definitions.contains(&id)
    }
}

/// Marks the value that a field of a record stands for: its id plus one, zero for none.
fn reach_operand(reach: &mut Reach, field: u64) {
    if let Some(id) = field.checked_sub(1) {
        reach.value(id);
    }
}
