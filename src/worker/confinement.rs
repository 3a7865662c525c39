//! Gives up what a worker does not need once everything it works with is open: who it is, what it sees of
//! the file system, the network and other processes, and what it may do with its descriptors. On
//! FreeBSD, where base hastd does the same; elsewhere nothing is given up.
//!
//! Never opens anything: new connections come from the main process, which also removes the socket that an NBD
//! server leaves behind. Invariant: where root started it on FreeBSD, either all of it is given up or the worker
//! does not serve.

use std::ffi::CString;
use std::os::fd::AsFd;

use hast_ffi::{capsicum, jail};
use log::{debug, info, warn};
use nix::errno::Errno;
use nix::unistd::{User, chdir, chroot, geteuid, gethostname, setgid, setgroups, setuid};

use crate::disk::Component;
use crate::logging;

/// Base's user for this purpose; its home is a directory that is empty and nobody's.
const USER: &str = "hast";

/// Why a worker can not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// There is nobody to be.
    #[error(
        "there is no user '{USER}' to run as; add it to passwd(5) as FreeBSD has it, with an empty home"
    )]
    NoUser,
    /// The system refuses.
    #[error("cannot {action}: {errno}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Why not.
        errno: Errno,
    },
}

/// Confines this process, all of its threads, for good.
pub fn confine() -> Result<(), ConfinementError> {
    if cfg!(not(target_os = "freebsd")) {
        return Ok(());
    }
    if !geteuid().is_root() {
        debug!("not started by root: runs as who it is");
        return Ok(());
    }
    let user = User::from_name(USER)
        .map_err(refused("look up user 'hast'"))?
        .ok_or(ConfinementError::NoUser)?;
    if let Some(relay) = logging::relay() {
        note(capsicum::limit(relay.as_fd(), &capsicum::LOG), "the log");
    }
    let way = leave_file_system(&user)?;
    setgroups(&[user.gid]).map_err(refused("give up root's groups"))?;
    setgid(user.gid).map_err(refused("give up root's group"))?;
    setuid(user.uid).map_err(refused("give up being root"))?;
    match capsicum::enter() {
        Ok(()) => debug!("runs as user {USER}, {way} and in capability mode"),
        Err(Errno::ENOSYS) => {
            info!("runs as user {USER} and {way}; this kernel has no capability mode");
        }
        Err(errno) => return Err(refused("enter capability mode")(errno)),
    }
    Ok(())
}

/// Enters an empty directory, as a jail where that is possible.
fn leave_file_system(user: &User) -> Result<&'static str, ConfinementError> {
    let path = CString::new(user.dir.as_os_str().as_encoded_bytes());
    // The log says which host it is from.
    let host = gethostname()
        .map_err(refused("look up this host's name"))?
        .into_string()
        .unwrap_or_else(|_| "hastd".to_owned());
    let host = CString::new(host);
    let (Ok(path), Ok(host)) = (path, host) else {
        return Err(refused("enter the home of user 'hast'")(Errno::EINVAL));
    };
    let way = match jail::enter(&path, &host) {
        Ok(_) => "jailed",
        Err(errno) => {
            warn!(
                "cannot enter a jail in {}: {errno}; using chroot",
                user.dir.display()
            );
            chroot(&user.dir).map_err(refused(
                "change the root directory to the home of user 'hast'",
            ))?;
            "in an empty root directory"
        }
    };
    chdir("/").map_err(refused("change to the new root directory"))?;
    Ok(way)
}

/// Leaves a connection what a connection needs.
pub fn limit_socket(socket: &impl AsFd) {
    let limited = capsicum::limit(socket.as_fd(), &capsicum::SOCKET)
        .and_then(|()| capsicum::limit_ioctls(socket.as_fd(), &capsicum::SOCKET_REQUESTS));
    note(limited, "a connection");
}

/// Leaves a component what is done with one.
pub fn limit_component(component: &Component) {
    let descriptor = component.as_fd();
    let limited = if component.is_provider() {
        let requests = &hast_ffi::device::freebsd::WORKER_REQUESTS;
        capsicum::limit(descriptor, &capsicum::DISK)
            .and_then(|()| capsicum::limit_ioctls(descriptor, requests))
    } else {
        capsicum::limit(descriptor, &capsicum::FILE)
    };
    note(limited, "the component");
}

/// A descriptor that can do more than it has to is not worth failing for.
fn note(limited: nix::Result<()>, what: &str) {
    match limited {
        Ok(()) | Err(Errno::ENOSYS) => {}
        Err(errno) => warn!("cannot limit what can be done with {what}: {errno}"),
    }
}

fn refused(action: &'static str) -> impl Fn(Errno) -> ConfinementError {
    move |errno| ConfinementError::Refused { action, errno }
}
