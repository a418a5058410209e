//! Which virtual calls have one possible target, found from summaries alone.
//!
//! In: the index with its virtual tables by type, the [`Facts`], the [`Liveness`] and the options.
//! Out: [`Devirtualization`]: the resolutions of type identifiers, the calls that take the place
//! of virtual ones, and what these make their modules export. It must not know what is imported.
//!
//! A virtual call names a type and an offset. The virtual tables compatible with the type say which
//! functions may stand there; where all tables are visible to the link alone and agree, the call
//! is one of that function. Backends learn it by the function's name, which for a local function
//! depends on whether it is promoted, and so is settled after the imports.
//!
//! Source: `DevirtIndex`, `updateVCallVisibilityInIndex`, `getVisibleToRegularObjVtableGUIDs` and
//! `updateIndexWPDForExports` in WholeProgramDevirt.cpp.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::bits::Bits;
use super::glob::Glob;
use super::options::ThinLinkOptions;
use super::plan::promoted_name;
use super::{Exports, Facts, Liveness};
use crate::ir::{Guid, Linkage};
use crate::summary::{
    CallInfo, ConstVCall, Hotness, ModuleSummaryIndex, Summary, SummaryId, SummaryKind,
    TypeIdCompatibleVtables, TypeIdSummary, TypeTestResolution, VFuncId, ValueId, VariableFlags,
    WholeProgramDevirtResolution, guid_of, guid_of_value,
};

/// `GlobalObject::VCallVisibility`.
const PUBLIC: u8 = 0;
const LINKAGE_UNIT: u8 = 1;

/// `WholeProgramDevirtResolution::SingleImpl`.
const SINGLE_IMPL: u64 = 1;

/// What became of virtual calls. Empty where no summary mentions a type.
#[derive(Clone, Debug, Default)]
pub struct Devirtualization {
    /// Resolutions, sorted by the GUID of the name; `None` where the index's own count.
    type_ids: Option<Vec<TypeIdSummary>>,
    /// By summary, the functions that it calls now.
    calls: HashMap<SummaryId, Vec<u32>>,
    /// Values that another module calls now.
    exported: BTreeSet<u32>,
    /// Local targets whose names change if their module exports them, and where the names stand:
    /// the type identifier's place and the offset.
    local: BTreeMap<u32, Vec<(usize, u64)>>,
    /// Targets of at least one call.
    targets: BTreeSet<u32>,
    /// Whether virtual tables of public types count as seen whole.
    upgrades: bool,
    /// The values that stay public even so.
    stay_public: Bits,
}

/// What is known of the calls of one offset in the virtual tables of one type: their functions, in
/// LLVM's order.
#[derive(Default)]
struct Slot {
    calls: Users,
    /// By constant arguments.
    const_calls: BTreeMap<Box<[u64]>, Users>,
}

#[derive(Default)]
struct Users {
    checked_load: Vec<SummaryId>,
    assume: Vec<SummaryId>,
}

impl Slot {
    fn users(&self) -> impl Iterator<Item = SummaryId> + '_ {
        std::iter::once(&self.calls)
            .chain(self.const_calls.values())
            .flat_map(|users| users.checked_load.iter().chain(&users.assume))
            .copied()
    }
}

impl Devirtualization {
    /// Decides.
    pub fn compute(
        index: &ModuleSummaryIndex,
        facts: &Facts,
        liveness: &Liveness,
        options: &ThinLinkOptions,
    ) -> Self {
        let mut result = Devirtualization::default();
        if options.has_whole_program_visibility() {
            result.upgrades = true;
            result.stay_public = facts.dynamic_export.clone();
            if options.checks_visibility_to_regular_objects() {
                for id in index.type_id_compatible_vtables() {
                    if is_visible_to_regular_objects(&id.name, facts) {
                        for (_, vtable) in &id.vtables {
                            result.stay_public.insert(vtable.index());
                        }
                    }
                }
            }
        }
        let types = index.type_id_compatible_vtables();
        if index.types_are_resolved() {
            result.call_what_is_resolved(index);
        }
        if types.is_empty() {
            return result;
        }
        let mut type_ids: BTreeMap<(Guid, Box<[u8]>), TypeIdSummary> =
            index.type_ids().iter().map(|id| ((id.guid, id.name.clone()), id.clone())).collect();
        for id in types {
            // Even without any call: a test of a type that something is of may be true.
            let key = (guid_of(&id.name), id.name.clone());
            let guid = key.0;
            type_ids.entry(key).or_insert_with(|| unresolved(&id.name, guid));
        }
        let type_ids: Vec<TypeIdSummary> = type_ids.into_values().collect();
        let mut work = Work {
            index,
            facts,
            liveness,
            options,
            skip: options.wholeprogramdevirt_skip.iter().filter_map(|p| Glob::new(p)).collect(),
            result,
            type_ids,
        };
        for ((place, offset), slot) in slots(index, types.iter().map(|id| guid_of(&id.name))) {
            work.resolve(types, place, offset, &slot);
        }
        let Work { mut result, type_ids, .. } = work;
        result.type_ids = Some(type_ids);
        result
    }

    /// Where regular LTO has found that virtual calls have one target, their functions call that
    /// (`AddCalls` of `DevirtModule`). Checked loads are no calls by then.
    fn call_what_is_resolved(&mut self, index: &ModuleSummaryIndex) {
        let types = index.type_ids();
        for ((place, offset), slot) in slots(index, types.iter().map(|id| id.guid)) {
            let ways = types.get(place).map_or(&[][..], |id| &id.devirtualization);
            let way = ways.iter().find(|(at, _)| *at == offset).map(|(_, way)| way);
            let Some(way) = way.filter(|way| way.kind == SINGLE_IMPL) else { continue };
            let target = index.find(guid_of_value(&way.single_impl_name, None));
            let defined = target.filter(|&target| !index.copies(target).is_empty());
            let Some(target) = defined else { continue };
            self.targets.insert(target.0);
            let all = std::iter::once(&slot.calls).chain(slot.const_calls.values());
            for &caller in all.flat_map(|users| &users.assume) {
                self.calls.entry(caller).or_default().push(target.0);
            }
        }
    }

    /// Gives local targets that their modules export their new names
    /// (`updateIndexWPDForExports`).
    pub fn rename_exported(&mut self, index: &ModuleSummaryIndex, exports: &Exports) {
        let Some(type_ids) = &mut self.type_ids else { return };
        for (&value, places) in &self.local {
            let first = index.copies(ValueId(value)).first().and_then(|&id| index.summary(id));
            let Some(function) = first else { continue };
            if !exports.contains(function.id()) && !self.exported.contains(&value) {
                continue;
            }
            for &(place, offset) in places {
                let Some(id) = type_ids.get_mut(place) else { continue };
                if let Some((_, way)) = id.devirtualization.iter_mut().find(|(o, _)| *o == offset) {
                    let name = promoted_name(&way.single_impl_name, index, function.module());
                    way.single_impl_name = name.into();
                }
            }
        }
    }

    /// The resolutions of type identifiers, sorted by the GUID of the name.
    pub fn type_ids<'d>(&'d self, index: &'d ModuleSummaryIndex) -> &'d [TypeIdSummary] {
        self.type_ids.as_deref().unwrap_or(index.type_ids())
    }

    /// The functions that a function calls in place of virtual ones; numbers of values.
    #[inline]
    pub fn callees(&self, caller: SummaryId) -> &[u32] {
        if self.calls.is_empty() {
            return &[];
        }
        self.calls.get(&caller).map_or(&[], Vec::as_slice)
    }

    /// [`Devirtualization::callees`] of all functions that have some.
    pub fn all_callees(&self) -> &HashMap<SummaryId, Vec<u32>> {
        &self.calls
    }

    /// [`Devirtualization::callees`], with what is known of the calls: LLVM takes them for hot, to
    /// have them imported.
    #[inline]
    pub fn calls(&self, caller: SummaryId) -> impl Iterator<Item = (ValueId, CallInfo)> + '_ {
        let callees = self.callees(caller).iter();
        callees.map(|&callee| (ValueId(callee), CallInfo::new(Hotness::Hot, false)))
    }

    /// Whether another module calls it now.
    #[inline]
    pub fn exports(&self, value: ValueId) -> bool {
        self.exported.contains(&value.0)
    }

    /// The values that other modules call now.
    pub fn exported(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.exported.iter().map(|&value| ValueId(value))
    }

    /// The targets of devirtualized calls, by GUID.
    pub fn targets(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.targets.iter().map(|&value| ValueId(value))
    }

    /// A variable's flags, with the visibility for virtual calls that it has in this link.
    #[inline]
    pub fn variable_flags(&self, variable: Summary<'_>, mut flags: VariableFlags) -> VariableFlags {
        if self.upgrades
            && variable.kind() == SummaryKind::Variable
            && flags.vcall_visibility() == PUBLIC
            && !self.stay_public.get(variable.value().index())
        {
            flags.set_vcall_visibility(LINKAGE_UNIT);
        }
        flags
    }
}

fn unresolved(name: &[u8], guid: Guid) -> TypeIdSummary {
    TypeIdSummary {
        name: name.into(),
        guid,
        type_test: TypeTestResolution::UNKNOWN,
        devirtualization: Vec::new(),
    }
}

/// Whether native code may have a type of its own that derives from this one: the type's RTTI says
/// so (`typeIDVisibleToRegularObj`). Types without an Itanium name are local to their module.
fn is_visible_to_regular_objects(type_id: &[u8], facts: &Facts) -> bool {
    match type_id.strip_prefix(b"_ZTS") {
        Some(rest) if !type_id.ends_with(b".virtual") => {
            !facts.is_seen_by_bitcode_alone(guid_of(&[b"_ZTI", rest].concat()))
        }
        _ => false,
    }
}

struct Work<'w> {
    index: &'w ModuleSummaryIndex,
    facts: &'w Facts,
    liveness: &'w Liveness,
    options: &'w ThinLinkOptions,
    skip: Vec<Glob>,
    result: Devirtualization,
    /// Sorted by the GUID of the name.
    type_ids: Vec<TypeIdSummary>,
}

/// A type identifier, as its place among all that have virtual tables, and an offset.
type SlotId = (usize, u64);

/// All slots that a function calls through, in the order in which LLVM meets them. `types` are the
/// GUIDs of the names of type identifiers.
fn slots(index: &ModuleSummaryIndex, types: impl Iterator<Item = Guid>) -> Vec<(SlotId, Slot)> {
    let mut by_guid: HashMap<Guid, Vec<usize>> = HashMap::new();
    for (place, guid) in types.enumerate() {
        by_guid.entry(guid).or_default().push(place);
    }
    let mut slots: Vec<(SlotId, Slot)> = Vec::new();
    let mut places: HashMap<SlotId, usize> = HashMap::new();
    let mut add = |call: &VFuncId, args: Option<&ConstVCall>, user, checked_load| {
        for &place in by_guid.get(&call.guid).into_iter().flatten() {
            let at = *places.entry((place, call.offset)).or_insert_with(|| {
                slots.push(((place, call.offset), Slot::default()));
                slots.len() - 1
            });
            let Some((_, slot)) = slots.get_mut(at) else { continue };
            let users = match args {
                None => &mut slot.calls,
                Some(call) => slot.const_calls.entry(call.args.clone()).or_default(),
            };
            match checked_load {
                true => users.checked_load.push(user),
                false => users.assume.push(user),
            }
        }
    };
    for value in (0..index.guids().len() as u32).map(ValueId) {
        for &id in index.copies(value) {
            let Some(s) = index.summary(id) else { continue };
            if s.kind() != SummaryKind::Function {
                continue;
            }
            s.type_test_assume_vcalls().iter().for_each(|call| add(call, None, id, false));
            s.type_checked_load_vcalls().iter().for_each(|call| add(call, None, id, true));
            for call in s.type_test_assume_const_vcalls() {
                add(&call.function, Some(call), id, false);
            }
            for call in s.type_checked_load_const_vcalls() {
                add(&call.function, Some(call), id, true);
            }
        }
    }
    slots
}

impl Work<'_> {
    fn resolve(
        &mut self,
        types: &[TypeIdCompatibleVtables],
        place: usize,
        offset: u64,
        slot: &Slot,
    ) {
        let Some(id) = types.get(place) else { return };
        let way = self
            .targets(id, offset)
            .and_then(|targets| self.single_implementation(&id.name, offset, &targets, slot));
        let place = self.place(&id.name);
        let Some(id) = place.and_then(|place| self.type_ids.get_mut(place)) else { return };
        let found = id.devirtualization.binary_search_by_key(&offset, |(offset, _)| *offset);
        match (found, way) {
            (Ok(at), Some(way)) => id.devirtualization[at].1 = way,
            // What regular LTO has found stays.
            (Ok(_), None) => {}
            (Err(at), way) => {
                let way = way.unwrap_or(WholeProgramDevirtResolution {
                    kind: 0,
                    single_impl_name: Box::default(),
                    by_arg: Vec::new(),
                });
                id.devirtualization.insert(at, (offset, way));
            }
        }
    }

    /// Where the resolution of a type identifier stands.
    fn place(&self, name: &[u8]) -> Option<usize> {
        let key = (guid_of(name), name);
        self.type_ids.binary_search_by(|id| (id.guid, &*id.name).cmp(&key)).ok()
    }

    /// The functions at an offset of all virtual tables of a type; `None` where the tables are not
    /// all known (`tryFindVirtualCallTargets`).
    fn targets(&self, id: &TypeIdCompatibleVtables, offset: u64) -> Option<Vec<ValueId>> {
        let mut targets = Vec::new();
        for &(address_point, vtable) in &id.vtables {
            let table = self.table(vtable)?;
            if !self.liveness.flag(table.id().index()) {
                continue;
            }
            for entry in table.vtable_funcs() {
                if Some(entry.offset) == address_point.checked_add(offset)
                    && !self.must_be_unreachable(entry.function)
                {
                    targets.push(entry.function);
                }
            }
        }
        (!targets.is_empty()).then_some(targets)
    }

    /// The copy of a virtual table to look at: the last that says which functions it holds, or
    /// that is no copy for inlining alone.
    fn table(&self, vtable: ValueId) -> Option<Summary<'_>> {
        let mut table = None;
        let mut local_found = false;
        for &id in self.index.copies(vtable) {
            let linkage = self.facts.flags.get(id.index())?.linkage();
            // Two local tables of one name: which is meant is not known.
            if linkage.is_local() && std::mem::replace(&mut local_found, true) {
                return None;
            }
            let base = self.index.summary(id)?.base_object();
            if base.kind() != SummaryKind::Variable {
                return None;
            }
            if base.vtable_funcs().is_empty() && linkage == Linkage::AvailableExternally {
                continue;
            }
            let flags = self.result.variable_flags(base, base.variable_flags());
            if flags.vcall_visibility() == PUBLIC {
                return None;
            }
            table = Some(base);
        }
        table
    }

    fn must_be_unreachable(&self, function: ValueId) -> bool {
        let copies = self.index.copies(function);
        !self.options.keeps_unreachable_functions()
            && !copies.is_empty()
            && copies.iter().filter_map(|&id| self.index.summary(id)).all(|copy| {
                self.liveness.flag(copy.id().index())
                    && copy.base_object().function_flags().must_be_unreachable()
            })
    }

    /// How the calls of a slot with these targets are done, if they are all one
    /// (`trySingleImplDevirt`).
    fn single_implementation(
        &mut self,
        type_id: &[u8],
        offset: u64,
        targets: &[ValueId],
        slot: &Slot,
    ) -> Option<WholeProgramDevirtResolution> {
        let (&target, others) = targets.split_first()?;
        let copies = self.index.copies(target);
        let first = copies.first().and_then(|&id| self.index.summary(id))?;
        let name = self.index.name(target);
        let is_local = |id: &SummaryId| {
            self.facts.flags.get(id.index()).is_some_and(|flags| flags.linkage().is_local())
        };
        if others.iter().any(|other| *other != target)
            || self.skip.iter().any(|pattern| pattern.matches(name))
            || copies.len() > 1 && copies.iter().any(is_local)
            // An index without names cannot tell backends whom to call.
            || name.is_empty()
        {
            return None;
        }
        self.result.targets.insert(target.0);
        let mut exported = false;
        for user in slot.users() {
            let Some(caller) = self.index.summary(user) else { continue };
            exported |= caller.module() != first.module();
            self.result.calls.entry(user).or_default().push(target.0);
        }
        if exported {
            self.result.exported.insert(target.0);
        }
        let single_impl_name = match is_local(&first.id()) {
            true if exported => promoted_name(name, self.index, first.module()).into(),
            local => {
                if let (true, Some(place)) = (local, self.place(type_id)) {
                    self.result.local.entry(target.0).or_default().push((place, offset));
                }
                name.into()
            }
        };
        Some(WholeProgramDevirtResolution {
            kind: SINGLE_IMPL,
            single_impl_name,
            by_arg: Vec::new(),
        })
    }
}
