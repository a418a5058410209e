//! Objective-C as linkers ask for it.
//!
//! In: a module. Out: whether it has categories (`-ObjC` then loads it from an archive), and the
//! symbols that the data structures of the old (i386, PowerPC) ABI stand for without naming them.
//!
//! Source: `hasObjCCategoryInModule` of LLVM's `BitcodeReader.cpp`, `LTOModule::addObjCClass` and
//! its neighbours.

use super::globals::Globals;
use super::lto::lto_bitcode;
use crate::bitcode::{BitcodeFile, GlobalValue, block_id, constant_code as code, module_code};
use crate::bitstream::{BlockInfo, BlockReader, Entry, Record};
use crate::error::Result;

/// Whether the first module in `bytes` has an Objective-C category: a section of that purpose.
///
/// # Errors
/// Those of [`lto_bitcode`] and malformed bitcode.
pub fn has_objc_category(bytes: &[u8]) -> Result<bool> {
    let file = BitcodeFile::read(lto_bitcode(bytes)?)?;
    let Some(module) = file.modules.first() else { return Ok(false) };
    // Section names stand before every global, so that the walk ends early.
    let mut reader = BlockReader::new(module.data, &module.block, &BlockInfo::default());
    let mut record = Record::new();
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok(false),
            Entry::Block(block) if block.id == block_id::FUNCTION => return Ok(false),
            Entry::Record if record.code == module_code::SECTIONNAME => {
                let name = record.string();
                let has = |what: &[u8]| name.windows(what.len()).any(|w| w == what);
                if has(b"__DATA,__objc_catlist")
                    || has(b"__OBJC,__category")
                    || has(b"__TEXT,__swift")
                {
                    return Ok(true);
                }
            }
            _ => {}
        }
    }
}

/// The names of one data structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObjcSymbols {
    pub(super) defined: Option<Vec<u8>>,
    pub(super) undefined: Option<Vec<u8>>,
}

/// The names that a variable in one of the `__OBJC` sections stands for; none for another.
pub(super) fn symbols(
    globals: &Globals<'_, '_>,
    g: &GlobalValue<'_>,
    section: &[u8],
) -> Result<ObjcSymbols> {
    let mut found = ObjcSymbols::default();
    let Some(initializer) = g.operand.checked_sub(1).map(u64::from) else { return Ok(found) };
    let member = |i: usize| -> Result<Option<u64>> {
        let constant = globals.constants()?.get(initializer);
        let aggregate = constant.filter(|c| c.code == code::AGGREGATE);
        Ok(aggregate.and_then(|c| c.fields.get(i)).copied())
    };
    let name = |value: Option<u64>| -> Result<Option<Vec<u8>>> {
        match value {
            Some(value) => class_name(globals, value),
            None => Ok(None),
        }
    };
    if section.starts_with(b"__OBJC,__class,") {
        found.undefined = name(member(1)?)?;
        found.defined = name(member(2)?)?;
    } else if section.starts_with(b"__OBJC,__category,") {
        found.undefined = name(member(1)?)?;
    } else if section.starts_with(b"__OBJC,__cls_refs,") {
        found.undefined = name(Some(initializer))?;
    }
    Ok(found)
}

/// `.objc_class_name_X` where the value is a constant expression whose first operand is a
/// variable with the C string X.
fn class_name(globals: &Globals<'_, '_>, value: u64) -> Result<Option<Vec<u8>>> {
    let constants = globals.constants()?;
    let Some(expression) = constants.get(value) else { return Ok(None) };
    let is_expression = matches!(
        expression.code,
        code::CE_CAST
            | code::CE_GEP
            | code::CE_GEP_OLD
            | code::CE_INBOUNDS_GEP
            | code::CE_GEP_WITH_INRANGE
            | code::CE_GEP_WITH_INRANGE_INDEX_OLD
    );
    let operand = constants.operands(expression).first().copied().filter(|_| is_expression);
    let variable = operand.and_then(|v| globals.module.globals.get(usize::try_from(v).ok()?));
    let string = variable
        .and_then(|v| v.operand.checked_sub(1))
        .and_then(|init| constants.get(u64::from(init)))
        .filter(|c| c.code == code::CSTRING);
    Ok(string.map(|c| {
        let name = c.fields.iter().map(|&c| c as u8);
        b".objc_class_name_".iter().copied().chain(name).collect()
    }))
}
