//! Bitcode surgery: a module with other linkages and fewer bodies, without LLVM.
//!
//! In: a module as it was read and [`Edits`], by value id. Out: the bitcode of one module with a
//! string table, ready for libLLVM. Everything that was not asked to change stays the same bits:
//! only module level records are written anew, every block is copied, so that every value, type,
//! metadata and attribute id means what it meant. What is left out: bodies of what became a
//! declaration, and what no longer tells the truth (hash, symbol table, summary, use-list orders
//! of the module).
//!
//! Two layers, and a third beside them:
//!
//! | file | what it knows |
//! |---|---|
//! | `records` | how each kind of global value's record says a thing |
//! | `output` | the file around the module block: offsets, the string table |
//! | `rewrite` | the pass over the module block |
//! | `blockaddress` | constants that point into bodies that are no longer there |
//! | `marks` | the attribute of variables that are to become internal |
//! | [`slice`], `slice::write` | a module of what another imports, from the same records |
//! | `references`, `reach` | what a body mentions of its module, and what that leads to |
//! | `constants` | the constants of a module of which only some are needed |
//! | `metadata`, `debug_info` | the records of metadata and what they name; what of them is imported |
//! | [`prevailing`] | what a linker's resolutions ask of a module of regular LTO: LLVM's rules, as [`Edits`] |
//! | [`thin`] | what a thin link's decisions ask of the module that a backend compiles, as [`Edits`] |
//!
//! It must not know linkers, and decides nothing: `rewrite` does what it is told, `prevailing`
//! and `thin` apply what others decided.
//!
//! Checked against LLVM's own tools: what comes out is read and verified by `opt`, and compared
//! with the stages of `llvm-lto2 run -save-temps`.

mod blockaddress;
mod constants;
mod debug_info;
mod marks;
mod memprof;
mod metadata;
mod output;
pub mod prevailing;
mod reach;
mod records;
mod references;
mod rewrite;
pub mod slice;
pub mod thin;

pub use marks::marked;
pub use memprof::{has_memprof_attributes, mentions_memprof};
pub use rewrite::rewrite;

use std::collections::{BTreeMap, BTreeSet};

use crate::bitcode::{Constants, GlobalKind, Module};
use crate::error::Result;
use crate::ir::{DllStorage, Linkage, SelectionKind, UnnamedAddr, Visibility};

/// What becomes of a global value's definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It stays what it is.
    #[default]
    Keep,
    /// Body, initializer or aliasee go; an alias or ifunc becomes a function or variable.
    /// Comdat, section, prologue, prefix and personality go with them.
    Declare,
}

/// What changes in the record of one global value. `None` and false leave it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalEdit {
    /// Definition or declaration.
    pub fate: Fate,
    /// The linkage; [`Fate::Declare`] alone makes it external. Local linkage takes visibility and
    /// DLL storage class with it, as in LLVM.
    pub linkage: Option<Linkage>,
    /// The visibility.
    pub visibility: Option<Visibility>,
    /// The DLL storage class.
    pub dll_storage: Option<DllStorage>,
    /// Whether it is known to be in the linkage unit.
    pub dso_local: Option<bool>,
    /// Whether the address matters.
    pub unnamed_addr: Option<UnnamedAddr>,
    /// Takes it out of its comdat. Comes with available_externally, which may not have one.
    pub clear_comdat: bool,
    /// A new name.
    pub name: Option<Vec<u8>>,
}

/// What changes in a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// By value id, which is the position among the module's globals.
    pub globals: BTreeMap<usize, GlobalEdit>,
    /// Comdats that get another selection kind, by their position among the module's comdats.
    pub comdats: BTreeMap<usize, SelectionKind>,
    /// Comdats that get another name, by the same positions.
    pub comdat_names: BTreeMap<usize, Vec<u8>>,
    /// Replaces the module level inline assembly. Only for a module that has some.
    pub module_asm: Option<Vec<u8>>,
    /// Variables that get LLVM's attribute for what becomes internal after everything is imported.
    pub marked: BTreeSet<usize>,
    /// Lists of metadata that go, by name.
    pub forgotten_lists: BTreeSet<Vec<u8>>,
    /// Every name goes into a new string table, which has nothing else in it: then no two modules
    /// differ in what nobody refers to.
    pub fresh_names: bool,
}

impl Edits {
    /// The edit of a value, made where there is none.
    pub fn global(&mut self, id: usize) -> &mut GlobalEdit {
        self.globals.entry(id).or_default()
    }

    /// The fate of a value.
    pub fn fate(&self, id: usize) -> Fate {
        self.globals.get(&id).map_or(Fate::Keep, |edit| edit.fate)
    }
}

/// What each alias stands for in the end, through other aliases, casts and address arithmetic, by
/// value id. An alias to something else is not in it.
///
/// # Errors
/// Malformed constants.
pub fn alias_bases(module: &Module<'_>) -> Result<BTreeMap<usize, usize>> {
    bases(module, GlobalKind::Alias)
}

/// The same of ifuncs and their resolvers.
fn ifunc_bases(module: &Module<'_>) -> Result<BTreeMap<usize, usize>> {
    bases(module, GlobalKind::IFunc)
}

fn bases(module: &Module<'_>, kind: GlobalKind) -> Result<BTreeMap<usize, usize>> {
    let mut found = BTreeMap::new();
    if !module.globals.iter().any(|g| g.kind == kind) {
        return Ok(found);
    }
    let is_alias = |id: usize| module.globals.get(id).is_some_and(|g| g.kind == GlobalKind::Alias);
    let constants = Constants::read(module)?;
    for (id, indirect) in module.globals.iter().enumerate().filter(|(_, g)| g.kind == kind) {
        let mut base = constants.base_global(u64::from(indirect.operand));
        // Aliases may not go round in circles; hostile ones may.
        for _ in 0..=module.globals.len() {
            match base.filter(|&base| is_alias(base)).and_then(|base| module.globals.get(base)) {
                Some(next) => base = constants.base_global(u64::from(next.operand)),
                None => break,
            }
        }
        if let Some(base) = base.filter(|&base| !is_alias(base)) {
            found.insert(id, base);
        }
    }
    Ok(found)
}
