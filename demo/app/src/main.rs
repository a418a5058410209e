//! Counts the words of a made-up text, through functions of two other crates.

use tally::Tally;

fn main() {
    let words = ["Link", "time", "is", "the", "only", "time", "at", "which", "all", "is", "known"];
    let mut text = Vec::new();
    let mut state = 1_u32;
    for _ in 0..2_000_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 16) as usize % words.len()].as_bytes());
        text.push(if state & 0x0f00_0000 == 0 { b'\n' } else { b' ' });
    }

    let mut tally = Tally::with_bits(10);
    let (mut at, mut count) = (0, 0);
    while let Some((start, end)) = scan::next_word(&text, at) {
        tally.add(&text[start..end]);
        at = end;
        count += 1;
    }
    let (different, most) = tally.summary();
    println!("{count} words, {different} different, the most frequent one {most} times");
}
