//! An abbreviation: the layout of a record, defined in the stream itself.
//!
//! In: a cursor at a DEFINE_ABBREV's body. Out: scalars in order and at most one array or blob at
//! the end, which is all that LLVM's reader accepts when it reads a record.

use super::cursor::{Cursor, MAX_WIDTH};
use crate::error::{Error, Result};

/// A field of one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// The value stands in the abbreviation; no bits in the record.
    Literal(u64),
    /// So many bits, 1 to 32.
    Fixed(u32),
    /// Chunks of so many bits, 2 to 32.
    Vbr(u32),
    /// Six bits for one of `a-zA-Z0-9._`.
    Char6,
}

/// What follows the scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    None,
    /// A vbr6 count and so many of this scalar (never a literal).
    Array(Scalar),
    /// A vbr6 count of bytes, aligned to 32 bits before and after.
    Blob,
}

/// The layout of a record; the first scalar is the record's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abbrev {
    /// The code and the leading fields; never empty.
    pub scalars: Vec<Scalar>,
    /// The array or blob at the end.
    pub tail: Tail,
}

const ENCODING_FIXED: u64 = 1;
const ENCODING_VBR: u64 = 2;
const ENCODING_ARRAY: u64 = 3;
const ENCODING_CHAR6: u64 = 4;
const ENCODING_BLOB: u64 = 5;

/// The alphabet of [`Scalar::Char6`].
pub(super) const CHAR6: &[u8; 64] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";

/// By letter, its place in [`CHAR6`]; [`NO_CHAR6`] for others.
#[allow(clippy::indexing_slicing)] // a constant: out of range is an error of the compiler
const PLACES: [u8; 256] = {
    let mut places = [NO_CHAR6; 256];
    let mut place = 0;
    while place < CHAR6.len() {
        places[CHAR6[place] as usize] = place as u8;
        place += 1;
    }
    places
};

const NO_CHAR6: u8 = u8::MAX;

/// The place of a letter in [`CHAR6`].
#[inline(always)]
pub(super) fn char6(letter: u8) -> Option<u8> {
    PLACES.get(usize::from(letter)).copied().filter(|&place| place != NO_CHAR6)
}

enum Op {
    Scalar(Scalar),
    Array,
    Blob,
}

impl Abbrev {
    /// Reads the body of a DEFINE_ABBREV: `count:vbr5`, then per operand either `1, value:vbr8`
    /// (a literal) or `0, encoding:3, [width:vbr5]`.
    pub(super) fn read(c: &mut Cursor<'_>) -> Result<Self> {
        let mut scalars = Vec::with_capacity(8);
        let tail = scan(c, |scalar| scalars.push(scalar))?;
        Ok(Abbrev { scalars, tail })
    }

    /// Passes over the body of a DEFINE_ABBREV, with the checks of [`Abbrev::read`].
    pub(super) fn skip(c: &mut Cursor<'_>) -> Result<()> {
        scan(c, |_| ()).map(drop)
    }

    /// How many operands a DEFINE_ABBREV of this layout counts.
    pub(super) fn operand_count(&self) -> u64 {
        let tail = match self.tail {
            Tail::None => 0,
            Tail::Blob => 1,
            Tail::Array(_) => 2,
        };
        self.scalars.len() as u64 + tail
    }
}

/// Walks the operands of a DEFINE_ABBREV: hands over the scalars, and returns what follows them.
#[inline]
fn scan(c: &mut Cursor<'_>, mut scalar: impl FnMut(Scalar)) -> Result<Tail> {
    let at = c.bit();
    let malformed = |what| Err(Error::malformed(what).at_bit(at));
    let mut left = c.vbr(5)?;
    let mut tail = Tail::None;
    let mut any = false;
    while left > 0 {
        left -= 1;
        match read_op(c)? {
            Op::Scalar(s) => {
                scalar(s);
                any = true;
            }
            Op::Blob if left == 0 => tail = Tail::Blob,
            Op::Array if left == 1 => match read_op(c)? {
                Op::Scalar(Scalar::Literal(_)) => {
                    return malformed("abbreviation with an array of literals");
                }
                Op::Scalar(element) => {
                    tail = Tail::Array(element);
                    left = 0;
                }
                Op::Array | Op::Blob => {
                    return malformed("abbreviation with an array of arrays or blobs");
                }
            },
            Op::Array | Op::Blob => {
                return malformed("abbreviation with fields after its array or blob");
            }
        }
    }
    if !any {
        return malformed("abbreviation without a record code");
    }
    Ok(tail)
}

#[inline(always)]
fn read_op(c: &mut Cursor<'_>) -> Result<Op> {
    // Nearly every operand is short enough to be read from one window: BLOCKINFO stands in every
    // module, and reading it is a good part of listing a small module's symbols.
    let bits = c.peek();
    let (op, len) = if bits & 1 == 1 {
        let value = bits >> 1 & 0xff;
        if value >= 0x80 {
            c.advance(1)?;
            return Ok(Op::Scalar(Scalar::Literal(c.vbr(8)?)));
        }
        (Op::Scalar(Scalar::Literal(value)), 9)
    } else {
        match bits >> 1 & 7 {
            encoding @ (ENCODING_FIXED | ENCODING_VBR) => {
                let width = bits >> 4 & 0x1f;
                if width >= 0x10 {
                    return read_wide(c, encoding);
                }
                (Op::Scalar(scalar_of(encoding, width as u32)), 9)
            }
            ENCODING_ARRAY => (Op::Array, 4),
            ENCODING_CHAR6 => (Op::Scalar(Scalar::Char6), 4),
            ENCODING_BLOB => (Op::Blob, 4),
            other => {
                return Err(Error::malformed(format!("unknown abbreviation encoding {other}"))
                    .at_bit(c.bit()));
            }
        }
    };
    c.advance(len)?;
    Ok(op)
}

/// An operand whose width takes more than one chunk.
fn read_wide(c: &mut Cursor<'_>, encoding: u64) -> Result<Op> {
    let at = c.bit();
    c.advance(4)?;
    let width = c.vbr(5)?;
    if width > u64::from(MAX_WIDTH) {
        return Err(Error::malformed(format!("abbreviation field of {width} bits")).at_bit(at));
    }
    Ok(Op::Scalar(scalar_of(encoding, width as u32)))
}

fn scalar_of(encoding: u64, width: u32) -> Scalar {
    // A width of zero is how old writers said "always zero".
    match (encoding, width) {
        (_, 0) => Scalar::Literal(0),
        (ENCODING_FIXED, width) => Scalar::Fixed(width),
        (_, width) => Scalar::Vbr(width),
    }
}

impl Scalar {
    /// Reads one field.
    #[inline]
    pub(super) fn read(self, c: &mut Cursor<'_>) -> Result<u64> {
        match self {
            Scalar::Literal(value) => Ok(value),
            Scalar::Fixed(width) => c.fixed(width),
            Scalar::Vbr(width) => c.vbr(width),
            Scalar::Char6 => {
                let code = c.fixed(6)? as usize;
                Ok(CHAR6.get(code).copied().map_or(0, u64::from))
            }
        }
    }

    /// Passes over so many fields.
    #[inline]
    pub(super) fn skip(self, c: &mut Cursor<'_>, count: u64) -> Result<()> {
        match self {
            Scalar::Literal(_) => Ok(()),
            Scalar::Fixed(width) => c.seek(c.bit() + u64::from(width) * count),
            Scalar::Vbr(width) if count > 0 => c.skip_vbr(count, width),
            Scalar::Vbr(_) => Ok(()),
            Scalar::Char6 => c.seek(c.bit() + 6 * count),
        }
    }

    /// The least number of bits that one field takes.
    pub(super) fn min_bits(self) -> u64 {
        match self {
            Scalar::Literal(_) => 0,
            Scalar::Fixed(width) | Scalar::Vbr(width) => u64::from(width),
            Scalar::Char6 => 6,
        }
    }

    /// Encoding number and width, as a DEFINE_ABBREV has them.
    pub(super) fn encoding(self) -> (u64, Option<u32>) {
        match self {
            Scalar::Literal(_) => (0, None),
            Scalar::Fixed(width) => (ENCODING_FIXED, Some(width)),
            Scalar::Vbr(width) => (ENCODING_VBR, Some(width)),
            Scalar::Char6 => (ENCODING_CHAR6, None),
        }
    }
}

impl Tail {
    pub(super) const ARRAY_ENCODING: u64 = ENCODING_ARRAY;
    pub(super) const BLOB_ENCODING: u64 = ENCODING_BLOB;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_their_places() {
        for letter in 0..=u8::MAX {
            let place = CHAR6.iter().position(|&c| c == letter);
            assert_eq!(char6(letter).map(usize::from), place, "{letter}");
        }
    }
}
