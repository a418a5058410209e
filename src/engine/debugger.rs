//! Which debugger the debug information of an object is for.
//!
//! In: a target machine and a debugger. Out: the machine with it. Knows nothing of modules.
//!
//! `TargetOptions::DebuggerTuning` has no setter in the C API. It is an enumeration of four bytes,
//! 0 by default (the target's own), and stands a few words before `MCOptions`, in whose first bytes
//! is `AsmVerbose`, which `LLVMSetTargetMachineAsmVerbosity` shows (TargetOptions.h,
//! MCTargetOptions.h, the same from LLVM 14 to 22):
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `EABIVersion` |
//! | 4 | `DebuggerTuning` |
//! | 4 | two `DenormalMode` |
//! | 4 | `ExceptionModel` |
//! | | `MCOptions` |
//!
//! Which of the words it is shows by what LLVM does for LLDB alone: DWARF 4 gets `.debug_names`.

#![allow(unsafe_code)]

use super::api::Api;
use super::target::{SelfTest, asm_verbose_byte};
use crate::config::DebuggerTuning;

/// How far before `AsmVerbose` the field may begin, in bytes.
const REACH: usize = 32;

/// Where the field is, in bytes from the start of a target machine; none where that is not known.
pub(super) fn find(api: &Api) -> Option<usize> {
    let test = SelfTest::new(api)?;
    let verbose = asm_verbose_byte(&test)?;
    let bytes = test.machine()?.snapshot()?;
    let is_default = |at: &usize| bytes.get(*at..*at + 4).is_some_and(|word| word == [0; 4]);
    let start = verbose.checked_sub(REACH)?.next_multiple_of(4);
    if test.has_debug_names(None)? {
        return None;
    }
    // The nearest first: what is farther away is another field, and may do the same only by chance.
    let words = (0..(verbose - start) / 4).rev().map(|n| start + 4 * n);
    words.filter(is_default).find(|&place| test.has_debug_names(Some(place)) == Some(true))
}

impl SelfTest<'_> {
    /// Whether DWARF 4 has a table of names, with the word at `place` set for LLDB.
    fn has_debug_names(&self, place: Option<usize>) -> Option<bool> {
        use object::{Object, ObjectSection};
        let text = "define void @f() !dbg !4 { ret void, !dbg !7 }\n\
                    !llvm.dbg.cu = !{!0}\n!llvm.module.flags = !{!2, !3}\n\
                    !0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !1, emissionKind: FullDebug)\n\
                    !1 = !DIFile(filename: \"a.c\", directory: \"/\")\n\
                    !2 = !{i32 2, !\"Dwarf Version\", i32 4}\n\
                    !3 = !{i32 2, !\"Debug Info Version\", i32 3}\n\
                    !4 = distinct !DISubprogram(name: \"f\", scope: !1, file: !1, line: 1, type: !5, \
                    spFlags: DISPFlagDefinition, unit: !0)\n\
                    !5 = !DISubroutineType(types: !6)\n!6 = !{null}\n\
                    !7 = !DILocation(line: 1, scope: !4)\n\0";
        let machine = self.machine()?;
        if let Some(place) = place {
            machine.tune_for(place, DebuggerTuning::Lldb);
        }
        self.compile(text, &machine, |bytes| {
            let file = object::File::parse(bytes).ok()?;
            Some(file.sections().any(|section| section.name() == Ok(".debug_names")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Library;

    #[test]
    fn every_libllvm_shows_the_field() {
        let libraries = Library::find_all();
        assert!(!libraries.is_empty());
        for library in libraries {
            let named = library.version;
            let api = Api::load(&library.path, (named.major, named.minor, named.patch)).unwrap();
            assert!(find(&api).is_some(), "{}", library.path.display());
        }
    }
}
