//! Where a command writes.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
};

/// Standard output, or what stands in for it in a test, and what may be done to it.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    /// Whether to colour.
    pub colour: bool,
    /// Whether it can be cleared and drawn again.
    pub terminal: bool,
}

impl<'a> Screen<'a> {
    /// Takes standard output: colour is for a terminal alone, and not where `NO_COLOR` is set.
    #[must_use]
    pub fn stdout(out: &'a mut io::StdoutLock<'static>) -> Self {
        let terminal = out.is_terminal();
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { out, colour: terminal && !plain, terminal }
    }

    /// Takes something that is no terminal.
    #[must_use]
    pub fn plain(out: &'a mut dyn Write) -> Self {
        Self { out, colour: false, terminal: false }
    }

    /// Writes text, and sees that it gets there.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Puts text in place of what was there; below it, where it cannot be cleared.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn redraw(&mut self, text: &str) -> io::Result<()> {
        if self.terminal {
            self.print(&format!("{HOME_AND_CLEAR}{text}"))
        } else {
            self.print(&format!("{text}\n"))
        }
    }
}

/// ECMA-48: cursor to the upper left, then erase to the end of the screen.
const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";
