//! The thin link beside LLVM's own tools: the same modules and resolutions through both, and every
//! file compared byte for byte.

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::Scratch;

/// Our program of this name, as cargo built it.
fn ours(name: &str) -> PathBuf {
    match name {
        "llvm-lto2" => env!("CARGO_BIN_EXE_llvm-lto2").into(),
        _ => env!("CARGO_BIN_EXE_llvm-lto").into(),
    }
}

fn run(program: impl AsRef<std::ffi::OsStr>, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).current_dir(folder).args(arguments).output().unwrap()
}

fn succeed(program: impl AsRef<std::ffi::OsStr>, folder: &Path, arguments: &[&str]) -> Output {
    let output = run(program, folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Five sources that between them have what the thin link decides about: calls worth importing
/// and not, chains, hot and cold ones, locals to promote, constants, variables only read or only
/// written, weak and inline functions in several modules, aliases, a static function of the name
/// of one that nobody defines, and what nothing refers to.
const SOURCES: [(&str, &str); 5] = [
    (
        "main.cpp",
        r#"
        #include "shared.h"
        int main(int argc, char **argv) {
          for (int i = 0; i < argc; i++) total += step(i) + chain1(i) + alias_of_step(i);
          if (__builtin_expect(argc > 100, 0)) rare(argc);
          written = argc;
          return Box<int>(argc).get() + table[argc & 3] + only_read + weak_one() + unresolved(argc)
               + pick(argc)(1);
        }
        "#,
    ),
    (
        "a.cpp",
        r#"
        #include "shared.h"
        int only_read = 7;
        int written;
        int total;
        static int hidden_state;
        static __attribute__((noinline)) int helper(int x) { return hidden_state += x; }
        int step(int x) { return helper(x) + 1; }
        extern "C" int alias_target(int x) { return x * 3; }
        int alias_of_step(int x) __attribute__((alias("alias_target")));
        __attribute__((weak)) int weak_one() { return 1; }
        int never_called(int x) { return Box<int>(x).get() + helper(x); }
        template struct Box<int>;
        "#,
    ),
    (
        "b.cpp",
        r#"
        #include "shared.h"
        const int table[4] = {1, 2, 3, 4};
        static int leaf(int x) { return x ^ 5; }
        typedef int (*Fn)(int);
        static const Fn fns[2] = {leaf, chain2};
        Fn pick(int x) { return fns[x & 1]; }
        int chain1(int x) { return chain2(x) + 1; }
        __attribute__((weak)) int weak_one() { return 2; }
        __attribute__((cold)) void rare(int x) { total += Box<long>(x).get(); }
        "#,
    ),
    (
        "c.cpp",
        r#"
        #include "shared.h"
        static const char *const words[] = {"a", "b", "c"};
        int chain2(int x) { return chain3(x) + words[x % 3][0]; }
        int big(int x) {
          for (int i = 0; i < x; i++) {
            total += step(i); total ^= chain3(i); total -= step(i + 1); total *= 3;
            total += step(i * 2); total ^= chain3(i * 3); total -= step(i + 7); total *= 5;
          }
          return total;
        }
        inline __attribute__((visibility("hidden"))) int hidden_inline(int x) { return x + total; }
        int use_hidden(int x) { return hidden_inline(x); }
        "#,
    ),
    (
        "d.cpp",
        r#"
        #include "shared.h"
        extern "C" __attribute__((used)) int kept_by_used(int x) { return x; }
        static __attribute__((noinline)) int unresolved(int x, int y) { return x + y; }
        int chain3(int x) { return big(x & 1) + unresolved(x, 2); }
        inline __attribute__((visibility("hidden"))) int hidden_inline(int x) { return x + total; }
        int use_hidden_too(int x) { return hidden_inline(x) + Box<int>(x).get(); }
        "#,
    ),
];

const SHARED: &str = r#"
    template <class T> struct Box {
      T value;
      Box(T v) : value(v) {}
      __attribute__((noinline)) T get() { return value * 2 + 1; }
    };
    extern int total, written, only_read;
    extern const int table[4];
    int step(int), chain1(int), chain2(int), chain3(int), alias_of_step(int), weak_one(), big(int);
    extern "C" int unresolved(int);
    void rare(int);
    int (*pick(int))(int);
"#;

const OBJECTS: [&str; 5] = ["main.o", "a.o", "b.o", "c.o", "d.o"];

/// Compiles the sources in a folder.
fn compile(scratch: &Scratch, version: u32, more: &[&str]) {
    scratch.write("shared.h", SHARED);
    for ((name, source), object) in SOURCES.iter().zip(OBJECTS) {
        scratch.write(name, source);
        let mut arguments = vec!["-O2", "-fPIC", "-flto=thin", "-c", name, "-o", object];
        arguments.extend(more);
        succeed(format!("clang++-{version}"), scratch.path(), &arguments);
    }
}

/// The resolutions of a link by lld, for llvm-lto2.
fn resolutions(scratch: &Scratch, version: u32, flags: &[&str]) {
    let mut arguments =
        vec!["--save-temps=resolution", "-o", "out", "--thinlto-index-only=objects"];
    arguments.extend(flags);
    arguments.extend(OBJECTS);
    succeed(format!("ld.lld-{version}"), scratch.path(), &arguments);
}

/// Runs both llvm-lto2 on the saved resolutions and compares all that they write.
fn compare(scratch: &Scratch, version: u32, more: &[&str]) -> usize {
    let folder = scratch.path();
    let mut arguments = vec![
        "run",
        "@out.resolution.txt",
        "-o",
        "lto",
        "-thinlto-distributed-indexes",
        "-thinlto-emit-imports",
        "-save-temps",
    ];
    arguments.extend(more);
    let mut expected = Vec::new();
    succeed(format!("llvm-lto2-{version}"), folder, &arguments);
    let of_module = |o: &&str| [format!("{o}.thinlto.bc"), format!("{o}.imports")];
    let of_link = ["lto.index.bc", "lto.index.dot"].map(str::to_owned);
    let names = || OBJECTS.iter().flat_map(of_module).chain(of_link.clone());
    for name in names() {
        expected.push(scratch.read(&name));
        std::fs::remove_file(folder.join(&name)).unwrap();
    }
    for threads in [1, 2, 3, 8].map(|n| format!("-thinlto-threads={n}")) {
        let mut arguments = arguments.clone();
        arguments.push(&threads);
        succeed(ours("llvm-lto2"), folder, &arguments);
        for (name, expected) in names().zip(&expected) {
            assert!(scratch.read(&name) == *expected, "{name} differs with {more:?} {threads}");
        }
    }
    expected.iter().skip(1).step_by(2).take(OBJECTS.len()).map(Vec::len).sum()
}

const SHARED_LIBRARY: &[&str] = &["-shared"];
const PROGRAM: &[&str] = &["-e", "main", "--unresolved-symbols=ignore-all"];

#[test]
fn a_link_is_planned_as_llvm_plans_it() {
    let scratch = Scratch::new("thinlink-plan");
    for version in [19, 22] {
        compile(&scratch, version, &[]);
        for flags in [SHARED_LIBRARY, PROGRAM] {
            resolutions(&scratch, version, flags);
            let bytes = compare(&scratch, version, &[]);
            assert!(bytes > 0, "nothing was imported, so that little was compared");
        }
    }
}

#[test]
fn modules_made_for_the_thin_link_alone_are_enough() {
    let scratch = Scratch::new("thinlink-small");
    scratch.write("shared.h", SHARED);
    for ((name, source), object) in SOURCES.iter().zip(OBJECTS) {
        scratch.write(name, source);
        let small = format!("-fthin-link-bitcode={object}.small");
        let arguments = ["-O2", "-fPIC", "-flto=thin", &small, "-c", name, "-o", object];
        succeed("clang++-22", scratch.path(), &arguments);
    }
    resolutions(&scratch, 22, PROGRAM);
    for object in OBJECTS {
        let small = scratch.read(&format!("{object}.small"));
        assert!(small.len() < scratch.read(object).len());
        scratch.write(object, small);
    }
    compare(&scratch, 22, &[]);
}

#[test]
fn options_steer_as_in_llvm() {
    let scratch = Scratch::new("thinlink-options");
    compile(&scratch, 22, &[]);
    resolutions(&scratch, 22, PROGRAM);
    compare(&scratch, 22, &["-import-instr-limit=0"]);
    for options in [
        &["-import-instr-limit=5"][..],
        &["-import-instr-limit=1000"],
        &["-import-instr-evolution-factor=0.1"],
        &["-import-cutoff=2"],
        &["-import-cutoff=0"],
        &["-import-constants-with-refs=false"],
        &["-import-declaration", "-import-instr-limit=5"],
        &["-compute-dead=false"],
        &["-propagate-attrs=false"],
        &["-enable-lto-internalization=false"],
        &["-disable-thinlto-funcattrs=false"],
        &["-force-import-all", "-import-instr-limit=1"],
        &["-O0"],
    ] {
        compare(&scratch, 22, options);
    }
    compare(&scratch, 22, &["-import-declaration", "-import-instr-limit=5", "-import-cutoff=3"]);
}

#[test]
fn a_profile_steers_as_in_llvm() {
    let scratch = Scratch::new("thinlink-profile");
    // A sample profile makes some calls hot and others cold, and names a local as a callee.
    let mut profile = String::new();
    for (function, heads, callee) in [
        ("main", 10_000, "_Z4stepi"),
        ("_Z6chain1i", 9_000, "_Z6chain2i"),
        ("_Z6chain2i", 9_000, "_Z6chain3i"),
        ("_Z6chain3i", 1, "_Z3bigi"),
        ("_Z3bigi", 20_000, "_Z4stepi"),
    ] {
        writeln!(
            profile,
            "{function}:{}:{heads}\n 1: {heads}\n 2: {heads} {callee}:{heads}",
            heads * 4
        )
        .unwrap();
    }
    scratch.write("profile.txt", profile);
    compile(&scratch, 22, &["-fprofile-sample-use=profile.txt", "-gmlt"]);
    resolutions(&scratch, 22, PROGRAM);
    compare(&scratch, 22, &[]);
    compare(&scratch, 22, &["-import-hot-multiplier=0.5", "-import-hot-evolution-factor=0.5"]);
    compare(&scratch, 22, &["-import-cold-multiplier=2", "-import-instr-limit=10"]);
}

#[test]
fn the_legacy_actions_write_what_llvms_do() {
    let scratch = Scratch::new("thinlink-legacy");
    compile(&scratch, 22, &[]);
    let folder = scratch.path();
    let both = |arguments: &[&str], files: &[String]| {
        let mut arguments = arguments.to_vec();
        arguments.extend(OBJECTS);
        succeed("llvm-lto-22", folder, &arguments);
        let expected: Vec<Vec<u8>> = files.iter().map(|name| scratch.read(name)).collect();
        for name in files {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        succeed(ours("llvm-lto"), folder, &arguments);
        for (name, expected) in files.iter().zip(expected) {
            assert!(scratch.read(name) == expected, "{name} differs with {arguments:?}");
        }
    };
    both(&["-thinlto-action=thinlink", "-o", "index"], &["index".into()]);
    both(&["-thinlto", "-o", "combined"], &["combined.thinlto.bc".into()]);
    let of = |suffix: &str| OBJECTS.iter().map(|o| format!("{o}.{suffix}")).collect::<Vec<_>>();
    for exported in [&[][..], &["-exported-symbol=main"]] {
        let arguments = |action| [&[action, "-thinlto-index=index"][..], exported].concat();
        both(&arguments("-thinlto-action=distributedindexes"), &of("thinlto.bc"));
        both(&arguments("-thinlto-action=emitimports"), &of("imports"));
    }
}

#[test]
fn symbols_are_dumped_as_llvm_dumps_them() {
    let scratch = Scratch::new("thinlink-symtab");
    compile(&scratch, 22, &[]);
    let arguments = [&["dump-symtab"][..], &OBJECTS].concat();
    let expected = succeed("llvm-lto2-22", scratch.path(), &arguments).stdout;
    assert!(succeed(ours("llvm-lto2"), scratch.path(), &arguments).stdout == expected);
}

/// Each clang reads the indexes of what it compiled.
#[test]
fn a_distributed_build_makes_a_program_that_runs() {
    for version in support::CLANGS {
        let scratch = Scratch::new(&format!("thinlink-distributed-{version}"));
        let folder = scratch.path();
        let clang = format!("clang-{version}");
        scratch.write("x.c", "extern int f(int); int main(void) { return f(20) - 41; }\n");
        scratch.write(
            "y.c",
            "static int g(int x) { return x * 2; } int f(int x) { return g(x) + 1; }\n",
        );
        for name in ["x", "y"] {
            let (source, object) = (format!("{name}.c"), format!("{name}.o"));
            succeed(&clang, folder, &["-O2", "-flto=thin", "-c", &source, "-o", &object]);
        }
        // What ld.lld says of a program of these two.
        let resolutions = "x.o\n-r=x.o,main,plx\n-r=x.o,f,\ny.o\n-r=y.o,f,pl\n";
        scratch.write("resolutions", resolutions);
        let arguments = [
            "run",
            "@resolutions",
            "-o",
            "out",
            "-thinlto-distributed-indexes",
            "-thinlto-emit-imports",
        ];
        succeed(ours("llvm-lto2"), folder, &arguments);
        assert_eq!(scratch.read("x.o.imports"), b"y.o\n");
        for name in ["x", "y"] {
            let index = format!("-fthinlto-index={name}.o.thinlto.bc");
            let (module, object) = (format!("{name}.o"), format!("{name}.native.o"));
            succeed(&clang, folder, &["-O2", "-x", "ir", &module, &index, "-c", "-o", &object]);
        }
        let calls = scratch.run("nm", "x.native.o");
        assert!(!calls.contains(" U f"), "{version} imports it: {calls}");
        succeed(&clang, folder, &["x.native.o", "y.native.o", "-o", "program"]);
        succeed(folder.join("program"), folder, &[]);
    }
}

#[test]
fn type_tests_are_refused_rather_than_taken_for_failed() {
    let scratch = Scratch::new("thinlink-cfi");
    let folder = scratch.path();
    let source = "typedef void (*F)(void); extern F f; int main(void) { f(); return 0; }\n";
    scratch.write("x.c", source);
    let compile = "-O2 -flto=thin -fvisibility=hidden -fsanitize=cfi-icall -fno-sanitize-ignorelist -c x.c -o x.o";
    succeed("clang-22", folder, &compile.split(' ').collect::<Vec<_>>());
    let symbols = succeed("llvm-lto2-22", folder, &["dump-symtab", "x.o"]).stdout;
    let symbols = String::from_utf8(symbols).unwrap();
    let names = symbols.lines().filter(|l| l.starts_with(['D', 'H'])).filter_map(|l| l.get(9..));
    let resolutions: Vec<String> = names.map(|name| format!("-r=x.o,{name},pl")).collect();
    let resolutions = resolutions.iter().map(String::as_str);
    // Where nothing is compiled, nothing says what is of a type.
    let arguments: Vec<&str> = ["why", "x.o", "f", "x.o"].into_iter().chain(resolutions).collect();
    let output = run(env!("CARGO_BIN_EXE_lto-index"), folder, &arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("x.o: the module has type tests"), "{text}");
}

#[test]
fn bad_input_is_named_and_leaves_no_index() {
    let scratch = Scratch::new("thinlink-bad");
    let folder = scratch.path();
    scratch.write("x.c", "int f(void); int main(void) { return f(); }\n");
    succeed("clang-22", folder, &["-O2", "-flto=thin", "-c", "x.c", "-o", "x.o"]);
    let fails = |arguments: &[&str], says: &[&str]| {
        let arguments =
            [&["run", "-o", "out", "-thinlto-distributed-indexes"][..], arguments].concat();
        let output = run(ours("llvm-lto2"), folder, &arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        for word in says {
            assert!(text.contains(word), "{arguments:?}: {text}");
        }
        assert!(!scratch.exists("x.o.thinlto.bc"), "{arguments:?}");
    };
    let good = ["-r=x.o,main,plx", "-r=x.o,f,"];
    fails(&["x.o", "-r=x.o,main,plx"], &["missing symbol resolution for x.o,f"]);
    fails(&[&["x.o", "-r=x.o,g,"][..], &good].concat(), &["unused symbol resolution for x.o,g"]);
    fails(&[&["x.o", "-r=y.o,g,"][..], &good].concat(), &["unused symbol resolution for y.o,g"]);
    fails(&["x.o", "-r=x.o,main,z"], &["invalid character z in resolution"]);
    fails(&["x.o", "-r=x.o"], &["invalid resolution: x.o"]);
    fails(&[&["x.o", "x.o"][..], &good, &good].concat(), &["x.o"]);
    fails(&["nowhere.o"], &["nowhere.o"]);
    scratch.write("half.o", &scratch.read("x.o")[..600]);
    fails(&["half.o"], &["half.o"]);
    // A folder that stands where the index is to go.
    std::fs::create_dir_all(folder.join("out/x.o.thinlto.bc")).unwrap();
    fails(
        &[&["x.o", "-thinlto-prefix-replace=;out/"][..], &good].concat(),
        &["x.o", "cannot write"],
    );
    let left: Vec<_> = std::fs::read_dir(folder.join("out")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // A combined index is no module, of whichever LLVM.
    let flags = ["-shared", "-o", "lib.so", "--thinlto-index-only", "x.o"];
    for version in [19, 22] {
        let clang = format!("clang-{version}");
        succeed(clang, folder, &["-O2", "-fPIC", "-flto=thin", "-c", "x.c", "-o", "x.o"]);
        succeed(format!("ld.lld-{version}"), folder, &flags);
        std::fs::rename(folder.join("x.o.thinlto.bc"), folder.join("index.o")).unwrap();
        fails(&["index.o"], &["index.o"]);
        fails(&[&["x.o", "index.o"][..], &good].concat(), &["index.o"]);
    }
    // A call of a value that the module does not have.
    let file = scratch.read("x.o");
    let names_nothing = |file: &[u8]| {
        let read = LTO::summary::read_index(file, b"x", &LTO::summary::ReadOptions::THIN_LINK);
        read.is_err_and(|error| error.to_string().contains("has no GUID"))
    };
    let broken = (0..file.len() * 8).find_map(|bit| {
        let mut broken = file.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        names_nothing(&broken).then_some(broken)
    });
    scratch.write("lacks.o", broken.expect("some bit is of a value's number"));
    fails(&["lacks.o", "-r=lacks.o,main,plx", "-r=lacks.o,f,"], &["lacks.o", "has no GUID"]);
}

/// Modules of several LLVMs in one link, as builds have them in the days of an update.
#[test]
fn modules_of_two_llvms_make_indexes_for_either() {
    let scratch = Scratch::new("thinlink-mixed");
    let folder = scratch.path();
    compile(&scratch, 22, &[]);
    succeed("clang++-19", folder, &["-O2", "-fPIC", "-flto=thin", "-c", "b.cpp", "-o", "b.o"]);
    resolutions(&scratch, 22, PROGRAM);
    let link = ["run", "@out.resolution.txt", "-o", "lto", "-thinlto-distributed-indexes"];
    let index = || scratch.read("main.o.thinlto.bc");
    for version in [19, 22] {
        let option = format!("-llvm-version={version}");
        succeed(ours("llvm-lto2"), folder, &[&link[..], &[&option]].concat());
        let asked = index();
        let llvm = format!("/usr/lib/llvm-{version}/lib");
        let mut named = Command::new(ours("llvm-lto2"));
        let named = named.current_dir(folder).args(link).env("LTO_LLVM", llvm).status();
        assert!(named.unwrap().success());
        assert!(index() == asked, "as the libLLVM that the user names: {version}");
        succeed(ours("llvm-lto2"), folder, &link);
        assert_eq!(index() == asked, version == 22, "as the newest module otherwise");
        succeed(ours("llvm-lto2"), folder, &[&link[..], &[&option]].concat());
        let dis = ["main.o.thinlto.bc", "-o", "-"];
        let text = succeed(format!("llvm-dis-{version}"), folder, &dis);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("path: \"b.o\""), "something is imported from b.o: {text}");
    }
}

/// A disk without room, played by a limit on the size of files.
#[test]
fn a_full_disk_leaves_no_half_files() {
    let scratch = Scratch::new("thinlink-full");
    compile(&scratch, 22, &[]);
    resolutions(&scratch, 22, PROGRAM);
    for name in scratch.files() {
        if name.ends_with(".thinlto.bc") {
            std::fs::remove_file(scratch.path().join(name)).unwrap();
        }
    }
    let before = scratch.files();
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" run @out.resolution.txt -o lto \
                  -thinlto-distributed-indexes -thinlto-emit-imports";
    let mut command = Command::new("sh");
    command.current_dir(scratch.path()).args(["-c", script]).arg(ours("llvm-lto2"));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("main.o") && text.contains("cannot write"), "{text}");
    assert_eq!(scratch.files(), before);
}

/// LLVM walks a set of pointers here, so that the order of records is not always the same: entries
/// are compared, not bytes.
#[test]
fn a_workload_definition_takes_the_place_of_the_limits() {
    let scratch = Scratch::new("thinlink-workload");
    let folder = scratch.path();
    let indexes = || OBJECTS.map(|object| format!("{object}.thinlto.bc"));
    for version in [19, 22] {
        compile(&scratch, version, &[]);
        resolutions(&scratch, version, PROGRAM);
        scratch.write(
            "work.json",
            // main with what is too large for it, a local function, itself, and what nobody defines.
            r#"{ "main": ["_Z3bigi", "_ZL6helperi", "main", "nonesuch", "_Z8weak_onev"],
                 "_Z6chain2i": [], "nowhere": ["main"], "_ZN3BoxIiE3getEv": ["main"] }"#,
        );
        let common = [
            "run",
            "@out.resolution.txt",
            "-o",
            "lto",
            "-thinlto-distributed-indexes",
            "-thinlto-emit-imports",
            "-thinlto-workload-def=work.json",
        ];
        succeed(format!("llvm-lto2-{version}"), folder, &common);
        let imports = || OBJECTS.map(|object| scratch.read(&format!("{object}.imports")));
        let theirs = imports();
        for index in indexes() {
            std::fs::rename(folder.join(&index), folder.join(format!("{index}.llvm"))).unwrap();
        }
        let version = format!("-llvm-version={version}");
        succeed(ours("llvm-lto2"), folder, &[&common[..], &[&version]].concat());
        assert!(imports() == theirs, "{version}");
        for index in indexes() {
            let llvm = format!("{index}.llvm");
            let diff = run(env!("CARGO_BIN_EXE_lto-index"), folder, &["diff", &index, &llvm]);
            assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
        }
        // It is not what the limits would have given.
        let why = ["why", "main.o", "_Z3bigi", "@out.resolution.txt"];
        let limits = run(env!("CARGO_BIN_EXE_lto-index"), folder, &why);
        assert_eq!(limits.status.code(), Some(1));
        let definition = "-thinlto-workload-def=work.json";
        let said =
            run(env!("CARGO_BIN_EXE_lto-index"), folder, &[&why[..], &[definition]].concat());
        assert!(String::from_utf8_lossy(&said.stdout).contains("the workload definition asks"));
    }
    for (file, words) in [("main.o", "Invalid thinlto contextual profile"), ("none", "none")] {
        let option = format!("-thinlto-workload-def={file}");
        let arguments =
            ["run", "@out.resolution.txt", "-o", "lto", "-thinlto-distributed-indexes", &option];
        let output = run(ours("llvm-lto2"), folder, &arguments);
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// Five sources, linked to objects: with promoted locals named after the module's hash, and after
/// its source.
#[test]
fn promoted_locals_have_llvms_names() {
    let s = Scratch::new("thinlink-promoted");
    compile(&s, 22, &[]);
    resolutions(&s, 22, PROGRAM);
    for option in ["", "-use-source-filename-for-promoted-locals"] {
        let args = format!("run @out.resolution.txt {option} -o");
        s.run("llvm-lto2-22", &format!("{args} theirs"));
        let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto2"), &format!("{args} ours"));
        command.env("LTO_LLVM", support::llvm(22));
        support::checked(command);
        let mut names = String::new();
        for number in 1..=SOURCES.len() {
            let (ours, theirs) = (format!("ours.{number}"), format!("theirs.{number}"));
            assert!(s.read(&ours) == s.read(&theirs), "{option} {number}");
            names += &s.run("nm", &ours);
        }
        let by_source = names.lines().any(|l| l.contains(".llvm.") && l.ends_with("_cpp"));
        assert_eq!(by_source, !option.is_empty(), "{names}");
    }
}

#[test]
fn entry_counts_are_guessed_as_by_llvm_19() {
    let scratch = Scratch::new("thinlink-entry-counts");
    compile(&scratch, 19, &["-mllvm", "-write-relbf-to-summary"]);
    for flags in [SHARED_LIBRARY, PROGRAM] {
        resolutions(&scratch, 19, flags);
        compare(&scratch, 19, &["-thinlto-synthesize-entry-counts"]);
    }
    let counted = scratch.run("llvm-bcanalyzer-19", "-dump main.o.thinlto.bc");
    let counts = counted.lines().filter(|line| line.contains("<COMBINED_PROFILE"));
    let counts: Vec<&str> = counts.filter_map(|line| line.split(" op5=").nth(1)).collect();
    assert!(counts.iter().any(|rest| rest.starts_with("10 ")), "{counts:?}");
    assert!(counts.iter().any(|rest| !rest.starts_with("10 ") && !rest.starts_with("0 ")));
    // LLVM 22 does not know it, and no backend of ours writes counts into functions.
    let link = ["run", "@out.resolution.txt", "-o", "lto", "-thinlto-synthesize-entry-counts"];
    for (more, complaint) in [
        (&["-thinlto-distributed-indexes", "-llvm-version=22"][..], "LLVM 22 has no"),
        (&["-llvm-version=19"], "distributed builds only"),
    ] {
        let output = run(ours("llvm-lto2"), scratch.path(), &[&link[..], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(complaint), "{said}");
    }
}

#[test]
fn what_llvm_shows_of_a_link_is_shown() {
    let scratch = Scratch::new("thinlink-shown");
    compile(&scratch, 22, &[]);
    resolutions(&scratch, 22, PROGRAM);
    // Three functions in a circle that main reaches, and one that calls itself.
    scratch.write(
        "circle.c",
        "int a(int); int b(int); int c(int); int alone(int);\n\
         int a(int x) { return x ? b(x - 1) + 1 : 0; }\n\
         int b(int x) { return x ? c(x - 1) * 2 : 1; }\n\
         int c(int x) { return x ? a(x - 1) + alone(x) : 2; }\n\
         static int hidden(int x) { return x; }\n\
         int alone(int x) { return x > 3 ? alone(x / 2 + hidden(x)) * 3 + b(1) : x; }\n\
         int main(void) { return a(5); }\n",
    );
    scratch.clang(22, "-O0 -Xclang -disable-O0-optnone -flto=thin -c circle.c -o circle.o");
    let circle = ["run", "circle.o", "-o", "circle", "-r=circle.o,main,plx"];
    let more = ["-r=circle.o,a,pl", "-r=circle.o,b,pl", "-r=circle.o,c,pl", "-r=circle.o,alone,pl"];
    let link = ["run", "@out.resolution.txt", "-o", "lto", "-thinlto-distributed-indexes"];
    let shown = ["-print-summary-global-ids", "-dump-thin-cg-sccs"];
    for arguments in [[&circle[..], &more, &shown].concat(), [&link[..], &shown].concat()] {
        let theirs = succeed("llvm-lto2-22", scratch.path(), &arguments);
        let ours = succeed(ours("llvm-lto2"), scratch.path(), &arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&ours.stdout), text(&theirs.stdout));
        assert_eq!(text(&ours.stderr), text(&theirs.stderr));
        assert!(text(&ours.stdout).contains("SCC (1 node) {"));
    }
    // What is not imported, with thresholds that let little through.
    for more in [&[][..], &["-import-instr-limit=5"], &["-import-instr-evolution-factor=0.1"]] {
        let arguments = [&link[..], &["-print-import-failures"], more].concat();
        let theirs = succeed("llvm-lto2-22", scratch.path(), &arguments);
        let ours = succeed(ours("llvm-lto2"), scratch.path(), &arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&ours.stderr), text(&theirs.stderr));
        assert!(text(&ours.stderr).contains("Reason = TooLarge") || more.is_empty());
    }
}
