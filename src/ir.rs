//! The vocabulary of LLVM IR that every later layer speaks.
//!
//! In: nothing. Out: small plain types under LLVM's names. Codes that a file may hold and that we
//! do not know survive as numbers where the format allows new ones.
//!
//! Source of the codes: LLVM's `BitcodeReader.cpp` (`getDecodedLinkage` and its neighbours) and
//! `GlobalValue.h`, the same from LLVM 14 to 22.

/// A global identifier's hash: the low 64 bits of the MD5 of its name (see `guid_of_name`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u64);

/// The SHA-1 of a module's bitcode, as five big-endian words; all zero where the file has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleHash(pub [u32; 5]);

/// `GlobalValue::LinkageTypes`, in LLVM's order (also the order of `LTO` tables and summaries).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the LangRef's words
pub enum Linkage {
    External = 0,
    AvailableExternally = 1,
    LinkOnceAny = 2,
    LinkOnceOdr = 3,
    WeakAny = 4,
    WeakOdr = 5,
    Appending = 6,
    Internal = 7,
    Private = 8,
    ExternalWeak = 9,
    Common = 10,
}

impl Linkage {
    /// Decodes the linkage field of a global's record; unknown codes are external, as in LLVM.
    /// Codes 1, 4, 10 and 11 are older weak and linkonce forms that implied a comdat.
    pub fn from_record(code: u64) -> Self {
        match code {
            2 => Linkage::Appending,
            3 => Linkage::Internal,
            5 | 6 => Linkage::External,
            7 => Linkage::ExternalWeak,
            8 => Linkage::Common,
            9 | 13 | 14 => Linkage::Private,
            12 => Linkage::AvailableExternally,
            1 | 16 => Linkage::WeakAny,
            10 | 17 => Linkage::WeakOdr,
            4 | 18 => Linkage::LinkOnceAny,
            11 | 19 => Linkage::LinkOnceOdr,
            _ => Linkage::External,
        }
    }

    /// The code that LLVM's writer gives this linkage in a global's record.
    pub fn to_record(self) -> u64 {
        match self {
            Linkage::External => 0,
            Linkage::Appending => 2,
            Linkage::Internal => 3,
            Linkage::ExternalWeak => 7,
            Linkage::Common => 8,
            Linkage::Private => 9,
            Linkage::AvailableExternally => 12,
            Linkage::WeakAny => 16,
            Linkage::WeakOdr => 17,
            Linkage::LinkOnceAny => 18,
            Linkage::LinkOnceOdr => 19,
        }
    }

    /// Whether the record code is one of the older forms for which the reader makes a comdat of
    /// the symbol's own name (`hasImplicitComdat`).
    pub fn code_implies_comdat(code: u64) -> bool {
        matches!(code, 1 | 4 | 10 | 11)
    }

    /// Whether the record code is one of the former dllimport/dllexport linkages.
    pub fn code_implies_dll_storage(code: u64) -> Option<DllStorage> {
        match code {
            5 => Some(DllStorage::Import),
            6 => Some(DllStorage::Export),
            _ => None,
        }
    }

    /// Internal or private: the name means nothing outside its module.
    pub fn is_local(self) -> bool {
        matches!(self, Linkage::Internal | Linkage::Private)
    }

    /// A definition that another may replace at link time by name, weak or linkonce or common.
    pub fn is_weak_for_linker(self) -> bool {
        matches!(
            self,
            Linkage::WeakAny
                | Linkage::WeakOdr
                | Linkage::LinkOnceAny
                | Linkage::LinkOnceOdr
                | Linkage::Common
                | Linkage::ExternalWeak
        )
    }

    /// May be dropped when nothing refers to it (`isDiscardableIfUnused`).
    pub fn is_discardable_if_unused(self) -> bool {
        matches!(
            self,
            Linkage::LinkOnceAny
                | Linkage::LinkOnceOdr
                | Linkage::Internal
                | Linkage::Private
                | Linkage::AvailableExternally
        )
    }

    /// The definition seen may not be the one that runs (`isInterposableLinkage`).
    pub fn is_interposable(self) -> bool {
        matches!(
            self,
            Linkage::WeakAny | Linkage::LinkOnceAny | Linkage::Common | Linkage::ExternalWeak
        )
    }

    /// linkonce, either kind.
    pub fn is_linkonce(self) -> bool {
        matches!(self, Linkage::LinkOnceAny | Linkage::LinkOnceOdr)
    }

    /// weak, either kind.
    pub fn is_weak(self) -> bool {
        matches!(self, Linkage::WeakAny | Linkage::WeakOdr)
    }

    /// weak_odr or linkonce_odr: all copies mean the same.
    pub fn is_odr(self) -> bool {
        matches!(self, Linkage::WeakOdr | Linkage::LinkOnceOdr)
    }
}

/// `GlobalValue::VisibilityTypes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the LangRef's words
pub enum Visibility {
    #[default]
    Default = 0,
    Hidden = 1,
    Protected = 2,
}

impl Visibility {
    /// Decodes the record field; unknown codes are default, as in LLVM.
    pub fn from_record(code: u64) -> Self {
        match code {
            1 => Visibility::Hidden,
            2 => Visibility::Protected,
            _ => Visibility::Default,
        }
    }
}

/// `GlobalValue::DLLStorageClassTypes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the LangRef's words
pub enum DllStorage {
    #[default]
    None = 0,
    Import = 1,
    Export = 2,
}

impl DllStorage {
    /// Decodes the record field; unknown codes are none, as in LLVM.
    pub fn from_record(code: u64) -> Self {
        match code {
            1 => DllStorage::Import,
            2 => DllStorage::Export,
            _ => DllStorage::None,
        }
    }
}

/// `GlobalValue::UnnamedAddr`: how much a symbol's address matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the LangRef's words
pub enum UnnamedAddr {
    #[default]
    None = 0,
    Local = 1,
    Global = 2,
}

impl UnnamedAddr {
    /// Decodes the record field, in which 1 is global and 2 is local.
    pub fn from_record(code: u64) -> Self {
        match code {
            1 => UnnamedAddr::Global,
            2 => UnnamedAddr::Local,
            _ => UnnamedAddr::None,
        }
    }
}

/// `Comdat::SelectionKind`, in LLVM's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the LangRef's words
pub enum SelectionKind {
    #[default]
    Any = 0,
    ExactMatch = 1,
    Largest = 2,
    NoDeduplicate = 3,
    SameSize = 4,
}

impl SelectionKind {
    /// Decodes a COMDAT record's kind, whose codes start at 1; unknown ones are any, as in LLVM.
    pub fn from_record(code: u64) -> Self {
        match code {
            2 => SelectionKind::ExactMatch,
            3 => SelectionKind::Largest,
            4 => SelectionKind::NoDeduplicate,
            5 => SelectionKind::SameSize,
            _ => SelectionKind::Any,
        }
    }
}

/// `Reloc::Model`, as far as LTO uses it: how code refers to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RelocModel {
    /// Addresses are known when linking; `static`.
    Static = 0,
    /// Code may be loaded anywhere; `pic`.
    Pic = 1,
    /// As static, but references to other modules may be dynamic (Mach-O); `dynamic-no-pic`.
    DynamicNoPic = 2,
}

impl RelocModel {
    /// By the word of LLVM's `-relocation-model`.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "static" => Some(RelocModel::Static),
            "pic" => Some(RelocModel::Pic),
            "dynamic-no-pic" => Some(RelocModel::DynamicNoPic),
            _ => None,
        }
    }
}

/// `CodeModel::Model`: how far apart code and data may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the words of LLVM's -code-model
pub enum CodeModel {
    Tiny = 0,
    Small = 1,
    Kernel = 2,
    Medium = 3,
    Large = 4,
}

impl CodeModel {
    /// By the word of LLVM's `-code-model`.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "tiny" => Some(CodeModel::Tiny),
            "small" => Some(CodeModel::Small),
            "kernel" => Some(CodeModel::Kernel),
            "medium" => Some(CodeModel::Medium),
            "large" => Some(CodeModel::Large),
            _ => None,
        }
    }
}
