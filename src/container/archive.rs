//! `ar` archives: GNU, BSD, COFF and thin ones.
//!
//! In: an archive's bytes. Out: its members in order, each with its name, the offset of its data
//! (by which linkers name a member to a plugin) and the data, or for a thin archive the path of
//! the file that is the member. Symbol tables of archives are not read: the linker has done so.
//!
//! Member headers are parsed by the `object` crate, which checks their sizes against the buffer.

use std::path::{Path, PathBuf};

use object::read::archive::{ArchiveFile, ArchiveMember};

use crate::error::{Error, Result};

/// An archive, borrowed.
pub struct Archive<'a> {
    bytes: &'a [u8],
    file: ArchiveFile<'a>,
}

/// One member.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The name as the archive has it, a path in a thin archive.
    pub name: &'a [u8],
    /// Where the data starts, in bytes from the start of the archive; in a thin archive where
    /// they would start.
    pub offset: u64,
    /// The member itself.
    pub data: MemberData<'a>,
}

/// Where a member's bytes are.
#[derive(Clone, Debug)]
pub enum MemberData<'a> {
    /// In the archive.
    Here(&'a [u8]),
    /// In a file of their own, named relative to the archive's folder.
    File(PathBuf),
}

impl<'a> Archive<'a> {
    /// Reads the archive's magic, symbol table position and long names.
    ///
    /// # Errors
    /// Malformed where these are broken.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let file = ArchiveFile::parse(bytes).map_err(|e| broken(&e))?;
        Ok(Archive { bytes, file })
    }

    /// Whether the members are files of their own.
    pub fn is_thin(&self) -> bool {
        self.file.is_thin()
    }

    /// The members in order, without the symbol table and the table of long names.
    pub fn members(&self) -> impl Iterator<Item = Result<Member<'a>>> + '_ {
        // An error ends the walk: behind a broken header nothing can be found.
        let mut members = self.file.members();
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let item = members.next()?.map_err(|e| broken(&e)).and_then(|m| self.member(&m));
            failed = item.is_err();
            Some(item)
        })
    }

    /// The member whose data start at `offset`, in bytes from the start of the archive.
    ///
    /// # Errors
    /// Misuse where no member starts there; malformed where a header before it is broken.
    pub fn member_at(&self, offset: u64) -> Result<Member<'a>> {
        for member in self.members() {
            let member = member?;
            if member.offset == offset {
                return Ok(member);
            }
        }
        Err(Error::misuse(format!("no archive member starts at offset {offset}")))
    }

    fn member(&self, m: &ArchiveMember<'a>) -> Result<Member<'a>> {
        let (offset, _) = m.file_range();
        let name = m.name();
        let data =
            if m.is_thin() {
                MemberData::File(path_of(name))
            } else {
                MemberData::Here(m.data(self.bytes).map_err(|e| {
                    broken(&e).in_member(String::from_utf8_lossy(name).into_owned())
                })?)
            };
        Ok(Member { name, offset, data })
    }
}

impl Member<'_> {
    /// The file of a thin archive's member, or None where the archive holds the data itself.
    pub fn path(&self, archive: &Path) -> Option<PathBuf> {
        match &self.data {
            MemberData::Here(_) => None,
            MemberData::File(path) => {
                Some(archive.parent().unwrap_or_else(|| Path::new("")).join(path))
            }
        }
    }
}

fn broken(e: &object::read::Error) -> Error {
    Error::malformed(format!("archive: {e}"))
}

#[cfg(unix)]
fn path_of(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

#[cfg(not(unix))]
fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, "644").into_bytes()
    }

    #[test]
    fn gnu_and_bsd_names_and_offsets() {
        let mut file = b"!<arch>\n".to_vec();
        file.extend(header("//", 26));
        file.extend(b"a_name_of_more_than_15.o/\n");
        file.extend(header("/0", 3));
        let first = file.len() as u64;
        file.extend(b"one\n");
        file.extend(header("b.o/", 4));
        let second = file.len() as u64;
        file.extend(b"four");
        let archive = Archive::parse(&file).unwrap();
        let members: Vec<_> = archive.members().collect::<Result<_>>().unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!((members[0].name, members[0].offset), (&b"a_name_of_more_than_15.o"[..], first));
        assert!(matches!(members[1].data, MemberData::Here(b"four")));
        assert_eq!(archive.member_at(second).unwrap().name, b"b.o");
        assert_eq!(archive.member_at(9).unwrap_err().kind(), crate::error::ErrorKind::Misuse);

        let mut bsd = b"!<arch>\n".to_vec();
        bsd.extend(header("#1/20", 24));
        bsd.extend(b"long_name_by_bsd.o\0\0");
        bsd.extend(b"data");
        let m = Archive::parse(&bsd).unwrap().members().next().unwrap().unwrap();
        assert_eq!((m.name, m.offset), (&b"long_name_by_bsd.o"[..], 8 + 60 + 20));
        assert!(matches!(m.data, MemberData::Here(b"data")));
    }

    #[test]
    fn a_member_past_the_end_ends_the_walk_with_an_error() {
        let mut file = b"!<arch>\n".to_vec();
        file.extend(header("a.o/", 4000));
        file.extend(b"short");
        let archive = Archive::parse(&file).unwrap();
        let all: Vec<_> = archive.members().collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].is_err());
    }

    #[test]
    fn archives_of_the_system_ar() {
        let dir = std::env::temp_dir().join(format!("lto-archive-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/x.o"), b"the x file").unwrap();
        for (flags, thin) in [("rcD", false), ("rcDT", true)] {
            let lib = dir.join(format!("lib{flags}.a"));
            let status =
                Command::new("ar").arg(flags).arg(&lib).arg(dir.join("sub/x.o")).status().unwrap();
            assert!(status.success());
            let bytes = std::fs::read(&lib).unwrap();
            let archive = Archive::parse(&bytes).unwrap();
            assert_eq!(archive.is_thin(), thin);
            let m = archive.members().next().unwrap().unwrap();
            match m.path(&lib) {
                Some(path) => assert_eq!(std::fs::read(path).unwrap(), b"the x file"),
                None => assert!(matches!(m.data, MemberData::Here(b"the x file"))),
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
