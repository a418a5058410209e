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
//! | `rewrite` | the pass over the module block, offsets, the string table |
//! | `blockaddress` | constants that point into bodies that are no longer there |
//! | [`prevailing`] | what a linker's resolutions ask of a module: LLVM's rules, as [`Edits`] |
//!
//! It must not know linkers, and decides nothing: `rewrite` does what it is told, `prevailing`
//! applies what [`crate::resolution`] says.
//!
//! Checked against LLVM's own tools: what comes out is read and verified by `opt`, and compared
//! with the stages of `llvm-lto2 run -save-temps`.

mod blockaddress;
pub mod prevailing;
mod records;
mod rewrite;

pub use rewrite::rewrite;

use std::collections::BTreeMap;

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
    /// An alias becomes a definition of its own, with a copy of its aliasee's body or with the
    /// same initializer: for an alias that prevails over an aliasee that does not.
    Define,
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
    /// For an alias that is kept: what it stands for, by value id.
    pub aliasee: Option<usize>,
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
    /// Replaces the module level inline assembly. Only for a module that has some.
    pub module_asm: Option<Vec<u8>>,
}

impl Edits {
    /// The edit of a value, made where there is none.
    pub fn global(&mut self, id: usize) -> &mut GlobalEdit {
        self.globals.entry(id).or_default()
    }

    /// The fate of a value.
    fn fate(&self, id: usize) -> Fate {
        self.globals.get(&id).map_or(Fate::Keep, |edit| edit.fate)
    }
}
