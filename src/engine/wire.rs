//! The encoding of what the engine and its machine say to each other.
//!
//! In: numbers, strings, lists. Out: bytes, and back. This file knows nothing of messages.
//!
//! Little endian; a string or list is a u32 count and its elements. The reader trusts no count:
//! whatever it allocates is bounded by the bytes that are really there.

use crate::error::{Error, Result};

/// Appends values to a buffer.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A count; more than `u32::MAX` elements do not fit in a message and never arise.
    fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn str(&mut self, value: &str) {
        self.count(value.len());
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(super) fn opt<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.count(values.len());
        for value in values {
            put(self, value);
        }
    }
}

/// Takes values from the front of a buffer.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or_else(|| {
            Error::engine(format!(
                "the message ends {} bytes early",
                count.saturating_sub(self.0.len())
            ))
        })?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn bool(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(unknown("truth value", other)),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn str(&mut self) -> Result<String> {
        let count = self.u32()?;
        let bytes = self.take(usize::try_from(count).unwrap_or(usize::MAX))?;
        String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::engine("a string of the message is not UTF-8"))
    }

    pub(super) fn opt<T>(&mut self, get: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.bool()? { get(self).map(Some) } else { Ok(None) }
    }

    /// Elements take at least one byte each, so the list never outgrows the message.
    pub(super) fn list<T>(
        &mut self,
        mut get: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.u32()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(get(self)?);
        }
        Ok(list)
    }

    /// The message must end here.
    pub(super) fn end(self) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            extra => Err(Error::engine(format!("the message has {extra} bytes too many"))),
        }
    }
}

/// A code that this version does not know.
pub(super) fn unknown(what: &str, code: impl std::fmt::Display) -> Error {
    Error::engine(format!("unknown {what} {code} in a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_beyond_the_message_is_an_error_and_allocates_nothing() {
        let mut list = Reader(&[255, 255, 255, 255, 1]);
        let error = list.list(|r| r.u32()).map(|_| ()).unwrap_err();
        assert_eq!(error.message(), "the message ends 3 bytes early");
        assert!(Reader(&[9, 0, 0, 0, b'x']).str().is_err());
        assert!(Reader(&[1, 0, 0, 0, 0xff]).str().is_err());
        assert!(Reader(&[2]).bool().is_err());
        assert!(Reader(&[2]).end().is_err());
    }
}
