//! Module flags: `!llvm.module.flags`.
//!
//! In: a module. Out: the integer that a flag has. Each flag is a node `[behaviour, name, value]`
//! of two integer constants around a string (LangRef, "Module Flags Metadata").

use super::constants::Constants;
use super::metadata::Metadata;
use super::module::Module;
use crate::error::Result;

/// The value of an integer flag such as `PIC Level`; `None` where the module does not have it.
pub fn module_flag(module: &Module<'_>, name: &[u8]) -> Result<Option<i64>> {
    let metadata = Metadata::read(module)?;
    for &node in metadata.named(b"llvm.module.flags").unwrap_or(&[]) {
        let Some([_, Some(key), Some(value)]) = metadata.node(node)?.as_deref().map(fields) else {
            continue;
        };
        if metadata.string(key)?.as_deref() != Some(name) {
            continue;
        }
        let Some(value) = metadata.value(value)? else { return Ok(None) };
        return Ok(Constants::read(module)?.integer(value));
    }
    Ok(None)
}

fn fields(operands: &[Option<u64>]) -> [Option<u64>; 3] {
    let at = |i: usize| operands.get(i).copied().flatten();
    [at(0), at(1), at(2)]
}
