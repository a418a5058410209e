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
use crate::config::{CodeModel, Config, OutputKind, RelocModel};
use crate::engine::{
    self, Bytes, Diagnostic, Edit, Engine, FileType, Lease, Linkage, PassOptions, TargetConfig,
};
use crate::error::{Error, Result};
use crate::surgery;

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
    let jobs =
        config.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Compiled>)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(unit) = units.get(index) else { return };
            let result = Unit { config, inputs, unit }.compile(engine);
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
    for (unit, (_, result)) in units.iter().zip(done) {
        let (bytes, said) = result?;
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
        UnitKind::Thin(module) => {
            inputs.get(module.input).map_or_else(String::new, |input| input.identifier.clone())
        }
    }
}

/// The stages at which `save_temps` leaves the module, by LLVM's names.
#[derive(Clone, Copy)]
enum Stage {
    PreOpt,
    Internalize,
    Opt,
    PreCodegen,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Stage::PreOpt => "0.preopt",
            Stage::Internalize => "2.internalize",
            Stage::Opt => "4.opt",
            Stage::PreCodegen => "5.precodegen",
        }
    }
}

struct Unit<'c, 'a> {
    config: &'c Config,
    inputs: &'c [Input<'a>],
    unit: &'c PlannedUnit<'a>,
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
        let pipeline = match &self.unit.kind {
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
                format!("lto<O{}>", self.config.opt_level)
            }
            UnitKind::Thin(module) => {
                let input = self.input(module)?;
                let bitcode = self.operate(module)?;
                lease.load(&input.place(), &bitcode)?;
                self.save(lease, Stage::PreOpt)?;
                if self.config.output == OutputKind::Nothing {
                    return Ok(None);
                }
                format!("thinlto<O{}>", self.config.opt_level)
            }
        };
        self.save(lease, Stage::Internalize)?;
        if self.config.output == OutputKind::Bitcode {
            return lease.write_bitcode().map(Some);
        }
        lease.set_target(&self.target())?;
        let options = PassOptions {
            debug_logging: self.config.debug_pass_manager,
            ..PassOptions::at_level(self.config.opt_level)
        };
        lease.passes(&pipeline, options)?;
        self.save(lease, Stage::Opt)?;
        self.save(lease, Stage::PreCodegen)?;
        let file_type = match self.config.output {
            OutputKind::Assembly => FileType::Assembly,
            _ => FileType::Object,
        };
        lease.emit(file_type).map(Some)
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
            function_sections: config.function_sections,
            data_sections: config.data_sections,
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
            UnitKind::Regular { .. } => format!("{prefix}{}.", self.unit.task),
            UnitKind::Thin(module) => format!("{}.", self.input(module)?.identifier),
        };
        let path = format!("{prefix}{}.bc", stage.suffix());
        let bitcode = lease.write_bitcode()?;
        fs::write(&path, &*bitcode).map_err(|e| Error::io(format_args!("cannot write {path}"), &e))
    }
}
