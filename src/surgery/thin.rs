//! What a thin link decided, done to one module: the destination of a ThinLTO backend.
//!
//! In: a module and, for each of its global values, a [`Decision`]. Out: [`Edits`] up to one of
//! LLVM's two [`Stage`]s. It must not know how it was decided, nor what else is in the link.
//!
//! The steps are LLVM's, in its order, each on what the one before left, because later ones look
//! at what earlier ones did (a local that was promoted is found no more in the table of the
//! module's definitions; a function that was dropped is no candidate for internalization):
//!
//! | step | does | source |
//! |---|---|---|
//! | promote | locals that others refer to get a new name, external and hidden; dso_local | `FunctionImportGlobalProcessing` |
//! | drop | what is dead becomes a declaration | `dropDeadSymbols` |
//! | finalize | the linkage and visibility that the thin link chose; comdats that do not prevail | `thinLTOFinalizeInModule` |
//! | internalize | what nothing outside refers to becomes internal, comdats as a whole | `thinLTOInternalizeModule`, `InternalizePass` |

use std::collections::{BTreeMap, BTreeSet};

use super::{Edits, Fate, alias_bases, ifunc_bases};
use crate::bitcode::{GlobalKind, GlobalValue, Module};
use crate::error::Result;
use crate::ir::{DllStorage, Linkage, SelectionKind, Visibility};

/// How far to go. LLVM's `-save-temps` leaves the module after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Promoted, dead definitions dropped, prevailing copies resolved: `.1.promote.bc`.
    Promote,
    /// The same with the last two steps in turn, as `llvm-lto -thinlto-action=promote` takes them.
    ResolveThenPromote,
    /// And internalized: `.2.internalize.bc`.
    Internalize,
}

/// What was decided for one global value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What became of its definition; `None` where the module's summary has none by its name.
    pub defined: Option<Defined>,
    /// All copies of it in the link are in the linkage unit (`ValueInfo::isDSOLocal`).
    pub dso_local: bool,
    /// The new name of a local that other modules refer to.
    pub promoted: Option<Vec<u8>>,
}

/// What became of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defined {
    /// Something that stays refers to it.
    pub live: bool,
    /// Its linkage. Local: nothing outside of the module refers to it.
    pub linkage: Linkage,
    /// Its visibility; default leaves the module's own.
    pub visibility: Visibility,
    /// A linkonce_odr definition that prevails may be hidden.
    pub can_auto_hide: bool,
}

/// Makes the edits. `decisions` has one for each global value of the module.
///
/// `clear_dso_local_on_declarations` is LLVM's rule for position-independent ELF code that is not
/// for an executable: what is declared may turn out to be elsewhere.
///
/// # Errors
/// Malformed constants, which say what an alias stands for.
pub fn edits(
    module: &Module<'_>,
    decisions: &[Decision],
    stage: Stage,
    clear_dso_local_on_declarations: bool,
) -> Result<Edits> {
    let mut pass = Pass {
        module,
        decisions,
        bases: alias_bases(module)?,
        states: module.globals.iter().map(State::of).collect(),
        comdat_names: BTreeMap::new(),
        comdat_kinds: BTreeMap::new(),
    };
    if stage == Stage::ResolveThenPromote {
        pass.finalize();
        pass.promote(clear_dso_local_on_declarations);
        return Ok(pass.edits());
    }
    pass.promote(clear_dso_local_on_declarations);
    let resolvers: BTreeSet<usize> = ifunc_bases(module)?.into_values().collect();
    pass.drop_dead(&resolvers);
    pass.finalize();
    if stage == Stage::Internalize {
        pass.internalize();
    }
    Ok(pass.edits())
}

/// A global value on its way; the setters do what LLVM's do.
#[derive(Clone, Debug)]
struct State {
    declaration: bool,
    linkage: Linkage,
    visibility: Visibility,
    dll_storage: DllStorage,
    dso_local: bool,
    /// 1 + the index of the comdat; 0 for none.
    comdat: u32,
    promoted: bool,
}

impl State {
    fn of(g: &GlobalValue<'_>) -> Self {
        State {
            declaration: g.is_declaration,
            linkage: g.linkage,
            visibility: g.visibility,
            dll_storage: g.dll_storage,
            dso_local: g.dso_local,
            comdat: g.comdat,
            promoted: false,
        }
    }

    fn is_implicitly_dso_local(&self) -> bool {
        self.linkage.is_local()
            || self.visibility != Visibility::Default && self.linkage != Linkage::ExternalWeak
    }

    fn set_linkage(&mut self, linkage: Linkage) {
        if linkage.is_local() {
            self.visibility = Visibility::Default;
            self.dll_storage = DllStorage::None;
        }
        self.linkage = linkage;
        self.dso_local |= self.is_implicitly_dso_local();
    }

    fn set_visibility(&mut self, visibility: Visibility) {
        self.visibility = visibility;
        self.dso_local |= self.is_implicitly_dso_local();
    }

    fn is_declaration_for_linker(&self) -> bool {
        self.declaration || self.linkage == Linkage::AvailableExternally
    }

    /// `convertToDeclaration` of a function or variable.
    fn declare(&mut self) {
        self.declaration = true;
        self.set_linkage(Linkage::External);
        self.comdat = 0;
        if !self.is_implicitly_dso_local() {
            self.dso_local = false;
        }
    }
}

struct Pass<'m, 'a> {
    module: &'m Module<'a>,
    decisions: &'m [Decision],
    /// What each alias stands for in the end.
    bases: BTreeMap<usize, usize>,
    states: Vec<State>,
    /// By index of the comdat.
    comdat_names: BTreeMap<usize, Vec<u8>>,
    comdat_kinds: BTreeMap<usize, SelectionKind>,
}

impl<'m, 'a> Pass<'m, 'a> {
    /// Every global value with its state and what was decided for it.
    fn each(&mut self) -> impl Iterator<Item = (&'m GlobalValue<'a>, &mut State, &'m Decision)> {
        self.module
            .globals
            .iter()
            .zip(&mut self.states)
            .zip(self.decisions)
            .map(|((g, state), decision)| (g, state, decision))
    }

    fn promote(&mut self, clear_dso_local: bool) {
        let module = self.module;
        let bases = self.bases.clone();
        let mut renamed_comdats = BTreeMap::new();
        for (id, (g, state, decision)) in self.each().enumerate() {
            if let Some(name) = decision.promoted.as_ref().filter(|_| state.linkage.is_local()) {
                state.promoted = true;
                state.set_linkage(Linkage::External);
                state.set_visibility(Visibility::Hidden);
                // Another module's comdat may have the old name.
                let object = bases.get(&id).map_or(Some(g), |&base| module.globals.get(base));
                let object = object.filter(|object| {
                    module.comdat_of(object).is_some_and(|comdat| comdat.name == g.name)
                });
                if let Some(at) = object.and_then(|object| (object.comdat as usize).checked_sub(1))
                {
                    renamed_comdats.insert(at, name.clone());
                }
            }
            if clear_dso_local
                && state.is_declaration_for_linker()
                && !state.is_implicitly_dso_local()
            {
                state.dso_local = false;
            } else if decision.dso_local {
                state.dso_local = true;
                if state.dll_storage == DllStorage::Import {
                    state.dll_storage = DllStorage::None;
                }
            }
            if state.is_declaration_for_linker() {
                state.comdat = 0;
            }
        }
        self.comdat_names = renamed_comdats;
    }

    /// `resolvers` of ifuncs stay: summaries do not say that something refers to them.
    fn drop_dead(&mut self, resolvers: &BTreeSet<usize>) {
        for (id, (g, state, decision)) in self.each().enumerate() {
            let live = decision.defined.is_none_or(|defined| defined.live);
            if state.promoted || live || resolvers.contains(&id) {
                continue;
            }
            match g.kind {
                GlobalKind::Function | GlobalKind::Variable => state.declare(),
                // LLVM makes a new declaration in its place.
                GlobalKind::Alias | GlobalKind::IFunc => {
                    state.visibility = Visibility::Default;
                    state.dll_storage = DllStorage::None;
                    state.linkage = Linkage::External;
                    state.declare();
                }
            }
        }
    }

    fn finalize(&mut self) {
        let mut non_prevailing = BTreeSet::new();
        let module = self.module;
        for (g, state, decision) in self.each() {
            let Some(defined) = decision.defined else { continue };
            if state.promoted
                || state.declaration
                || state.linkage.is_local()
                || defined.linkage.is_local()
            {
                continue;
            }
            if defined.visibility != Visibility::Default {
                state.set_visibility(defined.visibility);
            }
            if defined.linkage == state.linkage {
                continue;
            }
            if defined.linkage == Linkage::AvailableExternally && state.linkage.is_interposable() {
                state.declare();
                // As LLVM's does, which takes it out of its comdat before it looks for one.
                continue;
            }
            if defined.linkage == Linkage::WeakOdr && defined.can_auto_hide {
                state.set_visibility(Visibility::Hidden);
            }
            state.set_linkage(defined.linkage);
            if state.is_declaration_for_linker() && state.comdat != 0 {
                if module.comdat_of(g).is_some_and(|comdat| comdat.name == g.name) {
                    non_prevailing.insert(state.comdat);
                }
                state.comdat = 0;
            }
        }
        if non_prevailing.is_empty() {
            return;
        }
        for state in &mut self.states {
            if state.comdat != 0 && non_prevailing.contains(&state.comdat) {
                state.comdat = 0;
                state.set_linkage(Linkage::AvailableExternally);
            }
        }
        for (&alias, &base) in &self.bases {
            let of_available = self
                .states
                .get(base)
                .is_some_and(|base| base.linkage == Linkage::AvailableExternally);
            if let Some(state) = self.states.get_mut(alias).filter(|_| of_available) {
                state.set_linkage(Linkage::AvailableExternally);
            }
        }
    }

    /// The comdat of a value; an alias is in that of what it stands for.
    fn comdat(&self, id: usize) -> u32 {
        let object = self.bases.get(&id).copied().unwrap_or(id);
        self.states.get(object).map_or(0, |state| state.comdat)
    }

    /// `InternalizePass::shouldPreserveGV`.
    fn is_preserved(&self, id: usize) -> bool {
        let (Some(g), Some(state)) = (self.module.globals.get(id), self.states.get(id)) else {
            return true;
        };
        if state.is_declaration_for_linker() || state.dll_storage == DllStorage::Export {
            return true;
        }
        if state.linkage.is_local() {
            return false;
        }
        // Code generation refers to them by name.
        state.promoted
            || matches!(&*g.name, b"__stack_chk_fail" | b"__stack_chk_guard")
            || self
                .decisions
                .get(id)
                .and_then(|decision| decision.defined)
                .is_none_or(|defined| !defined.linkage.is_local())
    }

    fn internalize(&mut self) {
        /// How many members a comdat has, and whether one of them is preserved.
        #[derive(Clone, Copy, Default)]
        struct Members {
            size: usize,
            external: bool,
        }
        let mut comdats: BTreeMap<u32, Members> = BTreeMap::new();
        for id in 0..self.states.len() {
            let comdat = self.comdat(id);
            if comdat != 0 {
                let preserved = self.is_preserved(id);
                let members = comdats.entry(comdat).or_default();
                members.size += 1;
                members.external |= preserved;
            }
        }
        for id in 0..self.states.len() {
            let comdat = self.comdat(id);
            let members = comdats.get(&comdat).copied().filter(|_| comdat != 0);
            if members.is_some_and(|members| members.external) {
                continue;
            }
            let preserved = members.is_none() && self.is_preserved(id);
            let is_alias = self.bases.contains_key(&id);
            let Some(state) = self.states.get_mut(id) else { continue };
            if let Some(members) = members.filter(|_| !is_alias) {
                // One member needs no comdat any more; of several, the group is kept together,
                // and the linker must not take another's for it.
                if members.size == 1 {
                    state.comdat = 0;
                } else {
                    self.comdat_kinds.insert(comdat as usize - 1, SelectionKind::NoDeduplicate);
                }
            }
            if !preserved && !state.linkage.is_local() {
                state.set_linkage(Linkage::Internal);
            }
        }
    }

    /// What differs from the module.
    fn edits(self) -> Edits {
        let mut edits = Edits::default();
        for (id, ((g, state), decision)) in
            self.module.globals.iter().zip(&self.states).zip(self.decisions).enumerate()
        {
            let before = State::of(g);
            let mut edit = super::GlobalEdit::default();
            if state.declaration && !before.declaration {
                edit.fate = Fate::Declare;
                edit.linkage = Some(state.linkage);
            }
            if state.linkage != before.linkage {
                edit.linkage = Some(state.linkage);
            }
            if state.visibility != before.visibility {
                edit.visibility = Some(state.visibility);
            }
            if state.dll_storage != before.dll_storage {
                edit.dll_storage = Some(state.dll_storage);
            }
            if state.dso_local != before.dso_local {
                edit.dso_local = Some(state.dso_local);
            }
            edit.clear_comdat = state.comdat == 0 && before.comdat != 0;
            if state.promoted {
                edit.name.clone_from(&decision.promoted);
            }
            if edit != super::GlobalEdit::default() {
                edits.globals.insert(id, edit);
            }
        }
        edits.comdats = self.comdat_kinds;
        edits.comdat_names = self.comdat_names;
        edits
    }
}
