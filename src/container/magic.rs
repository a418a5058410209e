//! What kind of file a buffer is, by its first bytes.
//!
//! In: the beginning of a file. Out: its [`FileKind`], as far as finding bitcode needs it. No
//! header is believed beyond what decides the kind.
//!
//! Source of the rules: LLVM's `identify_magic`. Kinds that cannot carry bitcode are all Unknown.

use super::u32_at;

/// The kinds of file that the container layer tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Raw or wrapped bitcode.
    Bitcode,
    /// A relocatable ELF object.
    Elf,
    /// An ELF file of another type: executable, shared object, core.
    ElfLinked,
    /// A relocatable Mach-O object.
    MachO,
    /// A Mach-O file of another type.
    MachOLinked,
    /// A universal file: several Mach-O files, archives or bitcode files by architecture.
    MachOUniversal,
    /// A COFF object, ordinary or "bigobj".
    Coff,
    /// A WebAssembly object.
    Wasm,
    /// An `ar` archive that holds its members.
    Archive,
    /// A GNU thin archive, which holds the paths of its members.
    ThinArchive,
    /// None of these.
    Unknown,
}

/// Where the bigobj's class id stands in its header, and the class id.
const BIGOBJ_ID_AT: usize = 12;
const BIGOBJ_ID: &[u8] = b"\xC7\xA1\xBA\xD1\xEE\xBA\xA9\x4B\xAF\x20\xFA\xF6\x6A\xA4\xDC\xB8";

/// Machine types of COFF objects: unknown, i386, ARMNT, x86-64, ARM64, ARM64EC, ARM64X. The
/// first two bytes of a COFF object are its machine type, little-endian.
const COFF_MACHINES: [u16; 7] = [0, 0x14c, 0x1c4, 0x8664, 0xaa64, 0xa641, 0xa64e];

/// Names the kind of file.
pub fn identify(bytes: &[u8]) -> FileKind {
    let Some(&[a, b, c, d]) = bytes.first_chunk::<4>() else {
        return FileKind::Unknown;
    };
    match [a, b, c, d] {
        [b'B', b'C', 0xC0, 0xDE] | [0xDE, 0xC0, 0x17, 0x0B] => FileKind::Bitcode,
        [0x7f, b'E', b'L', b'F'] => elf_kind(bytes),
        [0xFE, 0xED, 0xFA, 0xCE | 0xCF] => macho_kind(bytes, true, d == 0xCF),
        [0xCE | 0xCF, 0xFA, 0xED, 0xFE] => macho_kind(bytes, false, a == 0xCF),
        // A Java class file has the same magic; its version, where the count of architectures
        // stands, is at least 43.
        [0xCA, 0xFE, 0xBA, 0xBE | 0xBF] => match u32_at(bytes, 4, true) {
            Some(n) if n < 43 => FileKind::MachOUniversal,
            _ => FileKind::Unknown,
        },
        [0, b'a', b's', b'm'] => FileKind::Wasm,
        [0, 0, 0xFF, 0xFF] => {
            let id = bytes.get(BIGOBJ_ID_AT..BIGOBJ_ID_AT + BIGOBJ_ID.len());
            if id == Some(BIGOBJ_ID) { FileKind::Coff } else { FileKind::Unknown }
        }
        _ if bytes.starts_with(b"!<arch>\n") => FileKind::Archive,
        _ if bytes.starts_with(b"!<thin>\n") => FileKind::ThinArchive,
        _ if COFF_MACHINES.contains(&u16::from_le_bytes([a, b])) => FileKind::Coff,
        _ => FileKind::Unknown,
    }
}

fn elf_kind(bytes: &[u8]) -> FileKind {
    // e_type stands at byte 16 in either class; its byte order is byte 5 of the identification.
    let (Some(&order), Some(raw)) = (bytes.get(5), bytes.get(16..18)) else {
        return FileKind::Unknown;
    };
    let e_type = match (order, raw) {
        (2, &[high, low]) | (_, &[low, high]) => u16::from_be_bytes([high, low]),
        _ => return FileKind::Unknown,
    };
    if e_type == 1 { FileKind::Elf } else { FileKind::ElfLinked }
}

fn macho_kind(bytes: &[u8], big: bool, is_64: bool) -> FileKind {
    let header = if is_64 { 32 } else { 28 };
    if bytes.len() < header {
        return FileKind::Unknown;
    }
    // The file type is the fourth word; 1 is MH_OBJECT.
    match u32_at(bytes, 12, big) {
        Some(1) => FileKind::MachO,
        Some(_) => FileKind::MachOLinked,
        None => FileKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let elf = |order: u8, kind: [u8; 2]| {
            let mut v = b"\x7fELF\x02".to_vec();
            v.extend([order, 1]);
            v.resize(16, 0);
            v.extend(kind);
            v
        };
        let macho = |kind: u32| {
            let mut v = vec![0xCF, 0xFA, 0xED, 0xFE];
            v.resize(32, 0);
            v[12..16].copy_from_slice(&kind.to_le_bytes());
            v
        };
        for (bytes, kind) in [
            (b"BC\xC0\xDE".to_vec(), FileKind::Bitcode),
            (b"BC\xC0".to_vec(), FileKind::Unknown),
            (b"\xDE\xC0\x17\x0B".to_vec(), FileKind::Bitcode),
            (elf(1, [1, 0]), FileKind::Elf),
            (elf(2, [0, 1]), FileKind::Elf),
            (elf(1, [3, 0]), FileKind::ElfLinked),
            (macho(1), FileKind::MachO),
            (macho(2), FileKind::MachOLinked),
            (macho(1)[..20].to_vec(), FileKind::Unknown),
            (b"\xCA\xFE\xBA\xBE\0\0\0\x02".to_vec(), FileKind::MachOUniversal),
            (b"\xCA\xFE\xBA\xBE\0\0\0\x34".to_vec(), FileKind::Unknown),
            (b"\x64\x86\x03\0".to_vec(), FileKind::Coff),
            (b"\x64\xAA\x03\0".to_vec(), FileKind::Coff),
            (b"\0\0\xFF\xFF\0\0".to_vec(), FileKind::Unknown),
            (b"\0asm".to_vec(), FileKind::Wasm),
            (b"!<arch>\n".to_vec(), FileKind::Archive),
            (b"!<thin>\n".to_vec(), FileKind::ThinArchive),
            (b"OUTPUT".to_vec(), FileKind::Unknown),
        ] {
            assert_eq!(identify(&bytes), kind, "{bytes:02x?}");
        }
    }
}
