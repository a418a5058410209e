//! What LLVM says while it works.
//!
//! In: LLVM's diagnostics, through the handler of a context. Out: a list of them for each request.
//! Knows nothing of modules and requests.

#![allow(unsafe_code)]

use super::api::{self, Api};
use super::{Diagnostic, Severity};
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// The diagnostics of the current request, shared with the fatal error handler.
pub(super) type Diagnostics = Rc<RefCell<Vec<Diagnostic>>>;

/// What LLVM's diagnostic handler gets as its context pointer.
pub(super) struct Sink {
    api: Arc<Api>,
    pub(super) list: Diagnostics,
    /// What diagnostics call the thing being worked on.
    pub(super) module: RefCell<String>,
    /// Remarks arrive in thousands, asked for or not; they are kept only where an option asks.
    remarks: bool,
}

impl Sink {
    pub(super) fn new(api: Arc<Api>, remarks: bool, list: Diagnostics) -> Sink {
        Sink { api, list, module: RefCell::default(), remarks }
    }

    /// Makes this the destination of a context's diagnostics.
    ///
    /// # Safety
    ///
    /// The context is live, and this value stays where it is for as long as the context lives.
    pub(super) unsafe fn attach(&self, context: *mut api::Context) {
        let sink = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the caller's clause; the handler gets the pointer that it expects.
        unsafe {
            let f = &self.api.f;
            // The type of the diagnostic was a reference before LLVM 17: the same at run time.
            let choosing = f._ZN4llvm11LLVMContext28setDiagnosticHandlerCallBackEPFvPKNS_14DiagnosticInfoEPvES4_b
                .or(f._ZN4llvm11LLVMContext28setDiagnosticHandlerCallBackEPFvRKNS_14DiagnosticInfoEPvES4_b);
            match choosing {
                Some(set) => set(context, Some(receive_diagnostic), sink, true),
                None => {
                    (f.LLVMContextSetDiagnosticHandler)(context, Some(receive_diagnostic), sink)
                }
            }
        }
    }

    /// Adds a warning of our own.
    pub(super) fn warn(&self, text: String) {
        let module = self.module.borrow().clone();
        self.list.borrow_mut().push(Diagnostic { severity: Severity::Warning, text, module });
    }

    /// The text of the first error diagnostic of this request.
    pub(super) fn first_error(&self) -> Option<String> {
        let list = self.list.borrow();
        list.iter().find(|d| d.severity == Severity::Error).map(|d| d.text.clone())
    }

    /// A step that failed, or that LLVM went through with while reporting an error (bad inline
    /// assembly, for one), is an error.
    pub(super) fn check(&self, failed: bool, otherwise: &str) -> Result<()> {
        match self.first_error() {
            Some(text) => Err(Error::engine(text)),
            None if failed => Err(Error::engine(otherwise)),
            None => Ok(()),
        }
    }
}

/// LLVM's diagnostic handler.
unsafe extern "C" fn receive_diagnostic(info: *mut api::DiagnosticInfo, sink: *mut c_void) {
    // SAFETY: `sink` is the pointer that `new_context` gave; the sink outlives the context, and
    // the calls come in the thread that is running a request.
    let sink = unsafe { &*sink.cast_const().cast::<Sink>() };
    // SAFETY: LLVM passes a live DiagnosticInfo.
    let severity = match unsafe { (sink.api.f.LLVMGetDiagInfoSeverity)(info) } {
        0 => Severity::Error,
        1 => Severity::Warning,
        2 if !sink.remarks => return,
        2 => Severity::Remark,
        _ => Severity::Note,
    };
    // SAFETY: as above; the text is LLVM's allocation and taken over.
    let text = sink.api.message(unsafe { (sink.api.f.LLVMGetDiagInfoDescription)(info) });
    // A list that is being read cannot be written; that never happens while LLVM runs, and a
    // lost diagnostic is better than a panic through LLVM's frames.
    if let Ok(mut list) = sink.list.try_borrow_mut() {
        list.push(Diagnostic { severity, text, module: sink.module.borrow().clone() });
    }
}
