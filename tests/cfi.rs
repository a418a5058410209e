//! Control-flow integrity in ThinLTO, whose modules clang splits: programs that run right and stop at
//! what they must not do, and their files beside those of LLVM's own llvm-lto2.

mod support;

use std::os::unix::process::ExitStatusExt;

use support::{CLANGS, MODES, Scratch};

const OURS: &str = env!("CARGO_BIN_EXE_llvm-lto2");

/// Two unrelated families of classes, and functions of two types, of which one is local to its
/// module and one is native.
const SHARED: &str = r#"
    #include <cstdio>
    #include <cstdlib>
    #include <cstring>
    struct A { virtual int f(int); virtual ~A(); int x = 1; };
    struct B : A { int f(int) override; int y = 2; };
    struct C { virtual int g(int); virtual ~C(); };
    A *make_a(int kind);
    C *make_c();
    typedef int (*Unary)(int);
    Unary pick(int n);
    void *any(int n);
    int call_virtual(A *a, int k);
    int call_pointer(Unary f, int k);
    B *cast(A *a);
    int direct(A *a, int k);
    int outer(A *a, int k);
"#;

const SOURCES: [(&str, &str); 5] = [
    (
        "a",
        r#"
        int A::f(int k) { return k + x; }
        A::~A() {}
        int C::g(int k) { return k * 100; }
        C::~C() {}
        A *make_a(int kind) { return kind ? new B : new A; }
        C *make_c() { return new C; }
        "#,
    ),
    (
        "b",
        r#"
        int B::f(int k) { return k * y; }
        static int local(int k) { return k - 7; }
        extern "C" int plain(int k) { return k + 7; }
        static int binary(const char *s, int k) { return k + (int)strlen(s); }
        Unary pick(int n) { return n == 0 ? local : n == 1 ? plain : abs; }
        void *any(int n) { return n ? (void *)binary : (void *)plain; }
        "#,
    ),
    (
        "c",
        r#"
        __attribute__((noinline)) int call_virtual(A *a, int k) { return a->f(k); }
        __attribute__((noinline)) int call_pointer(Unary f, int k) { return f(k); }
        __attribute__((noinline)) B *cast(A *a) { return static_cast<B *>(a); }
        int direct(A *a, int k) { return a->f(k); }
        "#,
    ),
    // No checks but those of what it imports.
    ("n", "__attribute__((noinline)) int outer(A *a, int k) { return direct(a, k) + 1; }"),
    (
        "m",
        r#"
        int main(int argc, char **argv) {
          int sum = 0;
          for (int i = 0; i < 2; i++) sum += call_virtual(make_a(i), 5);
          for (int i = 0; i < 3; i++) sum += call_pointer(pick(i), -20);
          sum += cast(make_a(1))->y;
          const char *what = argc > 1 ? argv[1] : "";
          if (!strcmp(what, "virtual")) sum += call_virtual((A *)(void *)make_c(), 1);
          if (!strcmp(what, "imported")) sum += outer((A *)(void *)make_c(), 1);
          if (!strcmp(what, "pointer")) sum += call_pointer((Unary)any(1), 3);
          if (!strcmp(what, "cast")) sum += cast(make_a(0))->x;
          if (!strcmp(what, "allowed")) sum += call_pointer((Unary)any(0), 3);
          printf("%d", sum);
          return 0;
        }
        "#,
    ),
];

const OBJECTS: &str = "a.o b.o c.o n.o m.o";

/// Debian's packages of clang lack the list of what is not to be checked.
const CHECKED: &str = "-fsanitize=cfi -fno-sanitize-ignorelist -fvisibility=hidden";

fn compile(scratch: &Scratch, version: u32, flags: &str) {
    scratch.write("shared.h", SHARED);
    for (name, source) in SOURCES {
        scratch.write(&format!("{name}.cc"), source);
        let flags = format!("-include shared.h -O2 {CHECKED} {flags} -c {name}.cc");
        scratch.run(&format!("clang++-{version}"), &flags);
    }
}

/// Runs the program: what is allowed goes right, and it stops at anything else.
fn check(scratch: &Scratch, program: &str) {
    assert_eq!(scratch.program(program, ""), "-2", "{program}");
    assert_eq!(scratch.program(program, "allowed"), "8", "{program}");
    let path = scratch.path().join(program);
    for what in ["virtual", "imported", "pointer", "cast"] {
        let output = scratch.command(&path.to_string_lossy(), what).output().unwrap();
        let signal = output.status.signal();
        assert!(
            matches!(signal, Some(libc::SIGILL | libc::SIGTRAP)),
            "{program} {what}: {signal:?}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn programs_stop_at_what_they_must_not_do() {
    let scratch = Scratch::new("cfi-programs");
    for version in CLANGS {
        for mode in MODES {
            compile(&scratch, version, &format!("-flto={mode}"));
            scratch.link("gold", &format!("{OBJECTS} -lstdc++ -o checked"));
            check(&scratch, "checked");
        }
        // ld.bfd refuses constants of eight bits by name in what can be loaded anywhere.
        scratch.link("bfd", &format!("-no-pie {OBJECTS} -lstdc++ -o fixed"));
        check(&scratch, "fixed");
    }
    for more in ["-Wl,-plugin-opt=O0", "-Wl,-plugin-opt=O3 -Wl,-plugin-opt=jobs=2"] {
        scratch.link("gold", &format!("{more} {OBJECTS} -lstdc++ -o checked"));
        check(&scratch, "checked");
    }
    // A cache gives the same program again, and machines of one process share the options.
    let link = "-fuse-ld=gold -Wl,-plugin,$P -Wl,-plugin-opt=cache-dir=cache -lstdc++ -o checked";
    for inside in [false, false, true] {
        let mut command = scratch.command("gcc", &format!("{OBJECTS} {link}"));
        if inside {
            command.env("LTO_ENGINE", "in-process");
        }
        support::checked(command);
        check(&scratch, "checked");
    }
}

/// Has lld say what a linker would.
fn resolve(scratch: &Scratch, version: u32) {
    let link = "-e main --unresolved-symbols=ignore-all -o out --save-temps=resolution";
    scratch.run(&format!("ld.lld-{version}"), &format!("{link} {OBJECTS}"));
}

#[test]
fn objects_are_those_of_llvm() {
    let scratch = Scratch::new("cfi-objects");
    for version in [19, 22] {
        for flags in ["", "-fwhole-program-vtables -fsanitize-cfi-icall-generalize-pointers"] {
            compile(&scratch, version, &format!("-flto=thin {flags}"));
            resolve(&scratch, version);
            for level in 0..4 {
                let run = "run @out.resolution.txt -relocation-model=pic";
                let theirs = format!("{run} -O{level} -o theirs");
                scratch.run(&format!("llvm-lto2-{version}"), &theirs);
                let mut ours = scratch.command(OURS, &format!("{run} -O{level} -o ours"));
                ours.env("LTO_LLVM", support::llvm(version));
                support::checked(ours);
                for task in 0..6 {
                    let read = |who: &str| scratch.read(&format!("{who}.{task}"));
                    let same = read("ours") == read("theirs");
                    assert!(same, "object {task} differs: {version} {flags} -O{level}");
                }
            }
        }
    }
}

#[test]
fn distributed_backends_check_as_well() {
    let scratch = Scratch::new("cfi-distributed");
    let version = 22;
    compile(&scratch, version, "-flto=thin");
    resolve(&scratch, version);
    let run = "run @out.resolution.txt -relocation-model=pic -thinlto-distributed-indexes";
    let files = || {
        let names = OBJECTS.split(' ').map(|object| format!("{object}.thinlto.bc"));
        names.map(|name| scratch.read(&name)).collect::<Vec<_>>()
    };
    scratch.run(&format!("llvm-lto2-{version}"), &format!("{run} -o theirs"));
    let theirs = files();
    scratch.run(OURS, &format!("{run} -o ours"));
    assert!(files() == theirs);
    assert!(scratch.read("ours.0") == scratch.read("theirs.0"));
    // The same by the plugin, in a link of a build system.
    let index = "-Wl,-plugin-opt=thinlto-index-only -Wl,-plugin-opt=obj-path=regular.o";
    scratch.link("gold", &format!("{index} {OBJECTS} -lstdc++ -o none"));
    let mut objects = "regular.o".to_owned();
    for object in OBJECTS.split(' ') {
        let index = format!("-fthinlto-index={object}.thinlto.bc");
        scratch.clang(version, &format!("-O2 -c -x ir {object} {index} -o native-{object}"));
        objects += &format!(" native-{object}");
    }
    scratch.run("gcc", &format!("-fuse-ld=gold {objects} -lstdc++ -o program"));
    check(&scratch, "program");
}

#[test]
fn what_is_not_served_is_said() {
    let scratch = Scratch::new("cfi-unserved");
    compile(&scratch, 22, "-flto=thin -fsanitize-cfi-cross-dso");
    let link = format!("-fuse-ld=gold -Wl,-plugin,$P {OBJECTS} -lstdc++ -o program");
    let complaint = scratch.fail("gcc", &link);
    assert!(complaint.contains("across shared objects (-fsanitize-cfi-cross-dso)"), "{complaint}");
}
