//! Optimization remarks as LLVM writes them to a file (`-pass-remarks-output` and the like).
//!
//! In: a context, and which remarks are wanted in what format. Out: the file's contents. Knows
//! nothing of modules, and no name of a file.
//!
//! The C API has nothing for it. libLLVM exports what LLVM's own LTO calls,
//! `llvm::setupLLVMOptimizationRemarks` with a stream, and the stream's class, from 14 on, under
//! names that say the types of all arguments; the ABI is described in [`super::mover`].

#![allow(unsafe_code)]

use super::api::{self, Api};
use super::memory::memfd;
use super::mover::InMemory;
use crate::config::RemarkOptions;
use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_int, c_void};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// `StringRef`.
#[repr(C)]
pub(super) struct Text {
    start: *const u8,
    len: usize,
}

/// `std::optional<uint64_t>`, and `llvm::Optional` of LLVM 14 and 15.
#[repr(C)]
pub(super) struct Number {
    value: u64,
    given: bool,
}

/// `raw_ostream::OStreamKind::OK_OStream`.
const PLAIN_STREAM: c_int = 0;

/// `setupLLVMOptimizationRemarks(LLVMContext &, raw_ostream &, StringRef, StringRef, bool, optional)`.
pub(super) type SetUp =
    unsafe extern "C" fn(*mut api::Context, *mut c_void, Text, Text, bool, Number) -> InMemory;

/// The remarks of one context. Must be dropped after the context, whose streamer writes to it.
pub(super) struct Remarks {
    api: Arc<Api>,
    file: File,
    /// A `raw_fd_ostream`, some twenty words, into `file`.
    stream: Box<[u128; 64]>,
}

impl Remarks {
    /// Lets a context that has no module yet write its remarks.
    ///
    /// # Errors
    /// Unsupported, where this libLLVM does not export what is needed; misuse, for a format or a
    /// pattern of passes that LLVM does not take.
    pub(super) fn set_up(
        api: &Arc<Api>,
        context: *mut api::Context,
        options: &RemarkOptions,
    ) -> Result<Remarks> {
        let f = &api.f;
        let (Some(construct), Some(set_up), Some(_), Some(_)) = (
            f._ZN4llvm14raw_fd_ostreamC1EibbNS_11raw_ostream11OStreamKindE,
            api.remarks(),
            f._ZN4llvm11raw_ostream14flush_nonemptyEv,
            f._ZN4llvm14raw_fd_ostreamD1Ev,
        ) else {
            return Err(Error::unsupported(
                "this libLLVM does not export what optimization remarks are written by",
            ));
        };
        let file = memfd(c"lto-remarks", 0)?;
        let mut remarks = Remarks { api: api.clone(), file, stream: Box::new([0; 64]) };
        // LLVM's error of an unknown format reads up to a zero byte.
        let terminated =
            |text: &str| CString::new(text).map_err(|_| Error::misuse("a name holds a zero byte"));
        let (passes, format) = (terminated(&options.passes)?, terminated(&options.format)?);
        let text = |text: &CStr| Text { start: text.as_ptr().cast(), len: text.count_bytes() };
        let threshold = Number {
            value: options.hotness_threshold.unwrap_or(0),
            given: options.hotness_threshold.is_some(),
        };
        // SAFETY: room enough for a stream, which does not own the descriptor; a live context.
        let failed = unsafe {
            let fd = remarks.file.as_raw_fd();
            construct(remarks.stream(), fd, false, false, PLAIN_STREAM);
            set_up(
                context,
                remarks.stream(),
                text(&passes),
                text(&format),
                options.with_hotness,
                threshold,
            )
        };
        match api.error_of(failed) {
            None => Ok(remarks),
            Some(text) => {
                // The context may know the stream already.
                std::mem::forget(remarks);
                Err(Error::misuse(text))
            }
        }
    }

    fn stream(&mut self) -> *mut c_void {
        (&raw mut *self.stream).cast()
    }

    /// What was written so far. Nothing that the context does later is added in versions that
    /// finish the file here (LLVM 22).
    pub(super) fn take(&mut self, context: *mut api::Context) -> Result<Vec<u8>> {
        let (finalize, flush) = {
            let f = &self.api.f;
            (
                f._ZN4llvm31finalizeLLVMOptimizationRemarksERNS_11LLVMContextE,
                f._ZN4llvm11raw_ostream14flush_nonemptyEv,
            )
        };
        // SAFETY: a live context and the stream that it was given.
        unsafe {
            if let Some(finalize) = finalize {
                finalize(context);
            }
            if let Some(flush) = flush {
                flush(self.stream());
            }
        }
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(|error| Error::io("reading optimization remarks", &error))?;
        Ok(bytes)
    }
}

impl Drop for Remarks {
    fn drop(&mut self) {
        if let Some(destroy) = self.api.f._ZN4llvm14raw_fd_ostreamD1Ev {
            // SAFETY: constructed in `set_up`; the context that wrote to it is gone.
            unsafe { destroy(self.stream()) };
        }
    }
}
