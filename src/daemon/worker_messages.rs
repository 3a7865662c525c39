//! What workers say, and what is done about it.

use mio::Token;

use super::complaint::Complaint;
use super::event_loop::Daemon;
use super::hooks::Hook;
use super::lifecycle::Event;
use super::managed::Managed;
use crate::config::Provider;
use crate::logging::about;
use crate::provider::gate;
use crate::terms::Role;
use crate::worker::channel::{DeviceFate, FromWorker, HookEvent, ToWorker};

impl Daemon {
    /// Takes in one message.
    pub(super) fn said(&mut self, name: &str, role: Role, token: Token, message: FromWorker) {
        let _about = about(name, Some(role));
        match message {
            FromWorker::Started => {
                if let Some(managed) = self.resources.get_mut(name) {
                    managed.complaint = Complaint::default();
                    managed.note_socket(role);
                }
                self.happen(name, Event::Started);
            }
            FromWorker::Refused { exit, message } => {
                log::debug!("Worker process gives up (exitcode={exit}).");
                if let Some(managed) = self.resources.get_mut(name)
                    && managed.complaint.worker_says(message.clone())
                {
                    log::error!("{message}");
                }
                self.happen(name, Event::Refused);
            }
            FromWorker::Busy { message } => self.stays(name, message),
            FromWorker::Superseded { message } => {
                log::error!("{message}");
                if let Some(managed) = self.resources.get_mut(name) {
                    managed.complaint.worker_says(message);
                }
                self.happen(name, Event::Superseded);
            }
            FromWorker::AskOpen { number } => {
                let open = self.resources.get(name).is_none_or(Managed::device_is_open);
                self.tell(name, &ToWorker::Open { number, open }, Vec::new());
            }
            FromWorker::Connect { number } => {
                if let Some(managed) = self.resources.get(name) {
                    self.connector.connect(
                        &mut self.reactor,
                        &mut self.resolver,
                        &managed.resource,
                        token,
                        number,
                    );
                }
            }
            FromWorker::Report { number, status } => self.reported(name, number, &status),
            FromWorker::Hook(event) => {
                if self.is_news(name, event) {
                    self.run_hook(name, event.word(), Vec::new());
                }
            }
        }
    }

    /// A primary was told to stop, and does not: whoever waits for that is told why.
    fn stays(&mut self, name: &str, message: String) {
        let Some(managed) = self.resources.get_mut(name) else {
            return;
        };
        let its = managed.before.as_ref().unwrap_or(&managed.resource);
        // The worker, confined, may not see by whom.
        let message = match gate::of_this_system() {
            Some(kernel) if its.provider == Provider::Gate => {
                let device = format!("{}{}", gate::FOLDER, its.provname);
                gate::Busy::of(&*kernel, device).to_string()
            }
            _ => message,
        };
        log::error!("{message}");
        if std::mem::take(&mut managed.removed) {
            log::error!(
                "The resource is no longer configured, and is served on until a reload finds its device closed, \
                 or 'hastctl role init --force {name}'."
            );
        }
        if let Some(before) = managed.before.take() {
            log::error!("Its new configuration is not in force.");
            managed.resource = before;
        }
        managed.complaint.worker_says(message);
        self.happen(name, Event::Busy);
        if let Some(managed) = self.resources.get_mut(name) {
            managed.complaint = Complaint::default();
        }
        if self.ending {
            // Told to release the device just before: now it may stay behind.
            self.happen(name, Event::End(DeviceFate::Vacate));
        }
    }

    /// A secondary has a worker for each attempt of the primary, and each finds the same split brain.
    fn is_news(&mut self, name: &str, event: HookEvent) -> bool {
        match (event, self.resources.get_mut(name)) {
            (HookEvent::SplitBrain, Some(managed))
                if managed.lifecycle.role() == Role::Secondary =>
            {
                managed.complaint.found_split_brain()
            }
            _ => true,
        }
    }

    /// Runs the resource's `exec` program, where it has one.
    pub(super) fn run_hook(&mut self, name: &str, event: &'static str, more: Vec<&'static str>) {
        let exec = self
            .resources
            .get(name)
            .and_then(|it| it.resource.exec.clone());
        if let Some(path) = exec {
            let hook = Hook {
                path,
                event,
                resource: name.to_owned(),
                more,
            };
            self.hooks.run(&mut self.reactor, hook);
        }
    }

    /// Gives workers the connections that they asked for.
    pub(super) fn hand_over_connections(&mut self) {
        for outcome in self.connector.take() {
            let Some(name) = self.workers.get(&outcome.worker).cloned() else {
                continue;
            };
            let number = outcome.number;
            let (message, descriptors) = match outcome.result {
                Ok(connection) => (ToWorker::Connection { number }, vec![connection]),
                Err(reason) => (ToWorker::ConnectionFailed { number, reason }, Vec::new()),
            };
            self.tell(&name, &message, descriptors);
        }
    }
}
