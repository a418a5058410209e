//! The type table.
//!
//! In: a module's TYPE_NEW block. Out: its types by id. Enough to find sizes, pointees (of LLVM
//! 14's typed pointers) and function parameters; names of structs are skipped.
//!
//! Source: `parseTypeTableBody` of LLVM's `BitcodeReader.cpp`.

use super::block_id;
use super::module::Module;
use crate::bitstream::{BlockReader, Entry, Fields, Record};
use crate::error::{Error, Result};

const NUMENTRY: u32 = 1;
const VOID: u32 = 2;
const FLOAT: u32 = 3;
const DOUBLE: u32 = 4;
const LABEL: u32 = 5;
const OPAQUE: u32 = 6;
const INTEGER: u32 = 7;
const POINTER: u32 = 8;
const FUNCTION_OLD: u32 = 9;
const HALF: u32 = 10;
const ARRAY: u32 = 11;
const VECTOR: u32 = 12;
const X86_FP80: u32 = 13;
const FP128: u32 = 14;
const PPC_FP128: u32 = 15;
const METADATA: u32 = 16;
const X86_MMX: u32 = 17;
const STRUCT_ANON: u32 = 18;
const STRUCT_NAME: u32 = 19;
const STRUCT_NAMED: u32 = 20;
const FUNCTION: u32 = 21;
const TOKEN: u32 = 22;
const BFLOAT: u32 = 23;
const X86_AMX: u32 = 24;
const OPAQUE_POINTER: u32 = 25;
const TARGET_TYPE: u32 = 26;
const BYTE: u32 = 27;

/// A type. Other types are named by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the LangRef's names
pub enum Type {
    Void,
    Half,
    BFloat,
    Float,
    Double,
    X86Fp80,
    Fp128,
    PpcFp128,
    Label,
    Metadata,
    Token,
    X86Mmx,
    X86Amx,
    /// So many bits.
    Integer(u32),
    /// LLVM's byte type, of so many bits.
    Byte(u32),
    /// With the pointee's id where pointers are typed.
    Pointer {
        pointee: Option<u32>,
        address_space: u32,
    },
    Array {
        count: u64,
        element: u32,
    },
    /// `count` is the minimum where it is scalable.
    Vector {
        count: u64,
        element: u32,
        scalable: bool,
    },
    Struct {
        packed: bool,
        elements: Vec<u32>,
    },
    /// A struct without a body.
    OpaqueStruct,
    Function {
        vararg: bool,
        result: u32,
        parameters: Vec<u32>,
    },
    /// A target extension type; its layout is the target's.
    Target,
}

/// The types of a module by their ids.
#[derive(Clone, Debug, Default)]
pub struct TypeTable {
    types: Vec<Type>,
}

impl TypeTable {
    /// Reads the table of a module; empty where it has none.
    pub fn read(module: &Module<'_>) -> Result<Self> {
        let mut table = TypeTable::default();
        let Some(block) = module.block(block_id::TYPE_NEW) else { return Ok(table) };
        let mut reader = BlockReader::new(module.location.data, &block, &module.block_info);
        let mut record = Record::new();
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => return Ok(table),
                Entry::Record => {
                    if let Some(ty) = read_type(&record)? {
                        table.types.push(ty);
                    }
                }
                _ => {}
            }
        }
    }

    /// A table of these types, for tests of those who ask about types.
    #[cfg(test)]
    pub(crate) fn of(types: Vec<Type>) -> Self {
        TypeTable { types }
    }

    /// A type by its id.
    pub fn get(&self, id: u32) -> Result<&Type> {
        self.types
            .get(id as usize)
            .ok_or_else(|| Error::malformed(format!("type {id} of {}", self.types.len())))
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether the module has no type table.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }
}

fn ids(fields: &[u64]) -> Vec<u32> {
    // An id too large for 32 bits names no type; u32::MAX does neither.
    fields.iter().map(|&id| u32::try_from(id).unwrap_or(u32::MAX)).collect()
}

/// `None` for the records that define no type.
fn read_type(record: &Record<'_>) -> Result<Option<Type>> {
    let mut f = Fields::new(record, "TYPE");
    Ok(Some(match record.code {
        NUMENTRY | STRUCT_NAME => return Ok(None),
        VOID => Type::Void,
        FLOAT => Type::Float,
        DOUBLE => Type::Double,
        LABEL => Type::Label,
        OPAQUE => Type::OpaqueStruct,
        INTEGER => Type::Integer(f.next_u32("width")?),
        BYTE => Type::Byte(f.next_u32("width")?),
        POINTER => Type::Pointer {
            pointee: Some(f.next_u32("pointee")?),
            address_space: f.next_or(0) as u32,
        },
        OPAQUE_POINTER => {
            Type::Pointer { pointee: None, address_space: f.next_u32("address space")? }
        }
        HALF => Type::Half,
        BFLOAT => Type::BFloat,
        ARRAY => Type::Array { count: f.next("count")?, element: f.next_u32("element")? },
        VECTOR => Type::Vector {
            count: f.next("count")?,
            element: f.next_u32("element")?,
            scalable: f.next_or(0) != 0,
        },
        X86_FP80 => Type::X86Fp80,
        FP128 => Type::Fp128,
        PPC_FP128 => Type::PpcFp128,
        METADATA => Type::Metadata,
        X86_MMX => Type::X86Mmx,
        X86_AMX => Type::X86Amx,
        TOKEN => Type::Token,
        TARGET_TYPE => Type::Target,
        STRUCT_ANON | STRUCT_NAMED => {
            Type::Struct { packed: f.next("ispacked")? != 0, elements: ids(f.rest()) }
        }
        FUNCTION => Type::Function {
            vararg: f.next("vararg")? != 0,
            result: f.next_u32("result")?,
            parameters: ids(f.rest()),
        },
        FUNCTION_OLD => {
            let vararg = f.next("vararg")? != 0;
            f.next("attribute")?;
            Type::Function { vararg, result: f.next_u32("result")?, parameters: ids(f.rest()) }
        }
        other => {
            return Err(
                Error::unsupported(format!("type record of code {other}")).at_bit(record.start)
            );
        }
    }))
}
