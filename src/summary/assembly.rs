//! An index as text: `^0 = module: (...)`, LLVM's assembly syntax of summaries.
//!
//! In: an index. Out: the lines that `llvm-dis` of LLVM 22 prints of the same index. Slots are
//! numbered as there: modules in the order of their paths, values in that of their GUIDs, type
//! identifiers with compatible tables, resolved type identifiers, and the lines of the whole index.
//!
//! Source: `AssemblyWriter::printModuleSummaryIndex` and `SlotTracker::processIndex`.

use std::io::{self, Write};

use super::codes::since;
use super::guid::guid_of;
use super::index::{ModuleSummaryIndex, Summary};
use super::types::*;
use crate::ir::{Guid, Linkage, Visibility};

/// Writes the whole index, or what there is of one value.
///
/// # Errors
/// Those of `out`.
pub fn write_assembly(
    index: &ModuleSummaryIndex,
    only: Option<ValueId>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let printer = Printer::new(index);
    if let Some(value) = only {
        return printer.value(value, out);
    }
    printer.all(out)
}

struct Printer<'i> {
    index: &'i ModuleSummaryIndex,
    /// The slot of each module.
    modules: Vec<usize>,
    /// The modules by slot.
    by_slot: Vec<usize>,
}

/// Writes `", "` before every item but the first.
fn list<T>(
    out: &mut dyn Write,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(T, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.write_all(b", ")?;
        }
        each(item, out)?;
    }
    Ok(())
}

impl<'i> Printer<'i> {
    fn new(index: &'i ModuleSummaryIndex) -> Self {
        let mut by_slot: Vec<usize> = (0..index.modules().len()).collect();
        by_slot.sort_by_key(|&id| index.modules().get(id).map(|m| &m.path));
        let mut modules = vec![0; by_slot.len()];
        for (slot, &id) in by_slot.iter().enumerate() {
            if let Some(place) = modules.get_mut(id) {
                *place = slot;
            }
        }
        Printer { index, modules, by_slot }
    }

    fn all(&self, out: &mut dyn Write) -> io::Result<()> {
        for (slot, &id) in self.by_slot.iter().enumerate() {
            let Some(module) = self.index.modules().get(id) else { continue };
            write!(out, "^{slot} = module: (path: \"")?;
            match &*module.path {
                b"" => out.write_all(b"[Regular LTO]")?,
                path => escaped(path, out)?,
            }
            out.write_all(b"\", hash: (")?;
            list(out, module.hash.0, |word, out| write!(out, "{word}"))?;
            out.write_all(b"))\n")?;
        }
        for value in (0u32..).map(ValueId).take(self.index.guids().len()) {
            self.value(value, out)?;
        }
        let first = self.slot_behind_values() + self.index.type_id_compatible_vtables().len();
        for (at, id) in self.index.type_ids().iter().enumerate() {
            write!(out, "^{} = typeid: (name: \"", first + at)?;
            out.write_all(&id.name)?;
            out.write_all(b"\"")?;
            type_id(id, out)?;
            writeln!(out, ") ; guid = {}", id.guid.0)?;
        }
        for (at, id) in self.index.type_id_compatible_vtables().iter().enumerate() {
            let slot = self.slot_behind_values() + at;
            write!(out, "^{slot} = typeidCompatibleVTable: (name: \"")?;
            out.write_all(&id.name)?;
            out.write_all(b"\", summary: (")?;
            list(out, &id.vtables, |(offset, value), out| {
                write!(out, "(offset: {offset}, ^{})", self.slot(*value))
            })?;
            writeln!(out, ")) ; guid = {}", guid_of(&id.name).0)?;
        }
        let mut next = first + self.index.type_ids().len();
        if self.index.flags().0 != 0 {
            writeln!(out, "^{next} = flags: {}", self.index.flags().0)?;
            next += 1;
        }
        writeln!(out, "^{next} = blockcount: {}", self.index.block_count())
    }

    fn slot(&self, value: ValueId) -> usize {
        self.modules.len() + value.index()
    }

    fn slot_behind_values(&self) -> usize {
        self.modules.len() + self.index.guids().len()
    }

    fn value(&self, value: ValueId, out: &mut dyn Write) -> io::Result<()> {
        let (name, guid) = (self.index.name(value), self.index.guid(value).0);
        write!(out, "^{} = gv: (", self.slot(value))?;
        if name.is_empty() {
            write!(out, "guid: {guid}")?;
        } else {
            out.write_all(b"name: \"")?;
            out.write_all(name)?;
            out.write_all(b"\"")?;
        }
        let copies = self.index.copies(value);
        if !copies.is_empty() {
            out.write_all(b", summaries: (")?;
            list(out, copies.iter().filter_map(|&id| self.index.summary(id)), |s, out| {
                self.summary(s, out)
            })?;
            out.write_all(b")")?;
        }
        out.write_all(b")")?;
        if !name.is_empty() {
            write!(out, " ; guid = {guid}")?;
        }
        out.write_all(b"\n")
    }

    fn summary(&self, s: Summary<'_>, out: &mut dyn Write) -> io::Result<()> {
        let f = s.flags();
        let kind = match s.kind() {
            SummaryKind::Alias => "alias",
            SummaryKind::Function => "function",
            SummaryKind::Variable => "variable",
        };
        let module = self.modules.get(s.module().index()).copied().unwrap_or(0);
        write!(
            out,
            "{kind}: (module: ^{module}, flags: (linkage: {}, visibility: {}, \
             notEligibleToImport: {}, live: {}, dsoLocal: {}, canAutoHide: {}, importType: {}",
            linkage(f.linkage()),
            match f.visibility() {
                Visibility::Default => "default",
                Visibility::Hidden => "hidden",
                Visibility::Protected => "protected",
            },
            u8::from(f.not_eligible_to_import()),
            u8::from(f.live()),
            u8::from(f.dso_local()),
            u8::from(f.can_auto_hide()),
            if f.import_as_declaration() { "declaration" } else { "definition" },
        )?;
        if self.index.version() >= since::MEMPROF_BEHIND {
            write!(out, ", noRenameOnPromotion: {}", u8::from(f.no_rename_on_promotion()))?;
        }
        out.write_all(b")")?;
        match s.kind() {
            SummaryKind::Alias => match s.aliasee() {
                Some(aliasee) => write!(out, ", aliasee: ^{}", self.slot(aliasee.value()))?,
                None => out.write_all(b", aliasee: null")?,
            },
            SummaryKind::Function => self.function(s, out)?,
            SummaryKind::Variable => self.variable(s, out)?,
        }
        if !s.refs().is_empty() {
            out.write_all(b", refs: (")?;
            list(out, s.refs(), |r, out| {
                let access = match (r.is_read_only(), r.is_write_only()) {
                    (true, _) => "readonly ",
                    (_, true) => "writeonly ",
                    _ => "",
                };
                write!(out, "{access}^{}", self.slot(r.value()))
            })?;
            out.write_all(b")")?;
        }
        out.write_all(b")")
    }

    fn variable(&self, s: Summary<'_>, out: &mut dyn Write) -> io::Result<()> {
        let f = s.variable_flags();
        write!(
            out,
            ", varFlags: (readonly: {}, writeonly: {}, constant: {}",
            u8::from(f.maybe_read_only()),
            u8::from(f.maybe_write_only()),
            u8::from(f.constant()),
        )?;
        if s.vtable_funcs().is_empty() {
            return out.write_all(b")");
        }
        write!(out, ", vcall_visibility: {}), vTableFuncs: (", f.vcall_visibility())?;
        list(out, s.vtable_funcs(), |f, out| {
            write!(out, "(virtFunc: ^{}, offset: {})", self.slot(f.function), f.offset)
        })?;
        out.write_all(b")")
    }

    fn function(&self, s: Summary<'_>, out: &mut dyn Write) -> io::Result<()> {
        write!(out, ", insts: {}", s.inst_count())?;
        function_flags(s.function_flags(), out)?;
        if !s.callees().is_empty() {
            out.write_all(b", calls: (")?;
            let frequencies = s.rel_block_freqs();
            list(out, s.calls().enumerate(), |(at, (callee, call)), out| {
                write!(out, "(callee: ^{}", self.slot(callee))?;
                match call.hotness() {
                    Hotness::Unknown => {
                        if let Some(frequency) = frequencies.get(at).filter(|&&f| f != 0) {
                            write!(out, ", relbf: {frequency}")?;
                        }
                    }
                    Hotness::Cold => out.write_all(b", hotness: cold")?,
                    Hotness::None => out.write_all(b", hotness: none")?,
                    Hotness::Hot => out.write_all(b", hotness: hot")?,
                    Hotness::Critical => out.write_all(b", hotness: critical")?,
                }
                out.write_all(if call.has_tail_call() { b", tail: 1)" } else { b")" })
            })?;
            out.write_all(b")")?;
        }
        self.type_uses(s, out)?;
        self.profile(s, out)?;
        if !s.param_accesses().is_empty() {
            out.write_all(b", params: (")?;
            list(out, s.param_accesses(), |access, out| {
                write!(out, "(param: {}, offset: ", access.param_no)?;
                range(access.range, out)?;
                if !access.calls.is_empty() {
                    out.write_all(b", calls: (")?;
                    list(out, &access.calls, |call, out| {
                        let callee = self.slot(call.callee);
                        write!(out, "(callee: ^{callee}, param: {}, offset: ", call.param_no)?;
                        range(call.offsets, out)?;
                        out.write_all(b")")
                    })?;
                    out.write_all(b")")?;
                }
                out.write_all(b")")
            })?;
            out.write_all(b")")?;
        }
        Ok(())
    }

    /// MemProf allocations and call sites.
    fn profile(&self, s: Summary<'_>, out: &mut dyn Write) -> io::Result<()> {
        if !s.allocs().is_empty() {
            out.write_all(b", allocs: (")?;
            list(out, s.allocs(), |alloc, out| {
                out.write_all(b"(versions: (")?;
                list(out, &alloc.versions, |v, out| write!(out, "{}", alloc_type(*v)))?;
                out.write_all(b"), memProf: (")?;
                list(out, &alloc.mibs, |mib, out| {
                    write!(out, "(type: {}, stackIds: (", alloc_type(mib.alloc_type))?;
                    self.stack_ids(&mib.stack_ids, out)?;
                    out.write_all(b"))")
                })?;
                out.write_all(b"))")
            })?;
            out.write_all(b")")?;
        }
        if !s.callsites().is_empty() {
            out.write_all(b", callsites: (")?;
            list(out, s.callsites(), |site, out| {
                match site.callee {
                    Some(callee) => write!(out, "(callee: ^{}", self.slot(callee))?,
                    None => out.write_all(b"(callee: null")?,
                }
                out.write_all(b", clones: (")?;
                list(out, &site.clones, |clone, out| write!(out, "{clone}"))?;
                out.write_all(b"), stackIds: (")?;
                self.stack_ids(&site.stack_ids, out)?;
                out.write_all(b"))")
            })?;
            out.write_all(b")")?;
        }
        Ok(())
    }

    fn stack_ids(&self, places: &[u32], out: &mut dyn Write) -> io::Result<()> {
        let all = self.index.stack_ids();
        list(out, places, |&at, out| write!(out, "{}", all.get(at as usize).unwrap_or(&0)))
    }

    /// Type tests and virtual calls.
    fn type_uses(&self, s: Summary<'_>, out: &mut dyn Write) -> io::Result<()> {
        let plain = [
            ("typeTestAssumeVCalls", s.type_test_assume_vcalls()),
            ("typeCheckedLoadVCalls", s.type_checked_load_vcalls()),
        ];
        let constant = [
            ("typeTestAssumeConstVCalls", s.type_test_assume_const_vcalls()),
            ("typeCheckedLoadConstVCalls", s.type_checked_load_const_vcalls()),
        ];
        if s.type_tests().is_empty()
            && plain.iter().all(|(_, calls)| calls.is_empty())
            && constant.iter().all(|(_, calls)| calls.is_empty())
        {
            return Ok(());
        }
        out.write_all(b", typeIdInfo: (")?;
        let mut separator = "";
        if !s.type_tests().is_empty() {
            out.write_all(b"typeTests: (")?;
            list(out, s.type_tests(), |&guid, out| {
                let slots = self.type_id_slots(guid);
                if slots.is_empty() {
                    return write!(out, "{}", guid.0);
                }
                list(out, slots, |slot, out| write!(out, "^{slot}"))
            })?;
            out.write_all(b")")?;
            separator = ", ";
        }
        for (tag, calls) in plain {
            if !calls.is_empty() {
                write!(out, "{separator}{tag}: (")?;
                list(out, calls, |call, out| self.virtual_function(*call, out))?;
                out.write_all(b")")?;
                separator = ", ";
            }
        }
        for (tag, calls) in constant {
            if !calls.is_empty() {
                write!(out, "{separator}{tag}: (")?;
                list(out, calls, |call, out| {
                    out.write_all(b"(")?;
                    self.virtual_function(call.function, out)?;
                    if !call.args.is_empty() {
                        out.write_all(b", ")?;
                        arguments(&call.args, out)?;
                    }
                    out.write_all(b")")
                })?;
                out.write_all(b")")?;
                separator = ", ";
            }
        }
        out.write_all(b")")
    }

    /// The slots of the resolved type identifiers with this GUID.
    fn type_id_slots(&self, guid: Guid) -> std::ops::Range<usize> {
        let ids = self.index.type_ids();
        let first = self.slot_behind_values() + self.index.type_id_compatible_vtables().len();
        first + ids.partition_point(|id| id.guid < guid)
            ..first + ids.partition_point(|id| id.guid <= guid)
    }

    fn virtual_function(&self, id: VFuncId, out: &mut dyn Write) -> io::Result<()> {
        let slots = self.type_id_slots(id.guid);
        if slots.is_empty() {
            return write!(out, "vFuncId: (guid: {}, offset: {})", id.guid.0, id.offset);
        }
        list(out, slots, |slot, out| write!(out, "vFuncId: (^{slot}, offset: {})", id.offset))
    }
}

fn function_flags(f: FunctionFlags, out: &mut dyn Write) -> io::Result<()> {
    if u64::from(f.0) & FunctionFlags::KNOWN == 0 {
        return Ok(());
    }
    out.write_all(b", funcFlags: (")?;
    let flags = [
        ("readNone", f.read_none()),
        ("readOnly", f.read_only()),
        ("noRecurse", f.no_recurse()),
        ("returnDoesNotAlias", f.return_does_not_alias()),
        ("noInline", f.no_inline()),
        ("alwaysInline", f.always_inline()),
        ("noUnwind", f.no_unwind()),
        ("mayThrow", f.may_throw()),
        ("hasUnknownCall", f.has_unknown_call()),
        ("mustBeUnreachable", f.must_be_unreachable()),
    ];
    list(out, flags, |(name, on), out| write!(out, "{name}: {}", u8::from(on)))?;
    out.write_all(b")")
}

fn arguments(args: &[u64], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"args: (")?;
    list(out, args, |arg, out| write!(out, "{arg}"))?;
    out.write_all(b")")
}

fn type_id(id: &TypeIdSummary, out: &mut dyn Write) -> io::Result<()> {
    let test = &id.type_test;
    let kinds = ["unsat", "byteArray", "inline", "single", "allOnes", "unknown"];
    let name = |names: &[&'static str], kind: u64| {
        usize::try_from(kind).ok().and_then(|kind| names.get(kind).copied()).unwrap_or("unknown")
    };
    write!(
        out,
        ", summary: (typeTestRes: (kind: {}, sizeM1BitWidth: {}",
        name(&kinds, test.kind),
        test.size_m1_bit_width
    )?;
    for (field, value) in [
        ("alignLog2", test.align_log2),
        ("sizeM1", test.size_m1),
        ("bitMask", test.bit_mask),
        ("inlineBits", test.inline_bits),
    ] {
        if value != 0 {
            write!(out, ", {field}: {value}")?;
        }
    }
    out.write_all(b")")?;
    if !id.devirtualization.is_empty() {
        out.write_all(b", wpdResolutions: (")?;
        list(out, &id.devirtualization, |(offset, way), out| {
            let kind = name(&["indir", "singleImpl", "branchFunnel"], way.kind);
            write!(out, "(offset: {offset}, wpdRes: (kind: {kind}")?;
            if way.kind == 1 {
                out.write_all(b", singleImplName: \"")?;
                out.write_all(&way.single_impl_name)?;
                out.write_all(b"\"")?;
            }
            if !way.by_arg.is_empty() {
                out.write_all(b", resByArg: (")?;
                list(out, &way.by_arg, |(args, by_arg), out| {
                    arguments(args, out)?;
                    let kinds = ["indir", "uniformRetVal", "uniqueRetVal", "virtualConstProp"];
                    write!(out, ", byArg: (kind: {}", name(&kinds, by_arg.kind))?;
                    if matches!(by_arg.kind, 1 | 2) {
                        write!(out, ", info: {}", by_arg.info)?;
                    }
                    if by_arg.byte != 0 || by_arg.bit != 0 {
                        write!(out, ", byte: {}, bit: {}", by_arg.byte, by_arg.bit)?;
                    }
                    out.write_all(b")")
                })?;
                out.write_all(b")")?;
            }
            out.write_all(b"))")
        })?;
        out.write_all(b")")?;
    }
    out.write_all(b")")
}

/// The least and the greatest of a range, as LLVM's `ConstantRange` has them: where both ends are
/// alike, the range is full at -1 and empty elsewhere.
fn range(r: OffsetRange, out: &mut dyn Write) -> io::Result<()> {
    let full = r.lower == r.upper && r.lower == -1;
    let least = if full || (r.lower > r.upper && r.upper != i64::MIN) { i64::MIN } else { r.lower };
    let greatest = if full || r.lower > r.upper { i64::MAX } else { r.upper.wrapping_sub(1) };
    write!(out, "[{least}, {greatest}]")
}

fn linkage(linkage: Linkage) -> &'static str {
    match linkage {
        Linkage::External => "external",
        Linkage::AvailableExternally => "available_externally",
        Linkage::LinkOnceAny => "linkonce",
        Linkage::LinkOnceOdr => "linkonce_odr",
        Linkage::WeakAny => "weak",
        Linkage::WeakOdr => "weak_odr",
        Linkage::Appending => "appending",
        Linkage::Internal => "internal",
        Linkage::Private => "private",
        Linkage::ExternalWeak => "extern_weak",
        Linkage::Common => "common",
    }
}

/// `AllocationType`; one that LLVM does not have is given as none.
fn alloc_type(kind: u8) -> &'static str {
    match kind {
        1 => "notcold",
        2 => "cold",
        4 => "hot",
        _ => "none",
    }
}

/// Bytes within quotes: what is not printable, quotes and backslashes as two hexadecimal digits.
fn escaped(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for &byte in bytes {
        if (0x20..0x7f).contains(&byte) && byte != b'\\' && byte != b'"' {
            out.write_all(&[byte])?;
        } else {
            write!(out, "\\{byte:02X}")?;
        }
    }
    Ok(())
}
