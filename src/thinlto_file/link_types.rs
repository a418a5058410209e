//! The types of a thin link in `thinlto_file.h`.
//!
//! In: nothing. Out: the handle, what is known and said of symbols, and where files go. As in
//! `types`, structures begin with their size and grow at the end.

#![allow(non_camel_case_types)] // C's names
#![allow(unsafe_code)] // promises that each structure begins with its size

use std::ffi::c_char;

use super::fill::Grows;

/// A thin link as C sees it; never dereferenced, the pointer is a token.
pub struct LLVMOpaqueThinLink {
    _private: [u8; 0],
}

/// The thin link of a distributed build: files, what a linker says of their symbols, and in the
/// end an index for every backend. Not an address.
pub type thin_link_t = *mut LLVMOpaqueThinLink;

/// What a linker says of a symbol of a file, or-ed: the letters of llvm-lto2's `-r`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_thinlto_resolution_t {
    /// `p`: this is the definition that the link takes.
    LTO_THINLTO_PREVAILING = 1,
    /// `l`: whatever defines it is in this linkage unit, and will not be replaced at run time.
    LTO_THINLTO_FINAL_DEFINITION = 2,
    /// `x`: something outside of the bitcode refers to it.
    LTO_THINLTO_VISIBLE_TO_REGULAR_OBJ = 4,
    /// It is to be in the dynamic symbol table.
    LTO_THINLTO_EXPORT_DYNAMIC = 8,
    /// `r`: the linker gives the name another meaning (`--wrap`, `--defsym`).
    LTO_THINLTO_LINKER_REDEFINED = 16,
}

/// What a symbol is, or-ed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_thinlto_symbol_flags_t {
    /// It is referred to and not defined.
    LTO_THINLTO_SYMBOL_UNDEFINED = 1,
    /// Weak.
    LTO_THINLTO_SYMBOL_WEAK = 2,
    /// A common variable.
    LTO_THINLTO_SYMBOL_COMMON = 4,
    /// An alias or an ifunc.
    LTO_THINLTO_SYMBOL_INDIRECT = 8,
    /// A thread-local variable.
    LTO_THINLTO_SYMBOL_TLS = 16,
    /// Code.
    LTO_THINLTO_SYMBOL_EXECUTABLE = 32,
    /// A shared library need not export it for others to find their own copy.
    LTO_THINLTO_SYMBOL_CAN_BE_OMITTED = 64,
    /// The compiler was told that something uses it.
    LTO_THINLTO_SYMBOL_USED = 128,
}

/// A symbol of a file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_symbol_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// Its name, as linkers know it. The link's.
    pub name: *const c_char,
    /// The name of its comdat, or null. The link's.
    pub comdat: *const c_char,
    /// The name of its section where the source says one, or null. The link's.
    pub section: *const c_char,
    /// `lto_thinlto_symbol_flags_t`, or-ed.
    pub flags: u32,
    /// 0 default, 1 hidden, 2 protected.
    pub visibility: u32,
    /// Of a common variable, its size in bytes.
    pub common_size: u64,
    /// Of a common variable, its alignment in bytes.
    pub common_align: u64,
}

/// What to write, and where. All 0 but the size: an index beside each file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_link_options_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// Where the objects of the final link are listed; null for nowhere.
    pub linked_objects: *const c_char,
    /// Where to leave the object of the modules without a ThinLTO summary; null for nowhere.
    pub regular_object: *const c_char,
    /// What is written to paths that begin with this goes to paths that begin with `new_prefix`.
    /// Null for the empty string, as everywhere below.
    pub old_prefix: *const c_char,
    /// See `old_prefix`.
    pub new_prefix: *const c_char,
    /// As `new_prefix`, for the paths in the list of objects; empty for the same.
    pub object_prefix: *const c_char,
    /// A file whose name ends in this is called by the backends with `new_suffix` in its place.
    pub old_suffix: *const c_char,
    /// See `old_suffix`.
    pub new_suffix: *const c_char,
    /// `num_llvm_options` options of LLVM's, each with its dash: `-import-instr-limit=50`.
    pub llvm_options: *const *const c_char,
    /// How many there are.
    pub num_llvm_options: usize,
    /// Not 0: write imports files too.
    pub emit_imports: u32,
    /// Not 0: import nothing, as at -O0.
    pub import_nothing: u32,
    /// The LLVM of the backends, from 14 on; 0 for that of the newest module.
    pub llvm_version: u32,
    /// Not 0: nobody outside of the link derives from its classes.
    pub whole_program_visibility: u32,
}

// SAFETY: repr(C), with the size first.
unsafe impl Grows for lto_thinlto_symbol_t {}
// SAFETY: as above.
unsafe impl Grows for lto_thinlto_link_options_t {}
