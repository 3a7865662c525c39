//! `hastd --witness`: from the command line to a witness that serves, and its end. Reads no
//! configuration, starts no worker.

use std::os::fd::AsFd;
use std::time::Instant;

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
use crate::witness::server::Server;
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
    let state = std::path::absolute(&arguments.state);
    let store = Store::open(&state.map_err(system("find the working directory"))?)?;
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
    let ends = || {
        let requests = signals.take();
        if requests.contains(&Request::Reload) {
            log::info!("There is nothing to reload.");
        }
        requests.contains(&Request::End)
    };
    server
        .run(watched.as_fd(), ends)
        .map_err(system("wait for events"))?;
    log::info!("Terminated by a signal, exiting.");
    Ok(())
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
