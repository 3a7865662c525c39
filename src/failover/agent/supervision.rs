//! One group's loop: feeds its supervisor with what happens, and has done what that says. The only one to touch the
//! supervisor.
//!
//! Around it a thread each for steps, for looking at hastd, and for the lease: none of them, however long it
//! hangs, keeps the loop from hearing and answering.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::definition::Definition;
use super::demotion::Demotion;
use super::hastd::{self, Found, Hastd};
use super::history::History;
use super::protocol::{Answer, GroupReport, ResourceReport};
use super::state_file::StateFile;
use super::steps::Steps;
use super::threads::{Errand, do_steps, run_errands, spawn, watch};
use super::waiting::{Clock, Hurry};
use crate::failover::carp;
use crate::failover::commands::Table;
use crate::failover::runner::{Ran, Run};
use crate::failover::step::{LeaseAnswer, Outcome, Step};
use crate::failover::supervisor::{self, Action, Carp, Input, Supervisor};
use crate::logging::about;
use crate::moment::Moment;

/// Between two looks at the time.
const TICK: Duration = Duration::from_millis(250);
/// How long the interface may take to be looked at.
const CARP_LIMIT: Duration = Duration::from_secs(10);
/// How long an agent that ends waits for the step that is under way.
const LAST_STEP: Duration = Duration::from_secs(10);
/// An invitation that is so much younger than the last one is another one.
const ANOTHER: Duration = Duration::from_secs(2);

/// What comes to a loop.
pub enum Message {
    /// devd says what has become of the address.
    Carp(Carp),
    /// A person asks. What happens then is told until it has settled.
    Asked(supervisor::Request, Sender<Answer>),
    /// How are you?
    Report(Sender<GroupReport>),
    /// The step of this number has ended.
    Ended(u64, Outcome),
    /// hastd was looked at.
    Seen(Result<Found, String>),
    /// The witness was asked again.
    Renewed {
        /// As it was asked.
        alone: bool,
        /// What it says.
        answer: LeaseAnswer,
    },
    /// Whether a new configuration may take the group's place now; it has ended then.
    Yield(Sender<bool>),
    /// End.
    End,
}

/// What groups of one agent share.
#[derive(Clone)]
pub struct Shared {
    /// Runs programs.
    pub runner: Arc<dyn Run>,
    /// The machine's.
    pub demotion: Arc<Mutex<Demotion>>,
    /// Of the agent.
    pub clock: Clock,
    /// Which boot this is.
    pub boot: String,
}

/// A group that is supervised.
pub struct Supervised {
    /// As it is configured.
    pub definition: Definition,
    /// To its loop.
    pub messages: Sender<Message>,
    thread: JoinHandle<()>,
}

impl Supervised {
    /// Starts supervising a group.
    pub fn start(definition: Definition, shared: &Shared) -> Result<Self, String> {
        let (messages, inbox) = unbounded();
        let supervision = Supervision::new(&definition, shared, messages.clone())?;
        let thread = std::thread::Builder::new()
            .name(definition.group.name.clone())
            .spawn(move || supervision.run(&inbox))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            definition,
            messages,
            thread,
        })
    }

    /// Waits for the end of its loop.
    pub fn join(self) {
        if self.thread.join().is_err() {
            log::error!(
                "[{}] its supervision has failed",
                self.definition.group.name
            );
        }
    }
}

struct Supervision {
    name: String,
    clock: Clock,
    supervisor: Supervisor,
    history: History,
    state: StateFile,
    found: Result<Found, String>,
    /// When the peer has invited us last.
    invited: Option<Instant>,
    /// Number of the step that was told last.
    step: u64,
    to_steps: Sender<(u64, Step)>,
    hurry: Sender<u64>,
    errands: Option<Sender<Errand>>,
    /// Ends the watch.
    _watching: Sender<()>,
    table: Table,
    runner: Arc<dyn Run>,
}

impl Supervision {
    fn new(
        definition: &Definition,
        shared: &Shared,
        messages: Sender<Message>,
    ) -> Result<Self, String> {
        let group = &definition.group;
        let table = Table::new(&definition.programs, group, &definition.resources);
        let hastd = Hastd::new(definition.control.clone(), definition.resources.clone());
        let leases = definition.leases(shared.clock)?.map(Arc::new);
        let (hurry, hurried) = unbounded();
        let (to_steps, steps) = unbounded();
        let doer = Steps {
            table: table.clone(),
            runner: Arc::clone(&shared.runner),
            hastd: hastd.clone(),
            leases: leases.clone(),
            demotion: Arc::clone(&shared.demotion),
            hurry: Hurry::new(hurried),
            claimed: None,
        };
        let name = &group.name;
        let to_loop = messages.clone();
        spawn(name, "steps", move |name| {
            do_steps(doer, name, &steps, &to_loop);
        })?;
        let errands = leases.map(|leases| {
            let (sender, errands) = unbounded();
            let (to_loop, hastd) = (messages.clone(), hastd.clone());
            let work = move |name: &str| run_errands(name, &leases, &hastd, &errands, &to_loop);
            spawn(name, "lease", work).map(|()| sender)
        });
        let errands = errands.transpose()?;
        let (watching, unwatched) = bounded(0);
        spawn(name, "watch", move |_| watch(&hastd, &unwatched, &messages))?;
        let lease = definition.witness.as_ref().map(|witness| witness.lease);
        Ok(Self {
            name: name.clone(),
            clock: shared.clock,
            supervisor: Supervisor::new(group.clone(), lease, fastrand::u64(..)),
            history: History::default(),
            state: StateFile::new(&definition.state, name, &shared.boot),
            found: Err("hastd was not asked yet".to_owned()),
            invited: None,
            step: 0,
            to_steps,
            hurry,
            errands,
            _watching: watching,
            table,
            runner: Arc::clone(&shared.runner),
        })
    }

    fn run(mut self, inbox: &Receiver<Message>) {
        let name = self.name.clone();
        let _about = about(&name, None);
        let (saved, same_boot) = self.state.load();
        let carp = self.look_at_address();
        self.feed(Input::Begin {
            saved,
            same_boot,
            carp,
        });
        loop {
            match inbox.recv_timeout(TICK) {
                Err(_) => self.feed(Input::Tick),
                Ok(Message::End) => return self.end(inbox),
                Ok(Message::Yield(answer)) => {
                    let yields = self.supervisor.is_settled();
                    // Who asked waits for it.
                    let _ = answer.send(yields);
                    if yields {
                        return;
                    }
                }
                Ok(message) => self.hear(message),
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Carp(state) => self.feed(Input::Carp(state)),
            Message::Asked(request, asker) => self.asked(request, &asker),
            Message::Report(answer) => {
                // Who asked may have gone.
                let _ = answer.send(self.report());
            }
            Message::Ended(step, outcome) if step == self.step => {
                self.history.ended(&outcome);
                self.feed(Input::Finished(outcome));
            }
            Message::Seen(found) => self.seen(found),
            Message::Renewed { alone, answer } => self.feed(Input::Renewed { alone, answer }),
            // Of a step that is not the last one there is none: they are told one by one.
            Message::Ended(..) | Message::Yield(_) | Message::End => {}
        }
    }

    /// CARP's word before there is an event.
    fn look_at_address(&self) -> Option<Carp> {
        let command = self.table.interface()?;
        let vhid = self.table.group().carp.as_ref()?.vhid;
        let state = match self.runner.run(&command, CARP_LIMIT) {
            Ran::Ended {
                code: Some(0),
                output,
            } => carp::state(&output, vhid),
            ran => {
                log::error!("unable to look at the address: '{command}': {ran:?}");
                return None;
            }
        };
        if state.is_none() {
            log::error!("'{command}' shows no vhid {vhid}");
        }
        state
    }

    /// Who asked hears first whether it is done, and where it is all that follows.
    fn asked(&mut self, request: supervisor::Request, asker: &Sender<Answer>) {
        let mut actions = self
            .supervisor
            .handle(self.clock.now(), Input::Asked(request));
        for action in actions.extract_if(.., |action| matches!(action, Action::Answer(_))) {
            let Action::Answer(answer) = action else {
                continue;
            };
            let taken = answer.is_ok();
            let answer = match answer {
                Ok(()) => Answer::Taken,
                Err(why) => Answer::Refused { why },
            };
            // Who asked may have gone.
            if asker.try_send(answer).is_ok() && taken {
                self.history.follow(asker.clone());
            }
        }
        self.carry_out(actions);
    }

    fn seen(&mut self, found: Result<Found, String>) {
        let watch = hastd::watch(&found);
        let invited = found.as_ref().ok().and_then(hastd::invited);
        self.found = found;
        self.feed(Input::Watched(watch));
        let Some(at) = invited.and_then(|ago| Instant::now().checked_sub(ago)) else {
            return;
        };
        if self.invited.is_none_or(|last| at > last + ANOTHER) {
            self.invited = Some(at);
            self.feed(Input::Invited);
        }
    }

    fn feed(&mut self, input: Input) {
        let actions = self.supervisor.handle(self.clock.now(), input);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Save(saved) => {
                    if let Err(error) = self.state.save(&saved) {
                        log::error!("unable to keep the state of the group: {error}");
                    }
                }
                Action::Perform(step) => {
                    self.step += 1;
                    self.history.begins(&step);
                    // The thread ends only after this one.
                    let _ = self.to_steps.send((self.step, step));
                }
                Action::Hurry => {
                    let _ = self.hurry.send(self.step);
                }
                // Only to who asks, which is looked at there.
                Action::Answer(_) => {}
                Action::Renew { alone } => self.errand(Errand::Renew { alone }),
                Action::Permit(time) => self.errand(Errand::Permit {
                    until: Moment::now().after(time),
                }),
                Action::Say(level, text) => self.history.say(level, &text),
            }
        }
        if self.supervisor.is_settled() {
            let status = self.supervisor.status();
            self.history
                .settled(status.phase.word(), status.trouble.as_deref());
        }
    }

    fn errand(&self, errand: Errand) {
        if let Some(errands) = &self.errands {
            // The thread ends only after this one.
            let _ = errands.send(errand);
        }
    }

    /// The step that is under way is waited for, for a while, and what comes of it is kept; nothing new is begun.
    fn end(mut self, inbox: &Receiver<Message>) {
        let _ = self.hurry.send(self.step);
        let deadline = Instant::now() + LAST_STEP;
        while self.history.under_way().is_some() {
            match inbox.recv_deadline(deadline) {
                Ok(Message::Ended(_, outcome)) => {
                    self.history.ended(&outcome);
                    let input = Input::Finished(outcome);
                    for action in self.supervisor.handle(self.clock.now(), input) {
                        match action {
                            Action::Save(saved) => {
                                if let Err(error) = self.state.save(&saved) {
                                    log::error!("unable to keep the state of the group: {error}");
                                }
                            }
                            Action::Say(level, text) => self.history.say(level, &text),
                            _ => {}
                        }
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    log::warn!("a step is left behind: it is looked at again by the next agent");
                    return;
                }
            }
        }
    }

    fn report(&self) -> GroupReport {
        let status = self.supervisor.status();
        let whole = |time: Duration| time.as_secs();
        let resources = match &self.found {
            Ok(found) => found.iter().map(resource_report).collect(),
            Err(_) => Vec::new(),
        };
        GroupReport {
            group: self.name.clone(),
            state: status.phase.word().to_owned(),
            step_milliseconds: self.history.under_way().map(|it| it.as_millis() as u64),
            step: status.step,
            trouble: status.trouble,
            carp: status.carp.map(|state| carp::text(state).to_owned()),
            pinned: status.pinned,
            demoted: status.raised,
            lease_seconds: status.lease.map(whole),
            fresh_seconds: status.fresh.map(whole),
            hastd: self.found.as_ref().err().cloned(),
            resources,
            steps: self.history.steps(),
        }
    }
}

fn resource_report((name, status): &(String, crate::control::ResourceStatus)) -> ResourceReport {
    let worker = status.worker.as_ref();
    let details = worker.and_then(|worker| worker.details.as_ref());
    ResourceReport {
        name: name.clone(),
        role: status.role.word().to_owned(),
        status: worker.map(|worker| worker.condition.word().to_owned()),
        connection: details.map(|it| it.connection.word().to_owned()),
        local: details.map(|it| it.local.word().to_owned()),
        peer: details.map(|it| it.peer.word().to_owned()),
        reason: details.and_then(|it| it.reason.clone()),
    }
}
