//! Decides for one group: events come in, steps go out, one at a time. No I/O, no clock, no threads: the agent
//! and the model in the tests run the same code.
//!
//! ```text
//!             MASTER event, by hand, invited                  all steps done
//!   Backup ------------------------------------> Up --------------------------> Master
//!     ^                                           |                               |
//!     |  all steps done                           | a step fails,                 | BACKUP or INIT event,
//!     |                                           | BACKUP event                  | by hand, switchover
//!     +--------------------- Down <---------------+-------------------------------+
//! ```
//!
//! Invariants: a step is told only when the last one has ended; nothing of the way up is told before the peer
//! was asked, and nothing behind the asking without an [`Authority`]; the way down is the whole way down, so
//! that what a failed, forgotten or crashed way up has left is undone by it; what is to survive is saved
//! before the step it speaks of is told; an event is never lost, and of several the latest counts.

mod down;
mod lease;
mod status;
mod up;
mod wishes;

use std::time::Duration;

use super::group::{FailBack, Group, OnLeaseLoss};
use super::plan::{self, Authority};
use super::step::{LeaseAnswer, Outcome, PeerAnswer, Step};
use down::{Cause, Down};
use lease::Lease;
pub use status::{PhaseWord, Status};
use up::Up;

/// The first pause after a failed way up, before CARP's wish is followed again; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// The longest.
const RETRY_LONGEST: Duration = Duration::from_mins(5);
/// Between two tries to give a backup's resources their role.
const REMIND: Duration = Duration::from_secs(10);
/// A copy has been good for so long before the group may come back to it.
const STEADY: Duration = Duration::from_secs(10);

/// What CARP says of an address on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carp {
    /// The address is here.
    Master,
    /// It is elsewhere.
    Backup,
    /// The interface is down.
    Init,
}

/// What is known of the resources, all of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// hastd answered.
    pub answered: bool,
    /// All are primary.
    pub primary: bool,
    /// All are connected to the peer.
    pub connected: bool,
    /// All are primary, connected, and both copies are equal.
    pub complete: bool,
    /// All are secondary, connected, and this copy is up to date.
    pub fresh: bool,
    /// One at least is in no role.
    pub init: bool,
    /// One at least has been written to on both sides apart.
    pub split_brain: bool,
    /// The peer went on as primary of one at least, which serves nothing here any more.
    pub superseded: bool,
}

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Become master; forced, the person vouches that the peer is down.
    Master {
        /// Without the peer's word.
        force: bool,
    },
    /// Become backup, and stay so.
    Backup,
    /// Both nodes change places.
    Switchover,
    /// Follow CARP again, and take the demotion back.
    Clear,
}

/// What is worth keeping when the agent ends, however it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The group was master, with every step done.
    pub master: bool,
    /// It was on its way up or down.
    pub moving: bool,
    /// A person has said where the group is to be: events are noted, not followed.
    pub pinned: bool,
    /// Why the last way up failed.
    pub trouble: Option<String>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The first one.
    Begin {
        /// What was kept.
        saved: Option<Saved>,
        /// The machine was not restarted since.
        same_boot: bool,
        /// As it is now.
        carp: Option<Carp>,
    },
    /// devd says so.
    Carp(Carp),
    /// A person asks.
    Asked(Request),
    /// The peer has given the group up for this node.
    Invited,
    /// The step that was told has ended.
    Finished(Outcome),
    /// Looked at again, about once a second.
    Watched(Watch),
    /// An [`Action::Renew`] was answered; granted or not.
    Renewed {
        /// As asked for.
        alone: bool,
        /// What the witness says.
        answer: LeaseAnswer,
    },
    /// Time has passed.
    Tick,
}

/// How loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As planned.
    Info,
    /// Somebody should look when there is time.
    Warning,
    /// Somebody should look now.
    Error,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Keep this, durably, before anything that follows.
    Save(Saved),
    /// Do it, and say how it ended.
    Perform(Step),
    /// What is being done is not wanted any more: if it only waits, end it.
    Hurry,
    /// The answer to a [`Request`]: taken, or why not.
    Answer(Result<(), String>),
    /// Ask the witness again, beside any step; alone: with writes that the peer does not get.
    Renew {
        /// This node is then the only current one until it says otherwise.
        alone: bool,
    },
    /// hastd may acknowledge for so long what the peer does not have.
    Permit(Duration),
    /// For the log.
    Say(Level, String),
}

/// Where a wish comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Carp,
    Hand {
        force: bool,
    },
    Invitation,
    /// A switchover that came to nothing.
    Rollback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    master: bool,
    origin: Origin,
    /// Not before.
    due: Duration,
}

#[derive(Debug)]
enum Phase {
    /// Not begun, or verifying a master that was found.
    Starting,
    Backup,
    Master,
    Up(Up),
    Down(Down),
}

#[derive(Debug)]
struct Trouble {
    why: String,
    retry: Duration,
    pause: Duration,
}

/// The supervisor of a group.
#[derive(Debug)]
pub struct Supervisor {
    group: Group,
    witness: bool,
    rng: fastrand::Rng,
    /// Of the last input.
    now: Duration,
    phase: Phase,
    performing: Option<Step>,
    hurried: bool,
    pending: Option<Wish>,
    carp: Option<Carp>,
    pinned: bool,
    raised: bool,
    /// A person wants the demotion lowered.
    lowering: bool,
    trouble: Option<Trouble>,
    watch: Watch,
    fresh_at: Option<Duration>,
    fresh_since: Option<Duration>,
    remind: Duration,
    lease: Lease,
    saved: Option<Saved>,
    actions: Vec<Action>,
}

impl Supervisor {
    /// For a group; `lease` is the length of a witness's leases, where there is a witness. The seed is
    /// for pauses that are to differ between nodes.
    pub fn new(group: Group, lease: Option<Duration>, seed: u64) -> Self {
        Self {
            lease: Lease::new(lease.unwrap_or_default(), group.on_lease_loss),
            witness: lease.is_some(),
            group,
            rng: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            phase: Phase::Starting,
            performing: None,
            hurried: false,
            pending: None,
            carp: None,
            pinned: false,
            raised: false,
            lowering: false,
            trouble: None,
            watch: Watch::default(),
            fresh_at: None,
            fresh_since: None,
            remind: Duration::ZERO,
            saved: None,
            actions: Vec::new(),
        }
    }

    /// Takes in what has happened at `now`, which never goes back, and says what is to be done.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Action> {
        self.now = now;
        match input {
            Input::Begin {
                saved,
                same_boot,
                carp,
            } => self.begin(saved, same_boot, carp),
            Input::Carp(state) => self.carp_says(state),
            Input::Asked(request) => {
                let answer = self.asked(request);
                self.actions.push(Action::Answer(answer));
            }
            Input::Invited => {
                self.pinned = false;
                self.wish(true, Origin::Invitation);
            }
            Input::Finished(outcome) => self.finished(outcome),
            Input::Watched(watch) => self.watched(watch),
            Input::Renewed { alone, answer } => {
                self.lease.renewed(now, alone, &answer, &mut self.actions);
            }
            Input::Tick => {}
        }
        self.advance();
        self.keep();
        std::mem::take(&mut self.actions)
    }

    fn begin(&mut self, saved: Option<Saved>, same_boot: bool, carp: Option<Carp>) {
        self.carp = carp;
        let was = saved.filter(|_| same_boot);
        if let Some(was) = &was {
            self.pinned = was.pinned;
            if let Some(why) = &was.trouble {
                self.in_trouble(why.clone());
            }
        }
        match was {
            Some(was) if was.master && !was.moving => self.perform(Step::Verify),
            was => {
                let cause = match was {
                    Some(was) if was.moving => Cause::Restart,
                    Some(_) => Cause::Resume,
                    None => Cause::Boot,
                };
                self.go_down(cause, true);
            }
        }
        if carp == Some(Carp::Master) && !self.pinned && !matches!(self.phase, Phase::Starting) {
            self.wish(true, Origin::Carp);
        }
    }

    fn watched(&mut self, watch: Watch) {
        if watch.split_brain && !self.watch.split_brain {
            self.say(
                Level::Error,
                "split brain: both nodes were written to apart; see hastd(8)".to_owned(),
            );
        }
        if watch.superseded && matches!(self.phase, Phase::Master) && self.performing.is_none() {
            // Whatever waits for its device has failed, so that the way down does not hang on it.
            self.go_down(Cause::Superseded, true);
        }
        self.find_primary(watch);
        self.watch = watch;
        if watch.fresh {
            self.fresh_at = Some(self.now);
            self.fresh_since.get_or_insert(self.now);
        } else {
            self.fresh_since = None;
        }
    }

    /// A master whose hastd was restarted takes its roles again: what is on the devices waits for them.
    fn find_primary(&mut self, watch: Watch) {
        let gone = watch.answered && !watch.primary;
        if gone && matches!(self.phase, Phase::Master) && self.performing.is_none() {
            self.say(
                Level::Error,
                "resources of this master are not primary any more: making them so again"
                    .to_owned(),
            );
            self.go_up(Origin::Carp);
        }
    }

    /// Whether this copy may be promoted without the peer.
    fn is_fresh(&self) -> bool {
        self.fresh_at
            .is_some_and(|at| self.now.saturating_sub(at) <= self.group.freshness)
    }

    fn finished(&mut self, outcome: Outcome) {
        let Some(step) = self.performing.take() else {
            return;
        };
        let hurried = std::mem::take(&mut self.hurried);
        match step {
            Step::RaiseDemotion if outcome == Outcome::Done => self.raised = true,
            Step::LowerDemotion if outcome == Outcome::Done => self.raised = false,
            _ => {}
        }
        match std::mem::replace(&mut self.phase, Phase::Backup) {
            // That it has not come is no failure: it was not wanted any more.
            Phase::Up(up) if hurried && step.only_waits() && outcome != Outcome::Done => {
                self.phase = Phase::Up(up);
                if let Some(wish) = &mut self.pending {
                    wish.due = self.now;
                }
            }
            Phase::Up(up) => self.finished_up(up, &step, outcome),
            Phase::Down(down) => self.finished_down(down, &step, &outcome),
            Phase::Master => self.finished_as_master(&step, &outcome),
            Phase::Starting => self.verified(&outcome),
            // The demotion, or the secondary role.
            Phase::Backup if outcome != Outcome::Done => {
                self.say(Level::Error, down::told(&step, &outcome));
                self.fresh_since = None;
            }
            Phase::Backup => {}
        }
    }

    fn verified(&mut self, outcome: &Outcome) {
        if *outcome == Outcome::Done {
            self.phase = Phase::Master;
            if self.witness && self.group.on_lease_loss == OnLeaseLoss::Stop {
                // The witness may be new to the configuration.
                self.actions.push(Action::Permit(Duration::ZERO));
            }
            self.say(
                Level::Info,
                "found as master, with everything in place".to_owned(),
            );
            match self.carp {
                Some(Carp::Master) | None => {}
                Some(_) if self.pinned => {}
                Some(_) => self.wish(false, Origin::Carp),
            }
        } else {
            self.say(
                Level::Error,
                format!(
                    "found as master, but {}",
                    down::told(&Step::Verify, outcome)
                ),
            );
            self.go_down(Cause::Restart, true);
            if self.carp == Some(Carp::Master) && !self.pinned {
                self.wish(true, Origin::Carp);
            }
        }
    }

    fn finished_as_master(&mut self, step: &Step, outcome: &Outcome) {
        self.phase = Phase::Master;
        match (step, outcome) {
            (Step::LookAtPeer, Outcome::Peer(PeerAnswer::Primary)) => {
                self.go_down(Cause::TakenOver, true);
            }
            (Step::LowerDemotion, Outcome::Failed(_) | Outcome::Overdue) => {
                self.say(Level::Error, down::told(step, outcome));
            }
            _ => {}
        }
    }

    /// Goes on with what is next, where nothing is being done.
    fn advance(&mut self) {
        if self.performing.is_none() {
            self.follow_wish();
        }
        if self.performing.is_none() {
            match std::mem::replace(&mut self.phase, Phase::Backup) {
                Phase::Up(up) => self.go_on_up(up),
                Phase::Down(down) => self.go_on_down(down),
                Phase::Master => {
                    self.phase = Phase::Master;
                    if !self.lower_if_asked() {
                        self.mind_the_lease();
                    }
                }
                Phase::Backup => self.be_backup(),
                Phase::Starting => self.phase = Phase::Starting,
            }
        }
        // Beside the steps. The way down has to write, too.
        self.renew_lease();
    }

    fn be_backup(&mut self) {
        self.phase = Phase::Backup;
        let retry = self
            .trouble
            .as_ref()
            .is_none_or(|trouble| self.now >= trouble.retry);
        if retry && self.carp == Some(Carp::Master) && !self.pinned && self.pending.is_none() {
            self.wish(true, Origin::Carp);
        }
        if self.lower_if_asked() {
            return;
        }
        // hastd was restarted.
        if self.watch.init && self.now >= self.remind {
            self.remind = self.now + REMIND;
            self.perform(Step::Demote { force: false });
            return;
        }
        let steady = self
            .fresh_since
            .is_some_and(|since| self.now.saturating_sub(since) >= STEADY);
        if self.raised && !self.pinned && steady && self.group.fail_back == FailBack::Synchronised {
            self.say(
                Level::Info,
                "this copy is up to date again: the group may come back here".to_owned(),
            );
            self.trouble = None;
            self.perform(Step::LowerDemotion);
        }
    }

    /// A person has asked for it; whether it is being done.
    fn lower_if_asked(&mut self) -> bool {
        let lowers = std::mem::take(&mut self.lowering) && self.group.carp.is_some();
        if lowers {
            self.perform(Step::LowerDemotion);
        }
        lowers
    }

    fn go_up(&mut self, origin: Origin) {
        let clean = matches!(self.phase, Phase::Backup) && origin != Origin::Rollback;
        let up = Up::new(origin, self.now, clean);
        self.say(Level::Info, "becoming master".to_owned());
        self.go_on_up(up);
    }

    /// The whole way down, or where this node has done nothing yet only what comes with the cause.
    fn go_down(&mut self, cause: Cause, whole: bool) {
        let down = Down::new(cause, whole, &self.group, self.witness);
        match &down.cause {
            Cause::Failed(why) => self.say(Level::Error, format!("giving up: {why}")),
            Cause::TakenOver => {
                self.say(Level::Error, format!("giving up: {}", down::TAKEN_OVER));
            }
            Cause::Superseded => {
                self.say(Level::Error, format!("giving up: {}", down::SUPERSEDED));
            }
            _ => self.say(Level::Info, "becoming backup".to_owned()),
        }
        self.phase = Phase::Down(down);
    }

    fn became_master(&mut self) {
        self.phase = Phase::Master;
        self.trouble = None;
        self.say(Level::Info, "is master".to_owned());
    }

    fn in_trouble(&mut self, why: String) {
        let pause = match &self.trouble {
            Some(earlier) => (earlier.pause * 2).min(RETRY_LONGEST),
            None => RETRY_FIRST,
        };
        self.trouble = Some(Trouble {
            why,
            retry: self.now + pause,
            pause,
        });
    }

    fn perform(&mut self, step: Step) {
        debug_assert!(self.performing.is_none(), "one at a time");
        self.performing = Some(step.clone());
        self.actions.push(Action::Perform(step));
    }

    fn say(&mut self, level: Level, what: String) {
        self.actions.push(Action::Say(level, what));
    }

    /// Saves what has changed before what is told now is done.
    fn keep(&mut self) {
        let saved = Saved {
            master: matches!(self.phase, Phase::Master)
                || matches!(self.phase, Phase::Starting) && self.performing.is_some(),
            moving: matches!(self.phase, Phase::Up(_) | Phase::Down(_)),
            pinned: self.pinned,
            trouble: self.trouble.as_ref().map(|trouble| trouble.why.clone()),
        };
        let unbegun = matches!(self.phase, Phase::Starting) && self.performing.is_none();
        if !unbegun && self.saved.as_ref() != Some(&saved) {
            self.saved = Some(saved.clone());
            self.actions.insert(0, Action::Save(saved));
        }
    }

    /// Steps of the way up from the right to be primary on.
    fn climb(&self, authority: Authority, origin: Origin) -> Vec<Step> {
        plan::up(
            &self.group,
            plan::Ascent {
                authority,
                witness: self.witness,
                take_address: origin != Origin::Carp,
            },
        )
    }
}
