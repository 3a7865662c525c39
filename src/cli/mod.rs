//! hastctl: what its commands do and how they print.
//!
//! Options, texts and exit codes are base's (spec, section 5), so that scripts written for base's
//! hastctl go on working; what is ours comes beside them: `check`, `-n`, `--force`, more lines in
//! `list`. Results go to standard output, everything else to standard error, each line
//! beginning with `hastctl:`.

/// Appends a line to a String. Text is put together in memory, which never fails.
macro_rules! line {
    ($text:expr, $($part:tt)*) => {
        writeln!($text, $($part)*).expect("a String takes any text")
    };
}

pub mod arguments;
mod check;
mod create;
mod dump;
pub(crate) mod ending;
mod humanize;
mod print;
mod remote;

use arguments::{Arguments, Command, Common};
use clap::Parser;
use clap::error::ErrorKind;
use ending::{Failure, print, sysexits};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::config::{Config, ConfigError, Resource, find};

/// Runs hastctl with a command line (the program's name first); returns the exit code.
pub fn run(command_line: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(command_line) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done where even the usage can not be printed.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                _ => sysexits::EX_USAGE,
            };
        }
    };
    let result = match arguments.command {
        Command::Create(arguments) => create::run(&arguments),
        Command::Role(arguments) => remote::role(&arguments),
        Command::List(arguments) => remote::list(&arguments),
        Command::Status(arguments) => remote::status(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Check(common) => check::run(&common),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            failure.code
        }
    }
}

/// Says something on standard error.
fn complain(message: &impl fmt::Display) {
    eprintln!("hastctl: {message}");
}

/// The configuration that the options name, and its file.
fn configuration(common: &Common) -> Result<(PathBuf, Config), Failure> {
    let path = match &common.config {
        Some(path) => path.clone(),
        None => find().map_err(ConfigError::NotFound)?,
    };
    let config = Config::load(Some(&path), common.node.as_deref())?;
    Ok((path, config))
}

/// Does something to each resource named, going on after failures; the exit code is that of the
/// first.
fn each_named(
    config: &Config,
    names: &[String],
    mut action: impl FnMut(&Resource) -> Result<(), Failure>,
) -> u8 {
    let mut first_code = 0;
    for name in names {
        let result = match config.resource(name) {
            Some(resource) => action(resource),
            None => Err(Failure::new(
                format!("no such resource '{name}' in the configuration"),
                sysexits::EX_DATAERR,
            )),
        };
        if let Err(failure) = result {
            complain(&failure);
            if first_code == 0 {
                first_code = failure.code;
            }
        }
    }
    first_code
}
