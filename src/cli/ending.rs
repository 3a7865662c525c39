//! What commands that people type have in common: how they end, and how they print.

use std::fmt;
use std::io::{self, Write};

use crate::config::ConfigError;

/// The exit codes of sysexits(3) that commands give by themselves.
pub mod sysexits {
    pub const EX_USAGE: u8 = 64;
    pub const EX_DATAERR: u8 = 65;
    pub const EX_UNAVAILABLE: u8 = 69;
    pub const EX_SOFTWARE: u8 = 70;
    pub const EX_IOERR: u8 = 74;
    pub const EX_TEMPFAIL: u8 = 75;
    pub const EX_PROTOCOL: u8 = 76;
    pub const EX_CONFIG: u8 = 78;
}

/// What ends a command: a sentence for the user and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl Failure {
    pub fn new(message: impl fmt::Display, code: u8) -> Self {
        Self {
            message: message.to_string(),
            code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = error.exit_code();
        Self::new(error, code)
    }
}

/// Writes a command's result. A reader that has gone away (`hastctl list | head -1`) has seen what
/// it wanted.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            format!("cannot write the output: {error}"),
            sysexits::EX_IOERR,
        )),
        _ => Ok(()),
    }
}
