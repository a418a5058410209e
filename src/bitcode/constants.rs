//! A module's constants.
//!
//! In: the module level CONSTANTS block. Out: each constant's record by value id, undecoded but
//! for its type; and the one question that is asked of them everywhere, which global values a
//! constant is made of.
//!
//! Source: `parseConstants` of LLVM's `BitcodeReader.cpp`. Value ids go on from the globals';
//! every record but SETTYPE takes one.

use super::block_id;
use super::module::Module;
use crate::bitstream::{BlockReader, Entry, Fields, Record};
use crate::error::{Error, Result};

/// Codes of constants (`bitc::ConstantsCodes`) that matter at module level.
#[allow(missing_docs)]
pub mod code {
    pub const SETTYPE: u32 = 1;
    pub const NULL: u32 = 2;
    pub const UNDEF: u32 = 3;
    pub const INTEGER: u32 = 4;
    pub const AGGREGATE: u32 = 7;
    pub const STRING: u32 = 8;
    pub const CSTRING: u32 = 9;
    pub const CE_BINOP: u32 = 10;
    pub const CE_CAST: u32 = 11;
    pub const CE_GEP_OLD: u32 = 12;
    pub const CE_SELECT: u32 = 13;
    pub const CE_EXTRACTELT: u32 = 14;
    pub const CE_INSERTELT: u32 = 15;
    pub const CE_SHUFFLEVEC: u32 = 16;
    pub const CE_CMP: u32 = 17;
    pub const CE_SHUFVEC_EX: u32 = 19;
    pub const CE_INBOUNDS_GEP: u32 = 20;
    pub const BLOCKADDRESS: u32 = 21;
    pub const DATA: u32 = 22;
    pub const CE_GEP_WITH_INRANGE_INDEX_OLD: u32 = 24;
    pub const CE_UNOP: u32 = 25;
    pub const POISON: u32 = 26;
    pub const DSO_LOCAL_EQUIVALENT: u32 = 27;
    pub const NO_CFI_VALUE: u32 = 29;
    pub const CE_GEP_WITH_INRANGE: u32 = 31;
    pub const CE_GEP: u32 = 32;
    pub const PTRAUTH: u32 = 33;
    pub const PTRAUTH2: u32 = 34;
}

/// One constant, as its record has it.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The record's code, one of [`code`].
    pub code: u32,
    /// Its type.
    pub type_id: u32,
    /// The record's fields.
    pub fields: Vec<u64>,
    /// Where the record starts, in bits.
    pub start: u64,
    /// Where the next entry starts, in bits.
    pub end: u64,
}

impl Constant {
    /// The value ids that a record of this code names, whether of a module or of a body.
    pub fn operands_of(code: u32, fields: &[u64]) -> Vec<u64> {
        let from = |skip: usize| fields.get(skip..).unwrap_or(&[]);
        match code {
            code::AGGREGATE => fields.to_vec(),
            // [opcode, type, value]
            code::CE_CAST => from(2).first().copied().into_iter().collect(),
            // [type, (flags or inrange index,) n x (type, value)]; a leading type id makes the
            // count odd, flags make it even again.
            code::CE_GEP_OLD | code::CE_INBOUNDS_GEP => {
                let skip = fields.len() % 2;
                from(skip).chunks_exact(2).filter_map(|pair| pair.get(1).copied()).collect()
            }
            code::CE_GEP | code::CE_GEP_WITH_INRANGE_INDEX_OLD => {
                from(2).chunks_exact(2).filter_map(|pair| pair.get(1).copied()).collect()
            }
            // [type, flags, bits, range, n x (type, value)]. The range's bounds take a field each
            // up to 64 bits; wider ones are counted in words, lower | upper << 32, and follow.
            code::CE_GEP_WITH_INRANGE => {
                let bits = fields.get(2).copied().unwrap_or(0);
                let range = match fields.get(3) {
                    Some(&counts) if bits > 64 => {
                        ((counts & u64::from(u32::MAX)) + (counts >> 32)).saturating_add(1)
                    }
                    _ => 2,
                };
                let skip = range.saturating_add(3).min(fields.len() as u64) as usize;
                from(skip).chunks_exact(2).filter_map(|pair| pair.get(1).copied()).collect()
            }
            // [opcode, left, right] and [opcode, operand]
            code::CE_BINOP | code::CE_UNOP => from(1).to_vec(),
            // [condition, left, right] and [left, right, mask]
            code::CE_SELECT | code::CE_SHUFFLEVEC => fields.to_vec(),
            // [type, vector, (type,) index]
            code::CE_EXTRACTELT => match fields {
                [_, vector, index] | [_, vector, _, index] => vec![*vector, *index],
                _ => Vec::new(),
            },
            // [vector, element, (type,) index]
            code::CE_INSERTELT => match fields {
                [vector, element, index] | [vector, element, _, index] => {
                    vec![*vector, *element, *index]
                }
                _ => Vec::new(),
            },
            // [type, left, right, predicate] and [type, left, right, mask]
            code::CE_CMP => from(1).iter().take(2).copied().collect(),
            code::CE_SHUFVEC_EX => from(1).to_vec(),
            // [type, function, block]
            code::BLOCKADDRESS => fields.get(1).copied().into_iter().collect(),
            // [type, global]
            code::DSO_LOCAL_EQUIVALENT | code::NO_CFI_VALUE => {
                fields.get(1).copied().into_iter().collect()
            }
            // [pointer, key, discriminator, address discriminator, (deactivation symbol)]
            code::PTRAUTH | code::PTRAUTH2 => fields.to_vec(),
            _ => Vec::new(),
        }
    }
}

/// The module level constants by value id.
#[derive(Clone, Debug, Default)]
pub struct Constants {
    first_id: usize,
    constants: Vec<Constant>,
}

impl Constants {
    /// Reads all module level constants.
    pub fn read(module: &Module<'_>) -> Result<Self> {
        let mut found = Constants { first_id: module.globals.len(), constants: Vec::new() };
        for block in module.blocks.iter().filter(|b| b.id == block_id::CONSTANTS) {
            let mut reader = BlockReader::new(module.location.data, block, &module.block_info);
            let mut record = Record::new();
            let mut type_id = 0;
            loop {
                match reader.next(&mut record)? {
                    Entry::End { .. } => break,
                    Entry::Record if record.code == code::SETTYPE => {
                        type_id = Fields::new(&record, "SETTYPE").next_u32("type")?;
                    }
                    Entry::Record => found.constants.push(Constant {
                        code: record.code,
                        type_id,
                        fields: record.fields.clone(),
                        start: record.start,
                        end: record.end,
                    }),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// The constant with this value id; `None` for a global or an id of nothing.
    pub fn get(&self, value: u64) -> Option<&Constant> {
        let index = usize::try_from(value).ok()?.checked_sub(self.first_id)?;
        self.constants.get(index)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.constants.len()
    }

    /// Whether the module has none.
    pub fn is_empty(&self) -> bool {
        self.constants.is_empty()
    }

    /// All constants with their value ids.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Constant)> {
        self.constants.iter().enumerate().map(|(i, c)| ((self.first_id + i) as u64, c))
    }

    /// The integer that a value is, decoded from LLVM's sign-rotated form; zero for a null.
    pub fn integer(&self, value: u64) -> Option<i64> {
        let constant = self.get(value)?;
        match constant.code {
            code::NULL => Some(0),
            code::INTEGER => constant.fields.first().map(|&v| decode_signed(v)),
            _ => None,
        }
    }

    /// The bytes of a string constant, without the implied end of a CSTRING.
    pub fn string(&self, value: u64) -> Option<Vec<u8>> {
        let constant = self.get(value)?;
        matches!(constant.code, code::STRING | code::CSTRING | code::DATA)
            .then(|| constant.fields.iter().map(|&c| c as u8).collect())
    }

    /// The value ids that a constant is made of; empty for one that is not made of others.
    /// An operand may be a global (an id below the number of globals) or another constant.
    pub fn operands(&self, constant: &Constant) -> Vec<u64> {
        Constant::operands_of(constant.code, &constant.fields)
    }

    /// The global that a constant stands for through casts and address arithmetic
    /// (`stripPointerCasts` and the base of GEPs). `globals` is the number of globals.
    pub fn base_global(&self, mut value: u64) -> Option<usize> {
        // Each step goes to an operand; a cycle is malformed and ends after as many steps.
        for _ in 0..=self.constants.len() {
            if (value as usize) < self.first_id {
                return Some(value as usize);
            }
            let constant = self.get(value)?;
            match constant.code {
                code::AGGREGATE
                | code::BLOCKADDRESS
                | code::CE_BINOP
                | code::CE_UNOP
                | code::CE_SELECT
                | code::CE_CMP
                | code::CE_EXTRACTELT
                | code::CE_INSERTELT
                | code::CE_SHUFFLEVEC
                | code::CE_SHUFVEC_EX => return None,
                _ => value = *self.operands(constant).first()?,
            }
        }
        None
    }

    /// The globals in an array constant such as the initializer of `llvm.used`.
    pub fn globals_in_array(&self, value: u64) -> Result<Vec<usize>> {
        let Some(constant) = self.get(value) else { return Ok(Vec::new()) };
        match constant.code {
            code::AGGREGATE => {
                Ok(constant.fields.iter().filter_map(|&v| self.base_global(v)).collect())
            }
            code::NULL | code::UNDEF | code::POISON => Ok(Vec::new()),
            other => Err(Error::malformed(format!("list of globals with constant code {other}"))
                .at_bit(constant.start)),
        }
    }
}

/// LLVM keeps a sign in the lowest bit (`decodeSignRotatedValue`).
fn decode_signed(v: u64) -> i64 {
    if v & 1 == 0 {
        (v >> 1) as i64
    } else if v != 1 {
        ((v >> 1) as i64).wrapping_neg()
    } else {
        i64::MIN
    }
}
