//! From which size on data count as large in the medium and large code models of x86-64.
//!
//! In: a target machine and a size in bytes. Out: the machine with it. Knows nothing of modules.
//!
//! clang notes the size in a module (`Large Data Threshold`), and LLVM's LTO sets it in the target
//! machine; the C API cannot. From LLVM 18 on, a machine has these fields one behind the other
//! (TargetMachine.h):
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `Reloc::Model RM` |
//! | 4 | `CodeModel::Model CMModel` |
//! | 8 | `LargeDataThreshold`, 0 by default |
//! | 4 | `OptLevel` |
//!
//! The C API sets the others. So two machines that differ in all three tell the place, and a tiny
//! module whether the size has its effect there.

#![allow(unsafe_code)]

use super::api::Api;
use super::target::{Parameters, SelfTest, TargetMachine};
use super::{CodeModel, RelocModel};

/// The first LLVM that has the field.
const SINCE: u32 = 18;

/// How the self-test refers to a variable of 20 bytes.
const SMALL: u32 = object::elf::R_X86_64_PC32;

/// Where the field is, in bytes from the start of a target machine; none where that is not known.
pub(super) fn find(api: &Api) -> Option<usize> {
    if api.version.0 < SINCE {
        return None;
    }
    let test = SelfTest::x86_64(api)?;
    // (model, its number in Reloc::Model), the same of code models, and level.
    let kinds = [
        ((RelocModel::Static, 0), (CodeModel::Medium, 3), 2),
        ((RelocModel::Pic, 1), (CodeModel::Large, 4), 3),
    ];
    let mut places: Option<Vec<usize>> = None;
    for ((reloc, reloc_number), (code_model, code_model_number), level) in kinds {
        let machine = test.machine_of(reloc, code_model, level)?;
        let bytes = machine.snapshot()?;
        let word = |at: usize| -> Option<u32> {
            let bytes = bytes.get(at..at.checked_add(4)?)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let words: [u32; 5] = [reloc_number, code_model_number, 0, 0, u32::from(level)];
        let fits = |at: &usize| words.iter().enumerate().all(|(n, &w)| word(at + 4 * n) == Some(w));
        let here: Vec<usize> = (0..bytes.len()).step_by(8).filter(fits).collect();
        places = Some(match places {
            None => here,
            Some(before) => before.into_iter().filter(|at| here.contains(at)).collect(),
        });
    }
    let [place] = places?[..] else { return None };
    let field = place + 8;
    let relocation = |threshold| {
        let machine = test.machine_of(RelocModel::Pic, CodeModel::Medium, 2)?;
        machine.set_large_data_threshold(field, threshold);
        test.data_relocation(&machine)
    };
    let shows = relocation(100) == Some(SMALL)
        && relocation(20) == Some(SMALL)
        && relocation(19).is_some_and(|kind| kind != SMALL);
    shows.then_some(field)
}

impl<'a> SelfTest<'a> {
    /// Over x86-64, if this libLLVM has it.
    fn x86_64(api: &'a Api) -> Option<Self> {
        SelfTest::new(api).filter(|test| test.triple.to_bytes().starts_with(b"x86_64"))
    }

    fn machine_of(
        &self,
        reloc: RelocModel,
        code_model: CodeModel,
        cg_opt_level: u8,
    ) -> Option<TargetMachine<'a>> {
        let parameters = Parameters {
            cg_opt_level,
            reloc: Some(reloc),
            code_model: Some(code_model),
            ..self.parameters(None)
        };
        TargetMachine::create(self.api, &parameters).ok()
    }

    /// The type of the one relocation of a function that takes the address of a variable.
    fn data_relocation(&self, machine: &TargetMachine<'_>) -> Option<u32> {
        use object::{Object, ObjectSection, RelocationFlags};
        let text = "@d = internal global [20 x i8] zeroinitializer\n\
                    define ptr @f() { ret ptr @d }\n\0";
        self.compile(text, machine, |bytes| {
            let file = object::File::parse(bytes).ok()?;
            let section = file
                .sections()
                .find(|section| section.name().is_ok_and(|name| name.starts_with(".text")))?;
            let (_, relocation) = section.relocations().next()?;
            match relocation.flags() {
                RelocationFlags::Elf { r_type } => Some(r_type),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Library;

    #[test]
    fn every_libllvm_that_has_the_field_shows_it() {
        let mut found = 0;
        for library in Library::find_all() {
            let named = library.version;
            let api = Api::load(&library.path, (named.major, named.minor, named.patch)).unwrap();
            let place = find(&api);
            assert_eq!(place.is_some(), named.major >= SINCE, "{}", library.path.display());
            found += usize::from(place.is_some());
        }
        assert_ne!(found, 0);
    }
}
