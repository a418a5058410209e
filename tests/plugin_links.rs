//! Programs linked by ld.bfd and ld.gold with our plugin, and run.

mod support;

use support::{CLANGS, LINKERS, MODES, Scratch};

const MAIN: &str = r#"
    #include <stdio.h>
    int foo(int);
    int counter;
    static int thrice(int x) { return x * 3; }
    __attribute__((constructor)) static void begin(void) { puts("constructed"); }
    __attribute__((weak)) int choose(void) { return 1; }
    int main(int argc, char **argv) {
        printf("%d %d %d\n", foo(argc), thrice(argc), choose());
        return 0;
    }
"#;

const FOO: &str = r#"
    int counter;
    int never_called(int x) { return x + 7; }
    int choose(void) { return 42; }
    int foo(int x) { return x + 1 + counter; }
"#;

#[test]
fn every_compiler_links_in_both_modes_by_both_linkers() {
    let s = Scratch::new("links-basic");
    s.write("main.c", MAIN).write("foo.c", FOO);
    for version in CLANGS {
        for mode in MODES {
            s.clang(version, &format!("-fcommon -O2 -flto={mode} -c main.c foo.c"));
            for linker in LINKERS {
                s.link(linker, "main.o foo.o -o prog");
                assert_eq!(
                    s.program("prog", ""),
                    "constructed\n2 3 42\n",
                    "clang {version} {mode} {linker}"
                );
                // A weak definition that lost, and a function that nobody calls.
                assert!(!s.has_symbol("prog", "never_called"), "{version} {mode} {linker}");
                let sections = s.run("readelf", "-SW prog");
                assert!(sections.contains(".init_array") && !sections.contains(".ctors"));
            }
        }
    }
}

#[test]
fn regular_thin_and_native_objects_of_different_compilers_mix() {
    let s = Scratch::new("links-mixed");
    s.write("main.c", MAIN).write("foo.c", FOO);
    let kinds =
        [(14, "-flto=full"), (16, "-flto=thin"), (19, "-flto=full"), (22, "-flto=thin"), (22, "")];
    for (i, (version, flag)) in kinds.iter().enumerate() {
        s.clang(*version, &format!("-fcommon -O2 {flag} -c main.c -o main{i}.o"));
        s.clang(*version, &format!("-fcommon -O2 {flag} -c foo.c -o foo{i}.o"));
    }
    for linker in LINKERS {
        for i in 0..kinds.len() {
            for j in 0..kinds.len() {
                s.link(linker, &format!("main{i}.o foo{j}.o -o prog"));
                assert_eq!(s.program("prog", ""), "constructed\n2 3 42\n", "{i} {j} {linker}");
            }
        }
    }
}

/// Copies the named files of `tests/plugin` into the folder.
fn sources(s: &Scratch, names: &[&str]) {
    for name in names {
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/");
        s.write(name, std::fs::read(format!("{from}{name}")).unwrap());
    }
}

#[test]
fn cpp_constructors_exceptions_and_comdats() {
    let s = Scratch::new("links-cpp");
    sources(&s, &["tracer.hpp", "tracer.cpp", "tracer_main.cpp"]);
    s.run("g++", "-std=c++17 tracer_main.cpp tracer.cpp -o native");
    let expected = s.program("native", "");
    assert!(expected.contains("+early\n+shared\n+main\n") && expected.contains("caught number 3"));
    for version in CLANGS {
        for mode in MODES {
            s.run(
                &format!("clang++-{version}"),
                &format!("-std=c++17 -O2 -flto={mode} -c tracer_main.cpp tracer.cpp"),
            );
            for (linker, level) in [("bfd", 0), ("bfd", 2), ("gold", 3)] {
                s.link(
                    linker,
                    &format!("-Wl,-plugin-opt=O{level} tracer_main.o tracer.o -lstdc++ -o prog"),
                );
                assert_eq!(s.program("prog", ""), expected, "{version} {mode} {linker} O{level}");
                let sections = s.run("readelf", "-SW prog");
                assert!(sections.contains(".init_array") && !sections.contains(".ctors"));
            }
        }
    }
}

#[test]
fn inline_definitions_of_bitcode_and_native_code_are_one() {
    let s = Scratch::new("links-inline");
    s.write(
        "both.hpp",
        r#"
        int start();
        template <class T> struct Shared {
            static T count;
            static int plain() { static int n = 10; return n++; }
            static int guarded() { static int n = start(); return n++; }
            virtual ~Shared() { count += 100; }
        };
        template <class T> T Shared<T>::count = 5;
        __attribute__((noinline)) inline int *address() { static int own; return &own; }
        using Function = int *();
        "#,
    );
    let uses = |name: &str| {
        format!(
            r#"
            #include "both.hpp"
            Function *{name}(int *to) {{
                Shared<int> *some = new Shared<int>;
                delete some;
                to[0] = Shared<int>::plain(); to[1] = Shared<int>::guarded();
                to[2] = ++Shared<int>::count;
                *address() += 7; to[3] = *address();
                return address;
            }}
            "#
        )
    };
    for name in ["a", "b", "c"] {
        s.write(&format!("{name}.cpp"), uses(name));
    }
    s.write(
        "main.cpp",
        r#"
        #include <stdio.h>
        #include "both.hpp"
        Function *a(int *), *b(int *), *c(int *);
        int start() { puts("started"); return 50; }
        int main() {
            int of_a[4], of_b[4], of_c[4];
            Function *of[] = { a(of_a), b(of_b), c(of_c) };
            bool same = of[0] == of[1] && of[0] == of[2];
            for (int i = 0; i < 4; i++) printf("%d %d %d\n", of_a[i], of_b[i], of_c[i]);
            puts(same ? "same" : "different");
        }
        "#,
    );
    for (kind, compiler) in
        [("thin", "clang++-22 -flto=thin"), ("full", "clang++-19 -flto=full"), ("gcc", "g++")]
    {
        for file in ["a", "b", "c", "main"] {
            let (program, mode) = compiler.split_once(' ').unwrap_or((compiler, ""));
            s.run(program, &format!("{mode} -O2 -c {file}.cpp -o {file}.{kind}.o"));
        }
    }
    let kinds = ["thin", "full", "gcc"];
    let pairs = kinds.iter().flat_map(|a| kinds.map(|b| (a, b)));
    for (a, b) in pairs {
        for (linker, c) in [("bfd", "thin"), ("bfd", "gcc"), ("gold", "gcc")] {
            let files = format!("a.{a}.o b.{b}.o c.{c}.o");
            s.link(linker, &format!("main.thin.o {files} -lstdc++ -o prog"));
            assert_eq!(
                s.program("prog", ""),
                "started\n10 11 12\n50 51 52\n106 207 308\n7 14 21\nsame\n",
                "{linker} {files}"
            );
        }
    }
}

#[test]
fn debug_information_survives() {
    let s = Scratch::new("links-debug");
    sources(&s, &["tracer.hpp", "tracer.cpp", "tracer_main.cpp"]);
    for (version, mode) in [(14, "thin"), (16, "full"), (19, "thin"), (22, "full"), (22, "thin")] {
        s.run(
            &format!("clang++-{version}"),
            &format!("-g -std=c++17 -O2 -flto={mode} -c tracer_main.cpp tracer.cpp"),
        );
        s.link("bfd", "tracer_main.o tracer.o -lstdc++ -o prog");
        assert!(s.program("prog", "").contains("caught number 3"));
        let lines = s.run("readelf", "--debug-dump=decodedline prog");
        assert!(
            lines.contains("tracer.cpp") && lines.contains("tracer_main.cpp"),
            "{version} {mode}"
        );
    }
}

#[test]
fn shared_objects_export_what_they_must_and_hide_the_rest() {
    let s = Scratch::new("links-shared");
    sources(&s, &["shared.c", "shared_main.c"]);
    s.write("versions", "V1 { global: versioned; }; V2 { global: *; };");
    for version in [14, 22] {
        for mode in MODES {
            s.clang(version, &format!("-O2 -fPIC -flto={mode} -c shared.c"));
            s.clang(version, &format!("-O2 -flto={mode} -c shared_main.c"));
            for linker in LINKERS {
                s.link(linker, "-shared -Wl,--version-script=versions shared.o -o libshared.so");
                s.link(linker, "shared_main.o ./libshared.so -o prog");
                assert_eq!(s.program("prog", ""), "25 4 3 11 77 2\n", "{version} {mode} {linker}");
                let dynamic = s.run("nm", "-D libshared.so");
                for name in ["exported@@V2", "protected_function@@V2", "in_assembly@@V2"] {
                    assert!(dynamic.contains(name), "{name}: {dynamic}");
                }
                for name in ["versioned@@V2", "versioned@V1", "exported_variable@@V2"] {
                    assert!(dynamic.contains(name), "{name}: {dynamic}");
                }
                assert!(!dynamic.contains("hidden_function"));
                // Inlined into its only caller, as nobody else can see it.
                assert!(!s.has_symbol("libshared.so", "hidden_function"), "{version} {mode}");
            }
        }
    }
}

#[test]
fn archives_give_the_members_that_are_needed() {
    let s = Scratch::new("links-archive");
    s.write("one.c", "int two(void); int one(void) { return two() + 1; }");
    s.write("two.c", "int two(void) { return 40; }");
    s.write("three.c", "int nowhere(void); int three(void) { return nowhere(); }");
    s.write(
        "main.c",
        "#include <stdio.h>\nint one(void); int main(void) { printf(\"%d\", one()); }",
    );
    for mode in MODES {
        s.clang(22, &format!("-O2 -flto={mode} -c one.c two.c three.c main.c"));
        let _ = std::fs::remove_file(s.path().join("lib.a"));
        s.run("ar", "--plugin $P rcs lib.a one.o two.o three.o");
        for linker in LINKERS {
            s.link(linker, "main.o lib.a -o prog");
            assert_eq!(s.program("prog", ""), "41", "{mode} {linker}");
        }
        s.link("gold", "main.o -Wl,--start-lib one.o two.o three.o -Wl,--end-lib -o prog");
        assert_eq!(s.program("prog", ""), "41", "{mode} start-lib");
    }
}

#[test]
fn relocatable_output_links_again() {
    let s = Scratch::new("links-relocatable");
    s.write("main.c", MAIN).write("foo.c", FOO);
    for mode in MODES {
        s.clang(22, &format!("-fcommon -O2 -flto={mode} -c main.c foo.c"));
        for linker in LINKERS {
            s.link(linker, "-r -nostdlib foo.o -o part.o");
            assert!(s.has_symbol("part.o", "never_called"), "{mode} {linker}");
            s.link(linker, "main.o part.o -o prog");
            assert_eq!(s.program("prog", ""), "constructed\n2 3 42\n", "{mode} {linker}");
        }
    }
}

#[test]
fn wrapped_symbols_go_through_their_wrappers() {
    let s = Scratch::new("links-wrap");
    s.write(
        "main.c",
        r#"
        #include <stdio.h>
        int target(int);
        int __real_target(int);
        int __wrap_target(int x) { return __real_target(x) + 100; }
        int main(void) { printf("%d", target(1)); return 0; }
        "#,
    );
    s.write("target.c", "int target(int x) { return x + 1; }");
    s.clang(22, "-O2 -flto=thin -c main.c target.c");
    for linker in LINKERS {
        s.link(linker, "-Wl,--wrap=target main.o target.o -o prog");
        assert_eq!(s.program("prog", ""), "102", "{linker}");
    }
    // Full LTO makes one object of all: there the wrapper must come from elsewhere.
    s.clang(22, "-O2 -flto=full -c main.c");
    s.clang(22, "-O2 -c target.c");
    for linker in LINKERS {
        s.link(linker, "-Wl,--wrap=target main.o target.o -o prog");
        assert_eq!(s.program("prog", ""), "102", "{linker}");
    }
}

#[test]
fn an_alias_outlives_what_it_stood_for() {
    let s = Scratch::new("links-alias");
    sources(&s, &["aliases.c", "aliases_strong.c"]);
    s.run("gcc", "aliases.c aliases_strong.c -o native");
    let expected = s.program("native", "");
    assert_eq!(expected, "2 1 6 5 1 2\n");
    for version in CLANGS {
        for mode in MODES {
            s.clang(version, &format!("-O2 -flto={mode} -c aliases.c"));
            for strong in ["-flto=full", "-flto=thin", ""] {
                s.clang(version, &format!("-O2 {strong} -c aliases_strong.c"));
                for linker in LINKERS {
                    s.link(linker, "aliases.o aliases_strong.o -o prog");
                    let place = format!("{version} {mode} {strong} {linker}");
                    assert_eq!(s.program("prog", ""), expected, "{place}");
                }
            }
        }
    }
}

/// Of a chain of aliases the middle one loses against another definition. No linker for ELF does
/// that, but resolutions can say it.
#[test]
fn an_alias_of_a_lost_alias_stands_for_the_object() {
    let s = Scratch::new("links-alias-chain");
    s.write(
        "chain.ll",
        "target datalayout = \"e-m:e-i64:64-f80:128-n8:16:32:64-S128\"
         target triple = \"x86_64-unknown-linux-gnu\"
         @outer = weak alias i32, ptr @middle
         @middle = alias i32, ptr @object
         @object = global i32 1\n",
    );
    s.run("llvm-as-22", "chain.ll -o chain.o");
    let line = "run chain.o -r=chain.o,outer,px -r=chain.o,middle, -r=chain.o,object,px -o";
    let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto2"), &format!("{line} ours"));
    command.env("LTO_LLVM", support::llvm(22));
    support::checked(command);
    s.run("llvm-lto2-22", &format!("{line} theirs"));
    let symbols = s.run("llvm-nm-22", "ours.0");
    assert_eq!(symbols, s.run("llvm-nm-22", "theirs.0"));
    let address = |name: &str| {
        let line = symbols.lines().find(|l| l.ends_with(&format!(" {name}")));
        line.and_then(|l| l.split(' ').next()).map(str::to_owned)
    };
    assert!(address("outer").is_some(), "{symbols}");
    assert_eq!(address("outer"), address("object"), "{symbols}");
}

#[test]
fn a_section_found_by_its_name_is_kept() {
    let s = Scratch::new("links-section");
    s.write(
        "a.c",
        r#"
        #include <stdio.h>
        extern const int __start_numbers[], __stop_numbers[];
        int main(void) {
            int sum = 0;
            for (const int *p = __start_numbers; p < __stop_numbers; p++) sum += *p;
            printf("%d", sum);
            return 0;
        }
        "#,
    );
    s.write("b.c", "__attribute__((section(\"numbers\"), used)) const int n1 = 20, n2 = 22;");
    for mode in MODES {
        s.clang(22, &format!("-O2 -flto={mode} -c a.c b.c"));
        for linker in LINKERS {
            s.link(linker, "a.o b.o -o prog");
            assert_eq!(s.program("prog", ""), "42", "{mode} {linker}");
        }
    }
}

#[test]
fn module_assembly_defines_and_refers_across_modules() {
    let s = Scratch::new("links-assembly");
    s.write(
        "main.c",
        r#"
        #include <stdio.h>
        __asm__(".text\n.weak twice\n.type twice,@function\ntwice:\n movl $1, %eax\n ret\n"
                ".globl once\nonce:\n movl $5, %eax\n ret\n");
        int twice(void), once(void), rest(void);
        int main(void) { printf("%d %d %d", twice(), once(), rest()); return 0; }
        "#,
    );
    s.write(
        "rest.c",
        r#"
        __asm__(".text\n.weak twice\n.type twice,@function\ntwice:\n movl $1, %eax\n ret\n");
        __attribute__((used)) static int here(void) { return 30; }
        __asm__(".text\n.globl to_here\nto_here: jmp here\n"
                ".globl to_there\nto_there: jmp there\n");
        int twice(void), to_here(void), to_there(void);
        int rest(void) { return twice() + to_here() + to_there(); }
        "#,
    );
    s.write("there.c", "int there(void) { return 100; }");
    for mode in MODES {
        s.clang(22, &format!("-O2 -flto={mode} -c main.c rest.c there.c"));
        for linker in LINKERS {
            s.link(linker, "main.o rest.o there.o -o prog");
            assert_eq!(s.program("prog", ""), "1 5 131", "{mode} {linker}");
        }
    }
}

#[test]
fn rust_crates_link_through_rustcs_linker_plugin_option() {
    let s = Scratch::new("links-rust");
    s.write(
        "dep.rs",
        r#"
        pub fn compute(v: &[u64]) -> u64 { v.iter().map(|x| x * x).sum() }
        pub fn never_called(x: u64) -> u64 { x.wrapping_mul(77) ^ compute(&[x]) }
        #[inline(never)]
        pub fn fails(n: i32) -> i32 { if n > 2 { std::panic::panic_any(n) } n }
        "#,
    );
    s.write(
        "main.rs",
        r#"
        fn main() {
            let v: Vec<u64> = (0..std::env::args().count() as u64 + 5).collect();
            std::panic::set_hook(Box::new(|_| ()));
            let caught = std::panic::catch_unwind(|| dep::fails(5));
            let joined = std::thread::spawn(|| dep::fails(1)).join().unwrap();
            println!("{} {} {joined}", dep::compute(&v), caught.is_err());
        }
        "#,
    );
    s.run("rustc", "-O --crate-type rlib -Clinker-plugin-lto dep.rs");
    for linker in LINKERS {
        s.run(
            "rustc",
            &format!(
                "-O -Clinker=gcc -Clink-arg=-fuse-ld={linker} -Clinker-plugin-lto=$P main.rs \
                 --extern dep=libdep.rlib"
            ),
        );
        assert_eq!(s.program("main", ""), "55 true 1\n", "{linker}");
        let symbols = s.run("nm", "-C main");
        assert!(!symbols.contains("dep::never_called"), "{linker}");
    }
}

#[test]
fn mold_links_too() {
    let s = Scratch::new("links-mold");
    s.write("main.c", MAIN).write("foo.c", FOO);
    for mode in MODES {
        s.clang(22, &format!("-fcommon -O2 -flto={mode} -c main.c foo.c"));
        s.run("ar", "--plugin $P rcs libfoo.a foo.o");
        for input in ["foo.o", "libfoo.a"] {
            s.link("mold", &format!("main.o {input} -o prog"));
            assert_eq!(s.program("prog", ""), "constructed\n2 3 42\n", "{mode} {input}");
        }
    }
}

/// LLVM's plugin and ours merge the same modules, given to the same linker in the same order.
#[test]
fn merging_follows_llvms_plugin() {
    let s = Scratch::new("links-merging");
    let head = "target datalayout = \"e-m:e-i64:64-f80:128-n8:16:32:64-S128\"\n\
                target triple = \"x86_64-unknown-linux-gnu\"\n";
    let modules = [
        // The larger common, and the larger alignment of another.
        ("a.ll", "@c = common global i16 0, align 8\n@d = global ptr @c\n"),
        ("b.ll", "@c = common global [6 x i8] zeroinitializer, align 16\n@e = global ptr @c\n"),
        // What several aliases stand for, in a comdat, is defined elsewhere: they get a copy.
        (
            "v1.ll",
            "$g1 = comdat any\n@v = weak_odr global i32 42, comdat($g1)\n@r = global ptr @v\n",
        ),
        (
            "v2.ll",
            "$g2 = comdat any\n@v = weak_odr global i32 41, comdat($g2)\n@a1 = alias i32, ptr @v\n\
             @a2 = alias i16, ptr @v\n@a3 = alias i32, ptr @a2\n@q = global ptr @v\n",
        ),
    ];
    for (name, text) in modules {
        s.write(name, format!("{head}{text}"));
        s.run("llvm-as-22", &format!("{name} -o {name}.o"));
    }
    let link = |plugin: &str, objects: &str, out: &str| {
        s.run(
            "ld.gold",
            &format!(
                "-m elf_x86_64 -shared -plugin {plugin} --plugin-opt=emit-llvm {objects} -o {out}"
            ),
        );
        s.run("llvm-dis-22", &format!("{out} -o -"))
    };
    let theirs = "/usr/lib/llvm-22/lib/LLVMgold.so";
    let same = |ours: String, theirs: String, objects: &str| {
        let named = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
        assert_eq!(named(&ours), named(&theirs), "{objects}");
    };
    for objects in ["a.ll.o b.ll.o", "b.ll.o a.ll.o", "v1.ll.o v2.ll.o", "v2.ll.o v1.ll.o"] {
        same(link("$P", objects, "ours.bc"), link(theirs, objects, "theirs.bc"), objects);
    }
}

/// What no symbol that is seen from outside needs is not merged at all, so that names and their
/// numbers, the order of all, and with them the object, are LLVM's.
#[test]
fn the_merged_object_is_that_of_llvms_plugin() {
    let s = Scratch::new("links-merged-object");
    sources(&s, &["tracer.cpp", "tracer_main.cpp", "tracer.hpp", "aliases.c"]);
    s.write(
        "dead.c",
        "static int n; int unused(void) { return ++n; } int used(void) { return n; }",
    );
    s.write(
        "main.c",
        "extern int used(void); int main(void) { static int n; return n++ + used(); }",
    );
    for mode in ["-flto=full", "-flto=full -g"] {
        for (program, objects) in [
            ("tracer", "tracer_main.cpp tracer.cpp"),
            ("rest", "main.c dead.c"),
            ("aliases", "aliases.c"),
        ] {
            let names: Vec<&str> = objects.split(' ').collect();
            for source in &names {
                let driver = if source.ends_with("cpp") { "clang++-22" } else { "clang-22" };
                s.run(driver, &format!("-O2 -fPIC {mode} -c {source} -o {source}.o"));
            }
            let objects = names.iter().map(|n| format!("{n}.o")).collect::<Vec<_>>().join(" ");
            let link = |plugin: &str, out: &str| {
                s.run(
                    "ld.gold",
                    &format!("-m elf_x86_64 -r -plugin {plugin} --plugin-opt=obj-path={out}.o {objects} -o {out}"),
                );
                s.read(&format!("{out}.o"))
            };
            let theirs = link("/usr/lib/llvm-22/lib/LLVMgold.so", "theirs");
            assert!(link("$P", "ours") == theirs, "{mode} {program}: objects differ");
        }
    }
}

/// LLVM's plugin asks for GOT loads that the linker leaves alone, for objects and assembly.
#[test]
fn code_is_that_of_llvms_plugin() {
    let s = Scratch::new("links-code");
    s.write("got.c", "extern int foo; int bar(void) { return foo; }");
    s.clang(22, "-O2 -fPIC -flto=full -c got.c");
    let link = |plugin: &str, out: &str| {
        let line = format!("-m elf_x86_64 -shared -plugin {plugin} got.o -o {out}");
        s.run("ld.gold", &format!("{line} --plugin-opt=save-temps"));
        s.run("ld.gold", &format!("{line}.s --plugin-opt=emit-asm"));
        (s.read(&format!("{out}.lto.o")), String::from_utf8(s.read(&format!("{out}.s"))).unwrap())
    };
    let ours = link("$P", "ours");
    assert!(s.run("readelf", "-rW ours.lto.o").contains("R_X86_64_GOTPCREL "));
    let theirs = link("/usr/lib/llvm-22/lib/LLVMgold.so", "theirs");
    assert!(ours.0 == theirs.0, "objects differ");
    assert_eq!(ours.1, theirs.1);
    assert!(ours.1.contains("# -- End function"));
}
