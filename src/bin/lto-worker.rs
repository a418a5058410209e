//! The engine in a process of its own: libLTO.so starts it, and it runs LLVM.
//!
//! Its `malloc` is mimalloc's, for libLLVM as well, which takes memory from nowhere else: what a
//! program defines comes before the C library's.

#[cfg(feature = "mimalloc")]
use libmimalloc_sys as _;

fn main() {
    std::process::exit(LTO::engine::worker_main());
}
