//! Threads and memory for programs that live for milliseconds.
//!
//! In: how many threads. Out: rayon's pool, of which the calling thread is one, and for each thread
//! a heap of large pages. Fresh memory costs such a program more than most of what it does with
//! it: every small page is an interruption of a microsecond or more. glibc gives large blocks back
//! to the system one by one and takes new ones; here freed memory is used again.

#![allow(unsafe_code)] // glibc's and the kernel's settings

/// The heaps grow by blocks of so many bytes of address space, less than [`MMAP`].
const BLOCK: usize = 28 << 20;
/// How many of them the main thread's heap begins with.
const MAIN_BLOCKS: usize = 9;
/// How many of them another thread's begins with. glibc has no larger ones than 64 MiB.
const BLOCKS: usize = 2;
/// Blocks from this size on are mapped one by one; the largest that glibc takes.
const MMAP: usize = 32 << 20;

/// Sets up memory and `threads` threads, 0 for as many as there are processors. To be called once,
/// by the main thread, before anything else uses rayon; otherwise memory and threads stay as they
/// are.
pub fn prepare(threads: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the calls change how glibc gets memory from now on, and nothing else.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP as libc::c_int);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
    widen_heap(MAIN_BLOCKS);
    // Fails only where a pool exists already, which then serves as well.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .start_handler(|_| widen_heap(BLOCKS))
        .build_global();
}

/// Makes the thread's heap consist of large pages: it grows by `count` blocks, which are given back at
/// once but for what stands before the first of the pages, which is never used.
fn widen_heap(count: usize) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 2 << 20;
        let blocks: Vec<Vec<u8>> = (0..count).map(|_| Vec::with_capacity(BLOCK)).collect();
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return };
        let (begin, end) = (first.as_ptr().addr(), last.as_ptr().addr() + last.capacity());
        // They stand one behind another; where they do not, all stays as it is.
        let start = begin.next_multiple_of(PAGE);
        let Some(size) = (end & !(PAGE - 1)).checked_sub(start) else { return };
        if size > count * (BLOCK + PAGE) {
            return;
        }
        let pages = first.as_ptr().with_addr(start).cast_mut();
        // SAFETY: what it asks for changes no content. It may be refused, and nothing is lost.
        let _ = unsafe { libc::madvise(pages.cast(), size, libc::MADV_HUGEPAGE) };
        drop(blocks);
        // Behind it stands the head of the next block.
        if let Some(before) = (start - begin).checked_sub(64) {
            std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(before)));
        }
    }
}
