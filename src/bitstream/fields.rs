//! A reader over a record's fields, so that no layout is ever indexed by hand.
//!
//! In: a record and the name of its kind. Out: its fields by name, in order; what is missing is
//! an error that names record and field.

use super::reader::Record;
use crate::error::{Error, Result};

/// Walks the fields of one record.
#[derive(Clone, Debug)]
pub struct Fields<'r> {
    rest: &'r [u64],
    record: &'static str,
    bit: u64,
}

impl<'r> Fields<'r> {
    /// The fields of `record`, which is a `name` (as in "GLOBALVAR").
    #[inline(always)]
    pub fn new(record: &'r Record<'_>, name: &'static str) -> Self {
        Fields { rest: &record.fields, record: name, bit: record.start }
    }

    /// An error about this record.
    #[cold]
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::malformed(format!("{} record: {what}", self.record)).at_bit(self.bit)
    }

    /// The next field; an error where the record ends before it.
    #[inline(always)]
    pub fn next(&mut self, field: &'static str) -> Result<u64> {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                Ok(*first)
            }
            [] => Err(self.error(format_args!("no {field}"))),
        }
    }

    /// The next field as 32 bits; an error where it is missing or larger.
    #[inline(always)]
    pub fn next_u32(&mut self, field: &'static str) -> Result<u32> {
        let value = self.next(field)?;
        u32::try_from(value).map_err(|_| self.error(format_args!("{field} {value} is too large")))
    }

    /// The next field, or `default` where the record is shorter (an older writer's).
    #[inline(always)]
    pub fn next_or(&mut self, default: u64) -> u64 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                *first
            }
            [] => default,
        }
    }

    /// The next field where there is one.
    #[inline(always)]
    pub fn next_if_any(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next `count` fields; an error where there are fewer.
    #[inline(always)]
    pub fn take(&mut self, count: u64, field: &'static str) -> Result<&'r [u64]> {
        let split = usize::try_from(count).ok().and_then(|n| self.rest.split_at_checked(n));
        let Some((taken, rest)) = split else {
            return Err(self.error(format_args!("{count} {field}, but {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// All fields that are left.
    #[inline(always)]
    pub fn rest(&mut self) -> &'r [u64] {
        std::mem::take(&mut self.rest)
    }

    /// How many fields are left.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether no field is left.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
