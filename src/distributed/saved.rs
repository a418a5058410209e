//! What `save-temps` leaves of a thin link.
//!
//! In: the index, the plan and the files of the link. Out: `PREFIXindex.bc`, the combined index as
//! it is before linkages are decided, and `PREFIXindex.dot`, its picture.

use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::graph::{ValueNames, graph};
use super::{Shards, write_atomically};
use crate::error::Result;
use crate::summary::ModuleSummaryIndex;
use crate::thinlink::LinkPlan;

/// Writes both files. `files` are the link's, each as bitcode.
///
/// # Errors
/// Where a file of the link cannot be read, or the two cannot be written.
pub fn save_index<B: Deref<Target = [u8]>>(
    prefix: &Path,
    index: &ModuleSummaryIndex,
    plan: &LinkPlan,
    files: impl Iterator<Item = Result<B>>,
) -> Result<()> {
    let format = plan.options.behaviour.format();
    let path = |end: &str| {
        let bytes = [prefix.as_os_str().as_bytes(), end.as_bytes()].concat();
        OsString::from_vec(bytes)
    };
    let combined = Shards::new(index, plan).combined_index_before_linkage(format);
    write_atomically(Path::new(&path("index.bc")), &combined)?;
    let mut names = ValueNames::default();
    for file in files {
        names.add(&file?)?;
    }
    write_atomically(Path::new(&path("index.dot")), &graph(index, plan, &names))
}
