//! `thinlto_codegen_*`, called by a C program as ld64 calls it, on our library and on LLVM's own: the
//! same objects, names of files and stages; and the cache, whatever happens to it meanwhile.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{Scratch, library, llvm};

const LLVMS_LIBRARY: &str = "/usr/lib/llvm-22/lib/libLTO.so";

/// A folder with the C program, and what is made with it.
struct Bench {
    scratch: Scratch,
    modules: Vec<String>,
    preserve: &'static str,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn checked(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}\n{err}", output.status);
    output
}

impl Bench {
    /// Compiles files of capi-tests/inputs to modules with summaries.
    fn new(name: &str, inputs: &[&str], flags: &str, preserve: &'static str) -> Self {
        let scratch = Scratch::new(&format!("thinlto-codegen-{name}"));
        let header = root().join("include");
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-I"]).arg(header);
        cc.arg(root().join("capi-tests/thinlto.c")).arg("-o").arg(scratch.path().join("thinlto"));
        checked(cc.arg("-ldl"));
        let mut modules = Vec::new();
        for (number, input) in inputs.iter().enumerate() {
            let module = format!("m{number}.bc");
            let source = root().join("capi-tests/inputs").join(input);
            let source = source.display();
            scratch.clang(22, &format!("-O2 -flto=thin {flags} -c {source} -o {module}"));
            modules.push(module);
        }
        Bench { scratch, modules, preserve }
    }

    fn command(&self, library: &Path, mode: &str, out: &str, cache: &str) -> Command {
        fs::create_dir_all(self.scratch.path().join(out)).unwrap();
        let mut command = self.scratch.command("./thinlto", "");
        command.env("LTO_LLVM", llvm(22));
        command.arg(library).args([mode, out, cache, self.preserve]).args(&self.modules);
        command
    }

    fn ours(&self, mode: &str, out: &str, cache: &str) -> String {
        text(checked(&mut self.command(&library(), mode, out, cache)).stdout)
    }

    fn llvms(&self, mode: &str, out: &str) -> String {
        text(checked(&mut self.command(Path::new(LLVMS_LIBRARY), mode, out, "-")).stdout)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The files of a folder, sorted, with what is in them.
    fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn names(&self, folder: &str) -> Vec<String> {
        self.files(folder).into_iter().map(|(name, _)| name).collect()
    }

    fn entries(&self, cache: &str) -> Vec<PathBuf> {
        let names = self.names(cache);
        let entries = names.iter().filter(|name| name.starts_with("llvmcache-"));
        entries.map(|name| self.path(cache).join(name)).collect()
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn same(what: &str, ours: &[(String, Vec<u8>)], theirs: &[(String, Vec<u8>)]) {
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(ours), names(theirs), "{what}");
    assert!(!ours.is_empty(), "{what}: nothing to compare");
    for ((name, our), (_, their)) in ours.iter().zip(theirs) {
        assert!(our == their, "{what}: {name} differs");
    }
}

const CXX: [&str; 2] = ["cxx_main.cpp", "cxx_other.cpp"];
const MACOS: [&str; 2] = ["macos_main.c", "macos_other.c"];

/// Modules of several kinds.
fn benches(test: &str) -> Vec<Bench> {
    let mut benches = Vec::new();
    for (name, flags) in [("plain", ""), ("pic", "-fPIC"), ("g", "-g"), ("O0", "-O0 -fno-inline")] {
        benches.push(Bench::new(&format!("{test}-{name}"), &CXX, flags, "main"));
    }
    for target in ["x86_64-apple-macosx11", "arm64-apple-macosx11"] {
        let flags = format!("-target {target}");
        benches.push(Bench::new(&format!("{test}-{target}"), &MACOS, &flags, "_main"));
    }
    benches.push(Bench::new(&format!("{test}-one"), &["program.c"], "", "main"));
    benches
}

#[test]
fn objects_are_llvms() {
    for bench in benches("objects") {
        // In memory; in files; code generation only.
        for (mode, out) in [("m", "memory"), ("f", "files"), ("mc", "codegen")] {
            let what = format!("{} {mode}", bench.path(out).display());
            let (ours, theirs) = (format!("ours-{out}"), format!("llvms-{out}"));
            assert_eq!(bench.ours(mode, &ours, "-"), bench.llvms(mode, &theirs), "{what}");
            same(&what, &bench.files(&ours), &bench.files(&theirs));
        }
    }
}

/// Every stage under LLVM's names, as llvm-dis shows it: but for the attribute "thinlto-internalize",
/// by which LLVM remembers what it will do, and the order of a block's predecessors, which is that
/// of uses.
#[test]
fn stages_are_llvms() {
    for bench in benches("stages") {
        bench.ours("ms", "ours", "-");
        bench.llvms("ms", "llvms");
        assert_eq!(bench.names("ours"), bench.names("llvms"));
        let stages: Vec<String> =
            bench.names("ours").into_iter().filter(|name| name.ends_with(".bc")).collect();
        assert!(stages.contains(&"index.bc".to_owned()), "{stages:?}");
        for stage in stages {
            if stage == "index.bc" {
                let [ours, theirs] =
                    ["ours", "llvms"].map(|f| bench.scratch.read(&format!("{f}/{stage}")));
                assert!(ours == theirs, "{} {stage} differs", bench.path("ours").display());
                continue;
            }
            let show = |folder: &str| {
                let shown = bench.scratch.run("llvm-dis-22", &format!("{folder}/{stage} -o -"));
                shown.lines().filter_map(plain).collect()
            };
            let (ours, theirs): (Vec<String>, Vec<String>) = (show("ours"), show("llvms"));
            assert!(ours == theirs, "{} {stage} differs", bench.path("ours").display());
        }
    }
}

/// A line of IR without comments and without the numbers of attribute groups.
fn plain(line: &str) -> Option<String> {
    if line.starts_with("; ModuleID") || line.starts_with("attributes #") {
        return None;
    }
    let code = line.split("; preds").next().unwrap_or_default().trim_end();
    let words = code.split(' ').filter(|word| !word.starts_with('#'));
    Some(words.collect::<Vec<_>>().join(" "))
}

#[test]
fn a_second_link_takes_everything_from_the_cache() {
    let bench = Bench::new("second", &CXX, "-g", "main");
    let first = bench.ours("m", "first", "cache");
    let cold = bench.files("first");
    assert_eq!(bench.entries("cache").len(), 2, "{:?}", bench.names("cache"));
    assert!(bench.names("cache").contains(&"llvmcache.timestamp".to_owned()));
    assert_eq!(bench.names("cache").len(), 3, "nothing that LLVM would not have");
    let second = bench.ours("mw", "second", "cache");
    assert_eq!(first, second);
    same("from the cache", &bench.files("second"), &cold);
    // To files: hard links of the entries, named as LLVM names them.
    let printed = bench.ours("fw", "files", "cache");
    assert_eq!(printed, "0.x86_64.thinlto.o\n1.x86_64.thinlto.o\n");
    for (number, name) in printed.lines().enumerate() {
        let path = bench.path("files").join(name);
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 2, "{name}");
        assert_eq!(fs::read(&path).unwrap(), cold[number].1);
    }
    // And once more over what is there: the entries are not written into.
    bench.ours("f", "files", "cache");
    bench.ours("f", "files", "-");
    let third = bench.ours("m", "third", "cache");
    assert_eq!(first, third);
    same("again", &bench.files("third"), &cold);
    assert_eq!(bench.entries("cache").len(), 2);
}

/// Whatever byte of the cache is changed, the objects are right.
#[test]
fn a_corrupted_cache_gives_right_objects() {
    let bench = Bench::new("corrupted", &CXX, "", "main");
    bench.ours("m", "cold", "cache");
    let cold = bench.files("cold");
    let index = bench.path("cache/.llvmcache-index");
    let records: Vec<PathBuf> =
        fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(records.len() >= 2, "{records:?}");
    let mut tried = 0;
    for path in bench.entries("cache").iter().chain(&records) {
        let whole = fs::read(path).unwrap();
        for at in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let mut broken = whole.clone();
            broken[at] ^= 0x20;
            for bytes in [&broken[..], &whole[..at], &[]] {
                fs::write(path, bytes).unwrap();
                bench.ours("m", "warm", "cache");
                same(&format!("{} at {at}", path.display()), &bench.files("warm"), &cold);
                tried += 1;
            }
        }
    }
    assert!(tried > 50);
}

#[test]
fn a_cache_that_others_use_and_prune_gives_right_objects() {
    let bench = Bench::new("shared", &CXX, "", "main");
    bench.ours("m", "cold", "-");
    let cold = bench.files("cold");
    for round in 0..5 {
        let outs: Vec<String> = (0..3).map(|n| format!("out{round}-{n}")).collect();
        let mut links: Vec<_> = outs
            .iter()
            .map(|out| {
                let mut command = bench.command(&library(), "m", out, "cache");
                command.stdout(Stdio::null()).spawn().unwrap()
            })
            .collect();
        // Somebody removes entries and records while they run.
        while links.iter_mut().any(|link| link.try_wait().unwrap().is_none()) {
            for folder in ["cache", "cache/.llvmcache-index"] {
                for entry in fs::read_dir(bench.path(folder)).into_iter().flatten().flatten() {
                    let _ = fs::remove_file(entry.path());
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        for (mut link, out) in links.into_iter().zip(&outs) {
            assert!(link.wait().unwrap().success());
            same(out, &bench.files(out), &cold);
        }
    }
    assert!(!bench.names("cache").iter().any(|name| name.starts_with("Thin-")));
}

#[test]
fn a_cache_that_cannot_be_is_an_error_and_one_that_cannot_be_written_is_none() {
    let bench = Bench::new("unwritable", &CXX, "", "main");
    bench.scratch.write("file", "");
    let said = bench.ours("me", "out", "file/cache");
    assert!(said.starts_with("can't create cache directory file/cache: "), "{said}");
    bench.ours("m", "cold", "-");
    // A folder where the index should be.
    fs::create_dir_all(bench.path("cache")).unwrap();
    bench.scratch.write("cache/.llvmcache-index", "in the way");
    for _ in 0..2 {
        bench.ours("m", "out", "cache");
        same("unwritable", &bench.files("out"), &bench.files("cold"));
    }
}

#[test]
fn bitcode_instead_of_objects() {
    let bench = Bench::new("bitcode", &CXX, "", "main");
    bench.ours("mb", "out", "cache");
    for (name, bytes) in bench.files("out") {
        assert!(bytes.starts_with(b"BC\xc0\xde"), "{name}");
        let shown = bench.scratch.run("llvm-dis-22", &format!("out/{name} -o -"));
        assert!(shown.contains("target triple"), "{shown}");
    }
    assert!(!bench.path("cache").exists() || bench.entries("cache").is_empty());
}

#[test]
fn what_reads_files_is_not_kept() {
    let mut bench = Bench::new("incbin", &[], "", "data");
    let source = r#"__asm__(".data\n.globl data\ndata: .incbin \"data.bin\"\n");
                    int f(void) { return 1; }"#;
    bench.scratch.write("data.bin", "first").write("a.c", source);
    bench.scratch.clang(22, "-O2 -flto=thin -c a.c -o a.bc");
    bench.modules.push("a.bc".into());
    bench.ours("m", "first", "cache");
    assert!(!bench.path("cache").exists(), "made when the first object is stored");
    bench.scratch.write("data.bin", "second");
    bench.ours("m", "second", "cache");
    let has = |folder: &str, word: &str| {
        let object = &bench.files(folder)[0].1;
        object.windows(word.len()).any(|at| at == word.as_bytes())
    };
    assert!(has("first", "first") && has("second", "second"));
}
