//! The functions of LLVM's C API, looked up by name in a library loaded at run time.
//!
//! In: the path of a libLLVM. Out: a table of function pointers. This file knows their types (from
//! llvm-c/*.h) and in which versions they exist, not how they are used.
//!
//! The library is loaded with `RTLD_LOCAL`, so several libLLVMs of different versions can live in
//! one process, and is never unloaded: LLVM registers destructors and keeps global state.
//!
//! What not every version from 14 on has, and what is done without it:
//!
//! | function | versions | without it |
//! |---|---|---|
//! | `LLVMGetVersion` | 16 and later | the version in the file's name |
//! | `LLVMSetTargetMachineMachineOutliner` | 17 and later | `target` finds TargetOptions by its default values |
//! | `LLVMPassBuilderOptionsSetAAPipeline` | 22 (19 has it not) | an error, for whoever names one |
//! | `enableDebugTypeODRUniquing` (C++, exported by all that were tried) | 14 and later | larger DWARF, the same code |
//! | `Linker::linkInModule` (C++, exported by all that were tried) | 14 and later | `LLVMLinkModules2`, slower |
//! | `setDiagnosticHandlerCallBack` (C++, as above) | 14 and later | `-pass-remarks=X` prints all |
//! | `setupLLVMOptimizationRemarks` (C++, as above) | 14 and later | no files of remarks (`remarks`) |
//! | `IRMover::move` (C++, exported by all that were tried) | 14 and later | no regular LTO of resolutions (`mover`) |
//! | `embedBitcodeInModule` (C++, exported by all that were tried) | 14 and later | no `-lto-embed-bitcode` (`embed`) |
//! | `SplitModule` (C++, exported by all that were tried) | 14 and later | no partitions (`partitions`) |
//!
//! Signatures are the same in all these versions. `LLVMBool` is an int, enums are ints.

#![allow(unsafe_code)]

use super::embed::Buffer;
use super::initializers::initialize_targets;
use super::libcalls::{Libcalls, Twine};
use super::mover::{InMemory, Move, Values};
use super::partitions::Callback;
use super::remarks::{Number, SetUp, Text};
use super::target::OptionBits;
use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;
use std::sync::OnceLock;

/// Distinct pointer types, so that a module cannot be passed for a value.
macro_rules! opaque {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        $($(#[$meta])* pub(super) enum $name {})*
    };
}

opaque! {
    Context, Module, Value, Type, MemoryBuffer, Target, TargetMachine, TargetData,
    PassBuilderOptions, ErrorInfo, DiagnosticInfo, Metadata, MetadataEntries, Attribute, Comdat, Use,
    BasicBlock,
}

/// Called by LLVM for each diagnostic, with the pointer given when it was installed.
pub(super) type DiagnosticHandler = unsafe extern "C" fn(*mut DiagnosticInfo, *mut c_void);
/// Called by LLVM instead of ending the process; must not return.
pub(super) type FatalErrorHandler = unsafe extern "C" fn(*const c_char);

macro_rules! functions {
    (
        required { $($name:ident: fn($($arg:ty),* $(,)?) $(-> $ret:ty)?;)* }
        optional { $($opt:ident: fn($($opt_arg:ty),* $(,)?) $(-> $opt_ret:ty)?;)* }
    ) => {
        /// The functions of one loaded libLLVM, under LLVM's names.
        #[allow(non_snake_case)]
        pub(super) struct Functions {
            $(pub(super) $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            $(pub(super) $opt: Option<unsafe extern "C" fn($($opt_arg),*) $(-> $opt_ret)?>,)*
        }

        impl Functions {
            fn look_up(find: impl Fn(&CStr) -> *mut c_void) -> Result<Functions> {
                let name = |name: &str| CString::new(name).unwrap_or_default();
                let required = |text: &str| {
                    let found = find(&name(text));
                    if found.is_null() {
                        return Err(Error::unsupported(format!("it lacks the function {text}")));
                    }
                    Ok(found)
                };
                Ok(Functions {
                    $($name: {
                        let found = required(stringify!($name))?;
                        // SAFETY: not null, and a function that LLVM exports under this name has
                        // this type (llvm-c/*.h of LLVM 14 to 22).
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($arg),*) $(-> $ret)?,
                            >(found)
                        }
                    },)*
                    $($opt: {
                        let found = find(&name(stringify!($opt)));
                        // SAFETY: as above; null becomes None.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                Option<unsafe extern "C" fn($($opt_arg),*) $(-> $opt_ret)?>,
                            >(found)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    required {
        // Core.h: context and diagnostics
        LLVMContextCreate: fn() -> *mut Context;
        LLVMContextDispose: fn(*mut Context);
        LLVMContextSetDiagnosticHandler:
            fn(*mut Context, Option<DiagnosticHandler>, *mut c_void);
        LLVMContextSetDiscardValueNames: fn(*mut Context, c_int);
        LLVMGetDiagInfoDescription: fn(*mut DiagnosticInfo) -> *mut c_char;
        LLVMGetDiagInfoSeverity: fn(*mut DiagnosticInfo) -> c_int;
        LLVMDisposeMessage: fn(*mut c_char);
        // Core.h: memory buffers
        LLVMCreateMemoryBufferWithMemoryRange:
            fn(*const c_char, usize, *const c_char, c_int) -> *mut MemoryBuffer;
        LLVMGetBufferStart: fn(*mut MemoryBuffer) -> *const c_char;
        LLVMGetBufferSize: fn(*mut MemoryBuffer) -> usize;
        LLVMDisposeMemoryBuffer: fn(*mut MemoryBuffer);
        // Core.h: modules
        LLVMModuleCreateWithNameInContext: fn(*const c_char, *mut Context) -> *mut Module;
        LLVMDisposeModule: fn(*mut Module);
        LLVMGetTarget: fn(*mut Module) -> *const c_char;
        LLVMSetTarget: fn(*mut Module, *const c_char);
        LLVMGetDataLayoutStr: fn(*mut Module) -> *const c_char;
        LLVMSetModuleIdentifier: fn(*mut Module, *const c_char, usize);
        LLVMSetSourceFileName: fn(*mut Module, *const c_char, usize);
        LLVMGetModuleFlag: fn(*mut Module, *const c_char, usize) -> *mut Metadata;
        LLVMMDStringInContext2: fn(*mut Context, *const c_char, usize) -> *mut Metadata;
        LLVMMDNodeInContext2: fn(*mut Context, *mut *mut Metadata, usize) -> *mut Metadata;
        LLVMGetMDKindIDInContext: fn(*mut Context, *const c_char, c_uint) -> c_uint;
        LLVMGlobalSetMetadata: fn(*mut Value, c_uint, *mut Metadata);
        LLVMGetMDString: fn(*mut Value, *mut c_uint) -> *const c_char;
        LLVMMetadataAsValue: fn(*mut Context, *mut Metadata) -> *mut Value;
        // Core.h: global values
        LLVMGetFirstFunction: fn(*mut Module) -> *mut Value;
        LLVMGetNextFunction: fn(*mut Value) -> *mut Value;
        LLVMGetFirstGlobal: fn(*mut Module) -> *mut Value;
        LLVMGetNextGlobal: fn(*mut Value) -> *mut Value;
        LLVMGetFirstGlobalAlias: fn(*mut Module) -> *mut Value;
        LLVMGetNextGlobalAlias: fn(*mut Value) -> *mut Value;
        LLVMGetFirstGlobalIFunc: fn(*mut Module) -> *mut Value;
        LLVMGetNextGlobalIFunc: fn(*mut Value) -> *mut Value;
        LLVMGetNamedFunction: fn(*mut Module, *const c_char) -> *mut Value;
        LLVMGetNamedGlobal: fn(*mut Module, *const c_char) -> *mut Value;
        LLVMGetNamedGlobalAlias: fn(*mut Module, *const c_char, usize) -> *mut Value;
        LLVMGetNamedGlobalIFunc: fn(*mut Module, *const c_char, usize) -> *mut Value;
        LLVMGetValueName2: fn(*mut Value, *mut usize) -> *const c_char;
        LLVMIsDeclaration: fn(*mut Value) -> c_int;
        LLVMGetLinkage: fn(*mut Value) -> c_int;
        LLVMSetLinkage: fn(*mut Value, c_int);
        LLVMGetVisibility: fn(*mut Value) -> c_int;
        LLVMSetVisibility: fn(*mut Value, c_int);
        LLVMGlobalGetValueType: fn(*mut Value) -> *mut Type;
        LLVMReplaceAllUsesWith: fn(*mut Value, *mut Value);
        LLVMSetValueName2: fn(*mut Value, *const c_char, usize);
        LLVMConstNull: fn(*mut Type) -> *mut Value;
        LLVMGetSection: fn(*mut Value) -> *const c_char;
        LLVMSetSection: fn(*mut Value, *const c_char);
        LLVMSetAlignment: fn(*mut Value, c_uint);
        LLVMAliasGetAliasee: fn(*mut Value) -> *mut Value;
        LLVMGetInitializer: fn(*mut Value) -> *mut Value;
        LLVMSetInitializer: fn(*mut Value, *mut Value);
        LLVMSetGlobalConstant: fn(*mut Value, c_int);
        LLVMAddGlobal: fn(*mut Module, *mut Type, *const c_char) -> *mut Value;
        LLVMDeleteGlobal: fn(*mut Value);
        LLVMSetUnnamedAddress: fn(*mut Value, c_int);
        LLVMDeleteFunction: fn(*mut Value);
        LLVMGetFirstUse: fn(*mut Value) -> *mut Use;
        LLVMGetNextUse: fn(*mut Use) -> *mut Use;
        LLVMGetUser: fn(*mut Use) -> *mut Value;
        LLVMLookupIntrinsicID: fn(*const c_char, usize) -> c_uint;
        LLVMGetIntrinsicDeclaration: fn(*mut Module, c_uint, *mut *mut Type, usize) -> *mut Value;
        LLVMInstructionEraseFromParent: fn(*mut Value);
        LLVMSetTailCall: fn(*mut Value, c_int);
        LLVMGetFirstBasicBlock: fn(*mut Value) -> *mut BasicBlock;
        LLVMGetNextBasicBlock: fn(*mut BasicBlock) -> *mut BasicBlock;
        LLVMGetFirstInstruction: fn(*mut BasicBlock) -> *mut Value;
        LLVMGetNextInstruction: fn(*mut Value) -> *mut Value;
        LLVMGetInstructionOpcode: fn(*mut Value) -> c_int;
        LLVMRemoveCallSiteStringAttribute: fn(*mut Value, c_uint, *const c_char, c_uint);
        LLVMSetMetadata: fn(*mut Value, c_uint, *mut Value);
        LLVMGlobalClearMetadata: fn(*mut Value);
        LLVMIsAGlobalVariable: fn(*mut Value) -> *mut Value;
        LLVMGetComdat: fn(*mut Value) -> *mut Comdat;
        LLVMSetComdat: fn(*mut Value, *mut Comdat);
        // Core.h: values, constants, types
        LLVMTypeOf: fn(*mut Value) -> *mut Type;
        LLVMIsNull: fn(*mut Value) -> c_int;
        LLVMIsAFunction: fn(*mut Value) -> *mut Value;
        LLVMIsAGlobalObject: fn(*mut Value) -> *mut Value;
        LLVMIsAConstantInt: fn(*mut Value) -> *mut Value;
        LLVMIsAConstantExpr: fn(*mut Value) -> *mut Value;
        LLVMGetNumOperands: fn(*mut Value) -> c_int;
        LLVMGetOperand: fn(*mut Value, c_uint) -> *mut Value;
        LLVMInt64TypeInContext: fn(*mut Context) -> *mut Type;
        LLVMValueAsMetadata: fn(*mut Value) -> *mut Metadata;
        LLVMGlobalCopyAllMetadata: fn(*mut Value, *mut usize) -> *mut MetadataEntries;
        LLVMValueMetadataEntriesGetKind: fn(*mut MetadataEntries, c_uint) -> c_uint;
        LLVMValueMetadataEntriesGetMetadata: fn(*mut MetadataEntries, c_uint) -> *mut Metadata;
        LLVMDisposeValueMetadataEntries: fn(*mut MetadataEntries);
        LLVMSetOperand: fn(*mut Value, c_uint, *mut Value);
        LLVMConstInt: fn(*mut Type, c_ulonglong, c_int) -> *mut Value;
        LLVMConstIntGetZExtValue: fn(*mut Value) -> c_ulonglong;
        LLVMConstPointerCast: fn(*mut Value, *mut Type) -> *mut Value;
        LLVMConstArray: fn(*mut Type, *mut *mut Value, c_uint) -> *mut Value;
        LLVMArrayType: fn(*mut Type, c_uint) -> *mut Type;
        LLVMPointerType: fn(*mut Type, c_uint) -> *mut Type;
        LLVMInt8TypeInContext: fn(*mut Context) -> *mut Type;
        // Core.h: attributes
        LLVMGetEnumAttributeKindForName: fn(*const c_char, usize) -> c_uint;
        LLVMCreateEnumAttribute: fn(*mut Context, c_uint, u64) -> *mut Attribute;
        LLVMAddAttributeAtIndex: fn(*mut Value, c_uint, *mut Attribute);
        LLVMCreateStringAttribute:
            fn(*mut Context, *const c_char, c_uint, *const c_char, c_uint) -> *mut Attribute;
        LLVMGetStringAttributeAtIndex:
            fn(*mut Value, c_uint, *const c_char, c_uint) -> *mut Attribute;
        LLVMRemoveStringAttributeAtIndex: fn(*mut Value, c_uint, *const c_char, c_uint);
        // Analysis.h, DebugInfo.h, BitReader.h, BitWriter.h, Linker.h
        LLVMVerifyModule: fn(*mut Module, c_int, *mut *mut c_char) -> c_int;
        LLVMStripModuleDebugInfo: fn(*mut Module) -> c_int;
        LLVMParseBitcodeInContext2:
            fn(*mut Context, *mut MemoryBuffer, *mut *mut Module) -> c_int;
        LLVMWriteBitcodeToMemoryBuffer: fn(*mut Module) -> *mut MemoryBuffer;
        LLVMLinkModules2: fn(*mut Module, *mut Module) -> c_int;
        // IRReader.h: the self-test of `target` is a text
        LLVMParseIRInContext:
            fn(*mut Context, *mut MemoryBuffer, *mut *mut Module, *mut *mut c_char) -> c_int;
        // Target.h, TargetMachine.h
        LLVMGetDefaultTargetTriple: fn() -> *mut c_char;
        LLVMGetTargetFromTriple:
            fn(*const c_char, *mut *mut Target, *mut *mut c_char) -> c_int;
        LLVMCreateTargetMachine: fn(
            *mut Target, *const c_char, *const c_char, *const c_char, c_int, c_int, c_int,
        ) -> *mut TargetMachine;
        LLVMDisposeTargetMachine: fn(*mut TargetMachine);
        LLVMTargetMachineEmitToMemoryBuffer: fn(
            *mut TargetMachine, *mut Module, c_int, *mut *mut c_char, *mut *mut MemoryBuffer,
        ) -> c_int;
        LLVMCreateTargetDataLayout: fn(*mut TargetMachine) -> *mut TargetData;
        LLVMGetModuleDataLayout: fn(*mut Module) -> *mut TargetData;
        LLVMABISizeOfType: fn(*mut TargetData, *mut Type) -> c_ulonglong;
        LLVMSetTargetMachineAsmVerbosity: fn(*mut TargetMachine, c_int);
        LLVMDisposeTargetData: fn(*mut TargetData);
        LLVMSetModuleDataLayout: fn(*mut Module, *mut TargetData);
        // Transforms/PassBuilder.h, Error.h
        LLVMCreatePassBuilderOptions: fn() -> *mut PassBuilderOptions;
        LLVMDisposePassBuilderOptions: fn(*mut PassBuilderOptions);
        LLVMPassBuilderOptionsSetLoopVectorization: fn(*mut PassBuilderOptions, c_int);
        LLVMPassBuilderOptionsSetSLPVectorization: fn(*mut PassBuilderOptions, c_int);
        LLVMPassBuilderOptionsSetDebugLogging: fn(*mut PassBuilderOptions, c_int);
        LLVMPassBuilderOptionsSetVerifyEach: fn(*mut PassBuilderOptions, c_int);
        LLVMPassBuilderOptionsSetMergeFunctions: fn(*mut PassBuilderOptions, c_int);
        LLVMRunPasses: fn(
            *mut Module, *const c_char, *mut TargetMachine, *mut PassBuilderOptions,
        ) -> *mut ErrorInfo;
        LLVMGetErrorMessage: fn(*mut ErrorInfo) -> *mut c_char;
        LLVMDisposeErrorMessage: fn(*mut c_char);
        // Support.h, ErrorHandling.h
        LLVMParseCommandLineOptions: fn(c_int, *const *const c_char, *const c_char);
        LLVMInstallFatalErrorHandler: fn(Option<FatalErrorHandler>);
        LLVMShutdown: fn();
    }
    optional {
        LLVMGetVersion: fn(*mut c_uint, *mut c_uint, *mut c_uint);
        LLVMSetTargetMachineMachineOutliner: fn(*mut TargetMachine, c_int);
        LLVMPassBuilderOptionsSetAAPipeline: fn(*mut PassBuilderOptions, *const c_char);
        _ZN4llvm11LLVMContext26enableDebugTypeODRUniquingEv: fn(*mut Context);
        // LLVMContext.h: as LLVMContextSetDiagnosticHandler, and whether `-pass-remarks` chooses
        _ZN4llvm11LLVMContext28setDiagnosticHandlerCallBackEPFvPKNS_14DiagnosticInfoEPvES4_b:
            fn(*mut Context, Option<DiagnosticHandler>, *mut c_void, bool);
        _ZN4llvm11LLVMContext28setDiagnosticHandlerCallBackEPFvRKNS_14DiagnosticInfoEPvES4_b:
            fn(*mut Context, Option<DiagnosticHandler>, *mut c_void, bool);
        // Linker.h, MemAlloc.h: see `composite`
        _ZN4llvm6LinkerC1ERNS_6ModuleE: fn(*mut c_void, *mut Module);
        _ZN4llvm6Linker12linkInModuleESt10unique_ptrINS_6ModuleESt14default_deleteIS2_EEjSt8functionIFvRS2_RKNS_9StringSetINS_15MallocAllocatorEEEEE:
            fn(*mut c_void, *mut *mut Module, c_uint, *mut c_void) -> bool;
        // llvm/PassRegistry.h, llvm/Analysis/TargetLibraryInfo.h
        _ZN4llvm12PassRegistry15getPassRegistryEv: fn() -> *mut c_void;
        _ZNK4llvm12PassRegistry11getPassInfoEPKv:
            fn(*const c_void, *const c_void) -> *const c_void;
        _ZN4llvm42initializeTargetLibraryInfoWrapperPassPassERNS_12PassRegistryE: fn(*mut c_void);
        _ZN4llvm28TargetLibraryInfoWrapperPassC1ERKNS_6TripleE: fn(*mut c_void, *const c_void);
        _ZN4llvm6TripleC1ERKNS_5TwineE: fn(*mut c_void, *const Twine);
        _ZN4llvm17deallocate_bufferEPvmm: fn(*mut c_void, usize, usize);
        // Remarks: see `remarks`
        _ZN4llvm14raw_fd_ostreamC1EibbNS_11raw_ostream11OStreamKindE:
            fn(*mut c_void, c_int, bool, bool, c_int);
        _ZN4llvm14raw_fd_ostreamD1Ev: fn(*mut c_void);
        _ZN4llvm11raw_ostream14flush_nonemptyEv: fn(*mut c_void);
        _ZN4llvm28setupLLVMOptimizationRemarksERNS_11LLVMContextERNS_11raw_ostreamENS_9StringRefES4_bSt8optionalImE:
            fn(*mut Context, *mut c_void, Text, Text, bool, Number) -> InMemory;
        _ZN4llvm28setupLLVMOptimizationRemarksERNS_11LLVMContextERNS_11raw_ostreamENS_9StringRefES4_bNS_8OptionalImEE:
            fn(*mut Context, *mut c_void, Text, Text, bool, Number) -> InMemory;
        _ZN4llvm31finalizeLLVMOptimizationRemarksERNS_11LLVMContextE: fn(*mut Context);
        // IRMover.h: see `mover`
        _ZN4llvm7IRMover4moveESt10unique_ptrINS_6ModuleESt14default_deleteIS2_EENS_8ArrayRefIPNS_11GlobalValueEEENS_15unique_functionIFvRS7_St8functionIFvSB_EEEEEb:
            fn(*mut c_void, *mut *mut Module, Values, *mut c_void, bool) -> InMemory;
        _ZN4llvm7IRMover4moveESt10unique_ptrINS_6ModuleESt14default_deleteIS2_EENS_8ArrayRefIPNS_11GlobalValueEEESt8functionIFvRS7_SA_IFvSB_EEEEb:
            fn(*mut c_void, *mut *mut Module, Values, *mut c_void, bool) -> InMemory;
        // BitcodeWriter.h: see `embed`
        _ZN4llvm20embedBitcodeInModuleERNS_6ModuleENS_15MemoryBufferRefEbbRKSt6vectorIhSaIhEE:
            fn(*mut Module, Buffer, bool, bool, *const c_void);
        // SplitModule.h: see `partitions`
        _ZN4llvm11SplitModuleERNS_6ModuleEjNS_12function_refIFvSt10unique_ptrIS0_St14default_deleteIS0_EEEEEbb:
            fn(*mut Module, c_uint, Callback, bool, bool);
        _ZN4llvm11SplitModuleERNS_6ModuleEjNS_12function_refIFvSt10unique_ptrIS0_St14default_deleteIS0_EEEEEb:
            fn(*mut Module, c_uint, Callback, bool);
    }
}

/// A loaded libLLVM.
pub(super) struct Api {
    pub(super) f: Functions,
    /// The version that the library reports, or else the one that its name was said to have.
    pub(super) version: (u32, u32, u32),
    /// Where `TargetOptions` keeps what the C API cannot set; found at the first need.
    pub(super) option_bits: OnceLock<OptionBits>,
    /// Where a target machine keeps from which size on data are large; found at the first need.
    pub(super) large_data: OnceLock<Option<usize>>,
    /// Where it keeps which debugger it is to please; found at the first need.
    pub(super) debugger: OnceLock<Option<usize>>,
    /// How it makes what code generation knows the library by; found at the first need.
    pub(super) libcalls: OnceLock<Option<Libcalls>>,
    handle: *mut c_void,
}

// SAFETY: function pointers and a dlopen handle belong to the process, not to a thread, and the
// library is never unloaded. What the functions may be used for at the same time (different
// contexts) is their callers' concern.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

impl Api {
    /// Loads the library and initializes every target in it. `named`: the version to assume of a
    /// library that cannot tell.
    pub(super) fn load(path: &Path, named: (u32, u32, u32)) -> Result<Api> {
        use std::os::unix::ffi::OsStrExt;
        let refused = |message: String| {
            Error::engine(message)
                .context("this libLLVM cannot be used")
                .in_file(path.to_string_lossy())
        };
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| refused("its path holds a zero byte".to_string()))?;
        // SAFETY: `name` is a C string. Loading runs the constructors of a library that the user
        // or the system designated as libLLVM.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlerror gives a C string of this thread that lives until its next call.
            let text = unsafe {
                let text = libc::dlerror();
                if text.is_null() {
                    "dlopen failed".into()
                } else {
                    CStr::from_ptr(text).to_string_lossy().into_owned()
                }
            };
            return Err(refused(text));
        }
        let find = |name: &CStr| {
            // SAFETY: a live handle and a C string.
            unsafe { libc::dlsym(handle, name.as_ptr()) }
        };
        let f = Functions::look_up(find).map_err(|e| refused(e.message().to_string()))?;
        let mut version = named;
        if let Some(get) = f.LLVMGetVersion {
            let (mut major, mut minor, mut patch) = (0, 0, 0);
            // SAFETY: three places to write to.
            unsafe { get(&mut major, &mut minor, &mut patch) };
            version = (major, minor, patch);
        }
        let api = Api {
            f,
            version,
            option_bits: OnceLock::new(),
            large_data: OnceLock::new(),
            debugger: OnceLock::new(),
            libcalls: OnceLock::new(),
            handle,
        };
        // SAFETY: a live handle of a libLLVM.
        unsafe {
            initialize_targets(
                api.handle,
                &["TargetInfo", "Target", "TargetMC", "AsmParser", "AsmPrinter"],
            );
        }
        Ok(api)
    }

    /// The address of what the library exports under a name; null where it does not.
    pub(super) fn symbol(&self, name: &CStr) -> *const c_void {
        // SAFETY: a live handle and a C string.
        unsafe { libc::dlsym(self.handle, name.as_ptr()) }
    }

    /// `IRMover::move`, whose callback had another type in LLVM 14.
    pub(super) fn mover(&self) -> Option<Move> {
        self.f._ZN4llvm7IRMover4moveESt10unique_ptrINS_6ModuleESt14default_deleteIS2_EENS_8ArrayRefIPNS_11GlobalValueEEENS_15unique_functionIFvRS7_St8functionIFvSB_EEEEEb
            .or(self.f._ZN4llvm7IRMover4moveESt10unique_ptrINS_6ModuleESt14default_deleteIS2_EENS_8ArrayRefIPNS_11GlobalValueEEESt8functionIFvRS7_SA_IFvSB_EEEEb)
    }

    /// `setupLLVMOptimizationRemarks`, whose last argument had another type before LLVM 16.
    pub(super) fn remarks(&self) -> Option<SetUp> {
        self.f._ZN4llvm28setupLLVMOptimizationRemarksERNS_11LLVMContextERNS_11raw_ostreamENS_9StringRefES4_bSt8optionalImE
            .or(self.f._ZN4llvm28setupLLVMOptimizationRemarksERNS_11LLVMContextERNS_11raw_ostreamENS_9StringRefES4_bNS_8OptionalImEE)
    }

    /// Takes over a message that LLVM allocated; empty for null.
    pub(super) fn message(&self, text: *mut c_char) -> String {
        if text.is_null() {
            return String::new();
        }
        // SAFETY: LLVM hands out C strings of its own allocation, which we read once and give back.
        unsafe {
            let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
            (self.f.LLVMDisposeMessage)(text);
            copy
        }
    }

    /// Takes over an error; empty for null, which is success.
    pub(super) fn error(&self, error: *mut ErrorInfo) -> Option<String> {
        if error.is_null() {
            return None;
        }
        // SAFETY: LLVMGetErrorMessage consumes the error; its message is a C string that
        // LLVMDisposeErrorMessage frees.
        unsafe {
            let text = (self.f.LLVMGetErrorMessage)(error);
            let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
            (self.f.LLVMDisposeErrorMessage)(text);
            Some(copy)
        }
    }

    /// Takes over an `Error` that a C++ function returned.
    pub(super) fn error_of(&self, error: InMemory) -> Option<String> {
        self.error(error.first_word() as *mut ErrorInfo)
    }

    /// Takes over a memory buffer and gives its content to `read`.
    pub(super) fn with_buffer<T>(
        &self,
        buffer: *mut MemoryBuffer,
        read: impl FnOnce(&[u8]) -> T,
    ) -> T {
        // SAFETY: LLVM hands out live buffers; the content is valid until it is disposed.
        unsafe {
            let start = (self.f.LLVMGetBufferStart)(buffer).cast::<u8>();
            let size = (self.f.LLVMGetBufferSize)(buffer);
            let result =
                if size == 0 { read(&[]) } else { read(std::slice::from_raw_parts(start, size)) };
            (self.f.LLVMDisposeMemoryBuffer)(buffer);
            result
        }
    }
}
