//! The 0x0B17C0DE wrapper of Mach-O toolchains.
//!
//! In: a buffer that starts with the wrapper's magic. Out: the bitcode it points at, the CPU type
//! it names, and what follows the bitcode.
//!
//! Layout, little-endian words: magic 0x0B17C0DE, version, offset of the bitcode, its size in
//! bytes, Mach-O cputype; the same in every version of LLVM. Source: `skipBitcodeWrapperHeader`
//! of LLVM's reader and `emitDarwinBCHeaderAndTrailer` of its writer, which pads the file (not the
//! size) to a multiple of 16 bytes.

use crate::error::{Error, Result};

use super::u32_at;

const MAGIC: &[u8] = b"\xDE\xC0\x17\x0B";
/// Bytes of the header.
const HEADER: usize = 20;

/// A checked wrapper.
#[derive(Clone, Copy, Debug)]
pub struct Wrapper<'a> {
    /// The bitcode, starting with its magic number.
    pub bitcode: &'a [u8],
    /// The Mach-O CPU type for which it was compiled; 0xffffffff where the writer knew none.
    pub cpu_type: u32,
    /// The bytes after the bitcode: padding, or another file.
    pub rest: &'a [u8],
}

/// Whether the buffer begins with the wrapper's magic.
pub fn is_wrapper(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Offset and size of the bitcode as the header has them, unchecked; `head` is the beginning of
/// the file. None where the header is not all there.
pub fn place(head: &[u8]) -> Option<(u64, u64)> {
    Some((u32_at(head, 8, false)?.into(), u32_at(head, 12, false)?.into()))
}

/// Reads the header and checks it against the buffer.
///
/// # Errors
/// Malformed where the header is cut short, points out of the buffer, or where what it points at
/// is not raw bitcode.
pub fn parse(bytes: &[u8]) -> Result<Wrapper<'_>> {
    let field = |at| {
        u32_at(bytes, at, false)
            .ok_or_else(|| Error::malformed("the bitcode wrapper's header is cut short"))
    };
    let (offset, size, cpu_type) = (field(8)?, field(12)?, field(16)?);
    let (offset, size) = (offset as usize, size as usize);
    let end = offset.checked_add(size).filter(|&e| e <= bytes.len()).ok_or_else(|| {
        Error::malformed(format!(
            "the bitcode wrapper names {size} bytes at offset {offset}, but the file has {}",
            bytes.len()
        ))
    })?;
    if offset < HEADER {
        return Err(Error::malformed("the bitcode wrapper's offset points into its own header"));
    }
    let bitcode = bytes.get(offset..end).unwrap_or(&[]);
    if !bitcode.starts_with(b"BC\xC0\xDE") {
        return Err(Error::malformed("the bitcode wrapper does not point at bitcode").at_bit(
            // Bits from the start of the file, as every other place in this crate.
            (offset as u64).saturating_mul(8),
        ));
    }
    if size % 4 != 0 {
        return Err(Error::malformed(format!(
            "the bitcode wrapper names {size} bytes, which is no multiple of 4"
        )));
    }
    Ok(Wrapper { bitcode, cpu_type, rest: bytes.get(end..).unwrap_or(&[]) })
}
