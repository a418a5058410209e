//! Two rounds of code generation beside LLVM's own: `llvm-lto2 run -codegen-data-thinlto-two-rounds`
//! of LLVM 22, object by object.

mod support;

use std::fs;
use std::path::Path;

use rayon::prelude::*;
use support::{Scratch, checked, folder_in, library, llvm, sources};

const OURS: &str = env!("CARGO_BIN_EXE_llvm-lto2");
const ROUNDS: &str = "-codegen-data-thinlto-two-rounds";

/// Links by both; every object must be the same. Gives how many there are.
fn same_objects(s: &Scratch, args: &str) -> usize {
    s.run("llvm-lto2-22", &format!("run {args} -o theirs"));
    ours(s, args);
    let objects: Vec<String> = s.files().into_iter().filter(|f| f.starts_with("theirs.")).collect();
    for theirs in &objects {
        let ours = theirs.replace("theirs", "ours");
        assert!(s.read(&ours) == s.read(theirs), "{ours} differs: {args}");
    }
    objects.len()
}

fn ours(s: &Scratch, args: &str) {
    let mut command = s.command(OURS, &format!("run {args} -o ours"));
    command.env("LTO_LLVM", llvm(22));
    checked(command);
}

/// What goes wrong is said, and no object is left.
fn fails(s: &Scratch, args: &str, environment: &[(&str, &Path)]) -> String {
    let mut command = s.command(OURS, &format!("run {args} -o failed"));
    command.env("LTO_LLVM", llvm(22)).envs(environment.iter().copied());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args}");
    assert!(s.files().iter().all(|f| !f.starts_with("failed")), "{:?}", s.files());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Three modules that call the same function with two arguments in common: no sequence stands
/// twice in `one`, so that one round outlines nothing there.
fn three_modules(s: &Scratch) -> String {
    let caller = |name: &str, args: &str| format!("int {name}(void) {{ return taker({args}); }}\n");
    let declared = "int taker(int, int, int);\n".to_owned();
    s.write("one.c", declared.clone() + &caller("c", "30, 1, 2"));
    s.write("two.c", declared.clone() + &caller("a", "10, 1, 2") + &caller("b", "20, 1, 2"));
    s.write(
        "full.c",
        declared
            + &caller("d", "10, 30, 2")
            + &caller("e", "20, 40, 2")
            + &caller("f", "50, 60, 2"),
    );
    for (name, mode) in [("one", "thin"), ("two", "thin"), ("full", "full")] {
        s.clang(22, &format!("--target=arm64-apple-darwin -Oz -flto={mode} -c {name}.c"));
    }
    "one.o two.o -r=one.o,_c,px -r=one.o,_taker,x -r=two.o,_a,px -r=two.o,_b,px \
     -r=two.o,_taker,x"
        .to_owned()
}

const FULL: &str = "full.o -r=full.o,_d,px -r=full.o,_e,px -r=full.o,_f,px -r=full.o,_taker,x";

/// The functions that were outlined into, by object.
fn outlined(s: &Scratch, object: &str) -> usize {
    s.run("llvm-nm-22", object).matches("OUTLINED_FUNCTION_").count()
}

#[test]
fn a_sequence_of_another_module_is_outlined() {
    let s = Scratch::new("rounds-three");
    let thin = three_modules(&s);
    ours(&s, &thin);
    assert_eq!((outlined(&s, "ours.1"), outlined(&s, "ours.2")), (0, 1));
    assert_eq!(same_objects(&s, &format!("{thin} {ROUNDS}")), 2);
    assert_eq!((outlined(&s, "ours.1"), outlined(&s, "ours.2")), (1, 2));
}

#[test]
fn a_module_of_regular_lto_has_one_round() {
    let s = Scratch::new("rounds-regular");
    let thin = three_modules(&s);
    assert_eq!(same_objects(&s, &format!("{thin} {FULL} {ROUNDS}")), 3);
    assert_eq!(outlined(&s, "ours.0"), 1);
    assert_eq!((outlined(&s, "ours.1"), outlined(&s, "ours.2")), (1, 2));
}

#[test]
fn rounds_by_hand_are_the_same() {
    let s = Scratch::new("rounds-by-hand");
    let thin = three_modules(&s);
    same_objects(&s, &format!("{thin} -codegen-data-generate"));
    s.run("llvm-cgdata-22", "--merge ours.1 ours.2 -o merged.cgdata");
    same_objects(&s, &format!("{thin} -codegen-data-use-path=merged.cgdata"));
    let by_hand = [s.read("ours.1"), s.read("ours.2")];
    same_objects(&s, &format!("{thin} {ROUNDS}"));
    assert!(by_hand == [s.read("ours.1"), s.read("ours.2")]);
}

/// As ld64 links: LLVM's own code generator of libLTO knows no rounds, but takes merged data.
#[test]
fn liblto_has_them_too() {
    let s = Scratch::new("rounds-legacy");
    three_modules(&s);
    let args = "-thinlto-action=run one.o two.o -exported-symbol=_a -exported-symbol=_b \
                -exported-symbol=_c";
    let objects = |program: &str, options: &str| {
        let mut command = s.command(program, &format!("{args} {options}"));
        command.env("LTO_LLVM", llvm(22));
        checked(command);
        ["one.o.thinlto.o", "two.o.thinlto.o"].map(|file| s.read(file))
    };
    let ours = env!("CARGO_BIN_EXE_llvm-lto");
    let first = objects("llvm-lto-22", "-codegen-data-generate");
    assert!(objects(ours, "-codegen-data-generate") == first);
    s.run("llvm-cgdata-22", "--merge one.o.thinlto.o two.o.thinlto.o -o merged.cgdata");
    let second = objects("llvm-lto-22", "-codegen-data-use-path=merged.cgdata");
    assert!(objects(ours, ROUNDS) == second && second != first);
    assert_eq!((outlined(&s, "one.o.thinlto.o"), outlined(&s, "two.o.thinlto.o")), (1, 2));
}

/// By the C ABI, in the order of ld64's calls: objects are those of `llvm-lto`'s two rounds.
#[test]
fn ld64s_calls_give_them() {
    let s = Scratch::new("rounds-ld64");
    three_modules(&s);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cc = s.command("cc", "-Wall -Werror -o ld64");
    cc.arg("-I").arg(root.join("include")).arg(root.join("capi-tests/thinlto.c")).arg("-ldl");
    checked(cc);
    fs::create_dir(s.path().join("out")).unwrap();
    let objects = |mode: &str, options: &str| {
        let mut ld64 = s.command("./ld64", "");
        ld64.arg(library()).args([mode, "out", "-", "_a,_b,_c", "one.o", "two.o"]);
        ld64.env("LTO_LLVM", llvm(22)).env("DEBUG_OPTIONS", options);
        checked(ld64);
        ["out/0.o", "out/1.o"].map(|file| outlined(&s, file))
    };
    assert_eq!(objects("m", ""), [0, 1]);
    assert_eq!(objects("m2", ROUNDS), [1, 2]);
    let args = "-thinlto-action=run one.o two.o -exported-symbol=_a -exported-symbol=_b \
                -exported-symbol=_c";
    let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto"), &format!("{args} {ROUNDS}"));
    command.env("LTO_LLVM", llvm(22));
    checked(command);
    assert!(s.read("out/1.o") == s.read("two.o.thinlto.o"));
}

#[test]
fn the_first_round_is_kept_or_made_again() {
    let s = Scratch::new("rounds-cache");
    let thin = three_modules(&s);
    let args = format!("{thin} {ROUNDS} -thinlto-two-rounds-cache-path=cache");
    ours(&s, &args);
    let objects = [s.read("ours.1"), s.read("ours.2")];
    let kept = |s: &Scratch| {
        let entries = fs::read_dir(s.path().join("cache")).unwrap().map(|e| e.unwrap().path());
        let mut files: Vec<_> = entries
            .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("llvmcache-"))
            .collect();
        files.sort();
        files
    };
    // Object and bitcode of the first round, object of the second.
    let files = kept(&s);
    assert_eq!(files.len(), 6);
    // The link's own cache will do, as with LLVM; with both, each has its part.
    fs::rename(s.path().join("cache"), s.path().join("first")).unwrap();
    ours(&s, &format!("{thin} {ROUNDS} -cache-dir=cache"));
    assert_eq!(kept(&s).len(), 6);
    fs::remove_dir_all(s.path().join("cache")).unwrap();
    ours(&s, &format!("{thin} {ROUNDS} -cache-dir=cache -thinlto-two-rounds-cache-path=first"));
    assert_eq!(kept(&s).len(), 2);
    fs::remove_dir_all(s.path().join("cache")).unwrap();
    ours(&s, &args);
    assert_eq!(kept(&s), files);
    ours(&s, &args);
    assert_eq!(kept(&s), files);
    assert!(objects == [s.read("ours.1"), s.read("ours.2")]);
    // Whatever is broken or gone, the objects are the same.
    for file in &files {
        let whole = fs::read(file).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 3) {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            fs::write(file, broken).unwrap();
            ours(&s, &args);
            assert!(objects == [s.read("ours.1"), s.read("ours.2")], "{file:?} at {at}");
        }
        fs::remove_file(file).unwrap();
        ours(&s, &args);
        assert!(objects == [s.read("ours.1"), s.read("ours.2")], "{file:?} removed");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let s = Scratch::new("rounds-errors");
    let thin = three_modules(&s);
    let args = format!("{thin} {ROUNDS}");
    let said = fails(&s, &args, &[("LTO_ENGINE", Path::new("in-process"))]);
    assert!(said.contains("needs the lto-worker program"), "{said}");
    s.write("file", "");
    let said = fails(&s, &format!("{args} -thinlto-two-rounds-cache-path=file/cache"), &[]);
    assert!(said.contains("file/cache"), "{said}");
    let said = fails(&s, &format!("{thin} {ROUNDS}=perhaps"), &[]);
    assert!(said.contains("perhaps"), "{said}");
    s.clang(19, "--target=arm64-apple-darwin -Oz -flto=thin -c one.c two.c");
    let said = fails(&s, &args, &[("LTO_LLVM", &llvm(19))]);
    assert!(said.contains("needs LLVM 20 or newer"), "{said}");
}

#[test]
fn what_reads_other_files_is_kept_by_neither_round() {
    let s = Scratch::new("rounds-incbin");
    let thin = three_modules(&s);
    s.write("data", "one");
    let asm = "__asm__(\".section __DATA,__d\\n.globl _d\\n_d: .incbin \\\"data\\\"\");\n";
    let two = String::from_utf8(s.read("two.c")).unwrap();
    s.write("two.c", two + asm);
    s.clang(22, "--target=arm64-apple-darwin -Oz -flto=thin -c two.c");
    let args = format!("{thin} -r=two.o,_d,px {ROUNDS} -cache-dir=cache");
    for text in ["one", "two"] {
        s.write("data", text);
        ours(&s, &args);
        let object = s.read("ours.2");
        assert!(object.windows(3).any(|w| w == text.as_bytes()), "{text}");
    }
}

/// A program in the worker's place that is `lto-worker`, but for the worker that starts as number
/// `lost`: that one is killed after `delay` seconds. With one thread each round has one worker.
fn worker_that_is_lost(s: &Scratch, lost: u32, delay: &str) {
    let worker = env!("CARGO_BIN_EXE_lto-worker");
    let script = format!(
        "#!/bin/sh\necho >> started\nif [ $(wc -l < started) -eq {lost} ]; then\n  \
         (sleep {delay}; kill -9 $$) > /dev/null 2>&1 &\n  [ {delay} = 0 ] && sleep 9\nfi\n\
         exec '{worker}' \"$@\"\n"
    );
    s.write("worker", &script);
    s.run("chmod", "+x worker");
    let _ = fs::remove_file(s.path().join("started"));
}

#[test]
fn a_worker_lost_in_either_round_ends_the_link() {
    let s = Scratch::new("rounds-lost");
    let thin = three_modules(&s);
    let args = format!("{thin} {ROUNDS} -thinlto-threads=1");
    ours(&s, &args);
    let worker = s.path().join("worker");
    for round in [1, 2] {
        worker_that_is_lost(&s, round, "0");
        let said = fails(&s, &args, &[("LTO_WORKER", &worker)]);
        assert!(said.contains("killed by signal 9"), "round {round}: {said}");
        // At whatever moment: what comes out, if anything, is the second round's object.
        for delay in ["0.01", "0.02", "0.04", "0.08"] {
            worker_that_is_lost(&s, round, delay);
            let mut command = s.command(OURS, &format!("run {args} -o perhaps"));
            command.env("LTO_LLVM", llvm(22)).env("LTO_WORKER", &worker);
            let output = command.output().unwrap();
            let objects: Vec<_> =
                s.files().into_iter().filter(|f| f.starts_with("perhaps")).collect();
            assert_eq!(output.status.success(), objects.len() == 2, "{delay}: {output:?}");
            assert!(output.status.success() || objects.is_empty(), "{delay}: {output:?}");
            for object in objects {
                assert!(s.read(&object) == s.read(&object.replace("perhaps", "ours")), "{object}");
                fs::remove_file(s.path().join(&object)).unwrap();
            }
        }
    }
}

/// Takes a number of bytes out of what the report says of the whole link.
fn reported(report: &str, before: &str) -> i64 {
    let (rest, _) = report.split_once(before).unwrap_or_else(|| panic!("{before}: {report}"));
    rest.rsplit([' ', ':']).find(|w| !w.is_empty()).unwrap().parse().unwrap()
}

/// lua for both object formats, outlined and merged across its modules.
#[test]
fn a_real_program_is_llvms() {
    let s = Scratch::new("rounds-lua");
    // The C library's headers of this machine will do for another: nothing is linked. Glibc asks
    // for one more header where it does not recognize its own machine.
    fs::create_dir_all(s.path().join("include/gnu")).unwrap();
    s.write("include/gnu/stubs-32.h", "");
    let lua = folder_in(&folder_in(&sources(), "lua-src-"), "lua-5.4");
    let files: Vec<_> = fs::read_dir(&lua).unwrap().map(|e| e.unwrap().path()).collect();
    files.par_iter().filter(|f| f.extension().is_some_and(|e| e == "c")).for_each(|file| {
        let mut clang = s.command("clang-22", "--target=aarch64-linux-gnu -Oz -w -flto=thin");
        clang.args(["-c", "-isystem", "include", "-isystem", "/usr/include", "-isystem"]);
        clang.arg(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH)).arg(file);
        checked(clang);
    });
    let (mut args, mut defined) = (String::new(), std::collections::BTreeSet::new());
    for file in s.files().iter().filter(|f| f.ends_with(".o") && *f != "luac.o") {
        args += &format!("{file} ");
        for line in s.run("llvm-lto2-22", &format!("dump-symtab {file}")).lines() {
            let Some((flags, name)) = line.split_once(' ') else { continue };
            if flags.len() != 8 || !flags.starts_with(['D', 'H', 'P']) {
                continue;
            }
            let is_first = !flags.contains('U') && defined.insert(name.to_owned());
            args += &format!("-r={file},{name},{} ", if is_first { "plx" } else { "" });
        }
    }
    assert!(defined.contains("lua_newstate"));
    s.write("arguments", &args);
    let options = "-enable-machine-outliner=always -enable-global-merge-func";
    assert!(same_objects(&s, &format!("@arguments {ROUNDS} {options}")) > 30);

    // What is reported is what a linker finds that folds equal functions.
    let sections = "-function-sections -data-sections";
    let linked_code = |objects: &str| {
        let link = format!("--icf=all -e main --unresolved-symbols=ignore-all {objects} -o linked");
        s.run("ld.lld-22", &link);
        let sections = s.run("llvm-size-22", "-A linked");
        let text = sections.lines().find(|line| line.starts_with(".text ")).unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap()
    };
    let objects = |prefix: &str| {
        let objects = s.files().into_iter().filter(|f| f.starts_with(prefix));
        objects.collect::<Vec<_>>().join(" ")
    };
    let run = |more: &str, out: &str| {
        let args = format!("run @arguments {sections} {options} {more} -o {out}");
        let mut command = s.command(OURS, &args);
        command.env("LTO_LLVM", llvm(22));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    run("-codegen-data-generate", "once");
    let report = run(&format!("{ROUNDS} -thinlto-two-rounds-report"), "twice");
    let all = report.lines().last().unwrap();
    let (first, second) = (reported(all, " bytes of code"), reported(all, " after two"));
    let (outlining, merging) = (reported(all, " saved by outlining"), reported(all, " by merging"));
    assert_eq!(first - second, outlining + merging, "{all}");
    let (once, twice) = (linked_code(&objects("once.")), linked_code(&objects("twice.")));
    // The linker finds a few more functions to be equal, of either round.
    for (linked, told) in [(once, first), (twice, second)] {
        assert!((linked - told).abs() * 1000 < told, "{linked} bytes linked: {all}");
    }
}
