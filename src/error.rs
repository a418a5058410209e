//! The one error type.
//!
//! In: what went wrong, where. Out: a sentence for a person that names the file, the archive
//! member and the cause, and a [`ErrorKind`] for code that must decide.
//!
//! This module knows no other module of the crate. It is built from the inside out: the reader of
//! a record knows the bit offset, its caller the member, the front end the file. Each adds what
//! it knows with one of the `in_*`/`at_*` methods; whatever was said first (innermost) stays.

use std::fmt;

/// What sort of failure this is; front ends choose return codes by it, never by the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes are not what their format allows.
    Malformed,
    /// The bytes are well-formed, but this is a version or feature that we do not serve.
    Unsupported,
    /// The operating system refused: a path, a descriptor, memory, a full disk.
    Io,
    /// libLLVM is missing, unsuitable, or failed while generating code.
    Engine,
    /// The caller broke the contract of the call: a null or stale handle, a bad argument.
    Misuse,
}

/// An error with its place. One pointer wide, so that `Result` stays small on hot paths.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    file: Option<String>,
    member: Option<String>,
    bit: Option<u64>,
    producer: Option<String>,
    reader: Option<String>,
}

/// The result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with a message that is a clause without a full stop.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            file: None,
            member: None,
            bit: None,
            producer: None,
            reader: None,
        }))
    }

    /// The bytes break their format.
    #[cold]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    /// A version or feature that is not served.
    #[cold]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A failed system call: `what` was being done when `error` came back.
    #[cold]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{what}: {error}"))
    }

    /// libLLVM or its worker failed.
    #[cold]
    pub fn engine(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Engine, message)
    }

    /// The caller's mistake.
    #[cold]
    pub fn misuse(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Misuse, message)
    }

    /// Names the file, unless a more deeply nested caller has already.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    /// Names the archive member (or the module within a file of several).
    #[must_use]
    pub fn in_member(mut self, member: impl Into<String>) -> Self {
        self.0.member.get_or_insert_with(|| member.into());
        self
    }

    /// Says where in the bitcode, in bits from its first byte.
    #[must_use]
    pub fn at_bit(mut self, bit: u64) -> Self {
        self.0.bit.get_or_insert(bit);
        self
    }

    /// Names the program that wrote the input, as its identification block has it.
    #[must_use]
    pub fn from_producer(mut self, producer: impl Into<String>) -> Self {
        self.0.producer.get_or_insert_with(|| producer.into());
        self
    }

    /// Names what tried to read the input: a libLLVM and its version.
    #[must_use]
    pub fn read_by(mut self, reader: impl Into<String>) -> Self {
        self.0.reader.get_or_insert_with(|| reader.into());
        self
    }

    /// Puts what was being done before the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Forgets file and member, for a message that names them itself.
    #[must_use]
    pub fn without_place(mut self) -> Self {
        (self.0.file, self.0.member) = (None, None);
        self
    }

    /// As [`fmt::Display`], but with the place behind the cause: for texts that begin as LLVM's do.
    pub fn cause_first(&self) -> String {
        let e = &*self.0;
        let place = match (&e.file, &e.member) {
            (Some(file), Some(member)) => format!(" in {file}({member})"),
            (Some(place), None) | (None, Some(place)) => format!(" in {place}"),
            (None, None) => String::new(),
        };
        let mut cause = self.clone().without_place();
        cause.0.message.push_str(&place);
        cause.to_string()
    }

    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The cause alone, without its place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file, where one was named.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The archive member, where one was named.
    pub fn member(&self) -> Option<&str> {
        self.0.member.as_deref()
    }

    /// The bit offset, where there is one.
    pub fn bit(&self) -> Option<u64> {
        self.0.bit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &*self.0;
        match (&e.file, &e.member) {
            (Some(file), Some(member)) => write!(f, "{file}({member}): ")?,
            (Some(place), None) | (None, Some(place)) => write!(f, "{place}: ")?,
            (None, None) => {}
        }
        f.write_str(&e.message)?;
        if let Some(bit) = e.bit {
            write!(f, " (at bit {bit}, byte {:#x})", bit / 8)?;
        }
        if let Some(producer) = &e.producer {
            write!(f, " (producer: {producer})")?;
        }
        if let Some(reader) = &e.reader {
            write!(f, " (reader: {reader})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_file_member_cause_and_place() {
        let e = Error::malformed("block runs past the end")
            .at_bit(129)
            .in_member("b.o")
            .in_file("liba.a")
            .in_file("outer");
        assert_eq!(e.to_string(), "liba.a(b.o): block runs past the end (at bit 129, byte 0x10)");
        assert_eq!(e.kind(), ErrorKind::Malformed);
    }

    #[test]
    fn the_place_can_stand_behind_the_cause() {
        let e = Error::malformed("Malformed block").at_bit(32).in_member("b.o").in_file("liba.a");
        assert_eq!(e.cause_first(), "Malformed block in liba.a(b.o) (at bit 32, byte 0x4)");
        assert_eq!(e.without_place().to_string(), "Malformed block (at bit 32, byte 0x4)");
    }

    #[test]
    fn context_goes_before_the_cause() {
        let e = Error::misuse("null handle").context("lto_module_dispose");
        assert_eq!(e.to_string(), "lto_module_dispose: null handle");
    }
}
