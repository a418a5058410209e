//! Symbols as LLVM 22 gives them, case by case.
//!
//! Each case of `symbols/cases.txt` is compiled by clang 22. The irsymtab that clang stores must
//! equal the one that we build from the module's records, and our view of libLTO that of LLVM's
//! own libLTO. Where LLVM 22 is not installed there is nothing to compare with, and the tests
//! fail: `make test` installs it.

use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use LTO::bitcode::BitcodeFile;
use LTO::symbols::{InputFile, Irsymtab, LtoModule, build_table, lto_bitcode};

struct Case {
    name: String,
    triple: String,
    asm: String,
    ir: String,
}

fn cases() -> Vec<Case> {
    let text = include_str!("symbols/cases.txt");
    let mut cases = Vec::new();
    let (mut triple, mut asm, mut ir, mut in_ir) =
        (String::new(), String::new(), String::new(), false);
    for (number, line) in text.lines().enumerate().skip(2) {
        if let Some(t) = line.strip_prefix("@ ") {
            triple = t.to_string();
        } else if line == "---ir" {
            in_ir = true;
        } else if line == "%%" {
            let name = format!("case-{number}");
            let (asm, ir) = (std::mem::take(&mut asm), std::mem::take(&mut ir));
            cases.push(Case { name, triple: triple.clone(), asm, ir });
            in_ir = false;
        } else {
            let part = if in_ir { &mut ir } else { &mut asm };
            part.push_str(line);
            part.push('\n');
        }
    }
    assert!(cases.len() > 50);
    cases
}

/// The data layout that clang gives to a target.
fn layout(triple: &str) -> String {
    let args = ["-target", triple, "-S", "-emit-llvm", "-x", "c", "/dev/null", "-o", "-"];
    let output = Command::new("clang-22").args(args).output().expect("clang-22 must be installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        text.lines().find_map(|l| l.strip_prefix("target datalayout = ")).map(str::to_string);
    // clang has no target for this one, but LLVM does.
    line.unwrap_or_else(|| {
        assert!(triple.starts_with("thumbv7-apple"), "{triple}");
        "\"e-m:o-p:32:32-Fi8-f64:32:64-v64:32:64-v128:32:128-a:0:32-n32-S32\"".to_string()
    })
}

fn source(case: &Case) -> String {
    let mut text = format!(
        "target datalayout = {}\ntarget triple = \"{}\"\n",
        layout(&case.triple),
        case.triple
    );
    for line in case.asm.lines() {
        let escaped: String = line
            .bytes()
            .map(|c| match c {
                b'"' | b'\\' => format!("\\{c:02x}"),
                32..127 => char::from(c).to_string(),
                _ => format!("\\{c:02x}"),
            })
            .collect();
        text += &format!("module asm \"{escaped}\"\n");
    }
    text + &case.ir
}

/// A folder for the files of one test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn run(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).output();
    status.unwrap_or_else(|e| panic!("{program} must be installed: {e}")).status.success()
}

/// All that a table says, as text.
fn describe(t: &Irsymtab<'_>) -> String {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let mut out = format!(
        "{} {} {}\n",
        text(t.target_triple()),
        text(t.source_file_name()),
        text(t.coff_linker_opts())
    );
    for library in t.dependent_libraries() {
        out += &format!("library {}\n", text(library));
    }
    for (name, kind) in t.comdats() {
        out += &format!("comdat {kind:?} {}\n", text(name));
    }
    for m in 0..t.num_modules() {
        for s in t.module_symbols(m) {
            out += &format!(
                "{:04x} {:?} {} {} {} {} {} {}\n",
                s.flags,
                s.comdat,
                text(s.name),
                text(s.ir_name),
                s.common_size,
                s.common_align,
                text(s.coff_fallback),
                text(s.section)
            );
        }
    }
    out
}

#[test]
fn built_tables_equal_those_that_clang_stores() {
    let dir = folder("symbols-tables");
    let mut compared = 0;
    for case in cases() {
        let (ll, object) = (dir.join("case.ll"), dir.join("case.o"));
        fs::write(&ll, source(&case)).unwrap();
        let (ll, out) = (ll.to_str().unwrap(), object.to_str().unwrap());
        let args = ["-target", &case.triple, "-flto", "-O0", "-c", "-x", "ir", ll, "-o", out];
        if !run("clang-22", &args) {
            // clang has no driver for this target; the other test has it still.
            assert!(case.triple.starts_with("thumbv7-apple"), "{}", case.name);
            continue;
        }
        let bytes = fs::read(&object).unwrap();
        let input = InputFile::open(&bytes).unwrap();
        assert!(input.uses_stored_table(), "{}", case.name);
        let file = BitcodeFile::read(lto_bitcode(&bytes).unwrap()).unwrap();
        let built = build_table(&file).unwrap();
        assert_eq!(describe(&built), describe(input.table()), "{}:\n{}", case.name, case.asm);
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

/// The functions of LLVM's libLTO that are asked.
struct Llvm {
    // Of a module in a local context LLVM does not read the metadata, and says less than we do.
    create: unsafe extern "C" fn(*const c_void, usize) -> *mut c_void,
    count: unsafe extern "C" fn(*mut c_void) -> c_uint,
    name: unsafe extern "C" fn(*mut c_void, c_uint) -> *const c_char,
    attribute: unsafe extern "C" fn(*mut c_void, c_uint) -> c_uint,
    is_thin: unsafe extern "C" fn(*mut c_void) -> bool,
    has_ctor: unsafe extern "C" fn(*mut c_void) -> bool,
    options: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    dispose: unsafe extern "C" fn(*mut c_void),
}

// The types of the functions stand in `Llvm`, one line each.
#[allow(clippy::missing_transmute_annotations)]
fn llvm() -> &'static Llvm {
    static LLVM: OnceLock<Llvm> = OnceLock::new();
    LLVM.get_or_init(|| {
        let path = CString::new("/usr/lib/llvm-22/lib/libLTO.so").unwrap();
        // SAFETY: LLVM's library may be loaded into a program; the functions have these types in
        // llvm-c/lto.h.
        unsafe {
            let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            assert!(!library.is_null(), "LLVM 22's libLTO must be installed");
            let find = |name: &str| {
                let name = CString::new(name).unwrap();
                let found = libc::dlsym(library, name.as_ptr());
                assert!(!found.is_null(), "{name:?}");
                found
            };
            Llvm {
                create: std::mem::transmute(find("lto_module_create_from_memory")),
                count: std::mem::transmute(find("lto_module_get_num_symbols")),
                name: std::mem::transmute(find("lto_module_get_symbol_name")),
                attribute: std::mem::transmute(find("lto_module_get_symbol_attribute")),
                is_thin: std::mem::transmute(find("lto_module_is_thinlto")),
                has_ctor: std::mem::transmute(find("lto_module_has_ctor_dtor")),
                options: std::mem::transmute(find("lto_module_get_linkeropts")),
                dispose: std::mem::transmute(find("lto_module_dispose")),
            }
        }
    })
}

fn llvms_view(bytes: &[u8]) -> (Vec<String>, bool, bool, String) {
    let l = llvm();
    // SAFETY: the bytes outlive the module, indexes are below the count, and names are copied
    // before the module goes.
    unsafe {
        // LLVM's functions share one context, which is not for several threads.
        static ONE: Mutex<()> = Mutex::new(());
        let _guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let m = (l.create)(bytes.as_ptr().cast(), bytes.len());
        assert!(!m.is_null());
        let symbols = (0..(l.count)(m))
            .map(|i| {
                let name = CStr::from_ptr((l.name)(m, i)).to_string_lossy();
                format!("{:04x} {name}", (l.attribute)(m, i))
            })
            .collect();
        let options = CStr::from_ptr((l.options)(m)).to_string_lossy().into_owned();
        let view = (symbols, (l.is_thin)(m), (l.has_ctor)(m), options);
        (l.dispose)(m);
        view
    }
}

fn our_view(bytes: &[u8]) -> (Vec<String>, bool, bool, String) {
    let m = LtoModule::read(bytes).unwrap();
    let symbols = m.symbols().map(|(n, a)| format!("{a:04x} {}", n.to_string_lossy())).collect();
    let options = m.linker_opts().to_string_lossy().into_owned();
    (symbols, m.is_thinlto(), m.has_ctor_dtor(), options)
}

#[test]
fn the_libraries_agree() {
    let dir = folder("symbols-views");
    for case in cases() {
        let (ll, bc) = (dir.join("case.ll"), dir.join("case.bc"));
        fs::write(&ll, source(&case)).unwrap();
        let (ll, out) = (ll.to_str().unwrap(), bc.to_str().unwrap());
        assert!(run("llvm-as-22", &[ll, "-o", out]), "{}:\n{}", case.name, case.asm);
        let bytes = fs::read(&bc).unwrap();
        assert_eq!(our_view(&bytes), llvms_view(&bytes), "{}:\n{}", case.name, case.asm);
    }
}

/// Bitcode of older producers: with typed pointers, with another hash for the order of assembly
/// symbols, and with other lists of runtime functions.
#[test]
fn older_producers_give_what_llvm_22_makes_of_them() {
    let dir = folder("symbols-producers");
    let c = dir.join("old.c");
    let text = r#"
        #include <string.h>
        extern int ext(void); extern int weak(void) __attribute__((weak));
        int common_thing[3]; static int hidden_state; const int ro = 3;
        __attribute__((visibility("hidden"))) int hid(void) { return ext() + (weak ? weak() : 0); }
        int aliased(int x) { return x + hidden_state++; }
        extern int alias(int) __attribute__((alias("aliased")));
        __attribute__((used)) static int kept(void) { return 1; }
        __thread int tls; __attribute__((section("mysec"))) int placed = 1;
        void *copy(void *a, void *b, unsigned long n) { return memcpy(a, b, n); }
        __attribute__((constructor)) static void start(void) { hidden_state = 1; }
        __asm__(".globl from_asm\nfrom_asm: call asm_ref\n call asm_ref2\n.weak asm_weak\n"
                "asm_local: ret\n.comm asm_common, 4, 4\n.symver alias, alias@@V1\n");
    "#;
    fs::write(&c, text).unwrap();
    for major in [14, 15, 16, 19, 22] {
        for mode in ["-flto", "-flto=thin"] {
            let out = dir.join(format!("old-{major}.o"));
            let clang = format!("clang-{major}");
            let args = [
                "-target",
                "x86_64-pc-linux-gnu",
                "-fcommon",
                "-O1",
                mode,
                "-g",
                "-c",
                c.to_str().unwrap(),
                "-o",
                out.to_str().unwrap(),
            ];
            assert!(run(&clang, &args), "{clang}");
            let bytes = fs::read(&out).unwrap();
            assert_eq!(our_view(&bytes), llvms_view(&bytes), "{clang} {mode}");
            let input = InputFile::open(&bytes).unwrap();
            assert_eq!(input.uses_stored_table(), major >= 17, "{clang}");
            let file = BitcodeFile::read(lto_bitcode(&bytes).unwrap()).unwrap();
            let built = build_table(&file).unwrap();
            let names = |t: &Irsymtab<'_>| {
                t.symbols()
                    .map(|s| String::from_utf8_lossy(s.name).into_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(input.table()), names(&built), "{clang}");
            for (a, b) in input.table().symbols().zip(built.symbols()) {
                assert_eq!(input.is_used(&a), input.is_used(&b), "{clang} {:?}", a.name);
            }
        }
    }
}

/// Two files in a row: the first one's table is not that of the whole, and both string tables
/// are in use.
#[test]
fn a_file_of_two_modules_has_the_symbols_of_both() {
    let dir = folder("symbols-two");
    let mut parts = Vec::new();
    for (name, text) in [
        (
            "a",
            "int shared; int only_a(void) { return 1; } int ext(void); int use(void) { return ext(); }",
        ),
        ("b", "int only_b(void) { return 2; } __attribute__((weak)) int w(void) { return 3; }"),
    ] {
        let (c, o) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.o")));
        fs::write(&c, text).unwrap();
        let args = ["-target", "x86_64-pc-linux-gnu", "-flto", "-fcommon", "-c"];
        let files = [c.to_str().unwrap(), "-o", o.to_str().unwrap()];
        assert!(run("clang-22", &[&args[..], &files].concat()));
        parts.push(o);
    }
    let both = dir.join("both.o");
    let [a, b] = [0, 1].map(|i: usize| parts[i].to_str().unwrap());
    assert!(run("llvm-cat-22", &["-b", a, b, "-o", both.to_str().unwrap()]));
    let bytes = fs::read(&both).unwrap();
    let input = InputFile::open(&bytes).unwrap();
    assert!(!input.uses_stored_table());
    assert_eq!(input.modules().len(), 2);
    let output = Command::new("llvm-lto2-22").arg("dump-symtab").arg(&both).output().unwrap();
    let theirs: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|l| l.as_bytes().first().is_some_and(u8::is_ascii_uppercase))
        .filter_map(|l| l.split_once(' ').map(|(_, name)| name.to_string()))
        .collect();
    let ours = input.symbols().map(|s| String::from_utf8_lossy(s.name).into_owned());
    assert_eq!(ours.collect::<Vec<_>>(), theirs);
    assert_eq!(theirs.len(), 6);
    let error = LtoModule::read(&bytes).unwrap_err().to_string();
    assert!(error.contains("single module"), "{error}");
}

/// Whatever is done to a module, it is read or refused.
#[test]
fn damaged_files_are_refused_or_read() {
    let dir = folder("symbols-damage");
    let case = &cases().into_iter().find(|c| c.ir.contains("llvm.dependent-libraries")).unwrap();
    let (ll, object) = (dir.join("case.ll"), dir.join("case.o"));
    let assembly = "module asm \".globl a\\0aa: call b\"\n";
    fs::write(&ll, source(case) + assembly).unwrap();
    let (ll, out) = (ll.to_str().unwrap(), object.to_str().unwrap());
    assert!(run("clang-22", &["-flto", "-O0", "-c", "-x", "ir", ll, "-o", out]));
    let good = fs::read(&object).unwrap();
    let read = |bytes: &[u8]| {
        let _ = LtoModule::read(bytes);
        if let Ok(input) = InputFile::open(bytes) {
            let _ = input.symbols().count() + input.comdats().count();
        }
        if let Ok(file) = lto_bitcode(bytes).and_then(BitcodeFile::read) {
            let _ = build_table(&file).map(|t| t.symbols().count());
        }
    };
    for length in 0..good.len() {
        read(&good[..length]);
    }
    // A fixed sequence, so that a failure can be repeated.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..4000 {
        let mut bad = good.clone();
        for _ in 0..1 + state % 3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 8) as usize % bad.len();
            bad[at] ^= 1 << (state & 7);
        }
        read(&bad);
    }
}
