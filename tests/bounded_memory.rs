//! Broken files cost no more memory than a small multiple of their size, whatever they say of
//! counts, lengths and offsets.
//!
//! One test alone in its process, so that what the allocator counts is its own.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use LTO::bitcode::BITCODE_MAGIC;
use LTO::bitstream::Writer;
use LTO::ir::Guid;
use LTO::summary::{
    Format, LazyIndex, ModuleId, ReadOptions, WriteOptions, read_and_combine, read_index,
    write_module_index,
};
use LTO::symbols::LtoModule;
use support::Scratch;

/// Counts the bytes that are allocated, and the most there ever were.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        // SAFETY: the caller's clause.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's clause.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and checks what it took at most beyond what was there before.
fn bounded<R>(bytes: &[u8], what: &str, work: impl FnOnce() -> R) -> R {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let result = work();
    let took = MOST.load(Relaxed) - before;
    // A record of one bit a field takes 64 times as much decoded; nothing may do worse, and the
    // tables of an empty index are less than the rest.
    let most = 64 * bytes.len() + (1 << 20);
    assert!(took <= most, "{what}: {took} bytes for a file of {}", bytes.len());
    result
}

/// Changes a few bits or the length of a file, always the same way for the same number; more often
/// than not in its last quarter, where summaries and tables are.
fn mutate(file: &[u8], number: u64) -> Vec<u8> {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit.max(1) as u64) as usize
    };
    let mut file = file.to_vec();
    if number.is_multiple_of(7) {
        file.truncate(next(file.len()) & !3);
        return file;
    }
    for _ in 0..=next(3) {
        let quarter = file.len() / 4;
        let at = if next(3) == 0 { next(file.len()) } else { file.len() - 1 - next(quarter) };
        let end = (at + 4).min(file.len());
        match next(4) {
            0 => file[at] ^= 1 << next(8),
            1 => file[at] = 0xff,
            2 => file[at..end].fill(0xff),
            _ => file[at..end].fill(0x7f),
        }
    }
    file
}

/// Every reader of `bytes`; how many of them took it.
fn read_all(bytes: &[u8]) -> usize {
    let mut read = 0;
    read += usize::from(bounded(bytes, "symbols", || LtoModule::read(bytes)).is_ok());
    let index =
        bounded(bytes, "read", || read_index(bytes, b"broken", &ReadOptions::EVERYTHING).ok());
    if let Some(index) = index {
        read += 1;
        let options = WriteOptions { format: Format::Llvm22, function_table: true };
        bounded(bytes, "write", || index.to_bitcode(&options));
        let _ = bounded(bytes, "module", || {
            write_module_index(bytes, &index, ModuleId(0), Format::Llvm22)
        });
    }
    let lazy = bounded(bytes, "lazy", || {
        let lazy = LazyIndex::new(bytes, b"broken").ok()?;
        // Of a module, all is read; the numbers are of no function.
        (0..20).for_each(|guid| drop(lazy.read(Guid(guid))));
        Some(())
    });
    read + usize::from(lazy.is_some())
}

#[test]
fn broken_files_take_a_small_multiple_of_their_size() {
    let scratch = Scratch::new("bounded-memory");
    let source: String = (0..300)
        .map(|i| format!("int f{i}(int x) {{ return x * {i} + f{}(x); }}\n", (i * 7) % 300))
        .collect();
    let declared: String = (0..300).map(|i| format!("int f{i}(int);\n")).collect();
    scratch.write("many.c", format!("{declared}{source}"));
    scratch.clang(22, "-O1 -g -flto=thin -c many.c -o many.o");
    let module = scratch.read("many.o");
    let index = read_index(&module, b"many.o", &ReadOptions::EVERYTHING).unwrap();
    let write =
        |function_table| index.to_bitcode(&WriteOptions { format: Format::Llvm22, function_table });
    let files = [module.clone(), write(false), write(true)];
    let (mut read, mut refused) = (0, 0);
    for file in &files {
        assert!(read_all(file) >= 2, "the files are right before they are broken");
        for number in 0..500 {
            let got = read_all(&mutate(file, number));
            read += usize::from(got > 0);
            refused += usize::from(got < 2);
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");

    // Many broken ones at once, as in a merge.
    let many: Vec<Vec<u8>> = (0..40).map(|number| mutate(&module, number)).collect();
    let all: Vec<u8> = many.concat();
    let parts: Vec<(&[u8], &[u8])> = many.iter().map(|f| (f.as_slice(), &b"m"[..])).collect();
    let _ = bounded(&all, "merge", || read_and_combine(&parts, &ReadOptions::THIN_LINK));

    // A record that claims as many fields as a block can have words.
    let mut w = Writer::new();
    w.bytes(&BITCODE_MAGIC);
    let block = w.begin_block(2, 8, 3);
    let summary = w.begin_block(3, 20, 4);
    w.record(4, 10, &[12]);
    w.fixed(3, 4);
    w.vbr(1, 6);
    w.vbr(u64::from(u32::MAX), 6);
    w.end_block(summary);
    w.end_block(block);
    let liar = w.finish();
    let error = bounded(&liar, "liar", || read_index(&liar, b"liar", &ReadOptions::EVERYTHING));
    assert!(error.unwrap_err().to_string().contains("runs past its block"));
}
