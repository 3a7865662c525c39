//! `hastd --witness`: from the command line to a witness that serves, and its end. Reads no
//! configuration, starts no worker.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use nix::unistd::geteuid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use socket2::Socket;

use super::arguments::Arguments;
use super::listener::Listener;
use super::pidfile::PidFile;
use super::signals::{Request, Signals};
use super::startup::{StartError, go_to_background, open_pidfile, remove, system, write};
use crate::config::Address;
use crate::witness::protocol::PORT;
use crate::witness::secret::Secret;
use crate::witness::server::{Server, Wish};
use crate::witness::store::Store;

/// Listened on unless addresses are named.
const DEFAULT_LISTEN: [&str; 2] = ["tcp4://0.0.0.0", "tcp6://[::]"];

/// Runs a witness to its end.
pub(super) fn run(arguments: &Arguments) -> Result<(), StartError> {
    let secret = Secret::read(&arguments.secret)?;
    let mut pidfile = match &arguments.pidfile {
        Some(path) => open_pidfile(path)?,
        None => None,
    };
    let result = serve(arguments, secret, &mut pidfile);
    remove(pidfile);
    result
}

fn serve(
    arguments: &Arguments,
    secret: Secret,
    pidfile: &mut Option<PidFile>,
) -> Result<(), StartError> {
    // In the background the working directory is another one.
    let absolute = |path| std::path::absolute(path).map_err(system("find the working directory"));
    let secret_path = absolute(&arguments.secret)?;
    let store = Store::open(&absolute(&arguments.state)?)?;
    let listeners = listen(&arguments.listen)?;
    if !arguments.foreground {
        go_to_background()?;
    }
    write(pidfile);
    let mut signals =
        Signals::catch_these(&[SIGHUP, SIGTERM, SIGINT]).map_err(system("catch signals"))?;
    let watched = signals.readable().try_clone();
    let watched = watched.map_err(system("catch signals"))?;
    let mut server = Server::new(listeners, secret, store, Instant::now());
    log::info!("Started successfully as a witness.");
    if geteuid().is_root() {
        log::warn!("It runs as root and does not need to: see hastd(8), Witness.");
    }
    server
        .run(watched.as_fd(), || wish(&signals.take(), &secret_path))
        .map_err(system("wait for events"))?;
    log::info!("Terminated by a signal, exiting.");
    Ok(())
}

/// What signals ask for. A secret that is none does not cost the one that there is.
fn wish(requests: &[Request], secret: &Path) -> Wish {
    if requests.contains(&Request::End) {
        return Wish::End;
    }
    if !requests.contains(&Request::Reload) {
        return Wish::GoOn;
    }
    match Secret::read(secret) {
        Ok(secret) => {
            log::info!("The secret was read again.");
            Wish::Take(secret)
        }
        Err(error) => {
            log::error!("The secret stays what it was: {error}");
            Wish::GoOn
        }
    }
}

fn listen(addresses: &[String]) -> Result<Vec<Socket>, StartError> {
    let defaults = DEFAULT_LISTEN.map(str::to_owned);
    let lenient = addresses.is_empty();
    let addresses = if lenient { &defaults[..] } else { addresses };
    let mut sockets = Vec::new();
    for text in addresses {
        let address = Address::parse(text, PORT)?;
        let listeners = Listener::peers(&address, address.resolve(), lenient)?;
        sockets.extend(listeners.into_iter().map(Listener::into_socket));
    }
    if sockets.is_empty() {
        return Err(StartError::NoAddress);
    }
    Ok(sockets)
}
