//! Programs for people and for tests, with the command lines of LLVM's.
//!
//! In: the arguments of a process. Out: its exit code, what it prints, the files it writes. These
//! are front ends: they convert and delegate.

pub mod command_line;
mod ending;
pub mod explain;
mod help;
mod line_runs;
mod llvm_version;
pub mod lto;
pub mod lto2;
mod lto2_options;
mod lto_inspect;
mod lto_regular;
mod lto_stages;
mod lto_thin;
pub mod memory;
mod resolutions;
mod saved_link;
mod shown;
mod symtab;
