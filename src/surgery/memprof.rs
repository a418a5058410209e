//! Whether a module says anything of profiled allocations.
//!
//! In: a module. Out: yes, where calls of it may have attributes or metadata of MemProf. It must not
//! know what is made of them.
//!
//! An attribute stands in a group with its name. A context of an allocation names the type in a string
//! among the module's metadata; strings stand there byte by byte, so that they are looked for
//! without reading what is around them. What looks alike costs a walk over the module.

use memchr::memmem;

use super::marks::{Attributes, STRING, STRING_WITH_VALUE};
use crate::bitcode::Module;
use crate::error::Result;

/// The attribute of a call, whose value is the type.
const ATTRIBUTE: &[u8] = b"memprof";

/// What the strings for types that are told apart have in common: "cold" and "notcold".
const TYPE: &[u8] = b"cold";

/// Whether calls may have attributes or metadata of MemProf. What has a summary says it of metadata.
///
/// # Errors
/// Malformed attribute blocks.
pub fn mentions_memprof(module: &Module<'_>) -> Result<bool> {
    let inside = module.location.block.body_bytes(module.location.data);
    Ok(memmem::find(inside, TYPE).is_some() || has_memprof_attributes(module)?)
}

/// Whether calls have the attribute that says what an allocation is.
///
/// # Errors
/// Malformed attribute blocks.
pub fn has_memprof_attributes(module: &Module<'_>) -> Result<bool> {
    let named = |kind: u64| -> Vec<u64> {
        std::iter::once(kind).chain(ATTRIBUTE.iter().map(|&c| u64::from(c))).chain([0]).collect()
    };
    let names = [named(STRING), named(STRING_WITH_VALUE)];
    Ok(Attributes::read(module)?.groups.iter().any(|group| {
        names.iter().any(|name| group.windows(name.len()).any(|fields| fields == name))
    }))
}
