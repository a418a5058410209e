//! Integers that are passed over: most of a module's, for whoever reads its summary or symbols.
//!
//! In: a [`Cursor`] at some integers in chunks, and how many of them nobody wants. Out: the cursor
//! behind them. Their values are never put together: only where chunks end is looked at, many at a
//! time.

use super::cursor::{Cursor, FOUR_TOPS, MAX_WIDTH, tops};
use crate::error::{Error, Result};

impl Cursor<'_> {
    /// Passes over what comes next as long as it is a fixed field of `head_width` bits that is
    /// `head`, and `count` vbr integers of `width` bits that end in a window with it. Gives where
    /// the last of these begins, in bits; None where there is none.
    pub(super) fn skip_vbr_rows(
        &mut self,
        (head, head_width): (u64, u32),
        width: u32,
        count: usize,
    ) -> Option<u64> {
        let tops = (tops(width) & ((1 << ((57 - head_width) / width * width)) - 1)) << head_width;
        let mut last = None;
        loop {
            let window = self.peek();
            let mut ends = !window & tops;
            for _ in 1..count {
                ends &= ends.wrapping_sub(1);
            }
            let len = u64::from(ends.trailing_zeros()) + 1;
            let is_row = window & ((1 << head_width) - 1) == head && ends != 0;
            if !is_row || len > self.remaining() {
                return last;
            }
            last = Some(self.bit);
            self.bit += len;
        }
    }

    /// As [`Cursor::skip_vbr6`], for a number of them that likely ends in a few windows: in each,
    /// the ends are counted and the last one is found without asking for each of them.
    #[inline(always)]
    pub fn skip_few_vbr6(&mut self, count: u64) -> Result<()> {
        // Nine lanes of six bits.
        const TOPS: u64 = tops(6);
        const ONES: u64 = TOPS >> 5;
        let (mut bit, mut left) = (self.bit, count);
        while left > 0 && bit + 64 <= self.end() {
            let ends = !self.window(bit) & TOPS;
            // In each lane, how many integers have ended up to there.
            let ended = (ends >> 5).wrapping_mul(ONES) & (TOPS | (TOPS - ONES));
            let here = ended >> 48;
            if here < left {
                left -= here;
                bit += 54;
                continue;
            }
            // The first lane in which as many have ended as are left.
            let others = ended ^ (left * ONES);
            let found = others.wrapping_sub(ONES) & !others & TOPS;
            self.bit = bit + u64::from(found.trailing_zeros()) + 1;
            return Ok(());
        }
        if left == 0 {
            self.bit = bit;
            return Ok(());
        }
        self.bit = bit;
        self.skip_vbr6(left)
    }

    /// Passes over `count` vbr6 integers without looking at their values.
    pub fn skip_vbr6(&mut self, count: u64) -> Result<()> {
        self.skip_vbr(count, 6)
    }

    /// Passes over `count` integers in chunks of `width` bits (2 to 32): each ends with a chunk
    /// whose top bit is clear, so a window's worth of them is counted at a time.
    pub fn skip_vbr(&mut self, count: u64, width: u32) -> Result<()> {
        debug_assert!((2..=MAX_WIDTH).contains(&width));
        // A few end within the first chunks.
        if let Some(&tops) = FOUR_TOPS.get(width as usize)
            && (1..=4).contains(&count)
        {
            let mut ends = !self.window(self.bit) & tops;
            for _ in 1..count {
                ends &= ends.wrapping_sub(1);
            }
            let len = u64::from(ends.trailing_zeros()) + 1;
            if ends != 0 && len <= self.remaining() {
                self.bit += len;
                return Ok(());
            }
        }
        // Not by a division, which takes longer than most of what follows.
        if count.saturating_mul(u64::from(width)) > self.remaining() {
            return Err(Error::malformed(format!("record of {count} fields runs past its block"))
                .at_bit(self.bit));
        }
        let bits = 57 / width * width;
        // The top bits of the chunks in a window.
        let tops = match width {
            4 => const { tops(4) },
            6 => const { tops(6) },
            8 => const { tops(8) },
            _ => tops(width),
        };
        let mut left = count;
        // As long as they cannot end in it, the ends of a row of windows are summed in lanes of a
        // chunk's width each, and added up once.
        let row = if width < 4 { (1 << width) - 1 } else { 15 };
        let lanes = 57 / width;
        while left > u64::from(lanes * row) && self.remaining() >= u64::from(bits * row + 64) {
            let mut sums = 0;
            for _ in 0..row {
                sums += (!self.window(self.bit) & tops) >> (width - 1);
                self.bit += u64::from(bits);
            }
            for lane in 0..lanes {
                left -= sums >> (lane * width) & ((1 << width) - 1);
            }
        }
        while left > 0 && self.remaining() >= 64 {
            let mut ends = !self.window(self.bit) & tops;
            let here = u64::from(ends.count_ones());
            if here < left {
                left -= here;
                self.bit += u64::from(bits);
                continue;
            }
            for _ in 1..left {
                ends &= ends - 1;
            }
            self.bit += u64::from(ends.trailing_zeros()) + 1;
            return Ok(());
        }
        for _ in 0..left {
            while self.fixed(width)? >> (width - 1) != 0 {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_ends_where_reading_does() {
        for width in [2u32, 4, 6, 8, 32] {
            let values: Vec<u64> =
                (0..700u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 64)).collect();
            let mut w = crate::bitstream::Writer::new();
            w.fixed(1, 3);
            let mut ends = vec![3];
            for &v in &values {
                w.vbr(v, width);
                ends.push(w.bit());
            }
            w.align32();
            let bytes = w.finish();
            for count in [0, 1, 2, 9, 10, 11, 499, 700] {
                let mut c = Cursor::range(&bytes, 3, ends[700]);
                c.skip_vbr(count as u64, width).unwrap();
                assert_eq!(c.bit(), ends[count], "{count} of width {width}");
            }
            assert!(Cursor::range(&bytes, 3, ends[700]).skip_vbr(701, width).is_err());
            assert!(Cursor::range(&bytes, 3, ends[700]).skip_vbr(u64::MAX, width).is_err());
        }
    }

    #[test]
    fn rows_are_passed_over_up_to_the_last() {
        let rows: Vec<(u64, u64)> = (0..200u64).map(|i| (i * i, i << (i % 20))).collect();
        for width in [4u32, 6, 8] {
            let mut w = crate::bitstream::Writer::new();
            let mut starts = Vec::new();
            for &(a, b) in &rows {
                starts.push(w.bit());
                w.fixed(5, 4);
                w.vbr(a, width);
                w.vbr(b, width);
            }
            let end = w.bit();
            w.fixed(0, 4);
            w.align32();
            let bytes = w.finish();
            let mut c = Cursor::new(&bytes);
            assert_eq!(c.skip_vbr_rows((6, 4), width, 2), None);
            assert_eq!(c.bit(), 0);
            // Where one does not fit a window it stops; read as any other, and on from there.
            let mut at = 0;
            while at < starts.len() {
                if let Some(last) = c.skip_vbr_rows((5, 4), width, 2) {
                    at = starts.iter().position(|&start| start == last).unwrap() + 1;
                    continue;
                }
                assert_eq!(c.bit(), starts[at]);
                assert_eq!(c.fixed(4).unwrap(), 5);
                assert_eq!((c.vbr(width).unwrap(), c.vbr(width).unwrap()), rows[at]);
                at += 1;
            }
            assert_eq!(c.bit(), end);
            // Not past the range.
            let mut c = Cursor::range(&bytes, 0, starts[2] + 5);
            assert_eq!(c.skip_vbr_rows((5, 4), width, 2), Some(starts[1]));
        }
    }

    #[test]
    fn integers_are_passed_over_as_they_are_read() {
        // Values of all lengths, some with chunks of zeros.
        let mut w = crate::bitstream::Writer::new();
        for n in 0..400u64 {
            w.vbr(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n * 7 % 64), 6);
        }
        let data = w.finish();
        for start in [0, 3, 77, 200] {
            for count in [0, 1, 2, 9, 10, 25, 60, 150] {
                let mut read = Cursor::new(&data);
                read.skip_vbr6(start).unwrap();
                let mut passed = read.clone();
                for _ in 0..count {
                    read.vbr(6).unwrap();
                }
                passed.skip_few_vbr6(count).unwrap();
                assert_eq!(passed.bit(), read.bit(), "{count} from {start}");
            }
        }
        assert!(Cursor::new(&data).skip_few_vbr6(10_000).is_err());
    }
}
