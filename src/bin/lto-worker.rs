//! The engine in a process of its own: libLTO.so starts it, and it runs LLVM.

fn main() {
    std::process::exit(LTO::engine::worker_main());
}
