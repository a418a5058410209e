//! The thin link as build systems run it: files in, an index for every backend out.
//!
//! In: the inputs of a link with what the linker said of their symbols ([`inputs`]), a
//! [`crate::thinlink::LinkPlan`]. Out: for each module the bytes of its distributed index
//! (`.thinlto.bc`) and of its list of source modules (`.imports`), and the files themselves
//! ([`files`]), each complete or not there (`output`); and what `save-temps` leaves of the whole (`saved`, `graph`). It must not know which linker or tool asked.
//!
//! The contract is `WriteIndexesThinBackend` of LLVM's LTO.cpp; clang reads the result with
//! `-fthinlto-index=`.

pub mod files;
mod graph;
pub mod inputs;
mod options;
mod output;
mod saved;
mod shards;
mod temporary;

pub use files::{IndexFiles, PrefixReplace, SuffixReplace, Unindexed, member_name};
pub use graph::ValueNames;
pub use inputs::{Source, ThinInputs, read_with};
pub use options::{read_options, take_option, wants_value};
pub use output::write_atomically;
pub use saved::save_index;
pub use shards::{Shards, empty_index};
pub use temporary::write_temporary;
