//! Rust that calls C that calls Rust. The C side is the object that MIXED_C names at link time.

use std::hint::black_box;

unsafe extern "C" {
    safe fn weigh(value: u32) -> u32;
    fn weigh_all(values: *const u32, count: u32) -> u32;
}

/// Called from the loop in C.
#[unsafe(no_mangle)]
pub extern "C" fn rust_limit(value: u32) -> u32 {
    value % 1000
}

/// Calls C once for each value; the demo looks at this function's instructions.
#[inline(never)]
fn rust_caller(values: &[u32]) -> u32 {
    values.iter().fold(0, |sum, &value| sum.wrapping_add(weigh(value)))
}

fn main() {
    let values: Vec<u32> = (0..black_box(1000)).collect();
    // SAFETY: the pointer and the count are those of one live slice.
    let limited = unsafe { weigh_all(values.as_ptr(), values.len() as u32) };
    println!("C inside Rust {}, Rust inside C {limited}", rust_caller(&values));
}
