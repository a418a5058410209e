//! Writes the C headers to OUT_DIR, where a test compares them with the committed ones and
//! scripts/headers.sh takes them from, and gives the shared library its soname.

use std::path::PathBuf;

/// The sources of llvm-c/lto.h, in its order.
const SOURCES: &[&str] = &[
    "src/capi/types.rs",
    "src/capi/general.rs",
    "src/capi/module.rs",
    "src/capi/codegen.rs",
    "src/capi/input.rs",
    "src/capi/thin.rs",
    "src/capi/disassembler.rs",
];

/// The sources of thinlto_file.h, in its order.
const THINLTO_FILE_SOURCES: &[&str] = &[
    "src/thinlto_file/types.rs",
    "src/thinlto_file/file.rs",
    "src/thinlto_file/modules.rs",
    "src/thinlto_file/summaries.rs",
    "src/thinlto_file/profile.rs",
    "src/thinlto_file/types_of_program.rs",
    "src/thinlto_file/link_types.rs",
    "src/thinlto_file/link.rs",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // It counts breaks of the C ABI, of which there has been none since the first libLTO: LLVM
    // only ever adds functions. LLVM's own sonames carry its version; ours must not pass for one.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libLTO.so.1");

    header("cbindgen.toml", SOURCES, "lto.h");
    header("cbindgen-thinlto_file.toml", THINLTO_FILE_SOURCES, "thinlto_file.h");
}

/// Generates one header as `config` says.
fn header(config: &str, sources: &[&str], name: &str) {
    println!("cargo:rerun-if-changed={config}");
    let config = match cbindgen::Config::from_file(config) {
        Ok(read) => read,
        Err(error) => panic!("{config}: {error}"),
    };
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        println!("cargo:rerun-if-changed={source}");
        builder = builder.with_src(source);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => panic!("generating {name}: {error}"),
    };
    let Some(out) = std::env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR") };
    bindings.write_to_file(PathBuf::from(out).join(name));
}
