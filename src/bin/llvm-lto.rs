//! The driver of the legacy code generator's thin link: `llvm-lto -thinlto-action=...`.

/// Most of what these programs allocate is small.
#[global_allocator]
static HEAP: LTO::tools::heap::Heap = LTO::tools::heap::Heap;

fn main() {
    std::process::exit(LTO::tools::lto::main(std::env::args_os()));
}
