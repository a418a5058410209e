//! Command lines of `llvm-lto2` and `llvm-lto`: what is done with an option, beside LLVM's programs,
//! or which error says that nothing is.

mod support;

use support::{Scratch, checked, llvm};

/// A program of a module that imports from another, and the words that link it.
fn two_modules(name: &str) -> (Scratch, String) {
    let s = Scratch::new(name);
    s.write("a.c", "int g(int);\nint main(int c, char **v) { return g(c); }\n");
    s.write("b.c", "int x; static void __attribute__((constructor)) f(void) { __asm__ volatile(\"\"); }\nint g(int c) { return c * x; }\n");
    s.clang(22, "-O1 -flto=thin -c a.c -o a.o");
    s.clang(22, "-O1 -flto=thin -c b.c -o b.o");
    let link = "run a.o b.o -r a.o,main,plx -r a.o,g, -r b.o,g,pl -r b.o,x,pl";
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
            "-lto-sample-profile-file=x",
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
