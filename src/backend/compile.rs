//! A job, made into an object by an engine.
//!
//! In: a [`Job`] and [`Settings`]. Out: the object, or the assembly or bitcode that was asked for
//! instead. It decides nothing: the job says what, the settings say how. Once sent, bitcode is not
//! kept: the engine needs the memory.

use super::job::{Job, Part};
use crate::config::{BitcodeEmbedding, OutputKind, RemarkOptions};
use crate::engine::{Bytes, FileType, Lease, PassOptions, TargetConfig};
use crate::error::Result;

/// How to compile: the same for all modules of a link.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What code generation aims at.
    pub target: TargetConfig,
    /// The optimization pipeline, such as `thinlto<O2>`.
    pub pipeline: String,
    /// Its tuning.
    pub passes: PassOptions,
    /// Which bitcode the object carries.
    pub embed_bitcode: BitcodeEmbedding,
    /// Leave out optimization (`CodeGenOnly`).
    pub codegen_only: bool,
    /// What to give.
    pub output: OutputKind,
    /// Keep the names of values, for people who read bitcode.
    pub keep_value_names: bool,
    /// Which optimization remarks to write.
    pub remarks: Option<RemarkOptions>,
}

/// After which step the module is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Promotion and internalization are done.
    Internalize,
    /// Everything is imported.
    Import,
    /// It is optimized.
    Opt,
    /// Code generation is next.
    PreCodegen,
}

/// What came of a job.
pub type Compiled = Option<Bytes>;

/// Compiles. `watch` is called after each step, with the module in the lease as it stands then;
/// it may end the job, where it says false, without an object.
///
/// # Errors
/// The engine's, naming the module.
pub fn compile(
    mut job: Job,
    settings: &Settings,
    lease: &mut Lease,
    watch: &mut dyn FnMut(Stage, &mut Lease) -> Result<bool>,
) -> Result<Compiled> {
    if settings.output == OutputKind::Nothing {
        return Ok(None);
    }
    lease.send_ahead();
    lease.keep_value_names(settings.keep_value_names)?;
    if let Some(remarks) = &settings.remarks {
        lease.write_remarks(remarks)?;
    }
    lease.load(&job.place, &std::mem::take(&mut job.destination))?;
    if !settings.codegen_only {
        lease.edit(&job.prepare)?;
        if !watch(Stage::Internalize, lease)? {
            return Ok(None);
        }
        import(std::mem::take(&mut job.parts), lease)?;
        if !job.finish.is_empty() {
            lease.edit(&job.finish)?;
        }
        if !watch(Stage::Import, lease)? {
            return Ok(None);
        }
    }
    if settings.output == OutputKind::Bitcode {
        return lease.write_bitcode().map(Some);
    }
    lease.set_target(&settings.target)?;
    if !settings.codegen_only {
        if let Some(index) = &job.memprof {
            lease.clone_for_memprof(index)?;
        }
        if let Some(types) = &job.types {
            lease.resolve_types(types)?;
        }
        if settings.embed_bitcode == BitcodeEmbedding::PostMergePreOptimized {
            lease.embed_bitcode(true)?;
        }
        lease.passes(&settings.pipeline, settings.passes.clone())?;
        if !watch(Stage::Opt, lease)? {
            return Ok(None);
        }
    }
    if !watch(Stage::PreCodegen, lease)? {
        return Ok(None);
    }
    if settings.embed_bitcode == BitcodeEmbedding::Optimized {
        lease.embed_bitcode(false)?;
    }
    let file_type = match settings.output {
        OutputKind::Assembly => FileType::Assembly,
        _ => FileType::Object,
    };
    lease.emit(file_type).map(Some)
}

fn import(parts: Vec<Part>, lease: &mut Lease) -> Result<()> {
    for Part { place, suffix: _, bitcode, before, after } in parts {
        if !before.is_empty() {
            lease.edit(&before)?;
        }
        lease.import(&place, &bitcode)?;
        if !after.is_empty() {
            lease.edit(&after)?;
        }
    }
    Ok(())
}
