//! The message behind `lto_get_error_message`: the last error of the calling thread.
//!
//! In: an error. Out: its text as a C string that stays where it is until the same thread fails
//! again. Kept in the thread's own static storage and without a destructor: a thread-local with
//! one would pin the library in memory after `dlclose`, and heap memory would outlive it.

use std::cell::Cell;
use std::ffi::c_char;
use std::fmt::{self, Write};

/// Room for a message in bytes, its NUL included; longer ones end in "...".
const ROOM: usize = 4096;
const ELLIPSIS: &[u8] = b"...";

thread_local! {
    static MESSAGE: [Cell<u8>; ROOM] = const { [const { Cell::new(0) }; ROOM] };
}

/// Sets the calling thread's message. A NUL within it becomes a space, so that nothing is lost.
pub(crate) fn set(message: impl fmt::Display) {
    MESSAGE.with(|room| {
        let mut writer = Writer { room, used: 0 };
        // The writer itself never fails; a Display that does leaves what it wrote so far.
        let _ = write!(writer, "{message}");
    });
}

/// The calling thread's message: the empty string where nothing failed yet.
pub(crate) fn get() -> *const c_char {
    MESSAGE.with(|room| room.as_ptr().cast())
}

struct Writer<'a> {
    room: &'a [Cell<u8>; ROOM],
    used: usize,
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let character = if character == '\0' { ' ' } else { character };
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            let fits = self.used + bytes.len() + ELLIPSIS.len() < ROOM;
            let bytes = if fits { bytes } else { ELLIPSIS };
            let rest = self.room.get(self.used..).unwrap_or_default();
            for (cell, byte) in rest.iter().zip(bytes.iter().chain(&[0])) {
                cell.set(*byte);
            }
            if !fits {
                return Err(fmt::Error);
            }
            self.used += bytes.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        MESSAGE.with(|room| {
            let bytes: Vec<u8> = room.iter().map(Cell::get).take_while(|byte| *byte != 0).collect();
            String::from_utf8(bytes).unwrap()
        })
    }

    #[test]
    fn every_thread_has_its_own() {
        set("mine");
        std::thread::spawn(|| {
            assert_eq!(text(), "");
            set("theirs");
            assert_eq!(text(), "theirs");
        })
        .join()
        .unwrap();
        assert_eq!(text(), "mine");
        set("m");
        assert_eq!(text(), "m");
    }

    #[test]
    fn cuts_what_is_too_long_between_characters() {
        set("é".repeat(5000));
        let got = text();
        assert!(got.ends_with("é..."), "{}", &got[got.len() - 20..]);
        assert!(got.len() < ROOM && got.len() > ROOM - 10, "{}", got.len());
        set("a\0b");
        assert_eq!(text(), "a b");
    }
}
