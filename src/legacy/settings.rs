//! What the caller wishes, and what it means for each part of the library.
//!
//! In: [`Settings`], options in LLVM's words. Out: [`Resolved`]: settings of the thin link, of the
//! backends, of the engine and of the schedule.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::inputs::Modules;
use crate::backend::{Rounds, Settings as BackendSettings};
use crate::cache::Policy;
use crate::config::{BitcodeEmbedding, OutputKind, RelocModel, Remarks};
use crate::distributed;
use crate::engine::options::Options;
use crate::engine::{CodeModel, EngineConfig, PassOptions, TargetConfig, default_cpu};
use crate::error::{Error, Result};
use crate::symbols::triple::{Arch, ObjectFormat, Triple, Windows};
use crate::thinlink::ThinLinkOptions;

/// What the caller wishes.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Options in LLVM's words, each one option, in the order given; and two of ours:
    /// `-threads=N`, as LLVM's legacy code generator has it, and `-max-memory=BYTES` (with k, m, g).
    pub options: Vec<String>,
    /// The processor; empty is the target's default.
    pub cpu: String,
    /// The relocation model; none is the target's default, whatever the modules say.
    pub reloc: Option<RelocModel>,
    /// Symbols, as the object file has them, that something outside of the modules uses.
    pub preserved: BTreeSet<Vec<u8>>,
    /// Stop before code generation: the objects are bitcode.
    pub disable_codegen: bool,
    /// Generate code and do nothing before.
    pub codegen_only: bool,
    /// How the names begin of files that get the bitcode of every stage; none, no files.
    pub save_temps: Option<PathBuf>,
    /// Where objects go; none, they stay in memory.
    pub objects_directory: Option<PathBuf>,
    /// The cache; none without one.
    pub cache: Option<CacheSettings>,
    /// Print each pass as it runs.
    pub debug_pass_manager: bool,
}

/// The cache that a link uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Where it is.
    pub directory: PathBuf,
    /// When its entries go.
    pub policy: Policy,
}

/// Settings by the part of the library that they are for.
pub(super) struct Resolved {
    pub(super) thin_link: ThinLinkOptions,
    pub(super) backend: BackendSettings,
    pub(super) engine: EngineConfig,
    pub(super) reloc: RelocModel,
    /// 0 is one for each processor.
    pub(super) threads: usize,
    pub(super) max_memory: Option<u64>,
    /// Whether code is generated in two rounds.
    pub(super) rounds: Option<Rounds>,
    /// Where optimization remarks go.
    pub(super) remarks: Option<Remarks>,
}

impl Resolved {
    pub(super) fn new(settings: &Settings, modules: &Modules<'_>) -> Result<Self> {
        let mut thin_link = ThinLinkOptions::default();
        let (mut threads, mut max_memory) = (0, None);
        let mut rest = Vec::new();
        let mut strings = settings.options.iter();
        while let Some(string) = strings.next() {
            let name = string.strip_prefix("--").or_else(|| string.strip_prefix('-'));
            let Some(name) = name else {
                rest.push(string.clone());
                continue;
            };
            let bad = |name, value| {
                Error::misuse(format!("for the --{name} option: '{value}' value invalid"))
            };
            if let Some(value) = name.strip_prefix("threads=") {
                let number: i32 = value.parse().map_err(|_| bad("threads", value))?;
                threads = usize::try_from(number).unwrap_or(0);
            } else if let Some(value) = name.strip_prefix("max-memory=") {
                let bytes = Policy::parse_bytes(value).map_err(|_| bad("max-memory", value))?;
                max_memory = Some(bytes).filter(|&bytes| bytes != 0);
            } else if distributed::wants_value(name) {
                let value = strings.next().map_or("", String::as_str);
                distributed::take_option(&mut thin_link, &format!("{name}={value}"))?;
            } else if !distributed::take_option(&mut thin_link, name)? {
                rest.push(string.clone());
            }
        }
        let rounds = Rounds::take(&mut rest)?;
        let options = Options::parse(&rest)?;
        let triple = modules.triple();
        let parsed = Triple::parse(triple.as_bytes());
        let reloc = settings.reloc.unwrap_or_else(|| default_reloc(&parsed));
        let mut target = TargetConfig {
            code_model: default_code_model(&parsed),
            contract_objc_arc: true,
            library_functions: false,
            ..TargetConfig::default()
        };
        options.apply(&mut target);
        // LLVM's legacy code generator takes these from its callers alone.
        target.cpu = match settings.cpu.as_str() {
            "" => default_cpu(triple).to_owned(),
            cpu => cpu.to_owned(),
        };
        target.features = String::new();
        target.reloc = Some(reloc);
        target.cg_opt_level = options.opt_level.unwrap_or(3);
        let level = options.opt_level.unwrap_or(3);
        let backend = BackendSettings {
            target,
            pipeline: format!("thinlto<O{level}>"),
            passes: PassOptions {
                // Whatever the level.
                loop_vectorization: true,
                slp_vectorization: true,
                debug_logging: settings.debug_pass_manager,
                freestanding: options.freestanding,
                ..PassOptions::at_level(level)
            },
            embed_bitcode: BitcodeEmbedding::DoNotEmbed,
            codegen_only: false,
            output: OutputKind::Objects,
            keep_value_names: false,
            remarks: options.remarks.as_ref().map(|remarks| remarks.options.clone()),
        };
        let engine = EngineConfig {
            cl_opts: options.llvm,
            jobs: threads,
            prints: settings.debug_pass_manager,
            ..EngineConfig::from_env()
        };
        let remarks = options.remarks;
        if rounds.is_some() && remarks.is_some() {
            return Err(Error::unsupported(
                "optimization remarks are not written where code is generated in two rounds",
            ));
        }
        Ok(Resolved { thin_link, backend, engine, reloc, threads, max_memory, rounds, remarks })
    }
}

/// What a target machine does that nobody asked for a relocation model (`getEffectiveRelocModel` of
/// the targets). What the modules say counts only in LLVM's other driver.
fn default_reloc(triple: &Triple) -> RelocModel {
    let windows = triple.windows != Windows::No;
    match triple.arch {
        Arch::X86 if triple.is_darwin => RelocModel::DynamicNoPic,
        _ if triple.is_darwin => RelocModel::Pic,
        Arch::X86_64 | Arch::AArch64 if windows => RelocModel::Pic,
        Arch::PowerPc64 | Arch::Mips => RelocModel::Pic,
        _ if triple.format == ObjectFormat::Xcoff => RelocModel::Pic,
        _ => RelocModel::Static,
    }
}

/// The same of code models, where a target has one default.
fn default_code_model(triple: &Triple) -> Option<CodeModel> {
    match triple.arch {
        Arch::X86 | Arch::X86_64 | Arch::AArch64 | Arch::Arm => Some(CodeModel::Small),
        _ => None,
    }
}
