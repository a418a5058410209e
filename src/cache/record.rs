//! Which entry a key stands for, and what the entry must be.
//!
//! In: a key and an object. Out: a line of text, and back. The line is
//! `liblto-cache 1 <key> <key of the entry> <length> <checksum>`: the key itself, so that a record
//! in the wrong place is none; the length in bytes, decimal; the checksum 128 bits of XXH3, which
//! finds every accident (the keys are what an attacker would have to break, and who can write into
//! the cache need not).

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_128;

use super::Key;

const MAGIC: &str = "liblto-cache 1";

/// What is known of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The key that the entry is named by.
    pub(super) entry: Key,
    /// In bytes.
    pub(super) length: u64,
    checksum: u128,
}

impl Record {
    pub(super) fn of(entry: &Key, object: &[u8]) -> Self {
        Record { entry: *entry, length: object.len() as u64, checksum: xxh3_128(object) }
    }

    /// The same bytes as an entry of another name.
    pub(super) fn with_entry(self, entry: &Key) -> Self {
        Record { entry: *entry, ..self }
    }

    /// Whether these are the bytes that were stored.
    pub(super) fn describes(&self, object: &[u8]) -> bool {
        object.len() as u64 == self.length && xxh3_128(object) == self.checksum
    }

    pub(super) fn to_text(self, key: &Key) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ =
            writeln!(text, "{MAGIC} {key} {} {} {:032x}", self.entry, self.length, self.checksum);
        text
    }

    /// The record of `key`; None for anything but exactly what [`Record::to_text`] writes.
    pub(super) fn parse(key: &Key, text: &[u8]) -> Option<Record> {
        let line = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
        let mut words = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.split(' ');
        if Key::parse(words.next()?)? != *key {
            return None;
        }
        let record = Record {
            entry: Key::parse(words.next()?)?,
            length: words.next()?.parse().ok()?,
            checksum: u128::from_str_radix(words.next()?, 16).ok()?,
        };
        (record.to_text(key).as_bytes() == text).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::KeyBuilder;

    #[test]
    fn every_changed_byte_of_a_record_makes_it_none_or_another() {
        let key = KeyBuilder::new("one").finish();
        let entry = KeyBuilder::new("two").finish();
        let object = b"the object";
        let record = Record::of(&entry, object);
        let text = record.to_text(&key).into_bytes();
        assert_eq!(Record::parse(&key, &text), Some(record));
        assert_eq!(Record::parse(&entry, &text), None, "in the wrong place");
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut broken = text.clone();
                broken[at] ^= 1 << bit;
                if let Some(other) = Record::parse(&key, &broken) {
                    // Another entry's name or another object's checksum: neither is ours.
                    assert!(other.entry != entry || !other.describes(object), "byte {at}");
                }
            }
            assert_eq!(Record::parse(&key, &text[..at]), None, "cut at {at}");
        }
    }
}
