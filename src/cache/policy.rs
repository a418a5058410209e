//! When entries go: LLVM's pruning policy and its string.
//!
//! In: "prune_interval=30s:prune_after=24h:cache_size=50%". Out: a [`Policy`]. Keys, defaults and
//! words of errors are those of `parseCachePruningPolicy` and `CachePruningPolicy` of LLVM.

use std::time::Duration;

use crate::error::{Error, Result};

/// When entries go. [`Policy::default`] is LLVM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `prune_interval`: the least time between two prunings. Zero is to prune now; `None` never.
    pub interval: Option<Duration>,
    /// `prune_after`: entries that were not used for so long go. Zero is to keep them.
    pub expiration: Duration,
    /// `cache_size`: the most that the cache takes of the space that is free or its own, in percent.
    /// Zero is no limit, more than 100 is 100.
    pub max_size_percentage_of_available_space: u32,
    /// `cache_size_bytes`: the most bytes. Zero is no limit.
    pub max_size_bytes: u64,
    /// `cache_size_files`: the most entries. Zero is no limit.
    pub max_size_files: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            interval: Some(Duration::from_secs(1200)),
            expiration: Duration::from_secs(7 * 24 * 3600),
            max_size_percentage_of_available_space: 75,
            max_size_bytes: 0,
            max_size_files: 1_000_000,
        }
    }
}

impl Policy {
    /// Reads a policy string; what it does not say is as by default.
    ///
    /// # Errors
    /// Misuse, in LLVM's words.
    pub fn parse(text: &str) -> Result<Policy> {
        let mut policy = Policy::default();
        let mut rest = text;
        while !rest.is_empty() {
            let item;
            (item, rest) = rest.split_once(':').unwrap_or((rest, ""));
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            match key {
                "prune_interval" => policy.interval = Some(duration(value)?),
                "prune_after" => policy.expiration = duration(value)?,
                "cache_size" => {
                    let Some(size) = value.strip_suffix('%') else {
                        return Err(Error::misuse(format!("'{value}' must be a percentage")));
                    };
                    match u32::try_from(integer(size)?) {
                        Ok(percent @ 0..=100) => {
                            policy.max_size_percentage_of_available_space = percent;
                        }
                        _ => {
                            return Err(Error::misuse(format!(
                                "'{size}' must be between 0 and 100"
                            )));
                        }
                    }
                }
                "cache_size_bytes" => policy.max_size_bytes = bytes(value)?,
                "cache_size_files" => policy.max_size_files = integer(value)?,
                _ => return Err(Error::misuse(format!("Unknown key: '{key}'"))),
            }
        }
        Ok(policy)
    }

    /// A number of bytes as `cache_size_bytes` has it: with k, m or g for powers of 1024.
    ///
    /// # Errors
    /// Misuse, in LLVM's words.
    pub fn parse_bytes(text: &str) -> Result<u64> {
        bytes(text)
    }
}

/// The setters of LLVM's legacy code generator, with its rules for what changes nothing.
impl Policy {
    /// Seconds between two prunings: negative is never, zero always.
    #[must_use]
    pub fn with_interval(self, seconds: i32) -> Self {
        Policy { interval: u64::try_from(seconds).ok().map(Duration::from_secs), ..self }
    }

    /// Seconds after which an unused entry goes; zero changes nothing.
    #[must_use]
    pub fn with_expiration(self, seconds: u32) -> Self {
        match seconds {
            0 => self,
            _ => Policy { expiration: Duration::from_secs(seconds.into()), ..self },
        }
    }

    /// The most of the available space, in percent; zero changes nothing.
    #[must_use]
    pub fn with_percentage(self, percentage: u32) -> Self {
        match percentage {
            0 => self,
            _ => Policy { max_size_percentage_of_available_space: percentage.min(100), ..self },
        }
    }

    /// The most bytes; zero changes nothing.
    #[must_use]
    pub fn with_size_bytes(self, bytes: u64) -> Self {
        match bytes {
            0 => self,
            _ => Policy { max_size_bytes: bytes, ..self },
        }
    }

    /// The most entries; zero changes nothing.
    #[must_use]
    pub fn with_size_files(self, files: u32) -> Self {
        match files {
            0 => self,
            _ => Policy { max_size_files: files.into(), ..self },
        }
    }
}

fn duration(text: &str) -> Result<Duration> {
    let Some(unit) = text.chars().next_back() else {
        return Err(Error::misuse("Duration must not be empty"));
    };
    // LLVM looks at the number first.
    let number = integer(text.strip_suffix(unit).unwrap_or_default())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(Error::misuse(format!("'{text}' must end with one of 's', 'm' or 'h'"))),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

fn bytes(text: &str) -> Result<u64> {
    let (number, unit) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'm') => (text.get(..text.len() - 1), 1 << 20),
        Some(b'g') => (text.get(..text.len() - 1), 1 << 30),
        _ => (Some(text), 1),
    };
    Ok(integer(number.unwrap_or_default())?.saturating_mul(unit))
}

/// `StringRef::getAsInteger` with a radix of 0: the number's prefix says which.
fn integer(text: &str) -> Result<u64> {
    let prefixed = |prefixes: [&str; 2]| prefixes.iter().find_map(|p| text.strip_prefix(p));
    let (digits, radix) = if let Some(digits) = prefixed(["0x", "0X"]) {
        (digits, 16)
    } else if let Some(digits) = prefixed(["0b", "0B"]) {
        (digits, 2)
    } else if let Some(digits) = text.strip_prefix("0o") {
        (digits, 8)
    } else if let Some(digits) = text.strip_prefix('0').filter(|d| !d.is_empty()) {
        (digits, 8)
    } else {
        (text, 10)
    };
    // Rust would take a sign.
    let number = match digits.starts_with(|c: char| c.is_digit(radix)) {
        true => u64::from_str_radix(digits, radix).ok(),
        false => None,
    };
    number.ok_or_else(|| Error::misuse(format!("'{text}' not an integer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_llvms_default() {
        // Values of CachePruningPolicy in LLVM's CachePruning.h.
        let policy = Policy::parse("").unwrap();
        assert_eq!(policy.interval, Some(Duration::from_secs(1200)));
        assert_eq!(policy.expiration, Duration::from_secs(604_800));
        assert_eq!(policy.max_size_percentage_of_available_space, 75);
        assert_eq!((policy.max_size_bytes, policy.max_size_files), (0, 1_000_000));
    }

    #[test]
    fn every_key_and_unit() {
        // The cases of LLVM's unittests/Support/CachePruningTest.cpp.
        let p = |text| Policy::parse(text).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(p("prune_interval=1s").interval, Some(seconds(1)));
        assert_eq!(p("prune_interval=2m").interval, Some(seconds(120)));
        assert_eq!(p("prune_interval=3h").interval, Some(seconds(10800)));
        assert_eq!(p("prune_after=1s").expiration, seconds(1));
        assert_eq!(p("cache_size=100%").max_size_percentage_of_available_space, 100);
        assert_eq!(p("cache_size_bytes=1").max_size_bytes, 1);
        assert_eq!(p("cache_size_bytes=2k").max_size_bytes, 2 << 10);
        assert_eq!(p("cache_size_bytes=3m").max_size_bytes, 3 << 20);
        assert_eq!(p("cache_size_bytes=4G").max_size_bytes, 4 << 30);
        assert_eq!(p("cache_size_files=0x10").max_size_files, 16);
        let policy = p("prune_interval=30s:prune_after=24h:cache_size=50%:");
        assert_eq!(policy.interval, Some(seconds(30)));
        assert_eq!(policy.expiration, seconds(24 * 3600));
        assert_eq!(policy.max_size_percentage_of_available_space, 50);
    }

    #[test]
    fn errors_have_llvms_words() {
        let e = |text| Policy::parse(text).unwrap_err().to_string();
        assert_eq!(e("prune_interval="), "Duration must not be empty");
        assert_eq!(e("prune_interval=foos"), "'foo' not an integer");
        assert_eq!(e("prune_interval=24x"), "'24x' must end with one of 's', 'm' or 'h'");
        assert_eq!(e("cache_size=foo"), "'foo' must be a percentage");
        assert_eq!(e("cache_size=foo%"), "'foo' not an integer");
        assert_eq!(e("cache_size=101%"), "'101' must be between 0 and 100");
        assert_eq!(e("cache_size_bytes=foo"), "'foo' not an integer");
        assert_eq!(e("cache_size_bytes=foom"), "'foo' not an integer");
        assert_eq!(e("cache_size_files=+1"), "'+1' not an integer");
        assert_eq!(e("foo=bar"), "Unknown key: 'foo'");
        assert_eq!(e("cache_size=5%::x"), "Unknown key: ''");
    }
}
