//! What is looked at before something is done, and what is understood from it. Never guesses: what can not be
//! told is said to be unknown.

use std::path::{Path, PathBuf};

use super::carp;
use super::commands::Command;
use super::supervisor::Carp;

/// A command that shows how things are, and what to look for in what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Changes nothing.
    pub command: Command,
    /// What is looked for.
    pub sign: Sign,
}

/// What a [`Look`] is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A pool is imported.
    Pool(String),
    /// A device is mounted at its place.
    Mounted {
        /// The device.
        device: PathBuf,
        /// The place.
        path: PathBuf,
    },
    /// A service runs.
    Runs(String),
    /// An address is here.
    Master(u8),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is so.
    Yes,
    /// It is not.
    No,
    /// It can not be told; why.
    Unknown(String),
}

impl Look {
    /// Understands an exit code (none: ended by a signal) and what was printed.
    pub fn judge(&self, code: Option<i32>, output: &str) -> Seen {
        let unknown = || {
            let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            Seen::Unknown(format!("'{}' ended with {code}: {output}", self.command))
        };
        match (&self.sign, code) {
            (Sign::Pool(_), Some(0)) => Seen::Yes,
            (Sign::Pool(_), Some(_)) if output.contains("no such pool") => Seen::No,
            (Sign::Runs(_), Some(0)) => Seen::Yes,
            (Sign::Runs(_), Some(_)) if output.contains("is not running") => Seen::No,
            (Sign::Mounted { device, path }, Some(0)) => mounted(output, device, path),
            (Sign::Master(vhid), Some(0)) => match carp::state(output, *vhid) {
                Some(Carp::Master) => Seen::Yes,
                Some(_) => Seen::No,
                None => Seen::Unknown(format!("there is no vhid {vhid} in '{}'", self.command)),
            },
            _ => unknown(),
        }
    }
}

/// Looks into the lines of `mount -p`: device, place, kind, options, separated by white space, which is
/// written as an octal number where it is part of a path.
fn mounted(output: &str, device: &Path, path: &Path) -> Seen {
    for line in output.lines() {
        let mut words = line.split_whitespace().map(unescape);
        let (Some(from), Some(on)) = (words.next(), words.next()) else {
            continue;
        };
        if Path::new(&on) != path {
            continue;
        }
        if Path::new(&from) == device {
            return Seen::Yes;
        }
        // The root of the path may well be a file system of its own; another one at this place is not ours.
        let what = format!("{from} is mounted at {} instead", path.display());
        return Seen::Unknown(what);
    }
    Seen::No
}

fn unescape(word: &str) -> String {
    word.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}
