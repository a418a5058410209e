//! The cache in links by the plugin and by llvm-lto2; and what makes an object unfit for it, in
//! bitcode of several compilers.

mod support;

use LTO::bitcode::{BitcodeFile, Extent, Module};
use LTO::cache::reads_other_files;
use support::{CLANGS, LINKERS, Scratch, llvm};

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
        // Constants of every other sort.
        let other = "struct s { int a; double d; const char *p; }; int g(int);\n\
                     struct s v = {1, 2.5, \"text\"}; void *f(long a, double d) {\n\
                     if (d > 1.5) return &v.d; static void *l[] = {&&x, &&y}; goto *l[a & 1];\n\
                     x: return (void *)(a << 40); y: return g(-7) ? (void *)0 : &l[1]; }";
        assert!(inline_asm(&scratch, clang, other).is_empty(), "clang {clang}");
    }
}

/// A program of three modules, of which `main` imports from the other two.
struct Program(Scratch);

const MAIN: &str = "int twice(int); int thrice(int); int other(int); int printf(const char *, ...);\n\
                    int main(void) { printf(\"%d\\n\", twice(4) + thrice(5) + other(0)); return 0; }\n";
const TWICE: &str = "static int by(int a, int n) { return a * n; }\n\
                     int twice(int a) { return by(a, 2); }\n\
                     __attribute__((noinline)) int other(int a) { return a + 1; }\n";
const THRICE: &str = "int thrice(int a) { return a * 3; }\n";

impl Program {
    fn new(name: &str) -> Self {
        let program = Program(Scratch::new(name));
        for (file, source) in [("main", MAIN), ("twice", TWICE), ("thrice", THRICE)] {
            program.compile(file, source);
        }
        program
    }

    fn compile(&self, file: &str, source: &str) {
        self.0.write(&format!("{file}.c"), source);
        self.0.clang(22, &format!("-O2 -flto=thin -c {file}.c -o {file}.o"));
    }

    /// Links with this linker; what the program prints, and the count of each of `fields`.
    fn link<const N: usize>(&self, linker: &str, fields: [&str; N]) -> (Vec<u8>, [usize; N]) {
        self.link_files(linker, "main.o twice.o thrice.o", fields)
    }

    fn link_files<const N: usize>(
        &self,
        linker: &str,
        files: &str,
        fields: [&str; N],
    ) -> (Vec<u8>, [usize; N]) {
        let args = format!(
            "-fuse-ld={linker} -Wl,-plugin,$P -Wl,-plugin-opt=cache-dir=cache-{linker} \
             -Wl,-plugin-opt=cache-policy=prune_interval=0s {files} -o prog-{linker}"
        );
        let mut command = self.0.command("gcc", &args);
        command.env("LTO_STATS", self.0.path().join("stats.json")).env("LTO_LLVM", llvm(22));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stats = String::from_utf8(self.0.read("stats.json")).unwrap();
        let count = |field: &str| {
            let start = format!("\"{field}\": ");
            let at = stats.find(&start).unwrap_or_else(|| panic!("{field} in {stats}"));
            let digits = stats[at + start.len()..].split(',').next().unwrap();
            digits.parse().unwrap()
        };
        (self.0.read(&format!("prog-{linker}")), fields.map(count))
    }

    fn prints(&self, linker: &str) -> String {
        self.0.program(&format!("prog-{linker}"), "")
    }

    fn entries(&self, linker: &str) -> usize {
        let entries = std::fs::read_dir(self.0.path().join(format!("cache-{linker}"))).unwrap();
        let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
        entries.map(name).filter(|n| n.to_string_lossy().starts_with("llvmcache-")).count()
    }
}

#[test]
fn only_what_a_change_reaches_is_compiled_again() {
    const FIELDS: [&str; 4] =
        ["cache_hits_link", "cache_hits_job", "cache_hits_linked", "cache_stored"];
    for linker in LINKERS {
        let p = Program::new(&format!("cache-program-{linker}"));
        let (first, counts) = p.link(linker, FIELDS);
        assert_eq!((counts, p.entries(linker)), ([0, 0, 0, 3], 3), "cold");
        let (second, counts) = p.link(linker, FIELDS);
        assert_eq!(counts, [3, 0, 0, 0], "nothing changed");
        assert_eq!(first, second);
        assert_eq!(p.prints(linker), "24\n");
        // A comment: the bitcode is the same.
        p.compile("twice", &format!("/* {} */ {TWICE}", "a comment"));
        assert_eq!(p.link(linker, FIELDS).1, [3, 0, 0, 0], "a comment");
        // A body that nobody imports: its own module alone.
        p.compile("twice", &TWICE.replace("a + 1", "a + 77"));
        let (third, counts) = p.link(linker, FIELDS);
        assert_eq!((counts[0], counts[3]), (0, 1), "a body that is not imported: {counts:?}");
        assert_eq!(counts[1] + counts[2], 2, "{counts:?}");
        assert_ne!(first, third);
        // A body that is imported: its importer as well.
        p.compile("twice", &TWICE.replace("by(a, 2)", "by(a, 20)"));
        let (_, counts) = p.link(linker, FIELDS);
        assert_eq!(counts[3], 2, "a body that is imported: {counts:?}");
        assert_eq!(p.prints(linker), "96\n");
        // And back again: everything is known.
        p.compile("twice", TWICE);
        let (again, counts) = p.link(linker, FIELDS);
        assert_eq!((counts[3], again == first), (0, true), "{counts:?}");
    }
}

#[test]
fn members_of_an_archive_are_known_by_what_is_in_them() {
    const FIELDS: [&str; 2] = ["cache_hits_link", "cache_stored"];
    for linker in LINKERS {
        let p = Program::new(&format!("cache-archive-{linker}"));
        let link = || {
            // Members in the same places each time: the one that changes is the last.
            p.0.run("ar", "--plugin $P rcsD lib.a thrice.o twice.o");
            p.link_files(linker, "main.o lib.a", FIELDS)
        };
        let (first, counts) = link();
        assert_eq!(counts, [0, 3], "cold");
        assert_eq!(link(), (first.clone(), [3, 0]), "nothing changed");
        p.compile("twice", &TWICE.replace("a + 1", "a + 3"));
        let (other, counts) = link();
        assert_eq!(counts, [0, 1], "the last member");
        assert_ne!(first, other);
        p.compile("twice", TWICE);
        assert_eq!(link(), (first, [3, 0]), "as it was");
    }
}

/// Longer than a file must be left alone to be known by when it was written.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(2200));
}

#[test]
fn inputs_that_nobody_wrote_to_are_not_hashed_again() {
    const FIELDS: [&str; 3] = ["cache_unwritten_inputs", "cache_hits_link", "cache_stored"];
    for linker in LINKERS {
        let p = Program::new(&format!("cache-unwritten-{linker}"));
        let (first, counts) = p.link(linker, FIELDS);
        assert_eq!(counts, [0, 0, 3], "cold");
        assert_eq!(p.link(linker, FIELDS), (first.clone(), [0, 3, 0]), "written just now");
        settle();
        assert_eq!(p.link(linker, FIELDS), (first.clone(), [0, 3, 0]), "settled since");
        assert_eq!(p.link(linker, FIELDS), (first.clone(), [3, 3, 0]));
        // The time of modification is put back.
        let path = p.0.path().join("twice.o");
        let before = p.0.read("twice.o");
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        p.compile("twice", &TWICE.replace("a + 1", "a + 3"));
        assert_ne!(p.0.read("twice.o"), before);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(modified)).unwrap();
        settle();
        let (second, counts) = p.link(linker, FIELDS);
        assert_eq!((counts[0], counts[2]), (0, 1));
        assert_ne!(first, second);
        assert_eq!(p.link(linker, FIELDS), (second, [3, 3, 0]));
        // An object that is gone is made again, whatever is known of the inputs.
        let cache = p.0.path().join(format!("cache-{linker}"));
        for entry in std::fs::read_dir(cache).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("llvmcache-") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        assert_eq!(p.link(linker, FIELDS).1, [0, 0, 3]);
    }
}

#[test]
fn another_setting_is_another_object() {
    let p = Program::new("cache-settings");
    let output = |args: &str| {
        let resolutions = "-r=main.o,main,plx -r=main.o,twice,l -r=main.o,thrice,l -r=main.o,other,l \
                           -r=main.o,printf, -r=twice.o,twice,pl -r=twice.o,other,pl \
                           -r=thrice.o,thrice,pl";
        let all = format!(
            "run main.o twice.o thrice.o -o out -cache-dir=cache-lto2 {resolutions} {args}"
        );
        let mut command = p.0.command(env!("CARGO_BIN_EXE_llvm-lto2"), &all);
        let output = command.env("LTO_LLVM", llvm(22)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ["out.1", "out.2", "out.3"].map(|name| p.0.read(name))
    };
    let plain = output("");
    assert_eq!(p.entries("lto2"), 3);
    assert_eq!(output(""), plain);
    assert_eq!(p.entries("lto2"), 3, "LLVM's llvm-lto2 prunes nothing and leaves no timestamp");
    assert!(!p.0.exists("cache-lto2/llvmcache.timestamp"));
    // Whoever wants the stages gets all of them, and the objects are those that were there.
    assert_eq!(output("-save-temps"), plain);
    for module in 1..=3 {
        for stage in ["0.preopt", "3.import", "4.opt", "5.precodegen"] {
            assert!(p.0.exists(&format!("out.{module}.{stage}.bc")), "{module}.{stage}");
        }
    }
    assert_eq!(p.entries("lto2"), 3, "names of values are in no object");
    let mut entries = 3;
    for other in ["-O1", "-mcpu=haswell", "-relocation-model=static", "-inline-threshold=0"] {
        let objects = output(other);
        entries += 3;
        assert_eq!(p.entries("lto2"), entries, "{other}");
        assert_eq!(output(other), objects, "{other}");
        assert_eq!(output(""), plain, "{other}");
        assert_eq!(p.entries("lto2"), entries, "{other}");
    }
}

/// What the others import, with a local that is promoted.
const LIB: &str = "static __attribute__((noinline)) int hidden(int a) { return a * 3 + 1; }\n\
                   int plain(int a) { return hidden(a) + 2; }\n\
                   __attribute__((always_inline)) int always(int a) { return hidden(a) + 5; }\n\
                   int apart(int a) { return a - 1; }\n";

#[test]
fn an_object_that_names_no_promoted_local_outlives_the_edit_of_its_module() {
    const FIELDS: [&str; 3] = ["cache_hits_renamed", "cache_hits_job", "cache_stored"];
    for linker in LINKERS {
        let p = Program::new(&format!("cache-renamed-{linker}"));
        p.compile("plain", "int plain(int); int in_plain(int a) { return plain(a); }");
        p.compile("always", "int always(int); int in_always(int a) { return always(a); }");
        p.compile("apart", "int apart(int); int in_apart(int a) { return apart(a); }");
        p.compile(
            "main",
            "#include <stdio.h>\nint in_plain(int); int in_always(int); int in_apart(int);\n\
             int main(void) { printf(\"%d %d %d\\n\", in_plain(1), in_always(1), in_apart(1)); }",
        );
        // Imports, but inlines nothing that need not be.
        let files = "main.o plain.o always.o apart.o lib.o -Wl,-plugin-opt=-inline-threshold=-9999";
        let cache = p.0.path().join(format!("cache-{linker}"));
        let link = |source: &str| {
            p.compile("lib", source);
            let (program, counts) = p.link_files(linker, files, FIELDS);
            // As without what is known from before.
            let known = cache.with_extension("known");
            std::fs::rename(&cache, &known).unwrap();
            assert!(p.link_files(linker, files, FIELDS).0 == program, "{linker}: {source}");
            std::fs::remove_dir_all(&cache).unwrap();
            std::fs::rename(&known, &cache).unwrap();
            (p.prints(linker), counts)
        };
        assert_eq!(link(LIB), ("6 9 0\n".to_owned(), [0, 0, 5]));
        // Names in the import of `plain` change and are in no object; those of `always` are.
        let (printed, counts) = link(&LIB.replace("a - 1", "a - 3"));
        assert_eq!(printed, "6 9 -2\n");
        assert!(counts[0] >= 1 && counts[2] >= 3, "plain.o; lib.o, always.o, apart.o: {counts:?}");
        // What is not so: another local of the same name, another body, another local.
        let (printed, counts) = link(&LIB.replace("a * 3", "a * 4"));
        assert_eq!(printed, "7 10 0\n");
        assert!(counts[0] >= 1 && counts[2] <= 3, "the local's own body: {counts:?}");
        let (printed, counts) = link(&LIB.replace("hidden(a) + 2", "hidden(a) + 7"));
        assert_eq!((printed.as_str(), counts[0]), ("11 9 0\n", 0), "the imported body");
        let (printed, counts) = link(&LIB.replace("hidden", "concealed"));
        assert_eq!((printed.as_str(), counts[0]), ("6 9 0\n", 0), "a local of another name");
        let two = format!("static int other(int a) {{ return a + 70; }}\n{LIB}");
        let (printed, counts) = link(&two.replace("hidden(a) + 2", "other(a) + 2"));
        assert_eq!((printed.as_str(), counts[0]), ("73 9 0\n", 0), "another local");
    }
}

/// A local whose name is in every object that calls `stay`.
const STAY: &str = "static __attribute__((noinline)) int held(int a) { return a * 5 + 1; }\n\
                    __attribute__((always_inline)) int stay(int a) { return held(a) + 9; }\n";

#[test]
fn only_hashes_of_names_that_an_object_has_count() {
    const FIELDS: [&str; 3] = ["cache_hits_renamed", "cache_hits_job", "cache_stored"];
    for linker in LINKERS {
        let p = Program::new(&format!("cache-mixed-{linker}"));
        p.compile("lib", LIB);
        p.compile("stay", STAY);
        p.compile(
            "mixed",
            "int plain(int); int stay(int);\n\
             int in_mixed(int a) { return plain(a) + stay(a); }",
        );
        p.compile(
            "main",
            "#include <stdio.h>\nint in_mixed(int);\n\
             int main(void) { printf(\"%d\\n\", in_mixed(1)); }",
        );
        let files = "main.o mixed.o lib.o stay.o -Wl,-plugin-opt=-inline-threshold=-9999";
        let link = || (p.link_files(linker, files, FIELDS).1, p.prints(linker));
        assert_eq!(link(), ([0, 0, 4], "21\n".to_owned()));
        p.compile("lib", &LIB.replace("a - 1", "a - 3"));
        let (counts, printed) = link();
        assert_eq!(printed, "21\n");
        assert_eq!((counts[0], counts[2]), (2, 1), "main.o, mixed.o; lib.o");
        p.compile("stay", &format!("{STAY}int further(int a) {{ return a; }}\n"));
        let (counts, printed) = link();
        assert_eq!(printed, "21\n");
        assert_eq!((counts[0], counts[2]), (1, 2), "main.o; mixed.o, stay.o");
    }
}
