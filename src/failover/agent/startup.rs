//! From the command line to a running agent, and its end. Whatever can fail fails before the process goes to the
//! background, with an exit code of sysexits(3).

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::demotion::{Demotion, MARK};
use super::server::{self, SocketError};
use super::supervision::Shared;
use super::waiting::Clock;
use super::{Agent, boot};
use crate::config::ConfigError;
use crate::daemon::pidfile::{PidFile, PidFileError};
use crate::daemon::signals::{Request, Signals};
use crate::failover::group::Settings;
use crate::failover::runner::Programs;
use crate::logging;

/// Where the agent leaves its process number.
pub const PIDFILE: &str = "/var/run/hast-failover.pid";
/// Held by the one agent that uses a folder of state files.
const LOCK: &str = "failover.lock";
/// Holds who wants the demotion raised.
const DEMOTION: &str = "failover.demotion";

/// How the agent is to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The configuration; none: where hastd finds it.
    pub config: Option<PathBuf>,
    /// This node's name; none: the host's.
    pub node: Option<String>,
    /// Stay in the foreground.
    pub foreground: bool,
    /// In the foreground too.
    pub pidfile: Option<PathBuf>,
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another one has the state, or the pid file.
    #[error("another hast-failover is running: it holds {}", .0.display())]
    Running(PathBuf),
    /// A file can not be made.
    #[error("cannot open or create {path}: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Something else.
    #[error("unable to {what}: {error}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Something that says all of it.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Of sysexits(3).
    pub const fn exit_code(&self) -> u8 {
        const EX_OSERR: u8 = 71;
        const EX_CANTCREAT: u8 = 73;
        const EX_TEMPFAIL: u8 = 75;
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Running(_) | Self::Socket(SocketError::Taken(_)) => EX_TEMPFAIL,
            Self::File { .. } | Self::Socket(SocketError::Io { .. }) => EX_CANTCREAT,
            Self::System { .. } | Self::Other(_) => EX_OSERR,
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

/// Runs the agent to its end.
pub fn run(options: &Options) -> Result<(), StartError> {
    let config_path = options.config.as_deref().map(std::path::absolute);
    let config_path = config_path
        .transpose()
        .map_err(system("find the working directory"))?;
    let load = || Settings::load(config_path.as_deref(), options.node.as_deref());
    let (config, settings) = load()?;
    make_folder(&settings.state)?;
    let lock = hold(&settings.state.join(LOCK))?;
    let pidfile = match &options.pidfile {
        Some(path) => Some(path.clone()),
        None if options.foreground => None,
        None => Some(PIDFILE.into()),
    };
    let mut pidfile = pidfile.as_deref().map(hold).transpose()?;
    let boot = boot::identity().map_err(StartError::Other)?;
    let listener = server::listen(&settings.control)?;
    if !options.foreground {
        nix::unistd::daemon(false, false)
            .map_err(|errno| system("go to the background")(errno.into()))?;
        logging::to_syslog(logging::HAST_FAILOVER);
    }
    if let Some(pidfile) = &mut pidfile {
        pidfile.write().map_err(system("write the pid file"))?;
    }
    let signals = Signals::catch_these(&[SIGHUP, SIGTERM, SIGINT]);
    let mut signals = signals.map_err(system("catch signals"))?;

    let runner = Arc::new(Programs::default());
    let demotion = settings.state.join(DEMOTION);
    let mut demotion = Demotion::load(
        demotion,
        MARK.into(),
        &boot,
        &settings.programs,
        runner.clone(),
    );
    demotion.retain(|name| settings.group(name).is_some());
    let shared = Shared {
        runner,
        demotion: Arc::new(Mutex::new(demotion)),
        clock: Clock::start(),
        boot,
    };
    let agent = Agent::start(&settings, &config, shared).map_err(StartError::Other)?;
    let agent = Arc::new(agent);
    server::serve(listener, agent.clone()).map_err(system("start a thread"))?;
    log::info!("Started successfully on node {}.", settings.node);
    mind_signals(&mut signals, || match load() {
        Ok((config, new)) => {
            if (&new.control, &new.state) != (&settings.control, &settings.state) {
                log::warn!("The socket and the folder of states are changed by a restart only.");
            }
            agent.reload(&new, &config);
            log::info!("Reloaded.");
        }
        Err(error) => log::error!("Not reloaded: {error}"),
    })?;
    log::info!("Terminating; the groups stay as they are.");
    agent.end();
    remove(&settings.control);
    for file in [pidfile, Some(lock)].into_iter().flatten() {
        if let Err(error) = file.remove() {
            log::warn!("Unable to remove a pid file: {error}");
        }
    }
    Ok(())
}

/// Until one tells to end.
fn mind_signals(signals: &mut Signals, reload: impl Fn()) -> Result<(), StartError> {
    loop {
        let mut watched = [PollFd::new(signals.readable().as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(system("wait for signals")(errno.into())),
        }
        let requests = signals.take();
        if requests.contains(&Request::End) {
            return Ok(());
        }
        if requests.contains(&Request::Reload) {
            reload();
        }
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|error| StartError::File {
        path: path.to_owned(),
        error,
    })
}

/// A locked file.
fn hold(path: &Path) -> Result<PidFile, StartError> {
    let absolute = std::path::absolute(path).map_err(system("find the working directory"))?;
    PidFile::open(&absolute).map_err(|error| match error {
        PidFileError::Held { path, .. } => StartError::Running(path),
        PidFileError::Io { path, error } => StartError::File { path, error },
    })
}

fn remove(socket: &Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        log::warn!("Unable to remove {}: {error}", socket.display());
    }
}
