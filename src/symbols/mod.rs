//! The linker's view of a module.
//!
//! In: a bitcode file. Out, for the two sorts of clients:
//!
//! - [`InputFile`]: the irsymtab's view, for the linker plugin and `lto_input_*`. Taken from the
//!   table that the file stores wherever it can be, else built from the module records.
//! - [`LtoModule`]: libLTO's view, for `lto_module_*`. Always from the module records, as the
//!   irsymtab has no alignments.
//!
//! Both give what LLVM 22 gives, in the same order, and both agree with each other.
//! Neither knows what the linker resolves, nor anything of function bodies.

pub mod asm;
pub mod build;
pub mod data_layout;
pub mod globals;
pub mod hash_order;
mod input;
pub mod irsymtab;
mod lto;
pub mod mangle;
mod objc;
mod param_attrs;
pub mod preserved;
mod preserved_table;
pub mod triple;

pub use input::{InputFile, build_table, producer};
pub use irsymtab::{Irsymtab, Symbol};
pub use lto::{LtoModule, attribute, lto_bitcode};
pub use objc::has_objc_category;
pub use param_attrs::ParamAttrs;
