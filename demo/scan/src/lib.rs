//! Finds the words of a text.

/// Where the next word at or after `from` begins and ends, in bytes.
///
/// Other crates call this for every word, so without link-time optimisation it stays a function of
/// its own: rustc compiles the callers without its body.
pub fn next_word(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = from + text.get(from..)?.iter().position(|&b| is_word_byte(b))?;
    let length = text[start..].iter().position(|&b| !is_word_byte(b));
    Some((start, length.map_or(text.len(), |n| start + n)))
}

/// Letters, digits and the apostrophe.
pub fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'\''
}

/// Nobody calls this one, but the crate must offer it: only the whole program shows that it can go.
pub fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b == b'\n').count()
}
