//! Records of many small integers on their way out, without branches that depend on the values.
//!
//! In: a [`Writer`] and the fields of a record. Out: the same bits as field by field.

use super::writer::Writer;

/// So many scalars at the end of a record of more are written at once where each is one chunk.
const TAIL: usize = 4;

impl Writer {
    /// Writes a record by the abbreviation `id`: its `scalars` in chunks of the widths that come with
    /// them, 4, 6 or 8, and where its abbreviation ends with one an `array` in chunks of 8 bits.
    ///
    /// Values are of any size, in an order that no processor predicts: nearly all are laid out without
    /// a branch that depends on them.
    #[inline(always)]
    pub fn vbr_record<const N: usize>(
        &mut self,
        (id, id_width): (u32, u32),
        scalars: [u64; N],
        widths: &[u32],
        array: Option<&[u64]>,
    ) {
        debug_assert!(widths.iter().all(|width| matches!(width, 4 | 6 | 8)));
        let elements = array.unwrap_or_default();
        let any = scalars.iter().chain(elements).fold(0, |any, value| any | value);
        // A value takes eleven bytes at most, most of them five; and eight are stored at a time.
        let bytes = if any >> 28 == 0 { 5 } else { 11 };
        let start = self.out.len();
        self.out.resize(start + bytes * (N + elements.len() + 3) + 8, 0);
        let mut row =
            Row { out: self.out.get_mut(start..).unwrap_or_default(), at: 0, bits: 0, len: 0 };
        row.push(self.pending & 0xffff_ffff, self.pending_bits.min(32));
        row.push(self.pending >> 32, self.pending_bits.saturating_sub(32));
        row.push(u64::from(id), id_width);
        // The last of many are mostly so small that they can go out together.
        let (head, tail) = scalars.split_at(if N > TAIL { N - TAIL } else { N });
        let (head_widths, tail_widths) = widths.split_at(head.len().min(widths.len()));
        row.scalars(head, head_widths);
        if tail.iter().fold(0, |any, value| any | value) < 8 {
            let (mut bits, mut len) = (0, 0);
            for (value, width) in tail.iter().zip(tail_widths) {
                bits |= value << len;
                len += width;
            }
            row.push(bits, len);
        } else {
            row.scalars(tail, tail_widths);
        }
        if array.is_some() {
            row.vbr::<6>(elements.len() as u64);
            for &value in elements {
                row.vbr::<8>(value);
            }
        }
        let Row { at, bits, len, .. } = row;
        self.out.truncate(start + at);
        (self.pending, self.pending_bits) = (bits, len);
    }
}

/// A row of fields on its way out: bytes with room for all of them, and fewer than eight bits that are
/// not in them yet. All that is done with it is inlined, so that it is in registers: a call that is
/// handed it would keep it in memory, even one that is rare.
struct Row<'o> {
    out: &'o mut [u8],
    at: usize,
    bits: u64,
    len: u32,
}

impl Row<'_> {
    /// Appends up to 56 bits.
    #[inline(always)]
    fn push(&mut self, value: u64, width: u32) {
        let bits = self.bits | value << self.len;
        let len = self.len + width;
        if let Some(place) = self.out.get_mut(self.at..self.at + 8) {
            place.copy_from_slice(&bits.to_le_bytes());
        }
        let bytes = len / 8;
        self.at += bytes as usize;
        self.bits = bits >> (bytes * 8);
        self.len = len % 8;
    }

    #[inline(always)]
    fn scalars(&mut self, values: &[u64], widths: &[u32]) {
        for (&value, &width) in values.iter().zip(widths) {
            match width {
                4 => self.vbr::<4>(value),
                6 => self.vbr::<6>(value),
                _ => self.vbr::<8>(value),
            }
        }
    }

    #[inline(always)]
    fn vbr<const W: u32>(&mut self, value: u64) {
        if value >> const { 4 * (W - 1) } == 0 {
            let (chunks, width) = four_chunks::<W>(value);
            self.push(chunks, width);
        } else {
            let [(first, first_width), (rest, rest_width)] = all_chunks::<W>(value);
            self.push(first, first_width);
            self.push(rest, rest_width);
        }
    }
}

/// The chunks of any value, as many as 56 bits hold and the rest, and how many bits these take.
#[cold]
#[inline(never)]
fn all_chunks<const W: u32>(value: u64) -> [(u64, u32); 2] {
    let more = const { 1u64 << (W - 1) };
    let mut parts = [(0, 0); 2];
    let mut left = Some(value);
    for (bits, width) in &mut parts {
        while let Some(value) = left
            && *width + W <= 56
        {
            let is_last = value < more;
            let mark = if is_last { 0 } else { more };
            *bits |= (value & (more - 1) | mark) << *width;
            *width += W;
            left = (!is_last).then_some(value >> (W - 1));
        }
    }
    parts
}

/// A value of up to four chunks laid out without asking how many there are, which is hard to predict,
/// and how many bits that takes.
#[inline(always)]
pub(super) fn four_chunks<const W: u32>(value: u64) -> (u64, u32) {
    let part = const { (1u64 << (W - 1)) - 1 };
    let chunks = value & part
        | (value >> (W - 1) & part) << W
        | (value >> (2 * (W - 1)) & part) << (2 * W)
        | (value >> (3 * (W - 1))) << (3 * W);
    let top = (value | 1).ilog2() as usize % 32;
    let (marks, width) = const { marks::<W>() }.get(top).copied().unwrap_or_default();
    (chunks | u64::from(marks), width)
}

/// By the place of a value's highest bit, the bits that say of its chunks that another follows, and how
/// many bits all of them take.
#[allow(clippy::indexing_slicing)] // a constant: out of range is an error of the compiler
const fn marks<const W: u32>() -> &'static [(u32, u32); 32] {
    const {
        let mut all = [(0, 0); 32];
        let mut top = 0;
        while top < 4 * (W - 1) {
            let chunks = top / (W - 1) + 1;
            let mut chunk = 1;
            while chunk < chunks {
                all[top as usize].0 |= 1 << (chunk * W - 1);
                chunk += 1;
            }
            all[top as usize].1 = chunks * W;
            top += 1;
        }
        &{ all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_field_by_field() {
        let mut fast = Writer::new();
        let mut slow = Writer::new();
        let mut seed = 1u64;
        let mut value = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Of all lengths, most of them short.
            let bits = if seed >> 33 & 7 == 0 { 64 } else { 20 };
            ((seed >> 7) ^ (seed << 11)) >> (64 - bits) >> ((seed >> 40) % bits)
        };
        for n in 0..3000u64 {
            // Every state that fields before may leave.
            let width = (n % 33) as u32;
            let before = value() & ((1 << width) - 1);
            let mut scalars = [value(), value(), value(), value(), value()];
            if n % 4 == 0 {
                scalars.iter_mut().skip(1).for_each(|value| *value %= 8);
            }
            let array: Vec<u64> = (0..n % 40).map(|_| value()).collect();
            let array = (n % 3 > 0).then_some(array.as_slice());
            let widths = [8, 6, 4, 8, 4];
            fast.fixed(before, width);
            slow.fixed(before, width);
            fast.vbr_record((n as u32 % 16, 4), scalars, &widths, array);
            slow.fixed(n % 16, 4);
            scalars.iter().zip(widths).for_each(|(&value, width)| slow.vbr(value, width));
            if let Some(array) = array {
                slow.vbr(array.len() as u64, 6);
                slow.vbr_all(array.iter().copied(), 8);
            }
            assert_eq!(fast.bit(), slow.bit(), "record {n}");
        }
        let mut largest = Writer::new();
        largest.vbr_record((15, 4), [u64::MAX; 20], &[4; 20], Some(&[u64::MAX; 20]));
        assert_eq!(largest.bit(), 4 + 20 * 88 + 6 + 20 * 80);
        assert_eq!(fast.finish(), slow.finish());
    }
}
