//! The driver of resolution-based LTO: `llvm-lto2 run`, `llvm-lto2 dump-symtab`.

fn main() {
    std::process::exit(LTO::tools::lto2::main(std::env::args_os()));
}
