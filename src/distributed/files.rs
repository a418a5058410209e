//! The files of a distributed build.
//!
//! In: [`Shards`], the paths of the modules, where things go. Out: files, each complete or not
//! there at all. Source of the names: `getThinLTOOutputFile`, `WriteIndexesThinBackend` in
//! LTO.cpp and `sys::path::replace_path_prefix` in Path.cpp.

use rayon::prelude::*;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::output::write_atomically;
use super::shards::{Shards, empty_index};
use crate::error::{Error, Result};
use crate::summary::{Format, ModuleId};
use crate::thinlink::Reuse;

/// `thinlto-prefix-replace=old;new[;obj]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixReplace {
    /// What paths begin with.
    pub old: Vec<u8>,
    /// What index and imports files begin with instead.
    pub new: Vec<u8>,
    /// What objects begin with instead; empty for `new`.
    pub object: Vec<u8>,
}

impl PrefixReplace {
    /// Parses the option's value.
    ///
    /// # Errors
    /// Misuse, where it has no or too many semicolons.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let parts: Vec<&[u8]> = value.split(|&c| c == b';').collect();
        let (old, new, object) = match parts.as_slice() {
            [old, new] => (old, new, &b""[..]),
            [old, new, object] => (old, new, *object),
            _ => {
                return Err(Error::misuse("thinlto-prefix-replace expects 'old;new[;obj]' format"));
            }
        };
        Ok(PrefixReplace { old: old.to_vec(), new: new.to_vec(), object: object.to_vec() })
    }

    /// The path of a module's index and imports files, without their suffix.
    pub fn index_path(&self, path: &[u8]) -> Vec<u8> {
        replace(path, &self.old, &self.new)
    }

    /// The path of a module's object.
    pub fn object_path(&self, path: &[u8]) -> Vec<u8> {
        replace(path, &self.old, if self.object.is_empty() { &self.new } else { &self.object })
    }
}

/// `thinlto-object-suffix-replace=old;new`: the thin link reads files without function bodies, the
/// backends the full ones, whose names differ in their suffix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuffixReplace {
    /// What the names of the files in the thin link end with.
    pub old: Vec<u8>,
    /// What those of the backends end with instead.
    pub new: Vec<u8>,
}

impl SuffixReplace {
    /// Parses the option's value: all behind the first semicolon is the new suffix, as in LLVM.
    ///
    /// # Errors
    /// Misuse, where it has no semicolon.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let at = memchr::memchr(b';', value).ok_or_else(|| {
            Error::misuse("thinlto-object-suffix-replace expects 'old;new' format")
        })?;
        Ok(SuffixReplace { old: value[..at].to_vec(), new: value[at + 1..].to_vec() })
    }

    /// The name by which the backends know a file of the thin link.
    pub fn apply<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        match path.strip_suffix(&*self.old) {
            Some(rest) if !(self.old.is_empty() && self.new.is_empty()) => {
                Cow::Owned([rest, &self.new].concat())
            }
            _ => Cow::Borrowed(path),
        }
    }
}

/// What stands for the index of a module that has no ThinLTO summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unindexed {
    /// An index of nothing, as llvm-lto2 writes it.
    #[default]
    Index,
    /// A file of no bytes, as linkers write it: clang then compiles the module on its own.
    NoBytes,
}

/// A path that does not begin with the old prefix stays.
fn replace(path: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    match path.strip_prefix(old) {
        Some(rest) => [new, rest].concat(),
        None => path.to_vec(),
    }
}

/// LLVM's name for the member of an archive that starts at `offset` bytes: with the name of its
/// source file, of which only what stands behind the last slash counts (`claim_file_hook` of
/// gold-plugin.cpp, `sys::path::filename`).
pub fn member_name(archive: &str, offset: u64, source: &[u8]) -> String {
    let source: &[u8] = match source {
        b"/" => b"/",
        [.., b'/'] => b".",
        _ => source.rsplit(|&c| c == b'/').next().unwrap_or(&[]),
    };
    format!("{archive}.llvm.{offset}.{}", String::from_utf8_lossy(source))
}

/// Where the files of a distributed build go.
#[derive(Clone, Debug, Default)]
pub struct IndexFiles {
    /// How paths change.
    pub prefix: PrefixReplace,
    /// Write imports files too.
    pub imports: bool,
    /// Whose format to write.
    pub format: Format,
    /// What a module without a summary gets.
    pub unindexed: Unindexed,
}

/// So many modules at most are one piece of work for a thread.
const MODULES_AT_ONCE: usize = 2;

impl IndexFiles {
    /// Writes the files of all modules, in parallel. `modules` are the path of each and its
    /// number in the index; `None` gets an empty index.
    ///
    /// # Errors
    /// Io, naming the module whose files could not be written; then some files may be there, each
    /// complete.
    pub fn write(&self, shards: &Shards<'_>, modules: &[(&[u8], Option<ModuleId>)]) -> Result<()> {
        self.write_watched(shards, modules, &|_, _| {})
    }

    /// As [`IndexFiles::write`]; `was_written` is told when the files of each module, by its place in
    /// `modules`, were begun, by the thread that wrote them.
    ///
    /// # Errors
    /// As [`IndexFiles::write`].
    pub fn write_watched(
        &self,
        shards: &Shards<'_>,
        modules: &[(&[u8], Option<ModuleId>)],
        was_written: &(dyn Fn(usize, Instant) + Sync),
    ) -> Result<()> {
        let writers = Reuse::new(|| shards.writer());
        modules
            .par_iter()
            .enumerate()
            // A few modules have most of the imports: what is left of a long piece would be one
            // thread's work at the end.
            .with_max_len(MODULES_AT_ONCE)
            .map_init(
                || writers.lend(),
                |writer, (number, &(path, module))| {
                    let begin = Instant::now();
                    let (index, imports) = match module {
                        Some(id) if self.imports => writer.get().index_and_imports(id, self.format),
                        Some(id) => (writer.get().index_file(id, self.format), Vec::new()),
                        None => (self.unindexed(), Vec::new()),
                    };
                    let written = self.write_one(path, &index, &imports);
                    was_written(number, begin);
                    written
                },
            )
            // All are tried, and the first fault in the order of the link is told.
            .collect::<Vec<Result<()>>>()
            .into_iter()
            .collect()
    }

    fn unindexed(&self) -> Vec<u8> {
        match self.unindexed {
            Unindexed::Index => empty_index(false, self.format),
            Unindexed::NoBytes => Vec::new(),
        }
    }

    /// Writes the files of a module without a ThinLTO summary, where no link has any.
    ///
    /// # Errors
    /// Io, naming the module.
    pub fn write_unindexed(&self, path: &[u8]) -> Result<()> {
        self.write_one(path, &self.unindexed(), &[])
    }

    /// Writes the files of a module that takes no part in the link.
    ///
    /// # Errors
    /// Io, naming the module.
    pub fn write_skipped(&self, path: &[u8]) -> Result<()> {
        self.write_one(path, &empty_index(true, self.format), &[])
    }

    fn write_one(&self, path: &[u8], index: &[u8], imports: &[u8]) -> Result<()> {
        let in_module = |e: Error| e.in_member(String::from_utf8_lossy(path));
        let target = self.prefix.index_path(path);
        self.write_file(&with_suffix(&target, b".thinlto.bc"), index).map_err(in_module)?;
        if self.imports {
            self.write_file(&with_suffix(&target, b".imports"), imports).map_err(in_module)?;
        }
        Ok(())
    }

    /// Writes a member of an archive as a file of its own, for the backends, at
    /// [`PrefixReplace::index_path`] of `path`.
    ///
    /// # Errors
    /// Io, naming the module.
    pub fn write_member(&self, path: &[u8], bitcode: &[u8]) -> Result<()> {
        let target = with_suffix(&self.prefix.index_path(path), b"");
        self.write_file(&target, bitcode).map_err(|e| e.in_member(String::from_utf8_lossy(path)))
    }

    /// Writes a file; where paths change, the folder may have to be made first.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let written = write_atomically(path, bytes);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let changes = !self.prefix.old.is_empty() || !self.prefix.new.is_empty();
        match folder {
            // Another thread may make the folder at the same time, so that its being there says
            // nothing of the fault.
            Some(folder) if changes && written.is_err() => {
                fs::create_dir_all(folder).map_err(|e| {
                    Error::io("cannot create the folder", &e).in_file(folder.display().to_string())
                })?;
                write_atomically(path, bytes)
            }
            _ => written,
        }
    }

    /// The text of the linked-objects file: the object of each module, in the order of the link.
    pub fn linked_objects<'m>(&self, paths: impl Iterator<Item = &'m [u8]>) -> Vec<u8> {
        let mut text = Vec::new();
        for path in paths {
            text.extend(self.prefix.object_path(path));
            text.push(b'\n');
        }
        text
    }
}

fn with_suffix(path: &[u8], suffix: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&[path, suffix].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_replaced_as_in_llvm() {
        let p = PrefixReplace::parse(b"old/;new/;obj/").unwrap();
        assert_eq!(p.index_path(b"old/a.o"), b"new/a.o");
        assert_eq!(p.object_path(b"old/a.o"), b"obj/a.o");
        assert_eq!(p.index_path(b"elsewhere/a.o"), b"elsewhere/a.o");
        let p = PrefixReplace::parse(b";new/").unwrap();
        assert_eq!(
            (p.index_path(b"a.o"), p.object_path(b"a.o")),
            (b"new/a.o".to_vec(), b"new/a.o".to_vec())
        );
        assert!(PrefixReplace::parse(b"old").is_err());
        assert!(PrefixReplace::parse(b"a;b;c;d").is_err());
    }

    #[test]
    fn members_go_by_llvms_names() {
        assert_eq!(member_name("lib/x.a", 68, b"/src/a.c"), "lib/x.a.llvm.68.a.c");
        assert_eq!(member_name("x.a", 68, b"a.c"), "x.a.llvm.68.a.c");
        assert_eq!(member_name("x.a", 68, b"src/"), "x.a.llvm.68..");
        assert_eq!(member_name("x.a", 68, b""), "x.a.llvm.68.");
    }

    #[test]
    fn suffixes_are_replaced_as_in_llvm() {
        let s = SuffixReplace::parse(b".thinlink.bc;.o").unwrap();
        assert_eq!(&*s.apply(b"a.thinlink.bc"), b"a.o");
        assert_eq!(&*s.apply(b"a.o"), b"a.o");
        assert_eq!(SuffixReplace::parse(b"a;b;c").unwrap().new, b"b;c");
        assert_eq!(&*SuffixReplace::parse(b";.o").unwrap().apply(b"a"), b"a.o");
        assert_eq!(&*SuffixReplace::default().apply(b"a"), b"a");
        assert!(SuffixReplace::parse(b".o").is_err());
    }
}
