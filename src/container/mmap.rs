//! Files as byte slices: the one place of the container layer with unsafe code.
//!
//! In: a path, or a descriptor with an offset and a size, as linkers hand them out. Out: the
//! bytes, read-only, for as long as the [`FileBytes`] lives.
//!
//! Large regular files are mapped. Small ones are read, as that is cheaper than a mapping and
//! survives a file that shrinks; so are pipes, which cannot be mapped. A mapped file that another
//! process truncates while we read it raises SIGBUS, in LLVM as well as here: the linkers that
//! call us map their inputs in the same way.

#![allow(unsafe_code)]

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Error as IoError, Read};
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use crate::error::{Error, Result};

/// Files up to this many bytes are read, larger ones mapped; LLVM's `MemoryBuffer` draws the line
/// at four pages as well.
const READ_BELOW: u64 = 16 * 1024;

/// A stream of unknown length is read up to this many bytes. Bitcode addresses its blocks by
/// 32-bit word counts of at most 16 GiB, yet no module of a real program comes near 2 GiB.
const STREAM_LIMIT: u64 = 2 << 30;

/// The bytes of a file or of a part of it.
#[derive(Debug)]
pub struct FileBytes(Repr);

#[derive(Debug)]
enum Repr {
    Owned(Vec<u8>),
    Mapped(Mapping),
}

/// A mapping of whole pages, of which the bytes from `skip` on are wanted.
#[derive(Debug)]
struct Mapping {
    base: NonNull<libc::c_void>,
    /// Bytes mapped, `skip` included.
    len: usize,
    skip: usize,
}

// SAFETY: the mapping is private and read-only, nobody holds a mutable reference into it, and
// munmap may be called from any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared reads of read-only memory do not race.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are what mmap returned and was asked for in `Mapping::new`,
        // which is the only constructor, and drop runs once.
        unsafe {
            libc::munmap(self.base.as_ptr(), self.len);
        }
    }
}

impl Mapping {
    fn new(fd: RawFd, offset: u64, size: usize) -> std::io::Result<Self> {
        // SAFETY: sysconf has no preconditions.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let page = page.max(1);
        let skip = offset % page;
        let too_big = || IoError::from(std::io::ErrorKind::FileTooLarge);
        let start = libc::off_t::try_from(offset - skip).map_err(|_| too_big())?;
        // skip is less than a page, so it fits any usize.
        let len = size.checked_add(skip as usize).ok_or_else(too_big)?;
        // SAFETY: a new mapping at an address of the kernel's choosing touches no memory of ours;
        // the result is checked below.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, fd, start)
        };
        if base == libc::MAP_FAILED {
            return Err(IoError::last_os_error());
        }
        match NonNull::new(base) {
            Some(base) => Ok(Mapping { base, len, skip: skip as usize }),
            None => Err(IoError::other("mmap gave the null page")),
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `base` points at `len` readable bytes until drop (the check against MAP_FAILED
        // in `new`), and `skip < len` by construction. The file was long enough when it was
        // mapped; see the module's head on files that shrink.
        unsafe {
            let start = self.base.as_ptr().cast::<u8>().add(self.skip);
            std::slice::from_raw_parts(start, self.len - self.skip)
        }
    }
}

/// An open file of which nothing has been read.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
    /// What [`OpenFile::length`] has found.
    length: OnceCell<Option<u64>>,
}

impl OpenFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// Io, naming the file: missing or unreadable.
    pub fn open(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        if path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
            return Err(Error::misuse("not a path").in_file(name()));
        }
        let file = File::options()
            .read(true)
            // A device that waits for a carrier must not hang us; files do not mind.
            .custom_flags(libc::O_NOCTTY)
            .open(path)
            .map_err(|e| Error::io("cannot open", &e).in_file(name()))?;
        Ok(OpenFile { file, path: path.to_owned(), length: OnceCell::new() })
    }

    /// The length in bytes of a regular file, as it was when first asked; None for anything else.
    pub fn length(&self) -> Option<u64> {
        *self.length.get_or_init(|| {
            let stat = fstat(self.file.as_raw_fd()).ok()?;
            let regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
            u64::try_from(stat.st_size).ok().filter(|_| regular)
        })
    }

    /// Reads `len` bytes of a regular file from `offset` on; None where it has not as many.
    pub fn part(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_at(offset, &mut bytes)?;
        Some(bytes)
    }

    /// Fills `bytes` from `offset` on; None where a regular file has not as many.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(bytes, offset).ok()
    }

    /// All of it.
    ///
    /// # Errors
    /// Io, naming the file: a directory, a device, a failure to read.
    pub fn bytes(&self) -> Result<FileBytes> {
        FileBytes::from_fd(self.file.as_raw_fd(), 0, None)
            .map_err(|e| e.in_file(self.path.display().to_string()))
    }
}

impl FileBytes {
    /// Lets the system have back the pages of a mapping that were read so far. Whoever reads on
    /// finds them in the file again.
    pub fn let_go(&self) {
        if let Repr::Mapped(mapping) = &self.0 {
            // SAFETY: the mapping is ours, private and never written, so its pages are the file's.
            unsafe {
                libc::madvise(mapping.base.as_ptr(), mapping.len, libc::MADV_DONTNEED);
            }
        }
    }

    /// The whole file at `path`.
    ///
    /// # Errors
    /// Those of [`OpenFile::open`] and [`OpenFile::bytes`].
    pub fn open(path: &Path) -> Result<Self> {
        OpenFile::open(path)?.bytes()
    }

    /// `size` bytes from `offset` on of the file behind `fd`; all that follow `offset` where
    /// `size` is None. The descriptor stays the caller's; a regular file's position is left alone.
    ///
    /// # Errors
    /// Io for a descriptor that is not open or not readable, a directory, a device. Malformed
    /// where the file ends before `offset` or before `offset + size`.
    pub fn from_fd(fd: RawFd, offset: u64, size: Option<u64>) -> Result<Self> {
        let stat = fstat(fd)?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => {
                let length = u64::try_from(stat.st_size).unwrap_or(0);
                let size = check_range(length, offset, size)?;
                Self::regular(fd, offset, size)
            }
            libc::S_IFIFO | libc::S_IFSOCK => Self::stream(fd, offset, size),
            libc::S_IFDIR => {
                Err(Error::io("cannot read", &IoError::from_raw_os_error(libc::EISDIR)))
            }
            _ => Err(Error::unsupported("neither a regular file nor a pipe")),
        }
    }

    fn regular(fd: RawFd, offset: u64, size: u64) -> Result<Self> {
        let len = usize::try_from(size)
            .map_err(|_| Error::unsupported("larger than the address space"))?;
        if len == 0 {
            return Ok(FileBytes(Repr::Owned(Vec::new())));
        }
        if size > READ_BELOW {
            // Some file systems cannot map; what they can do is read.
            if let Ok(mapping) = Mapping::new(fd, offset, len) {
                return Ok(FileBytes(Repr::Mapped(mapping)));
            }
        }
        read_at(fd, offset, len).map(|v| FileBytes(Repr::Owned(v)))
    }

    /// Reads from the current position on; `offset` bytes are thrown away first.
    fn stream(fd: RawFd, offset: u64, size: Option<u64>) -> Result<Self> {
        let want = size.map_or(Some(STREAM_LIMIT), |s| s.checked_add(offset));
        let want = want.filter(|&w| w <= STREAM_LIMIT).ok_or_else(|| {
            Error::unsupported(format!("more than {STREAM_LIMIT} bytes from a pipe"))
        })?;
        let mut bytes = Vec::new();
        // One byte more than wanted tells a stream that is too long from one that ends.
        let limit = if size.is_some() { want } else { want.saturating_add(1) };
        FdReader(fd)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io("cannot read", &e))?;
        let got = bytes.len() as u64;
        if size.is_none() && got > STREAM_LIMIT {
            return Err(Error::unsupported(format!("more than {STREAM_LIMIT} bytes from a pipe")));
        }
        check_range(got, offset, size)?;
        // The check above made offset at most the length.
        bytes.drain(..usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len()));
        Ok(FileBytes(Repr::Owned(bytes)))
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        FileBytes(Repr::Owned(bytes))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned(v) => v,
            Repr::Mapped(m) => m.bytes(),
        }
    }
}

/// The number of bytes to take from `offset` of a file of `length` bytes.
fn check_range(length: u64, offset: u64, size: Option<u64>) -> Result<u64> {
    let Some(left) = length.checked_sub(offset) else {
        return Err(Error::malformed(format!(
            "offset {offset} is past the end of the file, which has {length} bytes"
        )));
    };
    match size {
        Some(size) if size > left => Err(Error::malformed(format!(
            "{size} bytes at offset {offset} are past the end of the file, which has {length} bytes"
        ))),
        Some(size) => Ok(size),
        None => Ok(left),
    }
}

fn fstat(fd: RawFd) -> Result<libc::stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the pointer is to writable memory of the right size; a bad descriptor is an error
    // code, not undefined behaviour.
    let rc = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    if rc != 0 {
        let e = IoError::last_os_error();
        return Err(Error::io(format!("bad file descriptor {fd}"), &e));
    }
    // SAFETY: fstat returned 0, so it has filled the whole structure.
    Ok(unsafe { stat.assume_init() })
}

/// Reads exactly `len` bytes at `offset` without moving the descriptor's position.
fn read_at(fd: RawFd, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| Error::io("cannot read", &IoError::from(std::io::ErrorKind::OutOfMemory)))?;
    bytes.resize(len, 0u8);
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|r| !r.is_empty()) {
        let at = libc::off_t::try_from(offset.saturating_add(done as u64))
            .map_err(|_| Error::malformed("offset beyond what the system can address"))?;
        // SAFETY: `rest` is writable for `rest.len()` bytes.
        let n = unsafe { libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), at) };
        match usize::try_from(n) {
            Ok(0) => return Err(Error::malformed("the file shrank while it was read")),
            Ok(n) => done += n,
            Err(_) => {
                let e = IoError::last_os_error();
                if e.kind() != std::io::ErrorKind::Interrupted {
                    return Err(Error::io("cannot read", &e));
                }
            }
        }
    }
    Ok(bytes)
}

/// `read` on a descriptor that somebody else owns.
struct FdReader(RawFd);

impl Read for FdReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        // SAFETY: `buf` is writable for `buf.len()` bytes.
        let n = unsafe { libc::read(self.0, buf.as_mut_ptr().cast(), buf.len()) };
        usize::try_from(n).map_err(|_| IoError::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::io::Write;
    use std::os::fd::FromRawFd;

    fn temp(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("lto-mmap-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn whole_files_and_parts_large_and_small() {
        let large: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        for (name, bytes) in [("small", &large[..100]), ("large", &large[..]), ("empty", &[])] {
            let path = temp(name, bytes);
            let whole = FileBytes::open(&path).unwrap();
            assert_eq!(&*whole, bytes);
            whole.let_go();
            assert_eq!(&*whole, bytes);
            let file = File::open(&path).unwrap();
            if bytes.len() > 60 {
                let part = FileBytes::from_fd(file.as_raw_fd(), 50, Some(10)).unwrap();
                assert_eq!(&*part, &bytes[50..60]);
                // An offset that is no multiple of the page size, far enough in to be mapped.
                let rest = FileBytes::from_fd(file.as_raw_fd(), 51, None).unwrap();
                assert_eq!(&*rest, &bytes[51..]);
            }
            let end = bytes.len() as u64;
            assert!(FileBytes::from_fd(file.as_raw_fd(), end, None).unwrap().is_empty());
            for (offset, size) in [(end + 1, None), (0, Some(end + 1)), (u64::MAX, Some(1))] {
                let e = FileBytes::from_fd(file.as_raw_fd(), offset, size).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Malformed, "{e}");
                assert!(e.to_string().contains("past the end"), "{e}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn pipes_are_read() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"0123456789").unwrap();
        drop(writer);
        assert_eq!(&*FileBytes::from_fd(reader.as_raw_fd(), 2, Some(3)).unwrap(), b"234");
        assert_eq!(&*FileBytes::from_fd(reader.as_raw_fd(), 1, None).unwrap(), b"6789");
        let e = FileBytes::from_fd(reader.as_raw_fd(), 0, Some(1)).unwrap_err();
        assert!(e.to_string().contains("past the end"), "{e}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let e = FileBytes::open(Path::new("/no/such/file.o")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io);
        assert!(e.to_string().starts_with("/no/such/file.o: cannot open: No such file"), "{e}");
        let e = FileBytes::open(&std::env::temp_dir()).unwrap_err();
        assert!(e.to_string().contains("directory"), "{e}");
        let e = FileBytes::open(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
        assert_eq!(FileBytes::open(Path::new("")).unwrap_err().kind(), ErrorKind::Misuse);
        let e = FileBytes::from_fd(-1, 0, None).unwrap_err();
        assert!(e.to_string().contains("bad file descriptor -1"), "{e}");
        let path = temp("write-only", b"x");
        let file = File::options().append(true).open(&path).unwrap();
        let e = FileBytes::from_fd(file.as_raw_fd(), 0, None).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io, "{e}");
        std::fs::remove_file(&path).unwrap();
        // The descriptor stays the caller's: it is closed here, once, without an error.
        // SAFETY: into_raw_fd gave up ownership of an open descriptor, taken back at once.
        drop(unsafe { File::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(file)) });
    }
}
