//! What a linker's resolutions ask of a module, by LLVM's rules.
//!
//! In: a module and, for each of its global values that the linker knows, a [`Verdict`]. Out:
//! [`Edits`] after which the module defines only what prevails in it. It must not know where the
//! verdicts come from, nor what else is in the link.
//!
//! The rules are those of LLVM's `LTO::addRegularLTO`, for the merged module of regular LTO, which
//! is internalized after merging. Modules with a summary have rules of their own: [`super::thin`].
//!
//! | the symbol | becomes |
//! |---|---|
//! | prevails, linkonce | weak, so that it is kept |
//! | prevails, and the linker gives the name another meaning | weak_any, so that nothing is assumed |
//! | does not prevail, ODR: all copies are the same | available_externally |
//! | does not prevail otherwise | a declaration |
//!
//! Three things follow from others. A comdat is kept or discarded as a whole, so that where one
//! member is discarded, all are. What an alias stands for may not be available_externally: both
//! become declarations. And where an alias prevails but not what it stands for, the alias gets
//! the body, and others of its kind then stand for it: LLVM makes an internal copy for all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edits, Fate, alias_bases};
use crate::bitcode::{GlobalKind, GlobalValue, Module};
use crate::error::{Error, Result};
use crate::ir::{DllStorage, Linkage, UnnamedAddr};
use crate::resolution::SymbolResolution;

/// What is known of one global value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the linker said.
    pub resolution: SymbolResolution,
    /// What the whole link knows of whether the address matters, for a definition that prevails;
    /// LLVM's rule makes it global where every mention agrees, else none.
    pub unnamed_addr: Option<UnnamedAddr>,
}

/// Makes the edits. `verdicts` has an entry for each global value, `None` for what the linker
/// does not know: locals, and LLVM's own.
pub fn edits(module: &Module<'_>, verdicts: &[Option<Verdict>]) -> Result<Edits> {
    let mut pass = Pass {
        module,
        verdicts,
        aliases: aliases(module)?,
        discarded_comdats: BTreeSet::new(),
        edits: Edits::default(),
    };
    for id in 0..module.globals.len() {
        pass.definition(id);
    }
    pass.aliases_of_discarded()?;
    pass.discarded_comdats();
    Ok(pass.edits)
}

/// For each function or variable that aliases stand for, their value ids.
fn aliases(module: &Module<'_>) -> Result<BTreeMap<usize, Vec<usize>>> {
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (alias, base) in alias_bases(module)? {
        found.entry(base).or_default().push(alias);
    }
    Ok(found)
}

struct Pass<'m, 'a> {
    module: &'m Module<'a>,
    verdicts: &'m [Option<Verdict>],
    aliases: BTreeMap<usize, Vec<usize>>,
    /// By their numbers in records, which count from 1.
    discarded_comdats: BTreeSet<u32>,
    edits: Edits,
}

impl Pass<'_, '_> {
    fn verdict(&self, id: usize) -> Option<Verdict> {
        self.verdicts.get(id).copied().flatten()
    }

    fn global(&self, id: usize) -> Option<&GlobalValue<'_>> {
        self.module.globals.get(id)
    }

    /// What the symbol's own verdict says.
    fn definition(&mut self, id: usize) {
        let (Some(g), Some(verdict)) = (self.module.globals.get(id), self.verdict(id)) else {
            return;
        };
        let res = verdict.resolution;
        if res.final_definition_in_linkage_unit {
            let edit = self.edits.global(id);
            edit.dso_local = Some(true);
            if g.dll_storage == DllStorage::Import {
                edit.dll_storage = Some(DllStorage::None);
            }
        }
        if g.is_declaration || g.linkage == Linkage::Appending || g.linkage.is_local() {
            return;
        }
        if !res.prevailing {
            return self.discard(id, g);
        }
        if verdict.unnamed_addr.is_some() {
            self.edits.global(id).unnamed_addr = verdict.unnamed_addr;
        }
        if res.linker_redefined || g.linkage == Linkage::LinkOnceAny {
            self.edits.global(id).linkage = Some(Linkage::WeakAny);
        } else if g.linkage == Linkage::LinkOnceOdr {
            self.edits.global(id).linkage = Some(Linkage::WeakOdr);
        }
    }

    fn discard(&mut self, id: usize, g: &GlobalValue<'_>) {
        let is_object = matches!(g.kind, GlobalKind::Function | GlobalKind::Variable);
        let same = matches!(
            g.linkage,
            Linkage::LinkOnceOdr | Linkage::WeakOdr | Linkage::AvailableExternally
        );
        if is_object && same && g.comdat != 0 {
            self.discarded_comdats.insert(g.comdat);
        }
        let edit = self.edits.global(id);
        if is_object && same && !self.aliases.contains_key(&id) {
            edit.linkage = Some(Linkage::AvailableExternally);
            edit.clear_comdat = true;
        } else {
            edit.fate = Fate::Declare;
        }
    }

    /// Aliases of what became a declaration, and declarations whose aliases prevail.
    fn aliases_of_discarded(&mut self) -> Result<()> {
        let bases = std::mem::take(&mut self.aliases);
        for (&base, aliases) in &bases {
            if self.edits.fate(base) != Fate::Declare {
                self.past_discarded_aliases(base, aliases);
                continue;
            }
            let mut defined = None;
            for &alias in aliases {
                if self.edits.fate(alias) == Fate::Declare {
                    continue;
                }
                let (Some(g), Some(of)) = (self.global(alias), self.global(base)) else { continue };
                let stands_for = g.operand as usize;
                // An alias of an alias that is still there, in whatever form.
                let follows = self.global(stands_for).is_some_and(|g| g.kind == GlobalKind::Alias)
                    && self.edits.fate(stands_for) != Fate::Declare;
                if follows {
                    continue;
                }
                // Through an expression, it stands for a part of the object.
                if stands_for != base {
                    return Err(Error::unsupported(format!(
                        "alias {} is kept by the linker, but {}, which it stands for, is not",
                        String::from_utf8_lossy(&g.name),
                        String::from_utf8_lossy(&of.name),
                    )));
                }
                // One gets the body, the others stand for it: LLVM's internal copy is one, too.
                match defined {
                    Some(copy) => self.edits.global(alias).aliasee = Some(copy),
                    None => {
                        self.edits.global(alias).fate = Fate::Define;
                        defined = Some(alias);
                    }
                }
            }
        }
        self.aliases = bases;
        Ok(())
    }

    /// Aliases of an alias that became a declaration stand for what that one stood for.
    fn past_discarded_aliases(&mut self, base: usize, aliases: &[usize]) {
        for &alias in aliases {
            let Some(next) = self.global(alias).map(|g| g.operand as usize) else { continue };
            let through_discarded = self.edits.fate(next) == Fate::Declare
                && self.global(next).is_some_and(|g| g.kind == GlobalKind::Alias);
            if through_discarded && self.edits.fate(alias) == Fate::Keep {
                self.edits.global(alias).aliasee = Some(base);
            }
        }
    }

    /// The other members of comdats of which a member was discarded.
    fn discarded_comdats(&mut self) {
        if self.discarded_comdats.is_empty() {
            return;
        }
        for (id, g) in self.module.globals.iter().enumerate() {
            if g.comdat == 0 || !self.discarded_comdats.contains(&g.comdat) {
                continue;
            }
            if self.edits.fate(id) != Fate::Keep {
                continue;
            }
            let keep_local = g.name.is_empty() || self.aliases.contains_key(&id);
            let edit = self.edits.global(id);
            edit.clear_comdat = true;
            // Without a name it cannot be found elsewhere: it stays a local, for the bodies that
            // are still there to be inlined.
            if !g.is_declaration && !keep_local {
                edit.linkage = Some(Linkage::AvailableExternally);
            }
        }
    }
}
