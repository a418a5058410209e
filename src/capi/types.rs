//! The types and constants of `llvm-c/lto.h`, as cbindgen writes them into the header.
//!
//! In: nothing. Out: the header's enums, handles and structures, and the shapes in which they
//! arrive. A C enum arrives as an integer and is checked, because a Rust enum of an unknown value
//! would be undefined behaviour; so each enum stands twice, once with its constants for the
//! header, once as the integer that the functions take (cbindgen.toml renames the second to the
//! first). A `bool` arrives as a byte for the same reason.
//!
//! Names, values and signatures are those of LLVM 22's `llvm-c/lto.h`.

#![allow(non_camel_case_types)] // C's names

use std::ffi::{c_char, c_uint, c_void};

/// The version of this interface; `lto_api_version()` gives that of the library in use.
pub const LTO_API_VERSION: c_uint = 29;

/// True or false: one byte, as `bool` of C and C++.
pub type lto_bool_t = bool;
/// A `lto_bool_t` that a caller gives.
pub type BoolArgument = u8;

/// What the linker is told of a symbol: one value of each mask, and two flags.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_symbol_attributes {
    /// Bits 0 to 4: the base-2 logarithm of the alignment in bytes.
    LTO_SYMBOL_ALIGNMENT_MASK = 0x1F,
    /// Bits 5 to 7: what the section allows.
    LTO_SYMBOL_PERMISSIONS_MASK = 0xE0,
    /// A function.
    LTO_SYMBOL_PERMISSIONS_CODE = 0xA0,
    /// Data that may be written.
    LTO_SYMBOL_PERMISSIONS_DATA = 0xC0,
    /// Constant data.
    LTO_SYMBOL_PERMISSIONS_RODATA = 0x80,
    /// Bits 8 to 10: how the symbol is defined.
    LTO_SYMBOL_DEFINITION_MASK = 0x700,
    /// An ordinary definition.
    LTO_SYMBOL_DEFINITION_REGULAR = 0x100,
    /// A common symbol.
    LTO_SYMBOL_DEFINITION_TENTATIVE = 0x200,
    /// A weak definition, which another may replace.
    LTO_SYMBOL_DEFINITION_WEAK = 0x300,
    /// Not defined here.
    LTO_SYMBOL_DEFINITION_UNDEFINED = 0x400,
    /// Not defined here, and null where nobody defines it.
    LTO_SYMBOL_DEFINITION_WEAKUNDEF = 0x500,
    /// Bits 11 to 13: who sees the symbol.
    LTO_SYMBOL_SCOPE_MASK = 0x3800,
    /// Its module alone.
    LTO_SYMBOL_SCOPE_INTERNAL = 0x800,
    /// The linked image alone.
    LTO_SYMBOL_SCOPE_HIDDEN = 0x1000,
    /// Everybody, and the image's own references are bound to it.
    LTO_SYMBOL_SCOPE_PROTECTED = 0x2000,
    /// Everybody.
    LTO_SYMBOL_SCOPE_DEFAULT = 0x1800,
    /// Everybody, but the linker may hide it: nobody can tell.
    LTO_SYMBOL_SCOPE_DEFAULT_CAN_BE_HIDDEN = 0x2800,
    /// The symbol is a member of a comdat.
    LTO_SYMBOL_COMDAT = 0x4000,
    /// The symbol is another name of a definition.
    LTO_SYMBOL_ALIAS = 0x8000,
}
/// A `lto_symbol_attributes` as a sum of its constants.
pub type SymbolAttributes = c_uint;

/// What debug information the code generator writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_debug_model {
    /// None.
    LTO_DEBUG_MODEL_NONE = 0,
    /// DWARF.
    LTO_DEBUG_MODEL_DWARF = 1,
}
/// A `lto_debug_model` that a caller gives.
pub type DebugModelArgument = c_uint;

/// How generated code reaches symbols.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_codegen_model {
    /// Absolute addresses.
    LTO_CODEGEN_PIC_MODEL_STATIC = 0,
    /// Position-independent code.
    LTO_CODEGEN_PIC_MODEL_DYNAMIC = 1,
    /// Code at a fixed place that reaches other images indirectly; Mach-O only.
    LTO_CODEGEN_PIC_MODEL_DYNAMIC_NO_PIC = 2,
    /// What the target and the modules want.
    LTO_CODEGEN_PIC_MODEL_DEFAULT = 3,
}
/// A `lto_codegen_model` that a caller gives.
pub type PicModelArgument = c_uint;

/// A module as `LLVMOpaqueLTOModule *` of C; never dereferenced, the pointer is a token.
pub struct LLVMOpaqueLTOModule {
    _private: [u8; 0],
}
/// A code generator as C sees it; the pointer is a token.
pub struct LLVMOpaqueLTOCodeGenerator {
    _private: [u8; 0],
}
/// A ThinLTO code generator as C sees it; the pointer is a token.
pub struct LLVMOpaqueThinLTOCodeGenerator {
    _private: [u8; 0],
}
/// An input file as C sees it; the pointer is a token.
pub struct LLVMOpaqueLTOInput {
    _private: [u8; 0],
}

/// A module whose symbols can be listed, or which a code generator can take. Not an address.
pub type lto_module_t = *mut LLVMOpaqueLTOModule;
/// A code generator for regular LTO. Not an address.
pub type lto_code_gen_t = *mut LLVMOpaqueLTOCodeGenerator;
/// A code generator for ThinLTO. Not an address.
pub type thinlto_code_gen_t = *mut LLVMOpaqueThinLTOCodeGenerator;
/// A file of which the linker asks what it depends on. Not an address.
pub type lto_input_t = *mut LLVMOpaqueLTOInput;

/// How bad a diagnostic is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lto_codegen_diagnostic_severity_t {
    /// The operation failed.
    LTO_DS_ERROR = 0,
    /// The operation goes on.
    LTO_DS_WARNING = 1,
    /// What an optimization did or did not do.
    LTO_DS_REMARK = 3,
    /// More about the diagnostic before it.
    LTO_DS_NOTE = 2,
}

/// A function that is told of diagnostics.
///
/// `diag` is the text, without a word such as "error: " before it, and lives as long as the call.
/// `ctxt` is what was given together with the function. The function may throw a C++ exception;
/// it passes through the library to the caller of the function that reported.
pub type lto_diagnostic_handler_t = Option<
    unsafe extern "C-unwind" fn(
        severity: lto_codegen_diagnostic_severity_t,
        diag: *const c_char,
        ctxt: *mut c_void,
    ),
>;

/// Is told how far a link is: how many modules are done, of how many (each counts twice where code is
/// generated in two rounds); the identifier of the one that
/// has been running longest, or null where none runs; and the user's context. It must not throw, and
/// must not use the code generator.
pub type thinlto_progress_t =
    Option<unsafe extern "C" fn(c_uint, c_uint, *const c_char, *mut c_void)>;

/// An object file in memory that a ThinLTO code generator owns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LTOObjectBuffer {
    /// Its first byte, or null.
    pub Buffer: *const c_char,
    /// Its size in bytes.
    pub Size: usize,
}

impl LTOObjectBuffer {
    /// No object.
    pub(crate) const NONE: Self = LTOObjectBuffer { Buffer: std::ptr::null(), Size: 0 };
}
