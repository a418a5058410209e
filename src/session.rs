//! The one driver: inputs and resolutions in, objects out.
//!
//! In: the bitcode of a link's inputs, what the linker said of their symbols, and a [`Config`].
//! Out: objects, by task, with what there is to tell the user and how long each phase took. It
//! must not know which front end asks, nor where objects go.
//!
//! ```text
//! read      modules and symbols of each input
//! engine    a libLLVM that reads all producers, found      engine
//! cache     all objects, where nothing has changed         cache
//! plan      which units there are, who defines and who     resolution, surgery::prevailing
//!           sees each name, what each module drops
//!           for modules with a summary: the thin link      distributed, thinlink
//!           where these are split: the regular unit first  hybrid
//! compile   each unit on its own, several at a time:       engine, backend
//!             regular  all modules without a summary, linked in order into "ld-temp.o",
//!                      internalized, pipeline lto<On>
//!             thin     a module with a summary and what it imports, pipeline thinlto<On>
//! ```
//!
//! [`index_only`] is the other way out: files for the backends of a distributed build.
//!
//! Task 0 is the regular unit, whether it exists or not; thin units follow in the order of the
//! inputs. The order of phases is that of LLVM's `LTO::run`.

mod compile;
mod hybrid;
pub mod index_only;
mod kept;
mod plan;
mod profile;
mod stats;

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use self::compile::Compiled;
pub use self::hybrid::{SplitParts, split_parts};
use self::kept::{Found, Kept};
use self::plan::PlannedUnit;
pub use self::stats::{Phase, Span, Stats};
use crate::backend::Rounds;
use crate::bitcode::{BitcodeModule, Extent, Module, block_id};
use crate::config::{Config, OutputKind, SavedStage};
use crate::container::{FileBytes, Stamp};
use crate::distributed;
use crate::engine::{
    Bytes, Diagnostic, EngineConfig, LazyEngine, Producer, give_back_freed_memory,
};
use crate::error::{Error, Result};
use crate::resolution::SymbolResolution;
use crate::symbols::InputFile;
use crate::thinlink::{Behaviour, ThinLinkOptions};

/// One input of a link.
#[derive(Debug)]
pub struct Input<'a> {
    /// LLVM's name for the module, which names what `save_temps` leaves.
    pub identifier: String,
    /// The file, for people.
    pub file: String,
    /// The archive member in it, for people.
    pub member: Option<String>,
    /// Raw bitcode.
    pub bitcode: &'a [u8],
    /// What the bitcode is a part of, if that may be let go between two uses.
    pub pages: Option<&'a FileBytes>,
    /// The file that the bitcode is in, where it changes whenever somebody writes to the file.
    pub stamp: Option<FileStamp>,
    /// What the linker said of each of the file's symbols, in the order of
    /// [`InputFile::symbols`].
    pub resolutions: Vec<SymbolResolution>,
}

/// A part of a file, told by what the system knows of the file.
#[derive(Clone, Copy, Debug)]
pub struct FileStamp {
    /// Of the file: [`Stamp::settled`].
    pub stamp: Stamp,
    /// Where the part begins: that of an archive's member. In bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: usize,
}

impl Input<'_> {
    /// What the engine's messages call it.
    fn place(&self) -> String {
        match &self.member {
            Some(member) => format!("{}({member})", self.file),
            None => self.file.clone(),
        }
    }

    /// It is not needed for a while.
    fn let_go(&self) {
        if let Some(pages) = self.pages {
            pages.let_go();
        }
    }

    /// Puts an error into its place.
    fn blame(&self, error: Error) -> Error {
        let error = match &self.member {
            Some(member) => error.in_member(member.clone()),
            None => error,
        };
        error.in_file(self.file.clone())
    }
}

/// An object, or the assembly or bitcode that was asked for instead.
#[derive(Debug)]
pub struct Output {
    /// LLVM's number of the unit: 0 for regular LTO.
    pub task: usize,
    /// The unit's name: "ld-temp.o" or a module's identifier.
    pub name: String,
    /// What came out.
    pub bytes: Bytes,
}

/// What a link gave.
#[derive(Debug)]
pub struct Outcome {
    /// By rising task.
    pub outputs: Vec<Output>,
    /// LLVM's messages, in the order of the units.
    pub diagnostics: Vec<Diagnostic>,
    /// For those who want to know.
    pub stats: Stats,
}

/// Links.
///
/// # Errors
/// The first in the order of the inputs; with it everything else is given up.
pub fn run(config: &Config, inputs: &[Input<'_>]) -> Result<Outcome> {
    let mut stats = Stats::start(inputs);
    let mut clock = Instant::now();
    let mut phase = |stats: &mut Stats, phase: Phase| {
        stats.phases.push((phase, clock.elapsed()));
        clock = Instant::now();
    };

    // All of them before the first error is looked for: it is the first in their order.
    let files: Vec<Result<InputFile<'_>>> =
        inputs.par_iter().map(|i| read(i).map_err(|e| i.blame(e))).collect();
    let files = files.into_iter().collect::<Result<Vec<_>>>()?;
    phase(&mut stats, Phase::Read);

    let producers = producers(inputs, &files)?;
    let mut options = ThinLinkOptions {
        whole_program_visibility: config.whole_program_visibility,
        ..ThinLinkOptions::default()
    };
    let mut config = steer(config, &mut options)?;
    if config.cs_profile.is_some() || config.sample_profile.is_some() {
        let is_thin = |module: &BitcodeModule<'_>| {
            let module = Module::read(module, Extent::All);
            module.is_ok_and(|module| module.block(block_id::GLOBALVAL_SUMMARY).is_some())
        };
        let thin = !config.unified_regular && files.iter().flat_map(|f| f.modules()).any(is_thin);
        config.llvm_options.extend(profile::options(&config, thin)?);
    }
    let rounds = Rounds::take(&mut config.llvm_options)?;
    if rounds.is_some() && config.remarks.is_some() {
        return Err(Error::unsupported(
            "optimization remarks are not written where code is generated in two rounds",
        ));
    }
    if rounds.is_some() && config.sample_profile.is_some() {
        return Err(Error::unsupported(
            "a profile of samples is not used where code is generated in two rounds",
        ));
    }
    let config = &config;
    if files.is_empty() && !config.always_emit_regular_lto_object {
        return Ok(Outcome { outputs: Vec::new(), diagnostics: Vec::new(), stats });
    }
    let engine = find_engine(config, &producers)?;
    stats.producers = producers.iter().map(ToString::to_string).collect();
    options.behaviour = Behaviour::of_llvm(engine.library().version.major);
    let settings = compile::settings(config);
    let kept = Kept::open(config)?;
    let Found { cached, unchanged, by_stamps, unwritten } = match &kept {
        // Two rounds have keys of their own; what was made before has left no remarks; the samples
        // are no part of a key.
        Some(_) if rounds.is_some() || config.remarks.is_some() => Found::default(),
        Some(_) if config.sample_profile.is_some() => Found::default(),
        Some(kept) => kept.find(config, &options, &engine, &settings, inputs, &files)?,
        None => Found::default(),
    };
    stats.unwritten = if by_stamps { inputs.len() } else { 0 };
    phase(&mut stats, Phase::Cache);

    let Compiled { outputs, diagnostics, sizes, spans } = match unchanged {
        Some(made) => {
            stats.thin_modules = inputs.len();
            let (outputs, diagnostics) = made;
            Compiled { outputs, diagnostics, ..Compiled::default() }
        }
        None => {
            // Something has to be compiled, most likely; loading libLLVM takes a while.
            let compiles = rounds.is_none() && config.output != OutputKind::Nothing;
            let plan = while_starting(compiles.then_some(&engine), || {
                let resolve = |unit: Option<&PlannedUnit<'_>>, index: &_, live: &_| {
                    hybrid::resolve(config, &engine, inputs, unit, index, live)
                };
                plan::plan(config, Some(&options), inputs, &files, &resolve)
            })?;
            stats.planned(&plan);
            if let Some(thin) = &plan.thin {
                stats.thin_link(&thin.index, &thin.plan);
            }
            let saved = config.saves(SavedStage::CombinedIndex);
            if let (Some(prefix), Some(thin)) = (saved, &plan.thin) {
                let files = inputs.iter().map(|input| Ok(input.bitcode));
                distributed::save_index(Path::new(prefix), &thin.index, &thin.plan, files)?;
            }
            phase(&mut stats, Phase::Plan);
            // The workers need it more than this process does, which mostly waits from now on.
            give_back_freed_memory();
            inputs.iter().for_each(Input::let_go);
            let rounds = rounds.as_ref().map(|rounds| (rounds, kept.as_ref().map(Kept::cache)));
            compile::compile(config, &engine, cached.as_ref(), rounds, inputs, &plan)?
        }
    };
    stats.engine(&engine);
    stats.cache = kept.map(|kept| kept.close(unwritten));
    stats.compiled(&outputs);
    stats.two_rounds = sizes;
    stats.spans = spans;
    phase(&mut stats, Phase::Compile);
    Ok(Outcome { outputs, diagnostics, stats })
}

/// Does something while the engine, if any, starts in a thread beside it. Whether it could is told
/// to whoever needs it.
fn while_starting<T>(engine: Option<&LazyEngine>, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        if let Some(engine) = engine {
            // Without the thread it starts when it is needed.
            let _ = std::thread::Builder::new()
                .name("lto-start".into())
                .spawn_scoped(scope, || engine.get().is_ok());
        }
        work()
    })
}

/// Takes out of the options for libLLVM what steers the thin link: LLVM would do nothing with it.
fn steer(config: &Config, options: &mut ThinLinkOptions) -> Result<Config> {
    let mut llvm_options = Vec::new();
    for option in &config.llvm_options {
        if !distributed::take_option(options, option.trim_start_matches('-'))? {
            llvm_options.push(option.clone());
        }
    }
    let whole_program_visibility = options.has_whole_program_visibility()
        // What RTTI says of a type is looked up for summaries alone.
        && !options.checks_visibility_to_regular_objects();
    // Regular LTO's pipeline looks for contexts itself, imports are marked for the pass, and newer
    // pipelines take out what the allocator cannot be told.
    for (is_on, option) in [
        (options.enable_memprof_context_disambiguation, "-enable-memprof-context-disambiguation"),
        (options.supports_hot_cold_new, "-supports-hot-cold-new"),
        (options.memprof_dump_ccg, "-memprof-dump-ccg"),
    ] {
        if is_on {
            llvm_options.push(option.to_owned());
        }
    }
    let internalize = options.enable_lto_internalization;
    let supports_hot_cold_new = options.supports_hot_cold_new;
    Ok(Config {
        llvm_options,
        whole_program_visibility,
        internalize,
        supports_hot_cold_new,
        ..config.clone()
    })
}

fn find_engine(config: &Config, producers: &[Producer]) -> Result<LazyEngine> {
    let engine_config = EngineConfig {
        cl_opts: [config.llvm_options.clone(), profile::loading(config)].concat(),
        jobs: config.jobs.unwrap_or(0),
        prints: config.debug_pass_manager,
        ..EngineConfig::from_env()
    };
    LazyEngine::new(engine_config, producers.to_vec())
}

fn read<'a>(input: &Input<'a>) -> Result<InputFile<'a>> {
    let file = InputFile::open(input.bitcode)?;
    let symbols = file.symbols().count();
    if symbols != input.resolutions.len() {
        return Err(Error::misuse(format!(
            "{symbols} symbols, but the linker resolved {}",
            input.resolutions.len()
        )));
    }
    Ok(file)
}

/// Who wrote the modules, each once.
fn producers(inputs: &[Input<'_>], files: &[InputFile<'_>]) -> Result<Vec<Producer>> {
    let mut producers = Vec::new();
    for (input, file) in inputs.iter().zip(files) {
        for location in file.modules() {
            let name = location.identification().map_err(|e| input.blame(e))?.producer;
            let producer = Producer::parse(&String::from_utf8_lossy(&name));
            if !producers.contains(&producer) {
                producers.push(producer);
            }
        }
    }
    Ok(producers)
}
