//! Symbols of module-level inline assembly.

use super::globals::Globals;
use crate::error::Result;

/// A symbol that module assembly defines or refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsmSymbol {
    /// The name in the object file.
    pub name: Vec<u8>,
    /// Bits of [`super::globals::sf`].
    pub flags: u32,
}

/// The symbols in LLVM's order.
///
/// # Errors
/// None yet.
pub fn collect(_globals: &Globals<'_, '_>) -> Result<Vec<AsmSymbol>> {
    Ok(Vec::new())
}
