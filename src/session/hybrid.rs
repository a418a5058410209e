//! Regular LTO of split modules, which must be over before their thin link.
//!
//! In: the unit of regular LTO and the index. Out: what came of the unit; and in the index, how all
//! modules test types and call virtual functions. It must not know how a backend does that.
//!
//! clang splits a module (`-fsplit-lto-unit`) into a part with virtual tables, which are merged by
//! regular LTO, and one for the thin link, whose summary says what it asks of types. LLVM's passes
//! look at both: they lay out the tables and write jump tables, and say by which tests a type is
//! known (`LTO::runRegularLTO` with an `ExportSummary`).
//!
//! LLVM has these passes in the middle of its pipeline. By their names they can only be run before
//! and behind it.

use super::{Input, Output, find_engine, producers, read, steer};
use std::cell::RefCell;

use super::compile::{self, Moment};
use super::plan::{self, PlannedUnit, UnitKind};
use crate::backend::Made;
use crate::bitcode::module_flag;
use crate::config::Config;
use crate::engine::{Diagnostic, Edit, LazyEngine, Lease, PassOptions, TypePass};
use crate::error::{Error, Result};
use crate::summary::{ModuleSummaryIndex, PassSummary, SummaryId, TypeResolutions, index_as_yaml};
use crate::thinlink::{Liveness, ThinLinkOptions};

/// The first LLVM whose passes can be told twice in one process what to do.
const SETS_OPTIONS_TWICE: u32 = 16;

/// What tests a type.
const TEST: &str = "llvm.type.test";

/// What the names begin with of all that test one while they load a function.
const CHECKED_LOAD: &str = "llvm.type.checked.load";

/// Compiles the unit of regular LTO, if there is one, and gives what that says of types.
///
/// # Errors
/// The engine's; unsupported where types are to be known across shared objects.
pub(super) fn resolve(
    config: &Config,
    engine: &LazyEngine,
    inputs: &[Input<'_>],
    unit: Option<&PlannedUnit<'_>>,
    index: &ModuleSummaryIndex,
    live: &Liveness,
) -> Result<(Made, TypeResolutions)> {
    let mut types = Types { index, live, opt_level: config.opt_level, calls: None, tests: None };
    let mut made = Made::default();
    if let Some(unit) = unit {
        check_one_linkage_unit(inputs, unit)?;
        let mut watch = |moment: Moment, lease: &mut Lease| match moment {
            Moment::Before => types.before(lease),
            Moment::After => types.after(lease),
        };
        made = compile::compile_merged(config, engine, inputs, unit, &mut watch)?;
    }
    Ok((made, types.found()))
}

/// What regular LTO gives where the rest of a link is compiled elsewhere.
#[derive(Debug, Default)]
pub struct SplitParts {
    /// What it found out of types.
    pub types: TypeResolutions,
    /// Its object or, in parts, its objects; none where there is no unit of regular LTO.
    pub objects: Vec<Output>,
    /// LLVM's messages.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles the parts of split modules that regular LTO merges, for a thin link that lacks what they
/// say of types ([`ThinInputs::lacks_type_resolutions`](crate::distributed::ThinInputs::lacks_type_resolutions)).
///
/// # Errors
/// The first in the order of the inputs, and the engine's.
pub fn split_parts(
    config: &Config,
    options: &ThinLinkOptions,
    inputs: &[Input<'_>],
) -> Result<SplitParts> {
    let files =
        inputs.iter().map(|i| read(i).map_err(|e| i.blame(e))).collect::<Result<Vec<_>>>()?;
    let mut options = options.clone();
    let config = steer(config, &mut options)?;
    let engine = find_engine(&config, &producers(inputs, &files)?)?;
    let found = RefCell::new(TypeResolutions::default());
    let resolve = |unit: Option<&PlannedUnit<'_>>, index: &_, live: &_| {
        let (made, types) = resolve(&config, &engine, inputs, unit, index, live)?;
        found.replace(types.clone());
        Ok((made, types))
    };
    let plan = plan::plan(&config, Some(&options), inputs, &files, &resolve)?;
    let mut parts = SplitParts { types: found.into_inner(), ..SplitParts::default() };
    for unit in plan.units {
        if let UnitKind::Made { made, .. } = unit.kind
            && let Some(made) = made.into_inner()
        {
            let objects = made.object.into_iter().chain(made.further).enumerate();
            parts.objects.extend(objects.map(|(part, bytes)| Output {
                task: unit.task + part,
                name: compile::MERGED.to_owned(),
                bytes,
            }));
            parts.diagnostics.extend(made.diagnostics);
        }
    }
    Ok(parts)
}

/// Both passes over the merged module, and what they found.
struct Types<'l> {
    index: &'l ModuleSummaryIndex,
    live: &'l Liveness,
    opt_level: u8,
    /// Of virtual calls, once that is known.
    calls: Option<PassSummary>,
    /// Of type tests, once that is known.
    tests: Option<PassSummary>,
}

impl Types<'_> {
    fn before(&mut self, lease: &mut Lease) -> Result<()> {
        if self.opt_level > 0 {
            // Tables that nothing uses would be targets.
            lease.passes("globaldce", PassOptions::at_level(0))?;
        }
        // Where the merged module tests types itself, the pipeline would, not knowing of others.
        let tests = |name: &str| name == TEST || name.starts_with(CHECKED_LOAD);
        let tests_types = lease.globals()?.iter().any(|g| tests(&g.name));
        // LLVM's pipelines of these levels end with these passes.
        if !tests_types && self.opt_level < 2 {
            return Ok(());
        }
        self.calls = Some(self.run(lease, TypePass::WholeProgramDevirt)?);
        if tests_types {
            self.lower_type_tests(lease)?;
        }
        lease.edit(&[Edit::SetAside { names: branch_funnel() }])
    }

    fn after(&mut self, lease: &mut Lease) -> Result<()> {
        match self.calls {
            Some(_) => lease.edit(&[Edit::Supersede { names: branch_funnel() }])?,
            None => self.calls = Some(self.run(lease, TypePass::WholeProgramDevirt)?),
        }
        if self.tests.is_none() {
            self.lower_type_tests(lease)?;
            if self.opt_level > 1 {
                lease.passes("globaldce", PassOptions::at_level(0))?;
            }
        }
        if lease.llvm_major() < SETS_OPTIONS_TWICE {
            lease.retire();
        }
        Ok(())
    }

    fn lower_type_tests(&mut self, lease: &mut Lease) -> Result<()> {
        self.tests = Some(self.run(lease, TypePass::LowerTypeTests)?);
        lease.edit(&[Edit::AssumeTypeTests])
    }

    fn run(&self, lease: &mut Lease, pass: TypePass) -> Result<PassSummary> {
        let is_live = |id: SummaryId| self.live.flag(id.index());
        let summaries = index_as_yaml(self.index, is_live, self.live.computed, self.calls.as_ref());
        PassSummary::read(&lease.export_types(pass, &summaries)?)
    }

    fn found(self) -> TypeResolutions {
        let tests = self.tests.unwrap_or_default();
        let mut type_ids = self.calls.unwrap_or_default().type_ids;
        for (name, tested) in tests.type_ids {
            let id = type_ids.entry(name).or_insert_with(|| tested.clone());
            id.type_test = tested.type_test;
        }
        TypeResolutions {
            type_ids: type_ids.into_values().collect(),
            cfi_function_defs: tests.cfi_function_defs,
            cfi_function_decls: tests.cfi_function_decls,
        }
    }
}

/// What calls one of several virtual functions. By its own name the pipeline's own pass would lay out
/// the tables that it looks at.
fn branch_funnel() -> Vec<String> {
    vec!["llvm.icall.branch.funnel".to_owned()]
}

/// A program whose shared objects ask one another is checked by functions that LLVM's pipeline makes
/// out of what the passes here take away.
fn check_one_linkage_unit(inputs: &[Input<'_>], unit: &PlannedUnit<'_>) -> Result<()> {
    let UnitKind::Regular { modules, .. } = &unit.kind else { return Ok(()) };
    for module in modules {
        let Some(input) = inputs.get(module.input) else { continue };
        let flag = module_flag(&module.module, b"Cross-DSO CFI").map_err(|e| input.blame(e))?;
        if flag.is_some_and(|flag| flag != 0) {
            return Err(input.blame(Error::unsupported(
                "control-flow integrity across shared objects (-fsanitize-cfi-cross-dso) is not \
                 served for ThinLTO",
            )));
        }
    }
    Ok(())
}
