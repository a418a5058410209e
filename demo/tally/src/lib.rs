//! Counts how often each word occurs.

/// Counters by word, in an open hash table of fixed size.
pub struct Tally {
    slots: Vec<(u64, u32)>,
}

impl Tally {
    /// A table for at most `1 << bits` different words.
    pub fn with_bits(bits: u32) -> Self {
        Tally { slots: vec![(0, 0); 1 << bits] }
    }

    /// Counts one word.
    pub fn add(&mut self, word: &[u8]) {
        let hash = fold(word);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].1 != 0 && self.slots[at].0 != hash {
            at = (at + 1) & mask;
        }
        self.slots[at].0 = hash;
        self.slots[at].1 += 1;
    }

    /// How many different words there were, and how often the most frequent one occurred.
    pub fn summary(&self) -> (usize, u32) {
        let used = self.slots.iter().filter(|slot| slot.1 != 0).count();
        (used, self.slots.iter().map(|slot| slot.1).max().unwrap_or(0))
    }
}

/// A hash of the word without regard to case (FNV-1a, and a last mix for the low bits).
pub fn fold(word: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for b in word.iter().map(u8::to_ascii_lowercase) {
        hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 32)) | 1
}
