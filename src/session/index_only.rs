//! The link of a distributed build: indexes for backends elsewhere, in place of objects.
//!
//! In: what [`super::run`] takes, and where the files go. Out: those files, and the object of
//! regular LTO where the user named a place for it. It must not know which front end asks.
//!
//! The contract is that of LLVM's linkers (`runLTO` of gold-plugin.cpp, `WriteIndexesThinBackend`
//! of LTO.cpp), with one addition: a backend opens every module by the path that the index gives,
//! and a member of an archive has none. So each member in the thin link is left as a file of its
//! own beside its index, and the index names that file. Where no prefix is replaced, that is the
//! very name that LLVM gives the member, so that the indexes are LLVM's too.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parking_lot::Mutex;
use rayon::prelude::*;

use super::plan;
use super::{Input, Outcome, Phase, Span, Stats, compile, find_engine, read, split_parts, steer};
use crate::bitcode::BitcodeFile;
use crate::config::{Config, OutputKind};
use crate::distributed::{
    self, IndexFiles, Shards, Source, SuffixReplace, ThinInputs, write_atomically,
};
use crate::engine::{Diagnostic, Producer, Severity};
use crate::error::{Error, Result};
use crate::resolution::SymbolResolution;
use crate::summary::ModuleId;
use crate::symbols;
use crate::symbols::Symbol;
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::thinlink::{Behaviour, ThinLinkOptions, VisibilityScheme};

/// What to write, and where.
#[derive(Clone, Debug, Default)]
pub struct IndexOnly {
    /// Where the files of each module go. The format is decided by the link.
    pub files: IndexFiles,
    /// How the backends' files are called.
    pub suffix: SuffixReplace,
    /// The file that lists the objects of the final link (`thinlto-index-only=FILE`).
    pub linked_objects: Option<PathBuf>,
    /// The LLVM of the backends; unset, that of the newest module.
    pub llvm: Option<u32>,
    /// Whether visibility in ELF is the most constraining of all definitions, as for lld and
    /// llvm-lto2; LLVM's gold plugin takes that of the prevailing one.
    pub elf_visibility: bool,
}

/// An input and its names.
struct Named<'i, 'a> {
    input: &'i Input<'a>,
    /// LLVM's name: the names of what is written for the module begin with it.
    name: Cow<'i, [u8]>,
    /// The path by which backends open the module.
    path: Cow<'i, [u8]>,
    /// A member of an archive that must be written to be opened.
    member: bool,
    /// What was done for the modules of the link.
    spans: &'i Mutex<Vec<Span>>,
}

impl<'i, 'a> Named<'i, 'a> {
    fn new(input: &'i Input<'a>, job: &IndexOnly, spans: &'i Mutex<Vec<Span>>) -> Self {
        let own = input.identifier.as_bytes();
        let name = job.suffix.apply(own);
        // What goes by another name in the backends is somewhere else already.
        let member = input.member.is_some() && *name == *own;
        let path = match member {
            true => Cow::Owned(job.files.prefix.index_path(&name)),
            false => name.clone(),
        };
        Named { input, name, path, member, spans }
    }
}

impl<'a> Source for Named<'_, 'a> {
    type Bytes = &'a [u8];

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn bytes(&self) -> Result<&'a [u8]> {
        Ok(self.input.bitcode)
    }

    fn resolve(&self, _: &[Symbol<'_>]) -> Result<Vec<SymbolResolution>> {
        Ok(self.input.resolutions.clone())
    }

    fn was_read(&self, begin: Instant) {
        self.spans.lock().push(Span::ends("read", &self.input.identifier, begin));
    }
}

/// Links. `skipped` are LLVM's names of the files that the linker offered and does not use: they
/// get an index that tells the backend to do nothing.
///
/// # Errors
/// The first in the order of the inputs; or where a file cannot be written.
pub fn run(
    config: &Config,
    inputs: &[Input<'_>],
    skipped: &[String],
    job: &IndexOnly,
) -> Result<Outcome> {
    let mut stats = Stats::start(inputs);
    let mut clock = Instant::now();
    let mut phase = |stats: &mut Stats, phase: Phase| {
        stats.phases.push((phase, clock.elapsed()));
        clock = Instant::now();
    };
    let producers = producers(inputs)?;
    stats.producers = producers.iter().map(ToString::to_string).collect();
    let newest = producers.iter().filter_map(Producer::major).max();
    let llvm = job.llvm.or(newest).unwrap_or(Behaviour::LLVM_22.llvm);
    let mut options = ThinLinkOptions {
        behaviour: Behaviour::of_llvm(llvm),
        import: config.opt_level > 0,
        whole_program_visibility: config.whole_program_visibility,
        ..ThinLinkOptions::default()
    };
    let config = steer(config, &mut options)?;
    let mut engine = None;
    // What we do not know must be libLLVM's.
    if !config.llvm_options.is_empty() {
        let found = find_engine(&config, &producers)?;
        found.get()?;
        engine = Some(found);
        phase(&mut stats, Phase::StartEngine);
    }
    let mut target = job.files.clone();
    target.format = options.behaviour.format();

    let spans = Mutex::new(Vec::new());
    let named: Vec<Named<'_, '_>> =
        inputs.iter().map(|input| Named::new(input, job, &spans)).collect();
    let mut diagnostics = Vec::new();
    let mut linked = Vec::new();
    let mut read_inputs = match config.unified_regular {
        true => None,
        false => {
            let wanted = distributed::read_options(&options);
            Some(distributed::read_with(&named, &options.behaviour, &wanted)?)
        }
    };
    let is_elf =
        |inputs: &ThinInputs| Triple::parse(&inputs.target_triple).format == ObjectFormat::Elf;
    if job.elf_visibility && read_inputs.as_ref().is_some_and(is_elf) {
        options.visibility_scheme = VisibilityScheme::Elf;
    }
    phase(&mut stats, Phase::Read);
    let mut split = None;
    if let Some(read_inputs) = &mut read_inputs
        && read_inputs.lacks_type_resolutions()
    {
        let mut parts = split_parts(&config, &options, inputs)?;
        read_inputs.index.set_type_resolutions(std::mem::take(&mut parts.types));
        if !parts.objects.is_empty() && !gives_regular_object(&config) {
            diagnostics.push(Diagnostic {
                severity: Severity::Warning,
                module: String::new(),
                text: "the modules are split; obj-path= says where to leave the object of their \
                       virtual tables"
                    .to_owned(),
            });
        }
        diagnostics.append(&mut parts.diagnostics);
        split = Some(parts);
        phase(&mut stats, Phase::Compile);
    }
    let read_inputs = read_inputs;
    let thin = |number| read_inputs.as_ref().and_then(|inputs| inputs.thin_module(number));
    let modules: Vec<(&Named<'_, '_>, Option<ModuleId>)> =
        named.iter().enumerate().map(|(number, named)| (named, thin(number))).collect();
    stats.thin_modules = modules.iter().filter(|(_, id)| id.is_some()).count();
    stats.regular_modules = modules.len() - stats.thin_modules;
    if stats.regular_modules != 0 && !gives_regular_object(&config) {
        diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            module: String::new(),
            text: format!(
                "{} of the files have no ThinLTO summary; obj-path= says where to leave their \
                 object",
                stats.regular_modules
            ),
        });
    }
    let members = || modules.par_iter().filter(|(named, id)| named.member && id.is_some());
    members().try_for_each(|(named, _)| target.write_member(&named.name, named.input.bitcode))?;
    if let (Some(read_inputs), true) = (&read_inputs, stats.thin_modules != 0) {
        let plan = read_inputs.plan(&options)?;
        stats.thin_link(&read_inputs.index, &plan);
        phase(&mut stats, Phase::ThinLink);
        let shards = Shards::new(&read_inputs.index, &plan);
        if let Some(prefix) = &config.save_temps {
            let files = inputs.iter().map(|input| Ok(input.bitcode));
            distributed::save_index(Path::new(prefix), &read_inputs.index, &plan, files)?;
        }
        let names: Vec<(&[u8], Option<ModuleId>)> =
            modules.iter().map(|(named, id)| (&*named.name, *id)).collect();
        target.write_watched(&shards, &names, &|number, begin| {
            if let Some(input) = inputs.get(number) {
                spans.lock().push(Span::ends("write_index", &input.identifier, begin));
            }
        })?;
        let thin = names.iter().filter(|(_, id)| id.is_some());
        linked = target.linked_objects(thin.map(|(name, _)| *name));
    } else {
        modules.par_iter().try_for_each(|(named, _)| target.write_unindexed(&named.name))?;
    }
    skipped
        .par_iter()
        .try_for_each(|name| target.write_skipped(&job.suffix.apply(name.as_bytes())))?;
    if let Some(path) = &job.linked_objects {
        write_atomically(path, &linked)?;
    }
    phase(&mut stats, Phase::WriteIndexes);
    stats.spans = std::mem::take(&mut spans.lock());
    stats.spans.sort_by_key(|span| span.begin);

    let mut outputs = Vec::new();
    if let Some(parts) = split {
        if gives_regular_object(&config) {
            outputs = parts.objects;
        }
    } else if gives_regular_object(&config) {
        let files =
            inputs.iter().map(|i| read(i).map_err(|e| i.blame(e))).collect::<Result<Vec<_>>>()?;
        let plan = plan::plan(&config, None, inputs, &files, &|_, _, _| {
            Err(Error::engine("a thin link that is not made"))
        })?;
        let engine = match engine {
            Some(engine) => engine,
            None => find_engine(&config, &producers)?,
        };
        stats.engine(&engine);
        phase(&mut stats, Phase::StartEngine);
        if let Some(read_inputs) = read_inputs.as_ref().filter(|_| stats.regular_modules == 0) {
            compile::save_nothing_merged(&config, &engine, &read_inputs.target_triple)?;
        }
        let compiled = compile::compile(&config, &engine, None, None, inputs, &plan)?;
        stats.compiled(&compiled.outputs);
        outputs = compiled.outputs;
        diagnostics.extend(compiled.diagnostics);
        phase(&mut stats, Phase::Compile);
    }
    Ok(Outcome { outputs, diagnostics, stats })
}

/// Whether libLLVM knows all options that nobody else does, as it must. It is asked only where there
/// are some.
///
/// # Errors
/// Misuse, with its words; or where there is none to ask.
pub fn check_options(config: &Config) -> Result<()> {
    let config = steer(config, &mut ThinLinkOptions::default())?;
    if !config.llvm_options.is_empty() {
        find_engine(&config, &[])?.get()?;
    }
    Ok(())
}

/// Leaves what a link leaves of the merged module where nothing is merged into it; for front ends
/// that make the files of a distributed build themselves.
///
/// # Errors
/// Without any libLLVM, or where a file cannot be written.
pub fn save_nothing_merged(config: &Config, triple: &[u8]) -> Result<()> {
    let config = steer(config, &mut ThinLinkOptions::default())?;
    compile::save_nothing_merged(&config, &find_engine(&config, &[])?, triple)
}

/// Whether the user named a place for what regular LTO gives.
fn gives_regular_object(config: &Config) -> bool {
    config.always_emit_regular_lto_object
        || config.save_temps.is_some()
        || config.output != OutputKind::Objects
}

/// Who wrote the modules, each once.
fn producers(inputs: &[Input<'_>]) -> Result<Vec<Producer>> {
    let mut producers = Vec::new();
    for input in inputs {
        let blame = |e| input.blame(e);
        let file = BitcodeFile::read(input.bitcode).map_err(blame)?;
        for module in &file.modules {
            let producer = symbols::producer(&file, module).map_err(blame)?;
            if !producers.contains(&producer) {
                producers.push(producer);
            }
        }
    }
    Ok(producers)
}
