//! How messages travel: a stream socket, and shared memory for what is large.
//!
//! In: the bytes of a message and, beside them, bitcode or an object (the *bulk*). Out: the same
//! at the other end. This file knows nothing of what a message means.
//!
//! A message is a header, the bulk's descriptor (`SCM_RIGHTS`, with the header's first byte) and
//! the body:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic "LTOw" |
//! | 4 | 1 if a descriptor comes along, else 0 |
//! | 8 | length of the body in bytes |
//! | 8 | length of the bulk in bytes |
//!
//! The bulk is a memfd sealed against every change before it is sent, so that the receiver may
//! map it without a copy and without the fear that the sender shrinks it below the mapping.

#![allow(unsafe_code)]

use crate::container::FileBytes;
use crate::error::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::ptr::NonNull;

const MAGIC: [u8; 4] = *b"LTOw";
const HEADER: usize = 24;
/// No body comes near this; it only keeps a garbled length from being waited for.
const LONGEST_BODY: u64 = 1 << 30;

/// Bytes that own their memory: an object, assembly or bitcode.
pub struct Bytes(Inner);

enum Inner {
    Owned(Vec<u8>),
    /// A file, of a cache.
    File(FileBytes),
    /// A private read-only mapping of `len` > 0 bytes that this value unmaps.
    Mapped {
        start: NonNull<u8>,
        len: usize,
    },
}

// SAFETY: the mapping is read-only, private and owned by this value alone; nothing about it is
// bound to a thread.
unsafe impl Send for Bytes {}
// SAFETY: as above: shared references only read.
unsafe impl Sync for Bytes {}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::Owned(bytes) => bytes,
            Inner::File(bytes) => bytes,
            // SAFETY: `start` and `len` are those of a live mapping made by `map`, whose file is
            // sealed against shrinking and writing.
            Inner::Mapped { start, len } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), *len)
            },
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Inner::Mapped { start, len } = self.0 {
            // SAFETY: the mapping is ours and no reference to it outlives `self`.
            unsafe { libc::munmap(start.as_ptr().cast(), len) };
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(Inner::Owned(bytes))
    }
}

impl From<FileBytes> for Bytes {
    fn from(bytes: FileBytes) -> Self {
        Bytes(Inner::File(bytes))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

/// A new memfd, closed on exec.
pub(super) fn memfd(name: &std::ffi::CStr, flags: libc::c_uint) -> Result<File> {
    // SAFETY: `name` is a C string; the call touches nothing else.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | flags) };
    if fd < 0 {
        return Err(Error::io("creating shared memory", &io::Error::last_os_error()));
    }
    // SAFETY: `fd` was just returned to us and belongs to no one else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Bytes under the name of a file that nobody else sees and that nothing is left of: other processes
/// of this user open it while this value lives.
pub struct NamedBytes(File);

impl NamedBytes {
    /// A copy of `bytes`. `name` is for people.
    ///
    /// # Errors
    /// Io, where there is no memory for it.
    pub fn new(name: &std::ffi::CStr, bytes: &[u8]) -> Result<Self> {
        let mut file = memfd(name, 0)?;
        file.write_all(bytes).map_err(|e| Error::io("writing to shared memory", &e))?;
        Ok(NamedBytes(file))
    }

    /// The name.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}

impl Bytes {
    /// The same bytes in a file without a name, in the folder for temporary files: they take
    /// memory only while they are read.
    ///
    /// # Errors
    /// Io, where it cannot be written.
    pub fn spilled(self) -> Result<Bytes> {
        let failed = |error| Error::io("writing a temporary file", &error);
        let mut file = tempfile::tempfile().map_err(failed)?;
        file.write_all(&self).map_err(failed)?;
        FileBytes::from_fd(file.as_raw_fd(), 0, None).map(Bytes::from)
    }
}

/// Gives back to the system what this process has freed and `malloc` has kept, where the C library
/// offers that (glibc).
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes in a sealed memfd, ready to be sent.
pub(super) struct Shared {
    file: File,
    len: u64,
}

/// Copies bytes into memory that can be sent.
pub(super) fn share(bytes: &[u8]) -> Result<Shared> {
    let failed = |error| Error::io("writing to shared memory", &error);
    let mut file = memfd(c"lto", libc::MFD_ALLOW_SEALING)?;
    file.write_all(bytes).map_err(failed)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: fcntl on a descriptor that we own.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    Ok(Shared { file, len: bytes.len() as u64 })
}

/// Maps the first `len` bytes of a sealed memfd.
fn map(file: &File, len: u64) -> Result<Bytes> {
    let failed = |error| Error::io("mapping shared memory", &error);
    let size = file.metadata().map_err(failed)?.len();
    // SAFETY: fcntl on a descriptor that we own.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    let needed = libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE;
    if seals < 0 || seals & needed != needed || size != len {
        return Err(Error::engine(
            "the shared memory that came with a message is not as announced",
        ));
    }
    let len = usize::try_from(len).map_err(|_| Error::engine("more bulk than memory"))?;
    if len == 0 {
        return Ok(Bytes(Inner::Owned(Vec::new())));
    }
    // SAFETY: a new private read-only mapping at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(failed(io::Error::last_os_error()));
    }
    let start = NonNull::new(start.cast()).ok_or_else(|| Error::engine("mapped at null"))?;
    Ok(Bytes(Inner::Mapped { start, len }))
}

/// Sends a message; a peer that is gone is an `Io` error and never a signal.
pub(super) fn send(mut socket: &UnixStream, body: &[u8], bulk: Option<&Shared>) -> Result<()> {
    let mut header = [0; HEADER];
    let bulk_len = bulk.map_or(0, |bulk| bulk.len);
    let fields = [
        MAGIC.as_slice(),
        &u32::from(bulk.is_some()).to_le_bytes(),
        &(body.len() as u64).to_le_bytes(),
        &bulk_len.to_le_bytes(),
    ]
    .concat();
    header.copy_from_slice(&fields);
    let failed = |error| Error::io("sending a message", &error);
    let sent = loop {
        let mut iov =
            libc::iovec { iov_base: header.as_ptr().cast_mut().cast(), iov_len: header.len() };
        // Room for one descriptor, aligned as a cmsghdr must be.
        let mut control = [0u64; 4];
        // SAFETY: all-zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &mut iov;
        message.msg_iovlen = 1;
        if let Some(Shared { file, .. }) = bulk {
            message.msg_control = control.as_mut_ptr().cast();
            // SAFETY: pure arithmetic. CMSG_SPACE of one descriptor is 24 bytes, control has 32.
            message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as _;
            // SAFETY: msg_control and msg_controllen describe `control`, which has room for one
            // cmsghdr with one descriptor, so the first header is in bounds and so is its data.
            unsafe {
                let cmsg = libc::CMSG_FIRSTHDR(&message);
                (*cmsg).cmsg_level = libc::SOL_SOCKET;
                (*cmsg).cmsg_type = libc::SCM_RIGHTS;
                (*cmsg).cmsg_len = libc::CMSG_LEN(4) as _;
                libc::CMSG_DATA(cmsg).cast::<libc::c_int>().write_unaligned(file.as_raw_fd());
            }
        }
        // SAFETY: every pointer in `message` is to a live local of the length given.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(sent) => break sent,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(failed(error));
                }
            }
        }
    };
    let rest = [header.get(sent..).unwrap_or_default(), body];
    for part in rest {
        // The standard library sends with MSG_NOSIGNAL as well.
        socket.write_all(part).map_err(failed)?;
    }
    Ok(())
}

/// Receives a message: its body and its bulk. `Ok(None)`: the peer is gone, between messages.
#[allow(clippy::type_complexity)]
pub(super) fn receive(mut socket: &UnixStream) -> Result<Option<(Vec<u8>, Option<Bytes>)>> {
    let failed = |error| Error::io("receiving a message", &error);
    let mut header = [0; HEADER];
    let (got, file) = match receive_with_descriptor(socket, &mut header) {
        Ok((0, _)) => return Ok(None),
        Ok(got) => got,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if let Some(rest) = header.get_mut(got..) {
        socket.read_exact(rest).map_err(failed)?;
    }
    let word = |at: usize| -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(header.get(at..at + 8).unwrap_or(&[0; 8]));
        u64::from_le_bytes(word)
    };
    let (start, body_len, bulk_len) = (word(0), word(8), word(16));
    let announced = match start >> 32 {
        0 => false,
        1 => true,
        _ => return Err(Error::engine("a message with an unknown flag")),
    };
    if header.get(..4) != Some(MAGIC.as_slice()) || body_len > LONGEST_BODY {
        return Err(Error::engine("what was received is not a message of the worker protocol"));
    }
    let mut body = Vec::new();
    // Grows with what really arrives, whatever the header says.
    (&mut socket).take(body_len).read_to_end(&mut body).map_err(failed)?;
    if body.len() as u64 != body_len {
        return Err(Error::engine("a message broke off"));
    }
    let bulk = match (announced, file) {
        (true, Some(file)) => Some(map(&file, bulk_len)?),
        (false, None) => None,
        _ => {
            return Err(Error::engine("a message came without its descriptor or with a stray one"));
        }
    };
    Ok(Some((body, bulk)))
}

/// `recvmsg` of up to `buffer.len()` bytes and one descriptor.
fn receive_with_descriptor(
    socket: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<File>)> {
    loop {
        let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = [0u64; 8];
        // SAFETY: all-zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = std::mem::size_of_val(&control) as _;
        // SAFETY: every pointer in `message` is to a live local of the length given.
        let got =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        };
        // Every descriptor that came is owned at once, so that none leaks, wanted or not.
        let mut files = Vec::new();
        // SAFETY: the kernel filled `control` and set msg_controllen to what it wrote; the CMSG
        // macros stay within that, and the descriptors in an SCM_RIGHTS message are new and ours.
        unsafe {
            let mut cmsg = libc::CMSG_FIRSTHDR(&message);
            while !cmsg.is_null() {
                if (*cmsg).cmsg_level == libc::SOL_SOCKET && (*cmsg).cmsg_type == libc::SCM_RIGHTS {
                    let bytes = ((*cmsg).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as _);
                    let data = libc::CMSG_DATA(cmsg).cast::<libc::c_int>();
                    for at in 0..bytes / size_of::<libc::c_int>() {
                        files.push(File::from(OwnedFd::from_raw_fd(data.add(at).read_unaligned())));
                    }
                }
                cmsg = libc::CMSG_NXTHDR(&message, cmsg);
            }
        }
        if files.len() > 1 {
            return Err(io::Error::other("too many descriptors"));
        }
        return Ok((got, files.pop()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn body_and_bulk_arrive() {
        let (a, b) = UnixStream::pair().unwrap();
        for bulk in [None, Some(&b""[..]), Some(&[7; 100_000][..])] {
            let shared = bulk.map(|bytes| share(bytes).unwrap());
            send(&a, b"hello", shared.as_ref()).unwrap();
            let (body, got) = receive(&b).unwrap().unwrap();
            assert_eq!(body, b"hello");
            assert_eq!(got.as_deref(), bulk);
        }
        drop(a);
        assert!(receive(&b).unwrap().is_none());
        assert_eq!(send(&b, b"x", None).unwrap_err().kind(), ErrorKind::Io);
    }

    fn refused(raw: &[u8]) -> String {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(raw).unwrap();
        drop(a);
        receive(&b).unwrap_err().message().to_string()
    }

    #[test]
    fn garbage_is_refused_without_waiting_or_allocating() {
        assert!(refused(&[0x55; 64]).contains("unknown flag"));
        assert!(refused(&[0; 64]).contains("not a message"));
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(refused(&header).contains("not a message"));
        header[8..16].copy_from_slice(&(1u64 << 29).to_le_bytes());
        assert!(refused(&header).contains("broke off"));
        header[8..16].copy_from_slice(&[0; 8]);
        header[4] = 1;
        assert!(refused(&header).contains("without its descriptor"));
        assert!(refused(&header[..9]).contains("receiving"));
    }

    #[test]
    fn memory_that_could_shrink_is_not_mapped() {
        let file = memfd(c"test", libc::MFD_ALLOW_SEALING).unwrap();
        file.set_len(10).unwrap();
        assert!(map(&file, 10).is_err());
        assert!(map(&share(b"1234").unwrap().file, 5).is_err());
        assert_eq!(&*map(&share(b"1234").unwrap().file, 4).unwrap(), b"1234");
    }
}
