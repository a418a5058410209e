//! Names that code generation may come to refer to, whatever the module says.
//!
//! In: a name and a target. Out: whether the symbol must be kept although nothing refers to it:
//! the runtime library calls (memcpy, __divti3, ...) and the stack protector's symbols, which
//! appear only while machine code is made. LLVM's `irsymtab::build` marks them FB_used with a
//! list that depends on the triple and differs from version to version; this is LLVM 22's.

use super::preserved_table::{CLASSES, NAMES};
use super::triple::{Arch, ObjectFormat, Triple, Windows};

/// The set of names for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preserved {
    bit: u32,
    /// ARM64EC spells its own variants with a `#`.
    hash_prefix: bool,
}

impl Preserved {
    /// The names for a triple, given also as the string it was parsed from.
    pub fn for_triple(triple: &Triple, text: &[u8]) -> Self {
        let class = class_of(triple, text);
        let index = CLASSES.iter().position(|c| *c == class).unwrap_or(0);
        Preserved { bit: 1 << index, hash_prefix: triple.is_arm64ec() }
    }

    /// The target's class among those of the table, as one bit; other tables of names measured for
    /// the same triples have the same bits.
    pub fn class_bit(&self) -> u32 {
        self.bit
    }

    /// Whether the IR name is among them.
    #[inline]
    pub fn contains(&self, name: &[u8]) -> bool {
        // Mangled names are most of all names and none of the list.
        if name.len() > MAX_LEN || name.starts_with(b"_Z") || name.starts_with(b"_R") {
            return false;
        }
        let name = match name.strip_prefix(b"#") {
            Some(rest) if self.hash_prefix => rest,
            None if self.hash_prefix => return false,
            _ => name,
        };
        NAMES
            .binary_search_by(|entry| entry.0.cmp(name))
            .ok()
            .and_then(|i| NAMES.get(i))
            .is_some_and(|entry| entry.1 & self.bit != 0)
    }
}

/// No name of the list is longer, the `#` of ARM64EC included.
const MAX_LEN: usize = 44;

/// The triple of [`CLASSES`] whose list a target shares.
fn class_of(t: &Triple, text: &[u8]) -> &'static str {
    let has = |what: &str| text.windows(what.len()).any(|w| w == what.as_bytes());
    match (t.format, t.arch) {
        (ObjectFormat::MachO, Arch::X86) => "i386-apple-macosx10.7.0",
        (ObjectFormat::MachO, Arch::X86_64) if macos_before_10_9(text) => {
            "x86_64-apple-macosx10.7.0"
        }
        (ObjectFormat::MachO, Arch::X86_64) => "x86_64-apple-macosx10.15.0",
        (ObjectFormat::MachO, Arch::Arm) if has("watchos") => "armv7k-apple-watchos7",
        (ObjectFormat::MachO, Arch::Arm) => "armv7-apple-ios6.0.0",
        (ObjectFormat::MachO, _) if has("macos") => "arm64-apple-macosx14.0.0",
        (ObjectFormat::MachO, _) => "arm64-apple-ios17.0.0",
        (ObjectFormat::Coff, Arch::X86) if t.windows == Windows::Msvc => "i686-pc-windows-msvc",
        (ObjectFormat::Coff, Arch::X86) => "i686-w64-windows-gnu",
        (ObjectFormat::Coff, Arch::AArch64) => "aarch64-pc-windows-msvc",
        (ObjectFormat::Coff, _) if t.is_cygming() => "x86_64-w64-windows-gnu",
        (ObjectFormat::Coff, _) => "x86_64-pc-windows-msvc",
        (_, Arch::Wasm) if has("emscripten") => "wasm32-unknown-emscripten",
        (_, Arch::Wasm) => "wasm32-unknown-unknown",
        (_, Arch::X86) => "i686-unknown-linux-gnu",
        (_, Arch::X86_64) if has("fuchsia") => "x86_64-unknown-fuchsia",
        (_, Arch::X86_64) if has("openbsd") => "x86_64-unknown-openbsd",
        (_, Arch::X86_64) if has("-gnu") => "x86_64-unknown-linux-gnu",
        (_, Arch::X86_64) => "x86_64-unknown-linux-musl",
        (_, Arch::AArch64 | Arch::AArch64_32) if has("-gnu") => "aarch64-unknown-linux-gnu",
        (_, Arch::AArch64 | Arch::AArch64_32) => "aarch64-unknown-linux-musl",
        (_, Arch::Arm) if has("-musleabi") => "arm-unknown-linux-musleabihf",
        (_, Arch::Arm) if has("-gnueabi") => "arm-unknown-linux-gnueabihf",
        (_, Arch::Arm) => "armv7-linux-androideabi",
        (_, Arch::RiscV) if text.starts_with(b"riscv32") => "riscv32-unknown-elf",
        (_, Arch::RiscV) => "riscv64-unknown-linux-gnu",
        (_, Arch::PowerPc | Arch::PowerPc64) => "powerpc64le-unknown-linux-gnu",
        (_, Arch::Sparc) => "sparc64-unknown-linux-gnu",
        _ => "s390x-unknown-linux-gnu",
    }
}

/// Whether a macOS triple names a version without `__sincos_stret`.
fn macos_before_10_9(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((_, version)) = text.split_once("macosx10.").or_else(|| text.split_once("macos10."))
    else {
        return false;
    };
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().is_ok_and(|minor| minor < 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(triple: &str, name: &str) -> bool {
        let text = triple.as_bytes();
        Preserved::for_triple(&Triple::parse(text), text).contains(name.as_bytes())
    }

    #[test]
    fn the_table_is_sorted_and_every_class_has_a_triple() {
        assert!(NAMES.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(NAMES.iter().all(|n| n.1 >> CLASSES.len() == 0 && n.0.len() < MAX_LEN));
        for class in CLASSES {
            let text = class.as_bytes();
            assert_eq!(class_of(&Triple::parse(text), text), class);
        }
    }

    #[test]
    fn targets_differ() {
        assert!(contains("x86_64-unknown-linux-gnu", "memcpy"));
        assert!(contains("x86_64-unknown-linux-gnu", "__stack_chk_guard"));
        assert!(!contains("x86_64-unknown-linux-gnu", "printf"));
        assert!(contains("i686-unknown-linux-gnu", "__divdi3"));
        assert!(!contains("x86_64-unknown-linux-gnu", "__divdi3"));
        assert!(contains("x86_64-apple-macosx10.15.0", "__sincos_stret"));
        assert!(!contains("x86_64-apple-macosx10.8.0", "__sincos_stret"));
        assert!(contains("arm64ec-pc-windows-msvc", "#memcpy"));
        assert!(!contains("arm64ec-pc-windows-msvc", "memcpy"));
    }
}
