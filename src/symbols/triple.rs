//! What a target triple says about object files.
//!
//! In: a triple as the module has it, not normalised. Out: architecture family, object format,
//! Windows environment, Mach-O CPU type. Only what the symbol view depends on is parsed.
//!
//! Source: LLVM's `Triple.cpp` (`parseArch`, `parseOS`, `parseEnvironment`, `parseFormat`,
//! `getDefaultFormat`) and `MachO.cpp` (`getCPUType`, `getCPUSubType`).

/// Families of architectures whose assembly or object files differ for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum Arch {
    X86,
    X86_64,
    /// ARM and Thumb, either byte order.
    Arm,
    AArch64,
    /// arm64_32.
    AArch64_32,
    RiscV,
    PowerPc,
    PowerPc64,
    SystemZ,
    Mips,
    LoongArch,
    Sparc,
    Wasm,
    Other,
}

/// The object file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum ObjectFormat {
    Elf,
    MachO,
    Coff,
    Wasm,
    Xcoff,
    Goff,
    Other,
}

/// Which Windows environment, as linker directives differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum Windows {
    No,
    Msvc,
    Gnu,
    Cygnus,
    /// Windows with another environment, such as itanium.
    Other,
}

/// A parsed triple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triple {
    /// The architecture family.
    pub arch: Arch,
    /// The first component as written: subtypes depend on it.
    pub arch_name: Vec<u8>,
    /// The object format.
    pub format: ObjectFormat,
    /// The Windows environment.
    pub windows: Windows,
    /// macOS, iOS and their relatives.
    pub is_darwin: bool,
}

impl Triple {
    /// Parses a triple; nothing is an error, unknown parts are Other.
    pub fn parse(triple: &[u8]) -> Self {
        let mut parts = triple.splitn(4, |&b| b == b'-');
        let mut part = || parts.next().unwrap_or(&[]);
        let (arch_name, vendor, os, env) = (part(), part(), part(), part());
        let _ = vendor;
        let arch = arch(arch_name);
        let is_darwin = is_any_prefix(
            os,
            &[
                "darwin",
                "macos",
                "ios",
                "tvos",
                "watchos",
                "bridgeos",
                "driverkit",
                "xros",
                "visionos",
            ],
        );
        let is_windows = is_any_prefix(os, &["win32", "windows"]);
        let windows = match env {
            _ if !is_windows => Windows::No,
            _ if env.starts_with(b"msvc") => Windows::Msvc,
            _ if env.starts_with(b"gnu") => Windows::Gnu,
            _ if env.starts_with(b"cygnus") => Windows::Cygnus,
            // No environment that LLVM knows means MSVC.
            _ if is_any_prefix(env, &["itanium", "musl", "eabi", "coreclr", "simulator"]) => {
                Windows::Other
            }
            _ => Windows::Msvc,
        };
        let format = named_format(env).unwrap_or_else(|| {
            let uefi = os.starts_with(b"uefi");
            match arch {
                Arch::Wasm => ObjectFormat::Wasm,
                Arch::SystemZ if os.starts_with(b"zos") => ObjectFormat::Goff,
                Arch::PowerPc | Arch::PowerPc64 if os.starts_with(b"aix") => ObjectFormat::Xcoff,
                Arch::X86
                | Arch::X86_64
                | Arch::Arm
                | Arch::AArch64
                | Arch::AArch64_32
                | Arch::Other
                    if is_windows || uefi =>
                {
                    ObjectFormat::Coff
                }
                Arch::Mips if is_windows => ObjectFormat::Coff,
                Arch::X86
                | Arch::X86_64
                | Arch::Arm
                | Arch::AArch64
                | Arch::AArch64_32
                | Arch::PowerPc
                | Arch::PowerPc64
                | Arch::Other
                    if is_darwin =>
                {
                    ObjectFormat::MachO
                }
                _ => ObjectFormat::Elf,
            }
        });
        Triple { arch, arch_name: arch_name.to_vec(), format, windows, is_darwin }
    }

    /// x86 of either width.
    pub fn is_x86(&self) -> bool {
        matches!(self.arch, Arch::X86 | Arch::X86_64)
    }

    /// Windows on MinGW or Cygwin.
    pub fn is_cygming(&self) -> bool {
        matches!(self.windows, Windows::Gnu | Windows::Cygnus)
    }

    /// ARM64EC, whose exported names are given twice.
    pub fn is_arm64ec(&self) -> bool {
        self.windows != Windows::No && self.arch_name == b"arm64ec"
    }

    /// Mach-O cputype and cpusubtype; None where the triple is not one of Mach-O.
    pub fn macho_cpu(&self) -> Option<(u32, u32)> {
        if self.format != ObjectFormat::MachO {
            return None;
        }
        /// CPU_ARCH_ABI64 and CPU_ARCH_ABI64_32, the bits that widen a CPU type.
        const ABI64: u32 = 0x0100_0000;
        const ABI64_32: u32 = 0x0200_0000;
        Some(match self.arch {
            Arch::X86 => (7, 3),
            Arch::X86_64 => (ABI64 | 7, if self.arch_name == b"x86_64h" { 8 } else { 3 }),
            Arch::Arm => (12, arm_subtype(&self.arch_name)),
            Arch::AArch64_32 => (ABI64_32 | 12, 1),
            Arch::AArch64 => (ABI64 | 12, if self.arch_name == b"arm64e" { 2 } else { 0 }),
            Arch::PowerPc => (18, 0),
            Arch::PowerPc64 => (ABI64 | 18, 0),
            _ => return None,
        })
    }
}

fn is_any_prefix(name: &[u8], prefixes: &[&str]) -> bool {
    prefixes.iter().any(|p| name.starts_with(p.as_bytes()))
}

fn arch(name: &[u8]) -> Arch {
    let Ok(name) = std::str::from_utf8(name) else { return Arch::Other };
    match name {
        "i386" | "i486" | "i586" | "i686" | "i786" | "i886" | "i986" => Arch::X86,
        "amd64" | "x86_64" | "x86_64h" => Arch::X86_64,
        "aarch64_32" | "arm64_32" => Arch::AArch64_32,
        "xscale" | "xscaleeb" => Arch::Arm,
        "s390x" | "systemz" => Arch::SystemZ,
        "powerpc" | "powerpcspe" | "ppc" | "ppc32" | "powerpcle" | "ppcle" | "ppc32le" => {
            Arch::PowerPc
        }
        "powerpc64" | "ppu" | "ppc64" | "powerpc64le" | "ppc64le" => Arch::PowerPc64,
        _ if name.starts_with("aarch64") || name.starts_with("arm64") => Arch::AArch64,
        _ if name.starts_with("arm") || name.starts_with("thumb") => Arch::Arm,
        _ if name.starts_with("riscv") => Arch::RiscV,
        _ if name.starts_with("mips") => Arch::Mips,
        _ if name.starts_with("loongarch") => Arch::LoongArch,
        _ if name.starts_with("sparc") => Arch::Sparc,
        _ if name.starts_with("wasm") => Arch::Wasm,
        _ => Arch::Other,
    }
}

/// A format named at the end of the environment, as in `x86_64-apple-macosx-elf`.
fn named_format(env: &[u8]) -> Option<ObjectFormat> {
    // "xcoff" ends with "coff", so it comes first.
    [
        ("xcoff", ObjectFormat::Xcoff),
        ("coff", ObjectFormat::Coff),
        ("elf", ObjectFormat::Elf),
        ("goff", ObjectFormat::Goff),
        ("macho", ObjectFormat::MachO),
        ("wasm", ObjectFormat::Wasm),
        ("spirv", ObjectFormat::Other),
    ]
    .into_iter()
    .find(|(name, _)| env.ends_with(name.as_bytes()))
    .map(|(_, format)| format)
}

fn arm_subtype(arch: &[u8]) -> u32 {
    let name = arch.strip_prefix(b"thumb").or(arch.strip_prefix(b"arm")).unwrap_or(arch);
    match name {
        b"v4t" => 5,
        b"v5" | b"v5t" | b"v5e" | b"v5te" | b"v5tej" => 7,
        b"v6" | b"v6j" | b"v6k" | b"v6hl" => 6,
        b"v7s" => 11,
        b"v7k" => 12,
        b"v6m" | b"v6-m" | b"v6sm" | b"v6s-m" => 14,
        b"v7m" | b"v7-m" => 15,
        b"v7em" | b"v7e-m" => 16,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_environments() {
        for (triple, format, windows) in [
            ("x86_64-unknown-linux-gnu", ObjectFormat::Elf, Windows::No),
            ("arm64-apple-macosx14.0.0", ObjectFormat::MachO, Windows::No),
            ("x86_64-apple-darwin", ObjectFormat::MachO, Windows::No),
            ("x86_64-pc-windows-msvc", ObjectFormat::Coff, Windows::Msvc),
            ("x86_64-pc-windows-msvc19.33.0", ObjectFormat::Coff, Windows::Msvc),
            ("x86_64-pc-windows", ObjectFormat::Coff, Windows::Msvc),
            ("i686-w64-windows-gnu", ObjectFormat::Coff, Windows::Gnu),
            ("i686-pc-windows-msvc-elf", ObjectFormat::Elf, Windows::Msvc),
            ("wasm32-unknown-unknown", ObjectFormat::Wasm, Windows::No),
            ("powerpc64-ibm-aix7.2", ObjectFormat::Xcoff, Windows::No),
            ("", ObjectFormat::Elf, Windows::No),
        ] {
            let t = Triple::parse(triple.as_bytes());
            assert_eq!((t.format, t.windows), (format, windows), "{triple}");
        }
    }

    #[test]
    fn macho_cpu_types() {
        for (triple, cpu) in [
            ("x86_64-apple-macosx10.15.0", Some((0x0100_0007, 3))),
            ("x86_64h-apple-macosx", Some((0x0100_0007, 8))),
            ("i386-apple-macosx", Some((7, 3))),
            ("arm64-apple-ios", Some((0x0100_000c, 0))),
            ("arm64e-apple-ios", Some((0x0100_000c, 2))),
            ("arm64_32-apple-watchos", Some((0x0200_000c, 1))),
            ("armv7k-apple-watchos", Some((12, 12))),
            ("thumbv7-apple-ios", Some((12, 9))),
            ("thumbv6m-apple-unknown-macho", Some((12, 14))),
            ("x86_64-unknown-linux-gnu", None),
        ] {
            assert_eq!(Triple::parse(triple.as_bytes()).macho_cpu(), cpu, "{triple}");
        }
    }
}
