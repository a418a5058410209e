//! The types and constants of `thinlto_file.h`, as cbindgen writes them into the header.
//!
//! In: nothing. Out: the handle, and the structures that questions are answered with. Each starts
//! with its size, which the caller sets and by which it can grow: a member is only ever added at
//! the end.

#![allow(non_camel_case_types)] // C's names
#![allow(unsafe_code)] // promises that each structure begins with its size

use std::ffi::c_char;

use super::fill::Grows;

/// An index as C sees it; never dereferenced, the pointer is a token.
pub struct LLVMOpaqueThinLTOIndex {
    _private: [u8; 0],
}

/// An index of functions and variables. Not an address.
pub type thin_lto_t = *mut LLVMOpaqueThinLTOIndex;

/// No value; cbindgen-thinlto_file.toml has it for C.
pub(super) const LTO_THINLTO_NONE: usize = usize::MAX;

/// What a summary is of.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum lto_thinlto_kind_t {
    LTO_THINLTO_ALIAS = 0,
    LTO_THINLTO_FUNCTION = 1,
    LTO_THINLTO_VARIABLE = 2,
}

/// Linkage, in LLVM's numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum lto_thinlto_linkage_t {
    LTO_THINLTO_EXTERNAL = 0,
    LTO_THINLTO_AVAILABLE_EXTERNALLY = 1,
    LTO_THINLTO_LINKONCE = 2,
    LTO_THINLTO_LINKONCE_ODR = 3,
    LTO_THINLTO_WEAK = 4,
    LTO_THINLTO_WEAK_ODR = 5,
    LTO_THINLTO_APPENDING = 6,
    LTO_THINLTO_INTERNAL = 7,
    LTO_THINLTO_PRIVATE = 8,
    LTO_THINLTO_EXTERN_WEAK = 9,
    LTO_THINLTO_COMMON = 10,
}

/// Flags of a summary.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_thinlto_flags_t {
    /// It must not be imported.
    LTO_THINLTO_NOT_ELIGIBLE_TO_IMPORT = 1,
    /// In a module a root of liveness, in a combined index live.
    LTO_THINLTO_LIVE = 2,
    /// It resolves within the linkage unit.
    LTO_THINLTO_DSO_LOCAL = 4,
    /// It can be hidden when it becomes weak_odr.
    LTO_THINLTO_CAN_AUTO_HIDE = 8,
    /// Only a declaration is to be imported.
    LTO_THINLTO_IMPORT_AS_DECLARATION = 16,
}

/// Flags of a function, in LLVM's bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum lto_thinlto_function_flags_t {
    LTO_THINLTO_READ_NONE = 1,
    LTO_THINLTO_READ_ONLY = 2,
    LTO_THINLTO_NO_RECURSE = 4,
    LTO_THINLTO_RETURN_DOES_NOT_ALIAS = 8,
    LTO_THINLTO_NO_INLINE = 16,
    LTO_THINLTO_ALWAYS_INLINE = 32,
    LTO_THINLTO_NO_UNWIND = 64,
    LTO_THINLTO_MAY_THROW = 128,
    LTO_THINLTO_HAS_UNKNOWN_CALL = 256,
    LTO_THINLTO_MUST_BE_UNREACHABLE = 512,
}

/// Which virtual calls.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_thinlto_vcall_kind_t {
    /// Under `llvm.assume(llvm.type.test)`.
    LTO_THINLTO_TYPE_TEST_ASSUME = 0,
    /// Through `llvm.type.checked.load`.
    LTO_THINLTO_TYPE_CHECKED_LOAD = 1,
    /// As the first, with all arguments constant.
    LTO_THINLTO_TYPE_TEST_ASSUME_CONST = 2,
    /// As the second, with all arguments constant.
    LTO_THINLTO_TYPE_CHECKED_LOAD_CONST = 3,
}

/// How to write an index.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_write_options_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// 0 for LLVM 22's format, or the first LLVM that is to read the file, from 14 on.
    pub format: u32,
    /// Not 0: add a table by which one function is found without reading the index. LLVM's
    /// readers skip it.
    pub function_table: u32,
}

/// What is said of a whole index.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_index_info_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The version of the summary block that was read; the oldest of several, 0 for none.
    pub version: u64,
    /// The FLAGS record, as LLVM writes it.
    pub flags: u64,
    /// The number of basic blocks.
    pub block_count: u64,
    /// Modules.
    pub num_modules: usize,
    /// Values: GUIDs that anything defines or mentions.
    pub num_values: usize,
    /// Summaries of all modules.
    pub num_summaries: usize,
    /// MemProf stack ids.
    pub num_stack_ids: usize,
    /// Type identifiers that a thin link resolved.
    pub num_type_ids: usize,
    /// Type identifiers with compatible virtual tables.
    pub num_type_id_vtables: usize,
    /// Local functions with CFI jump tables.
    pub num_cfi_defs: usize,
    /// External functions with CFI jump tables.
    pub num_cfi_decls: usize,
    /// Not 0 for a combined index.
    pub is_combined: u32,
    /// Not 0 for the summary of a module that is meant for regular LTO.
    pub is_full_lto: u32,
}

/// A value: something with a GUID, defined or only mentioned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_value_info_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// Its GUID.
    pub guid: u64,
    /// Its name, or null where the file has none (combined indexes have none). The index's.
    pub name: *const c_char,
    /// How many modules define it.
    pub num_copies: usize,
}

/// The summary of one value in one module.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_summary_info_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The GUID of the value.
    pub guid: u64,
    /// The value.
    pub value: usize,
    /// The module.
    pub module: usize,
    /// Of an alias, the value that it stands for; else, or not known, `LTO_THINLTO_NONE`.
    pub aliasee: usize,
    /// The GUID of the name without regard to linkage; 0 where it is not known.
    pub original_name: u64,
    /// The entry count that old versions recorded; mostly 0.
    pub entry_count: u64,
    /// `lto_thinlto_kind_t`.
    pub kind: u32,
    /// `lto_thinlto_linkage_t`.
    pub linkage: u32,
    /// 0 default, 1 hidden, 2 protected.
    pub visibility: u32,
    /// `lto_thinlto_flags_t`, or-ed.
    pub flags: u32,
    /// Of a function, its instructions.
    pub instruction_count: u32,
    /// Of a function, `lto_thinlto_function_flags_t`, or-ed.
    pub function_flags: u32,
    /// Of a variable: 1 perhaps only read, 2 perhaps only written, 4 constant, or-ed.
    pub variable_flags: u32,
    /// Of a variable: 0 public, 1 linkage unit, 2 translation unit.
    pub vcall_visibility: u32,
    /// Calls.
    pub num_calls: usize,
    /// References.
    pub num_refs: usize,
    /// Type tests.
    pub num_type_tests: usize,
    /// Virtual calls, by `lto_thinlto_vcall_kind_t`.
    pub num_vcalls: [usize; 4],
    /// Pointer parameters whose accesses are known.
    pub num_param_accesses: usize,
    /// MemProf call sites.
    pub num_callsites: usize,
    /// MemProf allocations.
    pub num_allocs: usize,
    /// Functions of a virtual table.
    pub num_vtable_funcs: usize,
}

/// A call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_call_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The value that is called.
    pub callee: usize,
    /// 0 unknown, 1 cold, 2 none, 3 hot, 4 critical.
    pub hotness: u32,
    /// Not 0 where at least one of the calls is a tail call.
    pub has_tail_call: u32,
    /// Not 0 where the record gives block frequencies in place of hotness.
    pub has_rel_block_freq: u32,
    /// The frequency of the calls' blocks relative to the entry, times 256.
    pub rel_block_freq: u32,
}

/// A reference other than a call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_ref_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The value that is referred to.
    pub value: usize,
    /// Not 0 where it is only read.
    pub read_only: u32,
    /// Not 0 where it is only written.
    pub write_only: u32,
}

/// A virtual call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_vcall_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The GUID of the type identifier.
    pub guid: u64,
    /// The offset in the virtual table, in bytes.
    pub offset: u64,
    /// Constant arguments, of the kinds of calls that have them.
    pub num_args: usize,
}

/// How a pointer parameter is accessed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_param_access_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// Which parameter.
    pub param_no: u64,
    /// The first byte accessed, from the pointer.
    pub lower: i64,
    /// The byte behind the last.
    pub upper: i64,
    /// Calls that pass the pointer on.
    pub num_calls: usize,
}

/// A call that passes a pointer parameter on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_param_access_call_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The value that is called.
    pub callee: usize,
    /// Which parameter of it.
    pub param_no: u64,
    /// The least offset that the passed pointer may have.
    pub lower: i64,
    /// One more than the greatest.
    pub upper: i64,
}

/// A MemProf call site.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_callsite_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The value that is called, or `LTO_THINLTO_NONE`.
    pub callee: usize,
    /// Clones of the function.
    pub num_clones: usize,
    /// Inlined frames.
    pub num_stack_ids: usize,
}

/// A MemProf allocation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_alloc_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// Clones of the function.
    pub num_versions: usize,
    /// Contexts that reach it.
    pub num_contexts: usize,
}

/// A context of a MemProf allocation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_alloc_context_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// 1 not cold, 2 cold, 4 hot.
    pub alloc_type: u32,
    /// Frames.
    pub num_stack_ids: usize,
    /// Full contexts whose sizes were recorded.
    pub num_sizes: usize,
}

/// A full context and what it allocated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_context_size_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The hash of the full context.
    pub full_stack_id: u64,
    /// Bytes.
    pub total_size: u64,
}

/// A value at an offset: a function in a virtual table, or a table for a type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_value_offset_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The value.
    pub value: usize,
    /// Bytes.
    pub offset: u64,
}

/// What a thin link found out of a type identifier.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_type_id_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// Its name. The index's.
    pub name: *const c_char,
    /// The GUID of the name.
    pub guid: u64,
    /// 0 unsat, 1 byte array, 2 inline, 3 single, 4 all ones, 5 unknown.
    pub test_kind: u64,
    /// As LLVM's TypeTestResolution.
    pub size_m1_bit_width: u64,
    /// As LLVM's TypeTestResolution.
    pub align_log2: u64,
    /// As LLVM's TypeTestResolution.
    pub size_m1: u64,
    /// As LLVM's TypeTestResolution.
    pub bit_mask: u64,
    /// As LLVM's TypeTestResolution.
    pub inline_bits: u64,
    /// Offsets in the virtual table with a resolution.
    pub num_devirt: usize,
}

/// How virtual calls through one offset of a type's table are done.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_devirt_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The offset in the virtual table, in bytes.
    pub offset: u64,
    /// 0 indirect, 1 single implementation, 2 branch funnel.
    pub kind: u64,
    /// The name of the single implementation; empty for none. The index's.
    pub single_impl_name: *const c_char,
    /// Lists of constant arguments with a resolution.
    pub num_by_arg: usize,
}

/// How a virtual call with certain constant arguments is done.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_devirt_by_arg_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// 0 indirect, 1 uniform, 2 unique return value, 3 virtual constant propagation.
    pub kind: u64,
    /// As LLVM's ByArg.
    pub info: u64,
    /// As LLVM's ByArg.
    pub byte: u64,
    /// As LLVM's ByArg.
    pub bit: u64,
    /// Arguments.
    pub num_args: usize,
}

/// The virtual tables that are compatible with a type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lto_thinlto_type_id_vtables_t {
    /// The size of this structure in bytes, which the caller sets.
    pub struct_size: usize,
    /// The type identifier. The index's.
    pub name: *const c_char,
    /// Tables.
    pub num_vtables: usize,
}

macro_rules! grows {
    ($($name:ident),* $(,)?) => { $(
        // SAFETY: `repr(C)`, and the first member is the size.
        unsafe impl Grows for $name {}
    )* };
}

grows!(
    lto_thinlto_index_info_t,
    lto_thinlto_value_info_t,
    lto_thinlto_summary_info_t,
    lto_thinlto_call_t,
    lto_thinlto_ref_t,
    lto_thinlto_vcall_t,
    lto_thinlto_param_access_t,
    lto_thinlto_param_access_call_t,
    lto_thinlto_callsite_t,
    lto_thinlto_alloc_t,
    lto_thinlto_alloc_context_t,
    lto_thinlto_context_size_t,
    lto_thinlto_value_offset_t,
    lto_thinlto_type_id_t,
    lto_thinlto_devirt_t,
    lto_thinlto_devirt_by_arg_t,
    lto_thinlto_type_id_vtables_t,
);
