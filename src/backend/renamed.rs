//! The key of a linked module, whatever hashes the modules have that it imports from.
//!
//! In: a [`Job`], as long as its bitcode is there, and its module with everything linked in. Out: a [`Key`] in which the names of promoted
//! locals of other modules (`f.llvm.123`) say only which of the imported modules they are from; of
//! which of them the object has names; and the key with the hashes of these alone.
//!
//! LLVM names a promoted local after the hash of its module, which any edit of that changes, and with
//! it every module that imports a mention of one. Two modules with the same key are one but for these
//! names, which change one to one. So the object of either, with the names changed likewise, is
//! an object of the other. An imported body that is not inlined leaves nothing, and of most modules an object
//! has no name in it: if the hashes of the others are the same in both, so is the object. Where the
//! names might not change one to one, there is no key.

use memchr::memmem;

use super::Job;
use crate::bitcode::{BitcodeFile, Extent, Module};
use crate::cache::{Key, KeyBuilder};
use crate::error::Result;
use crate::surgery::{self, Edits};

/// What LLVM puts between the name of a local and the hash.
const BEFORE_HASH: &[u8] = b".llvm.";
/// What comes for the hash, with the number of the part behind it; no name has it otherwise.
const MARK: &str = ".llvm.@";

/// What the names of promoted locals say in a job, kept beyond its bitcode.
pub struct PromotedNames {
    /// By the number of the part, what its promoted names end in; empty where it has none.
    suffixes: Vec<Vec<u8>>,
    /// Every hash stands for one part alone, and some part has names with it.
    told_apart: bool,
    /// [`Job::types`].
    types: Vec<u8>,
}

impl PromotedNames {
    /// Those of `job`.
    pub fn of(job: &Job) -> Self {
        let mut names = PromotedNames {
            suffixes: job.parts.iter().map(|part| part.suffix.clone()).collect(),
            told_apart: false,
            types: job.types.clone().unwrap_or_default(),
        };
        // In the index by which functions are cloned, hashes of names are not seen.
        names.told_apart = job.memprof.is_none() && names.hashes_are_told_apart(job);
        names
    }

    /// The key of `linked`, the job's module as the optimizer gets it. `common` is
    /// [`common_key`](super::common_key). None where no name of another module's promoted local is in it,
    /// or where they cannot be told from others.
    pub fn renamed_key(&self, common: &Key, linked: &[u8]) -> Option<Key> {
        let mentioned = self.told_apart
            && memmem::find(linked, MARK.as_bytes()).is_none()
            && self.suffixes().any(|(_, suffix)| memmem::find(linked, suffix).is_some());
        if !mentioned {
            return None;
        }
        let renamed = self.renamed(linked).ok()?;
        let mut key = KeyBuilder::new("renamed 1");
        key.key("common", common).bytes("bitcode", &renamed).bytes("types", &self.types);
        Some(key.finish())
    }

    /// Of which parts an object has the names of promoted locals in it: their numbers.
    pub fn parts_named_in(&self, object: &[u8]) -> String {
        let named = self.suffixes().filter(|(_, suffix)| memmem::find(object, suffix).is_some());
        named.map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// The key of an object that has names of these parts in it, as
    /// [`PromotedNames::parts_named_in`] says it. `renamed` is [`PromotedNames::renamed_key`]. None for what that does not say.
    pub fn named_key(&self, renamed: &Key, parts: &str) -> Option<Key> {
        let mut key = KeyBuilder::new("named 1");
        key.key("renamed", renamed);
        for number in parts.split_ascii_whitespace() {
            let number: usize = number.parse().ok()?;
            let suffix = self.suffixes.get(number)?;
            key.number("part", number as u64).bytes("suffix", suffix);
        }
        Some(key.finish())
    }

    /// What promoted names of each part end in.
    fn suffixes(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let all = self.suffixes.iter().map(Vec::as_slice).enumerate();
        all.filter(|(_, suffix)| !suffix.is_empty())
    }

    fn hashes_are_told_apart(&self, job: &Job) -> bool {
        if self.suffixes().next().is_none() {
            return false;
        }
        let mut some = false;
        let parts = job.parts.iter().enumerate();
        let slices = parts.map(|(number, part)| (Some(number), part.bitcode.as_slice()));
        let others = [(None, job.destination.as_slice()), (None, self.types.as_slice())];
        for (own, bytes) in slices.chain(others) {
            for at in memmem::find_iter(bytes, BEFORE_HASH) {
                let rest = bytes.get(at..).unwrap_or_default();
                if rest.starts_with(MARK.as_bytes()) {
                    return false;
                }
                // Names stand one behind the other: what follows a hash may be another digit.
                for (number, _) in self.suffixes().filter(|(_, suffix)| rest.starts_with(suffix)) {
                    if Some(number) != own {
                        return false;
                    }
                    some = true;
                }
            }
        }
        some
    }

    /// A module, with the names changed.
    fn renamed(&self, bitcode: &[u8]) -> Result<Vec<u8>> {
        let mut renamed = Vec::new();
        for location in &BitcodeFile::read(bitcode)?.modules {
            let module = Module::read(location, Extent::All)?;
            let mut edits = Edits { fresh_names: true, ..Edits::default() };
            for (id, global) in module.globals.iter().enumerate() {
                let plain = |(number, suffix)| Some((number, global.name.strip_suffix(suffix)?));
                if let Some((number, name)) = self.suffixes().find_map(plain) {
                    let mark = format!("{MARK}{number}");
                    edits.global(id).name = Some([name, mark.as_bytes()].concat());
                }
            }
            renamed.extend(surgery::rewrite(&module, &edits)?);
        }
        Ok(renamed)
    }
}

/// What the names of a module's promoted locals end in, given the whole of one.
pub(super) fn suffix(promoted: &[u8]) -> Vec<u8> {
    let at = memmem::rfind(promoted, BEFORE_HASH);
    at.and_then(|at| promoted.get(at..)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Part;

    fn part(suffix: &str, bitcode: &str) -> Part {
        Part { suffix: suffix.into(), bitcode: bitcode.into(), ..Part::default() }
    }

    fn job(destination: &str, parts: Vec<Part>) -> Job {
        Job { destination: destination.into(), parts, ..Job::default() }
    }

    #[test]
    fn a_hash_must_stand_for_one_module() {
        let told = |job: Job| {
            let types = Some(b"types .llvm.9".to_vec());
            PromotedNames::of(&Job { types, ..job }).told_apart
        };
        let a = || part(".llvm.1", "f.llvm.1");
        assert!(told(job("own", vec![a()])));
        assert!(told(job("own .llvm.7", vec![a(), part(".llvm.2", "none")])));
        // Nothing to change.
        assert!(!told(job("own", vec![part(".llvm.1", "f")])));
        assert!(!told(job("own", vec![])));
        // Two modules with one hash, whole or the beginning of another.
        assert!(!told(job("own", vec![a(), part(".llvm.1", "g.llvm.1")])));
        assert!(!told(job("own", vec![a(), part(".llvm.12", "g.llvm.12")])));
        // In the module itself, among types, or what it is changed to.
        assert!(!told(job("h.llvm.1", vec![a()])));
        assert!(!told(job("own", vec![part(".llvm.9", "f.llvm.9")])));
        assert!(!told(job("h.llvm.@0", vec![a()])));
        assert!(!told(job("own", vec![a(), part(".llvm.2", ".llvm.@1")])));
    }

    #[test]
    fn an_object_with_such_a_name_is_known() {
        let names = |parts| PromotedNames::of(&job("", parts));
        let first = names(vec![part("", ""), part(".llvm.12", ""), part(".llvm.4", "")]);
        assert_eq!(first.parts_named_in(b"\0f.llvm.12\0g.llvm.4"), "1 2");
        // In doubt yes.
        assert_eq!(first.parts_named_in(b"\0f.llvm.123\0"), "1");
        assert_eq!(first.parts_named_in(b"\0f.llvm.1\0"), "");
        // Only the hashes of these count.
        let renamed = KeyBuilder::new("test").finish();
        let other = names(vec![part("", ""), part(".llvm.12", ""), part(".llvm.5", "")]);
        let keys = |parts| [&first, &other].map(|names| names.named_key(&renamed, parts).unwrap());
        assert!(matches!(keys(""), [a, b] if a == b));
        assert!(matches!(keys("1"), [a, b] if a == b));
        assert!(matches!(keys("2"), [a, b] if a != b));
        assert!(matches!(keys("1 2"), [a, b] if a != b));
        assert_ne!(keys("1"), keys(""));
        // What no object has said.
        assert_eq!(first.named_key(&renamed, "3"), None);
        assert_eq!(first.named_key(&renamed, "x"), None);
    }

    #[test]
    fn a_suffix_is_what_names_end_in() {
        assert_eq!(suffix(b"f.llvm.1.llvm.23"), b".llvm.23");
        assert_eq!(suffix(b"f"), b"");
    }
}
