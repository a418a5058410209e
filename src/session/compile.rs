//! Each unit of a plan, made into an object.
//!
//! In: the plan and an engine. Out: objects, and what LLVM said. Units are compiled several at a
//! time, each by a machine of its own; the regular one is first, as it is the largest. What comes
//! out does not depend on how many run at once, nor on which ends first.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::plan::{Plan, PlannedModule, PlannedUnit, UnitKind};
use super::{Input, Output};
use crate::backend::{self, Link, Phases, Settings};
use crate::config::{CodeModel, Config, OutputKind, RelocModel};
use crate::engine::{
    self, Bytes, Diagnostic, Edit, Engine, FileType, Lease, Linkage, PassOptions, TargetConfig,
};
use crate::error::{Error, Result};
use crate::summary::ModuleId;
use crate::surgery::{self, Edits};

/// LLVM's name of the merged module.
const MERGED: &str = "ld-temp.o";

type Compiled = (Option<Bytes>, Vec<Diagnostic>);

pub(super) fn compile(
    config: &Config,
    engine: &Engine,
    inputs: &[Input<'_>],
    plan: &Plan<'_>,
) -> Result<(Vec<Output>, Vec<Diagnostic>)> {
    let units = &plan.units;
    let link = plan.thin.as_ref().map(|thin| {
        let reloc = config.reloc_model;
        let sources = thin.sources.clone();
        Link::new(&thin.index, &thin.plan, sources, reloc, Phases::RESOLUTION_BASED)
    });
    // The largest first, so that none is left over at the end. The regular one is first as it is.
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(units.get(index).map_or(0, |u| size(u, inputs))));
    let jobs =
        config.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Compiled>)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some((index, unit)) = order.get(turn).and_then(|&i| Some((i, units.get(i)?)))
            else {
                return;
            };
            let result = Unit { config, inputs, unit, link: link.as_ref() }.compile(engine);
            if result.is_err() {
                // Nobody needs to start what will be thrown away.
                next.store(units.len(), Ordering::Relaxed);
            }
            done.lock().push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(units.len()) {
            // Where a thread cannot be had, the others do its work.
            let _ = thread::Builder::new().name("lto".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(index, _)| *index);
    let mut outputs = Vec::new();
    let mut diagnostics = Vec::new();
    for (index, result) in done {
        let (bytes, said) = result?;
        let Some(unit) = units.get(index) else { continue };
        diagnostics.extend(said);
        outputs.extend(bytes.map(|bytes| Output {
            task: unit.task,
            name: name(unit, inputs),
            bytes,
        }));
    }
    Ok((outputs, diagnostics))
}

fn name(unit: &PlannedUnit<'_>, inputs: &[Input<'_>]) -> String {
    match &unit.kind {
        UnitKind::Regular { .. } => MERGED.to_owned(),
        UnitKind::Thin { input, .. } => {
            inputs.get(*input).map_or_else(String::new, |input| input.identifier.clone())
        }
    }
}

/// How much there is to compile; regular LTO is more than anything.
fn size(unit: &PlannedUnit<'_>, inputs: &[Input<'_>]) -> usize {
    match &unit.kind {
        UnitKind::Regular { .. } => usize::MAX,
        UnitKind::Thin { input, .. } => inputs.get(*input).map_or(0, |input| input.bitcode.len()),
    }
}

/// The stages at which `save_temps` leaves the module, by LLVM's names.
#[derive(Clone, Copy)]
enum Stage {
    PreOpt,
    Promote,
    Internalize,
    Import,
    Opt,
    PreCodegen,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Stage::PreOpt => "0.preopt",
            Stage::Promote => "1.promote",
            Stage::Internalize => "2.internalize",
            Stage::Import => "3.import",
            Stage::Opt => "4.opt",
            Stage::PreCodegen => "5.precodegen",
        }
    }
}

struct Unit<'c, 'a> {
    config: &'c Config,
    inputs: &'c [Input<'a>],
    unit: &'c PlannedUnit<'a>,
    link: Option<&'c Link<'c, 'a>>,
}

impl From<backend::Stage> for Stage {
    fn from(stage: backend::Stage) -> Self {
        match stage {
            backend::Stage::Internalize => Stage::Internalize,
            backend::Stage::Import => Stage::Import,
            backend::Stage::Opt => Stage::Opt,
            backend::Stage::PreCodegen => Stage::PreCodegen,
        }
    }
}

impl Unit<'_, '_> {
    fn compile(&self, engine: &Engine) -> Result<Compiled> {
        let mut lease = engine.lease()?;
        let bytes = self.steps(&mut lease);
        let mut diagnostics = lease.take_diagnostics();
        // An error says it already.
        diagnostics.retain(|d| bytes.is_ok() || d.severity != engine::Severity::Error);
        Ok((bytes?, diagnostics))
    }

    fn steps(&self, lease: &mut Lease) -> Result<Option<Bytes>> {
        // Whoever asks for the stages wants to read them.
        lease.keep_value_names(self.config.save_temps.is_some())?;
        match &self.unit.kind {
            UnitKind::Regular { modules, commons, internalize } => {
                lease.new_module(MERGED)?;
                for module in modules {
                    let input = self.input(module)?;
                    let bitcode = self.operate(module)?;
                    lease.link(&input.place(), &bitcode).map_err(|error| {
                        error
                            .without_place()
                            .context(format_args!("Failed to link module {}", input.place()))
                    })?;
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
                self.save(lease, Stage::PreOpt)?;
                if self.config.output == OutputKind::Nothing {
                    return Ok(None);
                }
                // Linking may have left a name with less than a definition, or with a local one.
                let edits = lease
                    .globals()?
                    .into_iter()
                    .filter(|g| {
                        !g.is_declaration && !g.linkage.is_local() && internalize.contains(&g.name)
                    })
                    .map(|g| Edit::SetLinkage { name: g.name, linkage: Linkage::Internal })
                    .collect::<Vec<_>>();
                lease.edit(&edits)?;
            }
            UnitKind::Thin { module, .. } => return self.thin(*module, lease),
        }
        self.save(lease, Stage::Internalize)?;
        if self.config.output == OutputKind::Bitcode {
            return lease.write_bitcode().map(Some);
        }
        lease.set_target(&self.target())?;
        lease.passes(&format!("lto<O{}>", self.config.opt_level), self.passes())?;
        self.save(lease, Stage::Opt)?;
        self.save(lease, Stage::PreCodegen)?;
        let file_type = match self.config.output {
            OutputKind::Assembly => FileType::Assembly,
            _ => FileType::Object,
        };
        lease.emit(file_type).map(Some)
    }

    fn thin(&self, module: ModuleId, lease: &mut Lease) -> Result<Option<Bytes>> {
        let link = self.link.ok_or_else(|| Error::engine("a ThinLTO module without a link"))?;
        if self.config.save_temps.is_some() {
            let source = link.source(module)?;
            let original = surgery::rewrite(&link.values(module)?.module, &Edits::default())
                .map_err(|e| e.in_file(source.place.clone()))?;
            lease.load(&source.place, &original)?;
            self.save(lease, Stage::PreOpt)?;
            lease.reset()?;
            lease.keep_value_names(true)?;
            let (bitcode, prepare) = link.promoted(module)?;
            lease.load(&source.place, &bitcode)?;
            lease.edit(&prepare)?;
            self.save(lease, Stage::Promote)?;
            lease.reset()?;
            lease.keep_value_names(true)?;
        }
        let job = link.job(module)?;
        let settings = Settings {
            target: self.target(),
            pipeline: format!("thinlto<O{}>", self.config.opt_level),
            passes: self.passes(),
            codegen_only: false,
            output: self.config.output,
        };
        backend::compile(&job, &settings, lease, &mut |stage, lease| {
            self.save(lease, stage.into())?;
            Ok(true)
        })
    }

    fn passes(&self) -> PassOptions {
        PassOptions {
            debug_logging: self.config.debug_pass_manager,
            ..PassOptions::at_level(self.config.opt_level)
        }
    }

    fn input(&self, module: &PlannedModule<'_>) -> Result<&Input<'_>> {
        self.inputs.get(module.input).ok_or_else(|| Error::engine("a module of no input"))
    }

    fn operate(&self, module: &PlannedModule<'_>) -> Result<Vec<u8>> {
        let input = self.input(module)?;
        surgery::rewrite(&module.module, &module.edits).map_err(|e| input.blame(e))
    }

    fn target(&self) -> TargetConfig {
        let config = self.config;
        TargetConfig {
            triple: config.override_triple.clone(),
            cpu: config.cpu.clone(),
            features: config.attributes.join(","),
            cg_opt_level: config.codegen_opt_level,
            reloc: config.reloc_model.map(|model| match model {
                RelocModel::Static => engine::Reloc::Static,
                RelocModel::Pic => engine::Reloc::Pic,
                RelocModel::DynamicNoPic => engine::Reloc::DynamicNoPic,
            }),
            code_model: config.code_model.map(|model| match model {
                CodeModel::Tiny => engine::CodeModel::Tiny,
                CodeModel::Small => engine::CodeModel::Small,
                CodeModel::Kernel => engine::CodeModel::Kernel,
                CodeModel::Medium => engine::CodeModel::Medium,
                CodeModel::Large => engine::CodeModel::Large,
            }),
            function_sections: config.function_sections.unwrap_or(false),
            data_sections: config.data_sections.unwrap_or(false),
            relax_elf_relocations: config.relax_elf_relocations,
            asm_verbose: config.output == OutputKind::Assembly,
            ..TargetConfig::default()
        }
    }

    /// Leaves the module as it stands: `out.0.4.opt.bc` for the merged one, a thin one beside its
    /// input.
    fn save(&self, lease: &mut Lease, stage: Stage) -> Result<()> {
        let Some(prefix) = &self.config.save_temps else { return Ok(()) };
        let prefix = match &self.unit.kind {
            UnitKind::Thin { input, .. } if self.config.save_temps_beside_inputs => {
                let input = self.inputs.get(*input);
                format!("{}.", input.map_or("", |input| input.identifier.as_str()))
            }
            _ => format!("{prefix}{}.", self.unit.task),
        };
        let path = format!("{prefix}{}.bc", stage.suffix());
        let bitcode = lease.write_bitcode()?;
        fs::write(&path, &*bitcode).map_err(|e| Error::io(format_args!("cannot write {path}"), &e))
    }
}
