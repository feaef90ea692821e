//! Standard output of commands that list: as a table, as JSON, or as comma-separated values.

use std::fmt;
use std::io::{self, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::table::printable;

/// A line for standard output. Whoever reads it may leave: then the command ends, well.
macro_rules! say {
    ($($text:tt)*) => { $crate::sheet::put(format_args!("{}\n", format_args!($($text)*))) };
}

/// The same without the end of the line.
macro_rules! say_part {
    ($($text:tt)*) => { $crate::sheet::put(format_args!($($text)*)) };
}

pub(crate) use {say, say_part};

/// Writes a text, at once; ends the process if that cannot be.
pub(crate) fn put(text: fmt::Arguments<'_>) {
    match Paper.write(&text.to_string()) {
        Ok(Ok(())) => {}
        Ok(Err(Unread)) => std::process::exit(0),
        Err(error) => {
            eprintln!("opm: standard output cannot be written: {error}");
            std::process::exit(1);
        }
    }
}

/// Standard output whose reader may leave, as `head` does.
pub(crate) struct Paper;

/// Nobody reads any more.
#[derive(Debug)]
pub(crate) struct Unread;

impl Paper {
    /// Writes a text, at once.
    ///
    /// # Errors
    /// It cannot be written; `Ok(Err(Unread))` if its reader has left, which is no failure.
    pub(crate) fn write(&self, text: &str) -> io::Result<Result<(), Unread>> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Err(Unread)),
            other => other.map(Ok),
        }
    }

    /// True if its reader has left. A file is always read.
    pub(crate) fn is_unread(&self) -> bool {
        let out = io::stdout();
        let mut out = [PollFd::new(&out, PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let asked = poll(&mut out, Some(&at_once));
        asked.is_ok()
            && out
                .iter()
                .any(|out| out.revents().intersects(PollFlags::ERR | PollFlags::HUP))
    }
}

/// A line of comma-separated values (RFC 4180). Spreadsheets run what begins like a formula: such a text of others gets an apostrophe.
pub(crate) fn csv(cells: &[String]) -> String {
    let mut line = cells.iter().map(|cell| value(cell)).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// A number that may be absent.
pub(crate) fn optional(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn value(cell: &str) -> String {
    let mut text = printable(cell);
    if text.starts_with(['=', '+', '-', '@']) && text.parse::<f64>().is_err() {
        text.insert(0, '\'');
    }
    if text.contains(['"', ',', '\'']) || text.starts_with(' ') || text.ends_with(' ') {
        text = format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::csv;

    #[test]
    fn values_are_quoted_where_they_must_be_and_never_run() {
        let cells = [
            "a", "b,c", "d \"e\"", "", "-1.5", "=1+1", "-x", "@sum(a1)", "x\ny",
        ]
        .map(str::to_owned);
        assert_eq!(
            csv(&cells),
            "a,\"b,c\",\"d \"\"e\"\"\",,-1.5,\"'=1+1\",\"'-x\",\"'@sum(a1)\",x\u{fffd}y\r\n"
        );
    }
}
