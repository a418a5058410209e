//! The rarer records of a summary block: parameter accesses, type identifiers, CFI functions and
//! MemProf.
//!
//! In: the fields of one record, from `read_block`. Out: what it says, in the types of the index.

use super::codes::{fs, since};
use super::guid::{guid_of, guid_of_value};
use super::read_block::{BlockParser, State};
use super::types::*;
use crate::bitstream::Fields;
use crate::error::Result;
use crate::ir::Guid;

impl BlockParser<'_, '_> {
    /// `[n x (paramno, range, numcalls, numcalls x (paramno, callee, range))]`, a range being two
    /// sign-rotated numbers.
    pub(super) fn param_accesses(&mut self, f: &mut Fields<'_>) -> Result<Vec<ParamAccess>> {
        let mut all = Vec::new();
        while !f.is_empty() {
            let param_no = f.next("parameter")?;
            let range = range(f)?;
            let count = f.next("number of calls")?;
            if count > f.len() as u64 / 4 {
                return Err(f.error(format_args!("{count} calls run past its end")));
            }
            let mut calls = Vec::with_capacity(count as usize);
            for _ in 0..count {
                let param_no = f.next("parameter of the callee")?;
                let id = f.next("callee")?;
                let callee = ValueId(self.value(id, f)?);
                calls.push(ParamAccessCall { param_no, callee, offsets: self::range(f)? });
            }
            all.push(ParamAccess { param_no, range, calls: calls.into() });
        }
        Ok(all)
    }

    /// `[n x (guid, strtab offset, size)]`, before version 14 `[n x (strtab offset, size)]`.
    pub(super) fn cfi_functions(
        &self,
        f: &mut Fields<'_>,
        version: u64,
    ) -> Result<Vec<CfiFunction>> {
        let mut functions = Vec::new();
        while !f.is_empty() {
            let stored = match version >= since::CFI_GUIDS {
                true => Some(Guid(f.next("GUID")?)),
                false => None,
            };
            let name = self.name(f)?;
            let guid = stored.unwrap_or_else(|| guid_of_value(&name, None));
            functions.push(CfiFunction { name, guid });
        }
        Ok(functions)
    }

    fn name(&self, f: &mut Fields<'_>) -> Result<Box<[u8]>> {
        let (offset, size) = (f.next("strtab offset")?, f.next("strtab size")?);
        self.module.string(offset, size).map(Into::into).map_err(|e| f.error(e.message()))
    }

    /// `[typeid, kind, bitwidth, align, size, bitmask, inlinebits, n x (offset, kind, name,
    /// numrba, numrba x (numarg, numarg x arg, kind, info, byte, bit))]`.
    pub(super) fn type_id(&mut self, f: &mut Fields<'_>) -> Result<()> {
        let name = self.name(f)?;
        let type_test = TypeTestResolution {
            kind: f.next("kind")?,
            size_m1_bit_width: f.next("bit width")?,
            align_log2: f.next("alignment")?,
            size_m1: f.next("size")?,
            bit_mask: f.next("bit mask")?,
            inline_bits: f.next("inline bits")?,
        };
        let mut devirtualization = Vec::new();
        while !f.is_empty() {
            let offset = f.next("offset")?;
            let kind = f.next("kind of devirtualization")?;
            let single_impl_name = self.name(f)?;
            let mut by_arg = Vec::new();
            for _ in 0..f.next("number of resolutions by argument")? {
                let count = f.next("number of arguments")?;
                let args = f.take(count, "arguments")?.into();
                let resolution = DevirtByArg {
                    kind: f.next("kind by argument")?,
                    info: f.next("info")?,
                    byte: f.next("byte")?,
                    bit: f.next("bit")?,
                };
                by_arg.push((args, resolution));
            }
            by_arg.sort_by(|(a, _): &(Box<[u64]>, _), (b, _)| a.cmp(b));
            devirtualization
                .push((offset, WholeProgramDevirtResolution { kind, single_impl_name, by_arg }));
        }
        devirtualization.sort_by_key(|(offset, _)| *offset);
        let summary = TypeIdSummary { guid: guid_of(&name), name, type_test, devirtualization };
        let key = (summary.guid, &*summary.name);
        match self.level.type_ids.binary_search_by(|id| (id.guid, &*id.name).cmp(&key)) {
            Ok(_) => Err(f.error("a type identifier that is there twice")),
            Err(at) => {
                self.level.type_ids.insert(at, summary);
                Ok(())
            }
        }
    }

    /// `[typeid, n x (offset, valueid)]`.
    pub(super) fn type_id_metadata(&mut self, f: &mut Fields<'_>) -> Result<()> {
        let name = self.name(f)?;
        let mut vtables = Vec::with_capacity(f.len() / 2);
        while !f.is_empty() {
            let offset = f.next("offset")?;
            let id = f.next("virtual table")?;
            vtables.push((offset, ValueId(self.value(id, f)?)));
        }
        self.level.type_id_vtables.push(TypeIdCompatibleVtables { name, vtables });
        Ok(())
    }

    pub(super) fn stack_ids(&mut self, f: &mut Fields<'_>, state: &State<'_>) -> Result<()> {
        if state.version >= since::STACK_ID_WORDS {
            self.level.stack_ids.extend(paired(f)?);
        } else {
            self.level.stack_ids.extend_from_slice(f.rest());
        }
        Ok(())
    }

    fn stack_id(&self, place: u64, f: &Fields<'_>, state: &State<'_>) -> Result<u32> {
        let at = place.saturating_add(state.stack_base as u64);
        if at >= self.level.stack_ids.len() as u64 {
            return Err(f.error(format_args!("stack id {place} is not in the table")));
        }
        Ok(at as u32)
    }

    /// FS_PERMODULE_CALLSITE_INFO `[valueid, n x stackidindex]`; FS_COMBINED_CALLSITE_INFO
    /// `[valueid, numstackindices, numver, numstackindices x stackidindex, numver x version]`,
    /// where value 0 is a callee that a distributed index does not hold.
    pub(super) fn callsite(
        &mut self,
        f: &mut Fields<'_>,
        state: &State<'_>,
        code: u32,
    ) -> Result<CallsiteInfo> {
        let id = f.next("callee")?;
        if code == fs::PERMODULE_CALLSITE_INFO {
            let callee = Some(ValueId(self.value(id, f)?));
            let rest = f.rest();
            let stack_ids = rest.iter().map(|&id| self.stack_id(id, f, state));
            return Ok(CallsiteInfo {
                callee,
                clones: [0].into(),
                stack_ids: stack_ids.collect::<Result<_>>()?,
            });
        }
        let callee = self.slot(id).map(ValueId);
        let (ids, versions) = (f.next("number of stack ids")?, f.next("number of versions")?);
        let ids = f.take(ids, "stack ids")?;
        let stack_ids = ids.iter().map(|&id| self.stack_id(id, f, state)).collect::<Result<_>>()?;
        let clones = f.take(versions, "versions")?.iter().map(|&v| v as u32).collect();
        Ok(CallsiteInfo { callee, clones, stack_ids })
    }

    /// FS_PERMODULE_ALLOC_INFO `[(nummib,) nummib x (alloc type, context), nummib x (numcontext,
    /// numcontext x total size)?]`, FS_COMBINED_ALLOC_INFO `[nummib, numver, nummib x (alloc
    /// type, context), numver x version]`, and the same without contexts.
    pub(super) fn alloc(
        &mut self,
        f: &mut Fields<'_>,
        state: &mut State<'_>,
        code: u32,
    ) -> Result<AllocInfo> {
        let per_module = code == fs::PERMODULE_ALLOC_INFO;
        let counted = !per_module || state.version >= since::ALLOC_MIB_COUNT;
        let count = if counted { f.next("number of contexts")? } else { u64::MAX };
        let versions = if per_module { 0 } else { f.next("number of versions")? };
        let mut mibs = Vec::new();
        while (mibs.len() as u64) < count && (counted || !f.is_empty()) {
            let alloc_type = f.next("allocation type")? as u8;
            let stack_ids = match code {
                fs::COMBINED_ALLOC_INFO_NO_CONTEXT => Box::default(),
                _ => self.context(f, state)?,
            };
            mibs.push(MibInfo { alloc_type, stack_ids });
        }
        let mut context_sizes = Vec::new();
        if per_module && !f.is_empty() {
            let mut ids = state.pending.context_ids.iter();
            for _ in 0..mibs.len() {
                let count = f.next("number of sizes")?;
                let mut sizes = Vec::new();
                for &total_size in f.take(count, "sizes")? {
                    let &full_stack_id =
                        ids.next().ok_or_else(|| f.error("a size without a context id"))?;
                    // A context without its id has no size either, and is no entry.
                    if full_stack_id != 0 {
                        sizes.push(ContextTotalSize { full_stack_id, total_size });
                    }
                }
                context_sizes.push(sizes.into());
            }
            state.pending.context_ids.clear();
        }
        let versions = if per_module {
            [0].into()
        } else {
            f.take(versions, "versions")?.iter().map(|&v| v as u8).collect()
        };
        Ok(AllocInfo { versions, mibs: mibs.into(), context_sizes: context_sizes.into() })
    }

    /// The stack ids of a context: `numstackids, numstackids x stackidindex`, or since LLVM 20 a
    /// place in the radix tree array. There stands the number of frames, then frame by frame
    /// either an index or, negative, how far behind the next one is.
    fn context(&self, f: &mut Fields<'_>, state: &State<'_>) -> Result<Box<[u32]>> {
        if state.radix.is_empty() {
            let count = f.next("number of stack ids")?;
            let ids = f.take(count, "stack ids")?;
            return ids.iter().map(|&id| self.stack_id(id, f, state)).collect();
        }
        let entry = |at: usize| {
            state
                .radix
                .get(at)
                .copied()
                .ok_or_else(|| f.error("a context outside of the radix tree"))
        };
        let mut at = f.clone().next("context")? as usize;
        let count = entry(at)? as usize;
        if count > state.radix.len() {
            return Err(f.error(format_args!("a context of {count} frames")));
        }
        at += 1;
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let mut element = entry(at)?;
            if (element as i32) < 0 {
                at += element.wrapping_neg() as usize;
                element = entry(at)?;
            }
            at += 1;
            ids.push(self.stack_id(u64::from(element), f, state)?);
        }
        f.next("context")?;
        Ok(ids.into())
    }
}

pub(super) fn words(high: u64, low: u64, f: &Fields<'_>) -> Result<u64> {
    if (high | low) >> 32 != 0 {
        return Err(f.error("a word of more than 32 bits"));
    }
    Ok(high << 32 | low)
}

/// Numbers of 64 bits as pairs of words.
pub(super) fn paired(f: &mut Fields<'_>) -> Result<Vec<u64>> {
    let mut all = Vec::with_capacity(f.len() / 2);
    while !f.is_empty() {
        let (high, low) = (f.next("high word")?, f.next("low word")?);
        all.push(words(high, low, f)?);
    }
    Ok(all)
}

pub(super) fn vfunc_ids(f: &mut Fields<'_>, out: &mut Vec<VFuncId>) -> Result<()> {
    while !f.is_empty() {
        out.push(VFuncId { guid: Guid(f.next("type")?), offset: f.next("offset")? });
    }
    Ok(())
}

pub(super) fn const_vcall(f: &mut Fields<'_>) -> Result<ConstVCall> {
    let function = VFuncId { guid: Guid(f.next("type")?), offset: f.next("offset")? };
    Ok(ConstVCall { function, args: f.rest().into() })
}

fn range(f: &mut Fields<'_>) -> Result<OffsetRange> {
    Ok(OffsetRange {
        lower: sign_rotated(f.next("lower bound")?),
        upper: sign_rotated(f.next("upper bound")?),
    })
}

/// The sign stands in bit 0; 1, a negative zero, is the least number.
fn sign_rotated(raw: u64) -> i64 {
    match raw {
        1 => i64::MIN,
        _ if raw & 1 == 0 => (raw >> 1) as i64,
        _ => ((raw >> 1) as i64).wrapping_neg(),
    }
}

pub(super) fn insert_sorted(list: &mut Vec<CfiFunction>, functions: Vec<CfiFunction>) {
    list.extend(functions);
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_rotated_numbers() {
        assert_eq!(sign_rotated(0), 0);
        assert_eq!(sign_rotated(2), 1);
        assert_eq!(sign_rotated(3), -1);
        assert_eq!(sign_rotated(1), i64::MIN);
    }
}
