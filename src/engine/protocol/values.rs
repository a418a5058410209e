//! The parts of messages: target machines, edits, kinds of globals.
//!
//! In: one of them and a [`Writer`], or a [`Reader`]. Out: its bytes, and back. Which message they are
//! in is [`super`]'s matter.

use super::super::wire::{Reader, Writer, unknown};
use super::super::{
    CodeModel, DebuggerTuning, Edit, Linkage, RelocModel, TargetConfig, Visibility,
};
use crate::error::Result;
use crate::ir::UnnamedAddr;

pub(super) fn put_target(w: &mut Writer, config: &TargetConfig) {
    let TargetConfig {
        triple,
        default_triple,
        cpu,
        features,
        cg_opt_level,
        reloc,
        code_model,
        flags_steer_optimizer,
        function_sections,
        data_sections,
        use_init_array,
        emit_addrsig,
        relax_elf_relocations,
        asm_verbose,
        debugger_tuning,
        contract_objc_arc,
        library_functions,
    } = config;
    w.opt(triple.as_deref(), Writer::str);
    w.opt(default_triple.as_deref(), Writer::str);
    w.str(cpu);
    w.str(features);
    w.u8(*cg_opt_level);
    w.opt(*reloc, |w, reloc| w.u8(reloc as u8));
    w.opt(*code_model, |w, model| w.u8(model as u8));
    w.bool(*flags_steer_optimizer);
    w.bool(*function_sections);
    w.bool(*data_sections);
    w.bool(*use_init_array);
    w.bool(*emit_addrsig);
    w.bool(*relax_elf_relocations);
    w.bool(*asm_verbose);
    w.opt(*debugger_tuning, |w, debugger| w.u8(debugger as u8));
    w.bool(*contract_objc_arc);
    w.bool(*library_functions);
}

fn get_debugger(r: &mut Reader<'_>) -> Result<DebuggerTuning> {
    Ok(match r.u8()? {
        1 => DebuggerTuning::Gdb,
        2 => DebuggerTuning::Lldb,
        3 => DebuggerTuning::Sce,
        4 => DebuggerTuning::Dbx,
        other => return Err(unknown("debugger", other)),
    })
}

pub(super) fn get_target(r: &mut Reader<'_>) -> Result<TargetConfig> {
    Ok(TargetConfig {
        triple: r.opt(Reader::str)?,
        default_triple: r.opt(Reader::str)?,
        cpu: r.str()?,
        features: r.str()?,
        cg_opt_level: r.u8()?,
        reloc: r.opt(|r| match r.u8()? {
            0 => Ok(RelocModel::Static),
            1 => Ok(RelocModel::Pic),
            2 => Ok(RelocModel::DynamicNoPic),
            other => Err(unknown("relocation model", other)),
        })?,
        code_model: r.opt(|r| match r.u8()? {
            0 => Ok(CodeModel::Tiny),
            1 => Ok(CodeModel::Small),
            2 => Ok(CodeModel::Kernel),
            3 => Ok(CodeModel::Medium),
            4 => Ok(CodeModel::Large),
            other => Err(unknown("code model", other)),
        })?,
        flags_steer_optimizer: r.bool()?,
        function_sections: r.bool()?,
        data_sections: r.bool()?,
        use_init_array: r.bool()?,
        emit_addrsig: r.bool()?,
        relax_elf_relocations: r.bool()?,
        asm_verbose: r.bool()?,
        debugger_tuning: r.opt(get_debugger)?,
        contract_objc_arc: r.bool()?,
        library_functions: r.bool()?,
    })
}

pub(super) fn put_edit(w: &mut Writer, edit: &Edit) {
    match edit {
        Edit::SetLinkage { name, linkage } => {
            w.u8(0);
            w.str(name);
            w.u8(*linkage as u8);
        }
        Edit::SetVisibility { name, visibility } => {
            w.u8(1);
            w.str(name);
            w.u8(*visibility as u8);
        }
        Edit::AddFnAttr { name, attr } => {
            w.u8(2);
            w.str(name);
            w.str(attr);
        }
        Edit::SetAside { names } => {
            w.u8(3);
            w.list(names, |w, name| w.str(name));
        }
        Edit::Supersede { names } => {
            w.u8(14);
            w.list(names, |w, name| w.str(name));
        }
        Edit::SetIdentifier { identifier } => {
            w.u8(4);
            w.str(identifier);
        }
        Edit::SetSourceFileName { name } => {
            w.u8(5);
            w.str(name);
        }
        Edit::AppendToCompilerUsed { names } => {
            w.u8(6);
            w.list(names, |w, name| w.str(name));
        }
        Edit::EraseUnused { names } => {
            w.u8(8);
            w.list(names, |w, name| w.str(name));
        }
        Edit::SetUnnamedAddr { name, unnamed_addr } => {
            w.u8(11);
            w.str(name);
            w.u8(*unnamed_addr as u8);
        }
        Edit::ZeroInitializer { name } => {
            w.u8(9);
            w.str(name);
        }
        Edit::ClearMetadata { name } => {
            w.u8(10);
            w.str(name);
        }
        Edit::SetTriple { triple } => {
            w.u8(13);
            w.str(triple);
        }
        Edit::ResolvePublicTypeTests { whole_program } => {
            w.u8(15);
            w.bool(*whole_program);
        }
        Edit::AssumeTypeTests => w.u8(19),
        Edit::StripMemProf => w.u8(20),
        Edit::UpgradeVcallVisibility { except } => {
            w.u8(16);
            w.list(except, |w, name| w.str(name));
        }
        Edit::SetSource { name, module, file } => {
            w.u8(12);
            w.str(name);
            w.str(module);
            w.str(file);
        }
        Edit::ResizeCommon { name, size, align } => {
            w.u8(7);
            w.str(name);
            w.u32(*size);
            w.u32(*align);
        }
    }
}

pub(super) fn get_edit(r: &mut Reader<'_>) -> Result<Edit> {
    Ok(match r.u8()? {
        0 => Edit::SetLinkage { name: r.str()?, linkage: get_linkage(r)? },
        1 => Edit::SetVisibility { name: r.str()?, visibility: get_visibility(r)? },
        2 => Edit::AddFnAttr { name: r.str()?, attr: r.str()? },
        3 => Edit::SetAside { names: r.list(Reader::str)? },
        14 => Edit::Supersede { names: r.list(Reader::str)? },
        4 => Edit::SetIdentifier { identifier: r.str()? },
        5 => Edit::SetSourceFileName { name: r.str()? },
        6 => Edit::AppendToCompilerUsed { names: r.list(Reader::str)? },
        7 => Edit::ResizeCommon { name: r.str()?, size: r.u32()?, align: r.u32()? },
        8 => Edit::EraseUnused { names: r.list(Reader::str)? },
        9 => Edit::ZeroInitializer { name: r.str()? },
        10 => Edit::ClearMetadata { name: r.str()? },
        11 => Edit::SetUnnamedAddr {
            name: r.str()?,
            unnamed_addr: match r.u8()? {
                0 => UnnamedAddr::None,
                1 => UnnamedAddr::Local,
                2 => UnnamedAddr::Global,
                other => return Err(unknown("unnamed_addr", other)),
            },
        },
        12 => Edit::SetSource { name: r.str()?, module: r.str()?, file: r.str()? },
        13 => Edit::SetTriple { triple: r.str()? },
        19 => Edit::AssumeTypeTests,
        20 => Edit::StripMemProf,
        16 => Edit::UpgradeVcallVisibility { except: r.list(Reader::str)? },
        15 => Edit::ResolvePublicTypeTests { whole_program: r.bool()? },
        other => return Err(unknown("edit", other)),
    })
}

pub(super) fn get_linkage(r: &mut Reader<'_>) -> Result<Linkage> {
    Ok(match r.u8()? {
        0 => Linkage::External,
        1 => Linkage::AvailableExternally,
        2 => Linkage::LinkOnceAny,
        3 => Linkage::LinkOnceOdr,
        4 => Linkage::WeakAny,
        5 => Linkage::WeakOdr,
        6 => Linkage::Appending,
        7 => Linkage::Internal,
        8 => Linkage::Private,
        9 => Linkage::ExternalWeak,
        10 => Linkage::Common,
        other => return Err(unknown("linkage", other)),
    })
}

pub(super) fn get_visibility(r: &mut Reader<'_>) -> Result<Visibility> {
    Ok(match r.u8()? {
        0 => Visibility::Default,
        1 => Visibility::Hidden,
        2 => Visibility::Protected,
        other => return Err(unknown("visibility", other)),
    })
}
