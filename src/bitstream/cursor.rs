//! A bit cursor over a byte slice: the hot loop of all reading.
//!
//! In: bytes and a range of bits. Out: fixed and variable width integers, and blobs. Every read
//! is checked against the range; the error names the bit.

use super::abbrev::Scalar;
use crate::error::{Error, Result};

/// Reads integers at a bit position. Cheap to clone, to look ahead.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    data: &'a [u8],
    pub(super) bit: u64,
    end: u64,
}

/// The largest width of a fixed or vbr field that LLVM's reader accepts (`MaxChunkSize`).
pub const MAX_WIDTH: u32 = 32;

impl<'a> Cursor<'a> {
    /// A cursor over all of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Cursor { data, bit: 0, end: (data.len() as u64).saturating_mul(8) }
    }

    /// A cursor over the bits `start..end` of `data`; the range is cut to what `data` has.
    pub fn range(data: &'a [u8], start: u64, end: u64) -> Self {
        let end = end.min((data.len() as u64).saturating_mul(8));
        Cursor { data, bit: start.min(end), end }
    }

    /// The bytes under the cursor, all of them.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where the next read starts, in bits.
    #[inline]
    pub fn bit(&self) -> u64 {
        self.bit
    }

    /// Where reading must stop, in bits.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many bits are left.
    #[inline]
    pub fn remaining(&self) -> u64 {
        self.end - self.bit
    }

    /// Moves to an absolute bit within the range.
    pub fn seek(&mut self, bit: u64) -> Result<()> {
        if bit > self.end {
            return Err(self.past_end());
        }
        self.bit = bit;
        Ok(())
    }

    #[cold]
    fn past_end(&self) -> Error {
        Error::malformed("unexpected end of the bitstream").at_bit(self.bit)
    }

    #[cold]
    fn long_vbr(&self) -> Error {
        Error::malformed("variable width integer of more than 64 bits").at_bit(self.bit)
    }

    /// At least 57 bits from `bit`, low bit first; bits past the slice are zero.
    #[inline(always)]
    pub(super) fn window(&self, bit: u64) -> u64 {
        let byte = (bit >> 3) as usize;
        let word = match self.data.get(byte..byte + 8).and_then(|chunk| chunk.try_into().ok()) {
            Some(chunk) => u64::from_le_bytes(chunk),
            None => self.last_bytes(byte),
        };
        word >> (bit & 7)
    }

    #[cold]
    fn last_bytes(&self, byte: usize) -> u64 {
        let tail = self.data.get(byte..).unwrap_or(&[]);
        tail.iter().take(8).rev().fold(0, |word, &b| word << 8 | u64::from(b))
    }

    /// The bits from here on, at least 57 of them, without moving; past the slice they are zero.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.window(self.bit)
    }

    /// Moves over `bits` that were looked at.
    #[inline]
    pub(super) fn advance(&mut self, bits: u32) -> Result<()> {
        if u64::from(bits) > self.remaining() {
            return Err(self.past_end());
        }
        self.bit += u64::from(bits);
        Ok(())
    }

    /// Reads `width` bits, at most 32.
    #[inline]
    pub fn fixed(&mut self, width: u32) -> Result<u64> {
        debug_assert!(width <= MAX_WIDTH);
        if u64::from(width) > self.remaining() {
            return Err(self.past_end());
        }
        let value = self.window(self.bit) & ((1u64 << width) - 1);
        self.bit += u64::from(width);
        Ok(value)
    }

    /// Reads an integer in chunks of `width` bits (2 to 32), the top bit of each saying whether
    /// another follows.
    #[inline]
    pub fn vbr(&mut self, width: u32) -> Result<u64> {
        debug_assert!((1..=MAX_WIDTH).contains(&width));
        let more = 1u64 << (width - 1);
        let first = self.window(self.bit) & ((more << 1) - 1);
        if first < more && u64::from(width) <= self.remaining() {
            self.bit += u64::from(width);
            return Ok(first);
        }
        self.vbr_chunks(width)
    }

    fn vbr_chunks(&mut self, width: u32) -> Result<u64> {
        let more = 1u64 << (width - 1);
        // Nearly every value ends within the bits that a window holds.
        let window = self.window(self.bit);
        let (mut value, mut used, mut shift) = (0u64, 0u32, 0u32);
        while width > 1 && used + width <= 57 {
            let chunk = window >> used;
            value |= (chunk & (more - 1)) << shift;
            used += width;
            shift += width - 1;
            if chunk & more == 0 {
                if u64::from(used) > self.remaining() {
                    return Err(self.past_end());
                }
                self.bit += u64::from(used);
                return Ok(value);
            }
        }
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let chunk = self.fixed(width)?;
            let part = chunk & (more - 1);
            if shift >= 64 || (shift > 0 && part >> (64 - shift) != 0) {
                // A padded zero chunk is harmless, a set bit past the top is not.
                if part != 0 || shift >= 128 {
                    return Err(self.long_vbr());
                }
            } else {
                value |= part << shift;
            }
            if chunk & more == 0 {
                return Ok(value);
            }
            if width == 1 {
                return Err(self.long_vbr());
            }
            shift += width - 1;
        }
    }

    /// As [`Cursor::vbr`] in chunks of 6 bits, for an integer that may well have several.
    #[inline(always)]
    pub fn vbr6(&mut self) -> Result<u64> {
        let window = self.window(self.bit);
        let ends = !window & const { tops(6) & ((1 << 24) - 1) };
        let len = u64::from(ends.trailing_zeros()) + 1;
        if ends == 0 || len > self.remaining() {
            return self.vbr(6);
        }
        let chunks = window & (ends ^ (ends - 1));
        self.bit += len;
        Ok(chunks & 0x1f
            | chunks >> 1 & 0x1f << 5
            | chunks >> 2 & 0x1f << 10
            | chunks >> 3 & 0x1f << 15)
    }

    /// Passes over so many vbr6 integers and reads the one behind them.
    #[inline(always)]
    pub fn vbr6_behind(&mut self, passed: u32) -> Result<u64> {
        let window = self.window(self.bit);
        let mut ends = !window & const { tops(6) };
        let mut start = 0;
        for _ in 0..passed {
            start = ends.trailing_zeros() + 1;
            ends &= ends.wrapping_sub(1);
        }
        let end = ends.trailing_zeros() + 1;
        if ends == 0 || end - start > 24 || u64::from(end) > self.remaining() {
            self.skip_vbr6(u64::from(passed))?;
            return self.vbr6();
        }
        self.bit += u64::from(end);
        let chunks = (window & ((1 << end) - 1)) >> start;
        Ok(chunks & 0x1f
            | chunks >> 1 & 0x1f << 5
            | chunks >> 2 & 0x1f << 10
            | chunks >> 3 & 0x1f << 15)
    }

    /// Reads two vbr6 integers: the code of an unabbreviated record and the number of its fields,
    /// which mostly are one chunk each.
    #[inline(always)]
    pub fn vbr6_pair(&mut self) -> Result<(u64, u64)> {
        let window = self.window(self.bit);
        if window & 0x820 == 0 && self.remaining() >= 12 {
            self.bit += 12;
            return Ok((window & 0x1f, window >> 6 & 0x1f));
        }
        Ok((self.vbr(6)?, self.vbr(6)?))
    }

    /// Reads `count` vbr6 integers onto `out`. A count that the range cannot hold is an error
    /// before anything is allocated for it.
    pub fn vbr6_fields(&mut self, count: u64, out: &mut Vec<u64>) -> Result<()> {
        self.check_vbr6(count)?;
        let start = out.len();
        out.resize(start + count as usize, 0);
        self.vbr_into::<6>(out.get_mut(start..).unwrap_or_default())
    }

    /// As [`Cursor::vbr6_fields`], in place of what `out` holds: the fields of an unabbreviated
    /// record. Room that the record before had is not cleared first.
    #[inline(always)]
    pub fn vbr6_record(&mut self, count: u64, out: &mut Vec<u64>) -> Result<()> {
        self.check_vbr6(count)?;
        out.resize(count as usize, 0);
        self.vbr_into::<6>(out)
    }

    #[inline(always)]
    fn check_vbr6(&self, count: u64) -> Result<()> {
        if count > self.remaining() / 6 {
            return Err(Error::malformed(format!("record of {count} fields runs past its block"))
                .at_bit(self.bit));
        }
        Ok(())
    }

    /// Reads `count` integers in chunks of `width` bits, which is 6 or 8, onto `out`: the arrays
    /// of LLVM's abbreviations. As [`Cursor::vbr6_fields`] otherwise.
    pub(super) fn vbr_fields(&mut self, width: u32, count: u64, out: &mut Vec<u64>) -> Result<()> {
        self.check_vbr6(count)?;
        let start = out.len();
        out.resize(start + count as usize, 0);
        let slots = out.get_mut(start..).unwrap_or_default();
        if width == 8 { self.vbr_into::<8>(slots) } else { self.vbr_into::<6>(slots) }
    }

    /// Reads a field for each of `scalars` onto `out`.
    #[inline]
    pub(super) fn scalars(&mut self, scalars: &[Scalar], out: &mut Vec<u64>) -> Result<()> {
        let start = out.len();
        out.resize(start + scalars.len(), 0);
        let (mut bit, mut window, mut held) = (self.bit, 0u64, 0u32);
        for (slot, &scalar) in out.get_mut(start..).unwrap_or_default().iter_mut().zip(scalars) {
            // Nearly all are this, and most of one chunk; up to four are joined without asking how
            // many there are.
            if let Scalar::Vbr(width) = scalar
                && let Some(&tops) = FOUR_TOPS.get(width as usize)
            {
                if held < 4 * width {
                    window = self.window(bit);
                    held = 57;
                }
                let more = 1u64 << (width - 1);
                if window & more == 0 {
                    *slot = window & (more - 1);
                    window >>= width;
                    held -= width;
                    bit += u64::from(width);
                    continue;
                }
                let ends = !window & tops;
                if ends != 0 {
                    let chunks = window & (ends ^ (ends - 1));
                    let bits = width - 1;
                    let part = (1u64 << bits) - 1;
                    *slot = chunks & part
                        | chunks >> 1 & part << bits
                        | chunks >> 2 & part << (2 * bits)
                        | chunks >> 3 & part << (3 * bits);
                    let len = ends.trailing_zeros() + 1;
                    window >>= len;
                    held -= len;
                    bit += u64::from(len);
                    continue;
                }
            }
            self.seek(bit)?;
            *slot = scalar.read(self)?;
            (bit, held) = (self.bit, 0);
        }
        self.seek(bit)
    }

    /// Reads as many integers in chunks of `W` bits, 6 or 8, as there are slots.
    fn vbr_into<const W: u32>(&mut self, slots: &mut [u64]) -> Result<()> {
        // Decoded from a register that is filled again when fewer than four chunks are left in
        // it; most values have one chunk, nearly all others up to four, which are joined without
        // asking how many there are. Bits past the range come out as something, and are refused
        // when all is read.
        let four = 4 * W;
        let tops = const { tops(W) & ((1 << (4 * W)) - 1) };
        // The value's bits of a chunk.
        let part = const { (1u64 << (W - 1)) - 1 };
        let (mut bit, mut window, mut held) = (self.bit, 0u64, 0u32);
        let mut read = 0;
        for slot in slots {
            if held < four {
                bit += u64::from(read - held);
                window = self.window(bit);
                (read, held) = (57, 57);
            }
            if window & (part + 1) == 0 {
                *slot = window & part;
                window >>= W;
                held -= W;
                continue;
            }
            let ends = !window & tops;
            if ends == 0 {
                self.bit = (bit + u64::from(read - held)).min(self.end);
                *slot = self.vbr_chunks(W)?;
                bit = self.bit;
                (read, held) = (0, 0);
                continue;
            }
            let chunks = window & (ends ^ (ends - 1));
            *slot = chunks & part
                | chunks >> 1 & part << (W - 1)
                | chunks >> 2 & part << (2 * (W - 1))
                | chunks >> 3 & part << (3 * (W - 1));
            let len = ends.trailing_zeros() + 1;
            window >>= len;
            held -= len;
        }
        bit += u64::from(read - held);
        if bit > self.end {
            return Err(self.past_end());
        }
        self.bit = bit;
        Ok(())
    }

    /// Moves to the next multiple of 32 bits.
    #[inline]
    pub fn align32(&mut self) -> Result<()> {
        self.seek(self.bit.next_multiple_of(32))
    }

    /// Takes `len` bytes at the (byte aligned) position, then aligns to 32 bits.
    pub fn bytes(&mut self, len: u64) -> Result<&'a [u8]> {
        debug_assert!(self.bit.is_multiple_of(8));
        if len > self.remaining() / 8 {
            return Err(
                Error::malformed(format!("{len} bytes run past the block")).at_bit(self.bit)
            );
        }
        let start = (self.bit / 8) as usize;
        let bytes = self.data.get(start..start + len as usize).ok_or_else(|| self.past_end())?;
        self.bit += len * 8;
        Ok(bytes)
    }
}

/// By width, the top bits of four chunks in a row, where a window holds as many.
#[allow(clippy::indexing_slicing)] // a constant: out of range is an error of the compiler
pub(super) const FOUR_TOPS: [u64; 15] = {
    let mut all = [0; 15];
    let mut width = 2;
    while width < all.len() {
        all[width] = tops(width as u32) & ((1 << (4 * width)) - 1);
        width += 1;
    }
    all
};

/// The top bits of as many chunks of `width` bits as a window is sure to hold.
pub(super) const fn tops(width: u32) -> u64 {
    let mut tops = 0;
    let mut chunk = 1;
    while chunk <= 57 / width {
        tops |= 1 << (chunk * width - 1);
        chunk += 1;
    }
    tops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_behind_others_are_read() {
        let values = [5u64, 900, 31, 1 << 40, 32, 3, 1 << 19, 77, 1 << 20, 0, 6];
        let mut w = crate::bitstream::Writer::new();
        values.iter().for_each(|&value| w.vbr(value, 6));
        let end = w.bit();
        let bytes = w.finish();
        for from in 0..values.len() {
            for passed in 0..values.len() - from {
                let mut c = Cursor::range(&bytes, 0, end);
                c.skip_vbr6(from as u64).unwrap();
                assert_eq!(c.vbr6_behind(passed as u32).unwrap(), values[from + passed]);
                let mut other = Cursor::range(&bytes, 0, end);
                other.skip_vbr6((from + passed + 1) as u64).unwrap();
                assert_eq!(c.bit(), other.bit());
                assert_eq!(c.vbr6().ok(), values.get(from + passed + 1).copied());
            }
        }
    }

    #[test]
    fn fixed_fields_come_low_bit_first() {
        let mut c = Cursor::new(&[0b1010_0111, 0xff, 0x01]);
        assert_eq!(c.fixed(3).unwrap(), 0b111);
        assert_eq!(c.fixed(5).unwrap(), 0b10100);
        assert_eq!(c.fixed(12).unwrap(), 0x1ff);
        assert_eq!(c.remaining(), 4);
        assert!(c.fixed(5).is_err());
    }

    #[test]
    fn vbr_joins_its_chunks() {
        // 9 in vbr4: low three bits 001 with the mark, then 001.
        let mut c = Cursor::new(&[0b0001_1001]);
        assert_eq!(c.vbr(4).unwrap(), 9);
    }

    #[test]
    fn vbr_of_more_than_64_bits_is_an_error() {
        let mut c = Cursor::new(&[0xff; 64]);
        assert!(c.vbr(6).is_err());
        let mut c = Cursor::new(&[0xff; 64]);
        assert!(c.vbr(32).is_err());
    }

    #[test]
    fn padded_vbr_is_read() {
        // 1 in seven chunks, as LLVM's METADATA_INDEX_OFFSET and our own padding have it.
        let mut w = crate::bitstream::Writer::new();
        w.vbr_padded(1, 6, 7);
        w.align32();
        let bytes = w.finish();
        let mut c = Cursor::new(&bytes);
        assert_eq!(c.vbr(6).unwrap(), 1);
        assert_eq!(c.bit(), 42);
    }

    #[test]
    fn record_fields_equal_single_reads() {
        let values: Vec<u64> = (0..2000u64)
            .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i.wrapping_mul(7) % 64))
            .collect();
        let mut w = crate::bitstream::Writer::new();
        w.fixed(1, 3);
        for &v in &values {
            w.vbr(v, 6);
        }
        let end = w.bit();
        w.align32();
        let bytes = w.finish();
        let mut c = Cursor::range(&bytes, 3, end);
        let mut out = Vec::new();
        c.vbr6_fields(values.len() as u64, &mut out).unwrap();
        assert_eq!(out, values);
        assert_eq!(c.bit(), end);
        for width in [6, 8] {
            let mut w = crate::bitstream::Writer::new();
            w.fixed(1, 3);
            values.iter().for_each(|&v| w.vbr(v, width));
            let end = w.bit();
            w.align32();
            let bytes = w.finish();
            let mut c = Cursor::range(&bytes, 3, end);
            let mut out = vec![7];
            c.vbr_fields(width, values.len() as u64, &mut out).unwrap();
            assert_eq!(out.split_first(), Some((&7, values.as_slice())));
            assert_eq!(c.bit(), end);
            let mut short = Cursor::range(&bytes, 3, end - 1);
            assert!(short.vbr_fields(width, values.len() as u64, &mut out).is_err());
        }
    }

    #[test]
    fn a_count_beyond_the_range_allocates_nothing() {
        let mut c = Cursor::new(&[0; 16]);
        let mut out = Vec::new();
        assert!(c.vbr6_fields(u64::MAX, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
    }
}
