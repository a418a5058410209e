//! What a summary is made of.
//!
//! In: nothing. Out: small plain types under LLVM's names (`ModuleSummaryIndex.h`). Flags are kept
//! as the number that the record holds, so that reading and writing cost nothing and bits that a
//! later LLVM adds are not lost on the way.

use std::collections::BTreeSet;

use crate::ir::{Guid, Linkage, ModuleHash, Visibility};

/// A value of an index: a position in its table of GUIDs, which is sorted. Dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

/// A summary of an index: a position in its records, which are sorted by module, and within one
/// module in the order of its file. Dense, so that the summaries of a module are a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SummaryId(pub u32);

/// A module of an index: a position in its module table, in the order of addition. Dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub u32);

impl ValueId {
    /// As an index into a table by value.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl SummaryId {
    /// As an index into a table by summary.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ModuleId {
    /// As an index into a table by module.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A module of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// The path that names the module; bytes, as LLVM does not promise UTF-8.
    pub path: Box<[u8]>,
    /// The SHA-1 of its bitcode; all zero where the file has none.
    pub hash: ModuleHash,
}

/// The sort of value that a summary is of (`GlobalValueSummary::SummaryKind`, same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum SummaryKind {
    Alias = 0,
    Function = 1,
    Variable = 2,
}

/// `GlobalValueSummary::GVFlags`, as the `flags` field of every summary record holds it:
/// linkage in bits 0-3 (LLVM's own numbering, [`Linkage`] as u8), not-eligible-to-import 4,
/// live 5, dso_local 6, can-auto-hide 7, visibility 8-9, import-as-declaration 10.
/// Source: `getDecodedGVSummaryFlags` of `BitcodeReader.cpp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GvFlags(pub u16);

macro_rules! flag {
    ($(#[$doc:meta])* $get:ident, $set:ident, $bit:expr) => {
        $(#[$doc])*
        #[inline]
        pub fn $get(self) -> bool {
            self.0 >> $bit & 1 != 0
        }

        /// Sets or clears the flag of the getter's name.
        #[inline]
        pub fn $set(&mut self, on: bool) {
            self.0 = self.0 & !(1 << $bit) | u16::from(on) << $bit;
        }
    };
}

impl GvFlags {
    /// The bits that have a meaning.
    pub const KNOWN: u64 = 0xfff;

    /// The linkage. Numbers that LLVM does not have read as external.
    #[inline]
    pub fn linkage(self) -> Linkage {
        match self.0 & 0xf {
            1 => Linkage::AvailableExternally,
            2 => Linkage::LinkOnceAny,
            3 => Linkage::LinkOnceOdr,
            4 => Linkage::WeakAny,
            5 => Linkage::WeakOdr,
            6 => Linkage::Appending,
            7 => Linkage::Internal,
            8 => Linkage::Private,
            9 => Linkage::ExternalWeak,
            10 => Linkage::Common,
            _ => Linkage::External,
        }
    }

    /// Changes the linkage.
    #[inline]
    pub fn set_linkage(&mut self, linkage: Linkage) {
        self.0 = self.0 & !0xf | linkage as u16;
    }

    /// The visibility.
    #[inline]
    pub fn visibility(self) -> Visibility {
        Visibility::from_record(u64::from(self.0 >> 8 & 3))
    }

    /// Changes the visibility.
    #[inline]
    pub fn set_visibility(&mut self, visibility: Visibility) {
        self.0 = self.0 & !0x300 | (visibility as u16) << 8;
    }

    flag!(
        /// Whether the value must not be imported.
        not_eligible_to_import,
        set_not_eligible_to_import,
        4
    );
    flag!(
        /// In a module: a root of liveness. In a combined index: whether it is live.
        live,
        set_live,
        5
    );
    flag!(
        /// Whether it resolves within the linkage unit.
        dso_local,
        set_dso_local,
        6
    );
    flag!(
        /// Whether the copy can be hidden when it becomes weak_odr.
        can_auto_hide,
        set_can_auto_hide,
        7
    );
    flag!(
        /// Whether only a declaration is to be imported.
        import_as_declaration,
        set_import_as_declaration,
        10
    );
    flag!(
        /// Whether a local value keeps its name when it is promoted (LLVM 23).
        no_rename_on_promotion,
        set_no_rename_on_promotion,
        11
    );
}

/// `FunctionSummary::FFlags`, as the record holds it. Source: `getDecodedFFlags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FunctionFlags(pub u16);

#[allow(missing_docs)] // the names are LLVM's and say it all
impl FunctionFlags {
    /// The bits that have a meaning.
    pub const KNOWN: u64 = 0x3ff;

    flag!(read_none, set_read_none, 0);
    flag!(read_only, set_read_only, 1);
    flag!(no_recurse, set_no_recurse, 2);
    flag!(return_does_not_alias, set_return_does_not_alias, 3);
    flag!(no_inline, set_no_inline, 4);
    flag!(always_inline, set_always_inline, 5);
    flag!(no_unwind, set_no_unwind, 6);
    flag!(may_throw, set_may_throw, 7);
    flag!(has_unknown_call, set_has_unknown_call, 8);
    flag!(must_be_unreachable, set_must_be_unreachable, 9);
}

/// `GlobalVarSummary::GVarFlags`, as the record holds it: bit 0 may be read-only, 1 may be
/// write-only, 2 constant, 3-4 the visibility for virtual calls. Source: `getDecodedGVarFlags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VariableFlags(pub u16);

impl VariableFlags {
    /// The bits that have a meaning.
    pub const KNOWN: u64 = 0x1f;

    flag!(
        /// Perhaps only loaded.
        maybe_read_only,
        set_maybe_read_only,
        0
    );
    flag!(
        /// Perhaps only stored to.
        maybe_write_only,
        set_maybe_write_only,
        1
    );
    flag!(
        /// A constant of the language.
        constant,
        set_constant,
        2
    );

    /// `GlobalObject::VCallVisibility`: 0 public, 1 linkage unit, 2 translation unit.
    #[inline]
    pub fn vcall_visibility(self) -> u8 {
        (self.0 >> 3 & 3) as u8
    }

    /// Changes the visibility for virtual calls.
    #[inline]
    pub fn set_vcall_visibility(&mut self, visibility: u8) {
        self.0 = self.0 & !0x18 | u16::from(visibility & 3) << 3;
    }
}

/// The flags of a whole index: the FS_FLAGS record. Source: `ModuleSummaryIndex::getFlags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IndexFlags(pub u64);

#[allow(missing_docs)] // the names are LLVM's
impl IndexFlags {
    pub const WITH_GLOBAL_VALUE_DEAD_STRIPPING: u64 = 0x1;
    pub const SKIP_MODULE_BY_DISTRIBUTED_BACKEND: u64 = 0x2;
    pub const HAS_SYNTHETIC_ENTRY_COUNTS: u64 = 0x4;
    pub const ENABLE_SPLIT_LTO_UNIT: u64 = 0x8;
    pub const PARTIALLY_SPLIT_LTO_UNITS: u64 = 0x10;
    pub const WITH_ATTRIBUTE_PROPAGATION: u64 = 0x20;
    pub const WITH_DSO_LOCAL_PROPAGATION: u64 = 0x40;
    pub const WITH_WHOLE_PROGRAM_VISIBILITY: u64 = 0x80;
    pub const WITH_SUPPORTS_HOT_COLD_NEW: u64 = 0x100;
    pub const UNIFIED_LTO: u64 = 0x200;
    pub const WITH_INTERNALIZE_AND_PROMOTE: u64 = 0x400;

    /// Whether one of the bits is set.
    #[inline]
    pub fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    /// Sets bits.
    #[inline]
    pub fn insert(&mut self, bits: u64) {
        self.0 |= bits;
    }
}

/// A reference from a summary to a value, and how it is accessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ref(u32);

impl Ref {
    const READ_ONLY: u32 = 1 << 31;
    const WRITE_ONLY: u32 = 1 << 30;
    /// Value ids stay below this, so that the two marks fit beside them.
    pub(super) const LIMIT: u32 = 1 << 30;

    /// A plain reference.
    #[inline]
    pub fn new(value: ValueId) -> Self {
        Ref(value.0)
    }

    /// A reference that only reads.
    #[inline]
    pub fn read_only(value: ValueId) -> Self {
        Ref(value.0 | Self::READ_ONLY)
    }

    /// A reference that only writes.
    #[inline]
    pub fn write_only(value: ValueId) -> Self {
        Ref(value.0 | Self::WRITE_ONLY)
    }

    /// What is referred to.
    #[inline]
    pub fn value(self) -> ValueId {
        ValueId(self.0 & (Self::LIMIT - 1))
    }

    /// Whether the value is only read here.
    #[inline]
    pub fn is_read_only(self) -> bool {
        self.0 & Self::READ_ONLY != 0
    }

    /// Whether the value is only written here.
    #[inline]
    pub fn is_write_only(self) -> bool {
        self.0 & Self::WRITE_ONLY != 0
    }

    /// The same access of another value.
    #[inline]
    pub(super) fn with_value(self, value: u32) -> Self {
        Ref(self.0 & !(Self::LIMIT - 1) | value)
    }
}

impl std::fmt::Debug for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let access = match (self.is_read_only(), self.is_write_only()) {
            (true, _) => " readonly",
            (_, true) => " writeonly",
            _ => "",
        };
        write!(f, "{}{access}", self.value().0)
    }
}

/// What the record says of a call besides the callee: hotness in bits 0-2, whether a tail call is
/// among the calls in bit 3. Source: `getDecodedHotnessCallEdgeInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallInfo(pub u8);

/// `CalleeInfo::HotnessType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Hotness {
    Unknown = 0,
    Cold = 1,
    None = 2,
    Hot = 3,
    Critical = 4,
}

impl CallInfo {
    /// The bits of the hotness.
    pub(super) const HOTNESS: u8 = 7;

    /// A call of this hotness.
    #[inline]
    pub fn new(hotness: Hotness, tail_call: bool) -> Self {
        CallInfo(hotness as u8 | u8::from(tail_call) << 3)
    }

    /// How hot the hottest of the calls is. Numbers that LLVM does not have read as unknown.
    #[inline]
    pub fn hotness(self) -> Hotness {
        match self.0 & Self::HOTNESS {
            1 => Hotness::Cold,
            2 => Hotness::None,
            3 => Hotness::Hot,
            4 => Hotness::Critical,
            _ => Hotness::Unknown,
        }
    }

    /// Whether at least one of the calls is a tail call.
    #[inline]
    pub fn has_tail_call(self) -> bool {
        self.0 & 8 != 0
    }
}

/// A virtual function by type and offset in the virtual table (`FunctionSummary::VFuncId`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VFuncId {
    /// The GUID of the type identifier.
    pub guid: Guid,
    /// The offset from the address point, in bytes.
    pub offset: u64,
}

/// A virtual call with constant arguments (`FunctionSummary::ConstVCall`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConstVCall {
    /// The function that is called.
    pub function: VFuncId,
    /// The constant integer arguments, but for `this`.
    pub args: Box<[u64]>,
}

/// A range of signed 64-bit offsets, `lower` included, `upper` not (`ConstantRange`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct OffsetRange {
    pub lower: i64,
    pub upper: i64,
}

/// How a pointer parameter is accessed (`FunctionSummary::ParamAccess`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParamAccess {
    /// Which parameter.
    pub param_no: u64,
    /// The bytes accessed by the function itself, from the pointer.
    pub range: OffsetRange,
    /// Where it is passed on.
    pub calls: Box<[ParamAccessCall]>,
}

/// A call that passes the parameter on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamAccessCall {
    /// Which parameter of the callee.
    pub param_no: u64,
    /// The callee.
    pub callee: ValueId,
    /// The offsets that the passed pointer may have.
    pub offsets: OffsetRange,
}

/// A call site on the way to a profiled allocation (`CallsiteInfo`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallsiteInfo {
    /// The callee; `None` in a distributed index that does not hold it.
    pub callee: Option<ValueId>,
    /// Which clone of the callee each clone of this function calls.
    pub clones: Box<[u32]>,
    /// The stack ids of the inlined frames, as indices into [`super::ModuleSummaryIndex::stack_ids`].
    pub stack_ids: Box<[u32]>,
}

/// A profiled allocation (`AllocInfo`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllocInfo {
    /// The allocation type in each clone of this function.
    pub versions: Box<[u8]>,
    /// The contexts that reach it.
    pub mibs: Box<[MibInfo]>,
    /// Per context of `mibs` the full stack ids and sizes in bytes; empty where not recorded.
    pub context_sizes: Box<[Box<[ContextTotalSize]>]>,
}

/// What a function's summary says for MemProf, where that is not what its file said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemProfRecords {
    /// Its call sites; those without stack ids are tail calls that the profile does not see.
    pub callsites: Vec<CallsiteInfo>,
    /// Its allocations.
    pub allocs: Vec<AllocInfo>,
}

/// One context of an allocation (`MIBInfo`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MibInfo {
    /// `AllocationType`: 1 not cold, 2 cold, 4 hot.
    pub alloc_type: u8,
    /// The stack ids of the context, as indices into [`super::ModuleSummaryIndex::stack_ids`].
    pub stack_ids: Box<[u32]>,
}

/// A full context and how many bytes it allocated (`ContextTotalSize`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ContextTotalSize {
    pub full_stack_id: u64,
    pub total_size: u64,
}

/// A function in a virtual table (`VirtFuncOffset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VirtFuncOffset {
    /// The function.
    pub function: ValueId,
    /// Where the table holds it, in bytes.
    pub offset: u64,
}

/// A function with a CFI jump table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CfiFunction {
    /// Its name in the IR.
    pub name: Box<[u8]>,
    /// Its GUID, as the file gives it (LLVM 23) or that of the name.
    pub guid: Guid,
}

/// The virtual tables that are compatible with a type (`TypeIdCompatibleVtableInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeIdCompatibleVtables {
    /// The type identifier.
    pub name: Box<[u8]>,
    /// Offset of the address point in bytes, and the virtual table.
    pub vtables: Vec<(u64, ValueId)>,
}

/// What regular LTO found out of the types of a whole link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeResolutions {
    /// Of each type that something is of.
    pub type_ids: Vec<TypeIdSummary>,
    /// Functions of the link with CFI jump tables.
    pub cfi_function_defs: BTreeSet<CfiFunction>,
    /// Functions from elsewhere with CFI jump tables.
    pub cfi_function_decls: BTreeSet<CfiFunction>,
}

/// What the thin link found out of a type identifier (`TypeIdSummary`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeIdSummary {
    /// The type identifier.
    pub name: Box<[u8]>,
    /// The GUID of its name.
    pub guid: Guid,
    /// How a type test is to be done.
    pub type_test: TypeTestResolution,
    /// By offset in the virtual table, how a virtual call is to be done. Sorted by offset.
    pub devirtualization: Vec<(u64, WholeProgramDevirtResolution)>,
}

/// `TypeTestResolution`; numbers as the record holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TypeTestResolution {
    /// 0 unsat, 1 byte array, 2 inline, 3 single, 4 all ones, 5 unknown.
    pub kind: u64,
    pub size_m1_bit_width: u64,
    pub align_log2: u64,
    pub size_m1: u64,
    pub bit_mask: u64,
    pub inline_bits: u64,
}

impl TypeTestResolution {
    /// Nothing is known: a test is left as it is.
    pub const UNKNOWN: Self = TypeTestResolution {
        kind: 5,
        size_m1_bit_width: 0,
        align_log2: 0,
        size_m1: 0,
        bit_mask: 0,
        inline_bits: 0,
    };
}

/// `WholeProgramDevirtResolution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeProgramDevirtResolution {
    /// 0 indirect, 1 single implementation, 2 branch funnel.
    pub kind: u64,
    /// The name of the single implementation.
    pub single_impl_name: Box<[u8]>,
    /// By constant arguments, how the call is to be done. Sorted by arguments.
    pub by_arg: Vec<(Box<[u64]>, DevirtByArg)>,
}

/// `WholeProgramDevirtResolution::ByArg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DevirtByArg {
    /// 0 indirect, 1 uniform, 2 unique return value, 3 virtual constant propagation.
    pub kind: u64,
    pub info: u64,
    pub byte: u64,
    pub bit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_where_llvm_puts_them() {
        // 0x83: linkonce_odr, can auto hide, as clang gives an inline function.
        let mut f = GvFlags(0x83);
        assert_eq!(f.linkage(), Linkage::LinkOnceOdr);
        assert!(f.can_auto_hide() && !f.live());
        f.set_live(true);
        f.set_linkage(Linkage::WeakOdr);
        f.set_visibility(Visibility::Hidden);
        f.set_import_as_declaration(true);
        assert_eq!(f.0, 0x5a5);
        f.set_live(false);
        assert!(!f.live());
    }

    #[test]
    fn every_linkage_goes_round() {
        for code in 0..11 {
            let mut f = GvFlags(0);
            f.set_linkage(GvFlags(code).linkage());
            assert_eq!(f.0, code);
        }
    }

    #[test]
    fn a_reference_keeps_its_access() {
        let r = Ref::read_only(ValueId(7)).with_value(9);
        assert!(r.is_read_only() && !r.is_write_only());
        assert_eq!(r.value(), ValueId(9));
    }
}
