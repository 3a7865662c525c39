//! SIGHUP: the configuration is read again and put in force (spec, section 7).
//!
//! Reading, which may look names up, is another thread's work. Whatever is wrong with the new
//! configuration, or keeps a new address from being listened on, leaves the old one in force
//! as a whole.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use super::event_loop::{Daemon, Settings};
use super::lifecycle::Event;
use super::listener::{ListenError, Listener};
use super::managed::Managed;
use super::pidfile::PidFile;
use super::reactor::Source;
use crate::config::{Address, Change, Config, ConfigError, Provider, Resource};
use crate::engine::primary::Promotion;
use crate::terms::Role;
use crate::worker::channel::{DeviceFate, ToWorker};

/// Where an address to listen on leads.
type Found = (Address, io::Result<Vec<SocketAddr>>);

/// A configuration, and where the addresses to listen on lead.
#[derive(Debug)]
pub struct Loaded {
    config: Config,
    listen: Vec<Found>,
}

/// The configurations being read.
#[derive(Debug)]
pub struct Reloads {
    waker: Arc<Waker>,
    sender: Sender<Result<Loaded, ConfigError>>,
    answers: Receiver<Result<Loaded, ConfigError>>,
    under_way: bool,
    /// SIGHUP came while one was being read, which may have been too early.
    again: bool,
}

impl Reloads {
    /// None yet.
    pub fn new(waker: Arc<Waker>) -> Self {
        let (sender, answers) = channel();
        Self {
            waker,
            sender,
            answers,
            under_way: false,
            again: false,
        }
    }

    /// What has been read.
    pub fn take(&mut self) -> Option<Result<Loaded, ConfigError>> {
        let loaded = self.answers.try_recv().ok()?;
        self.under_way = false;
        Some(loaded)
    }
}

/// Reads the configuration and looks up the addresses to listen on. May block.
pub fn load(settings: &Settings) -> Result<Loaded, ConfigError> {
    let config = Config::load(settings.config.as_deref(), settings.node.as_deref())?;
    let resolve = |address: &Address| (address.clone(), address.resolve());
    let listen = config.listen.iter().map(resolve).collect();
    Ok(Loaded { config, listen })
}

impl Loaded {
    /// Where hastctl is to be listened for.
    pub const fn control(&self) -> &Address {
        &self.config.control
    }

    /// The pid file that the configuration names.
    pub fn pidfile(&self) -> &Path {
        &self.config.pidfile
    }

    /// The configuration, and the sockets for peers: those on addresses that `keep` does not name.
    pub fn listen(
        self,
        keep: impl Fn(&Address) -> bool,
    ) -> Result<(Config, Vec<Listener>), ListenError> {
        let lenient = self.config.listen_is_default;
        let mut listeners = Vec::new();
        for (address, found) in self.listen {
            if !keep(&address) {
                listeners.extend(Listener::peers(&address, found, lenient)?);
            }
        }
        Ok((self.config, listeners))
    }
}

impl Daemon {
    /// Has the configuration read.
    pub(super) fn begin_reload(&mut self) {
        if self.reloads.under_way {
            self.reloads.again = true;
            return;
        }
        log::info!("Reloading configuration...");
        let (sender, waker) = (self.reloads.sender.clone(), Arc::clone(&self.reloads.waker));
        let settings = self.settings.clone();
        let thread = std::thread::Builder::new().name("reload".to_owned());
        let spawned = thread.spawn(move || {
            // Both fail only when the event loop is gone.
            let _ = sender.send(load(&settings));
            let _ = waker.wake();
        });
        match spawned {
            Ok(_) => self.reloads.under_way = true,
            Err(error) => not_reloaded(&error),
        }
    }

    /// Puts a configuration that has been read in force.
    pub(super) fn reload(&mut self, loaded: Result<Loaded, ConfigError>) {
        match loaded {
            Ok(loaded) => match self.rebind(loaded) {
                Ok(config) => {
                    self.change_resources(config);
                    log::info!("Configuration reloaded successfully.");
                }
                Err(error) => not_reloaded(&error),
            },
            Err(error) => not_reloaded(&error),
        }
        if std::mem::take(&mut self.reloads.again) {
            self.begin_reload();
        }
    }

    /// Listens on what is new, and only when all of that is done no longer on what is old.
    fn rebind(&mut self, loaded: Loaded) -> Result<Config, ListenError> {
        let current = &self.listeners;
        let has = |address: &Address| current.iter().any(|it| it.address() == address);
        let (config, mut listeners) = loaded.listen(has)?;
        let control = if config.control == self.config.control {
            None
        } else {
            Some(Listener::control(&config.control)?)
        };

        if let Some(mut control) = control {
            log::info!(
                "Control socket changed from {} to {}.",
                self.config.control,
                config.control
            );
            watch(&mut control, self, Source::ControlListener);
            if let Some(old) = self.control_listener.replace(control) {
                old.close(&mut self.reactor);
            }
        }
        for listener in &mut listeners {
            log::info!("Listening on new address {}.", listener.address());
            watch(listener, self, Source::PeerListener);
        }
        let (kept, closed): (Vec<_>, Vec<_>) = self
            .listeners
            .drain(..)
            .partition(|it| config.listen.contains(it.address()));
        for listener in closed {
            log::info!("No longer listening on address {}.", listener.address());
            listener.close(&mut self.reactor);
        }
        self.listeners = kept;
        self.listeners.append(&mut listeners);
        self.move_pidfile(&config);
        Ok(config)
    }

    /// Moves to another pid file; where that fails the old one stays, as in base hastd.
    fn move_pidfile(&mut self, config: &Config) {
        if self.settings.foreground
            || self.settings.own_pidfile
            || config.pidfile == self.config.pidfile
        {
            return;
        }
        match PidFile::open(&config.pidfile) {
            Err(error) => log::warn!("{error}"),
            Ok(mut new) => {
                if let Err(error) = new.write() {
                    log::warn!("Unable to write to {}: {error}", new.path().display());
                }
                if let Some(old) = self.pidfile.replace(new)
                    && let Err(error) = old.remove()
                {
                    log::warn!("Unable to remove the old pidfile: {error}");
                }
            }
        }
    }

    fn change_resources(&mut self, config: Config) {
        let names: Vec<String> = self.resources.keys().cloned().collect();
        for name in names {
            if config.resource(&name).is_none() {
                if let Some(managed) = self.resources.get_mut(&name) {
                    managed.removed = true;
                }
                let (role, force) = (Role::Init, false);
                self.happen(&name, Event::Command { role, force });
            }
        }
        for resource in &config.resources {
            match self.resources.get_mut(&resource.name) {
                None => {
                    let managed = Managed::new(resource.clone());
                    self.resources.insert(resource.name.clone(), managed);
                    log::info!("Resource {} added.", resource.name);
                }
                Some(managed) => {
                    managed.removed = false;
                    self.change_resource(resource);
                }
            }
        }
        self.config = config;
        let remotes = self.config.resources.iter();
        self.resolver
            .refresh(remotes.filter_map(|resource| resource.remote.as_ref()));
    }

    fn change_resource(&mut self, new: &Resource) {
        let Some(managed) = self.resources.get_mut(&new.name) else {
            return;
        };
        let change = managed.resource.change_to(new, managed.lifecycle.role());
        let old = std::mem::replace(&mut managed.resource, new.clone());
        match change {
            Change::Unchanged => {}
            Change::InPlace => {
                log::info!(
                    "Resource {} configuration was modified, reloading it.",
                    new.name
                );
                self.tell(
                    &new.name,
                    &ToWorker::Reload(Box::new(new.clone())),
                    Vec::new(),
                );
            }
            Change::Restart => {
                log::info!(
                    "Resource {} configuration was modified, restarting it.",
                    new.name
                );
                self.meetings.cancel(&mut self.reactor, &new.name);
                // The same component goes on as what it is; another one has yet to show
                // that it may be primary.
                let promotion = if old.local == new.local {
                    Promotion::Resumed
                } else {
                    Promotion::Asked
                };
                // The next worker takes the device over, where it is the same one and the kernel's. An NBD server's
                // clients would lose theirs.
                let same = old.local == new.local
                    && old.provname == new.provname
                    && old.provider == new.provider
                    && new.provider == Provider::Gate;
                let device = if same {
                    DeviceFate::Keep
                } else {
                    DeviceFate::Release
                };
                // Of several reloads the worker knows only what was before the first.
                managed.before.get_or_insert(old);
                self.happen(&new.name, Event::Restart { promotion, device });
            }
        }
    }
}

/// Has a new listener watched; one that can not be is of no use, and said so.
fn watch(listener: &mut Listener, daemon: &mut Daemon, source: Source) {
    if let Err(error) = listener.watch(&mut daemon.reactor, source) {
        log::error!("Unable to watch {}: {error}", listener.address());
    }
}

fn not_reloaded(error: &dyn std::fmt::Display) {
    log::error!("{error}");
    log::warn!("Configuration not reloaded.");
}
