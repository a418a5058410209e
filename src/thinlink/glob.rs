//! LLVM's patterns for names, as options have them.
//!
//! In: a pattern. Out: which names match it. Source: `GlobPattern` of GlobPattern.cpp, without
//! braces, which option lists of names do not take.

/// A pattern: `*`, `?`, `[set]`, `[^set]` or `[!set]`, and `\` before what is meant as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    AnyByte,
    AnyBytes,
    /// Ranges, both ends included, and whether those outside of them match.
    Set(Vec<(u8, u8)>, bool),
}

impl Glob {
    /// `None` for what is no pattern: a set without its end, or a backslash at the end.
    pub fn new(pattern: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = pattern.as_bytes();
        while let Some((&c, after)) = rest.split_first() {
            rest = after;
            pieces.push(match c {
                b'*' => Piece::AnyBytes,
                b'?' => Piece::AnyByte,
                b'\\' => {
                    let (&escaped, after) = rest.split_first()?;
                    rest = after;
                    Piece::Byte(escaped)
                }
                b'[' => {
                    let negated = matches!(rest, [b'^' | b'!', ..]);
                    let from = rest.get(usize::from(negated)..)?;
                    // A bracket that comes first is one of the set.
                    let end = from.get(1..)?.iter().position(|&c| c == b']')? + 1;
                    let (set, after) = from.split_at_checked(end)?;
                    rest = after.get(1..)?;
                    Piece::Set(ranges(set)?, negated)
                }
                other => Piece::Byte(other),
            });
        }
        Some(Glob(pieces))
    }

    /// Whether all of `name` matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut pieces, mut rest) = (self.0.as_slice(), name);
        // Where the last star was met, what may follow it and what it has taken can still grow.
        let mut star: Option<(&[Piece], &[u8])> = None;
        loop {
            match (pieces.split_first(), rest.split_first()) {
                (Some((Piece::AnyBytes, after)), _) => {
                    star = Some((after, rest));
                    pieces = after;
                    continue;
                }
                (Some((piece, after)), Some((&c, left))) if piece.takes(c) => {
                    (pieces, rest) = (after, left);
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after, [_, left @ ..])) = star else { return false };
            star = Some((after, left));
            (pieces, rest) = (after, left);
        }
    }
}

impl Piece {
    fn takes(&self, c: u8) -> bool {
        match self {
            Piece::Byte(byte) => *byte == c,
            Piece::AnyByte => true,
            Piece::AnyBytes => false,
            Piece::Set(ranges, negated) => {
                ranges.iter().any(|&(from, to)| (from..=to).contains(&c)) != *negated
            }
        }
    }
}

/// The bytes and ranges of a set; `None` for a range that runs backwards.
fn ranges(set: &[u8]) -> Option<Vec<(u8, u8)>> {
    let mut ranges = Vec::new();
    let mut rest = set;
    while let Some((&from, after)) = rest.split_first() {
        let (to, after) = match after {
            [b'-', to, after @ ..] => (*to, after),
            _ => (from, after),
        };
        if from > to {
            return None;
        }
        ranges.push((from, to));
        rest = after;
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_match_as_in_llvm() {
        let matches = |pattern: &str, name: &str| {
            Glob::new(pattern).unwrap_or_else(|| panic!("{pattern}")).matches(name.as_bytes())
        };
        for (pattern, name) in [
            ("_ZN1A1nEi", "_ZN1A1nEi"),
            ("_ZN?A1*", "_ZN1A1nEi"),
            ("*", ""),
            ("a*b*c", "aXbYbZc"),
            ("[a-c]x[!0-9]", "bxz"),
            ("[]]", "]"),
            ("[^]]", "a"),
            ("\\*", "*"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a", "ab"), ("a*b", "aXc"), ("[a-c]", "d"), ("[!a]", "a"), ("\\*", "x"), ("?", "")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        for pattern in ["[a", "a\\", "[", "[c-a]", "[]"] {
            assert_eq!(Glob::new(pattern), None, "{pattern}");
        }
    }
}
