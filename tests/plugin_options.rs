//! The plugin's options: what they leave on disk, what they say, and that broken input and broken
//! circumstances end a link with an error and nothing else.

mod support;

use support::{LINKERS, Scratch, llvm};

fn pair(name: &str) -> Scratch {
    let s = Scratch::new(name);
    s.write("a.c", "#include <stdio.h>\nint foo(int);\nint main(int c, char **v) { printf(\"%d\", foo(c)); return 0; }");
    s.write("b.c", "int foo(int x) { return x + 41; }");
    s.clang(22, "-O2 -flto=thin -c a.c b.c");
    s.clang(22, "-O2 -flto=full -c b.c -o b_full.o");
    s
}

const START: [&str; 5] = ["a.c", "a.o", "b.c", "b.o", "b_full.o"];

/// The files that a command made, and removes them.
fn made(s: &Scratch) -> Vec<String> {
    let new: Vec<String> = s.files().into_iter().filter(|f| !START.contains(&f.as_str())).collect();
    for file in &new {
        std::fs::remove_file(s.path().join(file)).unwrap();
    }
    new
}

#[test]
fn save_temps_leaves_llvms_names() {
    let s = pair("options-save-temps");
    for linker in LINKERS {
        s.link(linker, "-Wl,-plugin-opt=save-temps a.o b_full.o -o prog");
        s.run("llvm-dis-22", "a.o.4.opt.bc -o -");
        s.run("llvm-dis-22", "prog.0.2.internalize.bc -o -");
        let resolutions = String::from_utf8(s.read("prog.resolution.txt")).unwrap();
        assert!(resolutions.contains("a.o\n-r=a.o,main,plx\n"), "{resolutions}");
        assert!(resolutions.contains("-r=b_full.o,foo,pl\n"), "{resolutions}");
        assert_eq!(
            made(&s),
            [
                "a.o.0.preopt.bc",
                "a.o.1.promote.bc",
                "a.o.2.internalize.bc",
                "a.o.3.import.bc",
                "a.o.4.opt.bc",
                "a.o.5.precodegen.bc",
                "prog",
                "prog.0.0.preopt.bc",
                "prog.0.2.internalize.bc",
                "prog.0.4.opt.bc",
                "prog.0.5.precodegen.bc",
                "prog.index.bc",
                "prog.index.dot",
                "prog.lto.o",
                "prog.lto.o1",
                "prog.resolution.txt",
            ],
            "{linker}"
        );
    }
}

#[test]
fn objects_are_numbered_by_task() {
    let s = pair("options-obj-path");
    for linker in LINKERS {
        s.link(linker, "-Wl,-plugin-opt=obj-path=X a.o b.o -o prog");
        // An object for regular LTO is written even where it is empty, as build systems wait
        // for its name.
        assert_eq!(made(&s), ["X", "X1", "X2", "prog"], "{linker}");
        s.link(linker, "-Wl,-plugin-opt=obj-path=X a.o b_full.o -o prog");
        assert_eq!(made(&s), ["X", "X1", "prog"], "{linker}");
    }
}

#[test]
fn bitcode_assembly_or_nothing_instead_of_a_link() {
    let s = pair("options-output");
    for linker in LINKERS {
        s.link(linker, "-Wl,-plugin-opt=emit-llvm a.o b_full.o -o prog");
        assert!(s.run("llvm-dis-22", "prog -o -").contains("@foo"));
        assert_eq!(made(&s), ["prog", "prog1"], "{linker}");
        s.link(linker, "-Wl,-plugin-opt=emit-asm a.o b_full.o -o prog");
        assert!(String::from_utf8(s.read("prog")).unwrap().contains("foo:"));
        assert_eq!(made(&s), ["prog", "prog1"], "{linker}");
        s.link(linker, "-Wl,-plugin-opt=disable-output a.o b_full.o -o prog");
        assert!(made(&s).is_empty(), "{linker}");
    }
}

#[test]
fn processor_triple_jobs_and_llvms_own_options_arrive() {
    let s = pair("options-target");
    // Without attributes of its own, so that the options alone say what it is compiled for.
    s.write(
        "v.ll",
        r#"
        target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
        target triple = "x86_64-unknown-linux-gnu"
        define void @add(ptr %a, ptr %b) {
            %x = load <8 x float>, ptr %a
            %y = load <8 x float>, ptr %b
            %z = fadd <8 x float> %x, %y
            store <8 x float> %z, ptr %a
            ret void
        }
        "#,
    );
    s.run("llvm-as-22", "v.ll -o v.o");
    let assembly = |options: &str| {
        s.link("bfd", &format!("-shared -Wl,-plugin-opt=emit-asm {options} v.o -o v.s"));
        String::from_utf8(s.read("v.s")).unwrap()
    };
    assert!(!assembly("").contains("%ymm"));
    assert!(assembly("-Wl,-plugin-opt=mcpu=haswell").contains("%ymm"));
    assert!(assembly("-Wl,-plugin-opt=-mattr=+avx2").contains("%ymm"));
    assert!(assembly("").contains(".section\t.text.add"));
    assert!(!assembly("-Wl,-plugin-opt=-function-sections=0").contains(".section\t.text.add"));
    // An option of libLLVM's.
    assert!(assembly("-Wl,-plugin-opt=-x86-asm-syntax=intel").contains("xmmword ptr"));
    for jobs in ["1", "2", "all", "0"] {
        s.link("bfd", &format!("-Wl,-plugin-opt=jobs={jobs} a.o b.o -o prog"));
        assert_eq!(s.program("prog", ""), "42");
    }
    s.link("gold", "-Wl,-plugin-opt=mtriple=x86_64-unknown-linux-gnu a.o b.o -o prog");
    assert_eq!(s.program("prog", ""), "42");
}

/// clang names the profile of `-fprofile-use` to the plugin. One without context-sensitive counts
/// changes nothing in full LTO, and in ThinLTO what LLVM's plugin makes of it.
#[test]
fn the_profile_of_the_compiler_is_not_in_the_way() {
    let s = Scratch::new("options-profile");
    s.write("a.c", "inline int f(int x) { return x * x + 7; } extern int g(int); int h(int x) { return f(x) + g(x); }");
    s.write("b.c", "extern int h(int); static int k(int x) { return h(x); } int main(int c, char **v) { return k(c) + k(2); }");
    s.write("p.proftext", ":ir\nmain\n1\n2\n1\n1\n");
    s.write("cs.proftext", ":csir\nmain\n1152921504606846977\n2\n1\n1\n");
    for text in ["p", "cs"] {
        s.run("llvm-profdata-22", &format!("merge {text}.proftext -o {text}.profdata"));
    }
    for mode in ["full", "thin"] {
        s.clang(22, &format!("-O2 -fPIC -flto={mode} -c a.c b.c"));
        let link = |plugin: &str, profile: &str, out: &str| {
            format!(
                "-shared -plugin {plugin} -plugin-opt cs-profile-path={profile} \
                 -plugin-opt obj-path={out} a.o b.o -o prog"
            )
        };
        s.run("ld.gold", &link("$P", "p.profdata", "ours"));
        s.run("ld.gold", &link("/usr/lib/llvm-22/lib/LLVMgold.so", "p.profdata", "theirs"));
        let number = if mode == "full" { "" } else { "2" };
        let object = |name: &str| s.read(&format!("{name}{number}"));
        assert!(object("ours") == object("theirs"), "{mode}");
        for (profile, cause) in [
            ("cs.profdata", "cs.profdata: a context-sensitive profile"),
            ("a.c", "a.c: not a profile"),
            ("none", "none: "),
        ] {
            let said = s.fail("ld.gold", &link("$P", profile, "ours"));
            assert!(said.contains(cause), "{mode} {profile}: {said}");
        }
    }
}

/// What LLVM's plugin writes with the same libLLVM, of merged modules and of others.
#[test]
fn remarks_go_to_files_as_llvms_plugin_has_them() {
    for version in [14, 19, 22] {
        let s = Scratch::new(&format!("options-remarks-{version}"));
        s.write("a.c", "extern int g(int); static int f(int x) { return g(x) + 1; } int h(int x) { return f(x); }");
        s.write("b.c", "extern int h(int); int main(int c, char **v) { return h(c) + h(2); }");
        for (mode, file) in [("full", "R"), ("thin", "R.thin.2."), ("thin", "R")] {
            s.clang(version, &format!("-O1 -fPIC -flto={mode} -c a.c b.c"));
            for passes in ["", "-plugin-opt opt-remarks-passes=inline"] {
                let link = |plugin: &str, out: &str| {
                    let mut command = s.command(
                        "ld.gold",
                        &format!(
                            "-shared -plugin {plugin} -plugin-opt opt-remarks-filename={out} \
                             -plugin-opt opt-remarks-with-hotness {passes} a.o b.o -o prog"
                        ),
                    );
                    command.env("LTO_LLVM", llvm(version));
                    support::checked(command);
                    String::from_utf8(s.read(&file.replace('R', out))).unwrap()
                };
                let ours = link("$P", "ours");
                let place = format!("{version} {mode} {file} {passes}");
                let theirs = format!("/usr/lib/llvm-{version}/lib/LLVMgold.so");
                assert_eq!(ours, link(&theirs, "theirs"), "{place}");
                assert_eq!(
                    ours.contains("Pass:            inline"),
                    mode == "full" || file != "R",
                    "{place}"
                );
            }
        }
    }
    let s = pair("options-remarks-wrong");
    for (option, cause) in [
        ("opt-remarks-format=words", "Unknown remark format: 'words'"),
        ("opt-remarks-passes=(", "parentheses not balanced"),
        ("opt-remarks-hotness-threshold=x", "Invalid remarks hotness threshold"),
        ("-codegen-data-thinlto-two-rounds", "in two rounds"),
    ] {
        let options = format!("-plugin-opt opt-remarks-filename=r -plugin-opt {option}");
        let said = s.fail("ld.gold", &format!("-shared -plugin $P {options} a.o b.o -o prog"));
        assert!(said.contains(cause), "{option}: {said}");
    }
}

#[test]
fn wrong_options_are_errors() {
    let s = pair("options-wrong");
    for linker in LINKERS {
        for (option, cause) in [
            ("O7", "Optimization level must be between 0 and 3"),
            ("Os", "Optimization level must be between 0 and 3"),
            ("jobs=x", "Invalid parallelism level: x"),
            ("frobnicate", "unknown option 'frobnicate'"),
            ("-frobnicate", "Unknown command line argument '-frobnicate'"),
            ("cs-profile-generate", "'cs-profile-generate' is not supported yet"),
            ("sample-profile=p", "p: cannot open"),
        ] {
            let args = format!(
                "-fuse-ld={linker} -Wl,-plugin,$P -Wl,-plugin-opt={option} a.o b.o -o prog"
            );
            let said = s.fail("gcc", &args);
            assert!(said.contains(cause), "{linker} {option}: {said}");
            assert!(!s.exists("prog"), "{linker} {option}");
        }
    }
}

#[test]
fn broken_bitcode_is_named_with_its_cause() {
    let s = pair("options-broken");
    let good = s.read("b_full.o");
    s.write("truncated.o", &good[..good.len() / 8 * 4]);
    s.write("magic.o", b"BC\xc0\xde");
    let mut endless = b"BC\xc0\xde\x35\x14\0\0\xff\xff\xff\xff".to_vec();
    endless.resize(64, 0);
    s.write("endless.o", &endless);
    let mut wrapper = vec![0xde, 0xc0, 0x17, 0x0b, 0, 0, 0, 0, 20, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f];
    wrapper.resize(96, 0);
    s.write("wrapper.o", &wrapper);
    s.run("ar", "rc lib.a truncated.o");
    let before = s.files();
    for linker in LINKERS {
        for (input, place) in [
            ("truncated.o", " in truncated.o"),
            ("magic.o", " in magic.o"),
            ("endless.o", " in endless.o"),
            ("wrapper.o", " in wrapper.o"),
            ("-Wl,--whole-archive lib.a -Wl,--no-whole-archive", " in lib.a(truncated.o)"),
        ] {
            let said =
                s.fail("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,$P a.o {input} -o prog"));
            let words = "LLVM gold plugin has failed to create LTO module: ";
            assert!(said.contains(words), "{linker} {input}: {said}");
            assert!(said.contains(place), "{linker} {input}: {said}");
            // gold would go on to complain about every symbol of the link.
            assert!(!said.contains("undefined reference"), "{linker} {input}: {said}");
            assert_eq!(s.files(), before, "{linker} {input}");
        }
    }
}

#[test]
fn flipped_bits_never_crash_the_linker() {
    let s = pair("options-flipped");
    let good = s.read("b.o");
    // Every 61st byte, each time another bit.
    for (n, at) in (0..good.len()).step_by(61).enumerate() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (n % 8);
        s.write("bad.o", bad);
        let linker = LINKERS[n % 2];
        let mut command =
            s.command("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,$P a.o bad.o -o prog"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // Some flips do no harm, or change what the program says; no signal, no panic.
        assert!(output.status.code().is_some_and(|code| code <= 1), "byte {at}: {said}");
        assert!(!said.contains("internal error") && !said.contains("panicked"), "{at}: {said}");
        assert!(output.status.success() || said.contains("error"), "byte {at}: {said}");
    }
}

#[test]
fn a_producer_newer_than_libllvm_is_named() {
    let s = pair("options-newer");
    for linker in LINKERS {
        let mut command =
            s.command("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,$P a.o b.o -o prog"));
        command.env("LTO_LLVM", "/usr/lib/x86_64-linux-gnu/libLLVM-16.so.1");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("LLVM22"), "{linker}: {said}");
        assert!(!s.exists("prog"));
    }
}

#[test]
fn statistics_tell_what_happened() {
    let s = pair("options-stats");
    let mut command = s.command("gcc", "-fuse-ld=bfd -Wl,-plugin,$P a.o b_full.o -o prog");
    command.env("LTO_STATS", s.path().join("stats.json")).env("LTO_LLVM", llvm(22));
    support::checked(command);
    let json = String::from_utf8(s.read("stats.json")).unwrap();
    for part in [
        "\"linker\": \"ld.bfd\"",
        "\"llvm_version\": \"22.",
        "\"modules\": 2",
        "\"regular_modules\": 1",
        "\"thin_modules\": 1",
        "\"compile\": ",
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
    s.link("gold", "-Wl,-plugin-opt=stats-file=other.json a.o b_full.o -o prog");
    assert!(String::from_utf8(s.read("other.json")).unwrap().contains("\"ld.gold\""));
}

#[test]
fn the_engine_may_run_in_the_linker_itself() {
    let s = pair("options-in-process");
    for linker in LINKERS {
        let mut command =
            s.command("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,$P a.o b_full.o -o prog"));
        command.env("LTO_ENGINE", "in-process");
        support::checked(command);
        assert_eq!(s.program("prog", ""), "42");
    }
}

#[test]
fn a_killed_link_leaves_nothing_behind() {
    let s = Scratch::new("options-killed");
    let mut source = String::new();
    for n in 0..400 {
        source += &format!(
            "int f{n}(int x) {{ int s = {n}; for (int i = 0; i < x; i++) {{ s += i * s; \
             for (int j = 0; j < i; j++) s ^= j * s << {}; }} return s; }}\n",
            n % 7
        );
    }
    s.write("big.c", source);
    s.clang(22, "-O1 -flto=full -c big.c");
    for signal in ["INT", "TERM", "KILL"] {
        let mut child = s
            .command("ld.bfd", "-shared -plugin $P big.o -o prog")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(400));
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let workers = std::fs::read_to_string(children).unwrap_or_default();
        s.run("kill", &format!("-{signal} {}", child.id()));
        child.wait().unwrap();
        for worker in workers.split_whitespace() {
            let gone = (0..100).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                // A zombie waits for init only.
                let state = std::fs::read_to_string(format!("/proc/{worker}/stat"));
                state.map_or(true, |stat| stat.contains(") Z "))
            });
            assert!(gone, "{signal}: worker {worker} lives on");
        }
        let _ = std::fs::remove_file(s.path().join("prog")); // ld.bfd's own
        assert_eq!(s.files(), ["big.c", "big.o"], "{signal}");
    }
}
