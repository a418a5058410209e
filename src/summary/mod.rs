//! Summaries: what ThinLTO knows of a module without its code.
//!
//! In: bitcode (of [`crate::container`], with what [`crate::bitcode`] finds in it). Out: a
//! [`ModuleSummaryIndex`] of one module or of many, and, the other way, the bitcode of one.
//! It must not know what the thin link decides, nor what a linker said of a symbol.
//!
//! | file | what |
//! |---|---|
//! | `scan`, `read`, `read_block`, `read_rare`, `values`, `codes` | from bitcode to a part |
//! | `write_combined`, `combined_blocks`, `records`, `strtab` | the bitcode of a combined index |
//! | `write_module`, `radix` | the summary of one module, in the module's own file |
//! | `assembly` | the text that `llvm-dis` shows |
//! | `excerpt` | of a file, only what summaries and symbols are read from |
//! | `quick` | whether there is a summary at all |
//! | `lazy`, `table` | one function of a large index |
//! | `types` | flags, references, calls and the rarer parts of a summary |
//! | `index` | the index and its accessors |
//! | `part` | the summaries of one file, or of a few joined |
//! | `combine`, `number`, `merge_rare` | many parts to one index |
//! | `guid`, `hashed_names` | MD5 of names |
//! | `side` | tables for what few summaries have |

mod arrays;
mod assembly;
mod codes;
mod combine;
mod combined_blocks;
mod excerpt;
mod guid;
mod hashed_names;
mod index;
mod lazy;
mod merge_rare;
mod number;
mod part;
mod quick;
mod radix;
mod read;
mod read_block;
mod read_rare;
mod read_yaml;
mod records;
mod scan;
mod side;
mod strtab;
mod table;

mod types;
mod values;
mod write_combined;
mod write_module;
mod write_yaml;

pub use assembly::write_assembly;
pub use codes::fs;
pub use excerpt::{Excerpt, IndexParts};
pub use guid::{LocalSeparator, guid_of, guid_of_value, guids_of_module, guids_of_values};
pub use hashed_names::HashedNames;
pub use index::{ModuleSummaryIndex, Summary};
pub use lazy::LazyIndex;
pub use part::IndexPart;
pub use quick::{file_has_summary, has_summary};
pub use read::{
    FILES_AT_ONCE, ReadOptions, combine_files, read_and_combine, read_file, read_index,
    read_module, read_module_hashing,
};
pub use read_yaml::PassSummary;
pub use records::Format;
pub use scan::{NamedValue, named_values, renamed_values};
pub use table::BLOCK_ID as FUNCTION_TABLE_BLOCK_ID;
pub use types::*;
pub use write_combined::{
    CombinedWriter, Overrides, Selected, Selection, WriteOptions, group_by_module,
};
pub use write_module::write_module_index;
pub use write_yaml::{index_as_yaml, type_ids_as_yaml};
