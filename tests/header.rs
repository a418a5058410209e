//! include/llvm-c/lto.h is what cbindgen makes of the sources, and declares what is exported.

use std::collections::BTreeSet;
use std::path::Path;

const GENERATED: &str = concat!(env!("OUT_DIR"), "/lto.h");

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/llvm-c/lto.h")
}

/// With LTO_RENEW_HEADERS in the environment (`make headers`) the committed file is renewed.
#[test]
fn the_committed_header_is_current() {
    let generated = std::fs::read_to_string(GENERATED).unwrap();
    if std::env::var_os("LTO_RENEW_HEADERS").is_some() {
        std::fs::create_dir_all(committed().parent().unwrap()).unwrap();
        std::fs::write(committed(), &generated).unwrap();
    }
    let current = std::fs::read_to_string(committed()).unwrap_or_default();
    assert!(current == generated, "include/llvm-c/lto.h is stale: run `make headers`");
}

/// The words of a C source that look like functions of the interface.
fn functions(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with(['*', '/', '|']))
        .flat_map(|line| line.split_inclusive('('))
        .filter_map(|piece| piece.strip_suffix('('))
        .filter_map(|piece| piece.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next())
        .filter(|word| word.starts_with("lto_") || word.starts_with("thinlto_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn it_declares_the_79_functions_of_llvm_22() {
    let ours = functions(&std::fs::read_to_string(GENERATED).unwrap());
    assert_eq!(ours.len(), 79, "{ours:#?}");
    let Ok(theirs) = std::fs::read_to_string("/usr/lib/llvm-22/include/llvm-c/lto.h") else {
        return;
    };
    assert_eq!(ours, functions(&theirs));
}
