//! `lto-index` beside LLVM 22's `llvm-dis` and `llvm-lto`, and what it answers to mistakes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const OURS: &str = env!("CARGO_BIN_EXE_lto-index");
const BIN: &str = "/usr/lib/llvm-22/bin";

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn ours(args: &[&str]) -> (Option<i32>, String) {
    let output = run(Command::new(OURS).args(args));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn llvm(tool: &str, args: &[&str]) -> Vec<u8> {
    let output = run(Command::new(Path::new(BIN).join(tool)).args(args));
    assert!(output.status.success(), "{tool} {args:?}: {output:?}");
    output.stdout
}

/// The folder of one test, with modules in it: C and C++, thin, of clang 22.
fn inputs(name: &str) -> (PathBuf, Vec<String>) {
    assert!(
        Path::new(BIN).join("clang").exists(),
        "no clang in {BIN}: see scripts/install-test-deps.sh"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lto_index").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let sources = [
        (
            "a.c",
            "static int s; int g(int); __attribute__((weak)) int w(void) { return s++; }\n\
                 int f(int x) { return g(x) + w() + s; } extern int h __attribute__((weak));",
        ),
        (
            "b.c",
            "extern int t[]; int g(int x) { t[x] = 1; return x; } int t[4];\n\
                 int g2(int) __attribute__((alias(\"g\"))); int *p = t;",
        ),
        (
            "c.cpp",
            "struct A { virtual int m(int); virtual ~A(); }; struct B : A { int m(int) \
                   override; };\nint A::m(int x) { return x; } int B::m(int x) { return x + 1; } \
                   A::~A() {}\nint call(A *a) { return a->m(3); } inline int i() { return 1; } \
                   int use() { return i(); }",
        ),
    ];
    let modules = sources.iter().map(|(name, text)| {
        let source = folder.join(name);
        std::fs::write(&source, text).unwrap();
        let module = format!("{}.bc", source.display());
        let mut flags = vec!["-O1", "-flto=thin", "-c", "-o", &module];
        if name.ends_with("cpp") {
            flags.extend(["-fwhole-program-vtables", "-fvisibility=hidden", "-fno-split-lto-unit"]);
        }
        flags.push(source.to_str().unwrap());
        llvm("clang", &flags);
        module
    });
    let modules = modules.collect();
    (folder, modules)
}

/// The lines of the index in what `llvm-dis` prints.
fn dis(file: &str) -> String {
    let text = String::from_utf8(llvm("llvm-dis", &["-o", "-", file])).unwrap();
    text.lines().filter(|l| l.starts_with('^')).map(|l| format!("{l}\n")).collect()
}

#[test]
fn the_text_is_that_of_llvm_dis_and_the_merge_that_of_llvm_lto() {
    let (folder, modules) = inputs("text");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for module in &modules {
        let (code, text) = ours(&["show", module]);
        assert_eq!((code, text), (Some(0), dis(module)), "{module}");
    }
    let (reference, merged) = (path("reference.bc"), path("merged.bc"));
    let mut args = vec!["-thinlto-action=thinlink", "-o", &reference];
    args.extend(modules.iter().map(String::as_str));
    llvm("llvm-lto", &args);
    let mut args = vec!["merge", "-o", &merged];
    args.extend(modules.iter().map(String::as_str));
    assert_eq!(ours(&args), (Some(0), String::new()));
    assert_eq!(std::fs::read(&merged).unwrap(), std::fs::read(&reference).unwrap());
    assert_eq!(ours(&["show", &merged]).1, dis(&reference));

    // In a native object for every format, where LLVM's own tool finds the same bytes.
    for (triple, section) in [
        ("x86_64-unknown-linux-gnu", ".llvmbc"),
        ("aarch64-unknown-linux-gnu", ".llvmbc"),
        ("x86_64-pc-windows-msvc", ".llvmbc"),
        ("arm64-apple-macosx14.0", "__LLVM,__bitcode"),
    ] {
        let object = path(&format!("{triple}.o"));
        let dumped = path(&format!("{triple}.bc"));
        assert_eq!(ours(&["wrap", "--triple", triple, "-o", &object, &merged]).0, Some(0));
        llvm("llvm-readobj", &["--sections", &object]);
        // llvm-objcopy strips nothing here; it writes the object again, beside the section.
        let dump = format!("--dump-section={section}={dumped}");
        llvm("llvm-objcopy", &[&dump, &object, &path("copy.o")]);
        let (dumped, merged) = (std::fs::read(&dumped).unwrap(), std::fs::read(&merged).unwrap());
        assert_eq!(dumped, merged, "{triple}");
        assert_eq!(ours(&["has", &object]).0, Some(0), "{triple}");
    }
    let linked = path("linked.o");
    let object = path("x86_64-unknown-linux-gnu.o");
    if cfg!(target_arch = "x86_64") {
        let output = run(Command::new("ld").args(["-r", "-o", &linked, &object]));
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn archives_differences_and_answers() {
    let (folder, modules) = inputs("answers");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let [a, b, _] = modules.as_slice() else { panic!("three modules") };
    let (archive, empty) = (path("lib.a"), path("empty.o"));
    let _ = std::fs::remove_file(&archive);
    llvm("llvm-ar", &["rc", &archive, a, b]);
    std::fs::write(&empty, b"not bitcode").unwrap();
    let (code, text) = ours(&["has", &archive]);
    assert_eq!(code, Some(0));
    assert_eq!(text, format!("{archive}(a.c.bc): index\n{archive}(b.c.bc): index\n"));
    assert_eq!(ours(&["has", a, &empty]).0, Some(1));
    assert!(ours(&["has", "--json", a]).1.contains("\"has_index\": true"));
    assert_eq!(ours(&["has", &path("nonesuch")]).0, Some(2));
    let (code, text) = ours(&["show", &archive, "g"]);
    assert!(code == Some(0) && text.lines().count() == 1, "{text}");
    assert!(text.contains("name: \"g\"") && text.contains("function: ("), "{text}");
    assert_eq!(ours(&["show", &archive, "nonesuch"]).0, Some(1));
    let (code, text) = ours(&["show", "--json", &archive]);
    assert!(code == Some(0) && text.contains("\"aliasee\": \""), "{text}");
    if let Ok(mut python) = Command::new("python3")
        .args(["-c", "import json,sys; json.load(sys.stdin)"])
        .stdin(Stdio::piped())
        .spawn()
    {
        use std::io::Write;
        python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(python.wait().unwrap().success(), "{text}");
    }
    assert_eq!(ours(&["diff", a, a]), (Some(0), String::new()));
    let (code, text) = ours(&["diff", a, b]);
    assert!(code == Some(1) && text.contains("\n+ "), "{text}");
    for wrong in [&["nonesuch"][..], &[], &["merge", a], &["diff", a], &["--nonesuch"]] {
        assert_eq!(ours(wrong).0, Some(2), "{wrong:?}");
    }
    // A file split for type metadata has two modules, both with a summary.
    let split = path("split.bc");
    let flags = ["-O1", "-flto=thin", "-fwhole-program-vtables", "-fvisibility=hidden"];
    let source = path("c.cpp");
    llvm("clang", &[&flags[..], &["-fsplit-lto-unit", "-c", "-o", &split, &source]].concat());
    let (code, text) = ours(&["show", &split]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("^1 = module: (path: ") && text.contains("(regular LTO)"), "{text}");
    // Nothing is written where an input is wrong.
    let out = path("none.bc");
    assert_eq!(ours(&["merge", "-o", &out, a, &empty]).0, Some(2));
    assert!(!Path::new(&out).exists());
    assert!(ours(&["--help"]).1.starts_with("OVERVIEW"));
    // Nobody reads the output: that is no error.
    let script = format!("{OURS} show {archive}; echo $? >&2");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "0\n");
}
