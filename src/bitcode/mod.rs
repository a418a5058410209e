//! What the records of a bitcode file mean.
//!
//! In: a slice of raw bitcode (from [`crate::container`]). Out: the modules of the file with their
//! identification, string table and symbol table ([`BitcodeFile`]), and of a module what stands
//! at module level: triple, data layout, global values, comdats ([`Module`]), and on demand its
//! types, constants and metadata. Function bodies are only ever skipped.
//! It must not know what a linker wants to see, nor summaries.
//!
//! Names and layouts follow LLVM's `LLVMBitCodes.h` and `BitcodeReader.cpp`; the codes are the
//! same from LLVM 14 to 22, records only grew at their ends; LLVM 23 adds [`GuidList`].

mod constants;
mod file;
mod global;
mod guid_list;
mod inline_asm;
mod metadata;
mod module;
mod module_flags;
mod producer;
mod types;

pub use constants::{Constant, Constants, code as constant_code};
pub use file::{BITCODE_MAGIC, BitcodeFile, BitcodeModule, Identification};
pub use global::{GlobalKind, GlobalValue, field};
pub use guid_list::GuidList;
pub use metadata::Metadata;
pub use module::{Comdat, Extent, Module};
pub use module_flags::module_flag;
pub use producer::Producer;
pub use types::{Type, TypeTable};

/// Block ids (`bitc::BlockIDs`).
#[allow(missing_docs)] // LLVM's names, each the block it says
pub mod block_id {
    pub const MODULE: u32 = 8;
    pub const PARAMATTR: u32 = 9;
    pub const PARAMATTR_GROUP: u32 = 10;
    pub const CONSTANTS: u32 = 11;
    pub const FUNCTION: u32 = 12;
    pub const IDENTIFICATION: u32 = 13;
    pub const VALUE_SYMTAB: u32 = 14;
    pub const METADATA: u32 = 15;
    pub const METADATA_ATTACHMENT: u32 = 16;
    pub const TYPE_NEW: u32 = 17;
    pub const USELIST: u32 = 18;
    pub const MODULE_STRTAB: u32 = 19;
    pub const GLOBALVAL_SUMMARY: u32 = 20;
    pub const OPERAND_BUNDLE_TAGS: u32 = 21;
    pub const METADATA_KIND: u32 = 22;
    pub const STRTAB: u32 = 23;
    pub const FULL_LTO_GLOBALVAL_SUMMARY: u32 = 24;
    pub const SYMTAB: u32 = 25;
    pub const SYNC_SCOPE_NAMES: u32 = 26;
}

/// Codes of the records in a module block (`bitc::ModuleCodes`).
#[allow(missing_docs)]
pub mod module_code {
    pub const VERSION: u32 = 1;
    pub const TRIPLE: u32 = 2;
    pub const DATALAYOUT: u32 = 3;
    pub const ASM: u32 = 4;
    pub const SECTIONNAME: u32 = 5;
    pub const DEPLIB: u32 = 6;
    pub const GLOBALVAR: u32 = 7;
    pub const FUNCTION: u32 = 8;
    pub const ALIAS_OLD: u32 = 9;
    pub const GCNAME: u32 = 11;
    pub const COMDAT: u32 = 12;
    pub const VSTOFFSET: u32 = 13;
    pub const ALIAS: u32 = 14;
    pub const SOURCE_FILENAME: u32 = 16;
    pub const HASH: u32 = 17;
    pub const IFUNC: u32 = 18;
    pub const GUIDLIST: u32 = 20;
}

/// Codes of the records in a value symbol table (`bitc::ValueSymtabCodes`).
#[allow(missing_docs)]
pub mod vst_code {
    pub const ENTRY: u32 = 1;
    pub const BBENTRY: u32 = 2;
    pub const FNENTRY: u32 = 3;
    pub const COMBINED_ENTRY: u32 = 5;
}
