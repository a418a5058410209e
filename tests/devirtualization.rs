//! Virtual calls with one target, beside LLVM's own llvm-lto2: the same C++ modules and resolutions
//! through both, and every file compared byte for byte.

mod support;

use support::Scratch;

const OURS: &str = env!("CARGO_BIN_EXE_llvm-lto2");

/// A base class with one derived class, an abstract function, functions that differ; classes of one
/// module alone whose functions are promoted, because other modules call them or import what does.
const SHARED: &str = r#"
    struct Shape { virtual int area(int k); virtual int name() = 0; virtual ~Shape() {} };
    struct Square : Shape {
      int s;
      Square(int s) : s(s) {}
      int area(int k) override;
      int name() override;
    };
    struct Only { virtual int one(int); virtual int two(); int x; };
    Shape *make(int);
    int total(Shape *, int);
    int call_local(Shape *);
    int use_only(Only *);
    int outer(Only *);
"#;

const SOURCES: [(&str, &str); 5] = [
    (
        "a",
        r#"
        int Square::area(int k) { return s * s * k; }
        int Square::name() { return 4; }
        int Shape::area(int k) { return k; }
        int Only::one(int k) { return x + k; }
        int Only::two() { return x * 2; }
        Shape *make(int s) { return new Square(s); }
        "#,
    ),
    (
        "b",
        r#"
        int total(Shape *p, int n) {
          int r = 0;
          for (int i = 0; i < n; i++) r += p->area(i) + p->name();
          return r;
        }
        int use_only(Only *o) { return o->one(3) + o->two(); }
        "#,
    ),
    (
        "c",
        r#"
        namespace {
        struct L { virtual int f(int); virtual int g(); int q; };
        __attribute__((noinline)) int L::f(int k) { return q + k * 7; }
        int L::g() { return q - 1; }
        struct M : L { int g() override { return 5; } };
        __attribute__((noinline)) int run(L *l) { return l->f(2) + l->g(); }
        }
        int call_local(Shape *p) {
          L l;
          l.q = p->name();
          M m;
          m.q = 1;
          return run(p->name() > 3 ? &l : &m);
        }
        "#,
    ),
    // No virtual calls but those of what it imports.
    ("n", "int outer(Only *o) { return use_only(o); }"),
    (
        "m",
        r#"
        int main(int argc, char **) {
          Shape *s = make(argc);
          Only o;
          o.x = argc;
          int result = total(s, 5) + call_local(s) + outer(&o);
          delete s;
          return result != 57;
        }
        "#,
    ),
];

const OBJECTS: &str = "a.o b.o c.o n.o m.o";

/// Compiles the sources for a thin link that sees virtual tables in summaries, and has lld say what
/// a linker would.
fn compile(scratch: &Scratch, version: u32, flags: &str) {
    compile_units(scratch, version, &format!("-fno-split-lto-unit {flags}"));
}

/// Compiles the sources into two parts each, of which the one with virtual tables has no summary.
fn compile_split(scratch: &Scratch, version: u32, flags: &str) {
    compile_units(scratch, version, &format!("-fsplit-lto-unit {flags}"));
}

fn compile_units(scratch: &Scratch, version: u32, flags: &str) {
    scratch.write("shared.h", SHARED);
    for (name, source) in SOURCES {
        scratch.write(&format!("{name}.cc"), source);
        let flags = format!("-flto=thin -fwhole-program-vtables {flags}");
        let mut clang = scratch.command(&format!("clang++-{version}"), "-include shared.h -O2");
        clang.args(flags.split_whitespace()).args(["-c", &format!("{name}.cc")]);
        support::checked(clang);
    }
    let link = "-e main --unresolved-symbols=ignore-all --thinlto-index-only=objects -o out";
    scratch.run(&format!("ld.lld-{version}"), &format!("{link} --save-temps=resolution {OBJECTS}"));
}

/// Runs both llvm-lto2 and compares the index files of all modules and what is printed. Returns how
/// many names of targets are in them.
fn compare_indexes(scratch: &Scratch, version: u32, more: &str) -> usize {
    let mut seen = Vec::new();
    for program in [format!("llvm-lto2-{version}"), OURS.to_owned()] {
        let mut arguments = format!(
            "run @out.resolution.txt -o lto -thinlto-distributed-indexes \
             -wholeprogramdevirt-print-index-based {more}"
        );
        if program == OURS {
            arguments += &format!(" -llvm-version={version}");
        }
        let output = scratch.command(&program, &arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments}: {text}");
        let names: Vec<String> =
            OBJECTS.split(' ').map(|object| format!("{object}.thinlto.bc")).collect();
        let files: Vec<Vec<u8>> = names.iter().map(|name| scratch.read(name)).collect();
        for name in &names {
            std::fs::remove_file(scratch.path().join(name)).unwrap();
        }
        seen.push((text, files));
    }
    let (theirs, ours) = (&seen[0], &seen[1]);
    assert_eq!(ours.0, theirs.0, "{version} {more}");
    for ((ours, theirs), name) in ours.1.iter().zip(&theirs.1).zip(OBJECTS.split(' ')) {
        assert!(ours == theirs, "the index of {name} differs: {version} {more}");
    }
    ours.0.lines().filter(|line| line.starts_with("Devirtualized call to ")).count()
}

#[test]
fn resolutions_are_those_of_llvm() {
    let scratch = Scratch::new("devirtualization-index");
    for version in [19, 22] {
        compile(&scratch, version, "-fvisibility=hidden");
        // Two of Square, its destructor where it is called, two of Only, one of L.
        let all = compare_indexes(&scratch, version, "");
        assert!(all >= 5, "{all}");
        assert_eq!(
            compare_indexes(&scratch, version, "-wholeprogramdevirt-skip=_ZN4Only*"),
            all - 2
        );
        compile(&scratch, version, "");
        // What is public may have other targets elsewhere.
        let local = compare_indexes(&scratch, version, "");
        assert_eq!(local, 1);
        assert_eq!(compare_indexes(&scratch, version, "-whole-program-visibility"), all);
        let disabled = "-whole-program-visibility -disable-whole-program-visibility";
        assert_eq!(compare_indexes(&scratch, version, disabled), local);
    }
    let linker = "-whole-program-visibility-enabled-in-lto -validate-all-vtables-have-type-infos";
    assert_eq!(compare_indexes(&scratch, 22, linker), 1);
    let found = compare_indexes(&scratch, 22, &format!("{linker} -all-vtables-have-type-infos"));
    assert!(found > 1, "{found}");
}

/// Links by both llvm-lto2 to objects and compares them; returns ours of the module `b`, which makes
/// virtual calls of what others define.
fn compare_objects(scratch: &Scratch, version: u32, more: &str) -> Vec<u8> {
    let arguments =
        |out: &str| format!("run @out.resolution.txt -relocation-model=pic -O2 {more} -o {out}");
    scratch.run(&format!("llvm-lto2-{version}"), &arguments("theirs"));
    let mut ours = scratch.command(OURS, &arguments("ours"));
    ours.env("LTO_LLVM", support::llvm(version));
    support::checked(ours);
    // That of regular LTO, where modules are split.
    assert_eq!(scratch.exists("ours.0"), scratch.exists("theirs.0"));
    if scratch.exists("theirs.0") {
        assert!(scratch.read("ours.0") == scratch.read("theirs.0"), "regular: {version} {more}");
    }
    for (number, object) in (1..).zip(OBJECTS.split(' ')) {
        let [ours, theirs] = ["ours", "theirs"].map(|o| scratch.read(&format!("{o}.{number}")));
        assert!(ours == theirs, "the object of {object} differs: {version} {more}");
    }
    scratch.read("ours.2")
}

#[test]
fn objects_are_those_of_llvm() {
    let scratch = Scratch::new("devirtualization-objects");
    for version in [19, 22] {
        compile(&scratch, version, "");
        let public = compare_objects(&scratch, version, "");
        let cache = "-whole-program-visibility -cache-dir=cache";
        let whole = compare_objects(&scratch, version, cache);
        assert!(public != whole, "nothing was devirtualized");
        // A cache must tell the two apart, and know them again.
        assert!(compare_objects(&scratch, version, cache) == whole);
        assert!(compare_objects(&scratch, version, "-cache-dir=cache") == public);
        compile(&scratch, version, "-fvisibility=hidden");
        compare_objects(&scratch, version, "");
        compare_objects(&scratch, version, "-wholeprogramdevirt-check=trap");
    }
    // Names of templates are often longer than a key of YAML may be, and some are not ASCII.
    for version in [19, 22] {
        let long = format!("-DOnly=\u{c4}{}", "x".repeat(1200));
        compile(&scratch, version, &format!("-fvisibility=hidden {long}"));
        compare_objects(&scratch, version, "");
    }
    // What libLTO's callers get is of another driver.
    for (program, folder) in [("llvm-lto-22", "theirs"), (env!("CARGO_BIN_EXE_llvm-lto"), "ours")] {
        let folder = scratch.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        for object in OBJECTS.split(' ') {
            std::fs::copy(scratch.path().join(object), folder.join(object)).unwrap();
        }
        let arguments = format!("-thinlto-action=run -exported-symbol=main {OBJECTS}");
        let mut command = scratch.command(program, &arguments);
        command.current_dir(&folder).env("LTO_LLVM", support::llvm(22));
        support::checked(command);
    }
    for object in OBJECTS.split(' ') {
        let [ours, theirs] =
            ["ours", "theirs"].map(|f| scratch.read(&format!("{f}/{object}.thinlto.o")));
        assert!(ours == theirs, "the object of {object} differs by llvm-lto");
    }
}

#[test]
fn objects_of_split_modules_are_those_of_llvm() {
    let scratch = Scratch::new("devirtualization-split");
    for version in [19, 22] {
        compile_split(&scratch, version, "");
        let public = compare_objects(&scratch, version, "");
        assert!(scratch.exists("ours.0"), "the modules are not split");
        let cache = "-whole-program-visibility -cache-dir=cache";
        let whole = compare_objects(&scratch, version, cache);
        assert!(public != whole, "nothing was devirtualized");
        assert!(compare_objects(&scratch, version, cache) == whole);
        assert!(compare_objects(&scratch, version, "-cache-dir=cache") == public);
        compile_split(&scratch, version, "-fvisibility=hidden");
        for level in ["-O0", "-O2", "-O3"] {
            compare_objects(&scratch, version, level);
        }
    }
    // Names of templates are often longer than a key of YAML may be, and some are not ASCII.
    let long = format!("-DOnly=\u{c4}{}", "x".repeat(1200));
    compile_split(&scratch, 22, &format!("-fvisibility=hidden {long}"));
    compare_objects(&scratch, 22, "");
}

#[test]
fn modules_of_full_lto_say_what_is_of_a_type() {
    let scratch = Scratch::new("devirtualization-mixed");
    for version in [19, 22] {
        compile_split(&scratch, version, "-fvisibility=hidden");
        let flags = "-include shared.h -O2 -flto -fwhole-program-vtables";
        let clang = format!("{flags} -fvisibility=hidden -c a.cc");
        scratch.run(&format!("clang++-{version}"), &clang);
        let link = "-e main --unresolved-symbols=ignore-all -o out --save-temps=resolution";
        scratch.run(&format!("ld.lld-{version}"), &format!("{link} {OBJECTS}"));
        let arguments =
            |out: &str| format!("run @out.resolution.txt -relocation-model=pic -O2 -o {out}");
        scratch.run(&format!("llvm-lto2-{version}"), &arguments("theirs"));
        let mut ours = scratch.command(OURS, &arguments("ours"));
        ours.env("LTO_LLVM", support::llvm(version));
        support::checked(ours);
        // What others are compiled to; regular LTO finds its functions by other ways.
        for task in 1..5 {
            let [ours, theirs] = ["ours", "theirs"].map(|o| scratch.read(&format!("{o}.{task}")));
            assert!(ours == theirs, "object {task} differs: {version}");
        }
    }
}

#[test]
fn indexes_of_split_modules_are_those_of_llvm() {
    let scratch = Scratch::new("devirtualization-split-index");
    for version in [19, 22] {
        compile_split(&scratch, version, "-fvisibility=hidden");
        let mut seen = Vec::new();
        for program in [format!("llvm-lto2-{version}"), OURS.to_owned()] {
            let arguments =
                "run @out.resolution.txt -relocation-model=pic -o lto -thinlto-distributed-indexes";
            let mut command = scratch.command(&program, arguments);
            command.env("LTO_LLVM", support::llvm(version));
            if program == OURS {
                command.arg(format!("-llvm-version={version}"));
            }
            support::checked(command);
            let names = OBJECTS.split(' ').map(|object| format!("{object}.thinlto.bc"));
            let mut files: Vec<Vec<u8>> = names.map(|name| scratch.read(&name)).collect();
            files.push(scratch.read("lto.0"));
            std::fs::remove_file(scratch.path().join("lto.0")).unwrap();
            seen.push(files);
        }
        for (at, (theirs, ours)) in seen[0].iter().zip(&seen[1]).enumerate() {
            assert!(ours == theirs, "file {at} differs: {version}");
        }
        let text = scratch.run(&format!("llvm-dis-{version}"), "b.o.thinlto.bc -o -");
        assert!(text.contains("singleImplName: \"_ZN4Only3oneEi\""), "{text}");
    }
}

#[test]
fn a_program_linked_by_the_plugin_calls_directly() {
    let scratch = Scratch::new("devirtualization-plugin");
    compile(&scratch, 22, "");
    let link = |more: &str, out: &str| {
        let options = format!("-Wl,-plugin-opt=save-temps {more}");
        scratch.link("bfd", &format!("{options} {OBJECTS} -lstdc++ -o {out}"));
        scratch.program(out, "");
        scratch.run("llvm-dis-22", "b.o.4.opt.bc -o -")
    };
    let loads = |text: &str| text.matches("load ptr, ptr").count();
    let virtual_calls = link("", "public");
    let direct = link("-Wl,-plugin-opt=whole-program-visibility", "whole");
    assert!(loads(&virtual_calls) > loads(&direct), "{direct}");
    assert_eq!(loads(&direct), 0, "{direct}");
    // A program of split modules calls some of them through a function that chooses.
    compile_split(&scratch, 22, "-fvisibility=hidden");
    let direct = link("", "split");
    assert_eq!(loads(&direct), 0, "{direct}");
    compile(&scratch, 22, "");
    // Without workers, machines of one process share the options.
    let mut command = scratch.command(
        "gcc",
        &format!(
            "-fuse-ld=bfd -Wl,-plugin,$P -Wl,-plugin-opt=jobs=2 \
             -Wl,-plugin-opt=whole-program-visibility {OBJECTS} -lstdc++ -o inside"
        ),
    );
    command.env("LTO_ENGINE", "in-process");
    support::checked(command);
    assert!(scratch.read("inside") == scratch.read("whole"));
}

#[test]
fn merged_modules_are_those_of_llvm() {
    let scratch = Scratch::new("devirtualization-regular");
    scratch.write("shared.h", SHARED);
    for (name, source) in SOURCES {
        scratch.write(&format!("{name}.cc"), source);
        let flags = "-include shared.h -O2 -flto -fwhole-program-vtables";
        scratch.run("clang++-22", &format!("{flags} -c {name}.cc"));
    }
    let link = "-e main --unresolved-symbols=ignore-all -o out --save-temps=resolution";
    scratch.run("ld.lld-22", &format!("{link} {OBJECTS}"));
    // With the option, LLVM keeps what it devirtualizes under other names (`f.llvm.merged`), as its
    // summaries tell of callers that were merged in by then. The calls are direct all the same.
    let arguments = |out: &str| {
        format!("run @out.resolution.txt -relocation-model=pic -O2 -save-temps -o {out}")
    };
    scratch.run("llvm-lto2-22", &arguments("theirs"));
    scratch.run(OURS, &arguments("ours"));
    assert!(scratch.read("ours.0") == scratch.read("theirs.0"));
    let stage = |out: &str, stage: &str| {
        let text = scratch.run("llvm-dis-22", &format!("{out}.0.{stage}.bc -o -"));
        text.split_once('\n').map(|(_, text)| text.to_owned()).unwrap_or_default()
    };
    let loads = |out: &str| stage(out, "4.opt").matches("load ptr, ptr").count();
    let public = loads("ours");
    let whole = |out: &str| format!("{} -whole-program-visibility", arguments(out));
    scratch.run("llvm-lto2-22", &whole("theirs"));
    scratch.run(OURS, &whole("ours"));
    for before in ["0.preopt", "2.internalize"] {
        assert_eq!(stage("ours", before), stage("theirs", before));
    }
    assert!(loads("ours") < public && loads("ours") <= loads("theirs"));
    for more in ["", "-whole-program-visibility"] {
        let arguments = |out: &str| format!("-exported-symbol=main {OBJECTS} -o {out} {more}");
        scratch.run("llvm-lto-22", &arguments("theirs.o"));
        scratch.run(env!("CARGO_BIN_EXE_llvm-lto"), &arguments("ours.o"));
        assert!(scratch.read("ours.o") == scratch.read("theirs.o"), "llvm-lto {more}");
    }
}
