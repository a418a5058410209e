//! A native object file around bitcode.
//!
//! In: bitcode and a target triple. Out: a relocatable object of the triple's format whose one
//! section of content is where readers look for bitcode: `.llvmbc` in ELF and COFF,
//! `__LLVM,__bitcode` in Mach-O. There is no code and no symbol in it, and linkers leave the
//! section out of what they link.
//!
//! This module must not know what the bitcode says.

use object::write::{MachOBuildVersion, Object};
use object::{
    Architecture, BinaryFormat, Endianness, FileFlags, SectionFlags, SectionKind, SubArchitecture,
    elf, macho, pe,
};

use crate::error::{Error, Result};

/// What a triple asks for.
struct Target {
    architecture: Architecture,
    sub_architecture: Option<SubArchitecture>,
    endianness: Endianness,
    /// `e_flags` of an ELF file: the ABI, which linkers compare.
    elf_flags: u32,
}

/// Puts `bitcode` into a relocatable object for `triple`.
///
/// # Errors
/// Unsupported for an architecture or a format that cannot be written.
pub fn wrap_in_object(bitcode: &[u8], triple: &str) -> Result<Vec<u8>> {
    let unsupported = || Error::unsupported(format!("no object file can be written for {triple}"));
    let mut words = triple.split('-');
    let target = target(words.next().unwrap_or("")).ok_or_else(unsupported)?;
    let rest: Vec<&str> = words.collect();
    let format = format(&rest).ok_or_else(unsupported)?;
    let mut object = Object::new(format, target.architecture, target.endianness);
    object.set_sub_architecture(target.sub_architecture);
    let (segment, name, kind, flags) = match format {
        BinaryFormat::Elf => {
            object.flags = FileFlags::Elf { os_abi: 0, abi_version: 0, e_flags: target.elf_flags };
            // Without this note, linkers give the program an executable stack.
            let note = object.add_section(
                Vec::new(),
                b".note.GNU-stack".to_vec(),
                SectionKind::Elf(elf::SHT_PROGBITS),
            );
            object.section_mut(note).flags = SectionFlags::Elf { sh_flags: 0 };
            let flags = SectionFlags::Elf { sh_flags: u64::from(elf::SHF_EXCLUDE) };
            (&b""[..], &b".llvmbc"[..], SectionKind::Elf(elf::SHT_PROGBITS), flags)
        }
        BinaryFormat::MachO => {
            if let Some(version) = build_version(&rest) {
                object.set_macho_build_version(version);
            }
            let flags = SectionFlags::MachO { flags: macho::S_REGULAR };
            (&b"__LLVM"[..], &b"__bitcode"[..], SectionKind::Data, flags)
        }
        BinaryFormat::Coff => {
            let characteristics = pe::IMAGE_SCN_CNT_INITIALIZED_DATA
                | pe::IMAGE_SCN_LNK_REMOVE
                | pe::IMAGE_SCN_MEM_DISCARDABLE
                | pe::IMAGE_SCN_MEM_READ;
            let flags = SectionFlags::Coff { characteristics };
            (&b""[..], &b".llvmbc"[..], SectionKind::ReadOnlyData, flags)
        }
        _ => return Err(unsupported()),
    };
    let section = object.add_section(segment.to_vec(), name.to_vec(), kind);
    object.section_mut(section).flags = flags;
    object.append_section_data(section, bitcode, 4);
    object.write().map_err(|error| {
        Error::unsupported(format!("cannot write an object file for {triple}: {error}"))
    })
}

/// The format by operating system and environment; ELF where they say nothing.
fn format(rest: &[&str]) -> Option<BinaryFormat> {
    let has = |prefix: &str| rest.iter().any(|word| word.starts_with(prefix));
    let ends = |suffix: &str| rest.iter().any(|word| word.ends_with(suffix));
    if ends("macho") {
        return Some(BinaryFormat::MachO);
    }
    if ends("coff") && !ends("xcoff") {
        return Some(BinaryFormat::Coff);
    }
    if rest.contains(&"elf") {
        return Some(BinaryFormat::Elf);
    }
    if ["darwin", "macos", "ios", "tvos", "watchos", "xros", "visionos", "driverkit"]
        .into_iter()
        .any(has)
    {
        return Some(BinaryFormat::MachO);
    }
    if ["windows", "win32", "mingw", "cygwin", "uefi"].into_iter().any(has) {
        return Some(BinaryFormat::Coff);
    }
    (!has("aix") && !has("wasi") && !has("emscripten") && !ends("xcoff"))
        .then_some(BinaryFormat::Elf)
}

fn target(architecture: &str) -> Option<Target> {
    use Architecture as A;
    use Endianness::{Big, Little};
    let mut sub = None;
    let (kind, endianness, elf_flags) = match architecture {
        "x86_64" | "x86_64h" | "amd64" => (A::X86_64, Little, 0),
        "i386" | "i486" | "i586" | "i686" => (A::I386, Little, 0),
        "arm64e" => {
            sub = Some(SubArchitecture::Arm64E);
            (A::Aarch64, Little, 0)
        }
        "arm64ec" => {
            sub = Some(SubArchitecture::Arm64EC);
            (A::Aarch64, Little, 0)
        }
        "aarch64" | "arm64" => (A::Aarch64, Little, 0),
        "aarch64_be" => (A::Aarch64, Big, 0),
        "arm64_32" | "aarch64_32" => (A::Aarch64_Ilp32, Little, 0),
        "riscv64" | "riscv64gc" => (A::Riscv64, Little, elf::EF_RISCV_FLOAT_ABI_DOUBLE),
        "riscv32" | "riscv32gc" => (A::Riscv32, Little, elf::EF_RISCV_FLOAT_ABI_DOUBLE),
        "powerpc" | "ppc" => (A::PowerPc, Big, 0),
        "powerpc64" | "ppc64" => (A::PowerPc64, Big, 0),
        // The second version of the ABI.
        "powerpc64le" | "ppc64le" => (A::PowerPc64, Little, 2),
        "s390x" | "systemz" => (A::S390x, Big, 0),
        "sparc64" | "sparcv9" => (A::Sparc64, Big, 0),
        "sparc" => (A::Sparc, Big, 0),
        "mips" => (A::Mips, Big, 0),
        "mipsel" => (A::Mips, Little, 0),
        "mips64" => (A::Mips64, Big, 0),
        "mips64el" => (A::Mips64, Little, 0),
        "loongarch64" => {
            (A::LoongArch64, Little, elf::EF_LARCH_ABI_DOUBLE_FLOAT | elf::EF_LARCH_OBJABI_V1)
        }
        "hexagon" => (A::Hexagon, Little, 0),
        "bpf" | "bpfel" => (A::Bpf, Little, 0),
        "bpfeb" => (A::Bpf, Big, 0),
        "avr" => (A::Avr, Little, 0),
        "msp430" => (A::Msp430, Little, 0),
        _ if architecture.starts_with("armeb") || architecture.starts_with("thumbeb") => {
            (A::Arm, Big, elf::EF_ARM_EABI_VER5)
        }
        _ if architecture.starts_with("arm") || architecture.starts_with("thumb") => {
            (A::Arm, Little, elf::EF_ARM_EABI_VER5)
        }
        _ => return None,
    };
    Some(Target { architecture: kind, sub_architecture: sub, endianness, elf_flags })
}

/// The platform of an Apple triple, and its least version where the triple gives one.
fn build_version(rest: &[&str]) -> Option<MachOBuildVersion> {
    let (word, name, platform) = rest.iter().find_map(|word| {
        [
            ("macosx", macho::PLATFORM_MACOS),
            ("macos", macho::PLATFORM_MACOS),
            ("ios", macho::PLATFORM_IOS),
            ("tvos", macho::PLATFORM_TVOS),
            ("watchos", macho::PLATFORM_WATCHOS),
        ]
        .into_iter()
        .find(|(name, _)| word.starts_with(name))
        .map(|(name, platform)| (*word, name, platform))
    })?;
    let mut numbers = word.get(name.len()..)?.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    // The version as Mach-O has it: 16 bits, 8 bits, 8 bits.
    let minos = (next() & 0xffff) << 16 | (next() & 0xff) << 8 | (next() & 0xff);
    let mut version = MachOBuildVersion::default();
    version.platform = platform;
    version.minos = minos;
    version.sdk = minos;
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Carrier, find_bitcode};

    const RAW: &[u8] = b"BC\xC0\xDE\x01\x02\x03\x04";

    #[test]
    fn readers_find_the_bitcode_again() {
        for (triple, carrier) in [
            ("x86_64-unknown-linux-gnu", Carrier::LlvmBc),
            ("aarch64_be-linux-gnu", Carrier::LlvmBc),
            ("riscv64-unknown-linux-gnu", Carrier::LlvmBc),
            ("s390x-linux-gnu", Carrier::LlvmBc),
            ("armv7-unknown-linux-gnueabihf", Carrier::LlvmBc),
            ("x86_64-pc-windows-msvc", Carrier::LlvmBc),
            ("x86_64-w64-mingw32", Carrier::LlvmBc),
            ("arm64-apple-macosx14.2", Carrier::MachO),
            ("x86_64-apple-darwin", Carrier::MachO),
        ] {
            let file = wrap_in_object(RAW, triple).unwrap();
            let found = find_bitcode(&file).unwrap();
            assert_eq!((found.bytes, found.carrier), (RAW, carrier), "{triple}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        for triple in ["", "nonesuch-linux", "powerpc64-ibm-aix", "s390x-pc-windows-msvc"] {
            let error = wrap_in_object(RAW, triple).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Unsupported, "{error}");
        }
    }
}
