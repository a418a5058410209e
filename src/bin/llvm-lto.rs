//! The driver of the legacy code generator's thin link: `llvm-lto -thinlto-action=...`.

fn main() {
    std::process::exit(LTO::tools::lto::main(std::env::args_os()));
}
