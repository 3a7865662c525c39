//! Does what the supervisor tells, one step at a time, and says how it ended. Decides nothing; every step has an
//! end, and knows of itself whether it is done already.

use std::os::unix::fs::FileTypeExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::demotion::Demotion;
use super::hastd::{self, Found, Hastd, RoleError};
use super::lease::Leases;
use super::peer;
use super::waiting::Hurry;
use crate::control::{Guard, Permit, ResourceStatus};
use crate::failover::commands::{Command, Device, Table, Task, Way};
use crate::failover::look::{Look, Seen, Sign};
use crate::failover::runner::{Ran, Run, shown};
use crate::failover::step::{CLAIM, FenceAnswer, Outcome, PeerAnswer, Step};
use crate::moment::Moment;
use crate::peer_query::Question;
use crate::terms::Role;

/// Between two looks of a step that waits.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one question to hastd may take while a step waits.
const LOOK: Duration = Duration::from_secs(5);

/// What steps of a group are done with.
pub struct Steps {
    /// The table of commands.
    pub table: Table,
    /// Runs them.
    pub runner: Arc<dyn Run>,
    /// This node's.
    pub hastd: Hastd,
    /// The witness's, where there is one.
    pub leases: Option<Arc<Leases>>,
    /// The whole machine's.
    pub demotion: Arc<Mutex<Demotion>>,
    /// Ends waiting.
    pub hurry: Hurry,
    /// Until when the peer has promised to stay secondary.
    pub claimed: Option<Moment>,
}

/// What came of a command that has not done what it was to do.
pub fn failure(command: &Command, ran: &Ran) -> Outcome {
    match ran {
        Ran::Ended { code, output } => {
            let how = match code {
                Some(code) => format!("exit code {code}"),
                None => "no exit code".to_owned(),
            };
            let said = shown(output);
            let said = if said.is_empty() {
                "and said nothing".to_owned()
            } else {
                said
            };
            Outcome::Failed(format!("'{command}' ended with {how}: {said}"))
        }
        Ran::Overdue => Outcome::Overdue,
        Ran::Hangs { pid } => {
            log::error!(
                "'{command}' hangs and can not be killed (process {pid}); it is left behind"
            );
            Outcome::Overdue
        }
        Ran::StillHangs { pid } => Outcome::Failed(format!(
            "'{command}' of an earlier try hangs still and can not be killed (process {pid})"
        )),
        Ran::Failed(why) => Outcome::Failed(why.clone()),
    }
}

/// What a step that waits has found.
enum Waited {
    /// It need not wait longer.
    End(Outcome),
    /// Not yet; why.
    NotYet(String),
}

impl Steps {
    /// Does a step.
    pub fn perform(&mut self, step: &Step) -> Outcome {
        let limit = step.limit(self.table.group());
        let deadline = Instant::now() + limit;
        match self.table.way(step) {
            Way::Nothing => Outcome::Done,
            Way::Run(task) => {
                let outcome = self.run_task(&task, deadline);
                if *step == Step::Fence {
                    fenced(outcome)
                } else {
                    outcome.into()
                }
            }
            Way::Look(looks) => self.verify(&looks, deadline),
            Way::Demotion { raise } => {
                let mut demotion = self.demotion.lock().unwrap_or_else(PoisonError::into_inner);
                demotion.set(&self.table.group().name, raise, limit)
            }
            Way::Ask(_) => self.ask(step, deadline),
        }
    }

    fn ask(&mut self, step: &Step, deadline: Instant) -> Outcome {
        match step {
            Step::WaitForHastd => self.wait_for(deadline, |_, _| Waited::End(Outcome::Done)),
            Step::WaitForPeer => self.wait_for(deadline, |_, found| connected(found)),
            Step::WaitForDevices => self.wait_for_devices(deadline),
            Step::WaitForTakeover => self.wait_for_takeover(deadline),
            Step::AskPeer => Outcome::Peer(self.ask_peer(CLAIM, left(deadline))),
            Step::LookAtPeer => Outcome::Peer(self.ask_peer(Duration::ZERO, left(deadline))),
            Step::Invite => self.invite(left(deadline)),
            Step::Promote { force } => self.promote(*force, left(deadline)),
            Step::Demote { force } => self.demote(*force, left(deadline)),
            Step::AcquireLease => self.with_witness(|leases| Outcome::Lease(leases.acquire())),
            Step::ReleaseLease => self.with_witness(|leases| match leases.release() {
                Ok(()) => Outcome::Done,
                Err(why) => Outcome::Failed(why),
            }),
            Step::Hold => match self
                .hastd
                .permit(Permit::lasting(Duration::ZERO), left(deadline))
            {
                Ok(()) => Outcome::Done,
                Err(why) => Outcome::Failed(why),
            },
            other => Outcome::Failed(format!("nobody knows how to {other}")),
        }
    }

    fn with_witness(&self, ask: impl Fn(&Leases) -> Outcome) -> Outcome {
        self.leases
            .as_ref()
            .map_or(Outcome::Done, |leases| ask(leases))
    }

    /// Asks hastd again and again until the answer ends it, or the time is over.
    fn wait_for(&self, deadline: Instant, judge: impl Fn(&Self, &Found) -> Waited) -> Outcome {
        let mut why;
        loop {
            match self.hastd.look(left(deadline).min(LOOK)) {
                Ok(found) => match judge(self, &found) {
                    Waited::End(outcome) => return outcome,
                    Waited::NotYet(reason) => why = reason,
                },
                Err(reason) => why = reason,
            }
            if let Some(outcome) = self.pause(deadline, &why) {
                return outcome;
            }
        }
    }

    /// A pause; what came of the step where it is to end.
    fn pause(&self, deadline: Instant, why: &str) -> Option<Outcome> {
        let now = Instant::now();
        if now >= deadline {
            log::error!("{why}");
            return Some(Outcome::Overdue);
        }
        let unwanted = self.hurry.wait_until(deadline.min(now + PAUSE));
        unwanted.then(|| Outcome::Failed("it is not wanted any more".to_owned()))
    }

    fn wait_for_devices(&self, deadline: Instant) -> Outcome {
        loop {
            let missing = self.table.devices().find(|device| !is_there(device));
            let Some(missing) = missing else {
                return Outcome::Done;
            };
            let why = format!("{} is not there", missing.path().display());
            if let Some(outcome) = self.pause(deadline, &why) {
                return outcome;
            }
        }
    }

    fn ask_peer(&mut self, claim: Duration, limit: Duration) -> PeerAnswer {
        let question = Question {
            claim,
            invite: false,
        };
        let answers = peer::ask_all(&self.hastd.resources, question, limit);
        let (answer, until) = peer::judge(&answers, !claim.is_zero());
        if !claim.is_zero() {
            self.claimed = until;
        }
        answer
    }

    fn invite(&self, limit: Duration) -> Outcome {
        let question = Question {
            claim: Duration::ZERO,
            invite: true,
        };
        let answers = peer::ask_all(&self.hastd.resources, question, limit);
        match answers.into_iter().find_map(Result::err) {
            None => Outcome::Done,
            Some(error) => Outcome::Failed(error.to_string()),
        }
    }

    fn wait_for_takeover(&self, deadline: Instant) -> Outcome {
        loop {
            let answers = peer::ask_all(
                &self.hastd.resources,
                Question::default(),
                left(deadline).min(LOOK),
            );
            let is_primary = |answer: &Result<crate::peer_query::Answer, _>| {
                answer.as_ref().is_ok_and(|it| it.role == Role::Primary)
            };
            if answers.iter().all(is_primary) {
                return Outcome::Done;
            }
            let why = answers.into_iter().find_map(Result::err);
            let why = why.map_or("the peer is not primary".to_owned(), |it| it.to_string());
            if let Some(outcome) = self.pause(deadline, &why) {
                return outcome;
            }
        }
    }

    fn promote(&self, force: bool, limit: Duration) -> Outcome {
        let guard = (!force).then_some(Guard {
            until: self.claimed,
        });
        let before = self.hastd.look(limit.min(LOOK));
        if before
            .as_ref()
            .is_ok_and(|found| found.iter().all(|(_, it)| hastd::is_primary(it)))
        {
            return Outcome::Done;
        }
        match self.hastd.set_role(Role::Primary, force, guard, limit) {
            Ok(()) => Outcome::Done,
            Err(RoleError::Failed(why)) => Outcome::Failed(why),
            Err(RoleError::Claimed) => {
                // Those that were made primary just now are nobody's yet, and in the peer's way.
                let back = self.hastd.set_role(Role::Secondary, false, None, limit);
                if let Err(RoleError::Failed(why)) = back {
                    log::error!("Unable to make resources secondary again: {why}");
                }
                Outcome::Claimed
            }
        }
    }

    fn demote(&mut self, force: bool, limit: Duration) -> Outcome {
        self.claimed = None;
        match self.hastd.set_role(Role::Secondary, force, None, limit) {
            Ok(()) => {}
            Err(RoleError::Claimed) => return Outcome::Claimed,
            Err(RoleError::Failed(why)) => return Outcome::Failed(why),
        }
        if self.leases.is_some()
            && let Err(why) = self.hastd.permit(Permit::Free, limit)
        {
            // Who makes it primary by hand would be held.
            log::warn!("unable to lift the lease from hastd: {why}");
        }
        Outcome::Done
    }

    fn verify(&self, looks: &[Look], deadline: Instant) -> Outcome {
        let found = match self.hastd.look(left(deadline).min(LOOK)) {
            Ok(found) => found,
            Err(why) => return Outcome::Failed(why),
        };
        if let Some((name, _)) = found.iter().find(|(_, it)| !hastd::is_primary(it)) {
            return Outcome::Failed(format!("resource {name} is not primary"));
        }
        if let Some(missing) = self.table.devices().find(|device| !is_there(device)) {
            return Outcome::Failed(format!("{} is not there", missing.path().display()));
        }
        for look in looks {
            match self.look(look, deadline) {
                Ok(Seen::Yes) => {}
                Ok(Seen::No) => {
                    return Outcome::Failed(format!("'{}' does not show it", look.command));
                }
                // A service that can not tell is not taken away from its users for that.
                Ok(Seen::Unknown(why)) if is_service(look) => log::warn!("{why}"),
                Ok(Seen::Unknown(why)) => return Outcome::Failed(why),
                Err(outcome) => return outcome,
            }
        }
        Outcome::Done
    }

    fn look(&self, look: &Look, deadline: Instant) -> Result<Seen, Outcome> {
        match self.runner.run(&look.command, left(deadline)) {
            Ran::Ended { code, output } => Ok(look.judge(code, &output)),
            other => Err(failure(&look.command, &other)),
        }
    }

    /// Looks, and does what is left to be done.
    fn run_task(&self, task: &Task, deadline: Instant) -> TaskEnd {
        if let Some(look) = &task.look {
            match self.look(look, deadline) {
                Ok(Seen::Yes) if task.wanted => return TaskEnd::Done,
                Ok(Seen::No) if !task.wanted => return TaskEnd::Done,
                Ok(Seen::Unknown(why)) if !task.blind => return TaskEnd::Not(Outcome::Failed(why)),
                Ok(_) => {}
                Err(outcome) => return TaskEnd::Not(outcome),
            }
        }
        match self.runner.run(&task.command, left(deadline)) {
            Ran::Ended { code: Some(0), .. } => TaskEnd::Done,
            ran => {
                // What was not there may be what it complains of.
                let gone = !task.wanted
                    && matches!(ran, Ran::Ended { .. })
                    && task
                        .look
                        .as_ref()
                        .is_some_and(|look| self.look(look, deadline) == Ok(Seen::No));
                if gone {
                    return TaskEnd::Done;
                }
                let code = match &ran {
                    Ran::Ended { code, .. } => *code,
                    _ => None,
                };
                match code {
                    Some(code) => TaskEnd::Code(code, failure(&task.command, &ran)),
                    None => TaskEnd::Not(failure(&task.command, &ran)),
                }
            }
        }
    }
}

/// How a task ended.
enum TaskEnd {
    Done,
    /// With another exit code than 0.
    Code(i32, Outcome),
    Not(Outcome),
}

impl From<TaskEnd> for Outcome {
    fn from(end: TaskEnd) -> Self {
        match end {
            TaskEnd::Done => Self::Done,
            TaskEnd::Code(_, outcome) | TaskEnd::Not(outcome) => outcome,
        }
    }
}

/// What a fencing command's end means.
fn fenced(end: TaskEnd) -> Outcome {
    match end {
        TaskEnd::Done => Outcome::Fence(FenceAnswer::Fenced),
        TaskEnd::Code(1, _) => Outcome::Fence(FenceAnswer::NotFenced),
        TaskEnd::Code(_, outcome) => {
            if let Outcome::Failed(why) = outcome {
                log::error!("{why}");
            }
            Outcome::Fence(FenceAnswer::Unknown)
        }
        TaskEnd::Not(outcome) => outcome,
    }
}

fn is_service(look: &Look) -> bool {
    matches!(look.sign, Sign::Runs(_))
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn is_there(device: &Device) -> bool {
    let kind = |path: &std::path::Path| std::fs::metadata(path).map(|it| it.file_type());
    match device {
        Device::Gate(path) => kind(path).is_ok_and(|it| it.is_char_device()),
        Device::Socket(path) => kind(path).is_ok_and(|it| it.is_socket()),
        Device::Tcp(address) => address.resolve().is_ok_and(|addresses| {
            let connects = |it| std::net::TcpStream::connect_timeout(it, LOOK).is_ok();
            addresses.iter().any(connects)
        }),
    }
}

/// Whether every resource has its peer, and nothing of the peer's is missing here.
fn connected(found: &Found) -> Waited {
    let is_split = |(_, status): &&(String, ResourceStatus)| hastd::is_split(status);
    if let Some((name, _)) = found.iter().find(is_split) {
        return Waited::End(Outcome::Failed(format!(
            "split brain of {name}: both nodes were written to apart; decide whose data is to be kept and make the \
             other one anew with 'hastctl create' there, see hastd(8)"
        )));
    }
    for (name, status) in found {
        if !hastd::is_connected(status) || !hastd::is_good(status) {
            let why = hastd::reason(status).unwrap_or("the peer's data is not here yet");
            return Waited::NotYet(format!("{name}: {why}"));
        }
    }
    Waited::End(Outcome::Done)
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
