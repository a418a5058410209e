//! Command lines of `llvm-lto2` and `llvm-lto`: what is done with an option, beside LLVM's programs,
//! or which error says that nothing is.

mod support;

use std::os::unix::process::ExitStatusExt;

use support::{Scratch, checked, llvm};

/// A program of a module that imports from another, and the words that link it.
fn two_modules(name: &str) -> (Scratch, String) {
    let s = Scratch::new(name);
    s.write("a.c", "int g(int);\nint main(int c, char **v) { return g(c); }\n");
    s.write("b.c", "int x; static void __attribute__((constructor)) f(void) { __asm__ volatile(\"\"); }\nint g(int c) { return c * x; }\n");
    s.clang(22, "-O1 -fPIC -flto=thin -c a.c -o a.o");
    s.clang(22, "-O1 -fPIC -flto=thin -c b.c -o b.o");
    let link = "run a.o b.o -r a.o,main,plx -r a.o,g, -r b.o,g,pl -r b.o,x,px";
    (s, link.to_owned())
}

/// Runs llvm-lto2; whether it succeeded, and what it said.
fn ours(s: &Scratch, args: &str) -> (bool, String) {
    let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto2"), args);
    let output = command.env("LTO_LLVM", llvm(22)).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_option_is_served_or_refused_whatever_is_linked() {
    let (s, link) = two_modules("lto-command-lines-served");
    for action in ["-thinlto-distributed-indexes", ""] {
        let run = |option: &str| ours(&s, &format!("{link} -o o {action} {option}"));
        for option in [
            "-inline-threshold=5", // libLLVM's
            "-inline-threshold 5",
            "-import-instr-limit=5",
            "-print-imports",
            "-disable-tail-calls",
            "-float-abi=default",
            "-float-abi default",
            "-stack-size-section=0",
        ] {
            let (done, said) = run(option);
            // A value that stands apart is a file, unless its option is known here.
            assert_eq!(done, option != "-inline-threshold 5", "{action} {option}: {said}");
        }
        for option in ["-nonsense", "--nonsense=3", "-import-instr-limit=x", "-filetype=x"] {
            let (done, said) = run(option);
            assert!(!done && !said.is_empty(), "{action} {option}: {said}");
        }
        for option in [
            "-emulated-tls",
            "-float-abi=hard",
            "-thinlto-move-symbols=f",
            "-thinlto-assume-merged",
            "-load-pass-plugin=x.so",
            "-lto-cspgo-gen",
            "-dtlto-distributor=x",
        ] {
            let (done, said) = run(option);
            assert!(!done && said.contains("is not served"), "{action} {option}: {said}");
        }
        let (done, said) = run("-nonsense");
        assert!(!done && said.contains("Unknown command line argument '-nonsense'"), "{said}");
    }
    let index = "-thinlto-action=thinlink a.o b.o -o index";
    for (option, known) in [("-inline-threshold=5", true), ("-nonsense", false)] {
        let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto"), &format!("{index} {option}"));
        let output = command.env("LTO_LLVM", llvm(22)).output().unwrap();
        assert_eq!(output.status.success(), known, "{option}: {output:?}");
    }
}

#[test]
fn libllvm_is_asked_only_of_options_that_it_alone_knows() {
    let (s, link) = two_modules("lto-command-lines-alone");
    let args =
        format!("{link} -o o -thinlto-distributed-indexes -mcpu=x86-64 -import-instr-limit=5");
    let run = |args: &str| {
        let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto2"), args);
        command.env("LTO_WORKER", "/nowhere/lto-worker").output().unwrap()
    };
    assert!(run(&args).status.success());
    let output = run(&format!("{args} -inline-threshold=5"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("/nowhere/lto-worker"), "{said}");
}

#[test]
fn times_are_left_where_llvms_program_leaves_them() {
    let (s, link) = two_modules("lto-command-lines-times");
    for (action, phase) in [("-thinlto-distributed-indexes", "thin_link"), ("", "compile")] {
        for (option, file) in
            [("-time-trace", "o.time-trace"), ("-time-trace -time-trace-file=t.json", "t.json")]
        {
            let args = format!("{link} -o o {action} {option} -time-trace-granularity=0");
            assert_eq!(ours(&s, &args), (true, String::new()), "{args}");
            let check = format!(
                "import json\n\
                 names = [event['name'] for event in json.load(open('{file}'))['traceEvents']]\n\
                 assert '{phase}' in names, names\n"
            );
            s.write("check.py", &check);
            s.run("python3", "check.py");
            std::fs::remove_file(s.path().join(file)).unwrap();
            checked(s.command("llvm-lto2-22", &args));
            std::fs::remove_file(s.path().join(file)).unwrap();
        }
        // The name of a file does not ask for it.
        assert!(ours(&s, &format!("{link} -o o {action} -time-trace-file=t.json")).0);
        assert!(!s.exists("t.json"));
        let (done, said) =
            ours(&s, &format!("{link} -o o {action} -time-trace -time-trace-file=none/t.json"));
        assert!(!done && said.contains("none/t.json"), "{said}");
        let (done, said) = ours(&s, &format!("{link} -o o {action} -time-trace-granularity=x"));
        assert!(!done && said.contains("'x' value invalid for uint argument"), "{said}");
    }
}

#[test]
fn flags_of_code_generation_give_llvms_objects() {
    let (s, link) = two_modules("lto-command-lines-flags");
    s.write(
        "n.ll",
        "target datalayout = \"e-m:e-i8:8:32-i16:16:32-i64:64-i128:128-n32:64-S128\"\n\
         define i32 @n(i32 %a) {\n  %b = mul i32 %a, 3\n  ret i32 %b\n}\n",
    );
    s.run("llvm-as-22", "n.ll -o n.o");
    assert!(ours(&s, &format!("{link} -o plain")).0);
    let alone = "run n.o -r n.o,n,plx";
    for (link, option, file, changes) in [
        (link.as_str(), "-use-ctors", "2", true),
        (link.as_str(), "-addrsig", "2", true),
        (link.as_str(), "-addrsig=0", "2", false),
        (link.as_str(), "-x86-relax-relocations=0", "2", true),
        (link.as_str(), "-x86-relax-relocations", "2", false),
        (alone, "-default-triple=aarch64-unknown-linux-gnu", "0", true),
    ] {
        let args = |who: &str| format!("{link} -o {who} {option}");
        checked(s.command("llvm-lto2-22", &args("their")));
        assert_eq!(ours(&s, &args("our")), (true, String::new()), "{option}");
        let [their, our] = ["their", "our"].map(|who| s.read(&format!("{who}.{file}")));
        assert!(their == our, "{option}");
        if file == "2" {
            assert_eq!(s.read("plain.2") != our, changes, "{option}");
        }
    }
}

#[test]
fn a_feature_without_a_sign_is_one_to_have() {
    let s = Scratch::new("lto-command-lines-features");
    s.write(
        "v.ll",
        "target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-\
         n8:16:32:64-S128\"\ntarget triple = \"x86_64-unknown-linux-gnu\"\n\
         define <8 x i32> @f(<8 x i32> %a) {\n  %b = add <8 x i32> %a, %a\n  ret <8 x i32> %b\n}\n",
    );
    s.run("llvm-as-22", "v.ll -o v.o");
    let made = ["-mattr=avx2", "-mattr=+AVX2,-sse4a", "-mattr=-avx2"].map(|option| {
        let args = |who: &str| format!("run v.o -r v.o,f,plx -o {who} {option}");
        checked(s.command("llvm-lto2-22", &args("their")));
        assert_eq!(ours(&s, &args("our")), (true, String::new()), "{option}");
        assert!(s.read("their.0") == s.read("our.0"), "{option}");
        s.read("our.0")
    });
    assert!(made[0] == made[1] && made[0] != made[2]);
}

#[test]
fn programs_present_themselves() {
    let s = Scratch::new("lto-command-lines-help");
    for (program, args, word) in [
        (env!("CARGO_BIN_EXE_llvm-lto2"), "run --help", "--thinlto-distributed-indexes"),
        (env!("CARGO_BIN_EXE_llvm-lto2"), "run a -o b -version", "llvm-lto2 of libLTO"),
        (env!("CARGO_BIN_EXE_llvm-lto2"), "--version", "llvm-lto2 of libLTO"),
        (env!("CARGO_BIN_EXE_llvm-lto"), "-help", "--thinlto-action="),
        (env!("CARGO_BIN_EXE_llvm-lto"), "a -version", "llvm-lto of libLTO"),
    ] {
        let said = s.run(program, args);
        assert!(said.contains(word), "{args}: {said}");
    }
    let guid = s.run(env!("CARGO_BIN_EXE_llvm-lto2"), "print-guid main others");
    assert_eq!(guid, s.run("llvm-lto2-22", "print-guid main others"));
    for args in ["", "print-guid", "frobnicate"] {
        let said = s.fail(env!("CARGO_BIN_EXE_llvm-lto2"), args);
        assert!(said.contains("Available subcommands: dump-symtab run print-guid"), "{said}");
    }
}

#[test]
fn levels_may_stand_apart() {
    let (s, link) = two_modules("lto-command-lines-levels");
    for (option, same) in [("-O0", "-O 0"), ("-O3", "-O=3"), ("-O1", "--O=1")] {
        assert_eq!(ours(&s, &format!("{link} -o joined {option}")), (true, String::new()));
        assert_eq!(ours(&s, &format!("{link} -o apart {same}")), (true, String::new()));
        checked(s.command("llvm-lto2-22", &format!("{link} -o their {same}")));
        for task in 1..=2 {
            let [joined, apart, their] =
                ["joined", "apart", "their"].map(|name| s.read(&format!("{name}.{task}")));
            assert!(joined == apart && apart == their, "{same}");
        }
    }
    for option in ["-O7", "-Os", "-O 17", "-O"] {
        assert!(!ours(&s, &format!("{link} -o o {option}")).0, "{option}");
    }
    let (_, said) = ours(&s, "run a.o -o");
    assert!(said.contains("for the -o option: requires a value!"), "{said}");
}

#[test]
fn a_fatal_error_of_llvm_ends_the_program_by_its_signal() {
    let (s, link) = two_modules("lto-command-lines-fatal");
    for (option, message) in [
        (
            "-opt-pipeline=foogoo",
            "LLVM ERROR: unable to parse pass pipeline description 'foogoo': unknown pass name \
             'foogoo'",
        ),
        (
            "-aa-pipeline=foogoo",
            "LLVM ERROR: unable to parse AA pipeline description 'foogoo': unknown alias analysis \
             name 'foogoo'",
        ),
    ] {
        for program in [env!("CARGO_BIN_EXE_llvm-lto2"), "llvm-lto2-22"] {
            let mut command = s.command(program, &format!("{link} -o o {option}"));
            let output = command.env("LTO_LLVM", llvm(22)).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(message), "{program}: {said}");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{program}");
        }
    }
}

#[test]
fn alias_analyses_are_chosen_where_libllvm_can() {
    let s = Scratch::new("lto-command-lines-alias");
    s.write(
        "a.c",
        "int f(int *a, float *b) { *a = 1; *b = 2; return *a; }\n\
         int main(int c, char **v) { return f((int *)v[0], (float *)v[1]); }\n",
    );
    // Without passes, nothing has been found out yet that another analysis would change.
    for (mode, flags, task) in [("full", "-Xclang -disable-llvm-passes", 0), ("thin", "", 1)] {
        s.clang(22, &format!("-O1 {flags} -flto={mode} -c a.c -o a.o"));
        let made = ["basic-aa", "basic-aa,scoped-noalias-aa,tbaa", ""].map(|analyses| {
            let args = |who: &str| {
                let option = format!("-aa-pipeline={analyses}");
                format!("run a.o -r a.o,f,pl -r a.o,main,plx -o {who} {option}")
            };
            checked(s.command("llvm-lto2-22", &args("their")));
            assert_eq!(ours(&s, &args("our")), (true, String::new()), "{mode} {analyses}");
            let [their, our] = ["their", "our"].map(|who| s.read(&format!("{who}.{task}")));
            assert!(their == our, "{mode} {analyses}");
            our
        });
        assert!((made[0] == made[1]) == (mode == "thin") && made[1] == made[2], "{mode}");
    }
    let mut old = s.command(
        env!("CARGO_BIN_EXE_llvm-lto2"),
        "run old.o -r old.o,f,pl -r old.o,main,plx -o our -aa-pipeline=basic-aa",
    );
    s.clang(19, "-O1 -flto=thin -c a.c -o old.o");
    let output = old.env("LTO_LLVM", llvm(19)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("-aa-pipeline is not served with LLVM 19"), "{said}");
}

#[test]
fn a_combined_index_may_have_no_name_but_its_ending() {
    let (s, _) = two_modules("lto-command-lines-combined");
    checked(s.command("llvm-lto-22", "-thinlto a.o b.o"));
    let theirs = s.read(".thinlto.bc");
    std::fs::remove_file(s.path().join(".thinlto.bc")).unwrap();
    let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto"), "-thinlto a.o b.o");
    command.env("LTO_LLVM", llvm(22));
    checked(command);
    assert!(s.read(".thinlto.bc") == theirs);
}

#[test]
fn virtual_calls_are_resolved_before_a_module_is_left() {
    let s = Scratch::new("lto-command-lines-before");
    let text = "target triple = \"x86_64-unknown-linux-gnu\"\n\
        target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-\
        n8:16:32:64-S128\"\n\
        declare i1 @llvm.public.type.test(ptr, metadata)\ndeclare void @llvm.assume(i1)\n\
        define i32 @main(ptr %0) {\n  %2 = call i1 @llvm.public.type.test(ptr %0, metadata !\"_ZTS1A\")\n\
        call void @llvm.assume(i1 %2)\n  ret i32 0\n}\n";
    s.write("a.ll", text);
    for version in [19, 22] {
        s.run(&format!("llvm-as-{version}"), "a.ll -o a.o");
        for option in ["-whole-program-visibility", ""] {
            let args = |who: &str| {
                format!("-exported-symbol=main a.o -o {who} -lto-save-before-opt {option}")
            };
            checked(s.command(&format!("llvm-lto-{version}"), &args("their")));
            let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto"), &args("our"));
            command.env("LTO_LLVM", llvm(version));
            checked(command);
            let [their, our] = ["their", "our"].map(|who| {
                let text =
                    s.run(&format!("llvm-dis-{version}"), &format!("{who}.0.preopt.bc -o -"));
                text.lines().skip(1).collect::<Vec<_>>().join("\n")
            });
            assert_eq!(our, their, "LLVM {version} {option}");
            assert_eq!(our.contains("call i1 @llvm.type.test"), !option.is_empty(), "{our}");
        }
    }
}

#[test]
fn what_backends_would_do_for_control_flow_integrity_is_not_done_twice() {
    let s = Scratch::new("lto-command-lines-cfi-functions");
    s.write(
        "a.ll",
        "target triple = \"x86_64-unknown-linux-gnu\"\n\
         target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-\
         n8:16:32:64-S128\"\n\
         define void @f() {\n  ret void\n}\n\
         !before = !{!0}\n!cfi.functions = !{!1, !2}\n!after = !{!1}\n\
         !0 = !{!\"x\"}\n!1 = !{!\"main\", i8 0}\n!2 = !{!\"other\", i8 1}\n",
    );
    for version in [19, 22] {
        s.run(
            &format!("opt-{version}"),
            "-thinlto-bc -thinlto-split-lto-unit -unified-lto a.ll -o a.o",
        );
        for mode in ["full", "thin"] {
            let args = |who: &str| {
                format!("run a.o -r a.o,f,plx -unified-lto={mode} -save-temps -o {who}")
            };
            checked(s.command(&format!("llvm-lto2-{version}"), &args("their")));
            let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto2"), &args("our"));
            command.env("LTO_LLVM", llvm(version));
            checked(command);
            let task = if mode == "full" { 0 } else { 1 };
            let [their, our] = ["their", "our"].map(|who| {
                let file = format!("{who}.{task}.0.preopt.bc -o -");
                let text = s.run(&format!("llvm-dis-{version}"), &file);
                text.lines().skip(1).collect::<Vec<_>>().join("\n")
            });
            assert_eq!(our, their, "LLVM {version} {mode}");
            assert!(our.contains("!before = ") && our.contains("!after = "), "{our}");
            assert_eq!(our.contains("cfi.functions"), mode == "thin", "{our}");
        }
    }
}
