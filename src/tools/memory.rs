//! Threads and memory for programs that live for milliseconds.
//!
//! In: how many threads. Out: rayon's pool, of which the calling thread is one, and for each thread
//! a heap of large pages. Fresh memory costs such a program more than most of what it does with
//! it: every small page is an interruption of a microsecond or more. glibc gives large blocks back
//! to the system one by one and takes new ones; here freed memory is used again.

#![allow(unsafe_code)] // glibc's and the kernel's settings

/// The address space that each thread's heap begins with, in bytes.
const HEAP: usize = 24 << 20;

/// Sets up memory and `threads` threads, 0 for as many as there are processors. To be called once,
/// by the main thread, before anything else uses rayon; otherwise memory and threads stay as they
/// are.
pub fn prepare(threads: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the calls change how glibc gets memory from now on, and nothing else.
    unsafe {
        // The largest that it takes.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
    widen_heap();
    // Fails only where a pool exists already, which then serves as well.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .start_handler(|_| widen_heap())
        .build_global();
}

/// Makes the thread's heap consist of large pages: it grows by a block that is given back at once but
/// for what stands before the first of them, which is never used.
fn widen_heap() {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 2 << 20;
        let block = Vec::<u8>::with_capacity(HEAP);
        let start = block.as_ptr().addr().next_multiple_of(PAGE);
        let before = start - block.as_ptr().addr();
        let end = (block.as_ptr().addr() + block.capacity()) & !(PAGE - 1);
        let first = block.as_ptr().with_addr(start).cast_mut();
        // SAFETY: the range is inside of the block; what it asks for changes no content. It may be
        // refused, and nothing is lost.
        let _ =
            unsafe { libc::madvise(first.cast(), end.saturating_sub(start), libc::MADV_HUGEPAGE) };
        drop(block);
        // Behind it stands the head of the next block.
        if let Some(size) = before.checked_sub(64) {
            std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(size)));
        }
    }
}
