//! Sections of object files that hold bitcode.
//!
//! In: a buffer already known by its magic to be an ELF, Mach-O, COFF or Wasm object. Out: the
//! contents of its bitcode section. Headers and section tables are read by the `object` crate,
//! which checks every offset against the buffer; Wasm is walked here, its sections are a list of
//! lengths.
//!
//! Where an object has both `.llvm.lto` and `.llvmbc`, the former is taken: it is the one compiled
//! for the linker. An ELF section of type SHT_LLVM_LTO is not asked for its type, as LLVM goes by
//! the name as well.

use object::LittleEndian;
use object::elf::{FileHeader32, FileHeader64};
use object::endian::{BigEndian, Endianness};
use object::macho::{MachHeader32, MachHeader64};
use object::pe::{AnonObjectHeaderBigobj, ImageFileHeader};
use object::read::coff::CoffHeader;
use object::read::elf::{FileHeader, SectionHeader};
use object::read::macho::{MachHeader, Section as _, Segment as _};

use crate::error::{Error, Result};

use super::{Bitcode, Carrier};

fn broken(what: &str) -> impl FnOnce(object::read::Error) -> Error + '_ {
    move |e| Error::malformed(format!("{what}: {e}"))
}

fn missing(kind: &str) -> Error {
    Error::unsupported(format!("{kind} object without a section of bitcode"))
}

/// What is kept while a section table is walked: the best section so far.
#[derive(Default)]
struct Best<'a> {
    lto: Option<&'a [u8]>,
    embedded: Option<&'a [u8]>,
}

impl<'a> Best<'a> {
    /// Whether a section of this name is worth reading.
    fn wants(&self, name: &[u8]) -> bool {
        match name {
            b".llvm.lto" => self.lto.is_none(),
            b".llvmbc" => self.embedded.is_none(),
            _ => false,
        }
    }

    fn keep(&mut self, name: &[u8], contents: &'a [u8]) {
        let slot = if name == b".llvm.lto" { &mut self.lto } else { &mut self.embedded };
        *slot = Some(contents);
    }

    fn finish(self, kind: &str) -> Result<Bitcode<'a>> {
        let (bytes, carrier) = match (self.lto, self.embedded) {
            (Some(b), _) => (b, Carrier::LlvmLto),
            (None, Some(b)) => (b, Carrier::LlvmBc),
            (None, None) => return Err(missing(kind)),
        };
        not_a_marker(bytes)?;
        Ok(Bitcode { bytes, carrier })
    }
}

/// `-fembed-bitcode=marker` leaves a section of one byte, which says only that there is none.
fn not_a_marker(bytes: &[u8]) -> Result<()> {
    if bytes.len() <= 1 {
        return Err(Error::unsupported("the bitcode section is only a marker, without bitcode"));
    }
    Ok(())
}

/// ELF, either class and byte order.
pub(super) fn elf(bytes: &[u8]) -> Result<Bitcode<'_>> {
    match bytes.get(4) {
        Some(1) => elf_of::<FileHeader32<Endianness>>(bytes),
        Some(2) => elf_of::<FileHeader64<Endianness>>(bytes),
        _ => Err(Error::malformed("ELF header: neither 32-bit nor 64-bit")),
    }
}

fn elf_of<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Bitcode<'_>> {
    let header = H::parse(bytes).map_err(broken("ELF header"))?;
    let endian = header.endian().map_err(broken("ELF header"))?;
    let sections = header.sections(endian, bytes).map_err(broken("ELF section table"))?;
    let mut best = Best::default();
    for section in sections.iter() {
        // A section whose name cannot be read is not ours; LLVM passes over it as well.
        let Ok(name) = sections.section_name(endian, section) else { continue };
        if best.wants(name) {
            let data = section.data(endian, bytes).map_err(broken("ELF bitcode section"))?;
            best.keep(name, data);
        }
    }
    best.finish("ELF")
}

/// COFF, ordinary or bigobj.
pub(super) fn coff(bytes: &[u8]) -> Result<Bitcode<'_>> {
    if bytes.starts_with(&[0, 0, 0xFF, 0xFF]) {
        coff_of::<AnonObjectHeaderBigobj>(bytes)
    } else {
        coff_of::<ImageFileHeader>(bytes)
    }
}

fn coff_of<H: CoffHeader>(bytes: &[u8]) -> Result<Bitcode<'_>> {
    let mut at = 0;
    let header = H::parse(bytes, &mut at).map_err(broken("COFF header"))?;
    let sections = header.sections(bytes, at).map_err(broken("COFF section table"))?;
    // `.llvm.lto` needs the string table, where names of more than eight bytes are.
    let symbols = header.symbols(bytes).map_err(broken("COFF symbol table"))?;
    let mut best = Best::default();
    for section in sections.iter() {
        let Ok(name) = section.name(symbols.strings()) else { continue };
        if best.wants(name) {
            let data = section
                .coff_data(bytes)
                .map_err(|()| Error::malformed("COFF bitcode section runs past the file's end"))?;
            best.keep(name, data);
        }
    }
    best.finish("COFF")
}

/// Mach-O, either class and byte order.
pub(super) fn macho(bytes: &[u8]) -> Result<Bitcode<'_>> {
    match bytes.first_chunk::<4>() {
        Some([0xFE, _, _, 0xCE]) => macho_of::<MachHeader32<BigEndian>>(bytes),
        Some([0xFE, _, _, 0xCF]) => macho_of::<MachHeader64<BigEndian>>(bytes),
        Some([0xCE, ..]) => macho_of::<MachHeader32<LittleEndian>>(bytes),
        _ => macho_of::<MachHeader64<LittleEndian>>(bytes),
    }
}

fn macho_of<H: MachHeader>(bytes: &[u8]) -> Result<Bitcode<'_>> {
    let header = H::parse(bytes, 0).map_err(broken("Mach-O header"))?;
    let endian = header.endian().map_err(broken("Mach-O header"))?;
    let mut commands =
        header.load_commands(endian, bytes, 0).map_err(broken("Mach-O load commands"))?;
    while let Some(command) = commands.next().map_err(broken("Mach-O load command"))? {
        let Some((segment, section_data)) =
            H::Segment::from_command(command).map_err(broken("Mach-O segment"))?
        else {
            continue;
        };
        // In an object all sections stand in one segment without a name; each names its own.
        let sections = segment.sections(endian, section_data).map_err(broken("Mach-O sections"))?;
        for section in sections {
            if section.segment_name() == b"__LLVM" && section.name() == b"__bitcode" {
                let data = section.data(endian, bytes).map_err(|()| {
                    Error::malformed("Mach-O bitcode section runs past the file's end")
                })?;
                not_a_marker(data)?;
                return Ok(Bitcode { bytes: data, carrier: Carrier::MachO });
            }
        }
    }
    Err(missing("Mach-O"))
}

/// Wasm: magic, version, then sections of one id byte, a length, and that many bytes. Custom
/// sections (id 0) begin with their name. Source: the WebAssembly core specification, 5.5.
pub(super) fn wasm(bytes: &[u8]) -> Result<Bitcode<'_>> {
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    let mut best = Best::default();
    while let Some((&id, after_id)) = rest.split_first() {
        let (section, after) = sized(after_id)?;
        rest = after;
        if id == 0 {
            let (name, contents) = sized(section)?;
            if best.wants(name) {
                best.keep(name, contents);
            }
        }
    }
    best.finish("Wasm")
}

/// A length in LEB128, that many bytes, and the rest.
pub(super) fn sized(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut len = 0usize;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return bytes
                .get(i + 1..)
                .and_then(|body| body.split_at_checked(len))
                .ok_or_else(|| Error::malformed("Wasm section runs past the file's end"));
        }
    }
    Err(Error::malformed("Wasm section with a length of more than five bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::{Carrier, find_bitcode, is_lto_input};
    use object::write::{Object, StandardSegment};
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    const BODY: &[u8] = b"BC\xC0\xDE1234";

    fn object_with(
        format: BinaryFormat,
        arch: Architecture,
        endian: Endianness,
        sections: &[(&str, &[u8])],
    ) -> Vec<u8> {
        let mut o = Object::new(format, arch, endian);
        let text = o.section_id(object::write::StandardSection::Text);
        o.append_section_data(text, b"\x90\x90", 1);
        for (name, data) in sections {
            let segment = if format == BinaryFormat::MachO {
                b"__LLVM".to_vec()
            } else {
                o.segment_name(StandardSegment::Data).to_vec()
            };
            let id = o.add_section(segment, name.as_bytes().to_vec(), SectionKind::Data);
            o.append_section_data(id, data, 4);
        }
        o.write().unwrap()
    }

    #[test]
    fn every_format_class_and_byte_order() {
        use Architecture::*;
        use BinaryFormat::{Coff, Elf, MachO};
        use Endianness::{Big, Little};
        for (format, arch, endian, name, carrier) in [
            (Elf, X86_64, Little, ".llvm.lto", Carrier::LlvmLto),
            (Elf, X86_64, Little, ".llvmbc", Carrier::LlvmBc),
            (Elf, I386, Little, ".llvm.lto", Carrier::LlvmLto),
            (Elf, PowerPc64, Big, ".llvm.lto", Carrier::LlvmLto),
            (Elf, PowerPc, Big, ".llvmbc", Carrier::LlvmBc),
            (Coff, X86_64, Little, ".llvmbc", Carrier::LlvmBc),
            (Coff, X86_64, Little, ".llvm.lto", Carrier::LlvmLto),
            (MachO, Aarch64, Little, "__bitcode", Carrier::MachO),
            (MachO, I386, Little, "__bitcode", Carrier::MachO),
        ] {
            let file = object_with(format, arch, endian, &[(name, BODY)]);
            let b = find_bitcode(&file).unwrap_or_else(|e| panic!("{format:?} {arch:?}: {e}"));
            assert_eq!((b.bytes, b.carrier), (BODY, carrier), "{format:?} {arch:?}");
            assert_eq!(is_lto_input(&file), carrier != Carrier::LlvmBc);
            // Cut anywhere, the file is refused or says the same, and nothing panics.
            for n in 0..file.len() {
                if let Ok(b) = find_bitcode(&file[..n]) {
                    assert_eq!(b.bytes, BODY, "{format:?} {arch:?} cut at {n}");
                }
            }
            let without = object_with(format, arch, endian, &[]);
            assert!(!is_lto_input(&without));
            let e = find_bitcode(&without).unwrap_err();
            assert!(e.to_string().contains("without a section of bitcode"), "{e}");
        }
    }

    #[test]
    fn the_section_for_the_linker_wins_and_markers_are_none() {
        let both = object_with(
            BinaryFormat::Elf,
            Architecture::X86_64,
            Endianness::Little,
            &[(".llvmbc", b"BC\xC0\xDEold!"), (".llvm.lto", BODY)],
        );
        assert_eq!(find_bitcode(&both).unwrap().bytes, BODY);
        let marker = object_with(
            BinaryFormat::MachO,
            Architecture::Aarch64,
            Endianness::Little,
            &[("__bitcode", b"\0")],
        );
        assert!(find_bitcode(&marker).unwrap_err().to_string().contains("marker"));
        let noise = object_with(
            BinaryFormat::Elf,
            Architecture::X86_64,
            Endianness::Little,
            &[(".llvm.lto", b"not bitcode")],
        );
        assert!(!is_lto_input(&noise));
    }

    #[test]
    fn wasm_custom_sections() {
        let mut file = b"\0asm\x01\0\0\0\x01\x01\0".to_vec();
        file.extend(b"\0\x12\x09.llvm.lto");
        file.extend(BODY);
        assert_eq!(find_bitcode(&file).unwrap().bytes, BODY);
        for n in 8..file.len() {
            assert!(find_bitcode(&file[..n]).is_err(), "cut at {n}");
        }
    }
}
