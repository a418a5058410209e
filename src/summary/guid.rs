//! GUIDs: the low 64 bits of the MD5 of a global identifier.
//!
//! In: names. Out: [`Guid`]s, one at a time or many at once. Reading summaries spends much of its
//! time here, so [`Batch`] hashes eight names of like length side by side, which compilers turn
//! into vector instructions.
//!
//! A global identifier (`GlobalValue::getGlobalIdentifier`) is the name without a leading `\1`
//! and, for a value of local linkage, the source file name and a separator before it: `;` since
//! LLVM 18, `:` before. A module without a source file name counts as `<unknown>`.

use crate::ir::Guid;

/// What stands between source file name and name in the identifier of a local value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LocalSeparator {
    /// `;`, LLVM 18 and later.
    #[default]
    Semicolon,
    /// `:`, before LLVM 18.
    Colon,
}

impl LocalSeparator {
    /// The byte itself.
    pub fn byte(self) -> u8 {
        match self {
            LocalSeparator::Semicolon => b';',
            LocalSeparator::Colon => b':',
        }
    }
}

/// The GUID of a global identifier, hashed as it stands.
pub fn guid_of(identifier: &[u8]) -> Guid {
    let mut state = INIT;
    let mut chunks = identifier.chunks_exact(64);
    for chunk in &mut chunks {
        state = compress(state, &words(chunk));
    }
    for block in padded_tail(chunks.remainder(), identifier.len()).chunks_exact(64) {
        state = compress(state, &words(block));
    }
    guid(state)
}

/// The GUID of a value by its name as it stands in the IR. `local` gives the source file name
/// where the linkage is local.
pub fn guid_of_value(name: &[u8], local: Option<(&[u8], LocalSeparator)>) -> Guid {
    let plain = name.strip_prefix(b"\x01").unwrap_or(name);
    match local {
        None => guid_of(plain),
        Some((source, separator)) => {
            let mut identifier = local_prefix(source, separator);
            identifier.extend_from_slice(plain);
            guid_of(&identifier)
        }
    }
}

/// The GUIDs of many global identifiers, several hashed at a time.
pub fn guids_of<'n>(identifiers: impl ExactSizeIterator<Item = &'n [u8]>) -> Vec<Guid> {
    let mut guids = vec![Guid::default(); identifiers.len()];
    let mut batch = Batch::default();
    for (identifier, place) in identifiers.zip(0..) {
        batch.push(&[], identifier, place, &mut guids);
    }
    batch.finish(&mut guids);
    guids
}

/// What stands before the name in the identifier of a local value.
pub(super) fn local_prefix(source: &[u8], separator: LocalSeparator) -> Vec<u8> {
    let source = if source.is_empty() { b"<unknown>" } else { source };
    let mut prefix = source.to_vec();
    prefix.push(separator.byte());
    prefix
}

/// How many messages go side by side.
const LANES: usize = 8;
/// Messages of more blocks than this are rare and hashed alone.
const MAX_BLOCKS: usize = 6;

/// Hashes many identifiers and stores each GUID where it belongs. Nothing is sure to be stored
/// before [`Batch::finish`].
#[derive(Default)]
pub(super) struct Batch {
    /// By number of 64-byte blocks, the messages that wait for a full set of lanes.
    waiting: [Waiting; MAX_BLOCKS],
}

#[derive(Default)]
struct Waiting {
    /// Padded messages, one after another.
    bytes: Vec<u8>,
    /// Which place in the output each is for.
    places: Vec<u32>,
}

impl Batch {
    /// Adds the identifier `prefix` + `name`, whose GUID goes to `out[place]`.
    pub(super) fn push(&mut self, prefix: &[u8], name: &[u8], place: u32, out: &mut [Guid]) {
        let len = prefix.len() + name.len();
        let blocks = (len + 9).div_ceil(64);
        let Some(waiting) = self.waiting.get_mut(blocks - 1) else {
            let mut whole = prefix.to_vec();
            whole.extend_from_slice(name);
            if let Some(slot) = out.get_mut(place as usize) {
                *slot = guid_of(&whole);
            }
            return;
        };
        let end = waiting.bytes.len() + blocks * 64;
        waiting.bytes.extend_from_slice(prefix);
        waiting.bytes.extend_from_slice(name);
        waiting.bytes.push(0x80);
        waiting.bytes.resize(end - 8, 0);
        waiting.bytes.extend_from_slice(&(len as u64 * 8).to_le_bytes());
        waiting.places.push(place);
        if waiting.places.len() == LANES {
            waiting.flush(blocks, out);
        }
    }

    /// Hashes what still waits.
    pub(super) fn finish(&mut self, out: &mut [Guid]) {
        for (i, waiting) in self.waiting.iter_mut().enumerate() {
            if !waiting.places.is_empty() {
                waiting.flush(i + 1, out);
            }
        }
    }
}

impl Waiting {
    fn flush(&mut self, blocks: usize, out: &mut [Guid]) {
        // Lanes without a message hash zeros, whose result nobody takes.
        self.bytes.resize(LANES * blocks * 64, 0);
        let mut state: [[u32; LANES]; 4] = INIT.map(|word| [word; LANES]);
        for block in 0..blocks {
            let mut message = [[0u32; LANES]; 16];
            for (lane, bytes) in self.bytes.chunks_exact(blocks * 64).take(LANES).enumerate() {
                let words = bytes.chunks_exact(4).skip(block * 16);
                for (row, word) in message.iter_mut().zip(words) {
                    if let (Some(slot), Ok(word)) = (row.get_mut(lane), word.try_into()) {
                        *slot = u32::from_le_bytes(word);
                    }
                }
            }
            compress_lanes(&mut state, &message);
        }
        let [low, high, _, _] = &state;
        for ((&place, &low), &high) in self.places.iter().zip(low).zip(high) {
            if let Some(slot) = out.get_mut(place as usize) {
                *slot = Guid(u64::from(high) << 32 | u64::from(low));
            }
        }
        self.bytes.clear();
        self.places.clear();
    }
}

const INIT: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// MD5's additive constants: the integer parts of 2^32 * |sin(i + 1)| (RFC 1321).
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee,
    0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa,
    0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed,
    0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05,
    0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039,
    0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

fn guid(state: [u32; 4]) -> Guid {
    let [low, high, _, _] = state;
    Guid(u64::from(high) << 32 | u64::from(low))
}

fn words(block: &[u8]) -> [u32; 16] {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_le_bytes);
    }
    words
}

/// The last bytes of a message of `len` bytes with MD5's padding: one block or two.
fn padded_tail(rest: &[u8], len: usize) -> Vec<u8> {
    let mut tail = rest.to_vec();
    tail.push(0x80);
    tail.resize((rest.len() + 9).div_ceil(64) * 64 - 8, 0);
    tail.extend_from_slice(&(len as u64).wrapping_mul(8).to_le_bytes());
    tail
}

fn compress(state: [u32; 4], message: &[u32; 16]) -> [u32; 4] {
    let mut lanes = state.map(|word| [word]);
    compress_lanes(&mut lanes, &message.map(|word| [word]));
    lanes.map(|[word]| word)
}

/// One round of sixteen steps: `f` mixes, step `i` takes message word `(i * step + first) % 16`.
#[inline(always)]
fn round<const N: usize>(
    state: &mut [[u32; N]; 4],
    message: &[[u32; N]; 16],
    sines: &[u32],
    (step, first): (usize, usize),
    rotate: [u32; 4],
    f: impl Fn(u32, u32, u32) -> u32,
) {
    let [mut a, mut b, mut c, mut d] = *state;
    for (i, sine) in sines.iter().enumerate() {
        let Some(word) = message.get((i * step + first) % 16) else { return };
        let Some(&by) = rotate.get(i % 4) else { return };
        let mut next = [0u32; N];
        for ((((next, a), (b, c)), d), m) in
            next.iter_mut().zip(&a).zip(b.iter().zip(&c)).zip(&d).zip(word)
        {
            let sum = a.wrapping_add(f(*b, *c, *d)).wrapping_add(*m).wrapping_add(*sine);
            *next = sum.rotate_left(by).wrapping_add(*b);
        }
        (a, b, c, d) = (d, next, b, c);
    }
    *state = [a, b, c, d];
}

#[inline(always)]
fn compress_lanes<const N: usize>(state: &mut [[u32; N]; 4], message: &[[u32; N]; 16]) {
    let before = *state;
    let (s0, rest) = SINES.split_at(16);
    let (s1, rest) = rest.split_at(16);
    let (s2, s3) = rest.split_at(16);
    round(state, message, s0, (1, 0), [7, 12, 17, 22], |b, c, d| d ^ (b & (c ^ d)));
    round(state, message, s1, (5, 1), [5, 9, 14, 20], |b, c, d| c ^ (d & (b ^ c)));
    round(state, message, s2, (3, 5), [4, 11, 16, 23], |b, c, d| b ^ c ^ d);
    round(state, message, s3, (7, 0), [6, 10, 15, 21], |b, c, d| c ^ (b | !d));
    for (word, before) in state.iter_mut().zip(&before) {
        for (lane, before) in word.iter_mut().zip(before) {
            *lane = lane.wrapping_add(*before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_guids() {
        // `llvm-lto -thinlto-action=thinlink` and `llvm-dis` on LLVM 22.
        assert_eq!(guid_of(b"main"), Guid(15822663052811949562));
        // RFC 1321's test suite, first eight bytes of each digest.
        assert_eq!(guid_of(b"").0.to_le_bytes(), [0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0, 0xb2, 4]);
        assert_eq!(
            guid_of(
                b"12345678901234567890123456789012345678901234567890123456789012345678901234567890"
            )
            .0
            .to_le_bytes(),
            [0x57, 0xed, 0xf4, 0xa2, 0x2b, 0xe3, 0xc9, 0x55]
        );
    }

    #[test]
    fn local_names_carry_their_file() {
        let with = |source: &'static [u8], separator| Some((source, separator));
        let semicolon = LocalSeparator::Semicolon;
        assert_eq!(guid_of_value(b"f", with(b"a.c", semicolon)), guid_of(b"a.c;f"));
        assert_eq!(guid_of_value(b"f", with(b"a.c", LocalSeparator::Colon)), guid_of(b"a.c:f"));
        assert_eq!(guid_of_value(b"f", with(b"", semicolon)), guid_of(b"<unknown>;f"));
        assert_eq!(guid_of_value(b"\x01f", None), guid_of(b"f"));
    }

    #[test]
    fn many_at_once_equal_one_at_a_time() {
        let names: Vec<Vec<u8>> = (0..900).map(|n| vec![b'a' + (n % 26) as u8; n]).collect();
        let mut out = vec![Guid(0); names.len()];
        let mut batch = Batch::default();
        for (place, name) in names.iter().enumerate() {
            batch.push(b"pre;", name, place as u32, &mut out);
        }
        batch.finish(&mut out);
        for (name, guid) in names.iter().zip(out) {
            let mut whole = b"pre;".to_vec();
            whole.extend_from_slice(name);
            assert_eq!(guid, guid_of(&whole));
        }
    }
}
