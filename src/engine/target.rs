//! From a triple to a target machine.
//!
//! In: a module and a [`TargetConfig`]. Out: an LLVM `TargetMachine` that generates what the
//! config asks for. Knows nothing of the steps that use it.
//!
//! # What the C API cannot set
//!
//! `LLVMCreateTargetMachine` takes triple, processor, features, level, relocation and code model.
//! The rest of `TargetOptions` keeps its defaults, and the default of `UseInitArray` is false:
//! static constructors would land in `.ctors`, which glibc no longer runs. So the bits are set in
//! the object itself, and only under three conditions: the place was found by what LLVM does
//! there, the neighbouring bits have the defaults that the headers give them, and a self-test on a
//! tiny module shows the effect of each bit (`.init_array`, `.text.f`, `.data.d`, `.llvm_addrsig`).
//! A bit that fails is not used, and `edit` reaches the same end through the IR.
//!
//! From LLVM 17 on, `LLVMSetTargetMachineMachineOutliner` toggles one bit; the difference shows
//! where it is. The others stand at fixed distances (`TargetOptions.h`, the same from 17 to 22
//! but for `EmitAddrsig`, which has moved by one as options came in between):
//!
//! | bit | distance from `EnableMachineOutliner` |
//! |---|---|
//! | `UseInitArray` | -23 |
//! | `FunctionSections`, `DataSections` | -21, -20 |
//! | `XCOFFTracebackTable`, `UniqueSectionNames` (both true) | -18, -17 |
//! | `EmitAddrsig` | +3 or +4 |
//!
//! LLVM 14 to 16 have no setter, but a signature, of six 32-bit words at the start of the options'
//! bits (upper bits that no field uses are not initialized):
//!
//! | word | holds | by default |
//! |---|---|---|
//! | 0 | 13 flags, `NoTrappingFPMath` (bit 3) and `StackSymbolOrdering` (bit 10) among them | 0x408 |
//! | 1, 2 | `GlobalISelAbort`, `SwiftAsyncFramePointer` | 1, 1 |
//! | 3 | `UseInitArray` (bit 0), `DisableIntegratedAS` | 0 |
//! | 4 | `CompressDebugSections` | 0 |
//! | 5 | `RelaxELFRelocations`, `FunctionSections` (1), `DataSections` (2), `IgnoreXCOFFVisibility`, `XCOFFTracebackTable` (4), `UniqueSectionNames` (5), ... `EnableMachineOutliner` (21), ... `EmitAddrsig` (24) | 0x30 or 0x31 |
//!
//! `X86RelaxRelocations` is cleared on request, from LLVM 19 on: a byte of `MCTargetOptions`, 2 or 3
//! behind the one with `AsmVerbose`, which `LLVMSetTargetMachineAsmVerbosity` shows. The self-test
//! looks for `R_X86_64_GOTPCREL`. In 14 and 15 it is false by default; 16 to 18 copy it when the
//! machine is made, so that their default, true, stays.
//!
//! A target machine holds them twice, `DefaultOptions` and then `Options`; x86 switches the
//! outliner on in the second, which tells them apart.

//! # What `LLVMTargetMachineEmitToMemoryBuffer` lacks
//!
//! LLVM's LTO tells code generation which library functions the target has. The C API's function
//! does not, and in LLVM 17 to 19 (at least; not in 14 and 22) code generation then takes it that
//! there are none: a call of `sqrt` gets no inlined fast path. It is the one difference found in
//! their objects. To run that pass beforehand does not help, since instruction selection would
//! not know the function either and call it twice.

#![allow(unsafe_code)]

use super::api::{self, Api};
use super::{CodeModel, RelocModel, TargetConfig};
use crate::config::DebuggerTuning;
use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_char};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

/// A target machine; disposed of when dropped.
pub(super) struct TargetMachine<'a> {
    api: &'a Api,
    pub(super) raw: *mut api::TargetMachine,
}

impl Drop for TargetMachine<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is live and ours.
        unsafe { (self.api.f.LLVMDisposeTargetMachine)(self.raw) };
    }
}

/// What a target machine is made of, in the C API's terms.
pub(super) struct Parameters<'c> {
    pub(super) triple: &'c CStr,
    pub(super) cpu: &'c str,
    pub(super) features: &'c str,
    pub(super) cg_opt_level: u8,
    pub(super) reloc: Option<RelocModel>,
    pub(super) code_model: Option<CodeModel>,
}

impl<'a> TargetMachine<'a> {
    /// `LLVMCreateTargetMachine`, with every option at LLVM's default.
    pub(super) fn create(api: &'a Api, parameters: &Parameters<'_>) -> Result<Self> {
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| Error::misuse("a target option holds a zero byte"))
        };
        let cpu = c_string(parameters.cpu)?;
        let features = c_string(parameters.features)?;
        let mut target = ptr::null_mut();
        let mut message = ptr::null_mut();
        // SAFETY: C strings and two places to write to.
        let failed = unsafe {
            (api.f.LLVMGetTargetFromTriple)(parameters.triple.as_ptr(), &mut target, &mut message)
        };
        let message = api.message(message);
        if failed != 0 {
            return Err(Error::unsupported(message));
        }
        // llvm-c/TargetMachine.h: LLVMRelocDefault is 0, LLVMCodeModelDefault 0 (1 is for JITs).
        let reloc = match parameters.reloc {
            None => 0,
            Some(RelocModel::Static) => 1,
            Some(RelocModel::Pic) => 2,
            Some(RelocModel::DynamicNoPic) => 3,
        };
        let code_model = match parameters.code_model {
            None => 0,
            Some(CodeModel::Tiny) => 2,
            Some(CodeModel::Small) => 3,
            Some(CodeModel::Kernel) => 4,
            Some(CodeModel::Medium) => 5,
            Some(CodeModel::Large) => 6,
        };
        // SAFETY: a target that LLVM returned, C strings, and enum values of the header.
        let raw = unsafe {
            (api.f.LLVMCreateTargetMachine)(
                target,
                parameters.triple.as_ptr(),
                cpu.as_ptr(),
                features.as_ptr(),
                i32::from(parameters.cg_opt_level.min(3)),
                reloc,
                code_model,
            )
        };
        if raw.is_null() {
            return Err(Error::unsupported(format!(
                "this LLVM generates no code for {}",
                parameters.triple.to_string_lossy()
            )));
        }
        Ok(TargetMachine { api, raw })
    }

    /// Sets what the C API cannot; what could not be set is in the answer.
    pub(super) fn apply(&self, config: &TargetConfig) -> Missing {
        // SAFETY: a live machine.
        unsafe {
            (self.api.f.LLVMSetTargetMachineAsmVerbosity)(self.raw, config.asm_verbose.into());
        }
        let wanted = [
            !config.relax_elf_relocations,
            config.use_init_array,
            config.function_sections,
            config.data_sections,
            config.emit_addrsig,
        ];
        if !wanted.contains(&true) {
            return Missing::default();
        }
        let bits = self.api.option_bits.get_or_init(|| OptionBits::find(self.api));
        if let Some(bit) = bits.relax_elf_relocations.filter(|_| !config.relax_elf_relocations) {
            self.clear(bit);
        }
        let missing = |wanted: bool, bit: Option<usize>| match bit {
            Some(bit) if wanted => {
                self.set(bit);
                false
            }
            _ => wanted,
        };
        Missing {
            use_init_array: missing(config.use_init_array, bits.use_init_array),
            function_sections: missing(config.function_sections, bits.function_sections),
            data_sections: missing(config.data_sections, bits.data_sections),
            emit_addrsig: missing(config.emit_addrsig, bits.emit_addrsig),
        }
    }

    /// Sets bit `bit` of the object.
    fn set(&self, bit: usize) {
        // SAFETY: `bit` is one that `OptionBits` found: within the bit fields of TargetOptions,
        // which has the same place in every target machine of this library, since it is a member
        // of the base class. The object is ours and no other thread uses it.
        unsafe {
            let byte = self.raw.cast::<u8>().add(bit / 8);
            byte.write(byte.read() | 1 << (bit % 8));
        }
    }

    /// Clears bit `bit` of the object.
    fn clear(&self, bit: usize) {
        // SAFETY: as in `set`.
        unsafe {
            let byte = self.raw.cast::<u8>().add(bit / 8);
            byte.write(byte.read() & !(1 << (bit % 8)));
        }
    }

    /// From which size on data are large, in bytes, by the place that `large_data` found.
    pub(super) fn set_large_data_threshold(&self, field: usize, bytes: u64) {
        // SAFETY: a field of the object's base class, of this type; the object is ours and no other
        // thread uses it.
        unsafe { self.raw.cast::<u8>().add(field).cast::<u64>().write_unaligned(bytes) };
    }

    /// Has debug information made for a debugger, by the place that `debugger` found.
    pub(super) fn tune_for(&self, field: usize, debugger: DebuggerTuning) {
        // SAFETY: as in `set_large_data_threshold`; the numbers are those of LLVM's enumeration.
        unsafe { self.raw.cast::<u8>().add(field).cast::<u32>().write_unaligned(debugger as u32) };
    }

    /// The first bytes of the object.
    pub(super) fn snapshot(&self) -> Option<Vec<u8>> {
        peek(self.raw.cast_const().cast(), SNAPSHOT)
    }

    /// `LLVMTargetMachineEmitToMemoryBuffer`.
    pub(super) fn emit<T>(
        &self,
        module: *mut api::Module,
        object: bool,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let mut message: *mut c_char = ptr::null_mut();
        let mut buffer = ptr::null_mut();
        // SAFETY: a live machine and module, two places to write to.
        let failed = unsafe {
            (self.api.f.LLVMTargetMachineEmitToMemoryBuffer)(
                self.raw,
                module,
                i32::from(object),
                &mut message,
                &mut buffer,
            )
        };
        let message = self.api.message(message);
        // LLVM makes a buffer in either case.
        let result = if buffer.is_null() { None } else { Some(self.api.with_buffer(buffer, read)) };
        match result {
            Some(result) if failed == 0 => Ok(result),
            _ => Err(Error::engine(message)),
        }
    }
}

/// What was asked for and could not be set in `TargetOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Missing {
    pub(super) use_init_array: bool,
    pub(super) function_sections: bool,
    pub(super) data_sections: bool,
    pub(super) emit_addrsig: bool,
}

/// Bits of `TargetOptions`, counted from the start of a target machine; `None` where the self-test
/// failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OptionBits {
    use_init_array: Option<usize>,
    function_sections: Option<usize>,
    data_sections: Option<usize>,
    emit_addrsig: Option<usize>,
    /// The one that is cleared, not set.
    relax_elf_relocations: Option<usize>,
}

/// How much of a target machine is looked at, in bytes. TargetOptions starts within the first
/// kilobyte in every version seen.
const SNAPSHOT: usize = 2048;

impl OptionBits {
    fn find(api: &Api) -> OptionBits {
        let Some(test) = SelfTest::new(api) else { return OptionBits::default() };
        let candidates = match api.f.LLVMSetTargetMachineMachineOutliner {
            Some(set) => by_outliner(&test, set),
            None => by_signature(&test),
        };
        let Some((init_array, functions, data, addrsig)) = candidates else {
            return OptionBits::default();
        };
        let relax = relax_candidates(&test);
        OptionBits {
            use_init_array: test.shows(init_array, ".init_array").then_some(init_array),
            function_sections: test.shows(functions, ".text.f").then_some(functions),
            data_sections: test.shows(data, ".data.d").then_some(data),
            emit_addrsig: addrsig.into_iter().find(|&bit| test.shows(bit, ".llvm_addrsig")),
            relax_elf_relocations: relax.into_iter().find(|&bit| test.shows_plain_got(bit)),
        }
    }
}

/// Candidates for UseInitArray, FunctionSections, DataSections, and those for EmitAddrsig.
type Candidates = (usize, usize, usize, Vec<usize>);

fn bit(bytes: &[u8], bit: usize) -> bool {
    bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

fn by_outliner(
    test: &SelfTest<'_>,
    set: unsafe extern "C" fn(*mut api::TargetMachine, i32),
) -> Option<Candidates> {
    let machine = test.machine()?;
    let with = |value| {
        // SAFETY: a live machine of ours.
        unsafe { set(machine.raw, value) };
        machine.snapshot()
    };
    let (off, on, again) = (with(0)?, with(1)?, with(0)?);
    // Threads of the host may change memory behind the object meanwhile, so only the first
    // difference counts, and only if it goes back.
    let outliner = (0..off.len() * 8).find(|&at| bit(&off, at) != bit(&on, at))?;
    if !bit(&on, outliner) || bit(&again, outliner) {
        return None;
    }
    let at = |distance: usize| outliner.checked_sub(distance);
    let defaults = bit(&off, at(18)?)
        && bit(&off, at(17)?)
        && [23, 21, 20]
            .into_iter()
            .all(|distance| at(distance).is_some_and(|position| !bit(&off, position)));
    let addrsig = [outliner + 3, outliner + 4].into_iter().filter(|&position| !bit(&off, position));
    defaults.then_some((at(23)?, at(21)?, at(20)?, addrsig.collect()))
}

/// The byte of a target machine that has `AsmVerbose`.
pub(super) fn asm_verbose_byte(test: &SelfTest<'_>) -> Option<usize> {
    let machine = test.machine()?;
    let with = |value| {
        // SAFETY: a live machine of ours.
        unsafe { (test.api.f.LLVMSetTargetMachineAsmVerbosity)(machine.raw, value) };
        machine.snapshot()
    };
    let (off, on, again) = (with(0)?, with(1)?, with(0)?);
    (0..off.len() * 8)
        .find(|&at| !bit(&off, at) && bit(&on, at) && !bit(&again, at))
        .map(|at| at / 8)
}

/// Bits that are set and may be `X86RelaxRelocations`.
fn relax_candidates(test: &SelfTest<'_>) -> Vec<usize> {
    let off = test.machine().and_then(|machine| machine.snapshot()).unwrap_or_default();
    let verbose = asm_verbose_byte(test);
    let bytes = verbose.into_iter().flat_map(|byte| [byte + 2, byte + 3, byte + 4]);
    let is_true = |byte: &usize| off.get(*byte) == Some(&1);
    bytes.filter(is_true).map(|byte| byte * 8).collect()
}

fn by_signature(test: &SelfTest<'_>) -> Option<Candidates> {
    let bytes = test.machine()?.snapshot()?;
    let word = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let fits = |at: usize| {
        Some(
            word(at)? & 0x1fff == 0x408
                && word(at + 4)? == 1
                && word(at + 8)? == 1
                && word(at + 12)? & 3 == 0
                && word(at + 16)? == 0
                && word(at + 20)? & 0x7e == 0x30,
        )
    };
    // Behind the object there may be the remains of another: the first two are this one's.
    let mut places = (0..SNAPSHOT).step_by(4).filter(|&at| fits(at) == Some(true));
    let (defaults, options) = (places.next()?, places.next()?);
    let outliner = |at: usize| Some(word(at + 20)? >> 21 & 1 == 1);
    if outliner(defaults)? || !outliner(options)? {
        return None;
    }
    let (first, second) = ((options + 12) * 8, (options + 20) * 8);
    Some((first, second + 1, second + 2, vec![second + 24]))
}

/// Copies memory that may lie beyond the end of an allocation, or be unmapped: the kernel reads
/// it, as the source of a write to a pipe, and stops where there is nothing.
pub(super) fn peek(from: *const u8, count: usize) -> Option<Vec<u8>> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: both descriptors are new and ours.
    let (mut reader, writer) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    // SAFETY: the kernel checks the range; a pipe takes at least 4096 bytes without blocking.
    let written = unsafe { libc::write(writer.as_raw_fd(), from.cast(), count.min(4096)) };
    let mut bytes = vec![0; usize::try_from(written).ok()?];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// A tiny ELF module whose sections tell which options are on.
pub(super) struct SelfTest<'a> {
    pub(super) api: &'a Api,
    pub(super) triple: &'static CStr,
}

impl<'a> SelfTest<'a> {
    pub(super) fn new(api: &'a Api) -> Option<Self> {
        [c"x86_64-unknown-linux-gnu", c"aarch64-unknown-linux-gnu", c"riscv64-unknown-linux-gnu"]
            .into_iter()
            .map(|triple| SelfTest { api, triple })
            .find(|test| test.machine().is_some())
    }

    pub(super) fn machine(&self) -> Option<TargetMachine<'a>> {
        TargetMachine::create(self.api, &self.parameters(None)).ok()
    }

    pub(super) fn parameters(&self, reloc: Option<RelocModel>) -> Parameters<'static> {
        Parameters {
            triple: self.triple,
            cpu: "",
            features: "",
            cg_opt_level: 0,
            reloc,
            code_model: None,
        }
    }

    /// Whether setting this bit makes this section appear that is not there without it.
    fn shows(&self, bit: usize, section: &str) -> bool {
        self.sections(None).is_some_and(|names| !names.iter().any(|name| name == section))
            && self.sections(Some(bit)).is_some_and(|names| names.iter().any(|n| n == section))
    }

    /// Whether clearing this bit makes a load from the GOT an ordinary one.
    fn shows_plain_got(&self, bit: usize) -> bool {
        self.got_relocation(None).is_some_and(|kind| kind != object::elf::R_X86_64_GOTPCREL)
            && self.got_relocation(Some(bit)) == Some(object::elf::R_X86_64_GOTPCREL)
    }

    /// The type of the one relocation of a function that loads from the GOT; x86-64 only.
    fn got_relocation(&self, clear: Option<usize>) -> Option<u32> {
        use object::{Object, ObjectSection, RelocationFlags};
        if !self.triple.to_bytes().starts_with(b"x86_64") {
            return None;
        }
        let text = match self.api.version.0 {
            ..15 => "@d = external global i32\ndefine i32* @f() { ret i32* @d }\n\0",
            _ => "@d = external global i32\ndefine ptr @f() { ret ptr @d }\n\0",
        };
        let machine =
            TargetMachine::create(self.api, &self.parameters(Some(RelocModel::Pic))).ok()?;
        if let Some(bit) = clear {
            machine.clear(bit);
        }
        self.compile(text, &machine, |bytes| {
            let file = object::File::parse(bytes).ok()?;
            let section = file.section_by_name(".text")?;
            let (_, relocation) = section.relocations().next()?;
            match relocation.flags() {
                RelocationFlags::Elf { r_type } => Some(r_type),
                _ => None,
            }
        })
    }

    /// The section names of an object with a function, a variable and a constructor.
    fn sections(&self, set: Option<usize>) -> Option<Vec<String>> {
        use object::{Object, ObjectSection};
        let (function, pointer) =
            if self.api.version.0 < 15 { ("void ()*", "i8*") } else { ("ptr", "ptr") };
        let text = format!(
            "@d = global i32 1\n\
             @llvm.global_ctors = appending global [1 x {{ i32, {function}, {pointer} }}] \
             [{{ i32, {function}, {pointer} }} \
             {{ i32 65535, {function} @f, {pointer} null }}]\n\
             define void @f() {{ ret void }}\n\
             define void @g() {{ call void @f() ret void }}\n\0"
        );
        let machine = self.machine()?;
        if let Some(bit) = set {
            machine.set(bit);
        }
        self.compile(&text, &machine, |bytes| {
            let file = object::File::parse(bytes).ok()?;
            Some(file.sections().filter_map(|s| s.name().ok().map(String::from)).collect())
        })
    }

    /// Compiles a text that ends with a zero byte, and gives the object to `read`.
    pub(super) fn compile<T>(
        &self,
        text: &str,
        machine: &TargetMachine<'_>,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        debug_assert!(text.ends_with('\0'));
        let api = self.api;
        // SAFETY: the text outlives the buffer, which the parser consumes, and is followed by the
        // zero byte that the parser wants; context and module are disposed of in the order that
        // LLVM wants. The text is valid, so no diagnostic arises; the handler is set all the same,
        // since without one LLVM exits.
        unsafe {
            let context = (api.f.LLVMContextCreate)();
            (api.f.LLVMContextSetDiagnosticHandler)(context, Some(ignore), ptr::null_mut());
            let buffer = (api.f.LLVMCreateMemoryBufferWithMemoryRange)(
                text.as_ptr().cast(),
                text.len() - 1,
                c"self-test".as_ptr(),
                1,
            );
            let mut module = ptr::null_mut();
            let mut message = ptr::null_mut();
            let failed = (api.f.LLVMParseIRInContext)(context, buffer, &mut module, &mut message);
            api.message(message);
            let mut result = None;
            if failed == 0 {
                (api.f.LLVMSetTarget)(module, self.triple.as_ptr());
                result = machine.emit(module, true, read).ok().flatten();
                (api.f.LLVMDisposeModule)(module);
            }
            (api.f.LLVMContextDispose)(context);
            result
        }
    }
}

unsafe extern "C" fn ignore(_: *mut api::DiagnosticInfo, _: *mut std::ffi::c_void) {}

/// The processor that LLVM's LTO assumes where none is named (`getThinLTODefaultCPU`): Apple's
/// oldest for each architecture, generic elsewhere.
pub fn default_cpu(triple: &str) -> &'static str {
    let mut parts = triple.split('-');
    let arch = parts.next().unwrap_or_default();
    let darwin = parts.any(|part| {
        ["darwin", "macos", "ios", "tvos", "watchos", "xros", "visionos", "driverkit", "bridgeos"]
            .iter()
            .any(|os| part.starts_with(os))
    });
    if !darwin {
        return "";
    }
    match arch {
        "x86_64" | "x86_64h" | "amd64" => "core2",
        "i386" | "i486" | "i586" | "i686" | "x86" => "yonah",
        "arm64e" => "apple-a12",
        "arm64" | "aarch64" | "arm64_32" | "aarch64_32" => "cyclone",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_processors() {
        assert_eq!(default_cpu("x86_64-apple-macosx10.12.0"), "core2");
        assert_eq!(default_cpu("arm64-apple-ios7.0.0"), "cyclone");
        assert_eq!(default_cpu("arm64e-apple-macosx11"), "apple-a12");
        assert_eq!(default_cpu("x86_64-pc-linux-gnu"), "");
        assert_eq!(default_cpu("aarch64-unknown-linux-gnu"), "");
    }

    #[test]
    fn peek_survives_addresses_that_are_not_mapped() {
        assert_eq!(peek([1u8, 2, 3].as_ptr(), 2), Some(vec![1, 2]));
        assert_eq!(peek(16 as *const u8, 8), None);
    }
}
