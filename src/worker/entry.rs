//! The worker process: what it is told to be, and its exit code.

use std::ffi::CString;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use super::channel::{Assignment, Begin, DESCRIPTOR, FromWorker, LOG_DESCRIPTOR, ToWorker};
use super::link::Link;
use super::refusal::RoleError;
use super::{exit, primary, secondary};
use crate::config::Provider;
use crate::provider::gate::{self, kernel::Kernel};
use crate::{logging, passing};

/// Runs as hastd's worker: takes its end of the socket from where the main process left it, and its
/// orders from there. Returns when the role has ended.
pub fn run() -> ExitCode {
    logging::start(0);
    // The main process has put what it is there; that it is a worker is of no interest to ps(1).
    let title = std::env::args_os().next().unwrap_or_default();
    if let Ok(title) = CString::new(title.into_encoded_bytes()) {
        hast_ffi::title::set(&title);
    }
    // A main process of another version may not take it.
    if let Ok(pipe) = passing::inherited(LOG_DESCRIPTOR)
        && let Ok(relay) = logging::relay::Sender::new(pipe)
    {
        logging::to_main_process(relay);
    }
    // What another thread left behind when it panicked is nothing to go on with; a worker that
    // died is replaced.
    let log_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        std::process::abort();
    }));
    // Signals from the keyboard go to every process of a group: the main process's are ours, too.
    let ignored = std::sync::Arc::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&ignored)) {
            log::warn!("cannot ignore signal {signal}: {error}");
        }
    }
    match passing::inherited(DESCRIPTOR) {
        Ok(descriptor) => {
            let surroundings = Surroundings {
                own_process: true,
                gate: gate::of_this_system(),
                always_gate: false,
            };
            let code = run_with(UnixStream::from(descriptor), surroundings);
            log::logger().flush();
            ExitCode::from(code)
        }
        Err(error) => {
            log::error!(
                "'--worker' is for hastd's own use only (descriptor {DESCRIPTOR}: {error})"
            );
            ExitCode::from(exit::SOFTWARE)
        }
    }
}

/// What a worker finds where it runs.
#[derive(Default)]
pub struct Surroundings {
    /// The process is the worker's own: its log goes where the orders say.
    pub own_process: bool,
    /// GEOM gate, where there is one.
    pub gate: Option<Arc<dyn Kernel>>,
    /// Every device is to be GEOM gate's: only FreeBSD's configuration can say so.
    pub always_gate: bool,
}

/// Runs a worker over a socket to its main process, in this process. Returns the exit code.
pub fn run_with(socket: UnixStream, surroundings: Surroundings) -> u8 {
    let link = Arc::new(Link::new(socket));
    let (mut begin, connections) = match link.receive(None) {
        Ok(Some((ToWorker::Begin(begin), connections))) => (*begin, connections),
        Ok(_) => {
            log::error!("hastd's main process did not say what to be");
            return exit::SOFTWARE;
        }
        Err(error) => {
            log::error!("{error}");
            return exit::TEMPORARY;
        }
    };
    if surroundings.always_gate {
        begin.resource.provider = Provider::Gate;
    }
    if surroundings.own_process {
        set_logging(&begin);
    }
    let ended = match begin.assignment {
        Assignment::Primary(promotion) => {
            let rights = primary::Rights {
                promotion,
                permit: begin.permit,
            };
            primary::run(&link, begin.resource, rights, surroundings.gate)
        }
        Assignment::Secondary(introduction) => match <[_; 2]>::try_from(connections) {
            Ok(pair) => secondary::run(&link, &begin.resource, &introduction, pair),
            Err(_) => Err(RoleError::Channel("two connections are needed")),
        },
    };
    ended.unwrap_or_else(|error| {
        let exit = error.exit_code();
        // The main process logs it, where it has not been said before.
        let message = error.to_string();
        link.send(&FromWorker::Refused { exit, message });
        exit
    })
}

fn set_logging(begin: &Begin) {
    logging::set_debug(begin.debug);
    logging::set_subject(&begin.resource.name, begin.assignment.role());
    if !begin.foreground {
        logging::to_syslog(logging::HASTD);
    }
}
