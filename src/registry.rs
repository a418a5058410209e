//! Handles that C callers hold: tokens, never addresses.
//!
//! In: an object to keep. Out: a pointer-sized token that finds it again, until the object is
//! disposed of; every other value (null, stale, disposed twice, of another kind, garbage) is a
//! [`Misuse`](crate::error::ErrorKind::Misuse) error and touches nothing.
//!
//! A token is `kind | generation | slot | mark`. The slot says where to look, the generation must
//! be the one the slot has now (it grows with each disposal, so a token never comes to life
//! again), the kind tells a module from a code generator, and the mark is odd, which no pointer to
//! an object of C is. Slots live in chunks that are never moved or freed, so finding one takes no
//! lock; a slot has a reader-writer lock of its own, which makes a disposal wait for the calls that
//! still use the object. A process of one thread, as most of those are that ask for thousands of
//! names one by one, has nobody to be kept out, and a call that only looks is then counted without
//! an atomic operation: taking and leaving the lock would be most of what it costs.
//!
//! The first chunk is part of the static itself and the free list runs through the slots, so a
//! process that loads and unloads the library, and disposes of what it made, leaves nothing
//! behind. Objects that are never disposed of live to the end of the process: a static is not
//! dropped.
//!
//! This module knows nothing of what it keeps.

#![allow(unsafe_code)] // a slot's lock is not taken where there is but one thread

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Error, Result};

/// Slots in the chunk that is part of the static.
const FIRST: usize = 64;
/// Each further chunk doubles the number of slots.
const CHUNKS: usize = (SLOT_BITS - FIRST.trailing_zeros()) as usize;

const MARK_BITS: u32 = 2;
const MARK: usize = 0b01;
const KIND_BITS: u32 = 4;
const SLOT_BITS: u32 = if usize::BITS == 64 { 26 } else { 14 };
const GENERATION_BITS: u32 = usize::BITS - MARK_BITS - KIND_BITS - SLOT_BITS;
const MAX_GENERATION: u32 = ((1_u64 << GENERATION_BITS) - 1) as u32;
const MAX_SLOTS: usize = 1 << SLOT_BITS;
/// The bits that are the same in all tokens of a kind.
const FIXED_BITS: usize = !(usize::MAX << MARK_BITS) | usize::MAX << (usize::BITS - KIND_BITS);
/// No slot; others are 1 + their index. An empty registry is all zero bytes, so that the statics
/// take no room in the library's file.
const NONE: u32 = 0;

/// What a handle stands for; part of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `lto_module_t`
    Module = 1,
    /// `lto_code_gen_t`
    CodeGenerator = 2,
    /// `thinlto_code_gen_t`
    ThinCodeGenerator = 3,
    /// `lto_input_t`
    Input = 4,
    /// `LLVMDisasmContextRef`
    Disassembler = 5,
    /// An index of the ThinLTO file API.
    ThinIndex = 6,
    /// A thin link of the ThinLTO file API.
    ThinLink = 7,
}

impl Kind {
    /// The noun for messages, with its article.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Module => "a module",
            Kind::CodeGenerator => "a code generator",
            Kind::ThinCodeGenerator => "a ThinLTO code generator",
            Kind::Input => "an input file",
            Kind::Disassembler => "a disassembler",
            Kind::ThinIndex => "a ThinLTO index",
            Kind::ThinLink => "a thin link",
        }
    }

    fn from_code(code: usize) -> Option<Self> {
        [
            Kind::Module,
            Kind::CodeGenerator,
            Kind::ThinCodeGenerator,
            Kind::Input,
            Kind::Disassembler,
            Kind::ThinIndex,
            Kind::ThinLink,
        ]
        .into_iter()
        .find(|kind| *kind as usize == code)
    }
}

/// The parts of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    generation: u32,
    slot: usize,
}

impl Token {
    fn encode(self) -> usize {
        ((self.kind as usize) << (usize::BITS - KIND_BITS))
            | ((self.generation as usize) << (MARK_BITS + SLOT_BITS))
            | (self.slot << MARK_BITS)
            | MARK
    }

    fn decode(value: usize) -> Option<Self> {
        if value & ((1 << MARK_BITS) - 1) != MARK {
            return None;
        }
        let kind = Kind::from_code(value >> (usize::BITS - KIND_BITS))?;
        let (generation, slot) = Self::parts(value);
        Some(Token { kind, generation, slot })
    }

    /// Generation and slot, whatever the rest is.
    fn parts(value: usize) -> (u32, usize) {
        let generation = (value >> (MARK_BITS + SLOT_BITS)) as u32 & MAX_GENERATION;
        (generation, (value >> MARK_BITS) & (MAX_SLOTS - 1))
    }
}

struct Slot<T> {
    lock: RwLock<()>,
    /// How many calls look at the state without having taken the lock: of one thread, which may
    /// nest them, and only from while there was no other.
    unlocked: AtomicU32,
    state: UnsafeCell<State<T>>,
}

struct State<T> {
    generation: u32,
    /// While this slot is free: 1 + the next free one, or `NONE`.
    next_free: u32,
    /// Boxed, because an empty `Option<T>` need not be zero bytes.
    value: Option<Box<T>>,
}

// SAFETY: the state is only reached through `read` and `write`, which keep readers and writers of
// different threads apart as a lock does; so it asks of T what a lock asks.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T> Slot<T> {
    const fn new() -> Self {
        Slot {
            lock: RwLock::new(()),
            unlocked: AtomicU32::new(0),
            state: UnsafeCell::new(State { generation: 0, next_free: NONE, value: None }),
        }
    }

    #[inline(always)]
    fn read(&self) -> Reading<'_, T> {
        let hold = if is_single_threaded() {
            // Nobody else is there to count at the same time.
            self.unlocked.store(self.unlocked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            Hold::Count(&self.unlocked)
        } else {
            Hold::Lock { _guard: self.lock.read().unwrap_or_else(PoisonError::into_inner) }
        };
        // SAFETY: `write` gives nobody a mutable reference while the lock is held or the count is
        // not zero, and both last as long as this reference.
        Reading { state: unsafe { &*self.state.get() }, _hold: hold }
    }

    fn write(&self) -> Writing<'_, T> {
        let guard = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        // A call that began in the only thread may have started this one, and not be over yet.
        while self.unlocked.load(Ordering::Acquire) != 0 {
            std::thread::yield_now();
        }
        Writing { slot: self, _guard: guard }
    }
}

/// Leave to look at a slot's state.
struct Reading<'s, T> {
    state: &'s State<T>,
    _hold: Hold<'s>,
}

enum Hold<'s> {
    Lock { _guard: RwLockReadGuard<'s, ()> },
    Count(&'s AtomicU32),
}

impl Drop for Hold<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Hold::Count(count) = self {
            // Whoever waits for zero sees what was done before.
            count.store(count.load(Ordering::Relaxed) - 1, Ordering::Release);
        }
    }
}

/// Leave to change a slot's state.
struct Writing<'s, T> {
    slot: &'s Slot<T>,
    _guard: RwLockWriteGuard<'s, ()>,
}

impl<T> Writing<'_, T> {
    fn state(&mut self) -> &mut State<T> {
        // SAFETY: the lock is held, so no other `Writing` exists and no `Reading` by the lock, and
        // none by the count: it was zero, and is only raised in a process of one thread, which is
        // the one that is here. The borrow of `self` keeps this reference the only one.
        unsafe { &mut *self.slot.state.get() }
    }
}

/// Whether the process has but this thread. Glibc knows (`__libc_single_threaded`, since 2.32);
/// where nobody does, the answer is no.
#[inline(always)]
fn is_single_threaded() -> bool {
    static ANSWER: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
    let mut answer = ANSWER.load(Ordering::Relaxed);
    if answer.is_null() {
        answer = find_answer();
        ANSWER.store(answer, Ordering::Relaxed);
    }
    // SAFETY: one of the two bytes of `find_answer`, which live as long as the process or this
    // library. Glibc writes its own only in a process of one thread, before it makes a second, and
    // when that has ended.
    unsafe { answer.read_volatile() != 0 }
}

#[cold]
fn find_answer() -> *mut u8 {
    static NO: u8 = 0;
    // SAFETY: a string; the symbol, if there is one, is a `char`.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    if found.is_null() { (&raw const NO).cast_mut() } else { found.cast() }
}

struct Free {
    /// 1 + the first free slot below `used`, or `NONE`.
    head: u32,
    /// Slots from here on were never used.
    used: u32,
}

/// All live objects of one kind.
pub struct Registry<T> {
    kind: Kind,
    free: Mutex<Free>,
    first: [Slot<T>; FIRST],
    more: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
}

impl<T> Registry<T> {
    /// An empty registry; meant for a `static`.
    pub const fn new(kind: Kind) -> Self {
        Registry {
            kind,
            free: Mutex::new(Free { head: NONE, used: 0 }),
            first: [const { Slot::new() }; FIRST],
            more: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// Keeps `value` and returns its token.
    ///
    /// Errors: misuse, where more objects are alive than a token can tell apart.
    pub fn insert(&self, value: T) -> Result<usize> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = if free.head == NONE { free.used } else { free.head - 1 };
        let Some(slot) = self.slot_or_grow(index as usize) else {
            return Err(Error::misuse(format!("no room for {} more", self.kind.noun())));
        };
        let mut writing = slot.write();
        let state = writing.state();
        if free.head == NONE {
            free.used += 1;
        } else {
            free.head = state.next_free;
        }
        state.value = Some(Box::new(value));
        let token = Token { kind: self.kind, generation: state.generation, slot: index as usize };
        Ok(token.encode())
    }

    /// Calls `use_it` with the object. The object cannot be disposed of meanwhile, so the closure
    /// must neither dispose of it nor call out to the user.
    ///
    /// Errors: misuse for a value that is not the token of a live object of this kind, and
    /// whatever `use_it` returns.
    #[inline(always)]
    pub fn with<R>(&self, token: usize, use_it: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        if let Some((slot, generation)) = self.place(token) {
            let reading = slot.read();
            if reading.state.generation == generation
                && let Some(value) = &reading.state.value
            {
                return use_it(value);
            }
        }
        Err(self.complaint(token))
    }

    /// Takes the object out; its token is stale from now on. Waits for calls that still use it.
    ///
    /// Errors: misuse for a value that is not the token of a live object of this kind.
    pub fn remove(&self, token: usize) -> Result<T> {
        let Some((slot, generation)) = self.place(token) else {
            return Err(self.complaint(token));
        };
        let taken = {
            let mut writing = slot.write();
            let state = writing.state();
            let fresh = state.generation == generation;
            let value = if fresh { state.value.take() } else { None };
            // A slot whose generations are used up is never given out again.
            let retired = state.generation == MAX_GENERATION;
            if value.is_some() && !retired {
                state.generation += 1;
            }
            value.map(|value| (*value, retired))
        };
        let (value, retired) = taken.ok_or_else(|| self.complaint(token))?;
        if retired {
            return Ok(value);
        }
        // The lock order is free list, then slot, as in `insert`.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        slot.write().state().next_free = free.head;
        free.head = Token::parts(token).1 as u32 + 1;
        Ok(value)
    }

    /// The slot and the generation that a token of this kind names.
    #[inline(always)]
    fn place(&self, token: usize) -> Option<(&Slot<T>, u32)> {
        // Kind and mark at once: this is on the way to every name of a symbol.
        let fixed = Token { kind: self.kind, generation: 0, slot: 0 }.encode();
        if token & FIXED_BITS != fixed {
            return None;
        }
        let (generation, slot) = Token::parts(token);
        Some((self.slot(slot)?, generation))
    }

    /// Why `token` finds nothing.
    #[cold]
    fn complaint(&self, token: usize) -> Error {
        let noun = self.kind.noun();
        if token == 0 {
            return Error::misuse(format!("the handle of {noun} is null"));
        }
        let known = Token::decode(token).and_then(|parts| {
            if parts.kind != self.kind {
                return Some(format!(
                    "the handle is that of {}, where that of {noun} is needed",
                    parts.kind.noun()
                ));
            }
            let slot = self.slot(parts.slot)?;
            let reading = slot.read();
            let state = reading.state;
            (parts.generation < state.generation || state.generation == MAX_GENERATION)
                .then(|| format!("the handle is that of {noun} that has been disposed of"))
        });
        Error::misuse(known.unwrap_or_else(|| format!("{token:#x} is not the handle of {noun}")))
    }

    /// The slot of that index, where its chunk exists.
    #[inline]
    fn slot(&self, index: usize) -> Option<&Slot<T>> {
        if let Some(slot) = self.first.get(index) {
            return Some(slot);
        }
        let (chunk, offset) = place(index);
        self.more.get(chunk)?.get()?.get(offset)
    }

    fn slot_or_grow(&self, index: usize) -> Option<&Slot<T>> {
        if index >= MAX_SLOTS {
            return None;
        }
        if index >= FIRST {
            let (chunk, _) = place(index);
            self.more
                .get(chunk)?
                .get_or_init(|| (0..FIRST << chunk).map(|_| Slot::new()).collect());
        }
        self.slot(index)
    }
}

/// Which chunk a slot beyond the first is in, and where: chunk `c` holds `FIRST << c` slots and
/// starts at slot `FIRST << c`.
fn place(index: usize) -> (usize, usize) {
    let chunk = (index / FIRST).ilog2() as usize;
    (chunk, index - (FIRST << chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn message<R: std::fmt::Debug>(result: Result<R>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn finds_what_was_kept_and_only_that() {
        static NUMBERS: Registry<u32> = Registry::new(Kind::Module);
        let a = NUMBERS.insert(1).unwrap();
        let b = NUMBERS.insert(2).unwrap();
        assert_ne!(a, b);
        assert_eq!(NUMBERS.with(a, |n| Ok(*n)).unwrap(), 1);
        assert_eq!(NUMBERS.with(b, |n| Ok(*n)).unwrap(), 2);
        assert_eq!(NUMBERS.remove(a).unwrap(), 1);
        assert_eq!(
            message(NUMBERS.with(a, |n| Ok(*n))),
            "the handle is that of a module that has been disposed of"
        );
        assert_eq!(
            message(NUMBERS.remove(a)),
            "the handle is that of a module that has been disposed of"
        );
        let c = NUMBERS.insert(3).unwrap();
        assert_ne!(c, a, "a slot used again gives another token");
        assert!(NUMBERS.with(a, |n| Ok(*n)).is_err());
        assert_eq!(NUMBERS.with(c, |n| Ok(*n)).unwrap(), 3);
    }

    #[test]
    fn refuses_null_garbage_and_other_kinds() {
        static MODULES: Registry<u32> = Registry::new(Kind::Module);
        static INPUTS: Registry<u32> = Registry::new(Kind::Input);
        let module = MODULES.insert(1).unwrap();
        assert_eq!(message(INPUTS.remove(0)), "the handle of an input file is null");
        assert_eq!(
            message(INPUTS.remove(module)),
            "the handle is that of a module, where that of an input file is needed"
        );
        for garbage in [
            1,
            2,
            5,
            usize::MAX,
            usize::MAX / 3,
            module ^ 1,
            module + 4,
            &raw const module as usize,
        ] {
            let got = message(MODULES.with(garbage, |n| Ok(*n)));
            assert!(
                got.ends_with("is not the handle of a module") || got.contains("is needed"),
                "{got}"
            );
        }
        assert_eq!(MODULES.remove(module).unwrap(), 1);
    }

    #[test]
    fn every_bit_of_a_token_matters() {
        let registry: Registry<u32> = Registry::new(Kind::CodeGenerator);
        let tokens: Vec<usize> = (0..300).map(|n| registry.insert(n).unwrap()).collect();
        for bit in 0..usize::BITS {
            for (n, token) in tokens.iter().enumerate() {
                let other = token ^ (1 << bit);
                match registry.with(other, |n| Ok(*n)) {
                    Ok(found) => {
                        assert_eq!(tokens.get(found as usize), Some(&other), "{n} bit {bit}")
                    }
                    Err(_) => assert!(!tokens.contains(&other)),
                }
            }
        }
    }

    #[test]
    fn keeps_thousands_and_reuses_their_slots() {
        let registry: Registry<usize> = Registry::new(Kind::Input);
        for _ in 0..3 {
            let tokens: Vec<usize> = (0..5000).map(|n| registry.insert(n).unwrap()).collect();
            for (n, token) in tokens.iter().enumerate() {
                assert_eq!(registry.with(*token, |n| Ok(*n)).unwrap(), n);
            }
            for (n, token) in tokens.iter().enumerate() {
                assert_eq!(registry.remove(*token).unwrap(), n);
            }
        }
        assert_eq!(registry.free.lock().unwrap().used, 5000);
    }

    #[test]
    fn a_slot_without_generations_left_is_retired() {
        let registry: Registry<u32> = Registry::new(Kind::Module);
        registry.first[0].write().state().generation = MAX_GENERATION;
        let last = registry.insert(7).unwrap();
        assert_eq!(registry.remove(last).unwrap(), 7);
        assert_eq!(
            message(registry.remove(last)),
            "the handle is that of a module that has been disposed of"
        );
        let next = registry.insert(8).unwrap();
        assert_eq!(Token::decode(next).unwrap().slot, 1);
    }

    #[test]
    fn one_of_many_threads_wins_a_disposal() {
        static SHARED: Registry<String> = Registry::new(Kind::Module);
        for round in 0..200 {
            let token = SHARED.insert(format!("object {round}")).unwrap();
            let removed = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let _ = SHARED.with(token, |text| {
                                assert_eq!(*text, format!("object {round}"));
                                Ok(())
                            });
                        }
                        if SHARED.remove(token).is_ok() {
                            removed.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(removed.load(Ordering::Relaxed), 1);
        }
    }
}
