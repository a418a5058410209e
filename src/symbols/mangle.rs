//! IR names to symbol names.
//!
//! In: a global value's name, linkage, and for functions of 32-bit Windows its calling convention
//! and the bytes of its arguments. Out: the name that the object file will have.
//!
//! Source: LLVM's `Mangler::getNameWithPrefix` and `ModuleSymbolTable::printSymbolName`, which
//! puts `__imp_` before what is imported from a DLL.

use std::collections::BTreeMap;

use super::data_layout::Mangling;
use crate::ir::{DllStorage, Linkage};

/// `CallingConv::X86_StdCall`, `X86_FastCall` and `X86_VectorCall`.
pub const X86_STDCALL: u32 = 64;
#[allow(missing_docs)] // see above
pub const X86_FASTCALL: u32 = 65;
#[allow(missing_docs)] // see above
pub const X86_VECTORCALL: u32 = 80;

/// What a Microsoft calling convention does to a function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteCount {
    /// The calling convention, one of the three.
    pub calling_conv: u32,
    /// The bytes of its arguments, each rounded up to a pointer's size; None for a variadic
    /// function with parameters, which gets no count.
    pub bytes: Option<u64>,
}

/// Whether the name of a function of this convention depends on its arguments.
pub fn needs_byte_count(mode: Mangling, calling_conv: u32, name: &[u8]) -> bool {
    let convention = calling_conv == X86_VECTORCALL
        || (mode == Mangling::WinCoffX86 && matches!(calling_conv, X86_STDCALL | X86_FASTCALL));
    convention
        && !name.starts_with(b"\x01")
        && !(mode.keeps_question_mark() && name.starts_with(b"?"))
}

/// Names values that have no name, by the order in which they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Mangler {
    /// The layout's mode.
    pub mode: Mangling,
    /// The numbers of unnamed globals by their value ids.
    unnamed: BTreeMap<u32, usize>,
}

impl Mangler {
    /// A mangler for one module.
    pub fn new(mode: Mangling) -> Self {
        Mangler { mode, unnamed: BTreeMap::new() }
    }

    /// Whether the symbol name is the IR name for every name without a special first character.
    #[inline]
    pub fn is_plain(&self, name: &[u8], linkage: Linkage, dll: DllStorage) -> bool {
        self.mode.global_prefix().is_none()
            && linkage != Linkage::Private
            && dll != DllStorage::Import
            && !matches!(name.first(), None | Some(1))
    }

    /// Appends the symbol name to `out`. `id` is the value id, by which an unnamed value keeps
    /// its number.
    pub fn mangle(
        &mut self,
        out: &mut Vec<u8>,
        id: u32,
        name: &[u8],
        linkage: Linkage,
        dll: DllStorage,
        count: Option<ByteCount>,
    ) {
        if dll == DllStorage::Import {
            out.extend_from_slice(b"__imp_");
        }
        self.mangle_plain(out, id, name, linkage, count);
    }

    /// The same without `__imp_`, for linker directives.
    pub fn mangle_plain(
        &mut self,
        out: &mut Vec<u8>,
        id: u32,
        name: &[u8],
        linkage: Linkage,
        count: Option<ByteCount>,
    ) {
        if let Some(rest) = name.strip_prefix(b"\x01") {
            out.extend_from_slice(rest);
            return;
        }
        if linkage == Linkage::Private {
            out.extend_from_slice(self.mode.private_prefix());
        }
        let mut prefix = self.mode.global_prefix();
        if self.mode.keeps_question_mark() && name.starts_with(b"?") {
            prefix = None;
        }
        match count.map(|c| c.calling_conv) {
            Some(X86_FASTCALL) => prefix = Some(b'@'),
            Some(X86_VECTORCALL) => prefix = None,
            _ => {}
        }
        out.extend(prefix);
        if name.is_empty() {
            let number = self.number_of(id);
            out.extend_from_slice(format!("__unnamed_{number}").as_bytes());
            return;
        }
        out.extend_from_slice(name);
        if let Some(count) = count {
            if count.calling_conv == X86_VECTORCALL {
                out.push(b'@');
            }
            if let Some(bytes) = count.bytes {
                out.extend_from_slice(format!("@{bytes}").as_bytes());
            }
        }
    }

    fn number_of(&mut self, id: u32) -> usize {
        let next = self.unnamed.len() + 1;
        *self.unnamed.entry(id).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mangled(layout: &str, name: &str, linkage: Linkage, count: Option<ByteCount>) -> String {
        let mut out = Vec::new();
        let mut m = Mangler::new(Mangling::of(layout.as_bytes()));
        m.mangle(&mut out, 0, name.as_bytes(), linkage, DllStorage::None, count);
        String::from_utf8(out).unwrap()
    }

    /// Expected names as `llvm-nm` of LLVM 22 prints them for these modes.
    #[test]
    fn modes() {
        use Linkage::{External, Private};
        for (layout, name, linkage, expect) in [
            ("e-m:e-i64:64", "f", External, "f"),
            ("e-m:e", "f", Private, ".Lf"),
            ("e-m:o", "f", External, "_f"),
            ("e-m:o", "\u{1}f", External, "f"),
            ("e-m:o", "f", Private, "L_f"),
            ("e-m:o", "?f", External, "_?f"),
            ("e-m:x", "f", External, "_f"),
            ("e-m:x", "?f@@YAXXZ", External, "?f@@YAXXZ"),
            ("e-m:w", "f", Private, ".Lf"),
            ("E-m:m", "f", Private, "$f"),
            ("E-m:a", "f", Private, "L..f"),
            ("", "f", Private, "f"),
        ] {
            assert_eq!(mangled(layout, name, linkage, None), expect, "{layout} {name}");
        }
    }

    #[test]
    fn microsoft_conventions() {
        let count = |calling_conv, bytes| Some(ByteCount { calling_conv, bytes });
        for (layout, conv, bytes, expect) in [
            ("e-m:x", X86_STDCALL, Some(8), "_f@8"),
            ("e-m:x", X86_FASTCALL, Some(12), "@f@12"),
            ("e-m:x", X86_VECTORCALL, Some(0), "f@@0"),
            ("e-m:w", X86_VECTORCALL, Some(16), "f@@16"),
            ("e-m:x", X86_STDCALL, None, "_f"),
        ] {
            assert_eq!(mangled(layout, "f", Linkage::External, count(conv, bytes)), expect);
        }
        assert!(needs_byte_count(Mangling::WinCoffX86, X86_STDCALL, b"f"));
        assert!(!needs_byte_count(Mangling::WinCoff, X86_STDCALL, b"f"));
        assert!(needs_byte_count(Mangling::Elf, X86_VECTORCALL, b"f"));
        assert!(!needs_byte_count(Mangling::WinCoffX86, X86_STDCALL, b"\x01f"));
    }

    #[test]
    fn unnamed_values_are_numbered_in_order_of_asking() {
        let mut m = Mangler::new(Mangling::MachO);
        for (id, expect) in [(7, "___unnamed_1"), (3, "___unnamed_2"), (7, "___unnamed_1")] {
            let mut out = Vec::new();
            m.mangle(&mut out, id, b"", Linkage::External, DllStorage::None, None);
            assert_eq!(out, expect.as_bytes());
        }
    }
}
