//! One stage of one module alone, as `llvm-lto -thinlto-action=promote` and its kin take it.
//!
//! In: a module, the combined index that a thin link wrote and, for imports, where the other modules
//! are. Out: bitcode. It must not know command lines, nor where the bitcode goes.
//!
//! Each stage makes its own thin link out of the index, up to what it needs, and so do LLVM's
//! (`ThinLTOCodeGenerator::promote` and the functions behind it, ThinLTOCodeGenerator.cpp). What is
//! found for one module stays in the index for the next.

use std::path::Path;

use super::inputs::{Module, Modules};
use super::settings::{Resolved, Settings};
use super::{Input, run_as_it_is};
use crate::backend::{self, Link, Made, Marks, Phases, Settings as BackendSettings, Source};
use crate::bitcode::{BitcodeFile, BitcodeModule};
use crate::config::OutputKind;
use crate::container::{FileBytes, find_bitcode};
use crate::engine::{Bytes, Diagnostic, LazyEngine, Lease, Producer};
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::summary::{GvFlags, ModuleId, ModuleSummaryIndex, SummaryId, VariableFlags};
use crate::surgery::thin;
use crate::thinlink::{Behaviour, LegacyPhases, LinkPlan, ThinLinkOptions};

/// The first LLVM whose bitcode writer takes the order of uses from an option.
const USELIST_OPTION_SINCE: u32 = 20;

/// A stage that bitcode comes out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What others refer to is promoted, of several copies one stays.
    Promote,
    /// The same, and what nothing outside refers to becomes internal.
    Internalize,
    /// What the module is to import is imported; it is not promoted.
    Import,
    /// It is optimized as it stands.
    Optimize,
}

/// What a stage gave.
#[derive(Debug)]
pub struct Staged {
    /// The module.
    pub bitcode: Bytes,
    /// LLVM's messages.
    pub diagnostics: Vec<Diagnostic>,
}

/// Modules of a combined index, read from the files that it names.
#[derive(Default)]
pub struct IndexedFiles {
    files: Vec<FileBytes>,
}

impl IndexedFiles {
    /// Opens all of them.
    ///
    /// # Errors
    /// Io, naming the file.
    pub fn open(index: &ModuleSummaryIndex) -> Result<Self> {
        let open = |path: &[u8]| {
            use std::os::unix::ffi::OsStrExt;
            let name = String::from_utf8_lossy(path).into_owned();
            FileBytes::open(Path::new(std::ffi::OsStr::from_bytes(path)))
                .map_err(|e| e.in_file(name))
        };
        let files = index.modules().iter().map(|m| open(&m.path)).collect::<Result<_>>()?;
        Ok(IndexedFiles { files })
    }
}

/// Takes a stage. `index` is none for [`Stage::Optimize`] alone, and `others` are empty but for
/// [`Stage::Import`].
///
/// # Errors
/// A module that the index does not hold; malformed bitcode; what the thin link or the engine says.
pub fn stage(
    stage: Stage,
    settings: &Settings,
    input: &Input<'_>,
    index: Option<&mut ModuleSummaryIndex>,
    others: &IndexedFiles,
) -> Result<Staged> {
    let modules = Modules::read(std::slice::from_ref(input))?;
    let mut resolved = Resolved::new(settings, &modules)?;
    let mut producers = modules.producers()?;
    let sources = others.sources(index.as_deref(), &mut producers)?;
    let mut engine = LazyEngine::new(resolved.engine.clone(), producers)?;
    let version = engine.library().version.major;
    if version >= USELIST_OPTION_SINCE {
        engine = engine.with_options(&["-preserve-bc-uselistorder".to_owned()])?;
    }
    let Some(module) = modules.get(0) else {
        return Err(Error::misuse("a stage of no module"));
    };
    let Some(index) = index else { return optimize(module, &resolved, &engine) };
    resolved.thin_link.behaviour = Behaviour::of_llvm(version);
    // What is said of functions is the work of a whole run alone.
    resolved.thin_link.disable_thinlto_funcattrs = true;
    let preserved = modules.preserved(&settings.preserved, &resolved.thin_link.behaviour)?;
    let work = Work {
        options: &resolved.thin_link,
        preserved: &preserved,
        marks: Marks::wanted(true, engine.cl_opts()),
        module,
        id: index
            .find_module(module.identifier.as_bytes())
            .ok_or_else(|| Error::misuse("the index does not hold this module"))?,
    };
    let job = match stage {
        Stage::Import => work.import(index, sources)?,
        Stage::Promote => work.promote(index)?,
        Stage::Internalize => work.internalize(index)?,
        Stage::Optimize => return optimize(module, &resolved, &engine),
    };
    let backend = BackendSettings {
        output: OutputKind::Bitcode,
        keep_value_names: true,
        ..resolved.backend.clone()
    };
    finished(job.run(&backend, &engine, &mut |_, _| Ok(true))?)
}

/// Keeps in the index what a thin link decided, as LLVM does, which has no plan beside it.
pub fn keep(index: &mut ModuleSummaryIndex, plan: &LinkPlan) {
    let changed: Vec<(SummaryId, GvFlags, VariableFlags)> = index
        .summaries()
        .map(|summary| (summary.id(), plan.flags(summary), plan.variable_flags(summary)))
        .collect();
    for (id, flags, variable_flags) in changed {
        index.set_summary_flags(id, flags);
        index.set_variable_flags(id, variable_flags);
    }
    index.set_flags(plan.index_flags);
}

fn optimize(module: &Module<'_>, resolved: &Resolved, engine: &LazyEngine) -> Result<Staged> {
    let mut optimized = None;
    let settings = BackendSettings { keep_value_names: true, ..resolved.backend.clone() };
    let made = run_as_it_is(module, &settings, engine, &mut |stage, lease: &mut Lease| {
        if stage == backend::Stage::Opt {
            optimized = Some(lease.write_bitcode()?);
        }
        Ok(optimized.is_none())
    })?;
    finished(Made { object: optimized, ..made })
}

fn finished(made: Made) -> Result<Staged> {
    let bitcode = made.object.ok_or_else(|| Error::engine("a stage without bitcode"))?;
    Ok(Staged { bitcode, diagnostics: made.diagnostics })
}

impl IndexedFiles {
    /// By module of the index, its bitcode; empty where nothing was opened. Adds who wrote it.
    fn sources(
        &self,
        index: Option<&ModuleSummaryIndex>,
        producers: &mut Vec<Producer>,
    ) -> Result<Vec<Option<Source<'_>>>> {
        let modules = index.map(|index| index.modules()).unwrap_or_default();
        let mut sources = Vec::with_capacity(modules.len());
        for (bytes, module) in self.files.iter().zip(modules) {
            let place = String::from_utf8_lossy(&module.path).into_owned();
            let (location, producer) = read(bytes).map_err(|e| e.in_file(&place))?;
            if !producers.contains(&producer) {
                producers.push(producer);
            }
            sources.push(Some(Source { identifier: place.clone(), place, location }));
        }
        Ok(sources)
    }
}

/// Where a file's bitcode is, and who wrote it.
fn read(bytes: &[u8]) -> Result<(BitcodeModule<'_>, Producer)> {
    let file = BitcodeFile::read(find_bitcode(bytes)?.bytes)?;
    let &[location] = file.modules.as_slice() else {
        return Err(Error::unsupported("a file of several modules"));
    };
    let producer = location.identification()?.producer;
    Ok((location, Producer::parse(&String::from_utf8_lossy(&producer))))
}

/// The work of one stage on one module.
struct Work<'w, 'a> {
    options: &'w ThinLinkOptions,
    preserved: &'w [Guid],
    marks: Marks,
    module: &'w Module<'a>,
    id: ModuleId,
}

impl<'a> Work<'_, 'a> {
    fn plan(&self, index: &ModuleSummaryIndex, phases: LegacyPhases) -> Result<LinkPlan> {
        LinkPlan::legacy(index, self.preserved, phases, self.options)
    }

    fn link<'l>(
        &self,
        index: &'l ModuleSummaryIndex,
        plan: &'l LinkPlan,
        phases: Phases,
        mut sources: Vec<Option<Source<'a>>>,
    ) -> Link<'l, 'a> {
        sources.resize_with(index.modules().len(), || None);
        if let Some(source) = sources.get_mut(self.id.index()) {
            *source = Some(Source {
                identifier: self.module.identifier.clone(),
                place: self.module.identifier.clone(),
                location: self.module.location,
            });
        }
        // These stages never take dso_local off declarations, whatever the code is for.
        let reloc = Some(crate::config::RelocModel::Static);
        let mut link = Link::new(index, plan, sources, reloc, phases);
        link.marks = self.marks;
        link
    }

    fn job(&self, (destination, prepare): (Vec<u8>, Vec<crate::engine::Edit>)) -> backend::Job {
        backend::Job {
            identifier: self.module.identifier.clone(),
            place: self.module.identifier.clone(),
            destination,
            prepare,
            ..backend::Job::default()
        }
    }

    fn promote(&self, index: &mut ModuleSummaryIndex) -> Result<backend::Job> {
        let phases =
            Phases { promote: true, drop_dead: false, internalize: false, strip_memprof: false };
        let plan = self.plan(index, LegacyPhases::All)?;
        let link = self.link(index, &plan, phases, Vec::new());
        let resolved = self.plan(index, LegacyPhases::Resolve)?;
        let before = self.link(index, &resolved, phases, Vec::new());
        let values = link.values(self.id)?;
        let mut decisions = before.decisions(values);
        for (decision, later) in decisions.iter_mut().zip(link.decisions(values)) {
            decision.promoted = later.promoted;
        }
        let done = link.destination(values, &decisions, thin::Stage::ResolveThenPromote)?;
        keep(index, &plan);
        Ok(self.job(done))
    }

    fn internalize(&self, index: &mut ModuleSummaryIndex) -> Result<backend::Job> {
        let plan = self.plan(index, LegacyPhases::All)?;
        let exports = index.module_summaries(self.id).any(|s| plan.exports.contains(SummaryId(s)));
        // Who asks for nothing to be preserved keeps everything.
        if self.preserved.is_empty() && !exports {
            let plan = self.plan(index, LegacyPhases::Imports)?;
            keep(index, &plan);
            return Ok(self.job((self.module.bitcode.to_vec(), Vec::new())));
        }
        let phases =
            Phases { promote: true, drop_dead: false, internalize: true, strip_memprof: false };
        let link = self.link(index, &plan, phases, Vec::new());
        let values = link.values(self.id)?;
        let done = link.destination(values, &link.decisions(values), thin::Stage::Internalize)?;
        keep(index, &plan);
        Ok(self.job(done))
    }

    fn import(
        &self,
        index: &mut ModuleSummaryIndex,
        sources: Vec<Option<Source<'a>>>,
    ) -> Result<backend::Job> {
        let plan = self.plan(index, LegacyPhases::Imports)?;
        let phases =
            Phases { promote: false, drop_dead: false, internalize: false, strip_memprof: false };
        let link = self.link(index, &plan, phases, sources);
        let mut job = link.job(self.id)?;
        let values = link.values(self.id)?;
        job.finish.extend(link.internalize_marked(values)?);
        keep(index, &plan);
        Ok(job)
    }
}
