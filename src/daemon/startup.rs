//! From the command line to a running event loop, in base hastd's order: whatever can fail
//! fails before the process goes to the background, where people see it, with an exit code
//! of sysexits(3).

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use super::arguments::Arguments;
use super::event_loop::{Daemon, Opened, Settings};
use super::listener::{ListenError, Listener};
use super::pidfile::{PidFile, PidFileError};
use super::reload::{Loaded, load};
use super::witness;
use crate::config::ConfigError;
use crate::config::address::AddressError;
use crate::logging;
use crate::wire::PROTOCOL_VERSION;
use crate::witness::secret::SecretError;
use crate::witness::store::StoreError;

const EX_USAGE: u8 = 64;
const EX_DATAERR: u8 = 65;
const EX_OSERR: u8 = 71;
const EX_TEMPFAIL: u8 = 75;
const EX_CONFIG: u8 = 78;

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("no address of the configuration can be listened on")]
    NoAddress,
    #[error("--listen: {0}")]
    Address(#[from] AddressError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("unable to {what}: {error}")]
    System {
        what: &'static str,
        error: io::Error,
    },
}

impl StartError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Address(_) => EX_USAGE,
            Self::Secret(_) => EX_CONFIG,
            Self::Store(StoreError::Damaged { .. }) => EX_DATAERR,
            Self::PidFile(PidFileError::Held { .. }) | Self::Store(StoreError::Held(_)) => {
                EX_TEMPFAIL
            }
            Self::PidFile(PidFileError::Io { .. })
            | Self::Store(StoreError::Io { .. })
            | Self::Listen(_)
            | Self::NoAddress
            | Self::System { .. } => EX_OSERR,
        }
    }
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

/// hastd's main function.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            // Fails only where nobody listens.
            let _ = error.print();
            return ExitCode::from(if wrong { EX_USAGE } else { 0 });
        }
    };
    logging::start(arguments.debug);
    let result = if arguments.witness {
        witness::run(&arguments)
    } else {
        run(&arguments)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), StartError> {
    let settings = settings(arguments)?;
    let loaded = load(&settings)?;
    let pidfile = match pidfile_path(arguments, &loaded) {
        Some(path) => open_pidfile(path)?,
        None => None,
    };
    let mut opened = match open(loaded, pidfile) {
        Ok(opened) => opened,
        Err((error, pidfile)) => {
            remove(pidfile);
            return Err(error);
        }
    };
    if !settings.foreground
        && let Err(error) = go_to_background()
    {
        opened.control.discard();
        remove(opened.pidfile);
        return Err(error);
    }
    write(&mut opened.pidfile);
    let (mut daemon, mut poll) =
        Daemon::new(settings, opened).map_err(system("set up the event loop"))?;
    log::info!("Started successfully, running protocol version {PROTOCOL_VERSION}.");
    let result = daemon.run(&mut poll).map_err(system("wait for events"));
    daemon.finish();
    result
}

fn settings(arguments: &Arguments) -> Result<Settings, StartError> {
    let config = arguments.config.as_deref().map(std::path::absolute);
    Ok(Settings {
        config: config
            .transpose()
            .map_err(system("find the working directory"))?,
        node: arguments.node.clone(),
        own_pidfile: arguments.pidfile.is_some(),
        debug: arguments.debug,
        foreground: arguments.foreground,
        program: std::env::current_exe().map_err(system("find this program's own file"))?,
    })
}

/// In the foreground there is a pid file only where one is named.
fn pidfile_path<'a>(arguments: &'a Arguments, loaded: &'a Loaded) -> Option<&'a Path> {
    match &arguments.pidfile {
        Some(path) => Some(path),
        None if arguments.foreground => None,
        None => Some(loaded.pidfile()),
    }
}

/// A pid file that another hastd holds is an error; one that can not be made is not, as in base
/// hastd.
pub(super) fn open_pidfile(path: &Path) -> Result<Option<PidFile>, StartError> {
    let absolute = std::path::absolute(path).map_err(system("find the working directory"))?;
    match PidFile::open(&absolute) {
        Ok(pidfile) => Ok(Some(pidfile)),
        Err(error @ PidFileError::Held { .. }) => Err(error.into()),
        Err(error @ PidFileError::Io { .. }) => {
            log::warn!("{error}");
            Ok(None)
        }
    }
}

fn open(loaded: Loaded, pidfile: Option<PidFile>) -> Result<Opened, (StartError, Option<PidFile>)> {
    let control = match Listener::control(loaded.control()) {
        Ok(control) => control,
        Err(error) => return Err((error.into(), pidfile)),
    };
    let listened = match loaded.listen(|_| false) {
        Ok((_, listeners)) if listeners.is_empty() => Err(StartError::NoAddress),
        Ok(listened) => Ok(listened),
        Err(error) => Err(error.into()),
    };
    match listened {
        Ok((config, listeners)) => Ok(Opened {
            config,
            pidfile,
            control,
            listeners,
        }),
        Err(error) => {
            control.discard();
            Err((error, pidfile))
        }
    }
}

/// Leaves the terminal; the log goes to syslog from there on. There is only one thread yet.
pub(super) fn go_to_background() -> Result<(), StartError> {
    nix::unistd::daemon(false, false)
        .map_err(|errno| system("go to the background")(errno.into()))?;
    logging::to_syslog(logging::HASTD);
    Ok(())
}

/// Writes this process's number, now that it is the one that stays.
pub(super) fn write(pidfile: &mut Option<PidFile>) {
    if let Some(pidfile) = pidfile
        && let Err(error) = pidfile.write()
    {
        let path = pidfile.path().display();
        log::warn!("Unable to write PID to a file {path}: {error}");
    }
}

pub(super) fn remove(pidfile: Option<PidFile>) {
    if let Some(pidfile) = pidfile
        && let Err(error) = pidfile.remove()
    {
        log::warn!("Unable to remove the pidfile: {error}");
    }
}
