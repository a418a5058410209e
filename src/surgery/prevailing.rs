//! What a linker's resolutions ask of a module, by LLVM's rules.
//!
//! In: a module and, for each of its global values that the linker knows, a [`Verdict`]. Out:
//! [`Edits`] after which the module defines only what prevails in it. It must not know where the
//! verdicts come from, nor what else is in the link.
//!
//! The rules are those of LLVM's `LTO::addRegularLTO` for [`Unit::Regular`] and of
//! `thinLTOResolvePrevailingInModule`, `thinLTOInternalizeModule` and
//! `FunctionImportGlobalProcessing` for [`Unit::Thin`]:
//!
//! | the symbol | becomes |
//! |---|---|
//! | prevails, linkonce | weak, so that it is kept; hidden where all agree that it may be (thin) |
//! | prevails, and the linker gives the name another meaning | weak_any, so that nothing is assumed |
//! | prevails, and nothing outside refers to it (thin) | internal |
//! | does not prevail, ODR: all copies are the same | available_externally |
//! | does not prevail otherwise | a declaration |
//! | common, prevailing or not (thin) | what it is: the linker takes the largest |
//!
//! Three things follow from others. A comdat is kept or discarded as a whole, so that where one
//! member is discarded, all are. What an alias stands for may not be available_externally: both
//! become declarations. And where an alias prevails but not what it stands for, the alias gets
//! the body, and others of its kind then stand for it: LLVM makes an internal copy for all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edits, Fate, alias_bases};
use crate::bitcode::{GlobalKind, GlobalValue, Module};
use crate::error::{Error, Result};
use crate::ir::{DllStorage, Linkage, SelectionKind, UnnamedAddr, Visibility};
use crate::resolution::SymbolResolution;

/// What a module will be part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The merged module of regular LTO, which is internalized after merging.
    Regular,
    /// A module that is compiled alone.
    Thin {
        /// Declarations lose dso_local: LLVM's rule for position-independent code that is not
        /// for an executable, where a declared symbol may turn out to be elsewhere.
        clear_dso_local_on_declarations: bool,
    },
}

/// What is known of one global value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the linker said.
    pub resolution: SymbolResolution,
    /// Nothing outside of the module refers to it. Only read for [`Unit::Thin`], and only for
    /// what prevails.
    pub internalize: bool,
    /// A linkonce_odr definition that prevails may be hidden. Only read for [`Unit::Thin`].
    pub hide: bool,
    /// What the whole link knows of whether the address matters, for a definition that prevails
    /// in [`Unit::Regular`]; LLVM's rule makes it global where every mention agrees, else none.
    pub unnamed_addr: Option<UnnamedAddr>,
}

/// Makes the edits. `verdicts` has an entry for each global value, `None` for what the linker
/// does not know: locals, and LLVM's own.
pub fn edits(module: &Module<'_>, verdicts: &[Option<Verdict>], unit: Unit) -> Result<Edits> {
    let mut pass = Pass {
        module,
        verdicts,
        unit,
        aliases: aliases(module)?,
        discarded_comdats: BTreeSet::new(),
        edits: Edits::default(),
    };
    for id in 0..module.globals.len() {
        pass.definition(id);
    }
    pass.aliases_of_discarded()?;
    pass.discarded_comdats();
    if let Unit::Thin { clear_dso_local_on_declarations } = unit {
        pass.internal_comdats();
        if clear_dso_local_on_declarations {
            pass.clear_dso_local();
        }
    }
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
    unit: Unit,
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
        if res.linker_redefined {
            self.edits.global(id).linkage = Some(Linkage::WeakAny);
        } else if verdict.internalize && self.unit != Unit::Regular {
            // Comdats may yet stand in the way, see internal_comdats.
            self.edits.global(id).linkage = Some(Linkage::Internal);
        } else if g.linkage == Linkage::LinkOnceAny {
            self.edits.global(id).linkage = Some(Linkage::WeakAny);
        } else if g.linkage == Linkage::LinkOnceOdr {
            self.edits.global(id).linkage = Some(Linkage::WeakOdr);
            if verdict.hide && self.unit != Unit::Regular {
                self.edits.global(id).visibility = Some(Visibility::Hidden);
            }
        }
    }

    fn discard(&mut self, id: usize, g: &GlobalValue<'_>) {
        if g.linkage == Linkage::Common && self.unit != Unit::Regular {
            return;
        }
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

    /// `InternalizePass::checkComdat`: a comdat becomes internal as a whole or not at all. One
    /// member needs no comdat any more; of several, the group is kept together, and the linker
    /// must not take another's for it.
    fn internal_comdats(&mut self) {
        #[derive(Default)]
        struct Members {
            ids: Vec<usize>,
            external: bool,
        }
        let mut comdats: BTreeMap<u32, Members> = BTreeMap::new();
        for (id, g) in self.module.globals.iter().enumerate() {
            if g.comdat == 0 || g.is_declaration || self.edits.fate(id) != Fate::Keep {
                continue;
            }
            let edit = self.edits.globals.get(&id);
            if edit.is_some_and(|edit| edit.clear_comdat) {
                continue;
            }
            let internal = edit.and_then(|edit| edit.linkage) == Some(Linkage::Internal);
            // An alias shares its aliasee's comdat without saying so in its record.
            let alias_external = self
                .aliases
                .get(&id)
                .is_some_and(|aliases| aliases.iter().any(|alias| !self.is_internal(*alias)));
            let members = comdats.entry(g.comdat).or_default();
            members.ids.push(id);
            members.external |= !(internal || g.linkage.is_local()) || alias_external;
        }
        for (comdat, members) in comdats {
            if members.external {
                for id in &members.ids {
                    let aliases = self.aliases.get(id).cloned().unwrap_or_default();
                    for id in std::iter::once(*id).chain(aliases) {
                        self.undo_internal(id);
                    }
                }
            } else if let [only] = members.ids[..] {
                self.edits.global(only).clear_comdat = true;
            } else {
                let index = comdat as usize - 1;
                self.edits.comdats.insert(index, SelectionKind::NoDeduplicate);
            }
        }
    }

    fn is_internal(&self, id: usize) -> bool {
        let edited = self.edits.globals.get(&id).and_then(|edit| edit.linkage);
        let now = edited.or(self.global(id).map(|g| g.linkage));
        now.is_some_and(Linkage::is_local) || self.edits.fate(id) == Fate::Declare
    }

    /// What prevails and may not be internal after all.
    fn undo_internal(&mut self, id: usize) {
        let original = self.global(id).map(|g| g.linkage);
        let edit = self.edits.global(id);
        if edit.linkage == Some(Linkage::Internal) {
            edit.linkage = match original {
                Some(Linkage::LinkOnceAny) => Some(Linkage::WeakAny),
                Some(Linkage::LinkOnceOdr) => Some(Linkage::WeakOdr),
                _ => None,
            };
        }
    }

    /// LLVM looks before it turns definitions into declarations, and leaves what the linker has
    /// just said to be local. A former definition that only its compiler thought so may be found
    /// elsewhere now.
    fn clear_dso_local(&mut self) {
        for (id, g) in self.module.globals.iter().enumerate() {
            let edit = self.edits.globals.get(&id);
            let linkage = edit.and_then(|edit| edit.linkage).unwrap_or(g.linkage);
            let was_declared = g.is_declaration || g.linkage == Linkage::AvailableExternally;
            let is_declared =
                self.edits.fate(id) == Fate::Declare || linkage == Linkage::AvailableExternally;
            let said = match g.linkage.is_local() {
                true => Some(true),
                false => edit.and_then(|edit| edit.dso_local),
            };
            // What is not of default visibility is local by that alone.
            let implied = g.visibility != Visibility::Default && g.linkage != Linkage::ExternalWeak;
            let clear = was_declared || (is_declared && said.is_none());
            if clear && said.unwrap_or(g.dso_local) && !implied {
                self.edits.global(id).dso_local = Some(false);
            }
        }
    }
}
