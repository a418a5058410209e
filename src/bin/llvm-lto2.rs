//! The driver of resolution-based LTO: `llvm-lto2 run`, `llvm-lto2 dump-symtab`.

/// Most of what these programs allocate is small.
#[global_allocator]
static HEAP: LTO::tools::heap::Heap = LTO::tools::heap::Heap;

fn main() {
    std::process::exit(LTO::tools::lto2::main(std::env::args_os()));
}
