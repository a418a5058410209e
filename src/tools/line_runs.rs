//! Lines about the same file, in a file of resolutions.
//!
//! In: the text of a response file. Out: where runs of lines that begin with the same `-r=FILE,`
//! end. Saved links have millions of such lines, and to look at each is all that is done with them
//! before the files are read, so that two threads share it.

use std::ops::Range;

/// From so many bytes on a second thread is worth its while.
const LARGE: usize = 1 << 20;

/// Where runs of lines end.
pub(super) struct LineRuns {
    /// The line feeds before each line that does not begin as the one before it.
    ends: Vec<usize>,
}

impl LineRuns {
    /// Those of a large text in which every line is a word as it stands; `None` for all others.
    pub(super) fn find(text: &[u8]) -> Option<Self> {
        if text.len() < LARGE {
            return None;
        }
        let middle = text.len() / 2;
        std::thread::scope(|scope| {
            let second = scope.spawn(|| ends(text, middle..text.len()));
            let first = ends(text, 0..middle);
            let mut ends = first?;
            ends.extend(second.join().ok()??);
            Some(LineRuns { ends })
        })
    }

    /// Where the run ends of the line behind the line feed `at`: at a later line feed, or with the
    /// text.
    pub(super) fn end(&self, at: usize) -> Option<usize> {
        self.ends.get(self.ends.partition_point(|&end| end <= at)).copied()
    }
}

/// Whether a line holds what makes it other than one word as it stands.
pub(super) fn has_quotes_or_blanks(lines: &[u8]) -> bool {
    memchr::memchr3(b'\'', b'"', b'\\', lines).is_some()
        || memchr::memchr3(b' ', b'\t', b'\r', lines).is_some()
}

/// So many bytes are gone through at a time, which a core's own cache holds: the text is looked at
/// more than once.
const BLOCK: usize = 16 << 10;

/// The ends of runs in a range of the text.
fn ends(text: &[u8], range: Range<usize>) -> Option<Vec<usize>> {
    let begin = memchr::memrchr(b'\n', &text[..range.start]).map_or(0, |feed| feed + 1);
    let mut head = head(&text[begin..]);
    let mut ends = Vec::new();
    for start in range.clone().step_by(BLOCK) {
        let block = &text[start..range.end.min(start + BLOCK)];
        if has_quotes_or_blanks(block) {
            return None;
        }
        for feed in memchr::memchr_iter(b'\n', block).map(|feed| start + feed) {
            let line = &text[feed + 1..];
            if head.is_empty() || !line.starts_with(head) {
                head = self::head(line);
                ends.push(feed);
            }
        }
    }
    Some(ends)
}

/// `-r=FILE,` at the beginning of a line; nothing where another line begins.
pub(super) fn head(text: &[u8]) -> &[u8] {
    match memchr::memchr2(b',', b'\n', text) {
        Some(end) if text[end] == b',' && text.starts_with(b"-r=") => &text[..=end],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of `symbols` symbols of each of some files.
    fn link(symbols: usize) -> String {
        let file = |file: usize| {
            let line = |n| {
                format!("-r=folder/{file}.o,symbol{n},{}\n", if n % 2 == 0 { "px" } else { "" })
            };
            format!("folder/{file}.o\n{}", (0..symbols).map(line).collect::<String>())
        };
        (0..40).map(file).collect()
    }

    #[test]
    fn runs_end_where_the_file_changes() {
        let text = link(1500);
        let bytes = text.as_bytes();
        let runs = LineRuns::find(bytes).unwrap();
        let mut at = 0;
        for file in 0..40 {
            // The line of the file alone, and those of its symbols.
            at += format!("folder/{file}.o").len();
            let end = runs.end(at).unwrap();
            let run = &text[at..end];
            assert_eq!(run.matches('\n').count(), 1500, "{file}");
            assert!(
                run.split('\n')
                    .skip(1)
                    .all(|line| line.starts_with(&format!("-r=folder/{file}.o,")))
            );
            at = end + 1;
        }
        assert_eq!(at, text.len());
        assert_eq!(runs.end(text.len()), None);
        // Wherever the text is cut in two.
        let whole = ends(bytes, 0..bytes.len()).unwrap();
        for middle in (bytes.len() / 2..).take(40) {
            let mut two = ends(bytes, 0..middle).unwrap();
            two.extend(ends(bytes, middle..bytes.len()).unwrap());
            assert_eq!(two, whole, "{middle}");
        }
    }

    #[test]
    fn texts_that_are_small_or_quoted_have_none() {
        assert!(LineRuns::find(link(10).as_bytes()).is_none());
        let text = link(1500);
        for mark in ["'", "\"", "\\", " ", "\t", "\r"] {
            assert!(LineRuns::find(text.replacen("symbol9", mark, 1).as_bytes()).is_none());
            assert!(LineRuns::find(format!("{text}{mark}").as_bytes()).is_none());
        }
    }
}
