//! What a `lto_code_gen_t` stands for: the settings of a regular LTO link, its state, and the
//! objects and names that it gave out.
//!
//! In: calls of the exports in [`super::codegen`]. Out: what [`crate::regular`] makes of them. The
//! registry keeps code generators behind a count, so that one which is disposed of while another
//! thread still compiles with it lives until that is done.

use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::diagnostics::{Handler, Report};
use super::options;
use super::types::{lto_code_gen_t, lto_codegen_diagnostic_severity_t, lto_codegen_model};
use crate::engine::{Bytes, Diagnostic, RelocModel, Severity};
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};
use crate::regular::{Input, RegularLto};

/// All live code generators.
pub(crate) static CODE_GENERATORS: Registry<Arc<CodeGenerator>> =
    Registry::new(Kind::CodeGenerator);

/// Keeps a code generator and returns its token.
pub(crate) fn keep(code_generator: CodeGenerator) -> Result<usize> {
    CODE_GENERATORS.insert(Arc::new(code_generator))
}

/// The code generator behind `cg`.
pub(crate) fn find(cg: lto_code_gen_t) -> Result<Arc<CodeGenerator>> {
    CODE_GENERATORS.with(cg.addr(), |found| Ok(Arc::clone(found)))
}

/// Makes the handler of `cg` the one that `report` goes to.
pub(crate) fn report_to(cg: lto_code_gen_t, report: &mut Report) -> Result<()> {
    report.to(*lock(&find(cg)?.handler));
    Ok(())
}

/// The state behind a `lto_code_gen_t`.
pub(crate) struct CodeGenerator {
    /// Apart from the rest, so that it can be asked for while code is generated.
    handler: Mutex<Handler>,
    link: Mutex<Link>,
}

struct Link {
    lto: RegularLto,
    /// What was given out, all of it: a caller may still hold the object of an earlier compile.
    objects: Vec<Bytes>,
    /// The names of temporary files that were given out.
    names: Vec<CString>,
}

impl CodeGenerator {
    /// A code generator without modules, with the options that the process was given so far.
    pub fn new() -> Self {
        CodeGenerator {
            handler: Mutex::default(),
            link: Mutex::new(Link {
                lto: RegularLto::new(options::for_process()),
                objects: Vec::new(),
                names: Vec::new(),
            }),
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        lock(&self.link)
    }

    pub fn set_handler(&self, handler: Handler) {
        *lock(&self.handler) = handler;
    }

    pub fn add(&self, input: Input) {
        self.link().lto.add(input);
    }

    pub fn set(&self, input: Input) {
        self.link().lto.set(input);
    }

    pub fn set_pic_model(&self, model: lto_codegen_model) {
        self.link().lto.settings.reloc = reloc(model);
    }

    pub fn set_cpu(&self, cpu: String) {
        self.link().lto.settings.cpu = cpu;
    }

    pub fn preserve(&self, symbol: &[u8]) {
        self.link().lto.settings.must_preserve.insert(symbol.to_vec());
    }

    pub fn add_options(&self, options: Vec<String>) {
        self.link().lto.settings.options.extend(options);
    }

    pub fn set_should_internalize(&self, should: bool) {
        self.link().lto.settings.should_internalize = should;
    }

    pub fn set_should_embed_uselists(&self, should: bool) {
        self.link().lto.settings.should_embed_uselists = should;
    }

    pub fn optimize(&self, report: &mut Report) -> Result<()> {
        with_diagnostics(&mut self.link(), report, |link| link.lto.optimize())
    }

    /// Writes the merged bitcode into a file, all of it or none.
    pub fn write_merged_modules(&self, path: &Path, report: &mut Report) -> Result<()> {
        let bitcode = with_diagnostics(&mut self.link(), report, |link| link.lto.merged_bitcode())?;
        std::fs::write(path, &bitcode[..]).map_err(|error| {
            // A half-written file would pass for a good one. A device is not ours to remove.
            if path.is_file() {
                let _ = std::fs::remove_file(path);
            }
            Error::io("could not write bitcode file", &error).in_file(path.to_string_lossy())
        })
    }

    /// The object in memory: its first byte and its size in bytes.
    pub fn compile_optimized(&self, report: &mut Report) -> Result<(*const c_void, usize)> {
        let mut link = self.link();
        let object = with_diagnostics(&mut link, report, |link| link.lto.compile_optimized())?;
        let given = (object.as_ptr().cast(), object.len());
        link.objects.push(object);
        Ok(given)
    }

    /// The object in a new temporary file: its path as a C string.
    pub fn compile_optimized_to_file(&self, report: &mut Report) -> Result<*const c_char> {
        let mut link = self.link();
        let object = with_diagnostics(&mut link, report, |link| link.lto.compile_optimized())?;
        let path = crate::distributed::write_temporary("lto-llvm", ".o", &object)?;
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::misuse("the folder for temporary files has a NUL in its name"))?;
        let given = name.as_ptr();
        link.names.push(name);
        Ok(given)
    }
}

/// The relocation model by LLVM's own name; none is the target's default.
pub(super) fn reloc(model: lto_codegen_model) -> Option<RelocModel> {
    match model {
        lto_codegen_model::LTO_CODEGEN_PIC_MODEL_STATIC => Some(RelocModel::Static),
        lto_codegen_model::LTO_CODEGEN_PIC_MODEL_DYNAMIC => Some(RelocModel::Pic),
        lto_codegen_model::LTO_CODEGEN_PIC_MODEL_DYNAMIC_NO_PIC => Some(RelocModel::DynamicNoPic),
        lto_codegen_model::LTO_CODEGEN_PIC_MODEL_DEFAULT => None,
    }
}

/// Runs a step of the link, and takes over what the engine said while it ran.
fn with_diagnostics<R>(
    link: &mut Link,
    report: &mut Report,
    step: impl FnOnce(&mut Link) -> Result<R>,
) -> Result<R> {
    let result = step(link);
    let mut diagnostics = link.lto.take_diagnostics();
    if let Err(error) = &result {
        // The failure itself is reported by the boundary; LLVM's words for it are in there.
        let last = diagnostics.iter().rposition(|said| {
            said.severity == Severity::Error && error.message().contains(&said.text)
        });
        if let Some(at) = last {
            diagnostics.remove(at);
        }
    }
    for Diagnostic { severity, text, .. } in &diagnostics {
        report.say(severity_for_c(*severity), text);
    }
    result
}

fn severity_for_c(severity: Severity) -> lto_codegen_diagnostic_severity_t {
    match severity {
        Severity::Error => lto_codegen_diagnostic_severity_t::LTO_DS_ERROR,
        Severity::Warning => lto_codegen_diagnostic_severity_t::LTO_DS_WARNING,
        Severity::Remark => lto_codegen_diagnostic_severity_t::LTO_DS_REMARK,
        Severity::Note => lto_codegen_diagnostic_severity_t::LTO_DS_NOTE,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
