//! `llvm-lto` beside LLVM's own of the same version: the stages of ThinLTO one by one, regular LTO,
//! and what it tells of files.

mod support;

use std::process::Command;

use support::{Scratch, checked, llvm};

const OURS: &str = env!("CARGO_BIN_EXE_llvm-lto");

const CODEGEN: &str = "-thinlto-action=codegen last.bc";
const VERSIONS: [u32; 2] = [19, 22];

fn ours(s: &Scratch, version: u32, args: &str) -> Command {
    let mut command = s.command(OURS, args);
    command.env("LTO_LLVM", llvm(version));
    command
}

/// Runs both, and gives what ours printed, which must be what LLVM's did.
fn both(s: &Scratch, version: u32, args: &str) -> String {
    let theirs = s.run(&format!("llvm-lto-{version}"), args);
    let printed = checked(ours(s, version, args));
    assert_eq!(printed, theirs, "{args}");
    printed
}

/// The text of a module, but for its name.
fn text(s: &Scratch, version: u32, file: &str) -> String {
    let text = s.run(&format!("llvm-dis-{version}"), &format!("{file} -o -"));
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

/// Three modules: locals that others need, variables that are only read or only written, a weak
/// function in two of them, an alias, a function that nobody calls, and pointers in initializers.
fn three_modules(s: &Scratch, version: u32, flags: &str) -> String {
    s.write(
        "main.c",
        "extern int read_only, written, table_size; int one(int), two(int);\n\
         extern int (*const table[])(int);\n\
         __attribute__((weak)) int weak(int x) { return x + 1; }\n\
         int main(int c, char **v) { written = c; (void)v;\n\
           return one(c) + two(read_only) + weak(c) + table[c % table_size](c); }\n",
    );
    s.write(
        "one.c",
        "int read_only = 7, written, table_size = 2; int two(int);\n\
         static int counter; static int local(int x) { return x * counter + 3; }\n\
         __attribute__((weak)) int weak(int x) { return x + 2; }\n\
         int one(int x) { counter += x; return local(x) + two(x); }\n\
         int other(int) __attribute__((alias(\"one\")));\n\
         int unused(int x) { return x - 4; }\n",
    );
    s.write(
        "two.c",
        "static const int numbers[] = {1, 2, 3, 5}; static int next(int x) { return numbers[x & 3]; }\n\
         static int before(int x) { return x - next(x); }\n\
         int two(int x) { return next(x) + before(x); }\n\
         int (*const table[])(int) = {next, before};\n",
    );
    for name in ["main", "one", "two"] {
        s.clang(version, &format!("-O2 -fPIC -flto=thin {flags} -c {name}.c"));
    }
    "main.o one.o two.o".to_owned()
}

/// Takes a stage by both programs; the modules must be the same text. LLVM's go to a folder.
fn same_stage(s: &Scratch, version: u32, action: &str, args: &str) {
    let args = format!("-thinlto-action={action} {args}");
    let before = s.files();
    let moved = |folder: &str| {
        std::fs::create_dir_all(s.path().join(folder)).unwrap();
        let new: Vec<String> =
            s.files().into_iter().filter(|f| f.ends_with("ed.bc") && !before.contains(f)).collect();
        for file in &new {
            std::fs::rename(s.path().join(file), s.path().join(folder).join(file)).unwrap();
        }
        new
    };
    s.run(&format!("llvm-lto-{version}"), &args);
    let theirs = moved("theirs");
    checked(ours(s, version, &args));
    assert_eq!(moved("ours"), theirs, "{args}");
    assert!(!theirs.is_empty(), "{args}");
    for file in &theirs {
        let [mine, their] = ["ours", "theirs"].map(|who| {
            let text = text(s, version, &format!("{who}/{file}"));
            let mut lines: Vec<&str> = text.lines().collect();
            // The order in which functions are imported is not LLVM's where initializers of
            // variables refer to them.
            if action == "import" {
                lines.sort_unstable();
            }
            lines.join("\n")
        });
        assert_eq!(mine, their, "{file} of {args}, LLVM {version}");
    }
}

#[test]
fn stages_are_llvms() {
    const DEBUG: &str = "-g -fdebug-macro -fsplit-dwarf-inlining";
    for (version, flags) in VERSIONS.iter().flat_map(|&v| ["", DEBUG].map(|flags| (v, flags))) {
        let s = Scratch::new(&format!("llvm-lto-stages-{version}{}", &flags[..flags.len().min(2)]));
        let files = three_modules(&s, version, flags);
        s.run(
            &format!("llvm-lto-{version}"),
            &format!("-thinlto-action=thinlink {files} -o index.bc"),
        );
        for action in ["promote", "internalize", "import"] {
            for exported in ["", "-exported-symbol=main"] {
                let args = format!("-thinlto-index=index.bc {exported} {files}");
                same_stage(&s, version, action, &args);
            }
        }
        // What is marked by one stage becomes internal in the next.
        s.run("cp", "theirs/one.o.thinlto.internalized.bc internalized.o");
        let args = "-thinlto-index=index.bc -thinlto-module-id=one.o -exported-symbol=main";
        same_stage(&s, version, "import", &format!("{args} internalized.o"));
        s.run("cp", "theirs/internalized.o.thinlto.imported.bc imported.o");
        same_stage(&s, version, "optimize", "imported.o");
        s.run("cp", "theirs/imported.o.thinlto.imported.bc last.bc");
        for (who, command) in [
            ("theirs", s.command(&format!("llvm-lto-{version}"), CODEGEN)),
            ("ours", ours(&s, version, CODEGEN)),
        ] {
            checked(command);
            s.run("mv", &format!("last.bc.thinlto.o {who}.o"));
        }
        assert!(s.read("ours.o") == s.read("theirs.o"), "LLVM {version}");
    }
}

#[test]
fn variables_that_become_internal_are_marked() {
    let s = Scratch::new("llvm-lto-marks");
    let files = three_modules(&s, 22, "");
    checked(ours(&s, 22, &format!("-thinlto-action=thinlink {files} -o index.bc")));
    let promote = "-thinlto-action=promote -thinlto-index=index.bc -exported-symbol=main one.o";
    checked(ours(&s, 22, &format!("{promote} -o one.promoted.bc")));
    let promoted = text(&s, 22, "one.promoted.bc");
    assert!(promoted.contains("attributes #0 = { \"thinlto-internalize\" }"), "{promoted}");
    let marked = |name: &str| {
        promoted.lines().any(|line| line.starts_with(&format!("@{name} =")) && line.ends_with("#0"))
    };
    assert!(marked("read_only") && marked("written"), "{promoted}");
    assert!(!marked("counter.llvm"), "{promoted}");
}

#[test]
fn stages_say_what_is_wrong() {
    let s = Scratch::new("llvm-lto-stages-errors");
    let files = three_modules(&s, 22, "");
    checked(ours(&s, 22, &format!("-thinlto-action=thinlink {files} -o index.bc")));
    let fails = |args: &str, why: &str| {
        let output = ours(&s, 22, args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args}: {said}");
        assert!(said.contains(why), "{args}: {said}");
    };
    fails("-thinlto-action=promote one.o", "Missing -thinlto-index");
    fails("-thinlto-action=promotion one.o", "Cannot find option named 'promotion'");
    fails("-thinlto-action=promote -thinlto-action=import one.o", "more than one -thinlto-action");
    fails(
        "-thinlto-action=promote -thinlto-index=index.bc one.o two.o -o x.bc",
        "single output filename",
    );
    fails(
        "-thinlto-action=promote -thinlto-index=index.bc -thinlto-module-id=one.o one.o two.o",
        "Can't override the module id",
    );
    s.run("cp", "one.o stranger.o");
    fails(
        "-thinlto-action=promote -thinlto-index=index.bc stranger.o",
        "the index does not hold this module",
    );
    std::fs::remove_file(s.path().join("two.o")).unwrap();
    fails("-thinlto-action=import -thinlto-index=index.bc one.o", "two.o");
    assert!(!s.exists("one.o.thinlto.imported.bc"));
}

/// `llvm-lto2` leaves the stages that are asked for, each as if all were, and nothing else.
#[test]
fn stages_are_left_by_name() {
    let s = Scratch::new("llvm-lto2-select");
    let files = three_modules(&s, 22, "");
    s.run(
        "ld.lld-22",
        &format!("-shared {files} -o linked --save-temps=resolution --thinlto-index-only"),
    );
    let ours = env!("CARGO_BIN_EXE_llvm-lto2");
    let link = |program: &str, output: &str, options: &str| {
        let args = format!("run @linked.resolution.txt -o {output} {options}");
        let mut command = s.command(program, &args);
        command.env("LTO_LLVM", llvm(22));
        checked(command);
    };
    let left = |output: &str| -> Vec<String> {
        let files = s.files().into_iter();
        files.filter_map(|f| Some(f.strip_prefix(output)?.strip_prefix('.')?.to_owned())).collect()
    };
    link("llvm-lto2-22", "their", "-save-temps");
    link(ours, "our", "-save-temps");
    let all = left("their");
    assert_eq!(left("our"), all);
    for file in all.iter().filter(|f| f.starts_with("0.")) {
        let [mine, theirs] = ["our", "their"].map(|w| text(&s, 22, &format!("{w}.{file}")));
        assert_eq!(mine, theirs, "{file}");
    }
    for stages in ["preopt", "promote,opt", "internalize", "import,precodegen", "combinedindex"] {
        for (program, output) in [("llvm-lto2-22", "select-their"), (ours, "select-our")] {
            link(program, output, &format!("-select-save-temps={stages}"));
        }
        assert_eq!(left("select-our"), left("select-their"), "{stages}");
        for file in left("select-our") {
            assert!(
                s.read(&format!("select-our.{file}")) == s.read(&format!("our.{file}")),
                "{file}"
            );
            std::fs::remove_file(s.path().join(format!("select-our.{file}"))).unwrap();
        }
        left("select-their").iter().for_each(|f| {
            std::fs::remove_file(s.path().join(format!("select-their.{f}"))).unwrap()
        });
    }
    let both = s.fail(ours, "run @linked.resolution.txt -o x -save-temps -select-save-temps=opt");
    assert!(both.contains("cannot be specified with"), "{both}");
    // Passes of the user's choosing, and the files of a distributed build beside the objects.
    for (program, output) in [("llvm-lto2-22", "their"), (ours, "our")] {
        link(program, output, "-opt-pipeline=instcombine,simplifycfg -thinlto-emit-indexes");
        s.run("mv", &format!("one.o.thinlto.bc {output}.one.index"));
    }
    for file in ["1", "2", "3", "one.index"] {
        assert!(s.read(&format!("our.{file}")) == s.read(&format!("their.{file}")), "{file}");
    }
}

#[test]
fn regular_lto_gives_llvms_objects_and_modules() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("llvm-lto-regular-{version}"));
        let files = three_modules(&s, version, "");
        for args in [
            "-exported-symbol=main -save-linked-module -save-merged-module",
            "-exported-symbol=main -O3 -relocation-model=pic -mcpu=haswell",
            "-exported-symbol=main -O0 -filetype=asm",
            "-exported-symbol=one -exported-symbol=other -function-sections -relocation-model=static",
            "-exported-symbol=main -dso-symbol=unused -set-merged-module -save-merged-module",
            "-exported-symbol=main -restore-linkage",
            "-exported-symbol=main -enable-lto-internalization=false",
        ] {
            for (who, output) in [("theirs", "their.o"), ("ours", "our.o")] {
                let args = format!("{args} {files} -o {output}");
                match who {
                    "ours" => drop(checked(ours(&s, version, &args))),
                    _ => drop(s.run(&format!("llvm-lto-{version}"), &args)),
                }
            }
            assert!(s.read("our.o") == s.read("their.o"), "LLVM {version}: {args}");
            for suffix in ["linked", "merged"] {
                if args.contains(&format!("-save-{suffix}-module")) {
                    let [mine, theirs] =
                        ["our", "their"].map(|w| text(&s, version, &format!("{w}.o.{suffix}.bc")));
                    assert_eq!(mine, theirs, "LLVM {version}: {args}");
                }
            }
        }
    }
}

/// LLVM's program keeps `-O` from the code generator of ThinLTO, which optimizes at its own level.
#[test]
fn the_level_is_not_that_of_thinlto() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("llvm-lto-level-{version}"));
        let files = three_modules(&s, version, "");
        for level in ["-O0", "-O1 -function-sections"] {
            let args = format!("-thinlto-action=run -exported-symbol=main {level} {files}");
            let objects = || files.split(' ').map(|f| s.read(&format!("{f}.thinlto.o")));
            s.run(&format!("llvm-lto-{version}"), &args);
            let theirs: Vec<Vec<u8>> = objects().collect();
            checked(ours(&s, version, &args));
            assert!(objects().eq(theirs), "LLVM {version}: {args}");
        }
        let output = ours(&s, version, &format!("-O4 {files} -o x.o")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("optimization level must be between 0 and 3"), "{said}");
    }
}

#[test]
fn an_object_without_a_name_gets_one() {
    let s = Scratch::new("llvm-lto-unnamed");
    let files = three_modules(&s, 22, "");
    let printed = checked(ours(&s, 22, &format!("{files} -exported-symbol=main")));
    let path = printed.strip_prefix("Wrote native object file '").unwrap();
    let path = path.strip_suffix("'\n").unwrap();
    assert!(s.run("nm", path).contains(" T main"));
    let refused = |args: &str, why: &str| {
        let output = ours(&s, 22, &format!("{files} {args}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{args}: {said}");
    };
    refused("-jx -o x.o", "-j");
    refused("-save-merged-module", "must be specified with -o");
    refused("-no-such-option -o x.o", "no-such-option");
    assert!(!s.exists("x.o"));
}

#[test]
fn what_is_told_of_files_is_llvms() {
    let s = Scratch::new("llvm-lto-told");
    let files = three_modules(&s, 22, "");
    s.write("ctor.c", "static int x; __attribute__((constructor)) void f(void) { x = 1; }\n");
    s.write("libs.c", "#pragma comment(lib, \"m\")\n#pragma comment(lib, \"z\")\nint y;\n");
    s.clang(22, "-O1 -flto=thin -c ctor.c libs.c");
    s.write(
        "kinds.cpp",
        "inline int f(int x) { return x + 1; } template<class T> T twice(T x) { return x * 2; }\n\
         extern \"C\" __attribute__((weak)) int maybe(int); int common;\n\
         __attribute__((visibility(\"hidden\"))) int hidden = 3; const int table[] = {1, 2, 3};\n\
         __attribute__((visibility(\"protected\"))) int p(int x) { return x; } int (*kept)(int) = f;\n\
         extern \"C\" int g(int x) { static int n; n += x; return f(x) + twice(x) + table[x] + n +\n\
         (maybe ? maybe(x) : 0); } extern \"C\" int h(int) __attribute__((alias(\"g\")));\n\
         asm(\".globl defined\\ndefined: ret\\n call undefined\\n\");\n",
    );
    s.clang(22, "-O1 -flto=thin -c kinds.cpp");
    let files = format!("{files} ctor.o libs.o kinds.o");
    assert!(
        both(&s, 22, &format!("-list-symbols-only {files}"))
            .contains("\nread_only    { data defined")
    );
    let ctors = both(&s, 22, &format!("-query-hasCtorDtor {files}"));
    assert!(ctors.contains("ctor.o: hasCtorDtor = true"), "{ctors}");
    let libs = both(&s, 22, &format!("-list-dependent-libraries-only {files}"));
    assert!(libs.contains("libs.o:\nm\nz\n"), "{libs}");
    assert!(both(&s, 22, &format!("-thinlto-index-stats {files}")).contains(" functions, "));
    both(&s, 22, &format!("-check-for-objc {files}"));
    s.clang(22, "--target=arm64-apple-macos11 -flto=thin -c libs.c -o mac.o");
    assert!(both(&s, 22, "-print-macho-cpu-only mac.o").contains("cputype: 16777228"));
}

#[test]
fn symbols_that_count_their_arguments_are_preserved_by_them() {
    for version in VERSIONS {
        let s = Scratch::new(&format!("llvm-lto-stdcall-{version}"));
        s.write(
            "a.c",
            "int __stdcall f(int a, char b) { return a + b; } int __fastcall g(int a) { return a; }\n\
             int __stdcall gone(int a) { return a - 1; } int plain(int a) { return a * 3; }\n",
        );
        s.clang(version, "--target=i686-pc-windows-msvc -O1 -flto -c a.c -o a.o");
        for (who, output) in [("theirs", "their.o"), ("ours", "our.o")] {
            let args = format!(
                "a.o -exported-symbol=_f@8 -exported-symbol=@g@4 -exported-symbol=_plain -o {output}"
            );
            match who {
                "ours" => drop(checked(ours(&s, version, &args))),
                _ => drop(s.run(&format!("llvm-lto-{version}"), &args)),
            }
        }
        assert!(s.read("our.o") == s.read("their.o"), "LLVM {version}");
        let symbols = s.run(&format!("llvm-nm-{version}"), "our.o");
        assert!(symbols.contains(" T _f@8\n") && !symbols.contains("gone"), "{symbols}");
    }
}
