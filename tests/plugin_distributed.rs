//! Distributed builds through the plugin: index files beside those of LLVM's plugin in the same
//! linker, and the whole round by make and by ninja, with clang as the backend.

mod support;

use std::fs;
use std::path::Path;

use support::{LINKERS, Scratch};

const SOURCES: [(&str, &str); 6] = [
    (
        "main.c",
        r#"
        #include <stdio.h>
        int foo(int), bar(int), plain(int);
        static int triple(int x) { return x * 3; }
        int main(int argc, char **argv) {
            printf("%d %d %d\n", foo(argc), bar(triple(argc)), plain(argc));
            return 0;
        }
        "#,
    ),
    (
        "foo.c",
        r#"
        int bar(int);
        static int sum;
        static __attribute__((noinline)) int add(int x) { return sum += x; }
        int foo(int x) { return bar(x) + add(x); }
        "#,
    ),
    ("bar.c", "int helper(int); int bar(int x) { return helper(x) + 1; }"),
    ("helper.c", "static const int t[4] = {1, 2, 3, 4}; int helper(int x) { return t[x & 3]; }"),
    ("unused.c", "int unused(int x) { return x; }"),
    ("plain.c", "int plain(int x) { return x + 100; }"),
];

/// What the program prints.
const PRINTED: &str = "4 5 101\n";

/// Compiles the sources: plain.c for regular LTO, the rest for ThinLTO; foo and bar and unused go
/// into an archive.
fn compile(s: &Scratch, version: u32) {
    for (name, source) in SOURCES {
        s.write(name, source);
    }
    s.clang(version, "-O2 -flto=thin -c main.c foo.c bar.c helper.c unused.c");
    s.clang(version, "-O2 -flto=full -c plain.c");
    fs::create_dir_all(s.path().join("lib")).unwrap();
    let _ = fs::remove_file(s.path().join("lib/libx.a"));
    s.run(&format!("llvm-ar-{version}"), "rc lib/libx.a foo.o bar.o unused.o");
}

/// Every file below a folder that a thin link writes, by its path there.
fn written(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if [".thinlto.bc", ".imports", "list"].iter().any(|end| name.ends_with(end)) {
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Links with LLVM's plugin and with ours, and gives what both wrote: the same.
fn same_files(test: &str, linker: &str, version: u32, link: &str) -> Vec<(String, Vec<u8>)> {
    let mut both = Vec::new();
    let llvm = format!("/usr/lib/llvm-{version}/lib/LLVMgold.so");
    for (who, plugin) in [("llvm", llvm.as_str()), ("ours", "$P")] {
        let s = Scratch::new(&format!("distributed-{test}-{who}"));
        compile(&s, version);
        // An older output. Only ld.bfd is at its own before the plugin is asked.
        s.write("program", "old");
        s.run("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,{plugin} {link} -o program"));
        if who == "ours" {
            assert_eq!(s.exists("program"), linker != "bfd");
        }
        let files = written(s.path());
        fs::remove_dir_all(s.path()).unwrap();
        both.push(files);
    }
    let (Some(ours), Some(llvm)) = (both.pop(), both.pop()) else { unreachable!() };
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&ours), names(&llvm), "{linker} {version} {link}");
    for ((name, ours), (_, llvm)) in ours.iter().zip(&llvm) {
        assert!(ours == llvm, "{name} differs: {linker} {version} {link}");
    }
    ours
}

fn content<'f>(files: &'f [(String, Vec<u8>)], name: &str) -> &'f [u8] {
    let found = files.iter().find(|(file, _)| file == name);
    &found.unwrap_or_else(|| panic!("no {name} in {:?}", files.iter().map(|f| &f.0))).1
}

#[test]
fn files_are_those_of_llvms_plugin_in_the_same_linker() {
    for linker in LINKERS {
        for version in [19, 22] {
            let plain = "-Wl,-plugin-opt=thinlto-index-only=list \
                         -Wl,-plugin-opt=thinlto-emit-imports-files";
            let files = format!("main.o lib/libx.a helper.o plain.o -shared {plain}");
            let files = same_files("plain", linker, version, &files);
            let list = String::from_utf8_lossy(content(&files, "list")).into_owned();
            assert!(list.starts_with("main.o\n") && list.contains("lib/libx.a.llvm."), "{list}");
            assert!(!list.contains("plain") && !list.contains("unused"), "{list}");
            // A module without a summary, and one that imports.
            assert!(content(&files, "plain.o.thinlto.bc").is_empty());
            assert!(content(&files, "plain.o.imports").is_empty());
            assert!(!content(&files, "main.o.imports").is_empty());
            for more in [
                "-pie -fno-lto",
                "-shared -Wl,-plugin-opt=O0",
                "-shared -Wl,-plugin-opt=-import-instr-limit=0",
                "-shared -Wl,-plugin-opt=thinlto-prefix-replace=;new/dir/",
                "-shared -Wl,-plugin-opt=thinlto-object-suffix-replace=.o;.full.o",
            ] {
                let rest = match more.contains("prefix") {
                    // Members go by other names with us where a prefix is replaced.
                    true => "main.o foo.o bar.o helper.o plain.o",
                    false => "main.o lib/libx.a helper.o plain.o",
                };
                let files = same_files("plain", linker, version, &format!("{rest} {plain} {more}"));
                assert!(files.len() > 8, "{more}");
            }
        }
    }
}

#[test]
fn a_member_in_a_lib_group_that_nobody_needs_is_skipped() {
    let link = "main.o -Wl,--start-lib unused.o foo.o bar.o -Wl,--end-lib helper.o plain.o -shared \
                -Wl,-plugin-opt=thinlto-index-only=list \
                -Wl,-plugin-opt=thinlto-emit-imports-files";
    for version in [19, 22] {
        let files = same_files("skipped", "gold", version, link);
        assert!(!content(&files, "unused.o.thinlto.bc").is_empty());
        assert!(!String::from_utf8_lossy(content(&files, "list")).contains("unused"));
    }
}

#[test]
fn without_any_summary_there_are_files_of_no_bytes() {
    for linker in LINKERS {
        let link = "plain.o -shared -Wl,-plugin-opt=thinlto-index-only=list";
        let files = same_files("regular", linker, 22, link);
        assert!(content(&files, "list").is_empty());
        assert!(content(&files, "plain.o.thinlto.bc").is_empty());
    }
}

#[test]
fn minimized_files_give_the_index_of_the_full_ones() {
    for (linker, version) in [("bfd", 22), ("gold", 19)] {
        let s = Scratch::new(&format!("distributed-minimized-{linker}"));
        for (name, source) in SOURCES.iter().take(4) {
            s.write(name, source);
            let stem = name.trim_end_matches(".c");
            let files = format!("-fthin-link-bitcode={stem}.small -c {name} -o {stem}.o");
            s.clang(version, &format!("-O2 -flto=thin -Xclang {files}"));
        }
        let link = |suffix: &str, more: &str| {
            let files = ["main", "foo", "bar", "helper"].map(|stem| format!("{stem}.{suffix}"));
            let option = "-Wl,-plugin-opt=thinlto-index-only=list";
            s.link(linker, &format!("{} -shared {option} {more} -o out", files.join(" ")));
            written(s.path())
        };
        let full = link("o", "");
        for (name, _) in &full {
            fs::remove_file(s.path().join(name)).unwrap();
        }
        let small = link("small", "-Wl,-plugin-opt=thinlto-object-suffix-replace=.small;.o");
        assert!(full == small && full.len() == 5, "{linker}");
    }
}

/// Make, with an archive: the rules that docs/thinlink.md shows.
const MAKEFILE: &str = r#"
CC = clang-22 -O2 -fPIE
LINK = gcc -pie -fuse-ld=$(LINKER)
PLUGIN = -Wl,-plugin,$(LIBLTO) -Wl,-plugin-opt=thinlto-index-only=list \
         -Wl,-plugin-opt=obj-path=regular.o
OBJECTS = main.o lib/libx.a helper.o plain.o

all: program
# What the thin link found to be in the final link, in its order.
-include native.mk
native.mk: list
	sed 's/.*/NATIVE += &.native/' list > $@
program: list $(NATIVE)
	$(LINK) $(NATIVE) regular.o -o $@
# The thin link.
list: $(OBJECTS)
	$(LINK) $(PLUGIN) $(OBJECTS) -o program
# A backend; its output cannot come before the thin link.
%.native: list
	$(CC) -c -x ir $* -fthinlto-index=$*.thinlto.bc -o $@
main.o foo.o bar.o helper.o unused.o: %.o: %.c
	$(CC) -flto=thin -c $< -o $@
plain.o: plain.c
	$(CC) -flto=full -c $< -o $@
lib/libx.a: foo.o bar.o unused.o
	mkdir -p lib && rm -f $@ && llvm-ar-22 rc $@ foo.o bar.o unused.o
"#;

#[test]
fn make_builds_a_program_with_archives() {
    for linker in LINKERS {
        let s = Scratch::new(&format!("distributed-make-{linker}"));
        for (name, source) in SOURCES {
            s.write(name, source);
        }
        s.write("Makefile", MAKEFILE);
        s.run("make", &format!("-j2 LIBLTO=$P LINKER={linker}"));
        assert_eq!(s.program("program", ""), PRINTED, "{linker}");
        // The code did move between modules: main calls nobody but the C library.
        let calls = s.run("objdump", "-d --no-show-raw-insn main.o.native");
        assert!(!calls.contains("<helper>") && calls.contains("<main>"), "{calls}");
        let relocations = s.run("readelf", "-rW main.o.native");
        assert!(relocations.contains("printf") && !relocations.contains(" bar "), "{relocations}");
        // What foo keeps for itself is shared with the copy in main.
        let symbols = s.symbols("program");
        assert!(symbols.iter().any(|name| name.contains("add.llvm.")), "{symbols:?}");
        // The second time there is nothing to do.
        assert!(
            s.run("make", &format!("LIBLTO=$P LINKER={linker}")).contains("Nothing to be done")
        );
    }
}

/// Ninja, with everything that is written below one folder.
const NINJA: &str = r#"
rule backend
  command = clang-22 -O2 -fPIE -c -x ir $in -fthinlto-index=thin/$module.thinlto.bc -o $out
rule link
  command = gcc -pie -fuse-ld=$linker -Wl,@thin.list plain.native -o $out
"#;

#[test]
fn ninja_builds_a_program_with_everything_below_one_folder() {
    for linker in LINKERS {
        let s = Scratch::new(&format!("distributed-ninja-{linker}"));
        compile(&s, 22);
        s.clang(22, "-O2 -fPIE -flto=thin -c main.c foo.c bar.c helper.c unused.c");
        fs::remove_file(s.path().join("lib/libx.a")).unwrap();
        s.run("llvm-ar-22", "rc lib/libx.a foo.o bar.o unused.o");
        // Nothing may be written beside the inputs.
        let before = (s.files(), fs::read_dir(s.path().join("lib")).unwrap().count());
        s.link(
            linker,
            "-pie main.o lib/libx.a helper.o plain.o -o program \
             -Wl,-plugin-opt=thinlto-index-only=thin.list -Wl,-plugin-opt=obj-path=plain.native \
             -Wl,-plugin-opt=thinlto-prefix-replace=;thin/;native/",
        );
        let mut after = s.files();
        after.retain(|name| !["thin", "thin.list", "plain.native"].contains(&name.as_str()));
        assert_eq!((after, fs::read_dir(s.path().join("lib")).unwrap().count()), before);

        let list = String::from_utf8(s.read("thin.list")).unwrap();
        let mut ninja = NINJA.to_owned();
        // The linker takes the list as it is: a compiler would take names that end in .c for C.
        for object in list.lines() {
            let module = object.strip_prefix("native/").unwrap();
            let member = format!("thin/{module}");
            let input = if s.exists(&member) { &member } else { module };
            ninja += &format!("build {object}: backend {input}\n  module = {module}\n");
        }
        let objects = list.replace('\n', " ");
        ninja += &format!("build program: link {objects} plain.native\n  linker = {linker}\n");
        s.write("build.ninja", ninja);
        s.run("ninja", "");
        assert_eq!(s.program("program", ""), PRINTED, "{linker}");
    }
}

#[test]
fn regular_modules_without_a_place_for_their_object_are_told_of() {
    let s = Scratch::new("distributed-regular");
    compile(&s, 22);
    let link = "-fuse-ld=bfd -Wl,-plugin,$P main.o plain.o -shared -o out \
                -Wl,-plugin-opt=thinlto-index-only";
    let complaint = |args: &str| {
        let output = s.command("gcc", args).output().unwrap();
        assert!(output.status.success());
        // ld.bfd prints warnings to its standard output.
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert!(complaint(link).contains("1 of the files have no ThinLTO summary; obj-path="));
    assert_eq!(complaint(&format!("{link} -Wl,-plugin-opt=obj-path=plain.native")), "");
    assert!(s.has_symbol("plain.native", "plain"));
}

#[test]
fn options_nobody_knows_and_bad_ones_are_errors() {
    let s = Scratch::new("distributed-options");
    compile(&s, 22);
    for (option, words) in [
        ("-improt-instr-limit=3", "improt-instr-limit"),
        ("-import-instr-limit=x", "'x' value invalid for uint argument"),
        ("thinlto-prefix-replace=a", "expects 'old;new"),
        ("thinlto-object-suffix-replace=a", "expects 'old;new' format"),
    ] {
        for linker in LINKERS {
            let complaint = s.fail(
                "gcc",
                &format!(
                    "-fuse-ld={linker} -Wl,-plugin,$P -Wl,-plugin-opt=thinlto-index-only \
                     -Wl,-plugin-opt={option} main.o -shared -o out"
                ),
            );
            assert!(complaint.contains(words), "{linker} {option}: {complaint}");
        }
    }
    assert!(!s.files().iter().any(|name| name.contains(".thinlto.bc")), "{:?}", s.files());
}

#[test]
fn a_fault_names_the_module_and_leaves_no_half_files() {
    let s = Scratch::new("distributed-faults");
    compile(&s, 22);
    // A folder in the place of one module's index.
    fs::create_dir(s.path().join("foo.o.thinlto.bc")).unwrap();
    for linker in LINKERS {
        let complaint = s.fail(
            "gcc",
            &format!(
                "-fuse-ld={linker} -Wl,-plugin,$P -Wl,-plugin-opt=thinlto-index-only=list \
                 main.o foo.o bar.o helper.o -shared -o out"
            ),
        );
        assert!(complaint.contains("foo.o.thinlto.bc"), "{complaint}");
        assert!(!s.exists("list") && !s.exists("out"), "{linker}: {:?}", s.files());
        assert!(!s.files().iter().any(|name| name.contains(".tmp")), "{:?}", s.files());
    }
    let twice = s.fail(
        "gcc",
        "-fuse-ld=gold -Wl,-plugin,$P -Wl,-plugin-opt=thinlto-index-only -Wl,-z,muldefs helper.o \
         helper.o -shared -o out",
    );
    assert!(twice.contains("helper.o"), "{twice}");
}

#[test]
fn a_trace_has_phases_and_modules_and_stats_have_counts() {
    let s = Scratch::new("distributed-trace");
    compile(&s, 22);
    s.link(
        "bfd",
        "main.o lib/libx.a helper.o -shared -o out -Wl,-plugin-opt=thinlto-index-only \
         -Wl,-plugin-opt=time-trace=trace.json -Wl,-plugin-opt=time-trace-granularity=0 \
         -Wl,-plugin-opt=stats-file=stats.json",
    );
    let script = r#"
import json
events = json.load(open("trace.json"))["traceEvents"]
named = lambda name: [e for e in events if e["name"] == name]
for phase in ["read", "thin_link", "write_indexes"]:
    assert [e for e in named(phase) if e["tid"] == 1], phase
for what in ["read", "write_index"]:
    details = {e["args"]["detail"].split(".llvm.")[0] for e in named(what) if "args" in e}
    assert details == {"main.o", "lib/libx.a", "helper.o"}, (what, details)
assert all(e["ph"] == "X" and e["dur"] >= 0 and e["ts"] >= 0 for e in events)
stats = json.load(open("stats.json"))
assert stats["thin_modules"] == 4 and stats["regular_modules"] == 0, stats
assert stats["imports"] > 0 and stats["summaries"] >= 7, stats
assert stats["live_values"] + stats["dead_values"] == stats["index_values"], stats
assert set(stats["seconds"]) == {"read", "thin_link", "write_indexes"}, stats
"#;
    s.write("check.py", script);
    s.run("python3", "check.py");
}

#[test]
fn a_trace_of_a_link_has_every_module_it_compiled() {
    let s = Scratch::new("distributed-trace-compile");
    compile(&s, 22);
    let link = "main.o foo.o helper.o bar.o -shared -o out -Wl,-plugin-opt=time-trace=trace.json \
                -Wl,-plugin-opt=time-trace-granularity=0";
    let check = |spans: &str| {
        let script = format!(
            r#"
import json
events = json.load(open("trace.json"))["traceEvents"]
phase = [e for e in events if e["name"] == "compile" and e["tid"] == 1]
assert len(phase) == 1, events
begin, end = phase[0]["ts"], phase[0]["ts"] + phase[0]["dur"]
for what in "{spans}".split():
    spans = [e for e in events if e["name"] == what and e["tid"] > 1]
    details = {{e["args"]["detail"] for e in spans}}
    assert details == {{"main.o", "foo.o", "helper.o", "bar.o"}}, (what, details)
    # Each within the phase; clocks are cut to microseconds.
    assert all(begin - 2 <= e["ts"] and e["ts"] + e["dur"] <= end + 2 for e in spans), events
"#
        );
        s.write("check.py", script);
        s.run("python3", "check.py");
    };
    s.link("bfd", link);
    check("compile");
    s.link("bfd", &format!("{link} -Wl,-plugin-opt=-codegen-data-thinlto-two-rounds"));
    check("first_round second_round");
}
