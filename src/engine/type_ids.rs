//! The passes of a ThinLTO backend that do type tests and virtual calls by the whole program's word.
//!
//! In: resolutions of type identifiers as YAML. Out: the module changed by them. Knows nothing of
//! where they come from.
//!
//! LLVM's C API can build these passes by their names alone, and then they read what they shall do
//! from a file that options name. Options are the process's and cannot be set twice in every LLVM:
//! so they name, for good, a file in memory whose contents change. Nothing else builds the passes
//! by name, and other pipelines do not look at the options.

use super::api::Api;
use super::clopt;
use super::memory::memfd;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;

/// Both passes, in the order of `PassBuilder::buildThinLTODefaultPipeline`.
const PIPELINE: &str = "wholeprogramdevirt,lowertypetests";

/// The file of this process, which only one machine may use at a time.
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Calls `run` with the pipeline that does what `types` says.
pub(super) fn during(api: &Api, types: &[u8], run: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let mut slot = FILE.lock();
    let file = match &mut *slot {
        Some(file) => file,
        empty => empty.insert(memfd(c"lto-type-ids", 0)?),
    };
    fill(file, types).map_err(|e| Error::io("writing to shared memory", &e))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let options = ["wholeprogramdevirt", "lowertypetests"].map(|pass| {
        [format!("-{pass}-summary-action=import"), format!("-{pass}-read-summary={path}")]
    });
    clopt::apply(api, &options.concat())?;
    run(PIPELINE)
}

fn fill(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(bytes)
}
