//! What the linker said of each symbol, and what follows from it for a whole link.
//!
//! In: for every input, its symbols' names and a [`SymbolResolution`] each, in the order of the
//! inputs. Out: [`GlobalResolutions`], which tells of a name who defines it and who sees it. It
//! must not know which linker spoke, nor what is done with the answer.
//!
//! Source of the rules: LLVM's `lto::SymbolResolution` and `LTO::addModuleToGlobalRes`.

use std::collections::HashMap;

/// `lto::SymbolResolution`: one symbol of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolResolution {
    /// This definition is the one that the link uses.
    pub prevailing: bool,
    /// The definition is in the linkage unit and nobody can replace it when the program starts.
    pub final_definition_in_linkage_unit: bool,
    /// Native code, or code that the link does not see, refers to it.
    pub visible_to_regular_obj: bool,
    /// It may be in the dynamic symbol table.
    pub export_dynamic: bool,
    /// The linker gives the name another meaning (`--wrap`, `--defsym`): nothing may be assumed
    /// of the definition.
    pub linker_redefined: bool,
}

/// Which of the units that are compiled together a symbol is used in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// The one module that all regular LTO modules are merged into.
    Regular,
    /// The module with a summary that was added as this number.
    Thin(usize),
    /// More than one of them, or code that the link does not see.
    External,
}

/// `lto::GlobalResolution`: one name, over all inputs.
#[derive(Clone, Debug)]
pub struct GlobalResolution {
    /// The name in IR of the prevailing definition, or else of the first mention; empty for a
    /// symbol of module assembly.
    pub ir_name: Vec<u8>,
    /// Every mention agrees that the address does not matter.
    pub unnamed_addr: bool,
    /// There is a prevailing definition in bitcode.
    pub prevailing: bool,
    /// Some code that has no summary refers to it: native code, or a regular LTO module.
    pub visible_outside_summary: bool,
    /// It may be in the dynamic symbol table.
    pub export_dynamic: bool,
    /// Every definition in bitcode may be hidden (`canAutoHide`): it is linkonce_odr, and nobody
    /// looks at its address, so that a program cannot tell one copy from another.
    pub can_auto_hide: bool,
    /// Where it is used.
    pub partition: Partition,
}

/// One symbol, as [`GlobalResolutions::add`] takes it.
#[derive(Clone, Copy, Debug)]
pub struct Mention<'a> {
    /// The linker's name.
    pub name: &'a [u8],
    /// The name in IR; empty for a symbol of module assembly.
    pub ir_name: &'a [u8],
    /// Its address does not matter to this module.
    pub unnamed_addr: bool,
    /// It is defined here, and this definition may (or may not) be hidden; `None` for a reference.
    pub can_auto_hide: Option<bool>,
    /// In `llvm.used` or `llvm.compiler.used`, or called by generated code.
    pub used: bool,
    /// What the linker said.
    pub resolution: SymbolResolution,
}

/// All names of a link.
#[derive(Debug, Default)]
pub struct GlobalResolutions {
    by_name: HashMap<Vec<u8>, GlobalResolution>,
}

impl GlobalResolutions {
    /// No names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the symbols of a module that will be compiled in `partition`. `in_summary` says
    /// whether the module has a summary.
    ///
    /// Gives the name of a symbol for which an earlier module has the prevailing definition too:
    /// a linker must not say that twice.
    pub fn add<'a>(
        &mut self,
        mentions: impl IntoIterator<Item = Mention<'a>>,
        partition: Partition,
        in_summary: bool,
    ) -> Result<(), &'a [u8]> {
        for mention in mentions {
            let res = mention.resolution;
            let known = self.by_name.get_mut(mention.name);
            let first = known.is_none();
            let global = match known {
                Some(global) => global,
                None => self.by_name.entry(mention.name.to_vec()).or_insert(GlobalResolution {
                    ir_name: Vec::new(),
                    unnamed_addr: true,
                    prevailing: false,
                    visible_outside_summary: false,
                    export_dynamic: false,
                    can_auto_hide: true,
                    partition,
                }),
            };
            global.unnamed_addr &= mention.unnamed_addr;
            global.can_auto_hide &= mention.can_auto_hide.unwrap_or(true);
            if res.prevailing {
                if global.prevailing {
                    return Err(mention.name);
                }
                global.prevailing = true;
                global.ir_name = mention.ir_name.to_vec();
            } else if !global.prevailing && global.ir_name.is_empty() {
                global.ir_name = mention.ir_name.to_vec();
            }
            // One symbol under two IR names (Mach-O's "\01_f" and "f") has two GUIDs; LLVM
            // gives up on it, and so do we.
            let two_names = global.ir_name != mention.ir_name;
            if two_names
                || res.linker_redefined
                || res.visible_to_regular_obj
                || mention.used
                || (!first && global.partition != partition)
            {
                global.partition = Partition::External;
            }
            global.visible_outside_summary |=
                two_names || res.visible_to_regular_obj || mention.used || !in_summary;
            global.export_dynamic |= res.export_dynamic;
        }
        Ok(())
    }

    /// What is known of the symbol that the linker calls `name`.
    pub fn get(&self, name: &[u8]) -> Option<&GlobalResolution> {
        self.by_name.get(name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether no name is there.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl GlobalResolution {
    /// `isPrevailingIRSymbol`: the prevailing definition is in bitcode and has a name there.
    pub fn is_prevailing_ir_symbol(&self) -> bool {
        self.prevailing && !self.ir_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mention<'a>(name: &'a str, prevailing: bool) -> Mention<'a> {
        Mention {
            name: name.as_bytes(),
            ir_name: name.as_bytes(),
            unnamed_addr: true,
            can_auto_hide: None,
            used: false,
            resolution: SymbolResolution { prevailing, ..Default::default() },
        }
    }

    #[test]
    fn a_symbol_of_one_module_stays_in_its_partition() {
        let mut all = GlobalResolutions::new();
        all.add([mention("f", true), mention("g", true)], Partition::Thin(0), true).unwrap();
        all.add([mention("g", false)], Partition::Thin(1), true).unwrap();
        assert_eq!(all.get(b"f").unwrap().partition, Partition::Thin(0));
        assert_eq!(all.get(b"g").unwrap().partition, Partition::External);
        assert!(!all.get(b"g").unwrap().visible_outside_summary);
        all.add([mention("f", false)], Partition::Regular, false).unwrap();
        assert!(all.get(b"f").unwrap().visible_outside_summary);
    }

    #[test]
    fn a_used_or_redefined_symbol_is_external() {
        let mut all = GlobalResolutions::new();
        let mut used = mention("used", true);
        used.used = true;
        let mut wrapped = mention("wrapped", true);
        wrapped.resolution.linker_redefined = true;
        all.add([used, wrapped], Partition::Regular, false).unwrap();
        assert_eq!(all.get(b"used").unwrap().partition, Partition::External);
        assert_eq!(all.get(b"wrapped").unwrap().partition, Partition::External);
    }

    #[test]
    fn the_prevailing_definition_names_the_symbol() {
        let mut all = GlobalResolutions::new();
        let mut asm = mention("f", false);
        asm.ir_name = b"";
        all.add([asm], Partition::Regular, false).unwrap();
        all.add([mention("f", true)], Partition::Regular, false).unwrap();
        assert!(all.get(b"f").unwrap().is_prevailing_ir_symbol());
        assert_eq!(all.add([mention("f", true)], Partition::Regular, false), Err(&b"f"[..]));
    }
}
