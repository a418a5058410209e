//! The inline assembly in a module's functions.
//!
//! In: a module. Out: the text of each inline assembly constant. Those stand in the CONSTANTS
//! blocks of the module and of its functions, where most are.
//!
//! Records (`bitc::ConstantsCodes`, `writeConstants` of LLVM's BitcodeWriter.cpp), all with
//! `flags, size, text..., size, constraints...`, the newest with the function's type before:
//!
//! | code | name |
//! |---|---|
//! | 18 | INLINEASM_OLD |
//! | 23 | INLINEASM_OLD2 |
//! | 28 | INLINEASM_OLD3 |
//! | 30 | INLINEASM, of LLVM 14 to 22 |

use super::block_id;
use super::module::{Extent, Module};
use crate::bitstream::{Block, BlockReader, Entry, Fields, Record};
use crate::error::{Error, Result};

const OLD: [u32; 3] = [18, 23, 28];
const CURRENT: u32 = 30;

impl Module<'_> {
    /// Calls `each` with every text of inline assembly, until it says false. Module level assembly
    /// is [`Module::asm`]. Walks every function body.
    ///
    /// # Errors
    /// Malformed; misuse where only the module's head was read.
    pub fn inline_asm(&self, mut each: impl FnMut(&[u8]) -> bool) -> Result<()> {
        if self.extent == Extent::Head {
            return Err(Error::misuse("inline assembly of a module whose bodies were not read"));
        }
        let constants = self.blocks.iter().filter(|block| block.id == block_id::CONSTANTS);
        for block in constants.chain(&self.bodies) {
            if !self.inline_asm_in(block, &mut each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn inline_asm_in(&self, block: &Block, each: &mut impl FnMut(&[u8]) -> bool) -> Result<bool> {
        let mut reader = BlockReader::new(self.location.data, block, &self.block_info);
        let mut record = Record::new();
        let wanted = if block.id == block_id::CONSTANTS { usize::MAX } else { 0 };
        loop {
            match reader.next_head(&mut record, wanted)? {
                Entry::End { .. } => return Ok(true),
                Entry::Block(inner)
                    if inner.id == block_id::CONSTANTS && !self.inline_asm_in(&inner, each)? =>
                {
                    return Ok(false);
                }
                Entry::Record if wanted > 0 => {
                    if let Some(text) = text(&record)?
                        && !each(&text)
                    {
                        return Ok(false);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The text, where the record is one of inline assembly.
fn text(record: &Record<'_>) -> Result<Option<Vec<u8>>> {
    let mut fields = Fields::new(record, "INLINEASM");
    if record.code == CURRENT {
        fields.next("function type")?;
    } else if !OLD.contains(&record.code) {
        return Ok(None);
    }
    fields.next("flags")?;
    let size = usize::try_from(fields.next("size")?).unwrap_or(usize::MAX);
    // A text that is longer than its record is cut; what follows it is of no interest.
    Ok(Some(fields.rest().iter().take(size).map(|&c| c as u8).collect()))
}
