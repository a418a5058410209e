//! Which units are compiled, and what each module of them drops.
//!
//! In: all inputs, read, and what the linker said. Out: [`Plan`]: the units in the order of their
//! tasks, for each module of regular LTO its [`Edits`], and for all others the plan of the thin
//! link. It must not know how a unit is compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;

use super::Input;
use crate::backend::{Made, Source};
use crate::bitcode::{BitcodeModule, Extent, GlobalValue, Module, block_id};
use crate::config::Config;
use crate::distributed::{self, ThinInputs};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::UnnamedAddr;
use crate::resolution::{
    GlobalResolution, GlobalResolutions, Mention, Partition, SymbolResolution,
};
use crate::summary::{ModuleId, ModuleSummaryIndex, TypeResolutions, guid_of};
use crate::surgery::Edits;
use crate::surgery::prevailing::{self, Merging};
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::symbols::{InputFile, Symbol};
use crate::thinlink::{LinkPlan, Liveness, ThinLinkOptions, VisibilityScheme};

/// Indexes carry the counts to LLVM's own backends; ours would have to write them into functions.
const ENTRY_COUNTS: &str = "-thinlto-synthesize-entry-counts is served for distributed builds only";

/// All units of a link.
pub(super) struct Plan<'a> {
    /// The regular unit first, where there is one.
    pub units: Vec<PlannedUnit<'a>>,
    /// The thin link, where a module takes part in one.
    pub thin: Option<ThinPlan<'a>>,
    /// How many names the link has.
    pub names: usize,
}

/// The thin link of all modules with a summary.
pub(super) struct ThinPlan<'a> {
    pub index: ModuleSummaryIndex,
    pub plan: LinkPlan,
    /// The modules of the index, by its ids.
    pub sources: Vec<Option<Source<'a>>>,
}

/// What is compiled into one object.
pub(super) struct PlannedUnit<'a> {
    pub task: usize,
    pub kind: UnitKind<'a>,
}

pub(super) enum UnitKind<'a> {
    Regular {
        modules: Vec<PlannedModule<'a>>,
        /// Prevailing common variables, by their names in IR: the largest of the link's.
        commons: BTreeMap<String, Common>,
        /// What becomes of prevailing definitions once all are merged, by their names in IR.
        prevailing: BTreeMap<String, Prevailing>,
        /// The names in IR of what may be in the dynamic symbol table.
        exported: Vec<String>,
    },
    /// The unit of regular LTO, where it had to be compiled before the thin link.
    Made {
        /// How many were merged.
        modules: usize,
        /// Until it is taken.
        made: Mutex<Option<Made>>,
    },
    /// A module of the thin link.
    Thin {
        /// Which input it is of.
        input: usize,
        /// Which module of the index it is.
        module: ModuleId,
    },
}

/// What the whole link knows of a definition of the merged module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prevailing {
    /// Whether the address matters.
    pub unnamed_addr: UnnamedAddr,
    /// Nothing outside of the unit refers to it.
    pub internalize: bool,
}

/// What all commons of a name ask for (LLVM's `CommonResolution`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    /// In bytes.
    pub size: u32,
    /// In bytes.
    pub align: u32,
    /// Any of them prevails.
    prevailing: bool,
}

/// A module and what becomes of it.
pub(super) struct PlannedModule<'a> {
    /// Which input it is of.
    pub input: usize,
    pub module: Module<'a>,
    pub edits: Edits,
    /// The names in IR of the definitions that the merged module takes from it.
    pub keep: Vec<String>,
}

/// A module on its way into the unit of regular LTO.
struct Pending<'f, 'a> {
    input: usize,
    module: Module<'a>,
    symbols: Vec<Resolved<'f>>,
    /// Regular modules with a summary are linked behind those without, as in LLVM, which needs
    /// the whole summary first.
    has_summary: bool,
}

type Resolved<'f> = (Symbol<'f>, SymbolResolution);

/// Compiles the unit of regular LTO, if there is one, and says what that found out of types.
pub(super) type ResolveTypes<'r> = dyn Fn(Option<&PlannedUnit<'_>>, &ModuleSummaryIndex, &Liveness) -> Result<(Made, TypeResolutions)>
    + 'r;

/// Plans. Without options for the thin link, only the unit of regular LTO. `resolve` is asked where
/// the thin link cannot be without what regular LTO knows.
pub(super) fn plan<'a>(
    config: &Config,
    thin_link: Option<&ThinLinkOptions>,
    inputs: &[Input<'a>],
    files: &[InputFile<'a>],
    resolve: &ResolveTypes<'_>,
) -> Result<Plan<'a>> {
    if thin_link.is_some_and(|options| options.thinlto_synthesize_entry_counts) {
        return Err(Error::unsupported(ENTRY_COUNTS));
    }
    let mut names = GlobalResolutions::new();
    let mut pending = Vec::new();
    let mut thin = Vec::new();
    for (index, (input, file)) in inputs.iter().zip(files).enumerate() {
        let blame = |e| input.blame(e);
        let mut thin_in_file = false;
        let mut resolutions = input.resolutions.iter().copied();
        for (number, location) in file.modules().iter().enumerate() {
            let module = Module::read(location, Extent::All).map_err(blame)?;
            let thin_summary = module.block(block_id::GLOBALVAL_SUMMARY).is_some();
            let has_summary =
                thin_summary || module.block(block_id::FULL_LTO_GLOBALVAL_SUMMARY).is_some();
            let is_thin = thin_summary && !config.unified_regular;
            let partition = match is_thin {
                true => {
                    if std::mem::replace(&mut thin_in_file, true) {
                        return Err(blame(Error::malformed(
                            "Expected at most one ThinLTO module per bitcode file",
                        )));
                    }
                    thin.push((index, *location));
                    Partition::Thin(thin.len() - 1)
                }
                false => Partition::Regular,
            };
            let symbols: Vec<Resolved<'_>> =
                file.module_symbols(number).zip(resolutions.by_ref()).collect();
            let mentions = symbols.iter().map(|(symbol, resolution)| Mention {
                name: symbol.name,
                ir_name: symbol.ir_name,
                unnamed_addr: symbol.is_unnamed_addr(),
                can_auto_hide: (!symbol.is_undefined()).then(|| symbol.can_be_omitted()),
                used: file.is_used(symbol),
                resolution: *resolution,
            });
            names.add(mentions, partition, has_summary).map_err(|name| {
                blame(Error::misuse(format!(
                    "the linker has a second prevailing definition of {}",
                    String::from_utf8_lossy(name)
                )))
            })?;
            if !is_thin {
                pending.push(Pending { input: index, module, symbols, has_summary });
            }
        }
    }
    let has_summary = !thin.is_empty() || pending.iter().any(|p| p.has_summary);
    let mut units = Vec::new();
    let mut plan_by_summaries =
        |options: &ThinLinkOptions, pending: &mut Vec<Pending<'_, 'a>>| -> Result<Summaries> {
            let (mut read, options) = read_summaries(config, options, inputs)?;
            if !thin.is_empty() && read.lacks_type_resolutions() {
                let live = read.liveness(&options)?;
                let is_live = |name: &[u8]| is_live(&read.index, &live, name);
                let regular = std::mem::take(pending);
                units = regular_unit(config, inputs, regular, &names, Some(&is_live))?;
                let (made, found) = resolve(units.first(), &read.index, &live)?;
                read.index.set_type_resolutions(found);
                for unit in &mut units {
                    if let UnitKind::Regular { modules, .. } = &unit.kind {
                        let modules = modules.len();
                        unit.kind = UnitKind::Made { modules, made: Mutex::new(Some(made)) };
                        break;
                    }
                }
            }
            let plan = read.plan(&options)?;
            Ok(Summaries { read, plan })
        };
    let mut summaries = None;
    if let Some(options) = thin_link.filter(|_| has_summary) {
        summaries = match plan_by_summaries(options, &mut pending) {
            // Without, regular LTO drops what is dead once it has merged it.
            Err(e) if thin.is_empty() && e.kind() == ErrorKind::Unsupported => None,
            summaries => Some(summaries?),
        };
    }
    if units.is_empty() {
        let is_live = summaries.as_ref().map(|Summaries { read, plan }| {
            |name: &[u8]| is_live(&read.index, &plan.liveness, name)
        });
        let is_live = is_live.as_ref().map(|f| f as &IsLive<'_>);
        units = regular_unit(config, inputs, pending, &names, is_live)?;
    }
    let thin = match summaries.filter(|_| !thin.is_empty()) {
        None => None,
        Some(summaries) => {
            let first_task = config.regular_tasks();
            Some(link_thin(summaries, inputs, thin, first_task, &mut units)?)
        }
    };
    Ok(Plan { units, thin, names: names.len() })
}

/// What summaries tell of the whole link, modules of regular LTO that have one among them.
struct Summaries {
    read: ThinInputs,
    plan: LinkPlan,
}

/// Whether a definition of this name may be needed.
type IsLive<'l> = dyn Fn(&[u8]) -> bool + 'l;

/// `isGUIDLive`: whether a definition may be needed.
fn is_live(index: &ModuleSummaryIndex, liveness: &Liveness, name: &[u8]) -> bool {
    let value = index.find(guid_of(name.strip_prefix(b"\x01").unwrap_or(name)));
    value.is_none_or(|value| index.copies(value).is_empty() || liveness.is_value_live(index, value))
}

/// Reads what the thin link starts from; and its options, as they are for this target.
fn read_summaries(
    config: &Config,
    options: &ThinLinkOptions,
    inputs: &[Input<'_>],
) -> Result<(ThinInputs, ThinLinkOptions)> {
    let wanted = distributed::read_options(options);
    let read = distributed::read_with(inputs, &options.behaviour, &wanted)?;
    let elf = Triple::parse(&read.target_triple).format == ObjectFormat::Elf;
    let options = ThinLinkOptions {
        import: config.opt_level > 0,
        visibility_scheme: if elf { VisibilityScheme::Elf } else { options.visibility_scheme },
        ..options.clone()
    };
    Ok((read, options))
}

/// The units of modules with a summary.
fn link_thin<'a>(
    summaries: Summaries,
    inputs: &[Input<'a>],
    modules: Vec<(usize, BitcodeModule<'a>)>,
    first_task: usize,
    units: &mut Vec<PlannedUnit<'a>>,
) -> Result<ThinPlan<'a>> {
    let Summaries { read, plan } = summaries;
    let mut sources = vec![None; read.index.modules().len()];
    for (number, (input, location)) in modules.into_iter().enumerate() {
        let Some((id, source)) = read.thin_module(input).zip(inputs.get(input)) else {
            return Err(Error::engine("a ThinLTO module is not in the index"));
        };
        let place = source.place();
        if let Some(slot) = sources.get_mut(id.index()) {
            *slot = Some(Source { identifier: source.identifier.clone(), place, location });
        }
        let kind = UnitKind::Thin { input, module: id };
        units.push(PlannedUnit { task: first_task + number, kind });
    }
    Ok(ThinPlan { index: read.index, plan, sources })
}

impl<'a> distributed::Source for Input<'a> {
    type Bytes = &'a [u8];

    fn path(&self) -> &[u8] {
        self.identifier.as_bytes()
    }

    fn bytes(&self) -> Result<&'a [u8]> {
        Ok(self.bitcode)
    }

    fn resolve(&self, _: &[Symbol<'_>]) -> Result<Vec<SymbolResolution>> {
        Ok(self.resolutions.clone())
    }
}

/// Size and alignment of the common variables that the merged module has.
fn commons(pending: &[Pending<'_, '_>]) -> BTreeMap<String, Common> {
    let mut commons: BTreeMap<String, Common> = BTreeMap::new();
    for (symbol, resolution) in pending.iter().flat_map(|p| &p.symbols) {
        if !symbol.is_common() || symbol.ir_name.is_empty() {
            continue;
        }
        let common = commons
            .entry(String::from_utf8_lossy(symbol.ir_name).into_owned())
            .or_insert(Common { size: 0, align: 1, prevailing: false });
        common.size = common.size.max(symbol.common_size);
        if symbol.common_align.is_power_of_two() {
            common.align = common.align.max(symbol.common_align);
        }
        common.prevailing |= resolution.prevailing;
    }
    commons.retain(|_, common| common.prevailing);
    commons
}

/// The unit of regular LTO, where there is one.
fn regular_unit<'a>(
    config: &Config,
    inputs: &[Input<'a>],
    mut pending: Vec<Pending<'_, 'a>>,
    names: &GlobalResolutions,
    is_live: Option<&IsLive<'_>>,
) -> Result<Vec<PlannedUnit<'a>>> {
    if pending.is_empty() && !config.always_emit_regular_lto_object {
        return Ok(Vec::new());
    }
    let commons = commons(&pending);
    let mut modules = Vec::new();
    let mut prevailing = BTreeMap::new();
    let symbols = pending.iter().flat_map(|p| &p.symbols).map(|(symbol, _)| symbol);
    let exported: BTreeSet<String> = symbols
        .filter(|s| !s.ir_name.is_empty() && names.get(s.name).is_some_and(|g| g.export_dynamic))
        .map(|s| String::from_utf8_lossy(s.ir_name).into_owned())
        .collect();
    // Stable: within each sort the order of the inputs stays.
    pending.sort_by_key(|p| p.has_summary);
    for p in pending {
        let input = p.input;
        let blame = |e| inputs.get(input).map_or_else(|| Error::engine("no input"), |i| i.blame(e));
        let mut planned = module(p, names, is_live, &mut prevailing).map_err(blame)?;
        if config.unified_regular {
            // For ThinLTO's backends; in one module with everything they would lead to other names
            // (`LTO::addModule`).
            planned.edits.forgotten_lists.insert(b"cfi.functions".to_vec());
        }
        modules.push(planned);
    }
    let exported = exported.into_iter().collect();
    let kind = UnitKind::Regular { modules, commons, prevailing, exported };
    Ok(vec![PlannedUnit { task: 0, kind }])
}

/// The edits of one module, which of its definitions the merged module takes, and what becomes of
/// these there.
fn module<'a>(
    pending: Pending<'_, 'a>,
    names: &GlobalResolutions,
    is_live: Option<&IsLive<'_>>,
    prevailing: &mut BTreeMap<String, Prevailing>,
) -> Result<PlannedModule<'a>> {
    let Pending { input, module, symbols, has_summary } = pending;
    let is_live = is_live.filter(|_| has_summary);
    let by_name: HashMap<&[u8], usize> =
        module.globals.iter().enumerate().map(|(id, g)| (&*g.name, id)).collect();
    let mut said = vec![None; module.globals.len()];
    let mut discarded_asm = BTreeSet::new();
    for (symbol, resolution) in &symbols {
        if symbol.ir_name.is_empty() {
            if !resolution.prevailing {
                discarded_asm.insert(symbol.name);
            }
            continue;
        }
        let Some(said) = by_name.get(symbol.ir_name).and_then(|&id| said.get_mut(id)) else {
            return Err(Error::malformed(format!(
                "the symbol table has {}, the module has not",
                String::from_utf8_lossy(symbol.ir_name)
            )));
        };
        *said = Some(*resolution);
        let global = names.get(symbol.name);
        let prevails_here =
            |g: &&GlobalResolution| g.is_prevailing_ir_symbol() && resolution.prevailing;
        if let Some(global) = global.filter(prevails_here) {
            let internalize = match global.partition {
                Partition::Regular => true,
                Partition::External => false,
                _ => continue,
            };
            let unnamed_addr =
                if global.unnamed_addr { UnnamedAddr::Global } else { UnnamedAddr::None };
            let name = String::from_utf8_lossy(symbol.ir_name).into_owned();
            prevailing.insert(name, Prevailing { unnamed_addr, internalize });
        }
    }
    let Merging { mut edits, keep } = prevailing::merging(&module, &said)?;
    if !module.asm.is_empty() {
        edits.module_asm = Some(discard_asm(&module, &discarded_asm));
    }
    let named = |id: &usize| module.globals.get(*id);
    let live = |g: &&GlobalValue<'_>| is_live.is_none_or(|is_live| is_live(&g.name));
    let name = |g: &GlobalValue<'_>| String::from_utf8_lossy(&g.name).into_owned();
    let keep = keep.iter().filter_map(named).filter(live).map(name).collect();
    Ok(PlannedModule { input, module, edits, keep })
}

/// Module assembly that does not define again what another module's assembly defines: a first
/// line names the symbols that the assembler leaves out. Each module has its own line, an empty
/// one ends what the module before said.
fn discard_asm(module: &Module<'_>, discarded: &BTreeSet<&[u8]>) -> Vec<u8> {
    let mut asm = b".lto_discard".to_vec();
    for (n, name) in discarded.iter().enumerate() {
        asm.extend_from_slice(if n == 0 { b" " } else { b", " });
        asm.extend_from_slice(name);
    }
    asm.push(b'\n');
    asm.extend_from_slice(&module.asm);
    asm
}
