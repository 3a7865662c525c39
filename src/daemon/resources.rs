//! The resources and their workers: carries out what [`super::lifecycle`] decides.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use mio::Token;

use super::complaint::Complaint;
use super::event_loop::Daemon;
use super::lifecycle::{Action, Event, Stage};
use super::managed::Managed;
use super::primary_line::PrimaryLine;
use super::reactor::Deadline;
use super::worker_process::{Heard, WorkerError, WorkerProcess, log_end, may_return};
use crate::logging::about;
use crate::terms::Role;
use crate::worker::channel::{Assignment, Begin, DeviceFate, ToWorker};

/// How long a worker may take to end: a primary drains and flushes first.
const STOP_TIME: Duration = Duration::from_secs(15);
/// How often it is looked whether a destroyed device is still open. GEOM does not say when.
const LOOK: Duration = Duration::from_secs(1);
/// After it has been killed, how long until that is tried again.
const KILL_TIME: Duration = Duration::from_secs(5);

impl Daemon {
    /// Tells a resource what happened, and does what follows.
    pub(super) fn happen(&mut self, name: &str, event: Event) {
        let Some(managed) = self.resources.get_mut(name) else {
            return;
        };
        let (role, stage) = (managed.lifecycle.role(), managed.lifecycle.stage());
        let actions = managed.lifecycle.step(event);
        if managed.lifecycle.stage() != stage
            && let Some(timer) = managed.timer.take()
        {
            self.reactor.cancel(timer);
        }
        let new = managed.lifecycle.role();
        if new != role {
            let _about = about(name, Some(role));
            log::info!("Role changed to {new}.");
            if matches!(event, Event::Command { .. } | Event::End(_) | Event::Closed) {
                managed.complaint = Complaint::default();
            }
            if new == Role::Primary {
                managed.claims.promoted();
            }
        }
        if new != Role::Secondary {
            self.meetings.cancel(&mut self.reactor, name);
        }
        let _about = about(name, Some(new));
        for action in actions {
            self.act(name, action);
        }
        self.forget_removed(name);
    }

    fn act(&mut self, name: &str, action: Action) {
        match action {
            Action::SpawnPrimary(promotion) => {
                self.spawn(name, |_| Some((Assignment::Primary(promotion), Vec::new())));
            }
            Action::SpawnSecondary => self.spawn(name, |managed| {
                let arrival = managed.arrival.take()?;
                let line = PrimaryLine::of(&arrival.second);
                managed.primary_line = line
                    .inspect_err(|error| {
                        log::warn!("Unable to watch the primary's connection: {error}");
                    })
                    .ok();
                let assignment = Assignment::Secondary(arrival.introduction);
                Some((assignment, vec![arrival.first, arrival.second]))
            }),
            Action::Stop(device) => {
                self.tell(name, &ToWorker::Stop(device), Vec::new());
                self.set_timer(name, STOP_TIME);
            }
            Action::Kill => {
                if let Some(worker) = self.resources.get(name).and_then(|it| it.worker.as_ref()) {
                    log::error!(
                        "Worker process does not end, killing it (pid={}).",
                        worker.pid()
                    );
                    worker.kill();
                }
                self.set_timer(name, KILL_TIME);
            }
            Action::Wait(time) => {
                log::info!("Restarting worker process in {} s.", time.as_secs());
                self.set_timer(name, time);
            }
            Action::LookWhetherOpen => self.look_whether_open(name),
            Action::Settled => {
                self.answer_roles(name);
                self.answer_parked(name);
            }
            Action::Announce { old, new } => {
                if !self.ending {
                    self.run_hook(name, "role", vec![old.word(), new.word()]);
                }
            }
        }
    }

    fn spawn(
        &mut self,
        name: &str,
        assign: impl FnOnce(&mut Managed) -> Option<(Assignment, Vec<OwnedFd>)>,
    ) {
        let Some(managed) = self.resources.get_mut(name) else {
            return;
        };
        let assigned = assign(managed);
        managed.before = None;
        managed.complaint.worker_begins();
        let Some((assignment, descriptors)) = assigned else {
            return;
        };
        let begin = ToWorker::Begin(Box::new(Begin {
            resource: managed.resource.clone(),
            debug: self.settings.debug,
            foreground: self.settings.foreground,
            assignment,
            permit: managed.permit,
        }));
        let (program, role) = (&self.settings.program, managed.lifecycle.role());
        match WorkerProcess::spawn(&mut self.reactor, program, name, role) {
            Ok(worker) => {
                log::debug!("Worker process started (pid={}).", worker.pid());
                self.workers.insert(worker.token(), name.to_owned());
                managed.worker = Some(worker);
                self.tell(name, &begin, descriptors);
            }
            Err(error) => {
                log::error!("Unable to start a worker process: {error}");
                let complaint = format!("unable to start a worker process: {error}");
                managed.complaint.worker_failed(complaint);
                managed.primary_line = None;
                let (may_return, lived) = (true, Duration::ZERO);
                self.happen(name, Event::Ended { may_return, lived });
            }
        }
    }

    /// Sends a resource's worker a message; one that can not be talked to is ended.
    pub(super) fn tell(&mut self, name: &str, message: &ToWorker, descriptors: Vec<OwnedFd>) {
        let worker = self
            .resources
            .get_mut(name)
            .and_then(|it| it.worker.as_mut());
        if let Some(worker) = worker {
            let sent = worker.send(message, descriptors);
            check(worker, sent);
        }
    }

    /// A worker's channel can be read from or written to, or its log read.
    pub(super) fn worker_ready(&mut self, token: Token) {
        let Some(name) = self.workers.get(&token).cloned() else {
            return;
        };
        if let Some(worker) = self
            .resources
            .get_mut(&name)
            .and_then(|it| it.worker.as_mut())
        {
            let _about = about(&name, Some(worker.role()));
            if let Err(error) = worker.pass_on_log(&self.reactor) {
                log::warn!("Unable to watch the worker process's log: {error}");
            }
            let flushed = worker.flush();
            check(worker, flushed);
        }
        self.hear(&name);
    }

    /// Takes in what a worker has to say.
    fn hear(&mut self, name: &str) {
        loop {
            let Some(managed) = self.resources.get_mut(name) else {
                return;
            };
            let Some(worker) = managed.worker.as_mut() else {
                return;
            };
            let role = worker.role();
            let token = worker.token();
            match worker.hear() {
                Ok(Heard::Message(message)) => self.said(name, role, token, message),
                // Its end is noticed by SIGCHLD.
                Ok(Heard::Nothing | Heard::Closed) => return,
                Err(error) => {
                    let _about = about(name, Some(role));
                    check(worker, Err(error));
                    return;
                }
            }
        }
    }

    /// Looks which workers have ended.
    pub(super) fn reap_workers(&mut self) {
        let names: Vec<String> = self.workers.values().cloned().collect();
        for name in names {
            let worker = self
                .resources
                .get_mut(&name)
                .and_then(|it| it.worker.as_mut());
            let Some(worker) = worker else { continue };
            let role = worker.role();
            match worker.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => self.worker_ended(&name, status),
                Err(error) => {
                    let _about = about(&name, Some(role));
                    log::error!("Unable to wait for the worker process: {error}");
                }
            }
        }
    }

    fn worker_ended(&mut self, name: &str, status: ExitStatus) {
        // Its last words first: a refusal is followed by the end at once.
        if let Some(worker) = self
            .resources
            .get_mut(name)
            .and_then(|it| it.worker.as_mut())
        {
            let _about = about(name, Some(worker.role()));
            worker.pass_on_last_words();
        }
        self.hear(name);
        let Some(managed) = self.resources.get_mut(name) else {
            return;
        };
        let Some(worker) = managed.worker.take() else {
            return;
        };
        let _about = about(name, Some(worker.role()));
        log_end(worker.pid(), status);
        if !status.success() {
            let complaint = format!("the worker process failed ({status}); see the log");
            managed.complaint.worker_failed(complaint);
        }
        worker.forget(&mut self.reactor);
        managed.primary_line = None;
        // No other worker of this resource has been started yet.
        if let Some(socket) = managed.socket.take() {
            socket.remove();
        }
        self.workers.remove(&worker.token());
        self.connector.forget(&mut self.reactor, worker.token());
        let event = Event::Ended {
            may_return: may_return(status),
            lived: worker.started().elapsed(),
        };
        self.no_report_from(name);
        self.happen(name, event);
    }

    /// The present stage of a resource has lasted as long as it may.
    pub(super) fn stage_over(&mut self, name: &str) {
        if let Some(managed) = self.resources.get_mut(name) {
            managed.timer = None;
            self.happen(name, Event::StageOver);
        }
    }

    /// Looks whether a superseded resource's device is open, which was destroyed: here, where its worker had to be
    /// killed before it had done that.
    fn look_whether_open(&mut self, name: &str) {
        let Some(managed) = self.resources.get(name) else {
            return;
        };
        if managed.destroy_device() {
            self.set_timer(name, LOOK);
        } else {
            log::info!("Nobody has the device open any more.");
            self.happen(name, Event::Closed);
        }
    }

    fn set_timer(&mut self, name: &str, time: Duration) {
        if let Some(managed) = self.resources.get_mut(name) {
            let timer = self
                .reactor
                .after(time, Deadline::Resource(name.to_owned()));
            if let Some(before) = managed.timer.replace(timer) {
                self.reactor.cancel(before);
            }
        }
    }

    /// A resource that was removed from the configuration goes when nothing is left of it.
    fn forget_removed(&mut self, name: &str) {
        let gone = |managed: &Managed| {
            managed.removed && managed.worker.is_none() && managed.lifecycle.stage() == Stage::Idle
        };
        if self.resources.get(name).is_some_and(gone) {
            self.resources.remove(name);
            log::info!("Resource {name} removed.");
        }
    }

    /// Ends the workers, then the process; told so again, at once. Devices that are open stay, and with
    /// `DeviceFate::Keep` all do.
    pub(super) fn end(&mut self, device: DeviceFate) {
        let again = std::mem::replace(&mut self.ending, true);
        if again {
            log::info!("Termination signal received again, killing workers.");
            for managed in self.resources.values() {
                managed.worker.iter().for_each(WorkerProcess::kill);
            }
            return;
        }
        match device {
            DeviceFate::Keep => {
                log::info!("Handing over: exiting, devices stay for the next hastd.");
            }
            _ => log::info!("Termination signal received, exiting."),
        }
        self.close_listeners();
        let names: Vec<String> = self.resources.keys().cloned().collect();
        for name in names {
            self.happen(&name, Event::End(device));
        }
    }

    pub(super) fn has_no_workers(&self) -> bool {
        self.resources
            .values()
            .all(|managed| managed.worker.is_none())
    }
}

/// A worker that can not be talked to is of no use: it is ended, and its end handled as any.
fn check(worker: &WorkerProcess, result: Result<(), WorkerError>) {
    match result {
        Ok(()) => {}
        // It is ending already.
        Err(WorkerError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            let pid = worker.pid();
            log::error!("Unable to talk to the worker process, killing it (pid={pid}): {error}");
            worker.kill();
        }
    }
}
