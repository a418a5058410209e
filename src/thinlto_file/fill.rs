//! Structures that can grow.
//!
//! In: the caller's structure, whose first member says how large the caller knows it, and what is
//! to be put in. Out: as much of it as the caller has room for. A program built against an older
//! header so gets what it knows; one built against a newer header sees in the size how much this
//! library filled in.

#![allow(unsafe_code)] // writes the caller's memory

use crate::error::{Error, Result};

/// A structure of C whose first member is `size_t struct_size`.
///
/// # Safety
/// `repr(C)`, with a `usize` first.
pub(super) unsafe trait Grows: Copy {
    /// The size of the structure in the first version of the header that had it, in bytes.
    const FIRST: usize = std::mem::size_of::<Self>();
}

/// Fills in the structure at `out`.
///
/// # Safety
/// Null, or the first member is set and as many bytes as it says may be written.
pub(super) unsafe fn fill<T: Grows>(out: *mut T, mut value: T) -> Result<()> {
    if out.is_null() {
        return Err(Error::misuse("the structure for the answer is null"));
    }
    // SAFETY: not null, and the first member is the caller's clause.
    let room = unsafe { out.cast::<usize>().read() };
    if room < T::FIRST {
        return Err(Error::misuse(format!(
            "struct_size is {room} and must be set to the size of the structure, at least {}",
            T::FIRST
        )));
    }
    let size = room.min(std::mem::size_of::<T>());
    let from = (&raw mut value).cast::<u8>();
    // SAFETY: `Grows` promises that a `usize` comes first.
    unsafe { from.cast::<usize>().write(size) };
    // SAFETY: `size` is within both, and that `out` has room for it is the caller's clause.
    unsafe { std::ptr::copy_nonoverlapping(from, out.cast::<u8>(), size) };
    Ok(())
}

/// Copies as many items as the caller has room for, and returns how many there are.
///
/// # Safety
/// `out` may be null where `capacity` is 0, and otherwise has room for `capacity` items.
pub(super) unsafe fn copy<T: Copy>(items: &[T], out: *mut T, capacity: usize) -> Result<usize> {
    let count = items.len().min(capacity);
    if count > 0 {
        if out.is_null() {
            return Err(Error::misuse("the array for the answer is null"));
        }
        // SAFETY: `count` is within both: the slice, and the caller's clause.
        unsafe { std::ptr::copy_nonoverlapping(items.as_ptr(), out, count) };
    }
    Ok(items.len())
}

/// The item at `at`, or an error that says how many there are.
pub(super) fn item<'a, T>(items: &'a [T], at: usize, what: &str) -> Result<&'a T> {
    items.get(at).ok_or_else(|| out_of_range(at, items.len(), what))
}

/// There is no item `at`.
pub(super) fn out_of_range(at: usize, count: usize, what: &str) -> Error {
    Error::misuse(format!("there is no {what} {at}: there are {count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Answer {
        struct_size: usize,
        first: u64,
        later: u64,
    }
    // SAFETY: repr(C), with the size first.
    unsafe impl Grows for Answer {
        const FIRST: usize = 16;
    }

    #[test]
    fn old_and_new_callers_get_what_they_know() {
        let value = Answer { struct_size: 0, first: 7, later: 8 };
        let mut out = Answer { struct_size: 16, first: 0, later: 99 };
        // SAFETY: a structure of this size.
        unsafe { fill(&mut out, value) }.unwrap();
        assert_eq!((out.struct_size, out.first, out.later), (16, 7, 99));
        let mut larger = [out; 2];
        larger[0].struct_size = 48;
        // SAFETY: the first of two, which are 48 bytes.
        unsafe { fill(larger.as_mut_ptr(), value) }.unwrap();
        assert_eq!((larger[0].struct_size, larger[0].later, larger[1].first), (24, 8, 7));
        out.struct_size = 8;
        // SAFETY: refused by the size.
        assert!(unsafe { fill(&mut out, value) }.is_err());
    }
}
