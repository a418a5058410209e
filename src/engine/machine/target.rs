//! The target of a machine's module: its triple, its data layout, and LLVM's target machine for it.
//!
//! In: what a link says of the target, and what the module itself says. Out: a module that has a
//! target, and [`TargetMachine`]s for the optimizer and for code generation.

#![allow(unsafe_code)]

use super::super::api;
use super::super::large_data;
use super::super::target::{Parameters, TargetMachine};
use super::super::{CodeModel, RelocModel, TargetConfig};
use super::{Machine, c_string};
use crate::error::{Error, Result};
use std::ffi::{CStr, CString};

impl Machine {
    pub(super) fn set_target(&mut self, config: &TargetConfig) -> Result<()> {
        let (_, module) = self.building()?;
        let f = &self.api.f;
        let triple = match &config.triple {
            Some(triple) => Some(triple.clone()),
            None if !self.triple(module).is_empty() => None,
            None => Some(config.default_triple.clone().unwrap_or_else(|| {
                // SAFETY: LLVM returns a message of its own allocation.
                self.api.message(unsafe { (f.LLVMGetDefaultTargetTriple)() })
            })),
        };
        if let Some(triple) = triple {
            let triple = c_string(&triple)?;
            // SAFETY: a live module and a C string, which LLVM copies.
            unsafe { (f.LLVMSetTarget)(module, triple.as_ptr()) };
        }
        // A target that does not exist is an error here, not after the optimizer's work.
        let machine = self.target_machine(config, module, true)?;
        // SAFETY: a live module; the string belongs to it.
        let layout_is_empty =
            unsafe { CStr::from_ptr((f.LLVMGetDataLayoutStr)(module)).is_empty() };
        if !config.flags_steer_optimizer || layout_is_empty {
            // `LTOCodeGenerator::optimize` does so always, `LTOBackend` never: there the first
            // linked module has brought its own.
            // SAFETY: live machine and module; the layout is copied.
            unsafe {
                let layout = (f.LLVMCreateTargetDataLayout)(machine.raw);
                (f.LLVMSetModuleDataLayout)(module, layout);
                (f.LLVMDisposeTargetData)(layout);
            }
        }
        drop(machine);
        if let Some(state) = &mut self.state {
            state.target = Some(config.clone());
        }
        Ok(())
    }

    pub(super) fn triple(&self, module: *mut api::Module) -> CString {
        // SAFETY: a live module; the string belongs to it and is copied at once.
        unsafe { CStr::from_ptr((self.api.f.LLVMGetTarget)(module)).to_owned() }
    }

    /// The machine for the module's triple; `for_code`: for code generation, not the optimizer.
    pub(super) fn target_machine(
        &self,
        config: &TargetConfig,
        module: *mut api::Module,
        for_code: bool,
    ) -> Result<TargetMachine<'_>> {
        let triple = self.triple(module);
        let (mut reloc, mut code_model) = (config.reloc, config.code_model);
        let reads_flags = for_code || config.flags_steer_optimizer;
        if reads_flags {
            // `createTargetMachine` of LTOBackend.cpp.
            reloc = reloc.or_else(|| {
                let level = self.module_flag(module, "PIC Level")?;
                Some(if level == 0 { RelocModel::Static } else { RelocModel::Pic })
            });
            // The flag holds `CodeModel::Model` (CodeGen.h).
            code_model = code_model.or_else(|| match self.module_flag(module, "Code Model")? {
                0 => Some(CodeModel::Tiny),
                1 => Some(CodeModel::Small),
                2 => Some(CodeModel::Kernel),
                3 => Some(CodeModel::Medium),
                4 => Some(CodeModel::Large),
                _ => None,
            });
        }
        let features = with_default_features(&triple.to_string_lossy(), &config.features);
        let machine = TargetMachine::create(
            &self.api,
            &Parameters {
                triple: &triple,
                cpu: &config.cpu,
                features: &features,
                cg_opt_level: config.cg_opt_level,
                reloc,
                code_model,
            },
        )?;
        // The C API's own default is none; only these models look at it.
        let models = [Some(CodeModel::Medium), Some(CodeModel::Large)];
        if let Some(bytes) = self
            .module_flag(module, "Large Data Threshold")
            .filter(|_| reads_flags && models.contains(&code_model))
        {
            match self.api.large_data.get_or_init(|| large_data::find(&self.api)) {
                Some(field) => machine.set_large_data_threshold(*field, bytes),
                None => self.sink.warn(
                    "this libLLVM offers no way to set from which size on data are large"
                        .to_owned(),
                ),
            }
        }
        Ok(machine)
    }

    /// The value of an integer module flag.
    fn module_flag(&self, module: *mut api::Module, name: &str) -> Option<u64> {
        let f = &self.api.f;
        let context = self.state.as_ref()?.context;
        // SAFETY: a live module and its context; the kind of the value is checked before it is
        // read as an integer.
        unsafe {
            let metadata = (f.LLVMGetModuleFlag)(module, name.as_ptr().cast(), name.len());
            if metadata.is_null() {
                return None;
            }
            let value = (f.LLVMMetadataAsValue)(context, metadata);
            // A constant wrapped as metadata has itself as its one operand. A string has none, and
            // must not be asked.
            let mut len = 0;
            let is_string = !(f.LLVMGetMDString)(value, &mut len).is_null();
            if is_string || (f.LLVMGetNumOperands)(value) != 1 {
                return None;
            }
            let constant = (f.LLVMGetOperand)(value, 0);
            if constant.is_null() || (f.LLVMIsAConstantInt)(constant).is_null() {
                return None;
            }
            Some((f.LLVMConstIntGetZExtValue)(constant))
        }
    }

    pub(super) fn configured(&self) -> Result<(TargetConfig, *mut api::Context, *mut api::Module)> {
        let (context, module) = self.building()?;
        let target = self.state.as_ref().and_then(|state| state.target.clone());
        let target = target.ok_or_else(|| Error::misuse("no target was set"))?;
        Ok((target, context, module))
    }
}

/// `SubtargetFeatures::getDefaultSubtargetFeatures`: what LTO adds before the user's features.
fn with_default_features(triple: &str, features: &str) -> String {
    let mut parts = triple.split('-');
    let arch = parts.next().unwrap_or_default();
    let defaults = match (arch, parts.next()) {
        ("powerpc" | "ppc", Some("apple")) => "+altivec",
        ("powerpc64" | "ppc64", Some("apple")) => "+64bit,+altivec",
        _ => return features.to_string(),
    };
    if features.is_empty() { defaults.to_string() } else { format!("{defaults},{features}") }
}
