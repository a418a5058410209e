//! The thin link's options where they name files.
//!
//! In: an option of LLVM's. Out: [`ThinLinkOptions`] with what it says, files read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::container::FileBytes;
use crate::error::Result;
use crate::summary::ReadOptions;
use crate::thinlink::{ThinLinkOptions, Workloads};

const WORKLOAD: &str = "thinlto-workload-def";

/// As [`ThinLinkOptions::take`], and `thinlto-workload-def=FILE`.
///
/// # Errors
/// As there; io and malformed, naming the file.
pub fn take_option(options: &mut ThinLinkOptions, option: &str) -> Result<bool> {
    let value = option.strip_prefix(WORKLOAD).and_then(|rest| rest.strip_prefix('='));
    let Some(file) = value else { return options.take(option) };
    let bytes = FileBytes::open(Path::new(OsStr::from_bytes(file.as_bytes())))?;
    options.workloads = Some(Workloads::parse(&bytes).map_err(|e| e.in_file(file))?);
    Ok(true)
}

/// Whether the option `name` needs a value.
pub fn wants_value(name: &str) -> bool {
    name == WORKLOAD || ThinLinkOptions::wants_value(name)
}

/// What the thin link must know of each module under these options.
pub fn read_options(options: &ThinLinkOptions) -> ReadOptions {
    ReadOptions {
        names: options.workloads.is_some() || options.memprof_dump_ccg,
        ..ReadOptions::THIN_LINK
    }
}
