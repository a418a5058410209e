//! The C contract, proven by C: builds each program of capi-tests with the system's compiler and
//! runs it on the library that cargo built. A program returns 0 if all it checks holds.
//!
//! Inputs are made by the newest clang there is, and code by the libLLVM beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use LTO::bitcode::block_id;
use LTO::bitstream::{Abbrev, Scalar, Tail, Writer};
use LTO::summary::fs;

/// The shared library that cargo built along with this test.
fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libLTO.so")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for what the tests make.
fn scratch() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}\n{err}", output.status);
    output
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The newest clang, and its version.
fn clang() -> (&'static str, u32) {
    static FOUND: OnceLock<(String, u32)> = OnceLock::new();
    let (program, version) = FOUND.get_or_init(|| {
        (14..=40)
            .rev()
            .map(|version| (format!("clang-{version}"), version))
            .find(|(clang, _)| Command::new(clang).arg("--version").output().is_ok())
            .expect("these tests need a clang-14 or newer to make their inputs")
    });
    (program, *version)
}

/// Bitcode of a file of capi-tests/inputs, compiled with `flags`.
fn bitcode(input: &str, name: &str, flags: &[&str]) -> PathBuf {
    let output = scratch().join(name);
    let source = root().join("capi-tests/inputs").join(input);
    let mut command = Command::new(clang().0);
    // A file of its own for each test that makes it, so that none reads what another writes.
    let unique = output.with_extension(format!("{:?}.tmp", std::thread::current().id()));
    command.args(["-O1", "-flto", "-c"]).args(flags).arg(source).arg("-o").arg(&unique);
    run(&mut command);
    std::fs::rename(unique, &output).unwrap();
    output
}

/// Builds a program of capi-tests against the headers in `include`.
fn build(program: &str, include: &Path, name: &str) -> PathBuf {
    let output = scratch().join(name);
    let mut command = match program.ends_with(".cpp") {
        true => Command::new("c++"),
        false => Command::new("cc"),
    };
    if program.ends_with(".cpp") {
        command.arg("-std=c++11");
    } else {
        command.arg("-std=gnu11");
    }
    command.args(["-Wall", "-Wextra", "-Werror", "-O1", "-g", "-I", text(include)]);
    command.arg(root().join("capi-tests").join(program)).arg("-o").arg(&output);
    run(command.args(["-ldl", "-lpthread"]));
    output
}

fn include() -> PathBuf {
    root().join("include")
}

/// The libLLVM that belongs to the clang that made the inputs.
fn libllvm() -> Option<PathBuf> {
    let path = PathBuf::from(format!("/usr/lib/llvm-{}/lib/libLLVM.so", clang().1));
    path.exists().then_some(path)
}

/// A command that runs a built program on our library.
fn on_ours(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(library()).env("LTO_WORKER", env!("CARGO_BIN_EXE_lto-worker"));
    if let Some(libllvm) = libllvm() {
        command.env("LTO_LLVM", libllvm);
    }
    command
}

/// Builds a program and runs it on our library with a module for this machine.
fn check(program: &str, name: &str) {
    let module = bitcode("program.c", &format!("{name}.bc"), &[]);
    let program = build(program, &include(), name);
    run(on_ours(&program).arg(&module));
    // The same without worker processes.
    run(on_ours(&program).arg(&module).env("LTO_ENGINE", "in-process"));
}

#[test]
fn wrong_arguments_are_errors() {
    check("arguments.c", "arguments");
}

#[test]
fn strings_and_objects_outlive_what_they_must() {
    check("lifetimes.c", "lifetimes");
}

#[test]
fn threads_have_their_own_errors() {
    check("threads.c", "threads");
}

#[test]
fn unloading_leaves_nothing_behind() {
    check("reload.c", "reload");
}

#[test]
fn handlers_may_throw() {
    check("throwing.cpp", "throwing");
}

#[test]
fn damaged_input_is_an_error() {
    let module = bitcode("program.c", "bad_input.bc", &[]);
    let folder = scratch().join("bad_input.d");
    std::fs::create_dir_all(&folder).unwrap();
    let program = build("bad_input.c", &include(), "bad_input");
    run(on_ours(&program).arg(&module).arg(&folder));
}

/// A module that the libLLVM at hand cannot read: the error says who wrote it.
#[test]
fn a_newer_producer_is_named() {
    // Where the packages of the library itself put it; libLLVM.so alone comes with those for
    // developers.
    let older = [14, 15, 16].map(|v| format!("/usr/lib/x86_64-linux-gnu/libLLVM-{v}.so.1"));
    let older = older.iter().find(|path| Path::new(path).exists());
    let older = older.expect("no older libLLVM: see scripts/install-test-deps.sh");
    let (_, version) = clang();
    let drive = build("drive.c", &include(), "drive-newer");
    let module = bitcode("program.c", "newer.bc", &[]);
    let mut command = on_ours(&drive);
    command.env("LTO_LLVM", older).args(["-p", "main", "-o", "/dev/null"]).arg(&module);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("LLVM{version}")) && said.contains("cannot read"), "{said}");
    assert!(said.contains("newer.bc: "), "{said}");
}

struct Mac {
    target: &'static str,
    prefix: &'static str,
    triple: &'static str,
    cpu: &'static str,
    subtype: &'static str,
}

const MACS: [Mac; 2] = [
    Mac {
        target: "x86_64-apple-macosx11",
        prefix: "x86_64-",
        triple: "x86_64-apple-macosx",
        cpu: "0x1000007",
        subtype: "3",
    },
    Mac {
        target: "arm64-apple-macosx11",
        prefix: "arm64-",
        triple: "arm64-apple-macosx",
        cpu: "0x100000c",
        subtype: "0",
    },
];

#[test]
fn ld64_calls() {
    let program = build("ld64.c", &include(), "ld64");
    for mac in MACS {
        let name = |what: &str| format!("ld64-{}{what}", mac.prefix);
        let main = bitcode("macos_main.c", &name("main.o"), &["-target", mac.target]);
        let other = bitcode("macos_other.c", &name("other.o"), &["-target", mac.target]);
        let damaged = scratch().join(name("damaged.o"));
        let bytes = std::fs::read(&main).unwrap();
        std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
        let output = scratch().join(name("out.o"));
        run(on_ours(&program)
            .args([mac.prefix, mac.triple, mac.cpu])
            .args([&main, &other, &damaged, &output]));
        // What nobody outside needs is gone, what they do need is not.
        let bytes = std::fs::read(&output).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        use object::{Object, ObjectSymbol};
        let globals: Vec<&str> = file
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.is_global())
            .map(|symbol| symbol.name().unwrap())
            .collect();
        assert_eq!(globals, ["_main"], "{}", mac.target);
        assert!(!bytes.windows(6).any(|at| at == b"unused"), "{}", mac.target);
    }
}

#[test]
fn cctools_calls() {
    let program = build("cctools.c", &include(), "cctools");
    for mac in MACS {
        let name = format!("cctools-{}other.o", mac.prefix);
        let module = bitcode("macos_other.c", &name, &["-target", mac.target]);
        run(on_ours(&program).args([mac.cpu, mac.subtype]).arg(module).args([
            "_helper",
            "_weak_one",
            "_hidden_one",
            "_data_one",
            "_constant_one",
        ]));
    }
}

/// LLVM's header and library of the version whose interface ours is.
const LLVM_HEADERS: &str = "/usr/lib/llvm-22/include";
const LLVM_LIBRARY: &str = "/usr/lib/llvm-22/lib/libLTO.so";

#[test]
fn both_headers_go_with_both_libraries() {
    let module = bitcode("program.c", "compat.bc", &["-flto=thin"]);
    let libraries = bitcode("library.c", "compat-library.bc", &["-target", "x86_64-linux-gnu"]);
    let ours = build("compat.c", &include(), "compat-ours");
    let mut printed = Vec::new();
    let mut programs = vec![ours];
    if Path::new(LLVM_HEADERS).join("llvm-c/lto.h").exists() {
        programs.push(build("compat.c", Path::new(LLVM_HEADERS), "compat-llvm"));
    }
    for (at, program) in programs.iter().enumerate() {
        for (input, what) in [(&module, "program"), (&libraries, "library")] {
            let object = scratch().join(format!("compat-{at}-{what}-ours.o"));
            let output = run(on_ours(program).arg(input).arg(&object));
            printed.push((what, output.stdout, std::fs::read(&object).unwrap()));
            if Path::new(LLVM_LIBRARY).exists() && clang().1 <= 22 {
                let object = scratch().join(format!("compat-{at}-{what}-llvm.o"));
                let mut command = Command::new(program);
                let output = run(command.arg(LLVM_LIBRARY).arg(input).arg(&object));
                printed.push((what, output.stdout, std::fs::read(&object).unwrap()));
            }
        }
    }
    for (what, stdout, object) in &printed {
        let first = printed.iter().find(|(other, ..)| other == what).unwrap();
        assert_eq!(String::from_utf8_lossy(stdout), String::from_utf8_lossy(&first.1));
        // The objects are the same bytes where both used LLVM 22.
        assert!(clang().1 != 22 || *object == first.2, "the objects of {what} differ");
    }
    let library = printed.iter().find(|(what, ..)| *what == "library").unwrap();
    let library = String::from_utf8_lossy(&library.1);
    assert!(library.contains("library m\n") && library.contains("library pthread\n"), "{library}");
}

#[test]
fn the_runtime_symbols_are_those_of_llvm() {
    let program = build("runtime_symbols.c", &include(), "runtime_symbols");
    let ours = run(&mut on_ours(&program));
    let ours: Vec<&str> = std::str::from_utf8(&ours.stdout).unwrap().lines().collect();
    assert_eq!(ours.len(), 456);
    for name in ["memcpy", "__divti3", "__atomic_load_8"] {
        assert!(ours.contains(&name), "{name}");
    }
    // LLVM 14 returns a static table too; later ones return memory that is freed already.
    let old = "/usr/lib/llvm-14/lib/libLTO.so";
    if Path::new(old).exists() {
        let theirs = run(Command::new(&program).arg(old));
        for name in std::str::from_utf8(&theirs.stdout).unwrap().lines() {
            assert!(ours.contains(&name), "{name}");
        }
    }
}

/// The object is linked by the system's compiler, and the program does what it did without LTO.
#[test]
fn objects_make_programs() {
    let drive = build("drive.c", &include(), "drive");
    let module = bitcode("program.c", "drive.bc", &[]);
    for (at, flags) in [
        &["-r", "1"][..],
        &["-r", "0"],
        &["-s", "-d", "-O0"],
        &["-f", "-D", "-O3 -function-sections"],
        &["-n"],
        &["-i", "-d", "-mattr=+sse3"],
    ]
    .into_iter()
    .enumerate()
    {
        let object = scratch().join(format!("drive-{at}.o"));
        let program = scratch().join(format!("drive-{at}"));
        let mut command = on_ours(&drive);
        run(command.args(["-p", "main"]).args(flags).arg(&module).arg("-o").arg(&object));
        let mut cc = Command::new("cc");
        cc.arg(if flags.contains(&"0") { "-no-pie" } else { "-pie" });
        run(cc.arg(&object).arg("-o").arg(&program));
        let output = run(&mut Command::new(&program));
        assert_eq!(output.stdout, b"24\n", "{flags:?}");
    }
}

/// C++ of two files, linked and run; and where LLVM's libLTO is at hand, the same bytes as its
/// objects and its merged modules.
#[test]
fn cxx_is_put_together_as_llvm_does() {
    let drive = build("drive.c", &include(), "drive-cxx");
    let names = |what: &str| scratch().join(format!("cxx-{what}"));
    for (at, how) in [["-O2", "-fPIC"], ["-O0", "-g"], ["-O2", "-flto=thin"]].iter().enumerate() {
        let flags = [&how[..], &["-fno-builtin"]].concat();
        let main = bitcode("cxx_main.cpp", &format!("cxx-main-{at}.bc"), &flags);
        let other = bitcode("cxx_other.cpp", &format!("cxx-other-{at}.bc"), &flags);
        for (n, steps) in
            [&["-r", "1"][..], &["-r", "1", "-d", "-O3", "-u"], &["-n"]].iter().enumerate()
        {
            let (merged, object, program) = (names("our.bc"), names("our.o"), names("program"));
            let arguments = |merged: &Path, object: &Path| {
                let mut list: Vec<String> =
                    ["-p", "main"].iter().chain(*steps).map(|s| s.to_string()).collect();
                for word in ["-m", text(merged), "-o", text(object), text(&main), text(&other)] {
                    list.push(word.to_owned());
                }
                list
            };
            run(on_ours(&drive).args(arguments(&merged, &object)));
            run(Command::new("c++").arg(&object).arg("-o").arg(&program));
            let output = run(&mut Command::new(&program));
            assert_eq!(output.stdout, b"thrown\n2 11 5 5 2\n", "{how:?} {steps:?}");
            if clang().1 == 22 && Path::new(LLVM_LIBRARY).exists() {
                let (their_merged, their_object) = (names("their.bc"), names("their.o"));
                let mut llvm = Command::new(&drive);
                run(llvm.arg(LLVM_LIBRARY).args(arguments(&their_merged, &their_object)));
                let same =
                    |a: &Path, b: &Path| std::fs::read(a).unwrap() == std::fs::read(b).unwrap();
                assert!(same(&object, &their_object), "objects differ: {at} {n}");
                assert!(same(&merged, &their_merged), "merged modules differ: {at} {n}");
            }
        }
    }
}

/// Modules that cannot be linked: the error names the one that does not fit.
#[test]
fn what_cannot_be_linked_is_named() {
    let drive = build("drive.c", &include(), "drive-twice");
    let first = bitcode("program.c", "twice-first.bc", &[]);
    let second = bitcode("program.c", "twice-second.bc", &[]);
    let mut command = on_ours(&drive);
    let output = command.args(["-o", "/dev/null"]).args([&first, &second]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("twice-second.bc: ") && said.contains("multiply defined"), "{said}");
}

/// Everything that LLVM's libLTO and ours say of the same modules.
#[test]
fn symbols_are_those_of_llvm() {
    if !Path::new(LLVM_LIBRARY).exists() || clang().1 > 22 {
        return;
    }
    let program = build("symbols.c", &include(), "symbols");
    let mut inputs = Vec::new();
    for (at, target) in [
        "x86_64-linux-gnu",
        "aarch64-linux-gnu",
        "i686-linux-gnu",
        "arm64-apple-macosx11",
        "x86_64-apple-macosx11",
        "armv7-apple-ios7",
        "x86_64-pc-windows-msvc",
        "i686-pc-windows-msvc",
        "riscv64-linux-gnu",
    ]
    .iter()
    .enumerate()
    {
        for source in ["macos_main.c", "macos_other.c", "library.c", "program.c"] {
            // The program's constructor attribute and printf are for every target.
            let flags = ["-target", target, "-ffreestanding", "-w"];
            inputs.push(bitcode(source, &format!("symbols-{at}-{source}.bc"), &flags));
            let thin = ["-target", target, "-ffreestanding", "-w", "-flto=thin", "-g"];
            inputs.push(bitcode(source, &format!("symbols-{at}-{source}.thin.bc"), &thin));
        }
    }
    for flags in [&[][..], &["-m"]] {
        let ours = run(on_ours(&program).args(flags).args(&inputs));
        let theirs = run(Command::new(&program).arg(LLVM_LIBRARY).args(flags).args(&inputs));
        let (ours, theirs) =
            (String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&theirs.stdout));
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            // LLVM reads no metadata in a local context and so knows no options there; we do.
            let unknown = flags.is_empty() && theirs == "  linkeropts";
            assert!(ours == theirs || unknown && ours.starts_with(theirs), "{ours} | {theirs}");
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());
        assert!(ours.lines().count() > 10 * inputs.len() / 2);
    }
}

#[test]
fn the_thinlto_file_api() {
    let thin = ["-flto=thin"];
    let module = bitcode("program.c", "thinlto_file.bc", &thin);
    let plain = bitcode("program.c", "thinlto_file.plain.bc", &["-emit-llvm", "-fno-lto"]);
    let other = bitcode("program.c", "thinlto_file.other.bc", &thin);
    let folder = scratch().join("thinlto_file.d");
    std::fs::create_dir_all(&folder).unwrap();
    let program = build("thinlto_file.c", &include(), "thinlto_file");
    run(on_ours(&program).args([&module, &plain, &other, &folder]));
}

#[test]
fn the_rare_parts_of_summaries() {
    let version = clang().1;
    let llvm = |tool: &str, args: &[&str], input: &str, name: &str| {
        let output = scratch().join(name);
        let input = root().join("capi-tests/inputs").join(input);
        let mut command = Command::new(format!("{tool}-{version}"));
        run(command.args(args).arg(input).arg("-o").arg(&output));
        output
    };
    let module = llvm("opt", &["-module-summary"], "rare.ll", "rare.bc");
    let index = llvm("llvm-as", &[], "rare_index.ll", "rare_index.bc");
    let full = bitcode("program.c", "thinlto_rare.full.bc", &[]);
    let cfi = scratch().join("thinlto_rare.cfi.bc");
    std::fs::write(&cfi, index_of_cfi_functions()).unwrap();
    let program = build("thinlto_rare.c", &include(), "thinlto_rare");
    run(on_ours(&program).args([&module, &index, &cfi, &full]));
}

/// A combined index of nothing but CFI functions: two that are defined, one that is declared. They
/// get into an index by a thin link alone, of a program with a regular LTO part.
fn index_of_cfi_functions() -> Vec<u8> {
    let mut w = Writer::new();
    w.bytes(b"BC\xC0\xDE");
    let module = w.begin_block(2, block_id::MODULE, 3);
    w.record(3, 1, &[2]);
    let paths = w.begin_block(3, block_id::MODULE_STRTAB, 3);
    w.end_block(paths);
    let summary = w.begin_block(3, block_id::GLOBALVAL_SUMMARY, 4);
    w.record(4, fs::VERSION, &[12]);
    w.record(4, fs::FLAGS, &[0]);
    w.record(4, fs::CFI_FUNCTION_DEFS, &[0, 7, 7, 7]);
    w.record(4, fs::CFI_FUNCTION_DECLS, &[14, 8]);
    w.end_block(summary);
    w.end_block(module);
    let strtab = w.begin_block(2, block_id::STRTAB, 3);
    let blob = Abbrev { scalars: vec![Scalar::Literal(1)], tail: Tail::Blob };
    w.define_abbrev(3, &blob);
    w.abbreviated(3, 4, &blob, 1, &[], Some(b"definedanotherdeclared"));
    w.end_block(strtab);
    w.finish()
}

#[test]
fn the_thin_link_of_the_thinlto_file_api() {
    let folder = scratch().join("thinlto_link.d");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let thin = ["-flto=thin", "-O2"];
    let program = bitcode("program.c", "thinlto_link.d/program.bc", &thin);
    let library = bitcode("library.c", "thinlto_link.d/library.bc", &thin);
    let regular = bitcode("library.c", "thinlto_link.d/regular.bc", &[]);
    let test = build("thinlto_link.c", &include(), "thinlto_link");
    let written = |out: &str, module: &Path, suffix: &str| {
        std::fs::read(format!("{}/{}{suffix}", text(&folder.join(out)), text(module)))
    };

    // The same files and resolutions through LLVM's program.
    let out = folder.join("out");
    std::fs::create_dir_all(&out).unwrap();
    let said = run(on_ours(&test).arg(&out).args([&program, &library])).stdout;
    let resolutions = folder.join("resolutions");
    std::fs::write(&resolutions, said).unwrap();
    let lto2 = format!("llvm-lto2-{}", clang().1);
    let indexes = ["-thinlto-distributed-indexes", "-thinlto-emit-imports"];
    run(Command::new(lto2)
        .args(["run", &format!("@{}", text(&resolutions)), "-o", text(&folder.join("lto"))])
        .args(indexes)
        .args(["-import-instr-limit=50", text(&program), text(&library)]));
    for module in [&program, &library] {
        for suffix in [".thinlto.bc", ".imports"] {
            let llvm = std::fs::read(format!("{}{suffix}", text(module))).unwrap();
            assert!(written("out", module, suffix).unwrap() == llvm, "{module:?}{suffix}");
        }
    }
    let list = std::fs::read_to_string(out.join("list")).unwrap();
    assert_eq!(list, format!("native/{}\nnative/{}\n", text(&program), text(&library)));
    let skipped = std::fs::read(out.join("unused.o.thinlto.bc")).unwrap();
    assert!(skipped.starts_with(b"BC\xc0\xde"), "an index that says to skip");

    // With a member of an archive, and a module without a summary.
    let archive = folder.join("libx.a");
    let mut bytes = b"!<arch>\nlibrary.bc/     0           0     0     644     ".to_vec();
    let member = std::fs::read(&library).unwrap();
    bytes.extend(format!("{:<10}`\n", member.len()).bytes());
    assert_eq!(bytes.len(), 68);
    bytes.extend(&member);
    std::fs::write(&archive, bytes).unwrap();
    let out = folder.join("with-archive");
    std::fs::create_dir_all(&out).unwrap();
    let place = format!("{}@68", text(&archive));
    run(on_ours(&test).arg(&out).arg(&program).arg(place).arg(&regular));
    let name = folder.join("libx.a.llvm.68.library.c");
    assert!(written("with-archive", &name, "").unwrap() == member);
    assert!(!written("with-archive", &name, ".thinlto.bc").unwrap().is_empty());
    assert!(written("with-archive", &regular, ".thinlto.bc").unwrap().is_empty());
    assert!(std::fs::read(out.join("regular.o")).unwrap().starts_with(b"\x7fELF"));
    let list = std::fs::read_to_string(out.join("list")).unwrap();
    assert_eq!(list, format!("native/{}\nnative/{}\n", text(&program), text(&name)));
}
