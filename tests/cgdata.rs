//! `lto-cgdata` beside `llvm-cgdata` of LLVM 22, on codegen data that LLVM's own code generators
//! make here and now: the same bytes, the same text, the same words where something is wrong.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rayon::prelude::*;
use support::{Scratch, checked, folder_in, sources};

use LTO::cgdata::{CgdataFile, FinalizeOptions, Merger, extract};

const OURS: &str = env!("CARGO_BIN_EXE_lto-cgdata");
const THEIRS: &str = "llvm-cgdata-22";

fn run(program: &str, folder: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Runs both tools with `-o` to a file each; both must succeed and write the same. Gives what they
/// wrote.
fn same_file(folder: &Path, args: &[&str]) -> Vec<u8> {
    let [ours, theirs] = [(OURS, "out.ours"), (THEIRS, "out.theirs")].map(|(program, file)| {
        let output = run(program, folder, &[args, &["-o", file]].concat());
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {}\n{complaint}", output.status);
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
        fs::read(folder.join(file)).unwrap()
    });
    assert!(ours == theirs, "{args:?}: {} and {} bytes differ", ours.len(), theirs.len());
    ours
}

/// Runs both tools; standard output, error and exit code must be the same. Gives the exit code.
fn same_words(folder: &Path, args: &[&str]) -> i32 {
    let (ours, theirs) = (run(OURS, folder, args), run(THEIRS, folder, args));
    assert_eq!(String::from_utf8_lossy(&ours.stderr), String::from_utf8_lossy(&theirs.stderr));
    assert_eq!(String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&theirs.stdout));
    assert_eq!(ours.status.code(), theirs.status.code(), "{args:?}");
    ours.status.code().unwrap()
}

/// Objects of lua and zstd with codegen data, compiled -Oz: `{elf,macho}-{lua,zstd}/*.o`.
fn objects() -> &'static Path {
    static OBJECTS: OnceLock<PathBuf> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cgdata-objects");
        let done = out.join("done");
        if done.exists() {
            return out;
        }
        // The C library's headers of this machine will do for another: nothing is linked. Glibc
        // asks for one more header where it does not recognize its own machine.
        fs::create_dir_all(out.join("include/gnu")).unwrap();
        fs::write(out.join("include/gnu/stubs-32.h"), "").unwrap();
        let sources = sources();
        let lua = folder_in(&folder_in(&sources, "lua-src-"), "lua-5.4");
        let zstd = folder_in(&sources, "zstd-sys-").join("zstd/lib");
        let mut jobs = Vec::new();
        for (program, folders) in [
            ("lua", vec![lua]),
            ("zstd", ["common", "compress", "dictBuilder"].map(|f| zstd.join(f)).to_vec()),
        ] {
            for format in ["elf", "macho"] {
                fs::create_dir_all(out.join(format!("{format}-{program}"))).unwrap();
            }
            for folder in folders {
                for entry in fs::read_dir(&folder).unwrap() {
                    let source = entry.unwrap().path();
                    if source.extension().is_some_and(|e| e == "c") {
                        jobs.push((program, source));
                    }
                }
            }
        }
        jobs.par_iter().for_each(|(program, source)| compile(&out, program, source));
        fs::write(done, "").unwrap();
        out
    })
}

fn compile(out: &Path, program: &str, source: &Path) {
    let name = source.file_stem().unwrap().to_string_lossy();
    let bitcode = out.join(format!("{program}-{name}.bc"));
    let mut clang = Command::new("clang-22");
    clang
        .args(["--target=aarch64-linux-gnu", "-Oz", "-w", "-c", "-emit-llvm", "-isystem"])
        .arg(out.join("include"))
        .args(["-isystem", "/usr/include", "-isystem"])
        .arg(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg(source)
        .arg("-o")
        .arg(&bitcode);
    checked(clang);
    for (format, target) in [("elf", "aarch64-linux-gnu"), ("macho", "arm64-apple-macosx13")] {
        let mut clang = Command::new("clang-22");
        clang
            .arg(format!("--target={target}"))
            .args(["-Oz", "-w", "-Wno-override-module", "-c", "-x", "ir"])
            .args(["-mllvm", "-codegen-data-generate=true", "-mllvm", "-enable-global-merge-func"])
            .args(["-mllvm", "-enable-machine-outliner=always"])
            // The name of the module is among the data, and must not tell where this tree lies.
            .arg(bitcode.file_name().unwrap())
            .current_dir(out)
            .arg("-o")
            .arg(format!("{format}-{program}/{name}.o"));
        checked(clang);
    }
}

/// The objects of a folder by name, as arguments.
fn listed(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(objects().join(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().path().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() > 10, "{folder}");
    names
}

fn args<'a>(options: &[&'a str], files: &'a [String]) -> Vec<&'a str> {
    options.iter().copied().chain(files.iter().map(String::as_str)).collect()
}

#[test]
fn real_programs_merge_to_the_same_bytes() {
    let s = Scratch::new("cgdata-merge");
    for format in ["elf", "macho"] {
        let [lua, zstd] = ["lua", "zstd"].map(|program| listed(&format!("{format}-{program}")));
        let both = [&lua[..], &zstd].concat();
        let backwards: Vec<String> = both.iter().rev().cloned().collect();
        for files in [&lua, &zstd, &both, &backwards] {
            for options in [&["-m"][..], &["-m", "--skip-trim"], &["--merge", "-f", "text"]] {
                same_file(s.path(), &args(options, files));
            }
        }
        // These are real data: trees that meet, functions that are worth merging.
        let merged = CgdataFile::read(&same_file(s.path(), &args(&["-m"], &both))).unwrap();
        let (tree, map) = (merged.data.tree.unwrap(), merged.data.map.unwrap());
        let alone = |file: &String| extract(&fs::read(file).unwrap()).unwrap().unwrap_or_default();
        let apart: usize = both.iter().filter_map(|f| alone(f).tree).map(|t| t.node_count()).sum();
        assert!(tree.node_count() > 1000 && tree.node_count() * 11 < apart * 10, "{apart}");
        assert!(map.counts().mergeable > 10, "{:?}", map.counts());
        // One after another in memory, as two rounds of code generation do it.
        let mut merger = Merger::new();
        for file in &both {
            merger.add(alone(file)).unwrap();
        }
        let file = merger.finish_file(&FinalizeOptions::default()).unwrap();
        assert!(file == same_file(s.path(), &args(&["-m"], &both)));
    }
}

#[test]
fn files_convert_both_ways_and_show_the_same() {
    let s = Scratch::new("cgdata-convert");
    for options in [&["-m"][..], &["-m", "--skip-trim"]] {
        let merged = same_file(s.path(), &args(options, &listed("elf-zstd")));
        s.write("binary", &merged);
        let text = same_file(s.path(), &["--convert", "binary"]);
        s.write("text", &text);
        // Text has only the names that are used, so that it is not `merged` again.
        same_file(s.path(), &["-c", "text", "--format", "binary"]);
        assert!(same_file(s.path(), &["-c", "text", "--format", "text"]) == text);
        assert!(same_file(s.path(), &["-c", "binary", "-fbinary"]) == merged);
        for file in ["binary", "text"] {
            assert_eq!(same_words(s.path(), &["--show", file, "--cgdata-version"]), 0);
            assert_eq!(same_words(s.path(), &["-s", file]), 0);
        }
    }
}

#[test]
fn archives_and_linked_objects_hold_what_their_parts_do() {
    let s = Scratch::new("cgdata-archive");
    let files = listed("elf-lua");
    let expect = same_file(s.path(), &args(&["-m"], &files));
    // LLVM 22 reads a map at an address that is no multiple of 4 wrongly, as are half of those in
    // an archive; so the reference are the objects by themselves.
    for (kind, name) in [("rcS", "lib.a"), ("rcST", "thin.a")] {
        let mut ar = Command::new("llvm-ar-22");
        ar.arg(kind).arg(name).args(&files).current_dir(s.path());
        checked(ar);
        let output = run(OURS, s.path(), &["-m", name, "-o", "out"]);
        assert!(output.status.success(), "{output:?}");
        assert!(s.read("out") == expect, "{name}");
    }
    // Relocatable linking puts the payloads into one section.
    let mut ld = Command::new("ld.lld-22");
    ld.args(["-r", "-o", "linked.o"]).args(&files).current_dir(s.path());
    checked(ld);
    assert!(same_file(s.path(), &["-m", "linked.o"]) == expect);
    let other = listed("elf-zstd");
    same_file(s.path(), &args(&["-m", "linked.o"], &other));
    // From the standard input.
    let input = fs::File::open(s.path().join("linked.o")).unwrap();
    let output = Command::new(OURS).args(["merge", "-"]).stdin(input).output().unwrap();
    assert!(output.status.success() && output.stdout == expect);
}

/// Bytes of a `.cgdata` file behind its header, as they stand in a section.
fn payload(s: &Scratch, text: &str) -> Vec<u8> {
    s.write("payload.cgtext", text);
    same_file(s.path(), &["-c", "payload.cgtext", "-f", "binary"])[32..].to_vec()
}

#[test]
fn sections_are_found_in_every_format() {
    let s = Scratch::new("cgdata-coff");
    let tree = payload(
        &s,
        ":outlined_hash_tree\n0:\n  Hash: 0x0\n  Terminals: 0\n  SuccessorIds: [ 1 ]\n\
         1:\n  Hash: 0x1\n  Terminals: 4\n  SuccessorIds: [ ]\n...\n",
    );
    let map = payload(
        &s,
        ":stable_function_map\n- Hash: 1\n  FunctionName: f\n  ModuleName: m\n  InstCount: 2\n  \
         IndexOperandHashes:\n    - InstIndex: 0\n      OpndIndex: 1\n      OpndHash: 3\n...\n",
    );
    let constant = |name: &str, section: &str, bytes: &[u8]| {
        let escaped: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
        let n = bytes.len();
        format!("@{name} = private constant [{n} x i8] c\"{escaped}\", section \"{section}\"\n")
    };
    let mut merged = Vec::new();
    for (triple, outline, merge) in [
        ("x86_64-unknown-linux-gnu", "__llvm_outline", "__llvm_merge"),
        ("arm64-apple-darwin", "__DATA,__llvm_outline", "__DATA,__llvm_merge"),
        ("x86_64-pc-windows-msvc", ".loutline", ".lmerge"),
    ] {
        s.write("m.ll", constant("t", outline, &tree) + &constant("m", merge, &map));
        s.run("llc-22", &format!("-filetype=obj -mtriple {triple} m.ll -o m.o"));
        let arguments = ["-m", "--skip-trim", "m.o", "m.o"];
        if triple.contains("windows") {
            // LLVM 22 does not find these sections, as it looks for the names of ELF in COFF.
            assert_eq!(run(OURS, s.path(), &arguments).stdout, merged);
        } else {
            merged = same_file(s.path(), &arguments);
            let file = CgdataFile::read(&merged).unwrap();
            assert_eq!(file.data.tree.unwrap().nodes()[1].terminals, 8, "{triple}");
            assert_eq!(file.data.map.unwrap().counts().total, 2, "{triple}");
        }
    }
}

/// A stream of numbers that is the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// A map whose hashes collide in LLVM's hash table and in which functions fit together or not.
fn random_map(random: &mut Random, module: usize) -> String {
    let mut text = String::from(":stable_function_map\n---\n");
    let functions = 1 + random.below(60);
    for f in 0..functions {
        // Few hashes, many of one bucket of some size; and a few of all 64 bits.
        let hash = match random.below(3) {
            0 => random.below(40) * 13,
            1 => random.below(9) * 29 * 59,
            _ => u64::MAX / (1 + random.below(30)),
        };
        let inst_count = if random.below(9) == 0 { 7 } else { 12 };
        text += &format!("- Hash: {hash}\n  FunctionName: f{f}.{}\n", random.below(4));
        text += &format!("  ModuleName: m{}\n  InstCount: {inst_count}\n", module / 2);
        let operands = if random.below(9) == 0 { 2 } else { hash % 4 };
        text +=
            if operands == 0 { "  IndexOperandHashes: []\n" } else { "  IndexOperandHashes:\n" };
        for o in 0..operands {
            let value = random.below(3);
            text += &format!("    - InstIndex: {o}\n      OpndIndex: 1\n      OpndHash: {value}\n");
        }
    }
    text + "...\n"
}

/// A tree of random sequences, its ids in an order that LLVM's writer would not choose.
fn random_tree(random: &mut Random) -> String {
    let mut nodes: Vec<(u64, u64, Vec<usize>)> = vec![(0, 0, Vec::new())];
    for _ in 0..random.below(80) {
        let mut at = 0;
        for _ in 0..=random.below(6) {
            let hash = random.below(4) * (u64::MAX / 4);
            at = match nodes[at].2.iter().find(|n| nodes[**n].0 == hash) {
                Some(&next) => next,
                None => {
                    nodes.push((hash, 0, Vec::new()));
                    let new = nodes.len() - 1;
                    nodes[at].2.push(new);
                    new
                }
            };
        }
        nodes[at].1 += random.below(3);
    }
    let mut text = String::from(":outlined_hash_tree\n---\n");
    for (id, (hash, terminals, successors)) in nodes.iter().enumerate() {
        text += &format!("{id}:\n  Hash: {hash:#x}\n  Terminals: {terminals}\n");
        text += &format!("  SuccessorIds: {successors:?}\n");
    }
    text + "...\n"
}

#[test]
fn made_up_data_merge_to_the_same_bytes() {
    let s = Scratch::new("cgdata-random");
    let mut random = Random(22);
    for round in 0..12 {
        let mut files = Vec::new();
        for module in 0..1 + random.below(5) as usize {
            let map = payload(&s, &random_map(&mut random, module));
            let tree = payload(&s, &random_tree(&mut random));
            // Several payloads in a row now and then.
            let name = format!("{round}-{module}.o");
            let mut writer = object::write::Object::new(
                object::BinaryFormat::Elf,
                object::Architecture::Aarch64,
                object::Endianness::Little,
            );
            // Several payloads in a row now and then. LLVM 22 needs the map at a multiple of 4.
            for (section, data, times) in
                [("__llvm_merge", map, random.below(2)), ("__llvm_outline", tree, random.below(3))]
            {
                let kind = object::SectionKind::Data;
                let id = writer.add_section(Vec::new(), section.into(), kind);
                writer.append_section_data(id, &data.repeat(1 + times as usize), 4);
            }
            s.write(&name, writer.write().unwrap());
            files.push(name);
        }
        for options in [&["-m"][..], &["-m", "--skip-trim"], &["-m", "-ftext", "--skip-trim"]] {
            same_file(s.path(), &args(options, &files));
        }
    }
}

#[test]
fn names_are_quoted_alike() {
    let s = Scratch::new("cgdata-names");
    let names = [
        "plain",
        "_ZN3foo3barEv",
        "with space",
        "a,b",
        "^x",
        "-x",
        "x-",
        "a:b",
        "#a",
        "a#b",
        "it's",
        "/dir/file.c",
        "\\\\x",
        "null",
        "~",
        "~a",
        "True",
        "yes",
        "0x1F",
        "0xG",
        "0o17",
        "1e5",
        "1e",
        "1.5",
        ".5",
        ".",
        ".inf",
        "-.inf",
        "+1",
        "1.",
        "12",
        "e5",
        "$x",
        "@x",
        "x@y",
        "%1",
        "[a]",
        "{b}",
        "a]",
        "!t",
        "&a",
        "*p",
        "|",
        ">x",
        "`q`",
        "\\\"q\\\"",
        "a\\tb",
        "\\tb",
        "a ",
        " a",
        "a\\nb",
        "a\\rb",
        "\\x01",
        "a\\x7F",
        "\\u00e9",
        "\\u263A",
        "\\U0001F600",
        "\\u0085",
        "\\u00A0x",
        "\\u2028",
        "\\e[0m",
        "a\\bb\\a\\f\\v",
        "?",
        "?x",
        "=",
        "<x>",
        "a\\/b",
        "--- x",
        "...",
        "1_000",
        "0b11",
        "-0x1",
        "x.llvm.123",
        "(a)",
        "a;b",
        "a+b",
        "+",
        "-",
        ",a",
    ];
    let mut text = String::from(":stable_function_map\n");
    for (n, name) in names.iter().enumerate() {
        text += &format!(
            "- Hash: {n}\n  FunctionName: \"{name}\"\n  ModuleName: \"{name}x\"\n  InstCount: 1\n  \
             IndexOperandHashes: []\n"
        );
    }
    s.write("names", text);
    let quoted = same_file(s.path(), &["-c", "names"]);
    s.write("quoted", &quoted);
    let binary = same_file(s.path(), &["-c", "quoted", "-fbinary"]);
    assert_eq!(CgdataFile::read(&binary).unwrap().data.map.unwrap().counts().total, names.len());
    // Bytes that are no UTF-8 come only from a binary file.
    let mut binary = binary;
    let at = binary.windows(6).position(|w| w == b"plain\0").unwrap();
    binary[at + 2] = 0xff;
    s.write("latin1", binary);
    same_file(s.path(), &["-c", "latin1"]);
}

#[test]
fn forms_of_text_are_understood_alike() {
    let s = Scratch::new("cgdata-text");
    let tree = "0:\n  Hash: 0x0\n  Terminals: 0\n  SuccessorIds: [1]\n\
                1: {Terminals: 0x10, SuccessorIds: [], Hash: 7} # comment\n";
    let map = "- Hash: 010\n  FunctionName: f\n  ModuleName: 'm'\n  InstCount: 0b11\n  \
               IndexOperandHashes:\n  - {InstIndex: 1, OpndIndex: 2, OpndHash: 3}\n";
    for text in [
        "#".to_owned(),
        "# only\n\n# comments\n".to_owned(),
        format!("\n  \n# c\n:Outlined_Hash_Tree  \n\n{tree}"),
        format!(":outlined_hash_tree\n---\n{tree}...\n"),
        format!(":stable_function_map\n:outlined_hash_tree\n{tree}...\n---\n{map}...\n"),
        format!(":stable_function_map\r\n---\r\n{}...\r\n", map.replace('\n', "\r\n")),
        ":stable_function_map\n[]\n".to_owned(),
        ":outlined_hash_tree\n{}\n".to_owned(),
        // A root with a hash keeps it.
        ":outlined_hash_tree\n0: {Hash: 5, Terminals: 3, SuccessorIds: []}\n".to_owned(),
        // Without a header there is nothing to read.
        format!("---\n{tree}"),
    ] {
        s.write("in", &text);
        same_file(s.path(), &["-c", "in"]);
        same_file(s.path(), &["-c", "in", "-f", "binary"]);
        same_words(s.path(), &["-s", "in", "--cgdata-version"]);
    }
    // And refused alike, if in other words.
    for text in [":outlined_hash_tree\n", ":no_such_kind\n0:\n"] {
        s.write("in", text);
        for program in [OURS, THEIRS] {
            assert_eq!(run(program, s.path(), &["-c", "in"]).status.code(), Some(1), "{text}");
        }
    }
}

#[test]
fn the_command_line_is_llvms() {
    let s = Scratch::new("cgdata-cli");
    s.write("empty", "").write("junk", "\u{1}junk").write("#", "#");
    s.write("header", b"\xffcgdata\x81");
    let data = s.path().join("data");
    let merged = same_file(s.path(), &args(&["-m"], &listed("macho-lua")));
    fs::write(&data, &merged).unwrap();
    for line in [
        "",
        "-x junk",
        "--bogus",
        "--merge",
        "-m -s data",
        "data",
        "-m -f foo data",
        "-c data empty",
        "-m -o",
        "-m --format",
        "-c data -f",
        "--mergex data",
        "-merge data",
        "-mo data",
        "--format=text -m data",
        "-- data",
        "-c data -o data2 -f no",
        "-s empty",
        "--output",
        "-",
        "-s data --cgdata-version",
        "-s -indexed-codegen-data-lazy-loading data",
        "-c # -o -",
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        if line != "-" {
            same_words(s.path(), &arguments);
        }
    }
    // The same as what LLVM says, and then what is wrong in particular.
    for (line, words) in [
        ("-s junk", "error: junk: malformed codegen data"),
        ("-s header", "error: header: invalid codegen data (file header is corrupt)"),
        ("-s none", "error: none: "),
        ("-m none", "error: none: "),
        ("-m junk", "error: junk: The file was not recognized as a valid object file"),
        (
            "-m data -o /dev/null/x",
            "error: data: The file was not recognized as a valid object file",
        ),
        ("-c data -o /dev/null/x", "error: /dev/null/x: "),
        ("-m data -o data", "error: Input file name cannot be the same as the output file name!"),
        ("-s .", "error: .: "),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        for program in [OURS, THEIRS] {
            let output = run(program, s.path(), &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.starts_with(words) && said.contains('\n'), "{program} {line}: {said}");
            assert_eq!(output.status.code(), Some(1), "{program} {line}");
        }
    }
    // The words without dashes, and help that names every option.
    for (word, option) in [("show", "--show"), ("convert", "--convert")] {
        let [word, option] =
            [word, option].map(|action| run(OURS, s.path(), &[action, "data"]).stdout);
        assert!(!word.is_empty() && word == option);
    }
    for option in ["--help", "-h"] {
        let help = String::from_utf8(run(OURS, s.path(), &[option]).stdout).unwrap();
        let theirs = String::from_utf8(run(THEIRS, s.path(), &[option]).stdout).unwrap();
        for word in theirs.split_whitespace().filter(|w| w.starts_with("--") || w.len() == 2) {
            assert!(help.contains(word), "{word}");
        }
    }
    let version = run(OURS, s.path(), &["--version"]);
    assert!(version.status.success() && version.stdout.starts_with(b"lto-cgdata "));
    // Files for older LLVM.
    let output = run(OURS, s.path(), &["-c", "data", "-fbinary", "--output-version", "2"]);
    let file = CgdataFile::read(&output.stdout).unwrap();
    assert_eq!((file.version, file.data), (2, CgdataFile::read(&merged).unwrap().data));
    assert_eq!(
        run(OURS, s.path(), &["-c", "data", "--output-version", "9"]).status.code(),
        Some(1)
    );
}

#[test]
fn damaged_data_are_errors_that_name_file_member_and_place() {
    let s = Scratch::new("cgdata-damaged");
    let file = &listed("elf-lua")[0];
    s.run("llvm-objcopy-22", &format!("--dump-section __llvm_outline=tree {file} copy.o"));
    let mut tree = s.read("tree");
    // The root's first successor becomes the root itself.
    tree[24..28].fill(0);
    s.write("tree", &tree);
    s.run("llvm-objcopy-22", "--update-section __llvm_outline=tree copy.o bad.o");
    s.run("llvm-ar-22", "rcS lib.a bad.o");
    for (input, place) in [("bad.o", "bad.o: "), ("lib.a", "lib.a(bad.o): ")] {
        let output = run(OURS, s.path(), &["-m", input, "-o", "out"]);
        let said = String::from_utf8_lossy(&output.stderr);
        let words = "malformed codegen data: node 0: successor 0 does not come after its parent";
        assert!(said.starts_with(&format!("error: {place}{words}")), "{said}");
        assert!(said.contains("(at bit "), "{said}");
        assert_eq!(output.status.code(), Some(1));
        assert!(!s.exists("out"));
    }
}

#[test]
fn no_damage_makes_a_reader_panic_or_swell() {
    let s = Scratch::new("cgdata-fuzz");
    let mut random = Random(1);
    let map = random_map(&mut random, 0);
    s.write("map", &map);
    s.write("tree", random_tree(&mut random));
    let text = map.replace(":stable_function_map\n", ":outlined_hash_tree\n:stable_function_map\n");
    let text = text.replacen("---\n", "0: {Hash: 1, Terminals: 2, SuccessorIds: [ ]}\n---\n", 1);
    let binaries = ["map", "tree"].map(|f| same_file(s.path(), &["-c", f, "-fbinary"]));
    let object = fs::read(&listed("macho-lua")[0]).unwrap();
    let inputs = [&binaries[0][..], &binaries[1], text.as_bytes(), &object];
    let mut refused = 0;
    for input in inputs {
        let try_it = |bytes: &[u8]| {
            let file = CgdataFile::read(bytes);
            let object = extract(bytes);
            if let Ok(file) = &file {
                // What was read can be written.
                LTO::cgdata::indexed::write(&file.data, 4).unwrap();
                LTO::cgdata::text::write(&file.data);
            }
            if let Ok(Some(object)) = object {
                let mut merger = Merger::new();
                let _ = merger.add(object);
                let _ = merger.finish_file(&FinalizeOptions::default());
            }
            usize::from(file.is_err())
        };
        for _ in 0..3000 {
            let mut bytes = input.to_vec();
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at].wrapping_add(1),
                    _ => random.below(256) as u8,
                };
            }
            refused += try_it(&bytes);
        }
        for _ in 0..300 {
            let end = random.below(input.len() as u64) as usize;
            refused += try_it(&input[..end]);
        }
    }
    assert!(refused > 1000, "{refused}");
}
