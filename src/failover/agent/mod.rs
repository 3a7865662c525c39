//! The agent: a daemon on each node that does what the supervisors of its groups tell, and feeds them with what
//! happens. Decides nothing itself.
//!
//! | file | what |
//! | --- | --- |
//! | [`startup`] | from the command line to a running agent, and its end |
//! | [`supervision`], [`threads`] | one group's loop, and the threads around it |
//! | [`definition`] | what they are made from |
//! | [`steps`] | what the supervisor tells is done |
//! | [`hastd`], [`peer`], [`lease`] | who is asked: this node's hastd, the peer's, the witness |
//! | [`demotion`] | the one figure that groups share |
//! | [`state_file`], [`durable`], [`boot`] | what outlives the agent |
//! | [`history`] | what was done lately |
//! | [`protocol`], [`server`] | the agent's socket |
//! | [`waiting`] | time |
//!
//! One thread has each supervisor; steps, looks and renewals have threads of their own, so that nothing that
//! hangs keeps a group from hearing the latest event.

pub mod boot;
pub mod definition;
pub mod demotion;
pub mod durable;
pub mod hastd;
pub mod history;
pub mod lease;
pub mod peer;
pub mod protocol;
pub mod server;
pub mod startup;
pub mod state_file;
pub mod steps;
pub mod supervision;
pub mod threads;
pub mod waiting;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::config::Config;
use crate::failover::carp;
use crate::failover::group::Settings;
use crate::failover::supervisor;
use definition::Definition;
use protocol::{Answer, Request};
use server::{Reply, Serve};
use supervision::{Message, Shared, Supervised};

/// How long a group may take to answer; it never waits for anything.
const ANSWER: Duration = Duration::from_secs(5);

/// The agent, as its threads share it.
pub struct Agent {
    shared: Shared,
    groups: Mutex<Vec<Supervised>>,
}

impl Agent {
    /// Supervises every group of the configuration.
    pub fn start(settings: &Settings, config: &Config, shared: Shared) -> Result<Self, String> {
        let mut groups = Vec::new();
        for group in &settings.groups {
            let definition = Definition::new(group, settings, config);
            groups.push(Supervised::start(definition, &shared)?);
        }
        Ok(Self {
            shared,
            groups: Mutex::new(groups),
        })
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Supervised>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new configuration for the groups that are settled. The others keep theirs, which is said.
    pub fn reload(&self, settings: &Settings, config: &Config) {
        self.shared
            .demotion
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name| settings.group(name).is_some());
        let mut groups = self.groups();
        let mut kept = Vec::new();
        let mut wanted: Vec<Definition> = settings
            .groups
            .iter()
            .map(|group| Definition::new(group, settings, config))
            .collect();
        for supervised in groups.drain(..) {
            let name = supervised.definition.group.name.clone();
            let at = wanted.iter().position(|it| it.group.name == name);
            let new = at.map(|at| wanted.remove(at));
            if new.as_ref() == Some(&supervised.definition) {
                kept.push(supervised);
            } else if yields(&supervised) {
                supervised.join();
                match new {
                    None => log::info!("[{name}] not supervised any more"),
                    Some(new) => self.begin(new, &mut kept),
                }
            } else {
                log::error!(
                    "[{name}] is on its way and keeps its configuration: reload again when it has settled"
                );
                kept.push(supervised);
            }
        }
        for definition in wanted {
            self.begin(definition, &mut kept);
        }
        let order = |name: &str| settings.groups.iter().position(|group| group.name == name);
        kept.sort_by_key(|supervised| order(&supervised.definition.group.name));
        *groups = kept;
    }

    fn begin(&self, definition: Definition, groups: &mut Vec<Supervised>) {
        let name = definition.group.name.clone();
        match Supervised::start(definition, &self.shared) {
            Ok(supervised) => {
                log::info!("[{name}] supervised as it is configured now");
                groups.push(supervised);
            }
            Err(why) => log::error!("[{name}] not supervised: {why}"),
        }
    }

    /// Ends every supervision, each when the step that is under way has ended.
    pub fn end(&self) {
        let groups: Vec<Supervised> = self.groups().drain(..).collect();
        for supervised in &groups {
            // One that has failed has ended.
            let _ = supervised.messages.send(Message::End);
        }
        groups.into_iter().for_each(Supervised::join);
    }

    fn event(&self, subsystem: &str, state: &str) -> Answer {
        let Some(state) = carp::word(state) else {
            let why = format!("found '{state}'; expected MASTER, BACKUP or INIT");
            return Answer::Refused { why };
        };
        let mut found = false;
        for supervised in self.groups().iter() {
            let address = supervised.definition.group.carp.as_ref();
            if address.is_some_and(|address| address.to_string() == subsystem) {
                found = true;
                // One that has failed has said so.
                let _ = supervised.messages.send(Message::Carp(state));
            }
        }
        if found {
            Answer::Taken
        } else {
            let why = format!("no group has the address {subsystem}");
            Answer::Refused { why }
        }
    }

    fn asked(&self, group: &str, request: supervisor::Request) -> Reply {
        let groups = self.groups();
        let found = groups.iter().find(|it| it.definition.group.name == group);
        let Some(supervised) = found else {
            let why = format!("there is no group '{group}'; the agent may need to be reloaded");
            return Reply::One(Answer::Refused { why });
        };
        let (sender, answers) = server::answers();
        let message = Message::Asked(request, sender);
        if supervised.messages.send(message).is_ok() {
            Reply::Many(answers)
        } else {
            let why = format!("the supervision of '{group}' has failed: see the log");
            Reply::One(Answer::Refused { why })
        }
    }

    fn status(&self, only: Option<&str>) -> Answer {
        let senders: Vec<_> = self
            .groups()
            .iter()
            .filter(|it| only.is_none_or(|name| name == it.definition.group.name))
            .map(|it| it.messages.clone())
            .collect();
        if let (Some(name), true) = (only, senders.is_empty()) {
            let why = format!("there is no group '{name}'");
            return Answer::Refused { why };
        }
        let mut groups = Vec::new();
        for messages in senders {
            let (sender, report) = bounded(1);
            // One that has failed answers nothing.
            let _ = messages.send(Message::Report(sender));
            groups.extend(report.recv_timeout(ANSWER).ok());
        }
        Answer::Status { groups }
    }
}

impl Serve for Agent {
    fn answer(&self, request: Request) -> Reply {
        use supervisor::Request as Asked;
        match request {
            Request::Event { subsystem, state } => Reply::One(self.event(&subsystem, &state)),
            Request::Master { group, force } => self.asked(&group, Asked::Master { force }),
            Request::Backup { group } => self.asked(&group, Asked::Backup),
            Request::Switchover { group } => self.asked(&group, Asked::Switchover),
            Request::Clear { group } => self.asked(&group, Asked::Clear),
            Request::Status { group } => Reply::One(self.status(group.as_deref())),
        }
    }
}

/// Whether a supervision has ended for the sake of a new configuration.
fn yields(supervised: &Supervised) -> bool {
    let (sender, answer) = bounded(1);
    let sent = supervised.messages.send(Message::Yield(sender));
    sent.is_err() || answer.recv_timeout(ANSWER) != Ok(false)
}
