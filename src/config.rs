//! Every knob of a link, once.
//!
//! In: what a front end made of its options. Out: one struct that the driver reads. It must not
//! know where a value came from: a plugin option, a call of the C API, an environment variable.
//!
//! The names are those of LLVM's `lto::Config` where it has the knob.

mod codegen_flags;

use std::path::PathBuf;

pub use self::codegen_flags::{FALSE, TRUE, features, has_no_effect};
use crate::error::{Error, Result};
pub use crate::ir::{CodeModel, RelocModel};

/// What a link gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputKind {
    /// Objects, for the linker.
    #[default]
    Objects,
    /// Assembly text.
    Assembly,
    /// The merged and internalized bitcode, not optimized.
    Bitcode,
    /// Nothing: stop before optimizing.
    Nothing,
}

/// Which bitcode the object of a module carries (`LTOBitcodeEmbedding`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the words are LLVM's
pub enum BitcodeEmbedding {
    #[default]
    DoNotEmbed,
    Optimized,
    PostMergePreOptimized,
}

impl BitcodeEmbedding {
    /// The option that chooses.
    pub const OPTION: &str = "lto-embed-bitcode";

    /// By LLVM's word.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "none" => Some(BitcodeEmbedding::DoNotEmbed),
            "optimized" => Some(BitcodeEmbedding::Optimized),
            "post-merge-pre-opt" => Some(BitcodeEmbedding::PostMergePreOptimized),
            _ => None,
        }
    }
}

/// Which debugger debug information is for, with the numbers of LLVM's `DebuggerKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the words are LLVM's
pub enum DebuggerTuning {
    Gdb = 1,
    Lldb = 2,
    Sce = 3,
    Dbx = 4,
}

impl DebuggerTuning {
    /// By LLVM's word.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "gdb" => Some(DebuggerTuning::Gdb),
            "lldb" => Some(DebuggerTuning::Lldb),
            "sce" => Some(DebuggerTuning::Sce),
            "dbx" => Some(DebuggerTuning::Dbx),
            _ => None,
        }
    }
}

/// A step after which `save_temps` leaves something, by LLVM's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the words are LLVM's
pub enum SavedStage {
    PreOpt,
    Promote,
    Internalize,
    Import,
    Opt,
    PreCodegen,
    CombinedIndex,
}

/// Which optimization remarks are written to a file, by the names of `lto::Config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemarkOptions {
    /// A pattern of the passes whose remarks are written; empty for all.
    pub passes: String,
    /// The file's format: `yaml`, `bitstream`; empty is `yaml`, too.
    pub format: String,
    /// Whether remarks tell how often the code runs.
    pub with_hotness: bool,
    /// How often, at least, for a remark to be written; unset, the profile says (`auto`).
    pub hotness_threshold: Option<u64>,
}

impl Default for RemarkOptions {
    /// LLVM's own defaults.
    fn default() -> Self {
        RemarkOptions {
            passes: String::new(),
            format: "yaml".to_owned(),
            with_hotness: false,
            hotness_threshold: Some(0),
        }
    }
}

impl RemarkOptions {
    /// A threshold, as `remarks::parseHotnessThresholdOption` reads it.
    ///
    /// # Errors
    /// Misuse, for what is neither a number nor `auto`.
    pub fn threshold(text: &str) -> Result<Option<u64>> {
        match text {
            "auto" => Ok(None),
            _ => text.parse().map(Some).map_err(|_| {
                Error::misuse(format!("Invalid remarks hotness threshold: Not an integer: {text}"))
            }),
        }
    }
}

/// A file of optimization remarks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remarks {
    /// The file of the merged module. Another's has `.thin.`, its number and the format behind it.
    pub file: Option<PathBuf>,
    /// What is in it.
    pub options: RemarkOptions,
}

impl Remarks {
    /// What options say: nothing, unless there is a file, or hotness for the remarks that are printed.
    pub fn wanted(file: Option<PathBuf>, options: RemarkOptions) -> Option<Remarks> {
        let file = file.filter(|file| !file.as_os_str().is_empty());
        (file.is_some() || options.with_hotness).then_some(Remarks { file, options })
    }

    /// The file of a module that is compiled by itself.
    pub fn of_module(&self, number: usize) -> Option<PathBuf> {
        let mut path = self.file.clone()?.into_os_string();
        path.push(format!(".thin.{number}.{}", self.options.format));
        Some(path.into())
    }
}

/// How a link is done.
#[derive(Clone, Debug)]
pub struct Config {
    /// The optimization level of the middle end, 0 to 3.
    pub opt_level: u8,
    /// The optimization level of the code generator, 0 to 3.
    pub codegen_opt_level: u8,
    /// The processor to generate for, as in `-mcpu`; empty for the target's generic one.
    pub cpu: String,
    /// Target features, each with `+` or `-`.
    pub attributes: Vec<String>,
    /// Compile for this triple, whatever the modules say.
    pub override_triple: Option<String>,
    /// Compile modules without a triple for this one; unset, for libLLVM's own.
    pub default_triple: Option<String>,
    /// How code refers to addresses; unset, the modules' PIC level says.
    pub reloc_model: Option<RelocModel>,
    /// How far apart code and data may be; unset, the modules say.
    pub code_model: Option<CodeModel>,
    /// A section for each function; unset, the front end says.
    pub function_sections: Option<bool>,
    /// A section for each variable; unset, the front end says.
    pub data_sections: Option<bool>,
    /// Static constructors go to `.ctors` and not to `.init_array` (`-use-ctors`).
    pub use_ctors: bool,
    /// Write the table of address-significant symbols (`-addrsig`).
    pub addrsig: bool,
    /// What to give.
    pub output: OutputKind,
    /// How many modules to compile at once; unset, one for each processor.
    pub jobs: Option<usize>,
    /// Whether modules with a ThinLTO summary take part in regular LTO as well: LLVM's
    /// `LTOK_UnifiedRegular`. LLVM wants such modules compiled with `-funified-lto`; here any will
    /// do, since rustc has no such option.
    pub unified_regular: bool,
    /// The linker asserts that nobody outside of the link derives from its classes.
    pub whole_program_visibility: bool,
    /// Whether the allocator can be told which allocations are cold (`-supports-hot-cold-new`).
    pub supports_hot_cold_new: bool,
    /// Whether regular LTO makes local what nothing outside of it refers to
    /// (`-enable-lto-internalization`).
    pub internalize: bool,
    /// Whether regular LTO makes an object even where no module takes part in it.
    pub always_emit_regular_lto_object: bool,
    /// Where to leave the modules of each stage, as the start of their names; unset, nowhere.
    pub save_temps: Option<String>,
    /// Which stages `save_temps` leaves; unset, all.
    pub save_stages: Option<Vec<SavedStage>>,
    /// Whether those of a module with a summary go beside it, under its name, and not to that place
    /// (`UseInputModulePath`).
    pub save_temps_beside_inputs: bool,
    /// Options for libLLVM, each with its dash, as for `opt` or `llc`.
    pub llvm_options: Vec<String>,
    /// The passes that optimize, as text (`OptPipeline`); unset, those of LTO at its level.
    pub opt_pipeline: Option<String>,
    /// The alias analyses that they ask, as text (`AAPipeline`); unset, LLVM's own.
    pub aa_pipeline: Option<String>,
    /// Take no function for one of the standard library's (`Freestanding`).
    pub freestanding: bool,
    /// Make one function of several with the same code (`PTO.MergeFunctions`).
    pub merge_functions: bool,
    /// Which debugger debug information is for (`-debugger-tune`); unset, the target's own.
    pub debugger_tuning: Option<DebuggerTuning>,
    /// Which bitcode objects carry (`-lto-embed-bitcode`).
    pub embed_bitcode: BitcodeEmbedding,
    /// Into how many parts the merged module is split for code generation
    /// (`ParallelCodeGenParallelismLevel`); 0 and 1 are one.
    pub lto_partitions: u32,
    /// Print each pass as it runs (`DebugPassManager`).
    pub debug_pass_manager: bool,
    /// Whether the linker may relax loads from the GOT (`X86RelaxRelocations`); LLVM's gold plugin
    /// says no, everybody else yes.
    pub relax_elf_relocations: bool,
    /// Bytes of memory that modules compiled at once may be expected to take; unset, any.
    pub max_memory: Option<u64>,
    /// Where objects of earlier links are; unset, nowhere.
    pub cache_directory: Option<PathBuf>,
    /// When they go, in LLVM's words (`cache-policy=`); unset, never.
    pub cache_policy: Option<String>,
    /// The profile for the link's own passes (`CSIRProfile`).
    pub cs_profile: Option<PathBuf>,
    /// The profile of samples for the link's own passes (`SampleProfile`); it goes before the other.
    pub sample_profile: Option<PathBuf>,
    /// Where to write optimization remarks; unset, nowhere.
    pub remarks: Option<Remarks>,
    /// Where to write the statistics of the link, as JSON; unset, nowhere.
    pub stats_file: Option<PathBuf>,
}

impl Config {
    /// How many tasks regular LTO has, whether it has anything to do or not.
    pub fn regular_tasks(&self) -> usize {
        self.lto_partitions.max(1) as usize
    }

    /// How the names of what is left of a stage begin; none where nothing is.
    pub fn saves(&self, stage: SavedStage) -> Option<&str> {
        let wanted = self.save_stages.as_ref().is_none_or(|stages| stages.contains(&stage));
        self.save_temps.as_deref().filter(|_| wanted)
    }
}

impl Default for Config {
    /// LLVM's own defaults for the linker plugin.
    fn default() -> Self {
        Config {
            opt_level: 2,
            codegen_opt_level: 2,
            cpu: String::new(),
            attributes: Vec::new(),
            override_triple: None,
            default_triple: None,
            reloc_model: None,
            code_model: None,
            function_sections: None,
            data_sections: None,
            use_ctors: false,
            addrsig: false,
            output: OutputKind::Objects,
            jobs: None,
            unified_regular: false,
            whole_program_visibility: false,
            supports_hot_cold_new: false,
            internalize: true,
            always_emit_regular_lto_object: false,
            save_temps: None,
            save_stages: None,
            opt_pipeline: None,
            aa_pipeline: None,
            save_temps_beside_inputs: true,
            llvm_options: Vec::new(),
            debugger_tuning: None,
            freestanding: false,
            merge_functions: false,
            embed_bitcode: BitcodeEmbedding::DoNotEmbed,
            lto_partitions: 1,
            debug_pass_manager: false,
            relax_elf_relocations: true,
            max_memory: None,
            cache_directory: None,
            cache_policy: None,
            cs_profile: None,
            sample_profile: None,
            remarks: None,
            stats_file: None,
        }
    }
}
