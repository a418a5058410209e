//! Options of LLVM's LTO that change what comes out or what is printed, each beside LLVM's programs of
//! the same version.

mod support;

use std::process::Command;

use support::{Scratch, checked, llvm};

const VERSIONS: [u32; 2] = [19, 22];

/// One of our programs under LLVM's name.
fn ours(s: &Scratch, version: u32, program: &str, args: &str) -> Command {
    let path = match program {
        "llvm-lto" => env!("CARGO_BIN_EXE_llvm-lto"),
        _ => env!("CARGO_BIN_EXE_llvm-lto2"),
    };
    let mut command = s.command(path, args);
    command.env("LTO_LLVM", llvm(version));
    command
}

/// Runs LLVM's program and ours, `$O` in `args` being "their" and "our"; gives what both said, output
/// and errors.
fn both(s: &Scratch, version: u32, program: &str, args: &str) -> [String; 2] {
    let said = |mut command: Command| {
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{command:?}: {said}");
        said
    };
    let theirs = s.command(&format!("{program}-{version}"), &args.replace("$O", "their"));
    [said(theirs), said(ours(s, version, program, &args.replace("$O", "our")))]
}

/// Asserts that a file of ours is LLVM's.
fn same(s: &Scratch, suffix: &str, what: &str) {
    assert!(s.read(&format!("our{suffix}")) == s.read(&format!("their{suffix}")), "{what}");
}

/// Resolutions of a program whose definitions are all the link's own, `main` being the only one
/// that something outside refers to.
fn resolve(s: &Scratch, version: u32, files: &[&str]) -> String {
    let mut defined = Vec::new();
    let mut words = vec!["run".to_owned()];
    for file in files {
        let table = s.run(&format!("llvm-lto2-{version}"), &format!("dump-symtab {file}"));
        for line in table.lines().filter(|line| !line.contains(':')) {
            let Some((flags, name)) = line.split_once(' ') else { continue };
            let (flags, name) = (flags.trim(), name.trim());
            if flags.len() != 8 {
                continue;
            }
            let prevails = !flags.contains('U') && !defined.contains(&name.to_owned());
            let said = match (prevails, name.trim_start_matches('_')) {
                (true, "main") => "plx",
                (true, _) => "pl",
                (false, _) => "",
            };
            defined.extend(prevails.then(|| name.to_owned()));
            words.push(format!("-r={file},{name},{said}"));
        }
    }
    words.extend(files.iter().map(|&file| file.to_owned()));
    words.join(" ")
}

/// Code generation knows the C library, so that `sqrt` becomes an instruction, where LLVM's LTO tells
/// it, and does not where LLVM's does not: in the legacy code generator of ThinLTO.
#[test]
fn code_generation_knows_the_library_as_in_llvm() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("options-libcalls-{version}"));
        s.write("m.c", "double sqrt(double); double root(double x) { return sqrt(x); }");
        for (mode, task) in [("thin", 1), ("full", 0)] {
            s.clang(version, &format!("-O2 -flto={mode} -c m.c"));
            for level in ["-O0", "-O2"] {
                let args = format!("run m.o -r=m.o,root,plx -r=m.o,sqrt, {level} -o $O");
                both(&s, version, "llvm-lto2", &args);
                same(&s, &format!(".{task}"), &format!("{mode} {level} {version}"));
                let code = s.run(&format!("llvm-objdump-{version}"), &format!("-d our.{task}"));
                assert!(code.contains("sqrtsd"), "{code}");
            }
        }
        let args = "-exported-symbol=root m.o -o $O.o";
        both(&s, version, "llvm-lto", args);
        same(&s, ".o", args);
        s.clang(version, "-O2 -flto=thin -c m.c");
        let legacy = "-thinlto-action=run -exported-symbol=root m.o";
        s.run(&format!("llvm-lto-{version}"), legacy);
        let theirs = s.read("m.o.thinlto.o");
        checked(ours(&s, version, "llvm-lto", legacy));
        assert!(s.read("m.o.thinlto.o") == theirs, "{legacy} {version}");
    }
}

#[test]
fn the_library_is_unknown_to_freestanding_code() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-freestanding-{version}"));
        // Only where the whole program is seen is it known what is printed.
        s.write(
            "a.c",
            "int printf(const char *, ...);\n\
             __attribute__((noinline)) void say(const char *how, const char *s) { printf(how, s); }\n\
             int main(int c, char **v) { say(\"%s\\n\", v[0]); return c; }\n",
        );
        s.clang(version, "-O1 -flto=thin -c a.c -o thin.o");
        s.clang(version, "-O1 -flto=full -c a.c -o full.o");
        let calls = |object: &str| s.run("nm", object);
        for (option, called) in [("", " puts\n"), (" -lto-freestanding", " printf\n")] {
            both(&s, version, "llvm-lto", &format!("full.o -exported-symbol=main -o $O.o{option}"));
            same(&s, ".o", option);
            assert!(calls("our.o").contains(called), "LLVM {version}: {option}");
            let action = format!("-thinlto-action=run thin.o -exported-symbol=main{option}");
            s.run(&format!("llvm-lto-{version}"), &action);
            s.run("mv", "thin.o.thinlto.o their.thin.o");
            checked(ours(&s, version, "llvm-lto", &action));
            s.run("mv", "thin.o.thinlto.o our.thin.o");
            same(&s, ".thin.o", option);
            assert!(calls("our.thin.o").contains(called), "LLVM {version}: {option}");
            for file in ["thin.o", "full.o"] {
                let link = resolve(&s, version, &[file]);
                both(&s, version, "llvm-lto2", &format!("{link} -o $O{option}"));
                let task = if file == "thin.o" { ".1" } else { ".0" };
                same(&s, task, option);
                assert!(calls(&format!("our{task}")).contains(called), "LLVM {version}: {option}");
            }
        }
    }
}

#[test]
fn objects_carry_the_bitcode_that_is_asked_for() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-embed-{version}"));
        s.write(
            "a.c",
            "static int f(int x) { return x + 2; } int main(int c, char **v) { return f(c); }\n",
        );
        s.clang(version, "-O1 -flto=thin -c a.c -o thin.o");
        s.clang(version, "-O1 -flto=full -c a.c -o full.o");
        for (word, has) in [("none", false), ("optimized", true), ("post-merge-pre-opt", true)] {
            let option = format!("-lto-embed-bitcode={word}");
            for (file, task) in [("thin.o", ".1"), ("full.o", ".0")] {
                let link = resolve(&s, version, &[file]);
                both(&s, version, "llvm-lto2", &format!("{link} -o $O {option}"));
                same(&s, task, &option);
                let sections = s.run("readelf", &format!("-SW our{task}"));
                assert_eq!(sections.contains(".llvmbc"), has, "LLVM {version}: {option}");
            }
            both(
                &s,
                version,
                "llvm-lto",
                &format!("full.o -exported-symbol=main -o $O.o {option}"),
            );
            same(&s, ".o", &option);
        }
        let wrong =
            s.fail(env!("CARGO_BIN_EXE_llvm-lto2"), "run full.o -o x -lto-embed-bitcode=all");
        assert!(wrong.contains("Cannot find option named 'all'"), "{wrong}");
    }
}

/// Functions that call each other, some of them local, so that parts refer to each other.
fn many_functions(s: &Scratch, version: u32) {
    let mut text = String::from("static int counter;\n");
    for n in 0..24 {
        let before = if n == 0 { "x".to_owned() } else { format!("f{}(x - 1)", n - 1) };
        let local = if n % 3 == 0 { "static " } else { "" };
        text += &format!(
            "{local}__attribute__((noinline)) int f{n}(int x) {{ counter += x; return {before} * {n} + counter; }}\n"
        );
    }
    text += "int main(int c, char **v) { return f23(c); }\n";
    s.write("many.c", text);
    s.clang(version, "-O1 -flto=full -c many.c -o many.o");
    s.write("thin.c", "int f7(int); int other(int x) { return f7(x); }\n");
    s.clang(version, "-O1 -flto=thin -c thin.c -o thin.o");
}

#[test]
fn code_of_a_merged_module_is_generated_in_parts() {
    for version in [14, 19, 22] {
        let s = Scratch::new(&format!("lto-options-partitions-{version}"));
        many_functions(&s, version);
        both(&s, version, "llvm-lto", "many.o -exported-symbol=main -j3 -o $O.o");
        for part in 0..3 {
            same(&s, &format!(".o.{part}"), &format!("LLVM {version}: part {part}"));
        }
        let plugin = format!("/usr/lib/llvm-{version}/lib/LLVMgold.so");
        for (plugin, output) in [(plugin.as_str(), "their"), ("$P", "our")] {
            let args = format!(
                "-m elf_x86_64 -r -plugin {plugin} --plugin-opt=obj-path={output}.part \
                 --plugin-opt=lto-partitions=3 many.o thin.o -o {output}.linked"
            );
            let mut link = s.command("ld.gold", &args);
            link.env("LTO_LLVM", llvm(version));
            checked(link);
        }
        for part in ["", "1", "2", "3"] {
            same(&s, &format!(".part{part}"), &format!("LLVM {version}: '{part}'"));
        }
        assert!(!s.exists("our.part4"));
        // With one machine, parts take turns.
        s.link(
            "gold",
            "-Wl,-plugin-opt=lto-partitions=5,-plugin-opt=jobs=1 many.o thin.o -o program",
        );
        assert!(s.has_symbol("program", "f7"));
    }
}

#[test]
fn regular_lto_keeps_what_it_may_not_internalize() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-internalize-{version}"));
        many_functions(&s, version);
        let link = resolve(&s, version, &["many.o"]);
        for (option, global) in [("", false), (" -enable-lto-internalization=false", true)] {
            both(&s, version, "llvm-lto2", &format!("{link} -o $O{option}"));
            same(&s, ".0", option);
            let symbols = s.symbols("our.0");
            assert_eq!(symbols.contains(&"T f1".to_owned()), global, "LLVM {version}: {option}");
        }
    }
}

#[test]
fn passes_are_verified_unless_that_is_off() {
    let s = Scratch::new("lto-options-verify");
    s.write("a.c", "int main(int c, char **v) { return c; }\n");
    s.clang(22, "-O1 -flto=full -c a.c -o a.o");
    let verifies = |option: &str| {
        let args = format!("-debug-pass-manager -exported-symbol=main a.o -o $O.o {option}");
        both(&s, 22, "llvm-lto", &args).map(|said| said.matches("VerifierPass").count())
    };
    assert_eq!(verifies(""), [2, 2]);
    assert_eq!(verifies("-disable-verify"), [0, 0]);
}

#[test]
fn calls_of_objective_c_reference_counting_are_contracted() {
    for version in [14, 19, 22] {
        let s = Scratch::new(&format!("lto-options-arc-{version}"));
        s.write(
            "a.m",
            "id make(void); void take(id); __attribute__((objc_root_class)) @interface A { id i; } @end\n\
             @implementation A\n- (void)set:(id)x { i = x; take(i); }\n- (id)get { return i; } @end\n\
             id pass(id x) { take(x); return x; } id both(void) { id x = make(); take(x); return x; }\n",
        );
        let flags = "--target=x86_64-apple-macos10.14 -fobjc-arc -O1 -c a.m";
        s.clang(version, &format!("{flags} -flto=full -o full.o"));
        s.clang(version, &format!("{flags} -flto=thin -o thin.o"));
        both(
            &s,
            version,
            "llvm-lto",
            "full.o -exported-symbol=_pass -exported-symbol=_both -o $O.o",
        );
        same(&s, ".o", &format!("LLVM {version}"));
        let calls = s.run(&format!("llvm-nm-{version}"), "our.o");
        // The code generation of LLVM 22 looks for them where they are lowered already.
        let contracted = calls.contains("_objc_retainAutoreleaseReturnValue");
        assert_eq!(contracted, version < 22, "LLVM {version}: {calls}");
        let run = "-thinlto-action=run thin.o -exported-symbol=_pass -exported-symbol=_both";
        s.run(&format!("llvm-lto-{version}"), run);
        let theirs = s.read("thin.o.thinlto.o");
        checked(ours(&s, version, "llvm-lto", run));
        assert!(s.read("thin.o.thinlto.o") == theirs, "LLVM {version}");
    }
}

/// A program of two modules, of which the first imports from the second.
fn importing(s: &Scratch, version: u32, flags: [&str; 2]) -> String {
    s.write(
        "main.cpp",
        "struct S { int a, b; S *next; }; int use(S *); S *begin();\n\
         int main() { return use(begin()); }\n",
    );
    s.write(
        "lib.cpp",
        "struct S { int a, b; S *next; }; enum E { one, two }; int variable = 3;\n\
         asm(\".symver outside, outside@V_1.2\\n.symver nobody, nobody@V_1.2\"); extern \"C\" int outside(int);\n\
         S first; S *begin() { return &first; }\n\
         int use(S *s) { E e = s->a > 1 ? one : two; return outside(s->b + e) + variable++; }\n",
    );
    let [main, lib] = flags;
    s.clang(version, &format!("-O1 -flto=thin -c main.cpp -o main.o {main}"));
    s.clang(version, &format!("-O1 -flto=thin -c lib.cpp -o lib.o {lib}"));
    resolve(s, version, &["main.o", "lib.o"])
}

#[test]
fn versions_of_symbols_come_with_what_is_imported() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-symver-{version}"));
        let link = importing(&s, version, ["", ""]);
        both(&s, version, "llvm-lto2", &format!("{link} -o $O -save-temps"));
        let text =
            |who: &str| s.run(&format!("llvm-dis-{version}"), &format!("{who}.1.3.import.bc -o -"));
        let asm = |text: String| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("module asm")).map(str::to_owned).collect()
        };
        assert_eq!(asm(text("our")), asm(text("their")), "LLVM {version}");
        assert_eq!(asm(text("our")), ["module asm \".symver outside, outside@V_1.2\""]);
        same(&s, ".1", &format!("LLVM {version}"));
    }
}

#[test]
fn imports_are_printed() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-print-{version}"));
        let link = importing(&s, version, ["", ""]);
        let args = format!("{link} -o $O -print-imports -thinlto-threads=1");
        let [theirs, mine] = both(&s, version, "llvm-lto2", &args);
        assert_eq!(mine, theirs, "LLVM {version}");
        assert!(mine.contains("main.cpp: Import _Z3useP1S from lib.cpp\n"), "{mine}");
        let [theirs, mine] = both(&s, version, "llvm-lto2", &format!("{link} -o $O"));
        assert_eq!((mine, theirs), Default::default());
    }
}

#[test]
fn types_are_imported_in_full_where_that_is_asked_for() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-types-{version}"));
        let link = importing(&s, version, ["-g", "-g"]);
        let mut sizes = Vec::new();
        for option in ["", " -import-full-type-definitions"] {
            both(&s, version, "llvm-lto2", &format!("{link} -o $O{option}"));
            same(&s, ".1", &format!("LLVM {version}:{option}"));
            sizes.push(s.read("our.1").len());
        }
        assert!(sizes[0] < sizes[1], "{sizes:?}");
    }
}

#[test]
fn probes_that_are_lost_are_warned_of() {
    let s = Scratch::new("lto-options-probes");
    let link = importing(&s, 22, ["", "-fpseudo-probe-for-profiling"]);
    let said = both(&s, 22, "llvm-lto2", &format!("{link} -o $O"));
    for said in &said {
        assert!(said.contains("source module 'lib.o' is compiled with"), "{said}");
        assert!(said.contains("while destination module 'main.o' is not"), "{said}");
    }
    let link = importing(&s, 22, ["-fpseudo-probe-for-profiling"; 2]);
    let said = both(&s, 22, "llvm-lto2", &format!("{link} -o $O"));
    assert!(said.iter().all(|said| !said.contains("is compiled with")), "{said:?}");
}

#[test]
fn a_comdat_is_renamed_with_the_alias_that_it_is_named_by() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-comdat-{version}"));
        s.write(
            "a.ll",
            "target datalayout = \"e-m:w-p270:32:32-p271:32:32-p272:64:64-i64:64-f80:128-n8:16:32:64-S128\"\n\
             target triple = \"x86_64-pc-windows-msvc19.0.24215\"\n\
             $t = comdat any\n\
             @base = private unnamed_addr global [1 x ptr] [ptr null], comdat($t)\n\
             @t = internal unnamed_addr alias [1 x ptr], ptr @base\n\
             define ptr @f() {\n  %1 = load ptr, ptr @t\n  ret ptr %1\n}\n",
        );
        s.write(
            "b.ll",
            "target datalayout = \"e-m:w-p270:32:32-p271:32:32-p272:64:64-i64:64-f80:128-n8:16:32:64-S128\"\n\
             target triple = \"x86_64-pc-windows-msvc19.0.24215\"\n\
             declare ptr @f()\ndefine ptr @main() {\n  %1 = call ptr @f()\n  ret ptr %1\n}\n",
        );
        for file in ["a", "b"] {
            s.run(&format!("opt-{version}"), &format!("-thinlto-bc {file}.ll -o {file}.o"));
        }
        let link = "run a.o b.o -r a.o,f,plx -r b.o,main,plx -r b.o,f, -o $O";
        both(&s, version, "llvm-lto2", link);
        same(&s, ".1", &format!("LLVM {version}"));
        same(&s, ".2", &format!("LLVM {version}"));
    }
}

#[test]
fn a_workload_is_imported_where_its_root_is() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-workload-{version}"));
        s.write("main.c", "int near(int); int main(int c, char **v) { return near(c); }\n");
        s.write(
            "lib.c",
            "__attribute__((noinline)) int far(int x) { return x * 3; }\n\
             int near(int x) { return x + far(x); } int other(int x) { return x - 1; }\n",
        );
        s.clang(version, "-O1 -flto=thin -c main.c lib.c");
        s.write("work.json", "{\"main\": [\"near\", \"other\"]}");
        let link = resolve(&s, version, &["main.o", "lib.o"]);
        let work = "-thinlto-workload-def=work.json -print-imports -thinlto-threads=1";
        let said = both(&s, version, "llvm-lto2", &format!("{link} -o $O {work}"));
        for said in &said {
            assert!(said.contains("Import near from") && !said.contains("Import far"), "{said}");
        }
        same(&s, ".1", &format!("LLVM {version}"));
    }
}

#[test]
fn what_stands_for_a_dead_alias_stays() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-dead-alias-{version}"));
        s.write(
            "a.ll",
            "target datalayout = \"e-m:e-i64:64-f80:128-n8:16:32:64-S128\"\n\
             target triple = \"x86_64-unknown-linux-gnu\"\n\
             @live = hidden alias void (), ptr @of_live\n@dead = hidden alias void (), ptr @of_dead\n\
             define weak hidden void @of_live() {\n  ret void\n}\n\
             define weak hidden void @of_dead() {\n  ret void\n}\n",
        );
        s.run(&format!("opt-{version}"), "-module-summary a.ll -o a.o");
        let link = "run a.o -r a.o,of_live,lx -r a.o,of_dead,l -r a.o,live,plx -r a.o,dead,pl";
        both(&s, version, "llvm-lto2", &format!("{link} -o $O -save-temps"));
        let [theirs, mine] = ["their", "our"].map(|who| {
            let text = s.run(&format!("llvm-dis-{version}"), &format!("{who}.1.1.promote.bc -o -"));
            text.lines().skip(1).collect::<Vec<_>>().join("\n")
        });
        assert_eq!(mine, theirs, "LLVM {version}");
        assert!(mine.contains("declare void @dead()"), "{mine}");
        same(&s, ".1", &format!("LLVM {version}"));
    }
}

#[test]
fn equal_functions_become_one_where_that_is_asked_for() {
    let s = Scratch::new("lto-options-merge-functions");
    s.write(
        "a.c",
        "__attribute__((noinline)) int f(unsigned x) { return x * x + 7 / (x | 1); }\n\
         __attribute__((noinline)) int g(unsigned x) { return x * x + 7 / (x | 1); }\n\
         int main(int c, char **v) { return f(c) + g((unsigned long)v); }\n",
    );
    s.clang(22, "-O1 -flto=thin -c a.c -o thin.o");
    s.clang(22, "-O1 -flto=full -c a.c -o full.o");
    for (file, task) in [("thin.o", ".1"), ("full.o", ".0")] {
        let link = resolve(&s, 22, &[file]);
        let mut sizes = Vec::new();
        for option in ["", " -enable-merge-functions"] {
            both(&s, 22, "llvm-lto2", &format!("{link} -o $O{option}"));
            same(&s, task, option);
            sizes.push(s.symbols(&format!("our{task}")).len());
        }
        assert!(sizes[0] > sizes[1], "{file}: {sizes:?}");
        // By the plugin's own word for it.
        s.link("gold", &format!("-Wl,-plugin-opt=merge-functions {file} -o merged"));
        let both = ["f", "g"].map(|name| s.has_symbol("merged", name));
        assert_ne!(both, [true; 2], "{file}");
    }
}

#[test]
fn a_distributed_link_leaves_the_merged_module_too() {
    let s = Scratch::new("lto-options-nothing-merged");
    s.write("a.c", "int main(int c, char **v) { return c; }\n");
    s.clang(22, "-O1 -flto=thin -c a.c -o a.o");
    let link = resolve(&s, 22, &["a.o"]);
    both(&s, 22, "llvm-lto2", &format!("{link} -o $O -thinlto-distributed-indexes -save-temps"));
    for stage in ["0.preopt", "2.internalize"] {
        let [theirs, mine] = ["their", "our"].map(|who| {
            let text = s.run("llvm-dis-22", &format!("{who}.0.{stage}.bc -o -"));
            text.lines().skip(1).collect::<Vec<_>>().join("\n")
        });
        assert_eq!(mine, theirs, "{stage}");
    }
    assert!(!s.exists("our.0"));
    for (plugin, output) in [("/usr/lib/llvm-22/lib/LLVMgold.so", "their"), ("$P", "our")] {
        let args = format!(
            "-m elf_x86_64 -plugin {plugin} --plugin-opt=thinlto-index-only \
             --plugin-opt=save-temps a.o -o {output}.linked"
        );
        let mut link = s.command("ld.gold", &args);
        link.env("LTO_LLVM", llvm(22));
        checked(link);
    }
    let left = |who: &str| -> Vec<String> {
        let names = s.files().into_iter();
        names.filter_map(|name| Some(name.strip_prefix(who)?.to_owned())).collect()
    };
    assert_eq!(left("our.linked"), left("their.linked"));
}

#[test]
fn small_data_of_medium_models_stay_near() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("lto-options-medium-{version}"));
        s.write(
            "a.c",
            "static int large[100000], small[10]; void keep(int *, int *);\n\
             int main(int c, char **v) { keep(large, small); return large[c] + small[c & 7]; }\n",
        );
        for (mode, task) in [("thin", ".1"), ("full", ".0")] {
            let flags = "-O1 -fPIC -mcmodel=medium -c a.c -o a.o";
            s.clang(version, &format!("-flto={mode} {flags}"));
            let link = resolve(&s, version, &["a.o"]);
            both(&s, version, "llvm-lto2", &format!("{link} -o $O"));
            same(&s, task, &format!("LLVM {version}: {mode}"));
            let sections = s.run("readelf", &format!("-SW our{task}"));
            assert!(sections.contains(" .bss") && sections.contains(" .lbss"), "{sections}");
        }
    }
}

#[test]
fn debug_information_is_for_the_debugger_that_is_named() {
    for version in [14, 19, 22] {
        let s = Scratch::new(&format!("lto-options-debugger-{version}"));
        s.write(
            "a.c",
            "struct s { int a; }; int main(int c, char **v) { struct s s = {c}; return s.a; }\n",
        );
        s.clang(version, "-O1 -glldb -gdwarf-4 -gpubnames -flto=thin -c a.c -o thin.o");
        s.clang(version, "-O1 -glldb -gdwarf-4 -gpubnames -flto=full -c a.c -o full.o");
        for (file, task) in [("thin.o", ".1"), ("full.o", ".0")] {
            let link = resolve(&s, version, &[file]);
            for debugger in ["gdb", "lldb", "sce"] {
                let option = format!("-debugger-tune={debugger}");
                both(&s, version, "llvm-lto2", &format!("{link} -o $O {option}"));
                same(&s, task, &format!("LLVM {version}: {file} {option}"));
                let sections = s.run("readelf", &format!("-SW our{task}"));
                assert_eq!(sections.contains(".debug_names"), debugger == "lldb", "{option}");
            }
        }
        let wrong = s.fail(env!("CARGO_BIN_EXE_llvm-lto2"), "run thin.o -o x -debugger-tune=adb");
        assert!(wrong.contains("Cannot find option named 'adb'"), "{wrong}");
    }
}
