//! One line for people who watch.
//!
//! In: how far the jobs are. Out: a line on standard error that is written over again and again and
//! is gone at the end; nothing where standard error is no terminal, nor for what takes no time.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::{Progress, Status};

/// The terminal of the user.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    is_terminal: bool,
    since: Instant,
}

/// Who waits for less than this does not wonder.
const PATIENCE: Duration = Duration::from_secs(1);

impl Terminal {
    /// Standard error, if it is a terminal that can move its cursor.
    pub fn stderr() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Terminal { is_terminal: !dumb && std::io::stderr().is_terminal(), since: Instant::now() }
    }
}

impl Progress for Terminal {
    fn interval(&self) -> Option<Duration> {
        self.is_terminal.then_some(Duration::from_millis(200))
    }

    fn update(&self, status: &Status<'_>) {
        if self.since.elapsed() < PATIENCE {
            return;
        }
        // A terminal that has gone away is no reason to stop.
        let _ = std::io::stderr().write_all(line(status).as_bytes());
    }
}

/// From the start of the line to its end; only the start and an empty line when all is done.
fn line(status: &Status<'_>) -> String {
    let mut line = String::from("\r\x1b[K");
    if status.running == 0 {
        return line;
    }
    // Writing to a String does not fail.
    let _ = write!(line, "LTO {}/{}", status.done, status.total);
    if let Some((name, time)) = status.longest {
        // The end of a path says more than its beginning, and a second line could not be undone.
        let cut = name.char_indices().rev().nth(47).map_or(0, |(at, _)| at);
        let (dots, name) = if cut > 0 { ("...", name.get(cut..)) } else { ("", Some(name)) };
        let _ = write!(line, " {dots}{} {} s", name.unwrap_or_default(), time.as_secs());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_and_goes_away() {
        let long = format!("{}/end.o", "folder/".repeat(20));
        let mut status = Status {
            done: 3,
            total: 341,
            running: 2,
            longest: Some((&long, Duration::from_millis(5999))),
        };
        let shown = line(&status);
        assert!(shown.starts_with("\r\x1b[KLTO 3/341 ..."), "{shown:?}");
        assert!(shown.ends_with("/end.o 5 s"), "{shown:?}");
        assert!(shown.chars().count() < 84, "{shown:?}");
        status.longest = Some(("a.o", Duration::ZERO));
        assert_eq!(line(&status), "\r\x1b[KLTO 3/341 a.o 0 s");
        (status.running, status.longest) = (0, None);
        assert_eq!(line(&status), "\r\x1b[K");
    }
}
