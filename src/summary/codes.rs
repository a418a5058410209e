//! Record codes of the summary blocks, and the layouts that changed with the version.
//!
//! Source: `GlobalValueSummarySymtabCodes` of LLVM 22's `LLVMBitCodes.h`; the layouts are those
//! that `ModuleSummaryIndexBitcodeReader::parseEntireSummary` reads (LLVM 19 and 22), as the
//! comments in the header leave fields out.

/// The newest version of the summary block whose every record is known (LLVM 23).
pub(super) const NEWEST_VERSION: u64 = 14;

/// Codes of a GLOBALVAL_SUMMARY block.
#[allow(missing_docs)]
pub mod fs {
    pub const PERMODULE: u32 = 1;
    pub const PERMODULE_PROFILE: u32 = 2;
    pub const PERMODULE_GLOBALVAR_INIT_REFS: u32 = 3;
    pub const COMBINED: u32 = 4;
    pub const COMBINED_PROFILE: u32 = 5;
    pub const COMBINED_GLOBALVAR_INIT_REFS: u32 = 6;
    pub const ALIAS: u32 = 7;
    pub const COMBINED_ALIAS: u32 = 8;
    pub const COMBINED_ORIGINAL_NAME: u32 = 9;
    pub const VERSION: u32 = 10;
    pub const TYPE_TESTS: u32 = 11;
    pub const TYPE_TEST_ASSUME_VCALLS: u32 = 12;
    pub const TYPE_CHECKED_LOAD_VCALLS: u32 = 13;
    pub const TYPE_TEST_ASSUME_CONST_VCALL: u32 = 14;
    pub const TYPE_CHECKED_LOAD_CONST_VCALL: u32 = 15;
    pub const VALUE_GUID: u32 = 16;
    pub const CFI_FUNCTION_DEFS: u32 = 17;
    pub const CFI_FUNCTION_DECLS: u32 = 18;
    pub const PERMODULE_RELBF: u32 = 19;
    pub const FLAGS: u32 = 20;
    pub const TYPE_ID: u32 = 21;
    pub const TYPE_ID_METADATA: u32 = 22;
    pub const PERMODULE_VTABLE_GLOBALVAR_INIT_REFS: u32 = 23;
    pub const BLOCK_COUNT: u32 = 24;
    pub const PARAM_ACCESS: u32 = 25;
    pub const PERMODULE_CALLSITE_INFO: u32 = 26;
    pub const PERMODULE_ALLOC_INFO: u32 = 27;
    pub const COMBINED_CALLSITE_INFO: u32 = 28;
    pub const COMBINED_ALLOC_INFO: u32 = 29;
    pub const STACK_IDS: u32 = 30;
    pub const ALLOC_CONTEXT_IDS: u32 = 31;
    pub const CONTEXT_RADIX_TREE_ARRAY: u32 = 32;
    pub const COMBINED_ALLOC_INFO_NO_CONTEXT: u32 = 33;
}

/// Codes of a MODULE_STRTAB block: ENTRY `[modid, character...]`, HASH `[5 x i32]` of the entry
/// before.
pub(super) mod mst {
    pub(crate) const ENTRY: u32 = 1;
    pub(crate) const HASH: u32 = 2;
}

/// The name of a summary record, for errors.
pub(super) fn name(code: u32) -> &'static str {
    match code {
        fs::PERMODULE => "FS_PERMODULE",
        fs::PERMODULE_PROFILE => "FS_PERMODULE_PROFILE",
        fs::PERMODULE_GLOBALVAR_INIT_REFS => "FS_PERMODULE_GLOBALVAR_INIT_REFS",
        fs::COMBINED => "FS_COMBINED",
        fs::COMBINED_PROFILE => "FS_COMBINED_PROFILE",
        fs::COMBINED_GLOBALVAR_INIT_REFS => "FS_COMBINED_GLOBALVAR_INIT_REFS",
        fs::ALIAS => "FS_ALIAS",
        fs::COMBINED_ALIAS => "FS_COMBINED_ALIAS",
        fs::COMBINED_ORIGINAL_NAME => "FS_COMBINED_ORIGINAL_NAME",
        fs::VERSION => "FS_VERSION",
        fs::TYPE_TESTS => "FS_TYPE_TESTS",
        fs::TYPE_TEST_ASSUME_VCALLS => "FS_TYPE_TEST_ASSUME_VCALLS",
        fs::TYPE_CHECKED_LOAD_VCALLS => "FS_TYPE_CHECKED_LOAD_VCALLS",
        fs::TYPE_TEST_ASSUME_CONST_VCALL => "FS_TYPE_TEST_ASSUME_CONST_VCALL",
        fs::TYPE_CHECKED_LOAD_CONST_VCALL => "FS_TYPE_CHECKED_LOAD_CONST_VCALL",
        fs::VALUE_GUID => "FS_VALUE_GUID",
        fs::CFI_FUNCTION_DEFS => "FS_CFI_FUNCTION_DEFS",
        fs::CFI_FUNCTION_DECLS => "FS_CFI_FUNCTION_DECLS",
        fs::PERMODULE_RELBF => "FS_PERMODULE_RELBF",
        fs::FLAGS => "FS_FLAGS",
        fs::TYPE_ID => "FS_TYPE_ID",
        fs::TYPE_ID_METADATA => "FS_TYPE_ID_METADATA",
        fs::PERMODULE_VTABLE_GLOBALVAR_INIT_REFS => "FS_PERMODULE_VTABLE_GLOBALVAR_INIT_REFS",
        fs::BLOCK_COUNT => "FS_BLOCK_COUNT",
        fs::PARAM_ACCESS => "FS_PARAM_ACCESS",
        fs::PERMODULE_CALLSITE_INFO => "FS_PERMODULE_CALLSITE_INFO",
        fs::PERMODULE_ALLOC_INFO => "FS_PERMODULE_ALLOC_INFO",
        fs::COMBINED_CALLSITE_INFO => "FS_COMBINED_CALLSITE_INFO",
        fs::COMBINED_ALLOC_INFO => "FS_COMBINED_ALLOC_INFO",
        fs::STACK_IDS => "FS_STACK_IDS",
        fs::ALLOC_CONTEXT_IDS => "FS_ALLOC_CONTEXT_IDS",
        fs::CONTEXT_RADIX_TREE_ARRAY => "FS_CONTEXT_RADIX_TREE_ARRAY",
        fs::COMBINED_ALLOC_INFO_NO_CONTEXT => "FS_COMBINED_ALLOC_INFO_NO_CONTEXT",
        _ => "unknown summary",
    }
}

/// A field of a function record behind the instruction count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FunctionField {
    Flags,
    EntryCount,
    RefCount,
    ReadOnlyCount,
    WriteOnlyCount,
}

use FunctionField::{EntryCount, Flags, ReadOnlyCount, RefCount, WriteOnlyCount};

/// From which version on, the fields between the instruction count and the references of
/// FS_PERMODULE, FS_PERMODULE_PROFILE and FS_PERMODULE_RELBF: `[valueid, flags, instcount,
/// ..., numrefs x valueid, calls]`.
pub(super) const PERMODULE_FUNCTION: &[(u64, &[FunctionField])] = &[
    (1, &[RefCount]),
    (4, &[Flags, RefCount]),
    (5, &[Flags, RefCount, ReadOnlyCount]),
    (7, &[Flags, RefCount, ReadOnlyCount, WriteOnlyCount]),
];

/// The same of FS_COMBINED and FS_COMBINED_PROFILE: `[valueid, modid, flags, instcount, ...]`.
pub(super) const COMBINED_FUNCTION: &[(u64, &[FunctionField])] = &[
    (1, &[RefCount]),
    (4, &[Flags, RefCount]),
    (5, &[Flags, RefCount, ReadOnlyCount]),
    (6, &[Flags, EntryCount, RefCount, ReadOnlyCount]),
    (7, &[Flags, EntryCount, RefCount, ReadOnlyCount, WriteOnlyCount]),
];

/// What a version changed elsewhere. Before `VARIABLE_FLAGS`, `[valueid, (modid,) flags,
/// n x valueid]` was all of a variable; `GUID_WORDS` and `STACK_ID_WORDS` split 64-bit numbers
/// into two fields, the high word first.
pub(super) mod since {
    /// Calls lost their site counts.
    pub(crate) const CALLS_WITHOUT_COUNTS: u64 = 2;
    /// The live and the not-eligible-to-import flag are written; before, both hold for all.
    pub(crate) const LIVE_FLAG: u64 = 3;
    pub(crate) const VARIABLE_FLAGS: u64 = 5;
    /// FS_PERMODULE_ALLOC_INFO starts with the number of its contexts.
    pub(crate) const ALLOC_MIB_COUNT: u64 = 10;
    pub(crate) const GUID_WORDS: u64 = 11;
    pub(crate) const STACK_ID_WORDS: u64 = 12;
    /// MemProf records stand behind their function (LLVM 23).
    pub(crate) const MEMPROF_BEHIND: u64 = 13;
    /// CFI functions have their GUID before their name (LLVM 23).
    pub(crate) const CFI_GUIDS: u64 = 14;
}

/// The layout that a version has.
pub(super) fn layout(
    table: &'static [(u64, &'static [FunctionField])],
    version: u64,
) -> &'static [FunctionField] {
    table.iter().rev().find(|(since, _)| *since <= version).map_or(&[], |(_, fields)| fields)
}

/// What a function record has for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallForm {
    /// The callee alone.
    Plain,
    /// Callee and hotness, with the tail call mark.
    Hotness,
    /// Callee and relative block frequency, with the tail call mark.
    Frequency,
    /// Version 1: the callee and so many counts that nobody uses.
    Counts(usize),
}

impl CallForm {
    pub(super) fn of(code: u32, version: u64) -> Self {
        let profile = matches!(code, fs::PERMODULE_PROFILE | fs::COMBINED_PROFILE);
        match code {
            _ if version < since::CALLS_WITHOUT_COUNTS => {
                CallForm::Counts(1 + usize::from(profile))
            }
            fs::PERMODULE_RELBF => CallForm::Frequency,
            _ if profile => CallForm::Hotness,
            _ => CallForm::Plain,
        }
    }

    /// How many fields a call takes.
    pub(super) fn fields(self) -> usize {
        match self {
            CallForm::Plain => 1,
            CallForm::Hotness | CallForm::Frequency => 2,
            CallForm::Counts(n) => 1 + n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_by_version() {
        assert_eq!(layout(PERMODULE_FUNCTION, 3), [RefCount]);
        assert_eq!(layout(PERMODULE_FUNCTION, 6), [Flags, RefCount, ReadOnlyCount]);
        assert_eq!(layout(COMBINED_FUNCTION, 6).len(), 4);
        assert_eq!(layout(COMBINED_FUNCTION, 12).len(), 5);
        assert_eq!(CallForm::of(fs::COMBINED_PROFILE, 1).fields(), 3);
        assert_eq!(CallForm::of(fs::COMBINED, 12).fields(), 1);
    }
}
