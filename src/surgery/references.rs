//! What a function body mentions of its module.
//!
//! In: a FUNCTION block, the types, and how many values and metadata the module has. Out: the
//! module's values and metadata that instructions, function-level constants and function-level
//! metadata name. Exactly those: what LLVM's linker meets when it moves the body. It must not know
//! why one asks, and follows nothing beyond the body: what a named constant is made of is the
//! asker's to find out.
//!
//! Layout, from `parseFunctionBody` of LLVM's `BitcodeReader.cpp` (14 to 22). Values are numbered
//! through: the module's (globals, then constants), the parameters, the body's constants, and then
//! each instruction that has a result. An operand is the distance back from the number that the
//! next instruction gets. The kinds of operand, as [`SHAPES`] has them:
//!
//! | | fields |
//! |---|---|
//! | value | the distance; the type is known |
//! | pair | the distance, and the type where it is a forward reference (a distance not below the number, in 32 bits) |
//! | absolute | the number itself |
//!
//! For a parameter of metadata type the number is that of a metadata. The records of debug
//! locations, debug records and attachments name metadata by number, some plus one for null.

use super::debug_info::declare_types;
use super::metadata::{Edge, Table, edges};
use crate::bitcode::{Constant, Module, Type, TypeTable, block_id, constant_code};
use crate::bitstream::{Block, BlockReader, Entry, Fields, Record};
use crate::error::{Error, Result};

/// Gets what is met.
pub(super) trait Sink {
    /// A value of the module: a global or a constant at module level.
    fn value(&mut self, id: u64);
    /// A metadata of the module.
    fn metadata(&mut self, id: u64);
}

/// How many there are in the module; numbers from these on are the body's own.
#[derive(Clone, Copy, Debug)]
struct Counts {
    /// Globals and module-level constants.
    values: u64,
    /// Strings and nodes of the module's METADATA block.
    metadata: u64,
}

/// What stands in an instruction's record, up to where nothing more is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// No operand.
    Skip,
    Value,
    Pair,
    /// Pairs to the end of the record.
    Pairs,
    Absolute,
}

use Field::{Absolute, Pair, Pairs, Skip, Value};

/// `(code, name, fields, whether it has a result)`, where neither depends on more than the record.
const SHAPES: &[(u32, &[Field], bool)] = &[
    (2, &[Pair, Value], true),           // BINOP
    (3, &[Pair], true),                  // CAST
    (4, &[Pairs], true),                 // GEP_OLD
    (5, &[Pair, Value, Value], true),    // SELECT
    (6, &[Pair, Pair], true),            // EXTRACTELT
    (7, &[Pair, Value, Pair], true),     // INSERTELT
    (8, &[Pair, Value, Pair], true),     // SHUFFLEVEC
    (9, &[Pair, Value], true),           // CMP
    (10, &[Pairs], false),               // RET
    (15, &[], false),                    // UNREACHABLE
    (19, &[Skip, Skip, Absolute], true), // ALLOCA
    (20, &[Pair], true),                 // LOAD
    (23, &[Skip, Value], true),          // VAARG
    (24, &[Pair, Value], false),         // STORE_OLD
    (26, &[Pair], true),                 // EXTRACTVAL
    (27, &[Pair, Pair], true),           // INSERTVAL
    (28, &[Pair, Value], true),          // CMP2
    (29, &[Pair, Value, Pair], true),    // VSELECT
    (30, &[Pairs], true),                // INBOUNDS_GEP_OLD
    (31, &[Skip, Value], false),         // INDIRECTBR
    (36, &[], false),                    // FENCE
    (37, &[Pair, Value, Value], true),   // CMPXCHG_OLD
    (38, &[Pair, Value], true),          // ATOMICRMW_OLD
    (39, &[Pair], false),                // RESUME
    (41, &[Pair], true),                 // LOADATOMIC
    (42, &[Pair, Value], false),         // STOREATOMIC_OLD
    (43, &[Skip, Skip, Pairs], true),    // GEP
    (44, &[Pair, Pair], false),          // STORE
    (45, &[Pair, Pair], false),          // STOREATOMIC
    (46, &[Pair, Pair, Value], true),    // CMPXCHG
    (48, &[Value], false),               // CLEANUPRET
    (49, &[Value], false),               // CATCHRET
    (50, &[Value, Skip, Pairs], true),   // CATCHPAD
    (51, &[Value, Skip, Pairs], true),   // CLEANUPPAD
    (52, &[Value], true),                // CATCHSWITCH
    (56, &[Pair], true),                 // UNOP
    (58, &[Pair], true),                 // FREEZE
    (59, &[Pair, Pair], true),           // ATOMICRMW
];

const DECLAREBLOCKS: u32 = 1;
const BR: u32 = 11;
const SWITCH: u32 = 12;
const INVOKE: u32 = 13;
const PHI: u32 = 16;
const DEBUG_LOC_AGAIN: u32 = 33;
const CALL: u32 = 34;
const DEBUG_LOC: u32 = 35;
const LANDINGPAD_OLD: u32 = 40;
const LANDINGPAD: u32 = 47;
const OPERAND_BUNDLE: u32 = 55;
const CALLBR: u32 = 57;
const BLOCKADDR_USERS: u32 = 60;
const DEBUG_RECORD_VALUE: u32 = 61;
const DEBUG_RECORD_DECLARE: u32 = 62;
const DEBUG_RECORD_ASSIGN: u32 = 63;
const DEBUG_RECORD_VALUE_SIMPLE: u32 = 64;
const DEBUG_RECORD_LABEL: u32 = 65;
const DEBUG_RECORD_DECLARE_VALUE: u32 = 66;

/// A switch over ranges, which some LLVM wrote for a while, begins with this.
const SWITCH_INST_MAGIC: u64 = 0x4b5;
/// In place of a distance in an operand bundle: a metadata follows.
const OB_METADATA: u64 = 0x8000_0000;

/// Bits of a call's calling convention field.
const CALL_EXPLICIT_TYPE: u32 = 15;
const CALL_FMF: u32 = 17;
/// The same of an invoke's.
const INVOKE_EXPLICIT_TYPE: u32 = 13;

/// Walks one body. `function_type` is the type id of the function's record, `table` the module's
/// metadata. Types that are imported as declarations mention what a declaration does.
///
/// # Errors
/// Malformed records, and instructions of a code that is not known: what they mention cannot be
/// said.
pub(super) fn of_body(
    module: &Module<'_>,
    body: &Block,
    function_type: u32,
    types: &TypeTable,
    table: &Table<'_>,
    values: u64,
    sink: &mut dyn Sink,
) -> Result<()> {
    let counts = Counts { values, metadata: table.len() as u64 };
    let (_, parameters, _) = function(types, function_type)?;
    let parameters = parameters.len() as u64;
    let next = values.saturating_add(parameters);
    let mut walk = Walk { types, counts, strings: &table.strings, next, sink };
    let mut reader = BlockReader::new(module.location.data, body, &module.block_info);
    let mut record = Record::new();
    loop {
        match reader.next(&mut record)? {
            Entry::End { .. } => return Ok(()),
            Entry::DefineAbbrev { .. } => {}
            Entry::Block(block) => walk.block(module, &block)?,
            Entry::Record => walk.record(&record)?,
        }
    }
}

struct Walk<'w> {
    types: &'w TypeTable,
    counts: Counts,
    /// Those of the module's metadata.
    strings: &'w [&'w [u8]],
    /// The number that the next value gets.
    next: u64,
    sink: &'w mut dyn Sink,
}

impl Walk<'_> {
    fn block(&mut self, module: &Module<'_>, block: &Block) -> Result<()> {
        let mut reader = BlockReader::new(module.location.data, block, &module.block_info);
        let mut record = Record::new();
        match block.id {
            block_id::METADATA => {
                let mut table = Table::read(module, block)?;
                declare_types(&mut table, self.counts.metadata, self.strings);
                for record in table.records() {
                    edges(record, &mut |edge| match edge {
                        Edge::Metadata(id) => self.metadata(Some(id)),
                        Edge::Value(id) => self.absolute(id),
                    });
                }
                return Ok(());
            }
            block_id::CONSTANTS | block_id::METADATA_ATTACHMENT => {}
            _ => return Ok(()),
        }
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => return Ok(()),
                Entry::Record if block.id == block_id::CONSTANTS => match record.code {
                    constant_code::SETTYPE => {}
                    code => {
                        for id in Constant::operands_of(code, &record.fields) {
                            self.absolute(id);
                        }
                        self.next = self.next.saturating_add(1);
                    }
                },
                // [instruction, n x (kind, node)], or of the function without the instruction
                Entry::Record => {
                    let pairs = record.fields.get(record.fields.len() % 2..).unwrap_or(&[]);
                    for pair in pairs.chunks_exact(2) {
                        self.metadata(pair.get(1).copied());
                    }
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        let mut f = Fields::new(record, "instruction");
        if let Some((_, fields, result)) = SHAPES.iter().find(|shape| shape.0 == record.code) {
            for field in *fields {
                match field {
                    Skip => {
                        f.next("field")?;
                    }
                    Value => self.one(&mut f)?,
                    Pair => self.pair(&mut f)?,
                    Pairs => self.pairs(&mut f)?,
                    Absolute => {
                        let id = f.next("value")?;
                        self.absolute(id);
                    }
                }
            }
            self.next += u64::from(*result);
            return Ok(());
        }
        match record.code {
            DECLAREBLOCKS | DEBUG_LOC_AGAIN | BLOCKADDR_USERS => {}
            // [block] or [block, block, condition]
            BR => {
                if f.len() > 1 {
                    f.take(2, "blocks")?;
                    self.one(&mut f)?;
                }
            }
            // [type, value, block, n x (case, block)]; a case is a constant by its number. With the
            // magic number, integers stand there themselves.
            SWITCH => {
                if f.next("type")? >> 16 == SWITCH_INST_MAGIC {
                    f.next("type")?;
                    return self.one(&mut f);
                }
                self.one(&mut f)?;
                f.next("block")?;
                while !f.is_empty() {
                    let case = f.next("case")?;
                    self.absolute(case);
                    f.next("block")?;
                }
            }
            // [type, n x (value, block), flags]; the distances are signed
            PHI => {
                f.next("type")?;
                while f.len() > 1 {
                    let distance = f.next("value")?;
                    f.next("block")?;
                    let magnitude = (distance >> 1) as u32;
                    let id = match distance & 1 {
                        0 => (self.next as u32).wrapping_sub(magnitude),
                        _ => (self.next as u32).wrapping_add(magnitude),
                    };
                    self.absolute(u64::from(id));
                }
                self.next += 1;
            }
            // [type, (personality,) cleanup, count, count x (kind, value)]
            LANDINGPAD | LANDINGPAD_OLD => {
                f.next("type")?;
                if record.code == LANDINGPAD_OLD {
                    self.pair(&mut f)?;
                }
                f.take(2, "cleanup and count")?;
                while !f.is_empty() {
                    f.next("kind")?;
                    self.pair(&mut f)?;
                }
                self.next += 1;
            }
            // [attributes, convention, (flags,) (type,) callee, arguments...]
            CALL => {
                f.next("attributes")?;
                let convention = f.next("convention")?;
                if convention >> CALL_FMF & 1 != 0 {
                    f.next("flags")?;
                }
                self.call(&mut f, convention >> CALL_EXPLICIT_TYPE & 1 != 0)?;
            }
            // [attributes, convention, block, block, (type,) callee, arguments...]
            INVOKE => {
                f.next("attributes")?;
                let convention = f.next("convention")?;
                f.take(2, "blocks")?;
                self.call(&mut f, convention >> INVOKE_EXPLICIT_TYPE & 1 != 0)?;
            }
            // [attributes, convention, block, n, n x block, (type,) callee, arguments...]
            CALLBR => {
                f.next("attributes")?;
                let convention = f.next("convention")?;
                f.next("block")?;
                let blocks = f.next("count")?;
                f.take(blocks, "blocks")?;
                self.call(&mut f, convention >> CALL_EXPLICIT_TYPE & 1 != 0)?;
            }
            // [tag, values...]
            OPERAND_BUNDLE => {
                f.next("tag")?;
                self.pairs(&mut f)?;
            }
            // [line, column, scope + 1, inlined at + 1, ...]
            DEBUG_LOC => {
                f.take(2, "line and column")?;
                for id in f.take(2, "scope and inlined-at")? {
                    self.metadata(id.checked_sub(1));
                }
            }
            DEBUG_RECORD_VALUE
            | DEBUG_RECORD_DECLARE
            | DEBUG_RECORD_DECLARE_VALUE
            | DEBUG_RECORD_ASSIGN
            | DEBUG_RECORD_LABEL => {
                for &id in f.rest() {
                    self.metadata(Some(id));
                }
            }
            // [location, variable, expression, value]
            DEBUG_RECORD_VALUE_SIMPLE => {
                for &id in f.take(3, "metadata")? {
                    self.metadata(Some(id));
                }
                self.pair(&mut f)?;
            }
            other => {
                return Err(Error::unsupported(format!("instruction record of code {other}"))
                    .at_bit(record.start));
            }
        }
        Ok(())
    }

    fn call(&mut self, f: &mut Fields<'_>, explicit_type: bool) -> Result<()> {
        if !explicit_type {
            return Err(Error::unsupported("a call without its function type (before LLVM 4)"));
        }
        let ty = f.next_u32("function type")?;
        self.pair(f)?;
        let types = self.types;
        let (result, parameters, vararg) = function(types, ty)?;
        for &parameter in parameters {
            match types.get(parameter)? {
                Type::Label => {
                    f.next("block")?;
                }
                Type::Metadata => {
                    let distance = f.next("metadata")? as u32;
                    let id = (self.next as u32).wrapping_sub(distance);
                    self.metadata(Some(u64::from(id)));
                }
                _ => self.one(f)?,
            }
        }
        if vararg {
            self.pairs(f)?;
        }
        self.next += u64::from(*types.get(result)? != Type::Void);
        Ok(())
    }

    /// A value; the distance is 32 bits, and one that is ahead wraps around.
    fn one(&mut self, f: &mut Fields<'_>) -> Result<()> {
        let distance = f.next("value")? as u32;
        self.absolute(u64::from((self.next as u32).wrapping_sub(distance)));
        Ok(())
    }

    fn pair(&mut self, f: &mut Fields<'_>) -> Result<()> {
        let distance = f.next("value")?;
        if distance == OB_METADATA {
            let id = f.next("metadata")?;
            self.metadata(Some(id));
            return Ok(());
        }
        let id = (self.next as u32).wrapping_sub(distance as u32);
        if u64::from(id) < self.next {
            self.absolute(u64::from(id));
        } else {
            f.next("type of a value that follows")?;
        }
        Ok(())
    }

    fn pairs(&mut self, f: &mut Fields<'_>) -> Result<()> {
        while !f.is_empty() {
            self.pair(f)?;
        }
        Ok(())
    }

    fn absolute(&mut self, id: u64) {
        if id < self.counts.values {
            self.sink.value(id);
        }
    }

    fn metadata(&mut self, id: Option<u64>) {
        if let Some(id) = id.filter(|&id| id < self.counts.metadata) {
            self.sink.metadata(id);
        }
    }
}

/// Result, parameters and whether there are more, of a function type or a typed pointer to one.
fn function(types: &TypeTable, id: u32) -> Result<(u32, &[u32], bool)> {
    let mut ty = types.get(id)?;
    if let Type::Pointer { pointee: Some(pointee), .. } = ty {
        ty = types.get(*pointee)?;
    }
    match ty {
        Type::Function { vararg, result, parameters } => Ok((*result, parameters, *vararg)),
        other => Err(Error::malformed(format!("type {id} is {other:?} and no function's"))),
    }
}
