//! Who wrote a module, and which libLLVM can therefore read it.
//!
//! In: the string of an IDENTIFICATION block. Out: the version it names, if it names one. Knows
//! nothing of files.
//!
//! LLVM's writer puts "LLVM" and its version there (`BitcodeWriter.cpp`,
//! `writeIdentificationBlock`): "LLVM22.1.8", "LLVM23.0.0git", rustc's "LLVM22.1.2-rust-1.95.0-stable".
//! Apple's clang writes "APPLE_1_1500.3.9.4_0" and the like: its own numbers, which do not say
//! which LLVM they come from. The reader only checks the epoch and refuses what it cannot decode,
//! so within a major version everything can be read, and an unknown producer is worth a try.

use std::fmt;

use super::Identification;

/// The producer of a module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    text: String,
    major: Option<u32>,
}

impl Producer {
    /// Reads an identification string; one that does not start with "LLVM" and a number has an
    /// unknown version.
    pub fn parse(text: &str) -> Self {
        let major = text.strip_prefix("LLVM").and_then(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..digits)?.parse().ok()
        });
        Producer { text: text.to_string(), major }
    }

    /// What an identification block says.
    pub fn of(identification: &Identification) -> Self {
        Self::parse(&String::from_utf8_lossy(&identification.producer))
    }

    /// LLVM's major version, where the string names one.
    pub fn major(&self) -> Option<u32> {
        self.major
    }

    /// Whether LLVM of this major version reads what the producer wrote.
    pub fn readable_by(&self, llvm_major: u32) -> bool {
        self.major.is_none_or(|major| major <= llvm_major)
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_real_producers_write_them() {
        for (text, major) in [
            ("LLVM22.1.8", Some(22)),
            ("LLVM14.0.6", Some(14)),
            ("LLVM23.0.0git", Some(23)),
            ("LLVM22.1.2-rust-1.95.0-stable", Some(22)),
            ("LLVM3.9", Some(3)),
            ("APPLE_1_1500.3.9.4_0", None),
            ("LLVM", None),
            ("LLVMx", None),
            ("LLVM99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(Producer::parse(text).major(), major, "{text}");
        }
    }

    #[test]
    fn an_unknown_producer_is_worth_a_try() {
        assert!(Producer::parse("APPLE_1_1500.3.9.4_0").readable_by(14));
        assert!(Producer::parse("LLVM22.1.8").readable_by(22));
        assert!(!Producer::parse("LLVM22.1.8").readable_by(21));
    }
}
