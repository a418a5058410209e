//! What makes an object unfit for the cache, in bitcode of several compilers.

mod support;

use LTO::bitcode::{BitcodeFile, Extent, Module};
use LTO::cache::reads_other_files;
use support::{CLANGS, Scratch};

/// The inline assembly of a C file as clang of this version compiles it.
fn inline_asm(scratch: &Scratch, clang: u32, source: &str) -> Vec<String> {
    scratch.write("a.c", source);
    scratch.clang(clang, "-O1 -flto=thin -c a.c -o a.o");
    let bytes = scratch.read("a.o");
    let file = BitcodeFile::read(&bytes).unwrap();
    let module = Module::read(&file.modules[0], Extent::All).unwrap();
    let mut texts = Vec::new();
    let each = |text: &[u8]| {
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        true
    };
    module.inline_asm(each).unwrap();
    texts.sort();
    texts
}

#[test]
fn inline_assembly_of_every_compiler_is_seen() {
    let scratch = Scratch::new("cache-inline-asm");
    let source = "int f(int a) { if (a) __asm__ volatile(\"nop\"); \
                  __asm__ volatile(\".incbin \\\"data\\\"\" ::: \"memory\"); return a; }\n\
                  void g(void) { __asm__ volatile(\"cpuid\"); }\n";
    for clang in CLANGS {
        let texts = inline_asm(&scratch, clang, source);
        assert_eq!(texts, [".incbin \"data\"", "cpuid", "nop"], "clang {clang}");
        let outside: Vec<bool> = texts.iter().map(|t| reads_other_files(t.as_bytes())).collect();
        assert_eq!(outside, [true, false, false]);
        assert!(inline_asm(&scratch, clang, "int f(int a) { return a + 1; }").is_empty());
    }
}
