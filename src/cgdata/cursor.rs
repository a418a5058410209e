//! Little-endian numbers out of bytes, with every offset checked.
//!
//! In: a payload and where it starts in its file. Out: numbers and sub-slices, or an error with the
//! offset in the file. It knows nothing of what the numbers mean.

use crate::error::{Error, Result};

/// What LLVM's tools call bytes that break the format.
pub(super) const MALFORMED: &str = "malformed codegen data";

/// A reading position in a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Where `bytes` starts in the file, in bytes, for errors.
    base: u64,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Cursor { bytes, pos: 0, base }
    }

    /// Bytes read so far.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or(&[])
    }

    /// Passes over `n` bytes, or what is left if that is less.
    pub fn skip(&mut self, n: usize) {
        self.pos = self.bytes.len().min(self.pos.saturating_add(n));
    }

    pub fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// The next `n` bytes, which hold `what`.
    pub fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8]> {
        match self.rest().get(..n) {
            Some(bytes) => {
                self.pos += n;
                Ok(bytes)
            }
            None => Err(self
                .error(format!("{what} of {n} bytes where only {} are left", self.rest().len()))),
        }
    }

    pub fn u32(&mut self, what: &str) -> Result<u32> {
        match self.rest().first_chunk() {
            Some(raw) => {
                self.pos += 4;
                Ok(u32::from_le_bytes(*raw))
            }
            None => Err(self.error(format!("the data end before {what}"))),
        }
    }

    pub fn u64(&mut self, what: &str) -> Result<u64> {
        match self.rest().first_chunk() {
            Some(raw) => {
                self.pos += 8;
                Ok(u64::from_le_bytes(*raw))
            }
            None => Err(self.error(format!("the data end before {what}"))),
        }
    }

    /// A count of things that take at least `size` bytes each, refused where so many cannot
    /// follow. What it returns is therefore safe to reserve memory for.
    pub fn count(&mut self, size: usize, what: &str) -> Result<usize> {
        let start = *self;
        let n = self.u32(what)? as usize;
        if n.checked_mul(size).is_none_or(|bytes| bytes > self.rest().len()) {
            return Err(start.error(format!("{what} is {n}, too many for the data's length")));
        }
        Ok(n)
    }

    /// An error at this position.
    #[cold]
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        self.error_at(self.pos, message)
    }

    /// An error at `pos` bytes from the start of the payload.
    #[cold]
    pub fn error_at(&self, pos: usize, message: impl std::fmt::Display) -> Error {
        let byte = self.base.saturating_add(pos as u64);
        Error::malformed(format!("{MALFORMED}: {message}")).at_bit(byte.saturating_mul(8))
    }
}
