//! Each unit of a plan, made into an object.
//!
//! In: the plan and an engine. Out: objects, and what LLVM said. Units are compiled several at a
//! time, each by a machine of its own; the regular one is first, as it is the largest. What comes
//! out does not depend on how many run at once, nor on which ends first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::plan::{Plan, PlannedModule, PlannedUnit, Prevailing, UnitKind};
use super::profile;
use super::stats::{Span, Spans};
use super::{Input, Output};
use crate::backend::{
    self, Cached, First, Link, Made, Marks, Phases, RoundSizes, Rounded, Rounds, Second, Settings,
    TwoRounds,
};
use crate::cache::Cache;
use crate::config::{BitcodeEmbedding, Config, OutputKind, SavedStage};
use crate::distributed::write_atomically;
use crate::engine::{
    self, Bytes, Diagnostic, Edit, FileType, GlobalInfo, LazyEngine, Lease, Linkage, Parts,
    PassOptions, TargetConfig,
};
use crate::error::{Error, Result};
use crate::ir::ModuleHash;
use crate::schedule::{Done, Job, Schedule, Terminal};
use crate::summary::ModuleId;
use crate::surgery::{self, Edits};

/// LLVM's name of the merged module.
pub(super) const MERGED: &str = "ld-temp.o";

/// On which side of optimization the merged module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

/// Is called with the merged module.
pub(super) type Watch<'w> = dyn FnMut(Moment, &mut Lease) -> Result<()> + 'w;

/// What came out of all units.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    /// By rising task.
    pub outputs: Vec<Output>,
    /// In the order of the units.
    pub diagnostics: Vec<Diagnostic>,
    /// Where code was generated in two rounds, by module.
    pub sizes: Vec<RoundSizes>,
    /// How long each unit took, or each of its rounds.
    pub spans: Vec<Span>,
}

pub(super) fn compile(
    config: &Config,
    engine: &LazyEngine,
    cached: Option<&Cached<'_>>,
    rounds: Option<(&Rounds, Option<&Cache>)>,
    inputs: &[Input<'_>],
    plan: &Plan<'_>,
) -> Result<Compiled> {
    let units = &plan.units;
    let link = plan.thin.as_ref().map(|thin| {
        let reloc = config.reloc_model;
        let sources = thin.sources.clone();
        let mut link = Link::new(&thin.index, &thin.plan, sources, reloc, Phases::RESOLUTION_BASED);
        link.marks = Marks::wanted(config.save_temps.is_some(), engine.cl_opts());
        link
    });
    let first = units.first().map(|unit| &unit.kind);
    if let (Some(link), Some(UnitKind::Thin { module, .. })) = (&link, first) {
        save_nothing_merged(config, engine, &link.values(*module)?.module.triple)?;
    }
    let (link, settings) = (link.as_ref(), &settings(config));
    let jobs: Vec<Job> =
        units.iter().map(|u| Job { name: name(u, inputs), size: size(u, inputs) }).collect();
    let schedule = Schedule { workers: config.jobs.unwrap_or(0), max_memory: config.max_memory };
    let sent = AtomicUsize::new(0);
    let unit = |number: usize| {
        let unit = units.get(number).ok_or_else(|| Error::engine("a job without a unit"))?;
        Ok(Unit { config, inputs, unit, link, settings, cached, sent: &sent })
    };
    let spans = Spans::default();
    let job_name = |number: usize| jobs.get(number).map_or("", |job| job.name.as_str());
    let mut sizes = Vec::new();
    let made = match rounds {
        None => {
            let make = |number: usize| {
                spans.during("compile", job_name(number), || done(unit(number)?.make(engine)?))
            };
            schedule.run(&jobs, &Terminal::stderr(), make)?
        }
        Some((rounds, cache)) => {
            let rounds = TwoRounds::new(rounds, engine, settings, config.max_memory, cache)?;
            let first = |number: usize| {
                spans.during("first_round", job_name(number), || unit(number)?.first(&rounds))
            };
            let second = |number: usize, first, second: &Second<'_>| {
                let work = || unit(number)?.second(first, second, engine);
                spans.during("second_round", job_name(number), work)
            };
            let made;
            (made, sizes) = rounds.run(&schedule, &jobs, &Terminal::stderr(), first, second)?;
            made
        }
    };
    if let Some(remarks) = &config.remarks {
        // As in LLVM, it is there even if nothing is merged.
        remarks.file.iter().try_for_each(|file| write_atomically(file, &[]))?;
    }
    let mut outputs = Vec::new();
    let mut diagnostics = Vec::new();
    for (unit, made) in units.iter().zip(made) {
        diagnostics.extend(made.diagnostics);
        if let (Some(file), Some(remarks)) = (&config.remarks, &made.remarks) {
            let path = match unit.kind {
                UnitKind::Regular { .. } | UnitKind::Made { .. } => file.file.clone(),
                UnitKind::Thin { .. } => file.of_module(unit.task),
            };
            path.iter().try_for_each(|path| write_atomically(path, remarks))?;
        }
        let objects = made.object.into_iter().chain(made.further);
        outputs.extend(objects.enumerate().map(|(part, bytes)| Output {
            task: unit.task + part,
            name: name(unit, inputs),
            bytes,
        }));
    }
    Ok(Compiled { outputs, diagnostics, sizes, spans: spans.into_spans() })
}

/// Leaves the merged module also where nothing was merged into it, as LLVM does: only its triple,
/// which is that of the first module, says that there was a link.
pub(super) fn save_nothing_merged(
    config: &Config,
    engine: &LazyEngine,
    triple: &[u8],
) -> Result<()> {
    let stages = [SavedStage::PreOpt, SavedStage::Internalize];
    if stages.iter().all(|stage| config.saves(*stage).is_none()) {
        return Ok(());
    }
    let triple = String::from_utf8_lossy(triple).into_owned();
    let mut lease = engine.get()?.lease()?;
    lease.new_module(MERGED)?;
    lease.edit(&[Edit::SetTriple { triple }])?;
    let bitcode = lease.write_bitcode()?;
    for stage in stages {
        if let Some(prefix) = config.saves(stage) {
            write_atomically(Path::new(&format!("{prefix}0.{}", suffix(stage))), &bitcode)?;
        }
    }
    Ok(())
}

/// Makes the unit of regular LTO alone, before anything is known of the others. `watch` is
/// called before and after it is optimized.
pub(super) fn compile_merged(
    config: &Config,
    engine: &LazyEngine,
    inputs: &[Input<'_>],
    unit: &PlannedUnit<'_>,
    watch: &mut Watch<'_>,
) -> Result<Made> {
    let (settings, sent) = (settings(config), AtomicUsize::new(0));
    let (settings, sent) = (&settings, &sent);
    Unit { config, inputs, unit, link: None, settings, cached: None, sent }.merged(engine, watch)
}

fn done(made: Made) -> Result<Done<Made>> {
    let peak_memory = made.peak_memory;
    Ok(Done { result: made, peak_memory })
}

/// How modules with a summary are compiled.
pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        target: target(config),
        pipeline: pipeline(config, "thinlto"),
        passes: passes(config),
        embed_bitcode: config.embed_bitcode,
        codegen_only: false,
        output: config.output,
        // Whoever asks for the stages wants to read them.
        keep_value_names: config.save_temps.is_some(),
        remarks: config.remarks.as_ref().map(|remarks| remarks.options.clone()),
    }
}

fn name(unit: &PlannedUnit<'_>, inputs: &[Input<'_>]) -> String {
    match &unit.kind {
        UnitKind::Regular { .. } | UnitKind::Made { .. } => MERGED.to_owned(),
        UnitKind::Thin { input, .. } => {
            inputs.get(*input).map_or_else(String::new, |input| input.identifier.clone())
        }
    }
}

/// How much there is to compile, in bytes of bitcode.
fn size(unit: &PlannedUnit<'_>, inputs: &[Input<'_>]) -> u64 {
    let size = |input: usize| inputs.get(input).map_or(0, |input| input.bitcode.len() as u64);
    match &unit.kind {
        UnitKind::Regular { modules, .. } => modules.iter().map(|m| size(m.input)).sum(),
        UnitKind::Made { .. } => 0,
        UnitKind::Thin { input, .. } => size(*input),
    }
}

/// LLVM's name for what is left of a stage.
fn suffix(stage: SavedStage) -> &'static str {
    match stage {
        SavedStage::PreOpt => "0.preopt.bc",
        SavedStage::Promote => "1.promote.bc",
        SavedStage::Internalize => "2.internalize.bc",
        SavedStage::Import => "3.import.bc",
        SavedStage::Opt => "4.opt.bc",
        SavedStage::PreCodegen => "5.precodegen.bc",
        SavedStage::CombinedIndex => "index.bc",
    }
}

/// What became of the merged module.
enum Merged {
    Nothing,
    Object(Bytes),
    /// Code is still to be generated.
    Parts(Parts),
}

struct Unit<'c, 'a> {
    config: &'c Config,
    inputs: &'c [Input<'a>],
    unit: &'c PlannedUnit<'a>,
    link: Option<&'c Link<'c, 'a>>,
    settings: &'c Settings,
    cached: Option<&'c Cached<'c>>,
    /// How many modules the engine got so far, with all that they import.
    sent: &'c AtomicUsize,
}

impl From<backend::Stage> for SavedStage {
    fn from(stage: backend::Stage) -> Self {
        match stage {
            backend::Stage::Internalize => SavedStage::Internalize,
            backend::Stage::Import => SavedStage::Import,
            backend::Stage::Opt => SavedStage::Opt,
            backend::Stage::PreCodegen => SavedStage::PreCodegen,
        }
    }
}

impl<'c, 'a> Unit<'c, 'a> {
    fn make(&self, engine: &LazyEngine) -> Result<Made> {
        match &self.unit.kind {
            UnitKind::Thin { module, .. } => self.thin(*module, engine),
            UnitKind::Made { made, .. } => {
                made.lock().take().ok_or_else(|| Error::engine("a unit was asked for twice"))
            }
            UnitKind::Regular { .. } => self.merged(engine, &mut |_, _| Ok(())),
        }
    }

    /// The unit of regular LTO. `watch` is called before and after it is optimized.
    fn merged(&self, engine: &LazyEngine, watch: &mut Watch<'_>) -> Result<Made> {
        let mut lease = engine.get()?.lease()?;
        let merged = self.regular(&mut lease, watch);
        let mut diagnostics = lease.take_diagnostics();
        // An error says it already.
        diagnostics.retain(|d| merged.is_ok() || d.severity != engine::Severity::Error);
        let remarks = match &self.settings.remarks {
            Some(_) if merged.is_ok() => Some(lease.take_remarks()?),
            _ => None,
        };
        let peak_memory = lease.peak_memory();
        let mut made = Made { diagnostics, remarks, peak_memory, ..Made::default() };
        match merged? {
            Merged::Nothing => {}
            Merged::Object(object) => made.object = Some(object),
            Merged::Parts(parts) => {
                // The parts want machines, of which there may be one alone.
                drop(lease);
                self.parts(&parts, engine, &mut made)?;
            }
        }
        Ok(made)
    }

    /// Generates code for the parts of the merged module, several at a time, as `splitCodeGen` of
    /// LTOBackend.cpp.
    fn parts(&self, parts: &Parts, engine: &LazyEngine, made: &mut Made) -> Result<()> {
        let generate = |part: usize, bitcode: &[u8]| {
            let mut lease = engine.get()?.lease()?;
            lease.keep_value_names(self.settings.keep_value_names)?;
            lease.load(MERGED, bitcode)?;
            lease.set_target(&self.settings.target)?;
            self.save_part(&mut lease, SavedStage::PreCodegen, part)?;
            let object = self.code(&mut lease)?;
            Ok((object, lease.take_diagnostics()))
        };
        let done: Vec<Result<(Bytes, Vec<Diagnostic>)>> = std::thread::scope(|scope| {
            let generate = &generate;
            let started = parts.iter().enumerate().map(|(part, bitcode)| {
                std::thread::Builder::new()
                    .name("lto-part".into())
                    .spawn_scoped(scope, move || generate(part, bitcode))
                    .map_err(|error| Error::io("cannot start a thread", &error))
            });
            let started: Vec<_> = started.collect();
            let joined = started.into_iter().map(|thread| {
                thread?.join().unwrap_or_else(|_| Err(Error::engine("a part's thread has failed")))
            });
            joined.collect()
        });
        for part in done {
            let (object, said) = part?;
            made.diagnostics.extend(said);
            match &made.object {
                None => made.object = Some(object),
                Some(_) => made.further.push(object),
            }
        }
        Ok(())
    }

    /// Code for the module as it stands.
    fn code(&self, lease: &mut Lease) -> Result<Bytes> {
        if self.config.embed_bitcode == BitcodeEmbedding::Optimized {
            lease.embed_bitcode(false)?;
        }
        lease.emit(match self.config.output {
            OutputKind::Assembly => FileType::Assembly,
            _ => FileType::Object,
        })
    }

    fn regular(&self, lease: &mut Lease, watch: &mut Watch<'_>) -> Result<Merged> {
        lease.keep_value_names(self.settings.keep_value_names)?;
        if let Some(remarks) = &self.settings.remarks {
            lease.write_remarks(remarks)?;
        }
        match &self.unit.kind {
            UnitKind::Regular { modules, commons, prevailing, exported } => {
                lease.new_module(MERGED)?;
                for module in modules {
                    let input = self.input(module)?;
                    let bitcode = self.operate(module)?;
                    lease.merge(&input.place(), &bitcode, module.keep.clone()).map_err(
                        |error| {
                            error
                                .without_place()
                                .context(format_args!("Failed to link module {}", input.place()))
                        },
                    )?;
                }
                let resize = commons
                    .iter()
                    .map(|(name, common)| Edit::ResizeCommon {
                        name: name.clone(),
                        size: common.size,
                        align: common.align,
                    })
                    .collect::<Vec<_>>();
                if !resize.is_empty() {
                    lease.edit(&resize)?;
                }
                lease.edit(&self.virtual_calls(exported))?;
                if !self.config.supports_hot_cold_new {
                    self.strip_memprof(modules, lease)?;
                }
                self.save(lease, SavedStage::PreOpt)?;
                if self.config.output == OutputKind::Nothing {
                    return Ok(Merged::Nothing);
                }
                let edits = self.prevail(&lease.globals()?, prevailing);
                lease.edit(&edits)?;
            }
            _ => return Err(Error::engine("a module that is not merged")),
        }
        self.save(lease, SavedStage::Internalize)?;
        if self.config.output == OutputKind::Bitcode {
            return lease.write_bitcode().map(Merged::Object);
        }
        lease.set_target(&self.settings.target)?;
        if self.config.embed_bitcode == BitcodeEmbedding::PostMergePreOptimized {
            lease.embed_bitcode(true)?;
        }
        watch(Moment::Before, lease)?;
        lease.passes(&pipeline(self.config, "lto"), self.settings.passes.clone())?;
        watch(Moment::After, lease)?;
        self.save(lease, SavedStage::Opt)?;
        if self.config.lto_partitions > 1 {
            return lease.split(self.config.lto_partitions).map(Merged::Parts);
        }
        self.save(lease, SavedStage::PreCodegen)?;
        self.code(lease).map(Merged::Object)
    }

    /// Takes MemProf's marks off the merged module, where one of those merged has any.
    fn strip_memprof(&self, modules: &[PlannedModule<'_>], lease: &mut Lease) -> Result<()> {
        for merged in modules {
            let input = self.input(merged)?;
            if surgery::mentions_memprof(&merged.module).map_err(|e| input.blame(e))? {
                return lease.edit(&[Edit::StripMemProf]);
            }
        }
        Ok(())
    }

    /// What optimization may take for granted of virtual tables and tests of their types.
    fn virtual_calls(&self, exported: &[String]) -> Vec<Edit> {
        let whole_program = self.config.whole_program_visibility;
        let upgrade =
            whole_program.then(|| Edit::UpgradeVcallVisibility { except: exported.to_vec() });
        upgrade.into_iter().chain([Edit::ResolvePublicTypeTests { whole_program }]).collect()
    }

    /// What the whole link knows of definitions. Merging may have left a name with less, or with a
    /// local definition.
    fn prevail(
        &self,
        globals: &[GlobalInfo],
        prevailing: &BTreeMap<String, Prevailing>,
    ) -> Vec<Edit> {
        let mut edits = Vec::new();
        for g in globals.iter().filter(|g| !g.is_declaration && !g.linkage.is_local()) {
            let Some(of) = prevailing.get(&g.name) else { continue };
            // Only split modules of a unified link have such by now.
            if matches!(g.linkage, Linkage::AvailableExternally | Linkage::Appending) {
                continue;
            }
            let name = || g.name.clone();
            edits.push(Edit::SetUnnamedAddr { name: name(), unnamed_addr: of.unnamed_addr });
            if of.internalize && self.config.internalize {
                edits.push(Edit::SetLinkage { name: name(), linkage: Linkage::Internal });
            }
        }
        edits
    }

    fn thin(&self, id: ModuleId, engine: &LazyEngine) -> Result<Made> {
        let link = self.early(id, engine)?;
        // As in LLVM, where a module without a hash cannot be told from another.
        let has_hash = link.index.module(id).is_some_and(|m| m.hash != ModuleHash::default());
        let cached = self.cached.filter(|_| has_hash);
        // The number by which an unchanged link asks, where all modules are thin.
        let number = self.unit.task.saturating_sub(self.config.regular_tasks());
        link.make(id, number, self.settings, engine, cached, &mut |stage, lease| {
            self.reached(stage, lease)
        })
    }

    /// A module with a summary has come to a stage; it shall go on.
    fn reached(&self, stage: backend::Stage, lease: &mut Lease) -> Result<bool> {
        self.save(lease, stage.into())?;
        // From now on the engine has what it needs, and is about to need memory. What was imported
        // from is read for other modules as well, but seldom at once. Few enough times that it costs
        // nothing in a link of thousands.
        let often = (self.inputs.len() / 128).max(1);
        if stage == backend::Stage::Import
            && self.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(often)
        {
            self.inputs.iter().for_each(Input::let_go);
        }
        Ok(true)
    }

    /// The first round of a module with a summary. Regular LTO has one round alone.
    fn first(&self, rounds: &TwoRounds<'_>) -> Result<First> {
        let UnitKind::Thin { module, .. } = self.unit.kind else { return Ok(First::default()) };
        let job = self.early(module, rounds.engine())?.job(module)?;
        rounds.first(job, self.settings, &mut |stage, lease| self.reached(stage, lease))
    }

    fn second(&self, first: First, second: &Second<'_>, engine: &LazyEngine) -> Result<Rounded> {
        match self.unit.kind {
            UnitKind::Regular { .. } | UnitKind::Made { .. } => Ok((self.make(engine)?, None)),
            UnitKind::Thin { .. } => second.make(first, self.settings, &mut |stage, lease| {
                self.save(lease, stage.into())?;
                Ok(true)
            }),
        }
    }

    /// The link, with the stages saved that come before any that an object is made from.
    fn early(&self, id: ModuleId, engine: &LazyEngine) -> Result<&'c Link<'c, 'a>> {
        let link = self.link.ok_or_else(|| Error::engine("a ThinLTO module without a link"))?;
        if self.config.save_temps.is_some() {
            self.save_early(link, id, &mut engine.get()?.lease()?)?;
        }
        Ok(link)
    }

    /// Saves the stages before any that an object is made from.
    fn save_early(&self, link: &Link<'_, '_>, id: ModuleId, lease: &mut Lease) -> Result<()> {
        let source = link.source(id)?;
        let original = surgery::rewrite(&link.values(id)?.module, &Edits::default())
            .map_err(|e| e.in_file(source.place.clone()))?;
        lease.keep_value_names(true)?;
        lease.load(&source.place, &original)?;
        self.save(lease, SavedStage::PreOpt)?;
        lease.reset()?;
        lease.keep_value_names(true)?;
        let (bitcode, prepare) = link.promoted(id)?;
        lease.load(&source.place, &bitcode)?;
        lease.edit(&prepare)?;
        self.save(lease, SavedStage::Promote)
    }

    fn input(&self, module: &PlannedModule<'_>) -> Result<&Input<'_>> {
        self.inputs.get(module.input).ok_or_else(|| Error::engine("a module of no input"))
    }

    fn operate(&self, module: &PlannedModule<'_>) -> Result<Vec<u8>> {
        let input = self.input(module)?;
        surgery::rewrite(&module.module, &module.edits).map_err(|e| input.blame(e))
    }

    /// Leaves the module as it stands: `out.0.4.opt.bc` for the merged one, a thin one beside its
    /// input.
    fn save(&self, lease: &mut Lease, stage: SavedStage) -> Result<()> {
        self.save_part(lease, stage, 0)
    }

    /// The same of a part of the merged module.
    fn save_part(&self, lease: &mut Lease, stage: SavedStage, part: usize) -> Result<()> {
        let Some(prefix) = self.config.saves(stage) else { return Ok(()) };
        let prefix = match &self.unit.kind {
            UnitKind::Thin { input, .. } if self.config.save_temps_beside_inputs => {
                let input = self.inputs.get(*input);
                format!("{}.", input.map_or("", |input| input.identifier.as_str()))
            }
            _ => format!("{prefix}{}.", self.unit.task + part),
        };
        let path = format!("{prefix}{}", suffix(stage));
        write_atomically(Path::new(&path), &lease.write_bitcode()?)
    }
}

fn target(config: &Config) -> TargetConfig {
    TargetConfig {
        triple: config.override_triple.clone(),
        default_triple: config.default_triple.clone(),
        cpu: config.cpu.clone(),
        features: config.attributes.join(","),
        cg_opt_level: config.codegen_opt_level,
        reloc: config.reloc_model,
        code_model: config.code_model,
        function_sections: config.function_sections.unwrap_or(false),
        data_sections: config.data_sections.unwrap_or(false),
        use_init_array: !config.use_ctors,
        emit_addrsig: config.addrsig,
        relax_elf_relocations: config.relax_elf_relocations,
        asm_verbose: config.output == OutputKind::Assembly,
        debugger_tuning: config.debugger_tuning,
        ..TargetConfig::default()
    }
}

fn pipeline(config: &Config, sort: &str) -> String {
    let before = profile::passes_before(config, sort);
    let usual = || format!("{before}{sort}<O{}>", config.opt_level);
    config.opt_pipeline.clone().unwrap_or_else(usual)
}

fn passes(config: &Config) -> PassOptions {
    PassOptions {
        debug_logging: config.debug_pass_manager,
        freestanding: config.freestanding,
        merge_functions: config.merge_functions,
        aa_pipeline: config.aa_pipeline.clone(),
        ..PassOptions::at_level(config.opt_level)
    }
}
