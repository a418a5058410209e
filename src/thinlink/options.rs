//! What steers the thin link: LLVM's options under LLVM's names, and what differs between LLVMs.
//!
//! In: words of a command line. Out: [`ThinLinkOptions`]. The defaults are LLVM's.

use super::workload::Workloads;
use crate::error::{Error, Result};
use crate::summary::Format;

/// What LLVM 19 and LLVM 22 do differently in the thin link. Each field is one difference;
/// [`Behaviour::LLVM_19`] and [`Behaviour::LLVM_22`] are the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// The major version whose row this is.
    pub llvm: u32,
    /// A local variable that only one module defines may be imported on behalf of a function of
    /// another module (an edge made from a profile). LLVM 19: never from another module than
    /// that of the function. Source: `shouldSkipLocalInAnotherModule`, `onImportingSummaryImpl`.
    pub import_local_with_one_copy: bool,
    /// Variables that cannot be imported as definitions are imported as declarations under
    /// `-import-declaration`. Source: `canImportGlobalVar` with `CanImportDecl`.
    pub import_variable_declarations: bool,
    /// Imports are kept in a set of small numbers given out over the whole link; LLVM 19 had a
    /// `std::unordered_map` for each source module. Decides the order of records in distributed
    /// indexes. Source: `ImportMapTy` in `FunctionImport.h`.
    pub numbers_imports: bool,
    /// The index says that internalization and promotion have been done (flag 0x400).
    pub marks_internalize_and_promote: bool,
    /// A value without a prevailing module counts as prevailing in regular LTO modules, because
    /// LLVM 19 looks it up in a map that gives the empty path, which is theirs.
    pub unknown_prevails_in_regular_lto: bool,
    /// `-thinlto-synthesize-entry-counts` is known.
    pub synthesizes_entry_counts: bool,
    /// A function that never returns may be what a virtual call calls, unless an option says
    /// otherwise. Source: `WholeProgramDevirtKeepUnreachableFunction`.
    pub keeps_unreachable_functions: bool,
    /// Functions are cloned under `-enable-memprof-context-disambiguation`, as LLVM 19 does it. What
    /// others do is not served: nothing is cloned.
    pub clones_for_memprof: bool,
    /// Which runtime library functions code generation may call, and so are preserved, is LLVM
    /// 22's list; otherwise what the symbol table of each file says, which its own LLVM made.
    pub newest_runtime_library: bool,
}

impl Behaviour {
    /// LLVM 19, and near enough 15 to 18.
    pub const LLVM_19: Behaviour = Behaviour {
        llvm: 19,
        import_local_with_one_copy: false,
        import_variable_declarations: false,
        numbers_imports: false,
        marks_internalize_and_promote: false,
        unknown_prevails_in_regular_lto: true,
        synthesizes_entry_counts: true,
        keeps_unreachable_functions: false,
        clones_for_memprof: true,
        newest_runtime_library: false,
    };
    /// LLVM 22.
    pub const LLVM_22: Behaviour = Behaviour {
        llvm: 22,
        import_local_with_one_copy: true,
        import_variable_declarations: true,
        numbers_imports: true,
        marks_internalize_and_promote: true,
        unknown_prevails_in_regular_lto: false,
        synthesizes_entry_counts: false,
        keeps_unreachable_functions: true,
        clones_for_memprof: false,
        newest_runtime_library: true,
    };

    /// The row for a major version of LLVM. 20 and 21 decide like 22.
    pub fn of_llvm(major: u32) -> Behaviour {
        let row = if major >= 20 { Self::LLVM_22 } else { Self::LLVM_19 };
        Behaviour { llvm: major, clones_for_memprof: major == 19, ..row }
    }

    /// How it writes indexes.
    pub fn format(&self) -> Format {
        Format::of_llvm(self.llvm).unwrap_or(Format::Llvm14)
    }
}

/// `lto::Config::VisibilityScheme`: how the visibility of a symbol comes from its definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VisibilityScheme {
    /// That of the prevailing definition.
    #[default]
    FromPrevailing,
    /// The most constraining of all, as ELF linkers have it.
    Elf,
}

/// The options of the thin link. Fields are named after LLVM's options.
#[derive(Clone, Debug, PartialEq)]
pub struct ThinLinkOptions {
    /// Which LLVM to decide like.
    pub behaviour: Behaviour,
    /// Whether anything is imported: off at -O0.
    pub import: bool,
    /// `-import-instr-limit`: functions of at most so many instructions are imported.
    pub import_instr_limit: u32,
    /// `-import-cutoff`: stop after so many imports; negative for never.
    pub import_cutoff: i32,
    /// `-force-import-all`: import whatever may be, noinline functions too.
    pub force_import_all: bool,
    /// `-import-instr-evolution-factor`: the limit shrinks so with every step along the calls.
    pub import_instr_evolution_factor: f32,
    /// `-import-hot-evolution-factor`: the same behind a hot call.
    pub import_hot_evolution_factor: f32,
    /// `-import-hot-multiplier`: the limit for hot calls.
    pub import_hot_multiplier: f32,
    /// `-import-critical-multiplier`: the limit for critical calls.
    pub import_critical_multiplier: f32,
    /// `-import-cold-multiplier`: the limit for cold calls.
    pub import_cold_multiplier: f32,
    /// `-import-declaration`: what is not imported as a definition, as a declaration.
    pub import_declaration: bool,
    /// `-import-constants-with-refs`: constants whose initializers refer to others too.
    pub import_constants_with_refs: bool,
    /// `-compute-dead`: find out what nothing refers to.
    pub compute_dead: bool,
    /// `-propagate-attrs`: find out which variables are only read or only written.
    pub propagate_attrs: bool,
    /// `-disable-thinlto-funcattrs`: LLVM has it on by default.
    pub disable_thinlto_funcattrs: bool,
    /// `-enable-lto-internalization`.
    pub enable_lto_internalization: bool,
    /// `-whole-program-visibility`, or a linker said so that checks nothing.
    pub whole_program_visibility: bool,
    /// `-whole-program-visibility-enabled-in-lto`: a linker said so that may have checked it.
    pub whole_program_visibility_enabled_in_lto: bool,
    /// `-validate-all-vtables-have-type-infos`: what the linker said counts for types alone that
    /// no native code derives from.
    pub validate_all_vtables_have_type_infos: bool,
    /// `-all-vtables-have-type-infos`: the linker found RTTI beside every virtual table.
    pub all_vtables_have_type_infos: bool,
    /// `-disable-whole-program-visibility`, whoever has said it.
    pub disable_whole_program_visibility: bool,
    /// `-wholeprogramdevirt-skip`: patterns of functions that virtual calls are not turned into
    /// calls of.
    pub wholeprogramdevirt_skip: Vec<String>,
    /// `-wholeprogramdevirt-keep-unreachable-function`: a function that never returns may be the
    /// target of a virtual call. `None` for what that LLVM does.
    pub wholeprogramdevirt_keep_unreachable_function: Option<bool>,
    /// `-wholeprogramdevirt-print-index-based`: the drivers tell what was devirtualized.
    pub wholeprogramdevirt_print_index_based: bool,
    /// `-supports-hot-cold-new`: the allocator has the interfaces.
    pub supports_hot_cold_new: bool,
    /// `-enable-memprof-context-disambiguation`: functions are cloned where it depends on their
    /// callers whether an allocation is cold.
    pub enable_memprof_context_disambiguation: bool,
    /// `-memprof-dump-ccg`: the graph of contexts is kept as text.
    pub memprof_dump_ccg: bool,
    /// `-use-source-filename-for-promoted-locals`: the names of local definitions that others refer
    /// to are made by [`super::promoted_name_by_source`]. Indexes have no names, so that only
    /// backends see the difference; each must be told.
    pub use_source_filename_for_promoted_locals: bool,
    /// `-thinlto-synthesize-entry-counts`: guess how often each function is entered. LLVM 19 and before.
    pub thinlto_synthesize_entry_counts: bool,
    /// `-thinlto-workload-def`: imports by the user's word.
    pub workloads: Option<Workloads>,
    /// Where visibility comes from.
    pub visibility_scheme: VisibilityScheme,
}

impl Default for ThinLinkOptions {
    fn default() -> Self {
        ThinLinkOptions {
            behaviour: Behaviour::LLVM_22,
            import: true,
            import_instr_limit: 100,
            import_cutoff: -1,
            force_import_all: false,
            import_instr_evolution_factor: 0.7,
            import_hot_evolution_factor: 1.0,
            import_hot_multiplier: 10.0,
            import_critical_multiplier: 100.0,
            import_cold_multiplier: 0.0,
            import_declaration: false,
            import_constants_with_refs: true,
            compute_dead: true,
            propagate_attrs: true,
            disable_thinlto_funcattrs: true,
            enable_lto_internalization: true,
            whole_program_visibility: false,
            whole_program_visibility_enabled_in_lto: false,
            validate_all_vtables_have_type_infos: false,
            all_vtables_have_type_infos: false,
            disable_whole_program_visibility: false,
            wholeprogramdevirt_skip: Vec::new(),
            wholeprogramdevirt_keep_unreachable_function: None,
            wholeprogramdevirt_print_index_based: false,
            supports_hot_cold_new: false,
            enable_memprof_context_disambiguation: false,
            memprof_dump_ccg: false,
            use_source_filename_for_promoted_locals: false,
            thinlto_synthesize_entry_counts: false,
            workloads: None,
            visibility_scheme: VisibilityScheme::FromPrevailing,
        }
    }
}

/// Options of LLVM's that steer its thin link, or its backends beside their passes, and not ours:
/// moving functions between modules, contextual profiles, modules that have imported already.
const UNSERVED: [&str; 4] = [
    "thinlto-move-symbols",
    "thinlto-move-ctxprof-trees",
    "use-ctx-profile",
    "thinlto-assume-merged",
];

/// A reference to the field of an option, by its type.
enum Field<'o> {
    Bool(&'o mut bool),
    Unsigned(&'o mut u32),
    Int(&'o mut i32),
    Float(&'o mut f32),
    /// Words between commas, of every occurrence.
    List(&'o mut Vec<String>),
}

impl ThinLinkOptions {
    fn field(&mut self, name: &str) -> Option<Field<'_>> {
        Some(match name {
            "import-instr-limit" => Field::Unsigned(&mut self.import_instr_limit),
            "import-cutoff" => Field::Int(&mut self.import_cutoff),
            "force-import-all" => Field::Bool(&mut self.force_import_all),
            "import-instr-evolution-factor" => {
                Field::Float(&mut self.import_instr_evolution_factor)
            }
            "import-hot-evolution-factor" => Field::Float(&mut self.import_hot_evolution_factor),
            "import-hot-multiplier" => Field::Float(&mut self.import_hot_multiplier),
            "import-critical-multiplier" => Field::Float(&mut self.import_critical_multiplier),
            "import-cold-multiplier" => Field::Float(&mut self.import_cold_multiplier),
            "import-declaration" => Field::Bool(&mut self.import_declaration),
            "import-constants-with-refs" => Field::Bool(&mut self.import_constants_with_refs),
            "compute-dead" => Field::Bool(&mut self.compute_dead),
            "propagate-attrs" => Field::Bool(&mut self.propagate_attrs),
            "disable-thinlto-funcattrs" => Field::Bool(&mut self.disable_thinlto_funcattrs),
            "enable-lto-internalization" => Field::Bool(&mut self.enable_lto_internalization),
            "whole-program-visibility" => Field::Bool(&mut self.whole_program_visibility),
            "whole-program-visibility-enabled-in-lto" => {
                Field::Bool(&mut self.whole_program_visibility_enabled_in_lto)
            }
            "validate-all-vtables-have-type-infos" => {
                Field::Bool(&mut self.validate_all_vtables_have_type_infos)
            }
            "all-vtables-have-type-infos" => Field::Bool(&mut self.all_vtables_have_type_infos),
            "disable-whole-program-visibility" => {
                Field::Bool(&mut self.disable_whole_program_visibility)
            }
            "wholeprogramdevirt-skip" => Field::List(&mut self.wholeprogramdevirt_skip),
            "wholeprogramdevirt-keep-unreachable-function" => Field::Bool(
                self.wholeprogramdevirt_keep_unreachable_function.get_or_insert_default(),
            ),
            "wholeprogramdevirt-print-index-based" => {
                Field::Bool(&mut self.wholeprogramdevirt_print_index_based)
            }
            "supports-hot-cold-new" => Field::Bool(&mut self.supports_hot_cold_new),
            "enable-memprof-context-disambiguation" => {
                Field::Bool(&mut self.enable_memprof_context_disambiguation)
            }
            "memprof-dump-ccg" => Field::Bool(&mut self.memprof_dump_ccg),
            "use-source-filename-for-promoted-locals" => {
                Field::Bool(&mut self.use_source_filename_for_promoted_locals)
            }
            "thinlto-synthesize-entry-counts" => {
                Field::Bool(&mut self.thinlto_synthesize_entry_counts)
            }
            _ => return None,
        })
    }

    /// Takes an option of LLVM's, without its dashes: `name` or `name=value`. Says whether it is
    /// one of ours.
    ///
    /// # Errors
    /// Misuse, for one of ours with a value that is not of its kind.
    pub fn take(&mut self, option: &str) -> Result<bool> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let bad = |what: &str| {
            Error::misuse(format!(
                "for the --{name} option: '{}' value invalid for {what} argument!",
                value.unwrap_or("")
            ))
        };
        if UNSERVED.contains(&name) {
            return Err(Error::unsupported(format!("the option -{name} is not served")));
        }
        match self.field(name) {
            None => return Ok(false),
            Some(Field::Bool(field)) => {
                *field = match value {
                    None | Some("" | "true" | "TRUE" | "True" | "1") => true,
                    Some("false" | "FALSE" | "False" | "0") => false,
                    Some(_) => return Err(bad("boolean")),
                }
            }
            Some(Field::Unsigned(field)) => {
                *field = value.and_then(|v| v.parse().ok()).ok_or_else(|| bad("uint"))?;
            }
            Some(Field::Int(field)) => {
                *field = value.and_then(|v| v.parse().ok()).ok_or_else(|| bad("integer"))?;
            }
            Some(Field::Float(field)) => {
                *field = value.and_then(|v| v.parse().ok()).ok_or_else(|| bad("floating point"))?;
            }
            Some(Field::List(field)) => {
                let words = value.ok_or_else(|| bad("list"))?.split(',');
                field.extend(words.map(str::to_owned));
            }
        }
        Ok(true)
    }

    /// `hasWholeProgramVisibility`, and what `LTO::runThinLTO` makes of the linker's word: whether
    /// public types count as seen whole.
    pub fn has_whole_program_visibility(&self) -> bool {
        (self.whole_program_visibility || self.is_enabled_by_linker())
            && !self.disable_whole_program_visibility
    }

    fn is_enabled_by_linker(&self) -> bool {
        self.whole_program_visibility_enabled_in_lto
            && (!self.validate_all_vtables_have_type_infos || self.all_vtables_have_type_infos)
    }

    /// Whether types that native code may derive from stay public even so.
    pub fn checks_visibility_to_regular_objects(&self) -> bool {
        self.is_enabled_by_linker() && self.validate_all_vtables_have_type_infos
    }

    /// Whether functions are cloned for MemProf's sake.
    pub fn clones_for_memprof(&self) -> bool {
        self.enable_memprof_context_disambiguation
            && self.supports_hot_cold_new
            && self.behaviour.clones_for_memprof
    }

    /// Whether a function that never returns may be the target of a virtual call.
    pub fn keeps_unreachable_functions(&self) -> bool {
        let asked = self.wholeprogramdevirt_keep_unreachable_function;
        asked.unwrap_or(self.behaviour.keeps_unreachable_functions)
    }

    /// Whether the option `name` needs a value.
    pub fn wants_value(name: &str) -> bool {
        matches!(
            ThinLinkOptions::default().field(name),
            Some(Field::Unsigned(_) | Field::Int(_) | Field::Float(_) | Field::List(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_llvms_names() {
        let mut o = ThinLinkOptions::default();
        assert!(o.take("import-instr-limit=5").unwrap());
        assert!(o.take("force-import-all").unwrap());
        assert!(o.take("compute-dead=false").unwrap());
        assert!(o.take("import-hot-multiplier=2.5").unwrap());
        assert!(o.take("import-cutoff=-1").unwrap());
        assert!(!o.take("vectorize-loops").unwrap());
        assert_eq!((o.import_instr_limit, o.force_import_all, o.compute_dead), (5, true, false));
        assert_eq!(o.import_hot_multiplier, 2.5);
        let e = o.take("import-instr-limit=x").unwrap_err();
        assert!(e.to_string().contains("'x' value invalid for uint argument!"), "{e}");
        assert!(o.take("compute-dead=perhaps").is_err());
    }

    #[test]
    fn a_linker_that_checks_must_have_found_all_rtti() {
        let mut o = ThinLinkOptions::default();
        assert!(!o.has_whole_program_visibility());
        assert!(o.take("whole-program-visibility-enabled-in-lto").unwrap());
        assert!(o.has_whole_program_visibility() && !o.checks_visibility_to_regular_objects());
        assert!(o.take("validate-all-vtables-have-type-infos").unwrap());
        assert!(!o.has_whole_program_visibility());
        assert!(o.take("all-vtables-have-type-infos").unwrap());
        assert!(o.has_whole_program_visibility() && o.checks_visibility_to_regular_objects());
        assert!(o.take("disable-whole-program-visibility").unwrap());
        assert!(!o.has_whole_program_visibility());
        assert!(o.take("wholeprogramdevirt-skip=a,b*").unwrap());
        assert!(o.take("wholeprogramdevirt-skip=c").unwrap());
        assert_eq!(o.wholeprogramdevirt_skip, ["a", "b*", "c"]);
        assert!(ThinLinkOptions::wants_value("wholeprogramdevirt-skip"));
    }

    #[test]
    fn every_version_has_a_row() {
        assert_eq!(Behaviour::of_llvm(19), Behaviour::LLVM_19);
        assert_eq!(
            Behaviour::of_llvm(14),
            Behaviour { llvm: 14, clones_for_memprof: false, ..Behaviour::LLVM_19 }
        );
        assert_eq!(Behaviour::of_llvm(23), Behaviour { llvm: 23, ..Behaviour::LLVM_22 });
    }
}
