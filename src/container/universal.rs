//! Universal ("fat") Mach-O files: one file by architecture, side by side.
//!
//! In: a buffer with magic 0xCAFEBABE or 0xCAFEBABF. Out: the slices with their CPU types. Which
//! slice is wanted is the caller's knowledge; LLVM's libLTO refuses universal files, and ld64 and
//! cctools pick the slice before they call.

use object::macho::{FatArch32, FatArch64};
use object::read::macho::{FatArch, MachOFatFile};

use crate::error::{Error, Result};

/// One architecture's part of a universal file.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// Mach-O cputype.
    pub cpu_type: u32,
    /// Mach-O cpusubtype, capability bits included.
    pub cpu_subtype: u32,
    /// An object, an archive or bitcode.
    pub bytes: &'a [u8],
}

/// Lists the slices.
///
/// # Errors
/// Malformed where the header or a slice runs past the end of the buffer.
pub fn slices(bytes: &[u8]) -> Result<Vec<Slice<'_>>> {
    if bytes.get(3) == Some(&0xBF) { of::<FatArch64>(bytes) } else { of::<FatArch32>(bytes) }
}

fn of<A: FatArch>(bytes: &[u8]) -> Result<Vec<Slice<'_>>> {
    let broken = |e| Error::malformed(format!("universal Mach-O header: {e}"));
    let file = MachOFatFile::<A>::parse(bytes).map_err(broken)?;
    file.arches()
        .iter()
        .map(|arch| {
            Ok(Slice {
                cpu_type: arch.cputype(),
                cpu_subtype: arch.cpusubtype(),
                bytes: arch.data(bytes).map_err(broken)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slices_and_one_that_lies() {
        let mut file = Vec::new();
        for word in [0xCAFE_BABEu32, 2, 7, 3, 48, 4, 0, 0x0100_000C, 0, 52, 4, 0] {
            file.extend(word.to_be_bytes());
        }
        file.extend(b"onesecnd");
        let s = slices(&file).unwrap();
        assert_eq!((s[0].cpu_type, s[0].cpu_subtype, s[0].bytes), (7, 3, &b"ones"[..]));
        assert_eq!((s[1].cpu_type, s[1].bytes), (0x0100_000C, &b"ecnd"[..]));
        file.truncate(55);
        assert!(slices(&file).is_err());
        file.truncate(30);
        assert!(slices(&file).is_err());
    }
}
