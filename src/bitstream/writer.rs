//! The other direction: bits out.
//!
//! In: integers, records, abbreviations, and bit ranges of another stream to copy. Out: bytes.

use super::abbrev::{Abbrev, Scalar, Tail, char6};
use super::abbrev_id;
use super::reader::Block;
use super::row::four_chunks;

/// Collects a bitstream. It cannot fail; what is asked for is written.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    pub(super) out: Vec<u8>,
    /// The bits not yet in `out`, low bit first; fewer than eight whole bytes.
    pub(super) pending: u64,
    pub(super) pending_bits: u32,
}

/// A block that was begun; give it back to [`Writer::end_block`].
#[derive(Debug)]
#[must_use = "a block must be ended for its length to be written"]
pub struct OpenBlock {
    length_at: usize,
    outer_width: u32,
}

impl Writer {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty stream with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Writer { out: Vec::with_capacity(bytes), pending: 0, pending_bits: 0 }
    }

    /// Where the next bit goes.
    pub fn bit(&self) -> u64 {
        self.out.len() as u64 * 8 + u64::from(self.pending_bits)
    }

    /// The bytes; the last one is filled up with zero bits.
    pub fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.out
    }

    fn flush(&mut self) {
        let bytes = self.pending_bits.div_ceil(8) as usize;
        self.out.extend(self.pending.to_le_bytes().iter().take(bytes));
        self.pending = 0;
        self.pending_bits = 0;
    }

    /// Writes the low `width` bits of `value`, at most 64; higher bits must be zero.
    #[inline]
    pub fn fixed(&mut self, value: u64, width: u32) {
        let mut tail = Tail64::of(self);
        tail.fixed(value, width, &mut self.out);
        tail.give_back(self);
    }

    /// Writes `value` in chunks of `width` bits.
    #[inline]
    pub fn vbr(&mut self, value: u64, width: u32) {
        let mut tail = Tail64::of(self);
        tail.vbr(value, width, &mut self.out);
        tail.give_back(self);
    }

    /// Writes the low `width` bits of `value`, at most 32, and another value in chunks of 6 bits, which
    /// are mostly few.
    #[inline]
    pub fn fixed_and_vbr6(&mut self, (value, width): (u64, u32), chunked: u64) {
        if chunked >> 20 == 0 {
            let (chunks, len) = four_chunks::<6>(chunked);
            self.fixed(value | chunks << width, width + len);
        } else {
            self.fixed(value, width);
            self.vbr(chunked, 6);
        }
    }

    /// Writes all `values` in chunks of `width` bits.
    #[inline]
    pub fn vbr_all(&mut self, values: impl Iterator<Item = u64>, width: u32) {
        let mut tail = Tail64::of(self);
        for value in values {
            tail.vbr(value, width, &mut self.out);
        }
        tail.give_back(self);
    }

    /// Writes `value` in exactly `chunks` chunks, so that it can be patched later. Bits that do
    /// not fit are lost: choose enough chunks.
    pub fn vbr_padded(&mut self, mut value: u64, width: u32, chunks: u32) {
        let more = 1u64 << (width - 1);
        for left in (0..chunks).rev() {
            let mark = if left > 0 { more } else { 0 };
            self.fixed(value & (more - 1) | mark, width);
            value >>= width - 1;
        }
        debug_assert_eq!(value, 0);
    }

    /// Fills up with zero bits to a multiple of 32.
    pub fn align32(&mut self) {
        let missing = (self.bit().next_multiple_of(32) - self.bit()) as u32;
        self.fixed(0, missing);
    }

    /// Appends bytes; the position must be a multiple of 8.
    pub fn bytes(&mut self, bytes: &[u8]) {
        debug_assert!(self.pending_bits.is_multiple_of(8));
        self.flush();
        self.out.extend_from_slice(bytes);
    }

    /// Appends the bits `start..end` of `data`, whatever the alignment of either side.
    pub fn copy_bits(&mut self, data: &[u8], start: u64, end: u64) {
        let mut c = super::Cursor::range(data, start, end);
        if start.is_multiple_of(8) && self.pending_bits.is_multiple_of(8) {
            let whole = c.remaining() / 8;
            if let Ok(bytes) = c.bytes(whole) {
                self.bytes(bytes);
            }
        }
        // Whole words where the source is aligned to bytes, which then need no shifting.
        if c.bit().is_multiple_of(8) {
            let first = (c.bit() / 8) as usize;
            let words = (c.remaining() / 64) as usize;
            let (words, _) = data.get(first..first + words * 8).unwrap_or(&[]).as_chunks::<8>();
            self.words(words);
            if c.seek(c.bit() + words.len() as u64 * 64).is_err() {
                return;
            }
        }
        while c.remaining() > 0 {
            let width = c.remaining().min(32) as u32;
            match c.fixed(width) {
                Ok(bits) => self.fixed(bits, width),
                Err(_) => break,
            }
        }
    }

    /// Appends whole words.
    fn words(&mut self, words: &[[u8; 8]]) {
        let by = self.pending_bits;
        let start = self.out.len();
        self.out.resize(start + words.len() * 8, 0);
        let places = self.out.get_mut(start..).unwrap_or_default().as_chunks_mut::<8>().0;
        for (place, word) in places.iter_mut().zip(words) {
            let word = u64::from_le_bytes(*word);
            *place = (self.pending | word << by).to_le_bytes();
            // In two steps, as there may be nothing pending.
            self.pending = word >> (63 - by) >> 1;
        }
    }

    /// Begins a block inside one whose abbreviation ids have `outer_width` bits (2 at top level).
    pub fn begin_block(&mut self, outer_width: u32, id: u32, abbrev_width: u32) -> OpenBlock {
        self.fixed(abbrev_id::ENTER_SUBBLOCK, outer_width);
        self.vbr(u64::from(id), 8);
        self.vbr(u64::from(abbrev_width), 4);
        self.align32();
        self.flush();
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        OpenBlock { length_at, outer_width: abbrev_width }
    }

    /// Ends a block: END_BLOCK, padding, and the length in its head.
    pub fn end_block(&mut self, block: OpenBlock) {
        self.fixed(abbrev_id::END_BLOCK, block.outer_width);
        self.align32();
        self.patch_length(block.length_at);
    }

    /// Ends a block whose END_BLOCK was copied with its body.
    pub fn close_copied_block(&mut self, block: OpenBlock) {
        debug_assert!(self.bit().is_multiple_of(32));
        self.patch_length(block.length_at);
    }

    fn patch_length(&mut self, at: usize) {
        self.flush();
        let words = ((self.out.len() - at) / 4).saturating_sub(1) as u32;
        if let Some(place) = self.out.get_mut(at..at + 4) {
            place.copy_from_slice(&words.to_le_bytes());
        }
    }

    /// Copies a whole block of `data`: its head written anew for the place it gets, its body as
    /// it stands.
    pub fn copy_block(&mut self, outer_width: u32, data: &[u8], block: &Block) {
        let open = self.begin_block(outer_width, block.id, block.abbrev_width);
        self.bytes(block.body_bytes(data));
        self.close_copied_block(open);
    }

    /// Writes a record without abbreviation.
    pub fn record(&mut self, abbrev_width: u32, code: u32, fields: &[u64]) {
        self.fixed(abbrev_id::UNABBREV_RECORD, abbrev_width);
        self.vbr(u64::from(code), 6);
        self.vbr(fields.len() as u64, 6);
        self.vbr_all(fields.iter().copied(), 6);
    }

    /// Writes a DEFINE_ABBREV. Its id is the block's next, from 4 on.
    pub fn define_abbrev(&mut self, abbrev_width: u32, abbrev: &Abbrev) {
        self.fixed(abbrev_id::DEFINE_ABBREV, abbrev_width);
        self.vbr(abbrev.operand_count(), 5);
        for &scalar in &abbrev.scalars {
            self.abbrev_operand(scalar);
        }
        match abbrev.tail {
            Tail::None => {}
            Tail::Array(element) => {
                self.fixed(0, 1);
                self.fixed(Tail::ARRAY_ENCODING, 3);
                self.abbrev_operand(element);
            }
            Tail::Blob => {
                self.fixed(0, 1);
                self.fixed(Tail::BLOB_ENCODING, 3);
            }
        }
    }

    fn abbrev_operand(&mut self, scalar: Scalar) {
        if let Scalar::Literal(value) = scalar {
            self.fixed(1, 1);
            self.vbr(value, 8);
            return;
        }
        let (encoding, width) = scalar.encoding();
        self.fixed(0, 1);
        self.fixed(encoding, 3);
        if let Some(width) = width {
            self.vbr(u64::from(width), 5);
        }
    }

    /// Writes a record by abbreviation `id`. `fields` holds what the abbreviation's scalars after
    /// the code take and then the array's elements; literals are given too and not written.
    pub fn abbreviated(
        &mut self,
        abbrev_width: u32,
        id: u32,
        abbrev: &Abbrev,
        code: u32,
        fields: &[u64],
        blob: Option<&[u8]>,
    ) {
        self.fixed(u64::from(id), abbrev_width);
        let mut scalars = abbrev.scalars.iter();
        if let Some(&first) = scalars.next() {
            self.scalar(first, u64::from(code));
        }
        let mut fields = fields.iter();
        for (&scalar, &field) in scalars.by_ref().zip(fields.by_ref()) {
            self.scalar(scalar, field);
        }
        debug_assert_eq!(scalars.len(), 0, "fewer fields than the abbreviation has");
        match abbrev.tail {
            Tail::None => {
                debug_assert_eq!(fields.len(), 0, "more fields than the abbreviation has")
            }
            Tail::Array(element) => {
                self.vbr(fields.len() as u64, 6);
                if element == Scalar::Char6 {
                    self.letters(fields.as_slice());
                } else {
                    fields.for_each(|&field| self.scalar(element, field));
                }
            }
            Tail::Blob => {
                let blob = blob.unwrap_or(&[]);
                self.vbr(blob.len() as u64, 6);
                self.align32();
                self.bytes(blob);
                self.align32();
            }
        }
    }

    /// Writes letters of six bits each.
    fn letters(&mut self, letters: &[u64]) {
        let mut tail = Tail64::of(self);
        for &letter in letters {
            tail.fixed(char6_code(letter), 6, &mut self.out);
        }
        tail.give_back(self);
    }

    #[inline]
    fn scalar(&mut self, scalar: Scalar, value: u64) {
        match scalar {
            Scalar::Literal(literal) => debug_assert_eq!(literal, value),
            Scalar::Fixed(width) => self.fixed(value, width),
            Scalar::Vbr(width) => self.vbr(value, width),
            Scalar::Char6 => self.fixed(char6_code(value), 6),
        }
    }

    /// Overwrites `width` bits at `bit`, which must have been written (not pending) already.
    pub fn patch(&mut self, bit: u64, value: u64, width: u32) {
        if bit + u64::from(width) > self.out.len() as u64 * 8 && self.pending_bits.is_multiple_of(8)
        {
            self.flush();
        }
        for i in 0..width {
            let at = bit + u64::from(i);
            let set = value >> i & 1;
            if let Some(byte) = self.out.get_mut((at / 8) as usize) {
                let mask = 1u8 << (at % 8);
                *byte = if set == 1 { *byte | mask } else { *byte & !mask };
            }
        }
    }

    /// Overwrites a vbr written by [`Writer::vbr_padded`] with the same width and chunks.
    pub fn patch_vbr(&mut self, bit: u64, mut value: u64, width: u32, chunks: u32) {
        let payload = u64::from(width - 1);
        for i in 0..u64::from(chunks) {
            self.patch(bit + i * u64::from(width), value & ((1 << payload) - 1), width - 1);
            value >>= payload;
        }
        debug_assert_eq!(value, 0);
    }
}

#[inline(always)]
fn char6_code(letter: u64) -> u64 {
    let code = u8::try_from(letter).ok().and_then(char6);
    debug_assert!(code.is_some(), "{letter} is no char6");
    u64::from(code.unwrap_or(0))
}

/// The pending bits of a [`Writer`], taken out of it for some fields in a row, so that the
/// processor has them in its registers.
struct Tail64 {
    bits: u64,
    len: u32,
}

impl Tail64 {
    #[inline(always)]
    fn of(w: &Writer) -> Self {
        Tail64 { bits: w.pending, len: w.pending_bits }
    }

    #[inline(always)]
    fn give_back(self, w: &mut Writer) {
        (w.pending, w.pending_bits) = (self.bits, self.len);
    }

    #[inline(always)]
    fn fixed(&mut self, value: u64, width: u32, out: &mut Vec<u8>) {
        debug_assert!(width == 64 || value >> width == 0, "{value} in {width} bits");
        let bits = self.bits | value << self.len;
        let filled = self.len + width;
        if filled < 64 {
            (self.bits, self.len) = (bits, filled);
            return;
        }
        out.extend_from_slice(&bits.to_le_bytes());
        // In two steps, as the first may be all 64.
        self.bits = value >> (63 - self.len) >> 1;
        self.len = filled - 64;
    }

    #[inline(always)]
    fn vbr(&mut self, value: u64, width: u32, out: &mut Vec<u8>) {
        match width {
            4 => self.vbr_of::<4>(value, out),
            6 => self.vbr_of::<6>(value, out),
            8 => self.vbr_of::<8>(value, out),
            _ => self.vbr_chunks(value, width, out),
        }
    }

    #[inline(always)]
    fn vbr_of<const W: u32>(&mut self, value: u64, out: &mut Vec<u8>) {
        if value >> const { W - 1 } == 0 {
            self.fixed(value, W, out);
        } else if value >> const { 4 * (W - 1) } == 0 {
            let (chunks, width) = four_chunks::<W>(value);
            self.fixed(chunks, width, out);
        } else {
            self.vbr_long::<W>(value, out);
        }
    }

    /// Eight chunks at a time, as hashes have twelve or thirteen.
    fn vbr_long<const W: u32>(&mut self, mut value: u64, out: &mut Vec<u8>) {
        let part = const { (1u64 << (W - 1)) - 1 };
        while value >> const { 8 * (W - 1) } != 0 {
            let mut chunks = 0;
            for chunk in 0..8 {
                chunks |= ((value >> (chunk * (W - 1))) & part | (part + 1)) << (chunk * W);
            }
            self.fixed(chunks, 8 * W, out);
            value >>= 8 * (W - 1);
        }
        self.vbr_chunks(value, W, out);
    }

    fn vbr_chunks(&mut self, mut value: u64, width: u32, out: &mut Vec<u8>) {
        let more = 1u64 << (width - 1);
        while value >= more {
            self.fixed(value & (more - 1) | more, width, out);
            value >>= width - 1;
        }
        self.fixed(value, width, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlockInfo, BlockReader, Entry, Record, top_level};
    use super::*;

    fn abbrev(scalars: &[Scalar], tail: Tail) -> Abbrev {
        Abbrev { scalars: scalars.to_vec(), tail }
    }

    #[test]
    fn every_abbreviation_kind_reads_back() {
        let mut w = Writer::new();
        let block = w.begin_block(2, 8, 4);
        let letters = abbrev(&[Scalar::Literal(16)], Tail::Array(Scalar::Char6));
        let blob = abbrev(&[Scalar::Literal(1), Scalar::Vbr(6), Scalar::Fixed(32)], Tail::Blob);
        w.define_abbrev(4, &letters);
        w.define_abbrev(4, &blob);
        w.abbreviated(4, 4, &letters, 16, &[u64::from(b'z'), u64::from(b'_')], None);
        w.abbreviated(4, 5, &blob, 1, &[1 << 40, 0xffff_ffff], Some(b"hello"));
        w.record(4, 7, &[u64::MAX, 0, 31, 32]);
        w.end_block(block);
        let bytes = w.finish();

        let block = top_level(&bytes, 0).unwrap().unwrap();
        assert_eq!((block.id, block.abbrev_width, block.end), (8, 4, bytes.len() as u64 * 8));
        let mut reader = BlockReader::new(&bytes, &block, &BlockInfo::default());
        let mut r = Record::new();
        assert!(matches!(reader.next(&mut r), Ok(Entry::DefineAbbrev { .. })));
        assert!(matches!(reader.next(&mut r), Ok(Entry::DefineAbbrev { .. })));
        assert_eq!(reader.abbrev(5), Some(&blob));
        assert_eq!(reader.next(&mut r).unwrap(), Entry::Record);
        assert_eq!((r.code, r.string()), (16, b"z_".to_vec()));
        assert_eq!(reader.next(&mut r).unwrap(), Entry::Record);
        assert_eq!(
            (r.code, &r.fields[..], r.blob),
            (1, &[1 << 40, 0xffff_ffff][..], Some(&b"hello"[..]))
        );
        assert_eq!(reader.next(&mut r).unwrap(), Entry::Record);
        assert_eq!((r.code, &r.fields[..]), (7, &[u64::MAX, 0, 31, 32][..]));
        assert!(matches!(reader.next(&mut r), Ok(Entry::End { .. })));
        assert!(matches!(reader.next(&mut r), Ok(Entry::End { .. })));
        assert_eq!(top_level(&bytes, block.end).unwrap(), None);
    }

    #[test]
    fn copied_bits_are_the_same_at_any_alignment() {
        let source: Vec<u8> = (0..=255).collect();
        for (lead, start, end) in
            [(0, 0, 2048), (3, 0, 2048), (0, 5, 1999), (7, 13, 14), (8, 8, 77)]
        {
            let mut w = Writer::new();
            w.fixed(0, lead);
            w.copy_bits(&source, start, end);
            assert_eq!(w.bit(), u64::from(lead) + end - start);
            let out = w.finish();
            let bit_of = |data: &[u8], i: u64| data[(i / 8) as usize] >> (i % 8) & 1;
            for i in 0..end - start {
                assert_eq!(bit_of(&out, u64::from(lead) + i), bit_of(&source, start + i));
            }
        }
    }

    #[test]
    fn a_padded_vbr_can_be_patched() {
        let mut w = Writer::new();
        w.fixed(1, 5);
        let at = w.bit();
        w.vbr_padded(0, 6, 7);
        w.fixed(0x7ff, 17);
        w.align32();
        w.patch_vbr(at, 123_456_789, 6, 7);
        let bytes = w.finish();
        let mut c = super::super::Cursor::range(&bytes, at, 64);
        assert_eq!(c.vbr(6).unwrap(), 123_456_789);
        assert_eq!(c.fixed(17).unwrap(), 0x7ff);
    }

    #[test]
    fn a_block_longer_than_its_file_is_an_error() {
        let mut w = Writer::new();
        let block = w.begin_block(2, 8, 3);
        w.record(3, 1, &[2]);
        w.end_block(block);
        let mut bytes = w.finish();
        bytes[4] = 200;
        let error = top_level(&bytes, 0).unwrap_err();
        assert!(error.to_string().contains("runs past the end"), "{error}");
    }
}
