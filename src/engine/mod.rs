//! Machine code, by a libLLVM found at run time.
//!
//! In: bitcode that the earlier layers have validated, and what to do with it. Out: objects,
//! assembly, bitcode and diagnostics. This module knows nothing of linkers, of resolutions or of
//! the C API that we export; it decides nothing about a program's semantics.
//!
//! ```text
//! locate    which libLLVM, from names alone          pool      job slots, one machine each
//! options   cl::opt strings: ours or LLVM's
//! worker    start, talk to and bury an lto-worker    protocol  what is said   (wire, memory: how)
//! serve     the other end of the conversation        machine   one LLVMContext and its module
//! api       the functions of LLVM's C API            target    triple to target machine
//! initializers: of a libLLVM's targets
//! edit      changes of a module through the C API   composite, mover: modules made into one
//! type_ids  the passes that read a file              remarks   what LLVM writes of its optimizations
//! debugger, large_data  a field each of a target machine
//! libcalls  what code generation knows of the standard library
//! builtins, embed, partitions: what LLVM's LTO does around optimization and code generation
//! diagnostics, clopt: what LLVM says, and is told
//! identity  which build of all this it is, for caches
//! ```
//!
//! One [`Engine`] serves one link. [`Engine::lease`] gives exclusive use of one machine, whose
//! state (a module being built, optimized and emitted) lives until [`Lease::reset`] or the end of
//! the lease. A machine is normally a process of its own, `lto-worker`: LLVM keeps options and
//! singletons in process-wide variables, and ends the process on what it calls fatal errors. Where
//! there is no worker program, or where the user asks for it (`LTO_ENGINE=in-process`), the same
//! conversation is held with a thread of this process.

mod api;
mod builtins;
mod clopt;
mod composite;
mod debugger;
mod diagnostics;
mod edit;
mod embed;
mod identity;
mod initializers;
mod large_data;
mod lazy;
mod libcalls;
mod locate;
mod machine;
mod memory;
mod memprof;
mod mover;
pub mod options;
mod partitions;
mod pool;
mod protocol;
mod remarks;
mod serve;
mod target;
mod type_ids;
mod wire;
mod worker;

use std::path::PathBuf;

pub use crate::bitcode::Producer;
pub use crate::config::DebuggerTuning;
pub use crate::ir::{CodeModel, Linkage, RelocModel, UnnamedAddr, Visibility};
pub use identity::identity;
pub use initializers::initialize_targets;
pub use lazy::LazyEngine;
pub use locate::{Library, LibraryInfo, Origin, Version};
pub use memory::{Bytes, NamedBytes, give_back_freed_memory};
pub use pool::{Engine, Lease, Parts};
pub use serve::worker_main;
pub use target::default_cpu;

/// How to find libLLVM and how to run it.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// A libLLVM (or a folder that holds one) named by the user; it is taken or refused, nothing
    /// else is tried. `None`: search.
    pub llvm: Option<PathBuf>,
    /// Run LLVM in threads of this process.
    pub in_process: bool,
    /// The worker program; `None`: beside the library, or in `../libexec`.
    pub worker: Option<PathBuf>,
    /// Options of LLVM's `cl::opt` registry, one each ("-inline-threshold=10"), after
    /// [`options::Options::parse`] has taken out those that steer what we do.
    pub cl_opts: Vec<String>,
    /// Most leases at the same time; 0 is one for each processor.
    pub jobs: usize,
    /// Passes on what LLVM prints of itself (`debug-pass-manager`); options in `cl_opts` imply it.
    pub prints: bool,
}

impl EngineConfig {
    /// The configuration that the environment asks for: `LTO_LLVM`, `LTO_ENGINE` and `LTO_WORKER`.
    pub fn from_env() -> Self {
        let path = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        EngineConfig {
            llvm: path("LTO_LLVM"),
            in_process: std::env::var_os("LTO_ENGINE").is_some_and(|value| value == "in-process"),
            worker: path("LTO_WORKER"),
            cl_opts: Vec::new(),
            jobs: 0,
            prints: false,
        }
    }
}

/// What code generation aims at; the fields have the names of `lto::Config` and `TargetOptions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetConfig {
    /// Replaces the module's triple (`OverrideTriple`).
    pub triple: Option<String>,
    /// The triple of a module that has none; `None`: the library's own default.
    pub default_triple: Option<String>,
    /// "" is the target's generic processor.
    pub cpu: String,
    /// Subtarget features, "+avx2,-sse4a".
    pub features: String,
    /// Code generation's own level (`CGOptLevel`), 0 to 3.
    pub cg_opt_level: u8,
    /// `None`: the module's "PIC Level" flag, and without one the target's default.
    pub reloc: Option<RelocModel>,
    /// `None`: the module's "Code Model" flag, and without one the target's default.
    pub code_model: Option<CodeModel>,
    /// Whether the optimizer's target machine looks at those module flags too. `LTOBackend` does
    /// (linker plugin, llvm-lto2); `LTOCodeGenerator` (libLTO) only for code generation.
    pub flags_steer_optimizer: bool,
    /// One section for each function.
    pub function_sections: bool,
    /// One section for each variable.
    pub data_sections: bool,
    /// Static constructors go to `.init_array` and not to `.ctors`.
    pub use_init_array: bool,
    /// Write the table of address-significant symbols.
    pub emit_addrsig: bool,
    /// Let the linker relax loads from the GOT (`R_X86_64_GOTPCRELX`): LLVM's default, which its
    /// gold plugin turns off. A request: where this libLLVM offers no way, its default stays,
    /// which is as good but for linkers older than 2016.
    pub relax_elf_relocations: bool,
    /// Comments in assembly (`AsmVerbose`).
    pub asm_verbose: bool,
    /// Which debugger debug information is for; none, the target's own.
    pub debugger_tuning: Option<DebuggerTuning>,
    /// Turn what is left of the calls of Objective-C's reference counting into what its runtime
    /// has, before code is generated: libLTO's two code generators do so, the linker plugin not.
    pub contract_objc_arc: bool,
    /// Let code generation take calls of the standard library's functions for what they are. LLVM's
    /// legacy code generator of ThinLTO leaves it to what its passes know by themselves: nothing,
    /// from LLVM 17 to 21.
    pub library_functions: bool,
}

impl Default for TargetConfig {
    /// What LLVM's linker plugin starts from: level 2, `.init_array`, everything else of the
    /// module's or target's choosing.
    fn default() -> Self {
        TargetConfig {
            triple: None,
            default_triple: None,
            cpu: String::new(),
            features: String::new(),
            cg_opt_level: 2,
            reloc: None,
            code_model: None,
            flags_steer_optimizer: true,
            function_sections: false,
            data_sections: false,
            use_init_array: true,
            emit_addrsig: false,
            relax_elf_relocations: true,
            asm_verbose: false,
            debugger_tuning: None,
            contract_objc_arc: false,
            library_functions: true,
        }
    }
}

/// What `PipelineTuningOptions` holds for a run of passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PassOptions {
    /// LLVM's LTO front ends set this above level 1.
    pub loop_vectorization: bool,
    /// LLVM's LTO front ends set this above level 1.
    pub slp_vectorization: bool,
    /// Print each pass as it starts (`debug-pass-manager`).
    pub debug_logging: bool,
    /// Run the verifier after each pass.
    pub verify_each: bool,
    /// Merge equal functions.
    pub merge_functions: bool,
    /// Take no function for one of the standard library's (`Freestanding`).
    pub freestanding: bool,
    /// The alias analyses that passes ask, as text (`AAPipeline`); unset, LLVM's own. LLVM 22's C API
    /// has a function for it, that of 19 has none.
    pub aa_pipeline: Option<String>,
}

impl PassOptions {
    /// The settings of LLVM's LTO front ends at `opt_level` 0 to 3.
    pub fn at_level(opt_level: u8) -> Self {
        PassOptions {
            loop_vectorization: opt_level > 1,
            slp_vectorization: opt_level > 1,
            debug_logging: false,
            verify_each: false,
            merge_functions: false,
            freestanding: false,
            aa_pipeline: None,
        }
    }
}

/// A pass that looks at all of a program's types ([`Lease::export_types`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are LLVM's words
pub enum TypePass {
    WholeProgramDevirt = 0,
    LowerTypeTests = 1,
}

/// What [`Lease::emit`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the words say it
pub enum FileType {
    Assembly = 0,
    Object = 1,
}

/// One change of the module, by the name of a global value (the name in the IR, without the
/// mangling of the object format). A name that the module does not have is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `GlobalValue::setLinkage`.
    SetLinkage {
        /// The global value.
        name: String,
        /// Its new linkage; local linkage also resets the visibility, as in LLVM.
        linkage: Linkage,
    },
    /// `GlobalValue::setVisibility`.
    SetVisibility {
        /// The global value.
        name: String,
        /// Its new visibility.
        visibility: Visibility,
    },
    /// `GlobalValue::setUnnamedAddr`.
    SetUnnamedAddr {
        /// The global value.
        name: String,
        /// Whether its address matters.
        unnamed_addr: UnnamedAddr,
    },
    /// Adds an enum attribute without a value ("norecurse") to a function.
    AddFnAttr {
        /// The function.
        name: String,
        /// LLVM's name of the attribute.
        attr: String,
    },
    /// Renames declarations, so that linking does not meet them; until [`Edit::Supersede`]. A name
    /// that the module does not have, or defines, is passed over.
    SetAside {
        /// The functions.
        names: Vec<String>,
    },
    /// Puts what has the names by now in the place of what was set aside, which is deleted; where
    /// nothing has the name, what was set aside gets it back.
    Supersede {
        /// The functions.
        names: Vec<String>,
    },
    /// Removes those of the declarations that nothing refers to. A name that the module does not
    /// have, or defines, is passed over.
    EraseUnused {
        /// The global values.
        names: Vec<String>,
    },
    /// Makes the initializer of a variable zero.
    ZeroInitializer {
        /// The variable.
        name: String,
    },
    /// Takes all metadata off a global value (`GlobalObject::clearMetadata`).
    ClearMetadata {
        /// The function or variable.
        name: String,
    },
    /// Notes where a function was imported from, as metadata of it: `thinlto_src_module` and
    /// `thinlto_src_file`.
    SetSource {
        /// The function.
        name: String,
        /// LLVM's name for the module.
        module: String,
        /// The source file that the module names.
        file: String,
    },
    /// `updatePublicTypeTestCalls`: tests of types that may be public become tests, or true.
    ResolvePublicTypeTests {
        /// Whether the link sees all of the program.
        whole_program: bool,
    },
    /// Tests of types that are still there are true: those that are lowered stand under assumptions
    /// alone (`dropTypeTests`).
    AssumeTypeTests,
    /// `updateMemProfAttributes`: what MemProf says of allocations goes, since the allocator cannot be
    /// told.
    StripMemProf,
    /// `updateVCallVisibilityInModule` of a link that sees all of the program: virtual tables that
    /// may be public count as the link's own.
    UpgradeVcallVisibility {
        /// Those that a dynamic linker may hand out stay as they are.
        except: Vec<String>,
    },
    /// `Module::setTargetTriple`.
    SetTriple {
        /// What the code is for.
        triple: String,
    },
    /// `Module::setModuleIdentifier`.
    SetIdentifier {
        /// What diagnostics call the module.
        identifier: String,
    },
    /// `Module::setSourceFileName`.
    SetSourceFileName {
        /// The name in the object's FILE symbol.
        name: String,
    },
    /// `appendToCompilerUsed`: keeps definitions that the optimizer would drop.
    AppendToCompilerUsed {
        /// The global values, in the order in which they are appended.
        names: Vec<String>,
    },
    /// Gives a common variable the size and alignment that the whole link asks for. A name that
    /// the module does not have is made; nothing happens to what is no variable.
    ResizeCommon {
        /// The variable.
        name: String,
        /// In bytes.
        size: u32,
        /// In bytes, a power of two.
        align: u32,
    },
}

/// What [`Lease::globals`] tells of one global value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalInfo {
    /// The name in the IR; empty for an unnamed value.
    pub name: String,
    /// Which list of the module it stands in.
    pub kind: GlobalKind,
    /// `GlobalValue::getLinkage`.
    pub linkage: Linkage,
    /// `GlobalValue::getVisibility`.
    pub visibility: Visibility,
    /// Without a body or an initializer.
    pub is_declaration: bool,
    /// An alias whose aliasee is directly a function.
    pub aliases_function: bool,
}

/// The lists of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the words say it
pub enum GlobalKind {
    Function = 0,
    Variable = 1,
    Alias = 2,
    IFunc = 3,
}

/// `DiagnosticSeverity`, with LLVM's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are LLVM's words
pub enum Severity {
    Error = 0,
    Warning = 1,
    Remark = 2,
    Note = 3,
}

/// One message of LLVM's diagnostic handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// LLVM's text, without a line end.
    pub text: String,
    /// The module that was being worked on.
    pub module: String,
}
