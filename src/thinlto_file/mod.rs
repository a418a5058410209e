//! The ThinLTO file API: `lto_has_thinlto_index` and `lto_thinlto_*` of thinlto_file.h.
//!
//! In: calls of compilers, linkers and tools, with paths, descriptors and buffers. Out: whether
//! there is an index, the index itself field by field, and files with it, raw or in a native
//! object.
//!
//! | file | what |
//! |---|---|
//! | `types`, `link_types` | what the header declares |
//! | `index_object` | what a `thin_lto_t` stands for: an index that others are merged into |
//! | `link_object` | what a `thin_link_t` stands for: files and resolutions on their way to indexes |
//! | `write_json` | an index as JSON |
//! | `fill` | structures that can grow |
//! | `file`, `modules`, `summaries`, `profile`, `types_of_program`, `link` | the exports |
//!
//! Only conversion happens here: formats are [`crate::summary`]'s, containers
//! [`crate::container`]'s, links [`crate::session`]'s. The wall between C and Rust, and the message of
//! `lto_get_error_message`, are shared with [`crate::capi`].

// The contract of each export, with its safety, is its text in the C header.
#![allow(clippy::missing_safety_doc)]

pub mod file;
mod fill;
mod index_object;
pub mod link;
mod link_object;
pub mod link_types;
pub mod modules;
pub mod profile;
pub mod summaries;
pub mod types;
pub mod types_of_program;
pub mod write_json;

pub use crate::distributed::write_atomically;
pub use index_object::ThinIndex;
pub use modules::find_name;
