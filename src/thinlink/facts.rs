//! What the linker said, in the terms of the index.
//!
//! In: the index; for each module its symbols as the linker resolved them; or, for the legacy
//! code generator, which has no linker to ask, the symbols to preserve. Out: [`Facts`], by value
//! and by summary. It must not know what is made of them.
//!
//! Source of the rules: `LTO::addModuleToGlobalRes`, `LTO::addThinLTO` and the heads of
//! `LTO::run` and `LTO::runThinLTO` (LTO.cpp); `computePrevailingCopies` of
//! ThinLTOCodeGenerator.cpp. LLVM keys its map of resolutions by the linker's name; we key by the
//! MD5 of that name, as LLVM does everywhere else.

use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

use super::bits::Bits;
use super::options::ThinLinkOptions;
use crate::error::{Error, Result};
use crate::ir::{Guid, Linkage};
use crate::resolution::SymbolResolution;
use crate::summary::{GvFlags, ModuleId, ModuleSummaryIndex, SummaryId, ValueId};

/// No module.
const NONE: u32 = u32::MAX;
/// No value of the index.
const NO_VALUE: u32 = u32::MAX;

/// `PrevailingType`: whether the linker took a definition from the bitcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Prevailing {
    /// The linker was not asked; locals, and all values for the legacy code generator.
    #[default]
    Unknown,
    /// It did.
    Yes,
    /// The definition that counts is elsewhere, or there is none.
    No,
}

/// Who says which copy of a value prevails.
#[derive(Clone, Debug)]
enum Prevails {
    /// The linker named a module; by value, [`NONE`] for none.
    Module(Vec<u32>),
    /// The first strong definition does, or else the first; by value where there are several
    /// copies. [`NONE`] for no copy at all.
    Copy(HashMap<u32, u32>),
}

/// What is known of values and summaries before anything is decided.
#[derive(Clone, Debug)]
pub struct Facts {
    prevails: Prevails,
    /// By value; empty where all are unknown.
    prevailing_type: Vec<Prevailing>,
    /// Values that something outside the summaries refers to (`GUIDPreservedSymbols`).
    pub preserved: Bits,
    /// Whether there is any such symbol, be it a value of the index or not.
    pub any_preserved: bool,
    /// Values that more than one partition refers to, so that they cannot be internalized.
    pub external: Bits,
    /// Values that may be in the dynamic symbol table.
    pub dynamic_export: Bits,
    /// Names that bitcode mentions and nothing outside of the summaries does; kept where the link
    /// checks for them.
    seen_by_bitcode_alone: HashSet<Guid>,
    /// By summary, its flags after what the linker said of dso_local and redefined symbols.
    pub flags: Vec<GvFlags>,
    /// The modules, if any, in which values prevail that no module is named for.
    unknown_prevails_in: Bits,
    /// Whether the modules were compiled with and without `-fsplit-lto-unit`.
    pub partially_split: bool,
}

/// One symbol of a module, as the linker resolved it.
#[derive(Clone, Copy, Debug)]
pub struct Mention {
    /// The GUID of the linker's name.
    pub name: Guid,
    /// The GUID of the name in IR, without the `\1` that forbids mangling; `None` for a symbol of
    /// module assembly.
    pub ir: Option<Guid>,
    /// The name in IR begins with `\1`.
    pub escaped: bool,
    /// In `llvm.used` or `llvm.compiler.used`, or called by generated code.
    pub used: bool,
    /// What the linker said.
    pub resolution: SymbolResolution,
}

/// The symbols of one module.
#[derive(Clone, Copy, Debug)]
pub struct ModuleSymbols<'m> {
    /// The module in the index; `None` where it has no summary.
    pub module: Option<ModuleId>,
    /// Whether it is compiled with all other regular LTO modules as one.
    pub regular: bool,
    /// Whether it was compiled with `-fsplit-lto-unit`.
    pub split_lto_unit: bool,
    /// Its symbols.
    pub mentions: &'m [Mention],
}

/// `GlobalResolution`, as far as the thin link needs it. Small, since there is one for each value
/// and the mentions of a name are all over the link.
#[derive(Clone, Copy)]
struct Global {
    /// The name in IR, where it [has one](Self::HAS_IR).
    ir: Guid,
    partition: u32,
    bits: u8,
}

const EXTERNAL: u32 = u32::MAX;
const REGULAR: u32 = 0;

impl Global {
    const NEW: Global = Global { ir: Guid(0), partition: EXTERNAL, bits: 0 };

    const HAS_IR: u8 = 1;
    /// The name in IR begins with `\1`.
    const ESCAPED: u8 = 1 << 1;
    const PREVAILING: u8 = 1 << 2;
    const OUTSIDE: u8 = 1 << 3;
    const DYNAMIC: u8 = 1 << 4;
    const SEEN: u8 = 1 << 5;

    #[inline]
    fn is(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    #[inline]
    fn set(&mut self, bit: u8, on: bool) {
        self.bits |= if on { bit } else { 0 };
    }

    /// The name in IR.
    fn ir(&self) -> Option<Guid> {
        self.is(Self::HAS_IR).then_some(self.ir)
    }

    /// Adds a mention; says no where a second definition claims to prevail.
    #[inline]
    fn add(&mut self, mention: &Mention, partition: u32, in_summary: bool) -> bool {
        let of_ir = match mention.ir {
            Some(_) if mention.escaped => Self::HAS_IR | Self::ESCAPED,
            Some(_) => Self::HAS_IR,
            None => 0,
        };
        let ir = mention.ir.unwrap_or_default();
        let res = mention.resolution;
        let first = !self.is(Self::SEEN);
        self.set(Self::SEEN, true);
        let takes = if res.prevailing {
            if self.is(Self::PREVAILING) {
                return false;
            }
            self.set(Self::PREVAILING, true);
            true
        } else {
            !self.is(Self::PREVAILING) && !self.is(Self::HAS_IR)
        };
        if takes {
            self.ir = ir;
            self.bits = self.bits & !(Self::HAS_IR | Self::ESCAPED) | of_ir;
        }
        let two_names =
            self.bits & (Self::HAS_IR | Self::ESCAPED) != of_ir || of_ir != 0 && self.ir != ir;
        if two_names
            || res.linker_redefined
            || res.visible_to_regular_obj
            || mention.used
            || !first && self.partition != partition
        {
            self.partition = EXTERNAL;
        } else {
            self.partition = partition;
        }
        let outside = two_names || res.visible_to_regular_obj || mention.used || !in_summary;
        self.set(Self::OUTSIDE, outside);
        self.set(Self::DYNAMIC, res.export_dynamic);
        true
    }
}

impl Facts {
    fn new(index: &ModuleSummaryIndex, prevails: Prevails) -> Self {
        let values = index.guids().len();
        Facts {
            prevails,
            prevailing_type: Vec::new(),
            preserved: Bits::new(values),
            any_preserved: false,
            external: Bits::new(values),
            dynamic_export: Bits::new(values),
            seen_by_bitcode_alone: HashSet::new(),
            flags: index.summaries().map(|summary| summary.flags()).collect(),
            unknown_prevails_in: Bits::default(),
            partially_split: false,
        }
    }

    /// What follows from the linker's resolutions. `modules` are in the order of the link.
    ///
    /// # Errors
    /// Misuse, where two definitions of one symbol are said to prevail.
    pub fn from_resolutions(
        index: &ModuleSummaryIndex,
        modules: &[ModuleSymbols<'_>],
        options: &ThinLinkOptions,
    ) -> Result<Self> {
        let values = index.guids().len();
        let mut prevailing_module = vec![NONE; values];
        let mut by_value = vec![Global::NEW; values];
        // Names that are no value.
        let mut others: HashMap<Guid, Global> = HashMap::new();
        let mut facts = Facts::new(index, Prevails::Module(Vec::new()));
        // Look-ups miss the cache, so they are made by all threads; the rest is done in order.
        // The value of the name in IR, and that of the linker's name, under which all that is said
        // of a name comes together: `\1_f` in one module is `f` in another, on Mach-O.
        let find = |name: Guid| index.find(name).map_or(NO_VALUE, |value| value.0);
        let found: Vec<Vec<[u32; 2]>> = modules
            .par_iter()
            .map(|module| {
                let find = |mention: &Mention| {
                    let value = find(mention.ir.unwrap_or(mention.name));
                    let plain = mention.ir.is_none_or(|guid| guid == mention.name);
                    [value, if plain { value } else { find(mention.name) }]
                };
                module.mentions.iter().map(find).collect()
            })
            .collect();
        for ((number, module), found) in modules.iter().enumerate().zip(&found) {
            // LLVM numbers the partitions of thin modules from 1.
            let partition = if module.regular { REGULAR } else { number as u32 + 1 };
            for (mention, &[found, key]) in module.mentions.iter().zip(found) {
                let global = match by_value.get_mut(key as usize) {
                    Some(global) => global,
                    None => others.entry(mention.name).or_insert(Global::NEW),
                };
                if !global.add(mention, partition, module.module.is_some()) {
                    return Err(twice(index, module.module, mention.name));
                }
                let (Some(_), Some(id), false) = (mention.ir, module.module, module.regular) else {
                    continue;
                };
                let Some(prevailing) = prevailing_module.get_mut(found as usize) else { continue };
                let (value, res) = (ValueId(found), mention.resolution);
                if res.prevailing {
                    *prevailing = id.0;
                }
                let redefined = res.prevailing && res.linker_redefined;
                if redefined || res.final_definition_in_linkage_unit {
                    facts.adjust(index, value, id, redefined, res);
                }
            }
        }
        facts.partially_split = modules.windows(2).any(|pair| match pair {
            [a, b] => a.split_lto_unit != b.split_lto_unit,
            _ => false,
        });
        facts.prevailing_type = vec![Prevailing::Unknown; values];
        for (at, global) in by_value.iter().enumerate() {
            let own = ValueId(at as u32);
            let value = global.ir().and_then(|guid| match index.guid(own) == guid {
                true => Some(own),
                false => index.find(guid),
            });
            facts.note(global, value);
        }
        for global in others.values() {
            facts.note(global, global.ir().and_then(|guid| index.find(guid)));
        }
        if options.checks_visibility_to_regular_objects() {
            let own = index.guids().iter().copied().zip(&by_value);
            let all = own.chain(others.iter().map(|(name, global)| (*name, global)));
            let inside =
                all.filter(|(_, global)| global.is(Global::SEEN) && !global.is(Global::OUTSIDE));
            facts.seen_by_bitcode_alone = inside.map(|(name, _)| name).collect();
        }
        facts.prevails = Prevails::Module(prevailing_module);
        if options.behaviour.unknown_prevails_in_regular_lto {
            let mut regular_lto = Bits::new(index.modules().len());
            for id in modules.iter().filter(|m| m.regular).filter_map(|m| m.module) {
                regular_lto.insert(id.index());
            }
            facts.unknown_prevails_in = regular_lto;
        }
        Ok(facts)
    }

    /// `LTO::addThinLTO`'s changes of a summary.
    fn adjust(
        &mut self,
        index: &ModuleSummaryIndex,
        value: ValueId,
        module: ModuleId,
        redefined: bool,
        res: SymbolResolution,
    ) {
        let summary = index.summary_in_module(value, module);
        if let Some(flags) = summary.and_then(|id| self.flags.get_mut(id.index())) {
            if redefined {
                flags.set_linkage(Linkage::WeakAny);
            }
            if res.final_definition_in_linkage_unit {
                flags.set_dso_local(true);
            }
        }
    }

    /// The head of `LTO::run`, for one name.
    fn note(&mut self, global: &Global, value: Option<ValueId>) {
        if !global.is(Global::SEEN) || !global.is(Global::HAS_IR) {
            return;
        }
        let prevailing = global.is(Global::PREVAILING);
        let preserved = global.is(Global::OUTSIDE) && prevailing;
        self.any_preserved |= preserved;
        let Some(at) = value.map(ValueId::index) else { return };
        if preserved {
            self.preserved.insert(at);
        }
        if global.is(Global::DYNAMIC) {
            self.dynamic_export.insert(at);
        }
        if global.partition == EXTERNAL && prevailing {
            self.external.insert(at);
        }
        if let Some(slot) = self.prevailing_type.get_mut(at) {
            *slot = if prevailing { Prevailing::Yes } else { Prevailing::No };
        }
    }

    /// What follows from a list of symbols to preserve alone, as in the legacy code generator.
    pub fn from_preserved(index: &ModuleSummaryIndex, preserved: &[Guid]) -> Self {
        let mut first_copies = HashMap::new();
        for value in (0..index.guids().len() as u32).map(ValueId) {
            let copies = index.copies(value);
            if copies.len() > 1 {
                let chosen = first_definition(index, copies).map_or(NONE, |id| id.0);
                first_copies.insert(value.0, chosen);
            }
        }
        let mut facts = Facts::new(index, Prevails::Copy(first_copies));
        facts.any_preserved = !preserved.is_empty();
        for &guid in preserved {
            if let Some(value) = index.find(guid) {
                facts.preserved.insert(value.index());
            }
        }
        facts
    }

    /// Keeps the names of values that other modules call in place of virtual calls, where the
    /// legacy code generator decides, which knows names to preserve alone.
    pub fn preserve_exported(&mut self, values: impl Iterator<Item = ValueId>) {
        if matches!(self.prevails, Prevails::Copy(_)) {
            values.for_each(|value| {
                self.preserved.insert(value.index());
            });
        }
    }

    /// What the linker said of a value.
    #[inline]
    pub fn prevailing_type(&self, value: ValueId) -> Prevailing {
        self.prevailing_type.get(value.index()).copied().unwrap_or_default()
    }

    /// Whether the linker knows the name and nothing outside of the summaries refers to it; only of
    /// use where [`ThinLinkOptions::checks_visibility_to_regular_objects`].
    pub fn is_seen_by_bitcode_alone(&self, name: Guid) -> bool {
        self.seen_by_bitcode_alone.contains(&name)
    }

    /// Whether the linker said of every value in which module it prevails.
    pub fn knows_modules(&self) -> bool {
        matches!(self.prevails, Prevails::Module(_))
    }

    /// Whether the value must keep its name because it is preserved. For the resolution-based
    /// driver [`Facts::external`] says that.
    #[inline]
    pub fn is_exported_by_preservation(&self, value: ValueId) -> bool {
        matches!(self.prevails, Prevails::Copy(_)) && self.preserved.get(value.index())
    }

    /// Whether the copy `summary` of `value`, which is in `module`, is the one of the link.
    #[inline]
    pub fn is_prevailing(&self, value: ValueId, summary: SummaryId, module: ModuleId) -> bool {
        match &self.prevails {
            Prevails::Module(modules) => match modules.get(value.index()) {
                Some(&NONE) | None => self.unknown_prevails_in.get(module.index()),
                Some(&prevailing) => prevailing == module.0,
            },
            // A value that is not in the table has one copy.
            Prevails::Copy(copies) => copies.get(&value.0).is_none_or(|&id| id == summary.0),
        }
    }
}

/// `getFirstDefinitionForLinker`.
fn first_definition(index: &ModuleSummaryIndex, copies: &[SummaryId]) -> Option<SummaryId> {
    let linkage = |id: &SummaryId| index.summary(*id).map(|s| s.flags().linkage());
    let available = |id: &SummaryId| linkage(id) == Some(Linkage::AvailableExternally);
    let strong = copies
        .iter()
        .find(|id| !available(id) && !linkage(id).is_some_and(Linkage::is_weak_for_linker));
    strong.or_else(|| copies.iter().find(|id| !available(id))).copied()
}

#[cold]
fn twice(index: &ModuleSummaryIndex, module: Option<ModuleId>, name: Guid) -> Error {
    let path = module.and_then(|id| index.module(id)).map(|m| String::from_utf8_lossy(&m.path));
    let error = Error::misuse(format!(
        "two definitions of the symbol with GUID {} are said to prevail",
        name.0
    ));
    match path {
        Some(path) => error.in_file(path),
        None => error,
    }
}
