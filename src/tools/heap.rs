//! Small blocks of memory without locks, for programs that live for milliseconds.
//!
//! In: what a program asks of its allocator. Out: memory. Blocks of up to [`MAX`] bytes are cut one behind
//! another out of larger ones, and when they are freed wait in a list, by size, of the thread that
//! freed them, which looks there first. All others are the system's ([`super::memory`] tells it
//! how). With glibc's malloc alone reading summaries takes a tenth more: its blocks have heads, it
//! joins neighbours again, and a thread that frees what another had allocated must lock that one's
//! heap.
//!
//! What small blocks have taken is never given back, and the lists of a thread that ends are lost: this
//! is for programs whose threads live as long as they do.

#![allow(unsafe_code)] // an allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

/// The size of the largest small block, in bytes.
const MAX: usize = 1024;
/// Sizes are multiples of this, and so are addresses.
const STEP: usize = 16;
/// How much is taken from the system at once.
const CHUNK: usize = 256 << 10;

/// The allocator; see the head of this file.
pub struct Heap;

/// The small blocks of a thread.
struct Local {
    /// What is left of the last chunk.
    next: *mut u8,
    left: usize,
    /// By size, the blocks that were freed: each holds the address of the one before it.
    free: [*mut u8; MAX / STEP],
}

thread_local! {
    // Without a destructor, so that it is there as long as the thread is.
    static LOCAL: UnsafeCell<Local> = const {
        UnsafeCell::new(Local { next: null_mut(), left: 0, free: [null_mut(); MAX / STEP] })
    };
}

/// Whether a block is a small one.
#[inline(always)]
fn is_small(layout: &Layout) -> bool {
    layout.size() <= MAX && layout.align() <= STEP
}

/// Which of the lists a small block of this size belongs to.
#[inline(always)]
fn class(size: usize) -> usize {
    size.saturating_sub(1) / STEP
}

impl Local {
    #[inline(always)]
    fn take(&mut self, class: usize) -> *mut u8 {
        if let Some(first) = self.free.get_mut(class)
            && !first.is_null()
        {
            let block = *first;
            // SAFETY: blocks in the list are free, and `give` wrote an address to each.
            *first = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let size = (class + 1) * STEP;
        if size > self.left && !self.refill() {
            return null_mut();
        }
        let block = self.next;
        self.left -= size;
        // SAFETY: at least `size` bytes of the chunk were left.
        self.next = unsafe { block.add(size) };
        block
    }

    /// Takes the next chunk; what is left of the last one is lost.
    #[cold]
    fn refill(&mut self) -> bool {
        let Ok(layout) = Layout::from_size_align(CHUNK, STEP) else { return false };
        // SAFETY: the size is not zero.
        let chunk = unsafe { System.alloc(layout) };
        if chunk.is_null() {
            return false;
        }
        (self.next, self.left) = (chunk, CHUNK);
        true
    }

    /// # Safety
    /// `block` is a small block of this class that nobody uses any more.
    #[inline(always)]
    unsafe fn give(&mut self, block: *mut u8, class: usize) {
        if let Some(first) = self.free.get_mut(class) {
            // SAFETY: every block has room for an address, and is aligned to more.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }
}

/// Calls `f` with the blocks of this thread.
#[inline(always)]
fn with_local<R>(f: impl FnOnce(&mut Local) -> R) -> R {
    // SAFETY: no other thread sees them, and none of the functions called allocates from here.
    LOCAL.with(|local| f(unsafe { &mut *local.get() }))
}

// SAFETY: small blocks do not overlap: they are cut out of chunks that are nobody else's, and each is
// in one list at most. Their addresses are multiples of STEP, as those of the chunks and all sizes
// are. Whether a block is small depends on its layout alone, which is the same when it is freed.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_small(&layout) {
            return with_local(|local| local.take(class(layout.size())));
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_small(&layout) {
            // SAFETY: the caller gives back a block of this layout, which is of this class.
            return with_local(|local| unsafe { local.give(block, class(layout.size())) });
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_small(&layout) {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as the caller promises.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block has as many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is one of a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_small(&layout), is_small(&new)) {
            // SAFETY: as the caller promises; both blocks are the system's.
            (false, false) => return unsafe { System.realloc(block, layout, size) },
            (true, true) if class(layout.size()) == class(size) => return block,
            _ => {}
        }
        // SAFETY: the size is not zero, as the caller promises.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both blocks have as many bytes, and are not the same; then the old one is free.
            unsafe {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// A block of `size` bytes that are all `byte`.
    fn filled(size: usize, byte: u8) -> *mut u8 {
        unsafe {
            let block = Heap.alloc(layout(size, 8));
            block.write_bytes(byte, size);
            block
        }
    }

    fn holds(block: *mut u8, size: usize, byte: u8) -> bool {
        unsafe { std::slice::from_raw_parts(block, size).iter().all(|&b| b == byte) }
    }

    #[test]
    fn blocks_keep_what_is_written_to_them() {
        let sizes: Vec<usize> = (1..2200).step_by(7).chain([MAX, MAX + 1, 300_000]).collect();
        let blocks: Vec<*mut u8> =
            sizes.iter().map(|&size| filled(size, (size % 251) as u8)).collect();
        for (&block, &size) in blocks.iter().zip(&sizes) {
            assert!(block.addr().is_multiple_of(STEP) && holds(block, size, (size % 251) as u8));
        }
        // Grown and shrunk across the border between small and large.
        for (&block, &size) in blocks.iter().zip(&sizes) {
            let (byte, new) = ((size % 251) as u8, size * 3 % 2500 + 1);
            unsafe {
                let block = Heap.realloc(block, layout(size, 8), new);
                assert!(holds(block, size.min(new), byte), "{size} to {new}");
                Heap.dealloc(block, layout(new, 8));
            }
        }
    }

    #[test]
    fn freed_blocks_are_used_again_and_zeroed_ones_are_zero() {
        let first = filled(100, 0xff);
        unsafe {
            Heap.dealloc(first, layout(100, 8));
            let again = Heap.alloc_zeroed(layout(110, 8));
            assert_eq!(again, first, "of the same class");
            assert!(holds(again, 110, 0));
            Heap.dealloc(again, layout(110, 8));
            let aligned = Heap.alloc(layout(64, 64));
            assert!(aligned.addr().is_multiple_of(64));
            Heap.dealloc(aligned, layout(64, 64));
            assert_eq!(Heap.realloc(Heap.alloc(layout(100, 8)), layout(100, 8), 112), first);
        }
    }

    #[test]
    fn blocks_go_from_thread_to_thread() {
        let blocks: Vec<usize> =
            (0..5000).map(|i| filled(i % 900 + 1, i as u8).expose_provenance()).collect();
        std::thread::scope(|scope| {
            for half in blocks.chunks(2500).enumerate() {
                scope.spawn(move || {
                    let first = half.0 * 2500;
                    for (i, &block) in (first..).zip(half.1) {
                        let (block, size) =
                            (std::ptr::with_exposed_provenance_mut(block), i % 900 + 1);
                        assert!(holds(block, size, i as u8));
                        unsafe { Heap.dealloc(block, layout(size, 8)) };
                        assert_eq!(filled(size, 0), block, "freed here, used here");
                    }
                });
            }
        });
    }
}
