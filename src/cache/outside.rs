//! Assembly that reads other files, whose contents no key covers.
//!
//! In: the assembly text of a module, module level or inline. Out: whether what it assembles to may
//! depend on a file. Says yes in doubt: then an object is made anew, and nothing worse.

/// Directives that read a file, as `AsmParser` and the parsers of the targets have them, in the
/// shortest form that all of them contain: `.incbin`, `.include`, Darwin's `.load`, which none
/// serves, and what macros may be named to look like them.
const READERS: [&[u8]; 2] = [b"incbin", b"include"];

/// Whether this assembly may read other files.
///
/// Macros may put a directive's name together from pieces (`.inc\x`, `\name`), so a backslash
/// within a word that begins a statement counts as well; so does one at its beginning.
pub fn reads_other_files(asm: &[u8]) -> bool {
    let asm = asm.to_ascii_lowercase();
    READERS.iter().any(|name| memchr::memmem::find(&asm, name).is_some()) || makes_names(&asm)
}

/// Whether a statement begins with a word that a macro's argument is part of.
fn makes_names(asm: &[u8]) -> bool {
    let mut rest = asm;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, after) = rest.split_at(at);
        let begun =
            before.iter().rposition(|&c| !(c.is_ascii_alphanumeric() || b"_.$()".contains(&c)));
        let word = before.get(begun.map_or(0, |at| at + 1)..).unwrap_or_default();
        // `.L\name:` is a label, unless it is a directive by the letter l.
        let local = word.starts_with(b".l") && !b".load".starts_with(word);
        if (word.is_empty() && begins_statement(before)) || (word.starts_with(b".") && !local) {
            return true;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    false
}

fn begins_statement(before: &[u8]) -> bool {
    let last = before.iter().rev().find(|c| !matches!(c, b' ' | b'\t'));
    last.is_none_or(|c| matches!(c, b'\n' | b'\r' | b';' | b':' | b'%' | b'@' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::reads_other_files;

    #[test]
    fn what_reads_files_is_found() {
        for asm in [
            ".incbin \"x\"",
            "  .INCBIN \"x\", 1",
            "nop; .include \"y\"",
            ".macro m n\n.inc\\n \"x\"\n.endm\nm bin",
            ".macro m n\n\\n \"x\"\n.endm",
            ".macro m n\n a: \\n \"x\"\n.endm",
            ".irp n, cbin\n.in\\()\\n \"x\"\n.endr",
        ] {
            assert!(reads_other_files(asm.as_bytes()), "{asm}");
        }
    }

    #[test]
    fn what_does_not_is_not() {
        for asm in [
            "",
            "nop",
            "movl $0, %eax\n.globl f\nf: ret",
            ".ascii \"a\\n\"",
            ".macro m n\n mov \\n, %rax\n.Lx\\n: jmp .Lx\\n\n.endm",
            "cpuid\n\t",
        ] {
            assert!(!reads_other_files(asm.as_bytes()), "{asm}");
        }
    }
}
