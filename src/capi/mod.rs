//! The C ABI of libLTO: `llvm-c/lto.h`, and the disassembler functions that LLVM's library offers
//! along with it.
//!
//! In: calls of linkers and tools, with everything that C allows to be wrong. Out: values, strings
//! and buffers that live as long as their object, and messages.
//!
//! ```text
//! types            what the header declares            arguments     C's arguments, checked
//! boundary         no panic and no error passes        diagnostics   the user's handler
//! last_error       lto_get_error_message               options       process-wide options
//! general, module, input, codegen, thin, disassembler: the exports
//! module_object, codegen_object, thin_object: what the handles stand for
//! ```
//!
//! Only conversion happens here. What a module's symbols are is decided in [`crate::symbols`], how
//! code is made in [`crate::engine`]. Handles are tokens of [`crate::registry`].

// The contract of each export, with its safety, is its text in the C header.
#![allow(clippy::missing_safety_doc)]

pub(crate) mod arguments;
pub(crate) mod boundary;
pub mod codegen;
mod codegen_object;
mod diagnostics;
pub mod disassembler;
pub mod general;
pub mod input;
mod last_error;
pub mod module;
mod module_object;
mod options;
mod progress;
mod runtime_symbols;
pub mod thin;
pub mod thin_object;
pub mod types;
