//! `llvm-lto -thinlto-action=promote`, `internalize`, `import` and `optimize`: one stage of each file,
//! as bitcode.
//!
//! In: files, the combined index and the options of the command line. Out: a file beside each, or
//! one that was named. Source of words and names: `ThinLTOProcessing` of llvm-lto.cpp.

use super::lto::{Job, PROGRAM, path, suffixed, write_output};
use crate::container::FileBytes;
use crate::engine::Severity;
use crate::error::{Error, Result};
use crate::legacy::{self, IndexedFiles, Input, SingleStage};
use crate::summary::ModuleSummaryIndex;

/// Takes the stage for every file. What was found for one counts for the next.
pub(super) fn run(
    job: &Job<'_>,
    stage: SingleStage,
    mut index: Option<ModuleSummaryIndex>,
) -> Result<()> {
    job.check_output()?;
    if stage == SingleStage::Internalize && job.exported.is_empty() {
        eprintln!("Warning: -internalize will not perform without -exported-symbol");
    }
    if job.code.module_id.is_some() && job.files.len() != 1 {
        return Err(Error::misuse("Can't override the module id for multiple files"));
    }
    let settings = job.code.settings(&job.exported)?;
    let others = match (&index, stage) {
        (Some(index), SingleStage::Import) => IndexedFiles::open(index)?,
        _ => IndexedFiles::default(),
    };
    let suffix = match stage {
        SingleStage::Promote => ".thinlto.promoted.bc",
        SingleStage::Internalize => ".thinlto.internalized.bc",
        SingleStage::Import | SingleStage::Optimize => ".thinlto.imported.bc",
    };
    for file in &job.files {
        let bytes = FileBytes::open(path(file))?;
        let identifier = job.code.module_id.as_deref().unwrap_or(file);
        let identifier = String::from_utf8_lossy(identifier).into_owned();
        let input = Input { identifier, bytes: &bytes };
        let staged = legacy::stage(stage, &settings, &input, index.as_mut(), &others)
            .map_err(|e| e.in_file(String::from_utf8_lossy(file)))?;
        for said in &staged.diagnostics {
            eprintln!("{PROGRAM}: {}: {}", severity(said.severity), said.text);
        }
        write_output(&suffixed(job.output.as_ref(), file, suffix), &staged.bitcode)?;
    }
    Ok(())
}

/// LLVM's word for it.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Remark => "remark",
        Severity::Note => "note",
    }
}
