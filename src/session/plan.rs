//! Which units are compiled, and what each module of them drops.
//!
//! In: all inputs, read, and what the linker said. Out: [`Plan`]: the units in the order of their
//! tasks, and for each module its [`Edits`]. It must not know how a unit is compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Input;
use crate::bitcode::{Extent, Module, block_id, module_flag};
use crate::config::{Config, RelocModel};
use crate::engine::Producer;
use crate::error::{Error, Result};
use crate::ir::UnnamedAddr;
use crate::resolution::{GlobalResolutions, Mention, Partition, SymbolResolution};
use crate::surgery::Edits;
use crate::surgery::prevailing::{self, Unit, Verdict};
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::symbols::{InputFile, Symbol};

/// All units of a link.
pub(super) struct Plan<'a> {
    /// The regular unit first, where there is one.
    pub units: Vec<PlannedUnit<'a>>,
    /// Who wrote the modules, each once.
    pub producers: Vec<Producer>,
    /// How many names the link has.
    pub names: usize,
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
        /// The names in IR of definitions that nothing outside of the unit refers to.
        internalize: BTreeSet<String>,
    },
    Thin(Box<PlannedModule<'a>>),
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
}

/// A module on its way into a unit.
struct Pending<'f, 'a> {
    input: usize,
    module: Module<'a>,
    symbols: Vec<Resolved<'f>>,
    partition: Partition,
    /// Regular modules with a summary are linked behind those without, as in LLVM, which needs
    /// the whole summary first.
    has_summary: bool,
}

type Resolved<'f> = (Symbol<'f>, SymbolResolution);

pub(super) fn plan<'a>(
    config: &Config,
    inputs: &[Input<'a>],
    files: &[InputFile<'a>],
) -> Result<Plan<'a>> {
    let mut producers = Vec::new();
    let mut names = GlobalResolutions::new();
    let mut pending = Vec::new();
    let mut thin_count = 0;
    for (index, (input, file)) in inputs.iter().zip(files).enumerate() {
        let blame = |e| input.blame(e);
        let mut thin_in_file = false;
        let mut resolutions = input.resolutions.iter().copied();
        for (number, location) in file.modules().iter().enumerate() {
            let producer = location.identification().map_err(blame)?.producer;
            let producer = Producer::parse(&String::from_utf8_lossy(&producer));
            if !producers.contains(&producer) {
                producers.push(producer);
            }
            let module = Module::read(location, Extent::All).map_err(blame)?;
            let thin_summary = module.block(block_id::GLOBALVAL_SUMMARY).is_some();
            let has_summary =
                thin_summary || module.block(block_id::FULL_LTO_GLOBALVAL_SUMMARY).is_some();
            let thin = thin_summary && !config.unified_regular;
            let partition = match thin {
                true => {
                    if std::mem::replace(&mut thin_in_file, true) {
                        return Err(blame(Error::malformed(
                            "more than one ThinLTO module in a bitcode file",
                        )));
                    }
                    thin_count += 1;
                    Partition::Thin(thin_count - 1)
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
            pending.push(Pending { input: index, module, symbols, partition, has_summary });
        }
    }
    let commons = commons(&pending);
    let units = units(config, inputs, pending, commons, &names)?;
    Ok(Plan { units, producers, names: names.len() })
}

/// Size and alignment of the common variables that the merged module has.
fn commons(pending: &[Pending<'_, '_>]) -> BTreeMap<String, Common> {
    let mut commons: BTreeMap<String, Common> = BTreeMap::new();
    let regular = pending.iter().filter(|p| p.partition == Partition::Regular);
    for (symbol, resolution) in regular.flat_map(|p| &p.symbols) {
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

fn units<'a>(
    config: &Config,
    inputs: &[Input<'a>],
    mut pending: Vec<Pending<'_, 'a>>,
    commons: BTreeMap<String, Common>,
    names: &GlobalResolutions,
) -> Result<Vec<PlannedUnit<'a>>> {
    let mut regular = Vec::new();
    let mut internalize = BTreeSet::new();
    let mut thin = Vec::new();
    // Stable: within each sort the order of the inputs stays.
    pending.sort_by_key(|p| p.has_summary);
    for p in pending {
        let input = p.input;
        let blame = |e| inputs.get(input).map_or_else(|| Error::engine("no input"), |i| i.blame(e));
        let partition = p.partition;
        let planned = module(config, p, names).map_err(blame)?;
        match partition {
            Partition::Thin(number) => thin.push((number, planned.0)),
            _ => {
                regular.push(planned.0);
                internalize.extend(planned.1);
            }
        }
    }
    let mut units = Vec::new();
    if !regular.is_empty() || config.always_emit_regular_lto_object {
        let kind = UnitKind::Regular { modules: regular, commons, internalize };
        units.push(PlannedUnit { task: 0, kind });
    }
    thin.sort_by_key(|(number, _)| *number);
    units.extend(
        thin.into_iter()
            .map(|(number, m)| PlannedUnit { task: number + 1, kind: UnitKind::Thin(Box::new(m)) }),
    );
    Ok(units)
}

/// The edits of one module, and which of its names the merged module internalizes.
fn module<'a>(
    config: &Config,
    pending: Pending<'_, 'a>,
    names: &GlobalResolutions,
) -> Result<(PlannedModule<'a>, Vec<String>)> {
    let Pending { input, module, symbols, partition, .. } = pending;
    let by_name: HashMap<&[u8], usize> =
        module.globals.iter().enumerate().map(|(id, g)| (&*g.name, id)).collect();
    let mut verdicts = vec![None; module.globals.len()];
    let mut internalize = Vec::new();
    let mut discarded_asm = BTreeSet::new();
    for (symbol, resolution) in &symbols {
        if symbol.ir_name.is_empty() {
            if !resolution.prevailing {
                discarded_asm.insert(symbol.name);
            }
            continue;
        }
        let Some(verdict) = by_name.get(symbol.ir_name).and_then(|&id| verdicts.get_mut(id)) else {
            return Err(Error::malformed(format!(
                "the symbol table has {}, the module has not",
                String::from_utf8_lossy(symbol.ir_name)
            )));
        };
        let global = names.get(symbol.name);
        let only_here = resolution.prevailing
            && global.is_some_and(|g| g.is_prevailing_ir_symbol() && g.partition == partition);
        match partition {
            Partition::Regular if only_here => {
                internalize.push(String::from_utf8_lossy(symbol.ir_name).into_owned());
            }
            _ => {}
        }
        let unnamed_addr = global
            .filter(|g| {
                partition == Partition::Regular
                    && g.is_prevailing_ir_symbol()
                    && matches!(g.partition, Partition::Regular | Partition::External)
            })
            .map(|g| if g.unnamed_addr { UnnamedAddr::Global } else { UnnamedAddr::None });
        *verdict = Some(Verdict {
            resolution: *resolution,
            internalize: only_here,
            hide: global.is_some_and(|g| g.can_auto_hide && !g.visible_outside_summary),
            unnamed_addr,
        });
    }
    let unit = match partition {
        Partition::Regular => Unit::Regular,
        _ => Unit::Thin { clear_dso_local_on_declarations: position_independent(config, &module)? },
    };
    let mut edits = prevailing::edits(&module, &verdicts, unit)?;
    if unit == Unit::Regular && !module.asm.is_empty() {
        edits.module_asm = Some(discard_asm(&module, &discarded_asm));
    }
    Ok((PlannedModule { input, module, edits }, internalize))
}

/// LLVM's `ClearDSOLocalOnDeclarations`: position-independent code on ELF that was not compiled
/// for an executable.
fn position_independent(config: &Config, module: &Module<'_>) -> Result<bool> {
    if Triple::parse(&module.triple).format != ObjectFormat::Elf {
        return Ok(false);
    }
    let pic = match config.reloc_model {
        Some(model) => model != RelocModel::Static,
        None => module_flag(module, b"PIC Level")?.unwrap_or(0) != 0,
    };
    Ok(pic && module_flag(module, b"PIE Level")?.unwrap_or(0) == 0)
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
