//! Other bitcode in a file that carries some.
//!
//! In: a file of any container, and a function from its bitcode to new bitcode. Out: the file with
//! the new one in the place of the old. Of an object everything else keeps its bytes and its
//! place: what no longer fits where it was goes behind the end, and the section's header (in
//! Mach-O the segment's as well) is told. In Wasm, whose sections follow one another without
//! headers elsewhere, what stands behind the section moves.
//!
//! This module must not know what the bitcode says.

use object::LittleEndian;
use object::elf::{FileHeader32, FileHeader64};
use object::endian::{Endianness, U32, U64};
use object::macho::{MachHeader32, MachHeader64, Section32, Section64};
use object::pe::{AnonObjectHeaderBigobj, ImageFileHeader};
use object::pod::{self, Pod};
use object::read::coff::CoffHeader;
use object::read::elf::{FileHeader, SectionHeader};
use object::read::macho::{MachHeader, Segment as _};

use super::{FileKind, identify, objects};
use crate::error::{Error, Result};

/// What goes behind the end of an object starts at a multiple of this.
const ALIGNMENT: usize = 16;

/// Puts what `new` makes of the bitcode into its place. `new` gets the contents as they stand,
/// raw or in the 0x0B17C0DE wrapper, and gives them so.
///
/// # Errors
/// Those of [`super::find_bitcode`] and of `new`; unsupported where the file would outgrow its
/// format.
pub fn replace_bitcode(file: &[u8], new: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let found = match identify(file) {
        FileKind::Elf => objects::elf(file)?,
        FileKind::MachO => objects::macho(file)?,
        FileKind::Coff => objects::coff(file)?,
        FileKind::Wasm => {
            let found = objects::wasm(file)?;
            return wasm(file, place_in(file, found.bytes), &new(found.bytes)?);
        }
        _ => return new(file),
    };
    let old = place_in(file, found.bytes);
    let contents = new(found.bytes)?;
    let mut patched = Patched::new(file, old, &contents);
    match identify(file) {
        FileKind::Elf if file.get(4) == Some(&1) => elf32(file, old, &mut patched)?,
        FileKind::Elf => elf64(file, old, &mut patched)?,
        FileKind::Coff => coff(file, old, &mut patched)?,
        _ => macho(file, old, &mut patched)?,
    }
    Ok(patched.bytes)
}

/// Where a part of the file starts, and its length.
type Place = (usize, usize);

fn place_in(file: &[u8], part: &[u8]) -> Place {
    (part.as_ptr().addr().wrapping_sub(file.as_ptr().addr()), part.len())
}

/// The file to be, with the contents in it and headers that do not know it yet.
struct Patched {
    bytes: Vec<u8>,
    /// Where the contents are now.
    offset: u64,
    size: u64,
}

impl Patched {
    fn new(file: &[u8], old: Place, contents: &[u8]) -> Self {
        let mut bytes = file.to_vec();
        let fits = bytes.get_mut(old.0..old.0.saturating_add(old.1));
        let offset = match fits.and_then(|place| place.split_at_mut_checked(contents.len())) {
            Some((place, rest)) => {
                place.copy_from_slice(contents);
                rest.fill(0);
                old.0
            }
            None => {
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
                bytes.extend_from_slice(contents);
                bytes.len() - contents.len()
            }
        };
        Patched { bytes, offset: offset as u64, size: contents.len() as u64 }
    }

    /// Puts a changed header where the original of the unchanged file is.
    fn put<T: Pod>(&mut self, file: &[u8], original: &T, changed: &T) {
        let (at, len) = place_in(file, pod::bytes_of(original));
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(len)) {
            place.copy_from_slice(pod::bytes_of(changed));
        }
    }

    /// Offset and size as the 32 bits that most headers have for them.
    fn narrow(&self) -> Result<(u32, u32)> {
        match (u32::try_from(self.offset), u32::try_from(self.size)) {
            (Ok(offset), Ok(size)) => Ok((offset, size)),
            _ => Err(Error::unsupported("an object file of more than 4 GiB")),
        }
    }
}

fn broken(error: object::read::Error) -> Error {
    Error::malformed(format!("object file: {error}"))
}

fn vanished() -> Error {
    Error::malformed("the section of the bitcode has no header")
}

fn no_room() -> Error {
    Error::malformed("Mach-O sections up to the end of the address space")
}

fn elf64(file: &[u8], old: Place, patched: &mut Patched) -> Result<()> {
    let header = FileHeader64::<Endianness>::parse(file).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.section_headers(endian, file).map_err(broken)?;
    let section =
        sections.iter().find(|s| is_at(s.file_range(endian), old)).ok_or_else(vanished)?;
    let mut changed = *section;
    changed.sh_offset = U64::new(endian, patched.offset);
    changed.sh_size = U64::new(endian, patched.size);
    patched.put(file, section, &changed);
    Ok(())
}

fn elf32(file: &[u8], old: Place, patched: &mut Patched) -> Result<()> {
    let header = FileHeader32::<Endianness>::parse(file).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.section_headers(endian, file).map_err(broken)?;
    let section =
        sections.iter().find(|s| is_at(s.file_range(endian), old)).ok_or_else(vanished)?;
    let (offset, size) = patched.narrow()?;
    let mut changed = *section;
    changed.sh_offset = U32::new(endian, offset);
    changed.sh_size = U32::new(endian, size);
    patched.put(file, section, &changed);
    Ok(())
}

fn is_at(range: Option<(u64, u64)>, old: Place) -> bool {
    range == Some((old.0 as u64, old.1 as u64))
}

fn coff(file: &[u8], old: Place, patched: &mut Patched) -> Result<()> {
    let mut at = 0;
    let sections = if file.starts_with(&[0, 0, 0xFF, 0xFF]) {
        let header = AnonObjectHeaderBigobj::parse(file, &mut at).map_err(broken)?;
        header.sections(file, at).map_err(broken)?
    } else {
        let header = ImageFileHeader::parse(file, &mut at).map_err(broken)?;
        header.sections(file, at).map_err(broken)?
    };
    let here = |range: Option<(u32, u32)>| is_at(range.map(|(a, b)| (a.into(), b.into())), old);
    let section = sections.iter().find(|s| here(s.coff_file_range())).ok_or_else(vanished)?;
    let (offset, size) = patched.narrow()?;
    let mut changed = *section;
    changed.pointer_to_raw_data = object::U32::new(LittleEndian, offset);
    changed.size_of_raw_data = object::U32::new(LittleEndian, size);
    patched.put(file, section, &changed);
    Ok(())
}

/// In Mach-O sections have addresses, which must not overlap, within their segment: contents that
/// have moved get the address behind all others.
fn macho(file: &[u8], old: Place, patched: &mut Patched) -> Result<()> {
    match file.first_chunk::<4>() {
        Some([0xCF, ..]) => macho64(file, old, patched),
        Some([_, _, _, 0xCF]) => macho64(file, old, patched),
        _ => macho32(file, old, patched),
    }
}

fn macho64(file: &[u8], old: Place, patched: &mut Patched) -> Result<()> {
    let header = MachHeader64::<Endianness>::parse(file, 0).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let mut commands = header.load_commands(endian, file, 0).map_err(broken)?;
    while let Some(command) = commands.next().map_err(broken)? {
        let Some((segment, data)) = command.segment_64().map_err(broken)? else { continue };
        let sections: &[Section64<Endianness>] = segment.sections(endian, data).map_err(broken)?;
        let Some(section) = sections.iter().find(|s| s.offset.get(endian) as usize == old.0) else {
            continue;
        };
        let (offset, _) = patched.narrow()?;
        let end = sections
            .iter()
            .map(|s| s.addr.get(endian).saturating_add(s.size.get(endian)))
            .max()
            .unwrap_or(0);
        let mut changed = *section;
        let mut around = *segment;
        changed.size = U64::new(endian, patched.size);
        changed.offset = U32::new(endian, offset);
        if offset as usize != old.0 {
            let start = segment.vmaddr.get(endian);
            let length = patched.offset.wrapping_sub(segment.fileoff.get(endian));
            // Behind all others, and no nearer to the segment's start than in the file: a segment
            // must not be longer in the file than in memory.
            let address = end
                .max(start.saturating_add(length))
                .checked_next_multiple_of(ALIGNMENT as u64)
                .ok_or_else(no_room)?;
            changed.addr = U64::new(endian, address);
            let vmsize = address.wrapping_add(patched.size).wrapping_sub(start);
            around.vmsize = U64::new(endian, vmsize);
            around.filesize = U64::new(endian, length.wrapping_add(patched.size));
        }
        patched.put(file, section, &changed);
        patched.put(file, segment, &around);
        return Ok(());
    }
    Err(vanished())
}

fn macho32(file: &[u8], old: Place, patched: &mut Patched) -> Result<()> {
    let header = MachHeader32::<Endianness>::parse(file, 0).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let mut commands = header.load_commands(endian, file, 0).map_err(broken)?;
    while let Some(command) = commands.next().map_err(broken)? {
        let Some((segment, data)) = command.segment_32().map_err(broken)? else { continue };
        let sections: &[Section32<Endianness>] = segment.sections(endian, data).map_err(broken)?;
        let Some(section) = sections.iter().find(|s| s.offset.get(endian) as usize == old.0) else {
            continue;
        };
        let (offset, size) = patched.narrow()?;
        let end = sections
            .iter()
            .map(|s| s.addr.get(endian).saturating_add(s.size.get(endian)))
            .max()
            .unwrap_or(0);
        let mut changed = *section;
        let mut around = *segment;
        changed.size = U32::new(endian, size);
        changed.offset = U32::new(endian, offset);
        if offset as usize != old.0 {
            let start = segment.vmaddr.get(endian);
            let length = offset.wrapping_sub(segment.fileoff.get(endian));
            // Behind all others, and no nearer to the segment's start than in the file: a segment
            // must not be longer in the file than in memory.
            let address = end
                .max(start.saturating_add(length))
                .checked_next_multiple_of(ALIGNMENT as u32)
                .ok_or_else(no_room)?;
            changed.addr = U32::new(endian, address);
            let vmsize = address.wrapping_add(size).wrapping_sub(start);
            around.vmsize = U32::new(endian, vmsize);
            around.filesize = U32::new(endian, length.wrapping_add(size));
        }
        patched.put(file, section, &changed);
        patched.put(file, segment, &around);
        return Ok(());
    }
    Err(vanished())
}

/// Sections are an id, a length in LEB128 and that many bytes; a custom section, id 0, begins with
/// its name in the same way.
fn wasm(file: &[u8], old: Place, contents: &[u8]) -> Result<Vec<u8>> {
    let mut rest = file.get(8..).unwrap_or(&[]);
    while let Some((_, after_id)) = rest.split_first() {
        let (section, after) = objects::sized(after_id)?;
        rest = after;
        let (start, len) = place_in(file, section);
        if old.0 < start || old.0.saturating_add(old.1) != start.saturating_add(len) {
            continue;
        }
        let length_at = place_in(file, after_id).0;
        let name = file.get(start..old.0).ok_or_else(vanished)?;
        let size = u32::try_from(name.len() + contents.len())
            .map_err(|_| Error::unsupported("a Wasm section of more than 4 GiB"))?;
        let mut bytes = Vec::with_capacity(file.len() + contents.len());
        bytes.extend_from_slice(file.get(..length_at).unwrap_or(&[]));
        leb128(size, start.saturating_sub(length_at), &mut bytes);
        for part in [name, contents, after] {
            bytes.extend_from_slice(part);
        }
        return Ok(bytes);
    }
    Err(vanished())
}

/// A number in LEB128 of at least so many bytes: writers leave room for any length.
fn leb128(mut number: u32, width: usize, out: &mut Vec<u8>) {
    let mut written = 1;
    while number >= 0x80 || written < width {
        out.push(number as u8 | 0x80);
        number >>= 7;
        written += 1;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::super::{find_bitcode, wrap_in_object};
    use super::*;
    use object::{Object as _, ObjectSection as _};

    const OLD: &[u8] = b"BC\xC0\xDEold.bitcode.....";

    /// A Wasm object with code in front of the bitcode and a section behind it.
    fn wasm_object() -> Vec<u8> {
        let mut file = b"\0asm\x01\0\0\0".to_vec();
        file.extend(b"\0\x09\x04codeabcd");
        file.extend([0, 0x80 | (8 + OLD.len() as u8), 0x80, 0x80, 0x80, 0]);
        file.extend([b"\x07.llvmbc", OLD].concat());
        file.extend(b"\0\x09\x04restefgh");
        file
    }

    /// Every section but that of the bitcode, by name and contents.
    fn others(file: &[u8]) -> Vec<(String, Vec<u8>)> {
        if identify(file) == FileKind::Wasm {
            let mut found = Vec::new();
            let mut rest = &file[8..];
            while let [0, after_id @ ..] = rest {
                let (section, after) = objects::sized(after_id).unwrap();
                let (name, contents) = objects::sized(section).unwrap();
                found.push((String::from_utf8(name.to_vec()).unwrap(), contents.to_vec()));
                rest = after;
            }
            assert!(rest.is_empty());
            found.retain(|(name, _)| name != ".llvmbc");
            return found;
        }
        let file = object::File::parse(file).unwrap();
        let sections = file.sections().filter(|s| !s.name().unwrap().contains("bit"));
        sections
            .filter(|s| s.name() != Ok(".llvmbc"))
            .map(|s| (s.name().unwrap().to_owned(), s.data().unwrap().to_vec()))
            .collect()
    }

    #[test]
    fn bitcode_of_any_size_takes_the_old_ones_place() {
        for triple in [
            "x86_64-unknown-linux-gnu",
            "i686-unknown-linux-gnu",
            "powerpc64-unknown-linux-gnu",
            "powerpc-unknown-linux-gnu",
            "x86_64-pc-windows-msvc",
            "arm64-apple-macosx11.0.0",
            "armv7-apple-ios9.0.0",
            "powerpc64-apple-darwin8",
            "powerpc-apple-darwin8",
            "wasm32-unknown-unknown",
        ] {
            let file = match triple.starts_with("wasm") {
                true => wasm_object(),
                false => wrap_in_object(OLD, triple).unwrap(),
            };
            for len in [4usize, OLD.len(), OLD.len() + 1, 5000] {
                let new: Vec<u8> =
                    b"BC\xC0\xDE".iter().copied().chain((4..len).map(|i| i as u8)).collect();
                let make = |old: &[u8]| {
                    assert_eq!(old, OLD);
                    Ok(new.clone())
                };
                let got = replace_bitcode(&file, make).unwrap();
                assert_eq!(find_bitcode(&got).unwrap().bytes, new, "{triple}, {len} bytes");
                assert_eq!(others(&got), others(&file), "{triple}, {len} bytes");
                // And once more, from where it is now.
                let again = replace_bitcode(&got, |_| Ok(OLD.repeat(2))).unwrap();
                assert_eq!(find_bitcode(&again).unwrap().bytes, OLD.repeat(2), "{triple}");
            }
            assert!(replace_bitcode(&file, |_| Err(Error::malformed("no"))).is_err());
        }
        assert_eq!(
            replace_bitcode(OLD, |old| Ok([old, b"!"].concat())).unwrap(),
            [OLD, b"!"].concat()
        );
    }
}
