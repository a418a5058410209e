//! What leaves the library, and what every export is made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSymbol};

/// The shared library that cargo built along with this test, beside it. (The one a folder higher
/// is `cargo build`'s and may be an older one.)
fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libLTO.so")
}

/// Functions that are not in lto.h: the disassembler's, which otool looks up, and the entry point
/// of linker plugins.
const OTHERS: [&str; 6] = [
    "LLVMCreateDisasm",
    "LLVMCreateDisasmCPU",
    "LLVMDisasmDispose",
    "LLVMDisasmInstruction",
    "LLVMSetDisasmOptions",
    "onload",
];

#[test]
fn only_the_c_abi_is_exported() {
    let bytes = std::fs::read(library()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let exported: BTreeSet<&str> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
        .map(|symbol| symbol.name().unwrap())
        .collect();
    for name in &exported {
        let ours = name.starts_with("lto_") || name.starts_with("thinlto_");
        assert!(ours || OTHERS.contains(name), "{name} is exported");
    }
    let header =
        concat!(include_str!("../include/llvm-c/lto.h"), include_str!("../include/thinlto_file.h"));
    for name in header.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let function = name.starts_with("lto_") || name.starts_with("thinlto_");
        if function && header.contains(&format!("{name}(")) {
            assert!(exported.contains(name), "{name} is declared and not exported");
        }
    }
    assert!(exported.contains("lto_api_version"));
}

/// Tools load the library anew for each file, so loading it runs nothing: the two entries are the C
/// runtime's and the Rust standard library's own, which keeps the program's arguments.
#[test]
fn nothing_runs_when_it_is_loaded() {
    use object::ObjectSection;
    let bytes = std::fs::read(library()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let constructors = file.section_by_name(".init_array").map_or(0, |section| section.size());
    assert!(constructors <= 2 * 8, "{} constructors", constructors / 8);
    assert!(file.section_by_name(".ctors").is_none());
}

#[test]
fn the_soname_is_ours() {
    let bytes = std::fs::read(library()).unwrap();
    let soname = b"\0libLTO.so.1\0";
    assert!(bytes.windows(soname.len()).any(|at| at == soname));
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The name and the body of every function that is exported from `source`.
fn exports(source: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("#[unsafe(no_mangle)]") {
        let rest = &source[at..];
        let name = rest.find("fn ").map(|at| &rest[at + 3..]).unwrap();
        let name = &name[..name.find('(').unwrap()];
        // No type in a signature of C has a brace.
        let open = rest.find('{').unwrap();
        // rustfmt puts the closing brace of an item at the line's start.
        let close = open + rest[open..].find("\n}").unwrap();
        found.push((name, rest[open + 1..close].trim()));
    }
    found
}

/// Whether the body is one call of the boundary that says the function's name.
fn is_one_boundary_call(name: &str, body: &str) -> bool {
    let Some(open) = body.find('(') else { return false };
    let callee = &body[..open];
    if !["boundary", "reporting"].contains(&callee.rsplit("::").next().unwrap_or_default()) {
        return false;
    }
    let mut depth = 0;
    let mut end = None;
    for (at, c) in body.char_indices().skip(open) {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            end = Some(at);
            break;
        }
    }
    let alone = end.is_some_and(|end| matches!(&body[end + 1..], "" | ";"));
    alone && body[open + 1..].trim_start().starts_with(&format!("\"{name}\""))
}

#[test]
fn every_export_is_one_boundary_call() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut seen = 0;
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        // The marker must not be written in another way, or this test would not see the export.
        let marked = source.matches("no_mangle").count() + source.matches("export_name").count();
        let exports = exports(&source);
        assert_eq!(marked, exports.len(), "{}", file.display());
        for (name, body) in exports {
            assert!(is_one_boundary_call(name, body), "{}: {name}: {body}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 92, "{seen} exports were found");
}

#[test]
fn the_check_of_boundaries_can_fail() {
    let good = "boundary(\"f\", 0, || { g(()) })";
    assert!(is_one_boundary_call("f", good));
    assert!(is_one_boundary_call("f", &format!("{good};")));
    for bad in [
        "g()",
        "boundary(\"other\", 0, || Ok(0))",
        "let x = 1; boundary(\"f\", 0, || Ok(x))",
        "boundary(\"f\", 0, || Ok(0)); g()",
        "boundary(\"f\", 0, || Ok(0)) + g()",
    ] {
        assert!(!is_one_boundary_call("f", bad), "{bad}");
    }
    let source = "#[unsafe(no_mangle)]\npub extern \"C\" fn f() {\n    g()\n}\n";
    assert_eq!(exports(source), [("f", "g()")]);
}
