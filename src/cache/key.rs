//! What an object is called by: a hash of everything that it is made from.
//!
//! In: named fields. Out: a [`Key`] of 160 bits, as wide as LLVM's, so that names look alike.
//!
//! Every field is written with its name, and both with their lengths, so that no two different
//! lists of fields give the same bytes to the hash: "ab", "c" is not "a", "bc". The hash is BLAKE3
//! cut to 160 bits: to find two inputs with the same key takes 2^80 tries. It takes a third of the
//! time of SHA-256, which is most of what a link costs in which nothing has changed.

use std::fmt;

use blake3::Hasher;

/// The name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; Key::BYTES]);

impl Key {
    /// How wide a key is.
    const BYTES: usize = 20;

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Key> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::BYTES {
            return None;
        }
        let mut key = [0; Self::BYTES];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'A'..=b'F' => digit - b'A' + 10,
                    _ => return None,
                };
                *byte = *byte << 4 | value;
            }
        }
        Some(Key(key))
    }
}

impl fmt::Display for Key {
    /// 40 digits; LLVM's `toHex` writes capitals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// Makes a key, field by field.
#[derive(Clone)]
pub struct KeyBuilder(Hasher);

impl KeyBuilder {
    /// Starts a key of this kind ("job 1"): keys of two kinds differ, whatever their fields. The
    /// kind changes whenever the meaning of a field does.
    pub fn new(kind: &str) -> Self {
        let mut builder = KeyBuilder(Hasher::new());
        builder.bytes("liblto cache", kind.as_bytes());
        builder
    }

    /// A field of bytes.
    pub fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        for part in [name.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// A field of text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.bytes(name, value.as_bytes())
    }

    /// A field that is a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.bytes(name, &value.to_le_bytes())
    }

    /// A field that is yes or no.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.bytes(name, &[u8::from(value)])
    }

    /// A field whose `Debug` form says all there is to say of it: enums and structs of plain values.
    pub fn debug(&mut self, name: &str, value: &impl fmt::Debug) -> &mut Self {
        self.text(name, &format!("{value:?}"))
    }

    /// A field of any number of texts, in order.
    pub fn texts<T: AsRef<[u8]>>(&mut self, name: &str, values: &[T]) -> &mut Self {
        self.number(name, values.len() as u64);
        for value in values {
            self.bytes(name, value.as_ref());
        }
        self
    }

    /// The key of another thing that this one is made from.
    pub fn key(&mut self, name: &str, value: &Key) -> &mut Self {
        self.bytes(name, &value.0)
    }

    /// The key.
    pub fn finish(self) -> Key {
        let mut key = [0; Key::BYTES];
        for (byte, hashed) in key.iter_mut().zip(self.0.finalize().as_bytes()) {
            *byte = *hashed;
        }
        Key(key)
    }
}

/// The key of bytes that others are made from: where it is known, they need not be read again.
pub fn content_key(bytes: &[u8]) -> Key {
    let mut key = KeyBuilder::new("content 1");
    key.bytes("bytes", bytes);
    key.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, fields: &[(&str, &str)]) -> Key {
        let mut builder = KeyBuilder::new(kind);
        for (name, value) in fields {
            builder.text(name, value);
        }
        builder.finish()
    }

    #[test]
    fn fields_cannot_run_into_each_other() {
        let keys = [
            key("k", &[("a", "bc")]),
            key("k", &[("ab", "c")]),
            key("k", &[("a", "b"), ("c", "")]),
            key("k", &[("a", ""), ("b", "c")]),
            key("k", &[("b", "c"), ("a", "")]),
            key("ka", &[("a", "bc")]),
            key("k", &[]),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert!(keys.iter().skip(i + 1).all(|other| one != other), "{i}");
        }
        assert_eq!(key("k", &[("a", "bc")]), keys[0]);
        let list = |values: &[&str]| {
            let mut builder = KeyBuilder::new("k");
            builder.texts("l", values);
            builder.finish()
        };
        assert_ne!(list(&["a", "b"]), list(&["ab"]));
        assert_ne!(list(&[""]), list(&[]));
    }

    #[test]
    fn names_are_forty_capital_digits_and_can_be_read_back() {
        let key = key("k", &[("a", "b")]);
        let name = key.to_string();
        assert_eq!(name.len(), 40);
        assert!(name.bytes().all(|c| c.is_ascii_digit() || (b'A'..=b'F').contains(&c)), "{name}");
        assert_eq!(Key::parse(&name), Some(key));
        assert_eq!(Key::parse(&name[1..]), None);
        assert_eq!(Key::parse(&name.to_lowercase()), None);
    }

    #[test]
    fn the_hash_is_blake3() {
        // Of a builder that has been fed nothing but "abc"; from the test vectors of b3sum.
        let mut builder = KeyBuilder(Hasher::new());
        builder.0.update(b"abc");
        assert_eq!(builder.finish().to_string(), "6437B3AC38465133FFB63B75273A8DB548C55846");
    }
}
