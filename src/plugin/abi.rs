//! The linker plugin interface, as C has it.
//!
//! In: nothing. Out: the types and numbers of the interface between a linker and its plugin, laid
//! out as C lays them out. No behaviour stands here.
//!
//! Source: the GCC wiki's "whopr/driver" page, which defines the interface, and the transfer
//! vectors of ld.bfd, ld.gold, mold and wild, which show which numbers are in use. The numbers
//! never change: a linker adds new tags behind the last.

use std::ffi::{c_char, c_int, c_void};

/// `ld_plugin_status`: what every call of the interface returns.
pub type Status = c_int;
/// The call succeeded.
pub const LDPS_OK: Status = 0;
/// The file is not in the link, so its symbols have no resolutions (`get_symbols` version 3).
pub const LDPS_NO_SYMS: Status = 1;
/// Any other failure.
pub const LDPS_ERR: Status = 3;

/// `ld_plugin_level`: how bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Level {
    /// For the user's information.
    Info = 0,
    /// The link goes on.
    Warning = 1,
    /// The link fails, but the linker may go on to find more errors.
    Error = 2,
    /// The linker exits at once (all but wild, where the call returns).
    Fatal = 3,
}

/// The tags of the transfer vector that we read. A linker may send others.
pub mod tag {
    use std::ffi::c_int;
    /// Ends the vector.
    pub const NULL: c_int = 0;
    /// Sent by ld.gold only; its value is the version.
    pub const GOLD_VERSION: c_int = 2;
    /// One of `super::output`.
    pub const LINKER_OUTPUT: c_int = 3;
    /// One `-plugin-opt`; sent once for each.
    pub const OPTION: c_int = 4;
    /// Takes our claim hook.
    pub const REGISTER_CLAIM_FILE_HOOK: c_int = 5;
    /// Takes the hook that does the link.
    pub const REGISTER_ALL_SYMBOLS_READ_HOOK: c_int = 6;
    /// Takes the hook called last.
    pub const REGISTER_CLEANUP_HOOK: c_int = 7;
    /// Takes the symbols of a claimed file.
    pub const ADD_SYMBOLS: c_int = 8;
    /// Resolutions, version 1: without PREVAILING_DEF_IRONLY_EXP.
    pub const GET_SYMBOLS: c_int = 9;
    /// Takes the path of an object for the link.
    pub const ADD_INPUT_FILE: c_int = 10;
    /// printf to the user.
    pub const MESSAGE: c_int = 11;
    /// Opens the file of a handle again.
    pub const GET_INPUT_FILE: c_int = 12;
    /// Gives back what GET_INPUT_FILE opened.
    pub const RELEASE_INPUT_FILE: c_int = 13;
    /// The output's path.
    pub const OUTPUT_NAME: c_int = 15;
    /// Takes a directory for library search.
    pub const SET_EXTRA_LIBRARY_PATH: c_int = 16;
    /// Sent by ld.bfd (and compatible linkers); its value is the version.
    pub const GNU_LD_VERSION: c_int = 17;
    /// A view of a claimed file's bytes.
    pub const GET_VIEW: c_int = 18;
    /// Resolutions, version 2.
    pub const GET_SYMBOLS_V2: c_int = 25;
    /// Resolutions, version 3: answers LDPS_NO_SYMS for files that are not in the link.
    pub const GET_SYMBOLS_V3: c_int = 28;
    /// The names given to --wrap.
    pub const GET_WRAP_SYMBOLS: c_int = 32;
    /// As ADD_SYMBOLS, and the symbol type and section kind are read.
    pub const ADD_SYMBOLS_V2: c_int = 33;
    /// Negotiates `super::api_version`.
    pub const GET_API_VERSION: c_int = 34;
    /// As REGISTER_CLAIM_FILE_HOOK, for a hook of three arguments.
    pub const REGISTER_CLAIM_FILE_HOOK_V2: c_int = 35;
}

/// `linker_api_version`: what the two sides promise each other.
pub mod api_version {
    use std::ffi::c_int;
    /// Nothing beyond the tags.
    pub const V0: c_int = 0;
    /// Symbols come by version 3 and 2 of the calls, claim hooks may run on several threads.
    pub const V1: c_int = 1;
}

/// `ld_plugin_output_file_type`.
pub mod output {
    use std::ffi::c_int;
    /// A relocatable object (`-r`).
    pub const REL: c_int = 0;
    /// An executable at a fixed address.
    pub const EXEC: c_int = 1;
    /// A shared object.
    pub const DYN: c_int = 2;
    /// A position-independent executable.
    pub const PIE: c_int = 3;
}

/// `ld_plugin_symbol_kind`, in [`Symbol::def`].
pub mod def {
    use std::ffi::c_char;
    /// A definition.
    pub const DEF: c_char = 0;
    /// A definition that another may replace.
    pub const WEAKDEF: c_char = 1;
    /// A reference.
    pub const UNDEF: c_char = 2;
    /// A reference that may stay unresolved.
    pub const WEAKUNDEF: c_char = 3;
    /// A common symbol; its size is given.
    pub const COMMON: c_char = 4;
}

/// `ld_plugin_symbol_visibility`. The numbers are not ELF's.
pub mod visibility {
    use std::ffi::c_int;
    /// STV_DEFAULT.
    pub const DEFAULT: c_int = 0;
    /// STV_PROTECTED.
    pub const PROTECTED: c_int = 1;
    /// STV_HIDDEN.
    pub const HIDDEN: c_int = 3;
}

/// `ld_plugin_symbol_type`, in [`Symbol::symbol_type`].
pub mod symbol_type {
    use std::ffi::c_char;
    /// Not known, as for symbols of assembly.
    pub const UNKNOWN: c_char = 0;
    /// A function.
    pub const FUNCTION: c_char = 1;
    /// A variable.
    pub const VARIABLE: c_char = 2;
}

/// `ld_plugin_symbol_section_kind`, in [`Symbol::section_kind`].
pub mod section_kind {
    use std::ffi::c_char;
    /// Any that has contents.
    pub const DEFAULT: c_char = 0;
    /// Zeros without contents in the file.
    pub const BSS: c_char = 1;
}

/// `ld_plugin_symbol_resolution`: what the linker made of a symbol.
pub mod resolution {
    use std::ffi::c_int;
    /// Not resolved (yet).
    pub const UNKNOWN: c_int = 0;
    /// Still undefined.
    pub const UNDEF: c_int = 1;
    /// This definition, and native code refers to it.
    pub const PREVAILING_DEF: c_int = 2;
    /// This definition, and only bitcode refers to it.
    pub const PREVAILING_DEF_IRONLY: c_int = 3;
    /// A native definition took the place of this one.
    pub const PREEMPTED_REG: c_int = 4;
    /// Another bitcode definition took the place of this one.
    pub const PREEMPTED_IR: c_int = 5;
    /// Undefined here, defined in bitcode.
    pub const RESOLVED_IR: c_int = 6;
    /// Undefined here, defined in a native object.
    pub const RESOLVED_EXEC: c_int = 7;
    /// Undefined here, defined in a shared library.
    pub const RESOLVED_DYN: c_int = 8;
    /// This definition, only bitcode refers to it, and it will be in the dynamic symbol table.
    pub const PREVAILING_DEF_IRONLY_EXP: c_int = 9;
}

/// `ld_plugin_input_file`: a file that the linker offers.
#[repr(C)]
pub struct InputFile {
    /// The path, an archive's for a member (ld.bfd: the member's name).
    pub name: *const c_char,
    /// A descriptor open for reading, where the linker has one.
    pub fd: c_int,
    /// Where in the file, in bytes: not 0 for a member.
    pub offset: libc::off_t,
    /// How long it is there, in bytes.
    pub filesize: libc::off_t,
    /// The linker's name for it in later calls.
    pub handle: *mut c_void,
}

/// `ld_plugin_symbol`.
///
/// Interfaces before 2020 had an int `def` where the four bytes stand; on little-endian hosts
/// the low byte is at the same place and the rest are zero for those who set nothing else. On a
/// big-endian host they stand the other way round.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// The linker's name for it.
    pub name: *mut c_char,
    /// A symbol version, or null. LLVM's plugin gives none: versions stand in the names.
    pub version: *mut c_char,
    #[cfg(target_endian = "big")]
    /// Zero.
    pub unused: c_char,
    #[cfg(target_endian = "big")]
    /// See [`section_kind`].
    pub section_kind: c_char,
    #[cfg(target_endian = "big")]
    /// See [`symbol_type`].
    pub symbol_type: c_char,
    /// See [`def`].
    pub def: c_char,
    #[cfg(target_endian = "little")]
    /// See [`symbol_type`].
    pub symbol_type: c_char,
    #[cfg(target_endian = "little")]
    /// See [`section_kind`].
    pub section_kind: c_char,
    #[cfg(target_endian = "little")]
    /// Zero.
    pub unused: c_char,
    /// See [`visibility`].
    pub visibility: c_int,
    /// Bytes, for common symbols.
    pub size: u64,
    /// The name of its comdat group, or null.
    pub comdat_key: *mut c_char,
    /// See [`resolution`]; the linker writes it.
    pub resolution: c_int,
}

impl Symbol {
    /// A symbol with nothing but zeros and null pointers in it.
    pub const EMPTY: Symbol = Symbol {
        name: std::ptr::null_mut(),
        version: std::ptr::null_mut(),
        def: 0,
        symbol_type: 0,
        section_kind: 0,
        unused: 0,
        visibility: 0,
        size: 0,
        comdat_key: std::ptr::null_mut(),
        resolution: 0,
    };
}

/// The claim hook. Sets `claimed` to 1 where the file is ours.
pub type ClaimFileHandler =
    unsafe extern "C" fn(file: *const InputFile, claimed: *mut c_int) -> Status;
/// The claim hook, version 2: the last argument says that the file is surely in the link.
pub type ClaimFileHandlerV2 =
    unsafe extern "C" fn(file: *const InputFile, claimed: *mut c_int, known_used: c_int) -> Status;
/// The all-symbols-read and the cleanup hook.
pub type Handler = unsafe extern "C" fn() -> Status;

/// `ld_plugin_register_claim_file`.
pub type RegisterClaimFile = unsafe extern "C" fn(ClaimFileHandler) -> Status;
/// `ld_plugin_register_claim_file_v2`.
pub type RegisterClaimFileV2 = unsafe extern "C" fn(ClaimFileHandlerV2) -> Status;
/// `ld_plugin_register_all_symbols_read` and `ld_plugin_register_cleanup`.
pub type RegisterHandler = unsafe extern "C" fn(Handler) -> Status;
/// `ld_plugin_add_symbols`. ld.gold keeps the pointers until the link ends, binutils' bfd as
/// long as the file is open, which is after it unloads the plugin.
pub type AddSymbols = unsafe extern "C" fn(*mut c_void, c_int, *const Symbol) -> Status;
/// `ld_plugin_get_symbols`: fills in the resolutions.
pub type GetSymbols = unsafe extern "C" fn(*const c_void, c_int, *mut Symbol) -> Status;
/// `ld_plugin_add_input_file` and `ld_plugin_set_extra_library_path`.
pub type TakePath = unsafe extern "C" fn(*const c_char) -> Status;
/// `ld_plugin_message`.
pub type Message = unsafe extern "C" fn(c_int, *const c_char, ...) -> Status;
/// `ld_plugin_get_input_file`.
pub type GetInputFile = unsafe extern "C" fn(*const c_void, *mut InputFile) -> Status;
/// `ld_plugin_release_input_file`.
pub type ReleaseInputFile = unsafe extern "C" fn(*const c_void) -> Status;
/// `ld_plugin_get_view`.
pub type GetView = unsafe extern "C" fn(*const c_void, *mut *const c_void) -> Status;
/// `ld_plugin_get_wrap_symbols`.
pub type GetWrapSymbols = unsafe extern "C" fn(*mut u64, *mut *const *const c_char) -> Status;
/// `ld_plugin_get_api_version`: our name and version, the least and the most we speak, and where
/// to put the linker's name and version. Answers the version spoken.
pub type GetApiVersion = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    c_int,
    c_int,
    *mut *const c_char,
    *mut *const c_char,
) -> c_int;

/// The value of a transfer vector entry; the tag says which member it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Value {
    /// GOLD_VERSION, GNU_LD_VERSION, LINKER_OUTPUT.
    pub int: c_int,
    /// OPTION, OUTPUT_NAME.
    pub string: *const c_char,
    /// REGISTER_CLAIM_FILE_HOOK.
    pub register_claim_file: Option<RegisterClaimFile>,
    /// REGISTER_CLAIM_FILE_HOOK_V2.
    pub register_claim_file_v2: Option<RegisterClaimFileV2>,
    /// REGISTER_ALL_SYMBOLS_READ_HOOK, REGISTER_CLEANUP_HOOK.
    pub register_handler: Option<RegisterHandler>,
    /// ADD_SYMBOLS, ADD_SYMBOLS_V2.
    pub add_symbols: Option<AddSymbols>,
    /// GET_SYMBOLS in its three versions.
    pub get_symbols: Option<GetSymbols>,
    /// ADD_INPUT_FILE, SET_EXTRA_LIBRARY_PATH.
    pub take_path: Option<TakePath>,
    /// MESSAGE.
    pub message: Option<Message>,
    /// GET_INPUT_FILE.
    pub get_input_file: Option<GetInputFile>,
    /// RELEASE_INPUT_FILE.
    pub release_input_file: Option<ReleaseInputFile>,
    /// GET_VIEW.
    pub get_view: Option<GetView>,
    /// GET_WRAP_SYMBOLS.
    pub get_wrap_symbols: Option<GetWrapSymbols>,
    /// GET_API_VERSION.
    pub get_api_version: Option<GetApiVersion>,
}

/// `ld_plugin_tv`: one entry of the transfer vector.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TransferVector {
    /// See [`tag`].
    pub tag: c_int,
    /// What comes with it.
    pub value: Value,
}
