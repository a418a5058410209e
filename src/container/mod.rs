//! The bitcode inside whatever file was given.
//!
//! In: bytes, borrowed, of any origin (a file, a linker's buffer, an archive member). Out: the
//! bitcode in them as a sub-slice of the same bytes, and what carried it. Nothing is copied.
//! The other way round, `wrap` puts bitcode into a native object.
//!
//! | carrier | where the bitcode is |
//! |---|---|
//! | raw | the whole buffer, starting with `BC 0xC0DE` |
//! | wrapper | behind a 20-byte header with the magic `0x0B17C0DE` (Mach-O toolchains) |
//! | ELF, COFF, Wasm | section `.llvm.lto` (fat LTO objects) or `.llvmbc` (`-fembed-bitcode`) |
//! | Mach-O | section `__LLVM,__bitcode` |
//!
//! The reference is LLVM's `IRObjectFile::findBitcodeInMemBuffer` with `identify_magic`: of the
//! object files only relocatable ones are looked into, and of the ELF, COFF and Wasm sections only
//! `.llvm.lto` makes an object an input of LTO (up to LLVM 16 that was `.llvmbc`). [`Carrier`]
//! tells the two apart, so that an object which merely embeds its bitcode is not taken from the
//! linker; see [`is_lto_input`].
//!
//! This module must not know what bitcode is made of: it looks at magic numbers and headers only.

use crate::error::{Error, Result};

pub mod archive;
pub mod magic;
pub mod mmap;
mod objects;
mod replace;
mod stamp;
pub mod universal;
mod wrap;
pub mod wrapper;

pub use archive::{Archive, Member, MemberData};
pub use magic::{FileKind, identify};
pub use mmap::{FileBytes, OpenFile};
pub use replace::replace_bitcode;
pub use stamp::Stamp;
pub use wrap::wrap_in_object;

/// What the bitcode was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Nothing around it.
    Raw,
    /// The 0x0B17C0DE wrapper, which names a Mach-O CPU type.
    Wrapper {
        /// The `cputype` word of the wrapper's header.
        cpu_type: u32,
    },
    /// Section `.llvm.lto` of an ELF, COFF or Wasm object: fat LTO, machine code beside it.
    LlvmLto,
    /// Section `.llvmbc`: bitcode kept for reference, not meant for the linker since LLVM 17.
    LlvmBc,
    /// Section `__LLVM,__bitcode` of a Mach-O object.
    MachO,
}

impl Carrier {
    /// Whether LLVM 22 takes a file with this carrier for an LTO input.
    pub fn is_lto_input(self) -> bool {
        self != Carrier::LlvmBc
    }
}

/// Bitcode and its carrier.
#[derive(Clone, Copy, Debug)]
pub struct Bitcode<'a> {
    /// The bitcode, starting with `BC 0xC0DE`. Several modules may follow one another in it, and
    /// there may be padding at its end.
    pub bytes: &'a [u8],
    /// What it was in.
    pub carrier: Carrier,
}

impl<'a> Bitcode<'a> {
    /// The bitcode files that a section holds when a linker has joined the sections of several
    /// objects: each wrapper is one part, and so is all raw bitcode in a row. Zero bytes between
    /// them are padding.
    ///
    /// # Errors
    /// Malformed, at the first part that is neither.
    pub fn parts(&self) -> Result<Vec<&'a [u8]>> {
        split_parts(self.bytes)
    }
}

/// Whether the bytes begin like bitcode, raw or wrapped. Says nothing of what follows.
pub fn is_bitcode(bytes: &[u8]) -> bool {
    identify(bytes) == FileKind::Bitcode
}

/// Whether LLVM's libLTO would take these bytes for an object file of LTO: raw or wrapped bitcode,
/// or a relocatable object with a section of bitcode meant for the linker.
pub fn is_lto_input(bytes: &[u8]) -> bool {
    match identify(bytes) {
        FileKind::Bitcode => true,
        FileKind::Elf | FileKind::MachO | FileKind::Coff | FileKind::Wasm => {
            find_bitcode(bytes).is_ok_and(|b| b.carrier.is_lto_input())
        }
        _ => false,
    }
}

/// Finds the bitcode in `bytes`.
///
/// # Errors
/// Unsupported where the bytes are of no kind that can carry bitcode, or carry none; malformed
/// where a header contradicts the length of the buffer.
pub fn find_bitcode(bytes: &[u8]) -> Result<Bitcode<'_>> {
    let found = match identify(bytes) {
        FileKind::Bitcode => strip_wrapper(bytes)?,
        FileKind::Elf => objects::elf(bytes)?,
        FileKind::MachO => objects::macho(bytes)?,
        FileKind::Coff => objects::coff(bytes)?,
        FileKind::Wasm => objects::wasm(bytes)?,
        FileKind::MachOUniversal => {
            return Err(Error::unsupported(
                "universal (fat) Mach-O file: one architecture must be picked from it first",
            ));
        }
        FileKind::Archive | FileKind::ThinArchive => {
            return Err(Error::unsupported("archive: its members are read one by one"));
        }
        FileKind::ElfLinked => {
            return Err(Error::unsupported("linked ELF file, not a relocatable object"));
        }
        FileKind::MachOLinked => {
            return Err(Error::unsupported("linked Mach-O file, not a relocatable object"));
        }
        FileKind::Unknown if bytes.is_empty() => {
            return Err(Error::malformed("the file is empty"));
        }
        FileKind::Unknown => {
            return Err(Error::unsupported("not bitcode and not an object file that carries it"));
        }
    };
    let inner = match found.carrier {
        Carrier::Raw | Carrier::Wrapper { .. } => return Ok(found),
        // A section may hold a wrapped module, whose header says where the bitcode ends.
        _ if is_bitcode(found.bytes) => strip_wrapper_of_first(found.bytes)?,
        _ => {
            return Err(Error::malformed("the bitcode section does not begin with bitcode"));
        }
    };
    Ok(Bitcode { bytes: inner, carrier: found.carrier })
}

/// The bitcode in a buffer that starts with either magic number.
fn strip_wrapper(bytes: &[u8]) -> Result<Bitcode<'_>> {
    if wrapper::is_wrapper(bytes) {
        let w = wrapper::parse(bytes)?;
        Ok(Bitcode { bytes: w.bitcode, carrier: Carrier::Wrapper { cpu_type: w.cpu_type } })
    } else {
        Ok(Bitcode { bytes, carrier: Carrier::Raw })
    }
}

/// As [`strip_wrapper`], but leaves a row of several wrappers as it is for [`Bitcode::parts`].
fn strip_wrapper_of_first(bytes: &[u8]) -> Result<&[u8]> {
    if wrapper::is_wrapper(bytes) {
        let w = wrapper::parse(bytes)?;
        if skip_zeros(w.rest).is_empty() {
            return Ok(w.bitcode);
        }
    }
    Ok(bytes)
}

fn skip_zeros(bytes: &[u8]) -> &[u8] {
    let n = bytes.iter().take_while(|&&b| b == 0).count();
    bytes.get(n..).unwrap_or(&[])
}

fn split_parts(mut bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut parts = Vec::new();
    loop {
        bytes = skip_zeros(bytes);
        if bytes.is_empty() {
            return Ok(parts);
        }
        if wrapper::is_wrapper(bytes) {
            let w = wrapper::parse(bytes)?;
            parts.push(w.bitcode);
            bytes = w.rest;
        } else if is_bitcode(bytes) {
            // Raw bitcode carries no length of its own; whoever reads its blocks finds the end.
            parts.push(bytes);
            return Ok(parts);
        } else {
            return Err(Error::malformed("bytes between bitcode files that are neither"));
        }
    }
}

/// A little- or big-endian number at `at`, or None past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let raw: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] = b"BC\xC0\xDE\x01\x02\x03\x04";

    fn wrapped(body: &[u8], tail: usize) -> Vec<u8> {
        let mut v = Vec::new();
        for word in [0x0B17_C0DEu32, 0, 20, body.len() as u32, 0x0100_0007] {
            v.extend_from_slice(&word.to_le_bytes());
        }
        v.extend_from_slice(body);
        v.resize(v.len() + tail, 0);
        v
    }

    #[test]
    fn raw_and_wrapped_are_found() {
        let b = find_bitcode(RAW).unwrap();
        assert_eq!((b.bytes, b.carrier), (RAW, Carrier::Raw));
        let file = wrapped(RAW, 8);
        let b = find_bitcode(&file).unwrap();
        assert_eq!((b.bytes, b.carrier), (RAW, Carrier::Wrapper { cpu_type: 0x0100_0007 }));
        assert!(is_lto_input(&file));
    }

    #[test]
    fn a_wrapper_that_lies_is_malformed() {
        for (at, value) in [(8usize, 0xffff_ffffu32), (12, 9), (12, u32::MAX)] {
            let mut file = wrapped(RAW, 0);
            file[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let e = find_bitcode(&file).unwrap_err();
            assert_eq!(e.kind(), crate::error::ErrorKind::Malformed, "{e}");
        }
        for n in 4..20 {
            assert!(find_bitcode(&wrapped(RAW, 0)[..n]).is_err(), "{n} bytes");
        }
    }

    #[test]
    fn parts_of_a_joined_section() {
        let mut joined = wrapped(RAW, 4);
        joined.extend(wrapped(b"BC\xC0\xDE", 12));
        joined.extend_from_slice(RAW);
        let b = Bitcode { bytes: &joined, carrier: Carrier::MachO };
        assert_eq!(b.parts().unwrap(), [RAW, b"BC\xC0\xDE", RAW]);
        joined.truncate(joined.len() - 8);
        joined.extend_from_slice(b"garbage");
        let b = Bitcode { bytes: &joined, carrier: Carrier::MachO };
        assert!(b.parts().is_err());
    }

    #[test]
    fn other_files_say_what_they_are() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"!<arch>\n", "archive"),
            (b"\xCA\xFE\xBA\xBE\0\0\0\x02", "universal"),
            (b"INPUT ( a.o )", "not bitcode"),
        ] {
            let e = find_bitcode(bytes).unwrap_err();
            assert!(e.to_string().contains(word), "{e}");
            assert!(!is_lto_input(bytes));
        }
    }
}
