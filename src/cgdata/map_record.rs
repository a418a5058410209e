//! The stable function map as bytes.
//!
//! Little-endian. The layout came with version 2 of the `.cgdata` file and changed twice (LLVM:
//! `StableFunctionMapRecord::serialize` and `deserialize` at each version):
//!
//! | field | bytes | since | until |
//! |---|---|---|---|
//! | names | 4 | 2 | |
//! | bytes of the names, padding included | 8 | 3 | |
//! | the names, a NUL after each | | 2 | |
//! | padding to 4 bytes from the payload's start | 0 to 3 | 2 | |
//! | functions | 4 | 2 | |
//!
//! Then in versions 2 and 3, per function: hash (8 bytes), number of its name (4), of its module's
//! name (4), instructions (4), operands (4), and per operand instruction index (4), operand index
//! (4), hash (8). In version 4 what has a fixed size comes first, so that a reader can find a
//! function without reading those before it:
//!
//! | field | bytes |
//! |---|---|
//! | all hashes | 8 each |
//! | per function: name, module, instructions | 4 each |
//! | distance from this field to the function's operands | 8 |
//! | bytes of all operand lists | 8 |
//! | per function: operands, and per operand as above | 4, 16 each |
//!
//! Functions are sorted by hash, module name and name, operands by index. A payload of no names
//! ends after its first field for LLVM's reader, whatever its writer put behind it.
//!
//! Payloads in objects do not tell their version: LLVM's reader takes them for its own. We take
//! the newest version under which they make sense; that a payload does under two would need a
//! name's bytes to be a plausible length and every distance to be right by chance.

use crate::error::{Error, Result};

use super::cursor::{Cursor, MALFORMED};
use super::indexed::NEWEST_VERSION;
use super::map::{IndexOperandHash, Names, StableFunction, StableFunctionMap};

/// Bytes of a function without its operands, up to version 3.
const INLINE_FUNCTION: usize = 24;
/// Bytes of a function's hash and fixed fields in version 4.
const FUNCTION: usize = 28;
const OPERAND: usize = 16;

/// The first version that has a stable function map.
pub(super) const FIRST_VERSION: u32 = 2;

/// Reads a payload of unknown version at the cursor and leaves the cursor behind it.
///
/// # Errors
/// Malformed, with the offset, in terms of the newest version.
pub(super) fn read_any_version(cursor: &mut Cursor<'_>) -> Result<StableFunctionMap> {
    let start = *cursor;
    let newest = read(cursor, NEWEST_VERSION);
    if newest.is_ok() {
        return newest;
    }
    for version in (FIRST_VERSION..NEWEST_VERSION).rev() {
        *cursor = start;
        if let Ok(map) = read(cursor, version) {
            return Ok(map);
        }
    }
    newest
}

/// Reads the map at the cursor and leaves the cursor behind it.
///
/// # Errors
/// Malformed, with the offset: counts beyond the data, numbers of names that do not exist,
/// distances that do not lead to the next operands, operands listed twice.
pub(super) fn read(cursor: &mut Cursor<'_>, version: u32) -> Result<StableFunctionMap> {
    let start = cursor.pos();
    let mut map = StableFunctionMap::default();
    // A name takes a byte at least, its NUL.
    let name_count = cursor.count(1, "the number of names")?;
    if name_count == 0 {
        return Ok(map);
    }
    if version >= 3 {
        let at = *cursor;
        let size = cursor.u64("the size of the names")?;
        let size = usize::try_from(size)
            .map_err(|_| at.error(format!("names of {size} bytes, more than there are")))?;
        let mut names = *cursor;
        cursor.take(size, "names")?;
        read_names(&mut names, name_count, &mut map.names)?;
        let end = cursor.pos();
        if names.pos() > end || end - names.pos() > 3 {
            return Err(names.error(format!("{name_count} names do not fill their {size} bytes")));
        }
    } else {
        read_names(cursor, name_count, &mut map.names)?;
        let padding = (cursor.pos() - start).next_multiple_of(4) - (cursor.pos() - start);
        cursor.take(padding, "padding")?;
    }
    if version >= 4 {
        read_functions(cursor, &mut map)?;
    } else {
        read_inline_functions(cursor, &mut map)?;
    }
    Ok(map)
}

fn read_names(cursor: &mut Cursor<'_>, count: usize, names: &mut Names) -> Result<()> {
    for _ in 0..count {
        let length = memchr::memchr(0, cursor.rest());
        let length = length.ok_or_else(|| cursor.error("a name without an end"))?;
        names.push(cursor.take(length, "a name")?);
        cursor.take(1, "the end of a name")?;
    }
    Ok(())
}

/// A function without operands: name, module and number of instructions are next at the cursor.
fn read_fixed(cursor: &mut Cursor<'_>, hash: u64, names: &Names) -> Result<StableFunction> {
    let mut name = |what| {
        let at = *cursor;
        let number = cursor.u32(what)?;
        if number as usize >= names.len() {
            return Err(at.error(format!("{what} is {number} of {} names", names.len())));
        }
        Ok(number)
    };
    let (name, module) = (name("the name of a function")?, name("the name of a module")?);
    let inst_count = cursor.u32("the number of instructions")?;
    Ok(StableFunction { hash, name, module, inst_count, operand_count: 0, operand_start: 0 })
}

fn read_operands(
    cursor: &mut Cursor<'_>,
    map: &mut StableFunctionMap,
    function: StableFunction,
) -> Result<()> {
    let start = *cursor;
    let count = cursor.count(OPERAND, "the number of operands")?;
    let bytes = cursor.take(count * OPERAND, "operands")?;
    let operands = bytes.as_chunks::<OPERAND>().0.iter().map(|raw| {
        // Sixteen bytes as one number, which the fields are cut from.
        let raw = u128::from_le_bytes(*raw);
        IndexOperandHash {
            inst_index: raw as u32,
            opnd_index: (raw >> 32) as u32,
            opnd_hash: (raw >> 64) as u64,
        }
    });
    map.push(function, operands).map_err(|reason| start.error(reason))
}

/// The functions as versions 2 and 3 have them.
fn read_inline_functions(cursor: &mut Cursor<'_>, map: &mut StableFunctionMap) -> Result<()> {
    let count = cursor.count(INLINE_FUNCTION, "the number of functions")?;
    map.functions.reserve(count);
    for _ in 0..count {
        let hash = cursor.u64("the hash of a function")?;
        let function = read_fixed(cursor, hash, &map.names)?;
        read_operands(cursor, map, function)?;
    }
    Ok(())
}

/// The functions as version 4 has them.
fn read_functions(cursor: &mut Cursor<'_>, map: &mut StableFunctionMap) -> Result<()> {
    let count = cursor.count(FUNCTION, "the number of functions")?;
    map.functions.reserve(count);
    let hashes = cursor.take(count * 8, "the hashes")?;
    let mut fixed = *cursor;
    cursor.take(count * (FUNCTION - 8), "the functions")?;
    let at_size = *cursor;
    let size = cursor.u64("the size of the operands")?;
    let operands_start = cursor.pos();
    for hash in hashes.as_chunks().0 {
        let function = read_fixed(&mut fixed, u64::from_le_bytes(*hash), &map.names)?;
        let at = fixed;
        let distance = fixed.u64("the distance to the operands")?;
        // The lists must follow one another: were they shared or apart, a small file could ask for
        // any amount of memory.
        if (at.pos() as u64).checked_add(distance) != Some(cursor.pos() as u64) {
            return Err(at.error(format!(
                "{distance} bytes to the operands, which does not lead to the next ones"
            )));
        }
        read_operands(cursor, map, function)?;
    }
    if size != (cursor.pos() - operands_start) as u64 {
        return Err(at_size.error(format!(
            "operands of {size} bytes, which are {}",
            cursor.pos() - operands_start
        )));
    }
    Ok(())
}

/// Appends the map in the layout of a version.
///
/// # Errors
/// Unsupported where the version has no stable function map; malformed where there are more
/// functions than 32 bits can count.
pub(super) fn write(map: &StableFunctionMap, version: u32, out: &mut Vec<u8>) -> Result<()> {
    if version < FIRST_VERSION {
        return Err(Error::unsupported(format!(
            "version {version} of codegen data has no stable function map"
        )));
    }
    let functions = map.sorted();
    let (Ok(name_count), Ok(count)) =
        (u32::try_from(map.names.len()), u32::try_from(functions.len()))
    else {
        return Err(Error::malformed(format!(
            "{MALFORMED}: more functions than 32 bits can count"
        )));
    };
    let start = out.len();
    let padded = |length: usize| (length - start).next_multiple_of(4) + start;
    out.extend(name_count.to_le_bytes());
    let size_at = out.len();
    if version >= 3 {
        out.extend([0; 8]);
    }
    let names_start = out.len();
    for name in map.names.iter() {
        out.extend(name);
        out.push(0);
    }
    out.resize(padded(out.len()), 0);
    if version >= 3 {
        let size = (out.len() - names_start) as u64;
        patch(out, size_at, size);
    }
    out.extend(count.to_le_bytes());
    let fixed = |f: &StableFunction, out: &mut Vec<u8>| {
        for field in [f.name, f.module, f.inst_count] {
            out.extend(field.to_le_bytes());
        }
    };
    let list = |f: &StableFunction, out: &mut Vec<u8>| {
        out.extend(f.operand_count.to_le_bytes());
        for operand in map.operands(f) {
            out.extend(operand.inst_index.to_le_bytes());
            out.extend(operand.opnd_index.to_le_bytes());
            out.extend(operand.opnd_hash.to_le_bytes());
        }
    };
    if version < 4 {
        for f in functions {
            out.extend(f.hash.to_le_bytes());
            fixed(f, out);
            list(f, out);
        }
        return Ok(());
    }
    for f in &functions {
        out.extend(f.hash.to_le_bytes());
    }
    // The lists begin behind all fixed fields and their own total.
    let lists_start = out.len() + functions.len() * (FUNCTION - 8) + 8;
    let mut list_at = lists_start;
    for f in &functions {
        fixed(f, out);
        out.extend(((list_at - out.len()) as u64).to_le_bytes());
        list_at += 4 + f.operand_count as usize * OPERAND;
    }
    out.extend(((list_at - lists_start) as u64).to_le_bytes());
    for f in &functions {
        list(f, out);
    }
    Ok(())
}

fn patch(out: &mut [u8], at: usize, value: u64) {
    if let Some(field) = out.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of two functions, as LLVM 22's `llvm-cgdata --convert --format binary` writes it
    /// (without the header): functions `g` in module `~` and `f` in `m`.
    const NEWEST: &[u8] = b"\
        \x04\0\0\0\x08\0\0\0\0\0\0\0f\0m\0g\0~\0\x02\0\0\0\
        \x08\0\0\0\0\0\0\0\x12\0\0\0\0\0\0\0\
        \x02\0\0\0\x03\0\0\0\x03\0\0\0\x24\0\0\0\0\0\0\0\
        \0\0\0\0\x01\0\0\0\x02\0\0\0\x34\0\0\0\0\0\0\0\
        \x28\0\0\0\0\0\0\0\
        \x02\0\0\0\0\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
        \x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\
        \0\0\0\0";

    fn read_all(bytes: &[u8], version: u32) -> Result<StableFunctionMap> {
        let mut cursor = Cursor::new(bytes, 0);
        let map = read(&mut cursor, version)?;
        assert!(cursor.is_at_end());
        Ok(map)
    }

    #[test]
    fn the_newest_version() {
        let map = read_all(NEWEST, 4).unwrap();
        assert_eq!(map.name(map.functions()[0].name), b"g");
        assert_eq!(map.name(map.functions()[1].module), b"m");
        let operands = map.operands(&map.functions()[0]);
        assert_eq!(operands.len(), 2);
        assert_eq!((operands[0].index(), operands[0].opnd_hash), ((0, 2), u64::MAX));
        let mut out = vec![7; 8];
        write(&map, 4, &mut out).unwrap();
        assert_eq!(&out[8..], NEWEST);
    }

    #[test]
    fn older_versions() {
        // Version 2 by hand, from LLVM's writer of that time.
        let second = b"\
            \x04\0\0\0f\0m\0g\0~\0\x02\0\0\0\
            \x08\0\0\0\0\0\0\0\x02\0\0\0\x03\0\0\0\x03\0\0\0\x02\0\0\0\
            \0\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
            \x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\
            \x12\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0";
        let mut third = second[..4].to_vec();
        third.extend([8, 0, 0, 0, 0, 0, 0, 0]);
        third.extend(&second[4..]);
        let map = read_all(NEWEST, 4).unwrap();
        for (version, bytes) in [(2, &second[..]), (3, &third), (4, NEWEST)] {
            assert_eq!(read_all(bytes, version).unwrap(), map);
            let mut out = Vec::new();
            write(&map, version, &mut out).unwrap();
            assert_eq!(out, bytes, "version {version}");
            let mut cursor = Cursor::new(bytes, 0);
            assert_eq!(read_any_version(&mut cursor).unwrap(), map, "version {version}");
            assert!(cursor.is_at_end());
        }
        assert!(write(&map, 1, &mut Vec::new()).is_err());
    }

    #[test]
    fn hostile_bytes_are_errors_with_their_place() {
        let with = |at: usize, bytes: &[u8]| {
            let mut data = NEWEST.to_vec();
            data[at..at + bytes.len()].copy_from_slice(bytes);
            data
        };
        for (data, byte, word) in [
            (with(0, &[0xff; 4]), 0, "too many"),
            (with(4, &[0xff; 8]), 12, "only"),
            (with(4, &[4]), 20, "do not fill"),
            (with(19, b"x"), 22, "do not fill"),
            (with(20, &[0xff; 4]), 20, "too many"),
            (with(40, &[4]), 40, "is 4 of 4 names"),
            (with(44, &[0xff; 4]), 44, "is 4294967295 of 4 names"),
            (with(48, &[1]), 88, "instruction 1 in a function of 1"),
            (with(52, &[0x25]), 52, "does not lead to"),
            (with(52, &[0xff; 8]), 52, "does not lead to"),
            (with(80, &[0x29]), 80, "which are 40"),
            (with(88, &[0xff; 4]), 88, "too many"),
            (with(108, &[0]), 88, "listed twice"),
        ] {
            let e = read_all(&data, 4).unwrap_err();
            assert!(e.to_string().contains(word), "{e}");
            assert_eq!(e.bit(), Some(byte * 8), "{e}");
        }
        for end in 0..NEWEST.len() {
            assert!(read_all(&NEWEST[..end], 4).is_err(), "{end}");
        }
    }
}
