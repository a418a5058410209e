//! Writes the C header to OUT_DIR, where a test compares it with the committed one and
//! scripts/headers.sh takes it from, and gives the shared library its soname.

use std::path::PathBuf;

/// The sources of the header, in its order.
const SOURCES: &[&str] = &[
    "src/capi/types.rs",
    "src/capi/general.rs",
    "src/capi/module.rs",
    "src/capi/codegen.rs",
    "src/capi/input.rs",
    "src/capi/thin.rs",
    "src/capi/disassembler.rs",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    // It counts breaks of the C ABI, of which there has been none since the first libLTO: LLVM
    // only ever adds functions. LLVM's own sonames carry its version; ours must not pass for one.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libLTO.so.1");

    let config = match cbindgen::Config::from_file("cbindgen.toml") {
        Ok(config) => config,
        Err(error) => panic!("cbindgen.toml: {error}"),
    };
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        builder = builder.with_src(source);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => panic!("generating the header: {error}"),
    };
    let Some(out) = std::env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR") };
    bindings.write_to_file(PathBuf::from(out).join("lto.h"));
}
