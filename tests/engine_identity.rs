//! The engine's objects beside those of LLVM's own LTO drivers of the same version: the same bytes.
//!
//! `llvm-lto2` stands for the linker plugin's profile. libLTO's profile is driven by a small C
//! program, since LLVM's libLTO belongs in a process of its own.

use LTO::engine::{
    Engine, EngineConfig, FileType, Library, LibraryInfo, PassOptions, RelocModel, TargetConfig,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the two sources have between them: a constructor, a destructor, jump tables, strings, a
/// comdat from an inline function, a common function that is inlined across modules, a weak one,
/// thread-local and zeroed data, memory functions that code generation expands.
const FIRST: &str = r#"
#include <stddef.h>
extern "C" int printf(const char *, ...);
extern "C" void *memcpy(void *, const void *, size_t);
extern "C" int memcmp(const void *, const void *, size_t);
int other(int);
struct Log { int n; Log(int); ~Log(); };
Log::Log(int n) : n(n) { printf("up %d\n", n); }
Log::~Log() { printf("down %d\n", n); }
static Log log1(1);
__attribute__((init_priority(200))) Log log2(2);
template <class T> inline T twice(T x) { static int calls; return x + x + ++calls; }
inline int shared(int x) { int s = 0; for (int i = 0; i < x; i++) s += twice(i); return s; }
__thread int per_thread = 3;
int zeroed[100];
const char *name(int x) {
  switch (x) {
    case 0: return "zero"; case 1: return "one"; case 2: return "two"; case 3: return "three";
    case 4: return "four"; case 5: return "five"; case 6: return "six"; default: return "many";
  }
}
int work(int x) {
  switch (x) {
    case 0: return other(x + 7); case 1: zeroed[x]++; return 3; case 2: return shared(x);
    case 3: return per_thread++; case 4: return printf("%s", name(x)); case 5: return other(x);
    default: return -1;
  }
}
bool same(const char *a, const char *b) { return memcmp(a, b, 8) == 0; }
extern "C" int entry(int x) {
  char copy[64];
  memcpy(copy, name(x), 5);
  return work(x) + shared(x) + same(copy, "seven888");
}
"#;

const SECOND: &str = r#"
extern "C" int printf(const char *, ...);
template <class T> inline T twice(T x) { static int calls; return x + x + ++calls; }
inline int shared(int x) { int s = 0; for (int i = 0; i < x; i++) s += twice(i); return s; }
__attribute__((weak)) int maybe(int x) { return x * 3; }
static double table[64];
int other(int x) {
  double sum = 0;
  for (int i = 0; i < 64; i++) { table[i] += i * x; sum += table[i] * table[63 - i]; }
  return shared(x) + maybe(x) + (int)sum;
}
"#;

const HARNESS: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
typedef void *P;
int main(int argc, char **argv) {
  P lib = dlopen(argv[1], RTLD_NOW);
  if (!lib) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  P (*create)(void) = (P (*)(void))dlsym(lib, "lto_codegen_create_in_local_context");
  P (*load)(const void *, size_t, const char *, P) =
      (P (*)(const void *, size_t, const char *, P))dlsym(lib, "lto_module_create_in_codegen_context");
  _Bool (*add)(P, P) = (_Bool (*)(P, P))dlsym(lib, "lto_codegen_add_module");
  _Bool (*pic)(P, int) = (_Bool (*)(P, int))dlsym(lib, "lto_codegen_set_pic_model");
  void (*keep)(P, const char *) = (void (*)(P, const char *))dlsym(lib, "lto_codegen_add_must_preserve_symbol");
  const void *(*compile)(P, size_t *) = (const void *(*)(P, size_t *))dlsym(lib, "lto_codegen_compile");
  P cg = create();
  for (int i = 3; i < argc; i++) {
    FILE *f = fopen(argv[i], "rb");
    fseek(f, 0, SEEK_END);
    size_t n = ftell(f);
    rewind(f);
    void *mem = malloc(n);
    if (fread(mem, 1, n, f) != n) return 1;
    P mod = load(mem, n, argv[i], cg);
    if (!mod || add(cg, mod)) return 1;
  }
  pic(cg, 1);
  keep(cg, "entry");
  size_t n;
  const void *object = compile(cg, &n);
  FILE *f = fopen(argv[2], "wb");
  return !object || fwrite(object, 1, n, f) != n || fclose(f);
}
"#;

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One of LLVM's programs of this version.
fn tool(major: u32, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/usr/lib/llvm-{major}/bin/{name}"));
    path.is_file().then_some(path)
}

fn lib_lto(major: u32) -> Option<PathBuf> {
    let folder = PathBuf::from(format!("/usr/lib/llvm-{major}/lib"));
    [format!("libLTO.so.{major}"), format!("libLTO.so.{major}.1")]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Every system libLLVM with the clang of its version, and a folder for its files.
fn llvms(name: &str) -> Vec<(LibraryInfo, PathBuf, PathBuf)> {
    let mut llvms: Vec<_> = Library::find_all()
        .into_iter()
        .filter(|library| !library.path.to_string_lossy().contains("rust"))
        .filter_map(|library| {
            let clang = tool(library.version.major, "clang")?;
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("identity-{name}-{}", library.version.major));
            std::fs::create_dir_all(&folder).unwrap();
            Some((library, clang, folder))
        })
        .collect();
    llvms.dedup_by_key(|(library, ..)| library.version.major);
    assert!(!llvms.is_empty(), "these tests need a libLLVM and its clang");
    llvms
}

fn compile(clang: &Path, folder: &Path, flags: &[&str]) -> [PathBuf; 2] {
    [("first", FIRST), ("second", SECOND)].map(|(name, source)| {
        let (cpp, bc) = (folder.join(format!("{name}.cpp")), folder.join(format!("{name}.o")));
        std::fs::write(&cpp, source).unwrap();
        let common = ["-x", "c++", "-O2", "-fPIC", "-fno-exceptions", "-c", "-o"];
        run(Command::new(clang).args(flags).args(common).args([&bc, &cpp]));
        bc
    })
}

fn engine(library: &LibraryInfo) -> Engine {
    let config = EngineConfig {
        llvm: Some(library.path.clone()),
        worker: Some(env!("CARGO_BIN_EXE_lto-worker").into()),
        ..EngineConfig::default()
    };
    Engine::start(&config, &[]).unwrap()
}

#[track_caller]
fn same(ours: &[u8], theirs: &Path, library: &LibraryInfo) {
    let expected = std::fs::read(theirs).unwrap();
    let copy = theirs.with_extension("ours.o");
    std::fs::write(&copy, ours).unwrap();
    assert!(!ours.is_empty() && ours == expected, "{library}: {copy:?} is not {theirs:?}");
}

#[test]
fn regular_lto_as_lib_lto_does_it() {
    let mut compared = 0;
    for debug in ["-g0", "-g"] {
        for (library, clang, folder) in llvms("regular") {
            let Some(lib_lto) = lib_lto(library.version.major) else { continue };
            let harness = folder.join("harness");
            std::fs::write(folder.join("harness.c"), HARNESS).unwrap();
            run(Command::new("cc")
                .arg("-o")
                .arg(&harness)
                .arg(folder.join("harness.c"))
                .arg("-ldl"));
            let modules = compile(&clang, &folder, &["-flto", debug]);
            let theirs = folder.join(format!("libLTO{debug}.o"));
            run(Command::new(&harness).arg(lib_lto).arg(&theirs).args(&modules));
            let engine = engine(&library);
            let mut lease = engine.lease().unwrap();
            lease.new_module("ld-temp.o").unwrap();
            for module in &modules {
                lease.link(module.to_str().unwrap(), &std::fs::read(module).unwrap()).unwrap();
            }
            lease.verify().unwrap();
            lease
                .set_target(&TargetConfig {
                    reloc: Some(RelocModel::Pic),
                    flags_steer_optimizer: false,
                    // `LTOCodeGenerator::determineTarget` began to set it in LLVM 16.
                    data_sections: engine.llvm_major() > 15,
                    ..TargetConfig::default()
                })
                .unwrap();
            lease.internalize(&["entry".to_string()]).unwrap();
            lease.passes("lto<O2>", PassOptions::at_level(2)).unwrap();
            same(&lease.emit(FileType::Object).unwrap(), &theirs, &library);
            compared += 1;
        }
    }
    assert!(compared > 0, "these tests need LLVM's libLTO");
}

/// Compiles one module with `llvm-lto2`, every symbol of it visible to the rest of the program,
/// and with this pipeline.
fn as_lto2_does_it(name: &str, flags: &[&str], pipeline: &str, sections: bool) {
    let mut compared = 0;
    for (library, clang, folder) in llvms(name) {
        let major = library.version.major;
        let (Some(lto2), Some(nm)) = (tool(major, "llvm-lto2"), tool(major, "llvm-nm")) else {
            continue;
        };
        let [module, _] = compile(&clang, &folder, flags);
        let names = Command::new(nm).arg("-P").arg(&module).output().unwrap().stdout;
        let names = String::from_utf8(names).unwrap();
        let mut command = Command::new(lto2);
        let output = folder.join("lto2.o");
        command.arg("run").arg("-o").arg(&output).arg(&module).arg("-relocation-model=pic");
        if sections {
            command.args(["-function-sections", "-data-sections"]);
        }
        for line in names.lines() {
            let mut fields = line.split(' ');
            let (symbol, kind) = (fields.next().unwrap(), fields.next().unwrap());
            // Prevailing and visible to regular objects; an undefined one is neither.
            let resolution = match kind {
                "U" => "",
                kind if kind.chars().all(|c| c.is_lowercase()) && !"wv".contains(kind) => continue,
                _ => "px",
            };
            command.arg(format!("-r={},{symbol},{resolution}", module.display()));
        }
        run(&mut command);
        let thin = folder.join("lto2.o.1");
        let theirs = if pipeline.starts_with("thinlto") { thin } else { folder.join("lto2.o.0") };
        let engine = engine(&library);
        let mut lease = engine.lease().unwrap();
        let bitcode = std::fs::read(&module).unwrap();
        if pipeline.starts_with("thinlto") {
            lease.load(module.to_str().unwrap(), &bitcode).unwrap();
        } else {
            lease.new_module("ld-temp.o").unwrap();
            lease.link(module.to_str().unwrap(), &bitcode).unwrap();
        }
        lease
            .set_target(&TargetConfig {
                reloc: Some(RelocModel::Pic),
                function_sections: sections,
                data_sections: sections,
                ..TargetConfig::default()
            })
            .unwrap();
        lease.passes(pipeline, PassOptions::at_level(2)).unwrap();
        same(&lease.emit(FileType::Object).unwrap(), &theirs, &library);
        compared += 1;
    }
    assert!(compared > 0, "these tests need llvm-lto2");
}

#[test]
fn regular_lto_as_lto2_does_it() {
    as_lto2_does_it("lto2", &["-flto"], "lto<O2>", false);
}

#[test]
fn regular_lto_with_sections() {
    as_lto2_does_it("lto2-sections", &["-flto"], "lto<O2>", true);
}

#[test]
fn a_thin_backend_without_imports() {
    as_lto2_does_it("lto2-thin", &["-flto=thin"], "thinlto<O2>", false);
}

#[test]
fn a_thin_backend_with_debug_info() {
    as_lto2_does_it("lto2-thin-g", &["-flto=thin", "-g"], "thinlto<O2>", true);
}
