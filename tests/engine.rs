//! The engine against the libLLVMs and the clangs of this machine.

use LTO::engine::{Engine, EngineConfig, FileType, Library, PassOptions, TargetConfig};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A clang of one version; its bitcode is for the libLLVM of the same version.
fn clang(major: u32) -> Option<PathBuf> {
    [format!("/usr/lib/llvm-{major}/bin/clang"), format!("/usr/bin/clang-{major}")]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
}

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("engine-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Bitcode of a C source.
fn compile(clang: &Path, name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
    let folder = scratch(name);
    let (c, bc) = (folder.join("x.c"), folder.join("x.bc"));
    std::fs::write(&c, source).unwrap();
    let status = Command::new(clang)
        .args(["-O2", "-flto", "-c", "-o"])
        .arg(&bc)
        .args(flags)
        .arg(&c)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(bc).unwrap()
}

fn config(in_process: bool) -> EngineConfig {
    EngineConfig {
        in_process,
        worker: Some(env!("CARGO_BIN_EXE_lto-worker").into()),
        jobs: 2,
        ..EngineConfig::from_env()
    }
}

#[test]
fn every_libllvm_compiles_with_constructors_in_init_array() {
    use object::{Object, ObjectSection};
    let mut tried = 0;
    for library in Library::find_all() {
        let Some(clang) = clang(library.version.major) else { continue };
        for in_process in [true, false] {
            let tag = format!("all-{}-{:?}", library.version.major, library.origin);
            let a = compile(
                &clang,
                &tag,
                "int n = 3; static volatile int s = 4; __attribute__((constructor)) static void c(void) { \
                 s++; } int f(int x) { return x * n + s; } int unused(void) { return 1; }",
                &[],
            );
            let main =
                compile(&clang, &tag, "int f(int); int main(void) { return f(1) - 8; }", &[]);
            let config = EngineConfig { llvm: Some(library.path.clone()), ..config(in_process) };
            let engine = Engine::start(&config, &[]).unwrap();
            let mut lease = engine.lease().unwrap();
            lease.new_module("ld-temp.o").unwrap();
            lease.link("a.o", &a).unwrap();
            lease.link("main.o", &main).unwrap();
            lease.verify().unwrap();
            lease
                .set_target(&TargetConfig {
                    function_sections: true,
                    data_sections: true,
                    ..TargetConfig::default()
                })
                .unwrap();
            lease.internalize(&["main".to_string()]).unwrap();
            lease.passes("lto<O2>", PassOptions::at_level(2)).unwrap();
            let bitcode = lease.write_bitcode().unwrap();
            assert_eq!(bitcode.get(..4), Some(&b"BC\xc0\xde"[..]));
            let object = lease.emit(FileType::Object).unwrap();
            let file = object::File::parse(&*object).unwrap();
            let names: Vec<_> = file.sections().map(|s| s.name().unwrap().to_string()).collect();
            let has = |name: &str| names.iter().any(|n| n == name);
            assert!(has(".init_array") && !has(".ctors"), "{library}: {names:?}");
            assert!(has(".text.main"), "{library}: {names:?}");
            assert_eq!(lease.take_diagnostics(), [], "{library}");
            let path = scratch(&tag).join("x.o");
            std::fs::write(&path, &*object).unwrap();
            let program = path.with_extension("exe");
            assert!(
                Command::new("cc").arg("-o").args([&program, &path]).status().unwrap().success()
            );
            assert_eq!(Command::new(&program).status().unwrap().code(), Some(0), "{library}");
            tried += 1;
        }
    }
    assert!(tried >= 2, "no libLLVM with its clang was found");
}

#[test]
fn llvm_14_reads_both_kinds_of_pointers() {
    let library = Library::find_all().into_iter().find(|library| library.version.major == 14);
    let library = library.expect("this test needs libLLVM 14, the only one with two kinds");
    let clang = clang(14).expect("this test needs clang 14");
    let source = "char *p; char *f(char **q) { return *q; } int main(void) { return !!f(&p); }";
    let typed = compile(&clang, "typed", source, &[]);
    let opaque = compile(&clang, "opaque", source, &["-mllvm", "-opaque-pointers"]);
    let config = EngineConfig { llvm: Some(library.path), ..config(false) };
    let engine = Engine::start(&config, &[]).unwrap();
    let mut lease = engine.lease().unwrap();
    lease.new_module("typed").unwrap();
    lease.link("typed.o", &typed).unwrap();
    assert!(lease.link("opaque.o", &opaque).is_err(), "the context has typed pointers by now");
    lease.new_module("opaque").unwrap();
    lease.link("opaque.o", &opaque).unwrap();
    lease.load("typed.o", &typed).unwrap();
    lease.set_target(&TargetConfig::default()).unwrap();
    lease.passes("lto<O2>", PassOptions::at_level(2)).unwrap();
    assert!(!lease.emit(FileType::Object).unwrap().is_empty());
}
