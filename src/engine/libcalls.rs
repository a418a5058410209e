//! What code generation knows of the standard library.
//!
//! In: a triple. Out: code that is generated meanwhile may take calls of the library's functions for
//! what they are, so that `sqrt` becomes an instruction. Knows nothing of modules.
//!
//! LLVM's LTO tells code generation by a pass, `TargetLibraryInfoWrapperPass`, that it makes for the
//! triple and adds itself. The C API adds none, so that LLVM makes one as its registry of passes says:
//! from LLVM 17 or so to 21 one to which no function is available (`TargetLibraryInfoImpl()`), before and
//! since one to which all are. Here the registry says otherwise while code is generated, for the
//! threads that do so. An entry of it (`PassInfo`, llvm/PassInfo.h), in words:
//!
//! | word | field |
//! |---|---|
//! | 0, 1 | `PassName` |
//! | 2, 3 | `PassArgument`, "targetlibinfo" |
//! | 4 | `PassID`, the address of `TargetLibraryInfoWrapperPass::ID` |
//! | 5 | flags |
//! | 6 to 8 | `ItfImpl`, a vector, and empty; older versions alone |
//! | 6 or 9 | `NormalCtor`, what makes the pass |
//!
//! It is believed where name and address fit, and where what is made is of the class that the
//! exported constructor makes.

#![allow(unsafe_code)]

use super::api::{Api, Module};
use super::target::peek;
use parking_lot::Mutex;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The versions whose own pass knows nothing.
const VERSIONS: RangeInclusive<u32> = 17..=21;
const PASS: &[u8] = b"targetlibinfo";
const ID: &CStr = c"_ZN4llvm28TargetLibraryInfoWrapperPass2IDE";
/// Words of an entry, and which of them are looked at.
const WORDS: usize = 10;
const ARGUMENT: usize = 2;
const PASS_ID: usize = 4;
/// Where the maker may be.
const MAKERS: [usize; 2] = [6, 9];
/// Room for the pass, a bit or two for each function that LLVM knows: some 400 bytes in LLVM 19.
const PASS_SIZE: usize = 8192;
/// Room for a `Triple`, a string and some numbers: 56 bytes in LLVM 19.
const TRIPLE_SIZE: usize = 512;

/// `PassInfo::NormalCtor_t`
type Make = unsafe extern "C" fn() -> *mut c_void;
/// `TargetLibraryInfoWrapperPass(const Triple &)`
type Construct = unsafe extern "C" fn(*mut c_void, *const c_void);

/// `Twine` (llvm/ADT/Twine.h): what the two ends are, each of up to two words.
#[repr(C)]
pub(super) struct Twine {
    left: [*const c_char; 2],
    right: [*const c_char; 2],
    left_kind: u8,
    right_kind: u8,
}

impl Twine {
    /// `EmptyKind` and `CStringKind`
    fn of(text: &CStr) -> Self {
        let none = [std::ptr::null(); 2];
        Twine { left: [text.as_ptr(), none[0]], right: none, left_kind: 3, right_kind: 1 }
    }
}

/// How a libLLVM makes the pass.
pub(super) struct Libcalls {
    /// Where its registry keeps the maker.
    entry: *mut usize,
    construct: Construct,
    /// Triples and their objects, which stay: a process sees few.
    triples: Mutex<Vec<(CString, *const c_void)>>,
}

// SAFETY: addresses in a library that is never unloaded, and of objects that are not changed.
unsafe impl Send for Libcalls {}
// SAFETY: as above; the entry is written under the lock of `INSTALLED`.
unsafe impl Sync for Libcalls {}

thread_local! {
    /// What to make on this thread.
    static WANTED: Cell<Option<(Construct, *const c_void)>> = const { Cell::new(None) };
}

/// The entry that makes ours at the moment, and how many threads generate code.
static INSTALLED: Mutex<(usize, usize)> = Mutex::new((0, 0));
/// What made it before: for threads that are not ours.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

/// Does something that generates code for `module`, which is for a target whose library is known.
pub(super) fn known<T>(api: &Api, module: *mut Module, work: impl FnOnce() -> T) -> T {
    let Some(libcalls) = api.libcalls.get_or_init(|| Libcalls::find(api)) else { return work() };
    // SAFETY: a live module, whose triple is a C string.
    let triple = unsafe { CStr::from_ptr((api.f.LLVMGetTarget)(module)) };
    let Some(triple) = libcalls.triple(api, triple) else { return work() };
    let Some(_installed) = Installed::begin(libcalls.entry) else { return work() };
    let before = WANTED.replace(Some((libcalls.construct, triple)));
    let done = work();
    WANTED.set(before);
    done
}

/// The registry's entry as ours.
struct Installed;

impl Installed {
    /// `None` where another libLLVM of this process has it.
    fn begin(entry: *mut usize) -> Option<Self> {
        let mut installed = INSTALLED.lock();
        match *installed {
            (_, 0) => {
                // SAFETY: `Libcalls::find` has seen that the maker is kept here.
                unsafe {
                    BEFORE.store(entry.read(), Ordering::SeqCst);
                    entry.write(make as Make as usize);
                }
                *installed = (entry as usize, 1);
            }
            (of, threads) if of == entry as usize => *installed = (of, threads + 1),
            _ => return None,
        }
        Some(Installed)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let mut installed = INSTALLED.lock();
        installed.1 -= 1;
        if let (entry, 0) = *installed {
            // SAFETY: as in `begin`, which wrote there.
            unsafe { (entry as *mut usize).write(BEFORE.load(Ordering::SeqCst)) };
        }
    }
}

/// Makes the pass, of which LLVM disposes by `operator delete`.
unsafe extern "C" fn make() -> *mut c_void {
    // SAFETY: memory of which C++'s operators dispose, and a constructor with its argument.
    let made = WANTED.get().and_then(|(construct, triple)| unsafe { build(construct, triple) });
    // SAFETY: the maker that was there before.
    made.unwrap_or_else(|| unsafe {
        std::mem::transmute::<usize, Make>(BEFORE.load(Ordering::SeqCst))()
    })
}

/// # Safety
/// `construct` makes an object of no more than [`PASS_SIZE`] for a `Triple`.
unsafe fn build(construct: Construct, triple: *const c_void) -> Option<*mut c_void> {
    // SAFETY: the caller's clause.
    unsafe {
        let place = libc::calloc(1, PASS_SIZE);
        if place.is_null() {
            return None;
        }
        construct(place, triple);
        Some(place)
    }
}

impl Libcalls {
    fn find(api: &Api) -> Option<Self> {
        if !VERSIONS.contains(&api.version.0) {
            return None;
        }
        let f = &api.f;
        let registry = f._ZN4llvm12PassRegistry15getPassRegistryEv?;
        let initialize =
            f._ZN4llvm42initializeTargetLibraryInfoWrapperPassPassERNS_12PassRegistryE?;
        let get = f._ZNK4llvm12PassRegistry11getPassInfoEPKv?;
        let construct = f._ZN4llvm28TargetLibraryInfoWrapperPassC1ERKNS_6TripleE?;
        let id = api.symbol(ID);
        // SAFETY: functions of this libLLVM, with the registry that it has.
        let info = unsafe {
            let registry = registry();
            initialize(registry);
            get(registry, id)
        };
        let bytes = peek(info.cast(), WORDS * size_of::<usize>())?;
        let words: Vec<usize> =
            bytes.as_chunks().0.iter().map(|&word| usize::from_ne_bytes(word)).collect();
        let word = |at: usize| words.get(at).copied();
        let argument = peek(word(ARGUMENT)? as *const u8, PASS.len())?;
        if id.is_null()
            || word(PASS_ID)? != id as usize
            || word(ARGUMENT + 1)? != PASS.len()
            || argument != PASS
        {
            return None;
        }
        let at = MAKERS.into_iter().find(|&at| word(at).is_some_and(|word| word != 0))?;
        let maker = word(at)?;
        if library_of(maker)? != library_of(id as usize)? {
            return None;
        }
        let entry = info.cast::<usize>().cast_mut().wrapping_add(at);
        let libcalls = Libcalls { entry, construct, triples: Mutex::default() };
        let triple = libcalls.triple(api, c"x86_64-unknown-linux-gnu")?;
        // SAFETY: code of libLLVM that the registry calls as this. The two objects stay: that they
        // can be disposed of is what is not known yet.
        let [theirs, ours] =
            unsafe { [std::mem::transmute::<usize, Make>(maker)(), build(construct, triple)?] };
        let class = |object: *mut c_void| peek(object.cast(), size_of::<usize>());
        (class(theirs)? == class(ours)?).then_some(libcalls)
    }

    /// A `Triple`.
    fn triple(&self, api: &Api, text: &CStr) -> Option<*const c_void> {
        let mut triples = self.triples.lock();
        if let Some((_, object)) = triples.iter().find(|(known, _)| **known == *text) {
            return Some(*object);
        }
        let construct = api.f._ZN4llvm6TripleC1ERKNS_5TwineE?;
        // SAFETY: room for the object, which stays; a `Twine` that lives as long as the call.
        let object = unsafe {
            let object = libc::calloc(1, TRIPLE_SIZE);
            if object.is_null() {
                return None;
            }
            construct(object, &Twine::of(text));
            object.cast_const()
        };
        // It begins with a `std::string`: address and length.
        // SAFETY: what was just made.
        let [address, length] = unsafe { object.cast::<[usize; 2]>().read() };
        let kept = peek(address as *const u8, length.min(text.count_bytes()))?;
        if length != text.count_bytes() || kept != text.to_bytes() {
            return None;
        }
        triples.push((text.to_owned(), object));
        Some(object)
    }
}

/// Where the library that holds an address is loaded.
fn library_of(address: usize) -> Option<usize> {
    // SAFETY: plain data, which zeros are good for, and a question that any address may be asked.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        let known = libc::dladdr(address as *const c_void, &mut found) != 0;
        known.then_some(found.dli_fbase as usize)
    }
}
