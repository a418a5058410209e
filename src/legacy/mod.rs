//! ThinLTO as libLTO does it: modules and names to keep in, as many objects out.
//!
//! In: [`Input`]s and [`Settings`]. Out: an object for every module, in memory or as files, with what
//! there is to tell the user. It must not know who calls it: `thinlto_codegen_*` and `llvm-lto` do.
//!
//! The order of steps and the names of files are those of `ThinLTOCodeGenerator`
//! (ThinLTOCodeGenerator.cpp), which differs from LLVM's `LTO` class on purpose: no linker says who
//! prevails, dead definitions are left to the optimizer, a link of one module promotes and imports
//! nothing, and modules are internalized only where something is to be preserved at all.
//!
//! | file | step |
//! |---|---|
//! | `inputs` | modules, their triples, and what of them must stay |
//! | `settings` | what the caller wishes, in LLVM's words |
//! | `stages` | one stage of one module alone, for `llvm-lto` |
//!
//! What is found in the cache by the key of the whole link needs neither a thin link nor libLLVM.

mod inputs;
mod settings;
mod stages;

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::backend::{
    self, Cached, First, Link, Made, Marks, Phases, Rounds, Second, Settings as BackendSettings,
    Stage, TwoRounds, Watch,
};
use crate::cache::{self, Cache, KeyBuilder, LinkFiles, Statistics};
use crate::distributed;
use crate::engine::{Bytes, Diagnostic, LazyEngine, Lease};
use crate::error::{Error, Result};
use crate::schedule::{Done, Job, Progress, Schedule};
use crate::summary::{ModuleId, ModuleSummaryIndex, SummaryId, WriteOptions};
use crate::thinlink::{Behaviour, LegacyPhases, LinkPlan};
pub use inputs::preserved;
use inputs::{Module, Modules};
use settings::Resolved;
pub use settings::{CacheSettings, Settings};
pub use stages::{IndexedFiles, Stage as SingleStage, Staged, keep, stage};

/// A module of the link.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The caller's name for it, unique among them.
    pub identifier: String,
    /// Bitcode, in whatever container.
    pub bytes: &'a [u8],
}

/// What a link gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By input; empty where objects go to files.
    pub objects: Vec<Bytes>,
    /// By input; empty where objects stay in memory.
    pub files: Vec<PathBuf>,
    /// LLVM's messages, in the order of the inputs.
    pub diagnostics: Vec<Diagnostic>,
    /// What the user should know of the cache.
    pub warnings: Vec<String>,
    /// What the cache was good for, where there was one.
    pub cache: Option<Statistics>,
}

/// Links.
///
/// # Errors
/// The first in the order of the inputs; then files may have been written, each of them whole.
pub fn run(settings: &Settings, inputs: &[Input<'_>], progress: &dyn Progress) -> Result<Outcome> {
    if let Some(directory) = &settings.objects_directory {
        make_directory(directory)?;
    }
    if inputs.is_empty() {
        return Ok(Outcome::default());
    }
    let modules = Modules::read(inputs)?;
    let resolved = Resolved::new(settings, &modules)?;
    let engine = LazyEngine::new(resolved.engine.clone(), modules.producers()?)?;
    let link = ThinLto { settings, resolved, modules, engine };
    if settings.codegen_only {
        let made = link.each(progress, |number| link.generate_code(number))?;
        return link.finish(made, None);
    }
    let kept = settings.cache.as_ref().map(|cache| (Cache::new(&cache.directory), cache.policy));
    let cached = match &kept {
        // Two rounds have keys of their own.
        Some((cache, _)) if !settings.disable_codegen && link.resolved.rounds.is_none() => {
            let backend = &link.resolved.backend;
            let cached = Cached::new(cache, &link.engine, backend)?;
            let key = cached.link_key(link.key());
            Some(cached.with_link(key))
        }
        _ => None,
    };
    let made = match link.all_found(cached.as_ref()) {
        Some(made) => made,
        None => link.compile(cached.as_ref(), kept.as_ref().map(|(cache, _)| cache), progress)?,
    };
    link.finish(made, kept.as_ref().map(|(cache, policy)| (cache, policy)))
}

struct ThinLto<'s, 'a> {
    settings: &'s Settings,
    resolved: Resolved,
    modules: Modules<'a>,
    engine: LazyEngine,
}

impl ThinLto<'_, '_> {
    /// The beginning of the key of the whole link: all that decides what is done to which module.
    fn key(&self) -> KeyBuilder {
        let mut key = KeyBuilder::new("legacy link 2");
        key.debug("thin link", &self.resolved.thin_link);
        key.number("preserved", self.settings.preserved.len() as u64);
        for name in &self.settings.preserved {
            key.bytes("name", name);
        }
        for (identifier, digest) in self.modules.digests() {
            key.text("identifier", identifier).key("bitcode", &digest);
        }
        key
    }

    /// All objects, if all of them are known by the key of the whole link.
    fn all_found(&self, cached: Option<&Cached<'_>>) -> Option<Vec<Made>> {
        // Whoever wants the stages gets the index in any case.
        let cached = cached.filter(|_| self.settings.save_temps.is_none())?;
        (0..self.modules.len()).map(|number| cached.whole_link(number)).collect()
    }

    fn compile(
        &self,
        cached: Option<&Cached<'_>>,
        cache: Option<&Cache>,
        progress: &dyn Progress,
    ) -> Result<Vec<Made>> {
        let mut thin_link = self.resolved.thin_link.clone();
        thin_link.behaviour = Behaviour::of_llvm(self.engine.library().version.major);
        let (index, ids) = self.modules.index(&thin_link)?;
        self.save_index(&index, &thin_link.behaviour)?;
        let preserved = self.modules.preserved(&self.settings.preserved, &thin_link.behaviour)?;
        let plan = LinkPlan::legacy(&index, &preserved, LegacyPhases::All, &thin_link)?;
        let single = self.modules.len() == 1;
        let sources = self.modules.sources(&ids);
        let link = |internalize| {
            let phases =
                Phases { promote: !single, drop_dead: false, internalize, strip_memprof: false };
            let reloc = Some(self.resolved.reloc);
            let mut link = Link::new(&index, &plan, sources.clone(), reloc, phases);
            link.marks = Marks::wanted(self.settings.save_temps.is_some(), self.engine.cl_opts());
            link
        };
        let (internalizing, friendly) = (link(true), link(false));
        // What the index knows nothing of has no backend.
        let choose = |number: usize| {
            let id = ids.get(number).copied().flatten()?;
            // A caller that preserves nothing has not understood; nothing would be left.
            let keeps_all = preserved.is_empty()
                && !index.module_summaries(id).any(|s| plan.exports.contains(SummaryId(s)));
            Some((if keeps_all { &friendly } else { &internalizing }, id))
        };
        if let Some(rounds) = &self.resolved.rounds {
            return self.twice(rounds, cache, progress, choose);
        }
        self.each(progress, |number| {
            let Some((link, id)) = choose(number) else { return self.alone(number) };
            // As in LLVM, where a module without a hash cannot be told from another.
            let has_hash = index.module(id).is_some_and(|m| m.hash != Default::default());
            let cached = cached.filter(|_| has_hash);
            self.save_early(link, id, number, &self.engine)?;
            let mut optimized = None;
            let backend = &self.resolved.backend;
            let mut watch =
                |stage, lease: &mut Lease| self.watch(number, stage, lease, &mut optimized);
            let made = link.make(id, number, backend, &self.engine, cached, &mut watch)?;
            Ok(Made { object: made.object.or(optimized), ..made })
        })
    }

    /// The same in two rounds of code generation.
    fn twice<'l, 'b: 'l>(
        &self,
        rounds: &Rounds,
        cache: Option<&Cache>,
        progress: &dyn Progress,
        choose: impl Fn(usize) -> Option<(&'l Link<'l, 'b>, ModuleId)> + Sync,
    ) -> Result<Vec<Made>> {
        let backend = &self.resolved.backend;
        let max_memory = self.resolved.max_memory;
        let rounds = TwoRounds::new(rounds, &self.engine, backend, max_memory, cache)?;
        let first = |number: usize| {
            let Some((link, id)) = choose(number) else { return Ok(First::default()) };
            self.save_early(link, id, number, rounds.engine())?;
            let mut optimized = None;
            let mut first = rounds.first(link.job(id)?, backend, &mut |stage, lease| {
                self.watch(number, stage, lease, &mut optimized)
            })?;
            first.made.object = optimized;
            Ok(first)
        };
        let second = |number: usize, first, second: &Second<'_>| match choose(number) {
            None => Ok((self.alone(number)?, None)),
            Some(_) => second.make(first, backend, &mut |_, _| Ok(true)),
        };
        let (made, _) = rounds.run(&self.schedule(), &self.jobs(), progress, first, second)?;
        Ok(made)
    }

    fn jobs(&self) -> Vec<Job> {
        let job = |m: &Module<'_>| Job { name: m.identifier.clone(), size: m.bitcode.len() as u64 };
        self.modules.iter().map(job).collect()
    }

    fn schedule(&self) -> Schedule {
        Schedule { workers: self.resolved.threads, max_memory: self.resolved.max_memory }
    }

    /// Runs `work` for every module.
    fn each(
        &self,
        progress: &dyn Progress,
        work: impl Fn(usize) -> Result<Made> + Sync,
    ) -> Result<Vec<Made>> {
        self.schedule().run(&self.jobs(), progress, |number| {
            let made = work(number)?;
            let peak_memory = made.peak_memory;
            Ok(Done { result: made, peak_memory })
        })
    }

    fn module(&self, number: usize) -> Result<&Module<'_>> {
        self.modules.get(number).ok_or_else(|| Error::misuse("no such module"))
    }

    /// A module that the index knows nothing of is optimized as it is.
    fn alone(&self, number: usize) -> Result<Made> {
        let mut optimized = None;
        let made = run_as_it_is(
            self.module(number)?,
            &self.resolved.backend,
            &self.engine,
            &mut |stage, lease| self.watch(number, stage, lease, &mut optimized),
        )?;
        Ok(Made { object: made.object.or(optimized), ..made })
    }

    fn generate_code(&self, number: usize) -> Result<Made> {
        let settings = BackendSettings { codegen_only: true, ..self.resolved.backend.clone() };
        run_as_it_is(self.module(number)?, &settings, &self.engine, &mut |_, _| Ok(true))
    }

    /// Saves stages, and ends the job where no code is wanted.
    fn watch(
        &self,
        number: usize,
        stage: Stage,
        lease: &mut Lease,
        optimized: &mut Option<Bytes>,
    ) -> Result<bool> {
        let suffix = match stage {
            Stage::Internalize => Some(".2.internalized.bc"),
            Stage::Import => Some(".3.imported.bc"),
            Stage::Opt => Some(".4.opt.bc"),
            Stage::PreCodegen => None,
        };
        let stops = stage == Stage::Opt && self.settings.disable_codegen;
        if stops || self.settings.save_temps.is_some() && suffix.is_some() {
            let bitcode = lease.write_bitcode()?;
            if let Some(suffix) = suffix {
                self.save(&format!("{number}{suffix}"), &bitcode)?;
            }
            if stops {
                *optimized = Some(bitcode);
            }
        }
        Ok(!stops)
    }

    /// Saves the stages before any that an object is made from.
    fn save_early(
        &self,
        link: &Link<'_, '_>,
        id: ModuleId,
        number: usize,
        engine: &LazyEngine,
    ) -> Result<()> {
        if self.settings.save_temps.is_none() {
            return Ok(());
        }
        let module = self.module(number)?;
        let mut lease = engine.get()?.lease()?;
        lease.load(&module.identifier, module.bitcode)?;
        self.save(&format!("{number}.0.original.bc"), &lease.write_bitcode()?)?;
        if link.phases.promote {
            let (bitcode, edits) = link.promoted(id)?;
            lease.reset()?;
            lease.load(&module.identifier, &bitcode)?;
            lease.edit(&edits)?;
            self.save(&format!("{number}.1.promoted.bc"), &lease.write_bitcode()?)?;
        }
        Ok(())
    }

    fn save_index(&self, index: &ModuleSummaryIndex, behaviour: &Behaviour) -> Result<()> {
        let format = behaviour.format();
        match self.settings.save_temps {
            None => Ok(()),
            Some(_) => self.save(
                "index.bc",
                &index.to_bitcode(&WriteOptions { format, function_table: false }),
            ),
        }
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let Some(prefix) = &self.settings.save_temps else { return Ok(()) };
        let mut path = OsString::from(prefix);
        path.push(name);
        std::fs::write(&path, bytes).map_err(|error| {
            let what =
                format!("Failed to open {} to save optimized bitcode", Path::new(&path).display());
            Error::io(what, &error)
        })
    }

    /// Puts objects where they are wanted, and prunes the cache.
    fn finish(&self, made: Vec<Made>, kept: Option<(&Cache, &cache::Policy)>) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for (number, made) in made.into_iter().enumerate() {
            outcome.diagnostics.extend(made.diagnostics);
            if let (Some(file), Some(remarks)) = (&self.resolved.remarks, &made.remarks) {
                let path = file.of_module(number);
                path.iter().try_for_each(|path| distributed::write_atomically(path, remarks))?;
            }
            let object = made.object.ok_or_else(|| Error::engine("a module without an object"))?;
            match &self.settings.objects_directory {
                None => outcome.objects.push(object),
                Some(directory) => {
                    let name = format!("{number}.{}.thinlto.o", self.modules.arch_name());
                    let path = directory.join(name);
                    cache::link_or_write(made.entry.as_ref(), &object, &path).map_err(|error| {
                        Error::io(format!("Can't open output '{}'", path.display()), &error)
                    })?;
                    outcome.files.push(path);
                }
            }
        }
        if let Some((cache, policy)) = kept {
            // LLVM counts what it has in memory.
            let files = LinkFiles {
                count: outcome.objects.len() as u64,
                bytes: outcome.objects.iter().map(|o| o.len() as u64).sum(),
            };
            outcome.warnings = cache.prune(policy, &files).warnings;
            outcome.cache = Some(cache.statistics());
        }
        Ok(outcome)
    }
}

/// Runs a backend on a module that nothing is done to before.
fn run_as_it_is(
    module: &Module<'_>,
    settings: &BackendSettings,
    engine: &LazyEngine,
    watch: &mut Watch<'_>,
) -> Result<Made> {
    let job = backend::Job {
        identifier: module.identifier.clone(),
        place: module.identifier.clone(),
        destination: module.bitcode.to_vec(),
        ..Default::default()
    };
    job.run(settings, engine, watch)
}

/// `create_directories` of LLVM: for owner and group.
fn make_directory(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o770).create(directory);
    match made {
        Ok(()) if directory.is_dir() => Ok(()),
        Ok(()) => Err(Error::misuse(format!("Unexistent dir: '{}'", directory.display()))),
        Err(error) => Err(Error::io(format!("Unexistent dir: '{}'", directory.display()), &error)),
    }
}
