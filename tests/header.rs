//! The headers of include/ are what cbindgen makes of the sources, and declare what is exported.

use std::collections::BTreeSet;
use std::path::Path;

const GENERATED: &str = concat!(env!("OUT_DIR"), "/lto.h");

const THINLTO_FILE: &str = concat!(env!("OUT_DIR"), "/thinlto_file.h");

/// With LTO_RENEW_HEADERS in the environment (`make headers`) the committed files are renewed.
#[test]
fn the_committed_header_is_current() {
    for (generated, name) in
        [(GENERATED, "include/llvm-c/lto.h"), (THINLTO_FILE, "include/thinlto_file.h")]
    {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let generated = std::fs::read_to_string(generated).unwrap();
        if std::env::var_os("LTO_RENEW_HEADERS").is_some() {
            std::fs::create_dir_all(committed.parent().unwrap()).unwrap();
            std::fs::write(&committed, &generated).unwrap();
        }
        let current = std::fs::read_to_string(&committed).unwrap_or_default();
        assert!(current == generated, "{name} is stale: run `make headers`");
    }
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

/// What LLVM's libLTO does not have.
const OURS: [&str; 1] = ["thinlto_codegen_set_progress_callback"];

#[test]
fn it_declares_the_79_functions_of_llvm_22() {
    let mut ours = functions(&std::fs::read_to_string(GENERATED).unwrap());
    for name in OURS {
        assert!(ours.remove(name), "{name}");
    }
    assert_eq!(ours.len(), 79, "{ours:#?}");
    let Ok(theirs) = std::fs::read_to_string("/usr/lib/llvm-22/include/llvm-c/lto.h") else {
        return;
    };
    assert_eq!(ours, functions(&theirs));
}
