//! What a linker's resolutions ask of a module, by LLVM's rules.
//!
//! In: a module and, for each of its global values that the linker knows, what it said. Out:
//! [`Merging`]: what changes in the module before it is merged with others, and which of its
//! definitions then go with it. It must not know where resolutions come from, nor what else is in
//! the link.
//!
//! The rules are those of LLVM's `LTO::addRegularLTO`, for the merged module of regular LTO, which
//! is internalized after merging. Modules with a summary have rules of their own: [`super::thin`].
//!
//! | the symbol | becomes |
//! |---|---|
//! | prevails, linkonce | weak, so that it is kept |
//! | prevails, and the linker gives the name another meaning | weak_any, so that nothing is assumed |
//! | does not prevail, ODR: all copies are the same | available_externally, if nothing defines it yet |
//! | does not prevail otherwise | left behind |
//!
//! A comdat is kept or discarded as a whole: where one member is discarded, all become
//! available_externally. What is left behind and referred to all the same is a declaration in the
//! merged module; what a kept alias stands for gets a local copy. Both are the merging's business.

use std::collections::BTreeSet;

use super::{Edits, alias_bases};
use crate::bitcode::{GlobalKind, GlobalValue, Module};
use crate::error::Result;
use crate::ir::{DllStorage, Linkage};
use crate::resolution::SymbolResolution;

/// How a module goes into the merged one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// What changes in it before.
    pub edits: Edits,
    /// The definitions that go with it, by value id.
    pub keep: BTreeSet<usize>,
}

/// Decides. `said` has an entry for each global value, `None` for what the linker does not know:
/// locals, and LLVM's own.
///
/// # Errors
/// Malformed constants.
pub fn merging(module: &Module<'_>, said: &[Option<SymbolResolution>]) -> Result<Merging> {
    let aliased = alias_bases(module)?.into_values().collect();
    let mut pass =
        Pass { module, aliased, discarded_comdats: BTreeSet::new(), merging: Merging::default() };
    for (id, (g, resolution)) in module.globals.iter().zip(said).enumerate() {
        if let Some(resolution) = resolution {
            pass.symbol(id, g, *resolution);
        }
    }
    pass.discarded_comdats();
    Ok(pass.merging)
}

struct Pass<'m, 'a> {
    module: &'m Module<'a>,
    /// What aliases stand for.
    aliased: BTreeSet<usize>,
    /// By their numbers in records, which count from 1.
    discarded_comdats: BTreeSet<u32>,
    merging: Merging,
}

impl Pass<'_, '_> {
    /// What was said of the symbol itself.
    fn symbol(&mut self, id: usize, g: &GlobalValue<'_>, res: SymbolResolution) {
        let Merging { edits, keep } = &mut self.merging;
        if res.final_definition_in_linkage_unit {
            let edit = edits.global(id);
            edit.dso_local = Some(true);
            if g.dll_storage == DllStorage::Import {
                edit.dll_storage = Some(DllStorage::None);
            }
        }
        if g.is_declaration || g.linkage == Linkage::Appending || g.linkage.is_local() {
            return;
        }
        let is_object = matches!(g.kind, GlobalKind::Function | GlobalKind::Variable);
        if res.prevailing {
            // Of a name that only has such a definition, no linker says so.
            if g.linkage == Linkage::AvailableExternally {
                return;
            }
            keep.insert(id);
            if res.linker_redefined || g.linkage == Linkage::LinkOnceAny {
                edits.global(id).linkage = Some(Linkage::WeakAny);
            } else if g.linkage == Linkage::LinkOnceOdr {
                edits.global(id).linkage = Some(Linkage::WeakOdr);
            }
        } else if is_object && same_elsewhere(g.linkage) && !self.aliased.contains(&id) {
            keep.insert(id);
            let edit = edits.global(id);
            edit.linkage = Some(Linkage::AvailableExternally);
            edit.clear_comdat = true;
            if g.comdat != 0 {
                self.discarded_comdats.insert(g.comdat);
            }
        }
    }

    /// All members of comdats of which a member was discarded.
    fn discarded_comdats(&mut self) {
        if self.discarded_comdats.is_empty() {
            return;
        }
        for (id, g) in self.module.globals.iter().enumerate() {
            if g.comdat == 0 || !self.discarded_comdats.contains(&g.comdat) {
                continue;
            }
            let edit = self.merging.edits.global(id);
            edit.clear_comdat = true;
            // Without a name it cannot be found elsewhere: it stays a local of the bodies that use it.
            if !g.is_declaration && !g.name.is_empty() {
                edit.linkage = Some(Linkage::AvailableExternally);
            }
        }
    }
}

/// Whether the definition that prevails means the same.
fn same_elsewhere(linkage: Linkage) -> bool {
    matches!(linkage, Linkage::LinkOnceOdr | Linkage::WeakOdr | Linkage::AvailableExternally)
}
