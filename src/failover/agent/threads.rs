//! The threads around a group's loop: each may hang, the loop does not. They end when the loop has.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::hastd::Hastd;
use super::lease::Leases;
use super::steps::Steps;
use super::supervision::Message;
use crate::control::Permit;
use crate::failover::step::{LeaseAnswer, Step};
use crate::logging::about;
use crate::moment::Moment;

/// Between two looks at hastd.
const WATCH: Duration = Duration::from_secs(1);
/// How long one of them may take.
const WATCH_LIMIT: Duration = Duration::from_secs(5);
/// What the thread of the lease is told.
pub enum Errand {
    /// Ask the witness again.
    Renew {
        /// Only this node has what is written.
        alone: bool,
    },
    /// Pass it on to hastd.
    Permit {
        /// Until when.
        until: Moment,
    },
}

/// Starts a thread of a group.
pub fn spawn(
    group: &str,
    what: &str,
    work: impl FnOnce(&str) + Send + 'static,
) -> Result<(), String> {
    let name = group.to_owned();
    std::thread::Builder::new()
        .name(format!("{group} {what}"))
        .spawn(move || work(&name))
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// The thread that does the steps.
pub fn do_steps(
    mut doer: Steps,
    name: &str,
    steps: &Receiver<(u64, Step)>,
    messages: &Sender<Message>,
) {
    let _about = about(name, None);
    for (number, step) in steps {
        doer.hurry.of_step(number);
        let outcome = doer.perform(&step);
        if messages.send(Message::Ended(number, outcome)).is_err() {
            return;
        }
    }
}

/// The thread that looks at hastd.
pub fn watch(hastd: &Hastd, unwatched: &Receiver<()>, messages: &Sender<Message>) {
    loop {
        let found = hastd.look(WATCH_LIMIT);
        let gone = messages.send(Message::Seen(found)).is_err();
        let over = unwatched.recv_timeout(WATCH);
        if gone || over != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// The thread of the lease: one thing after the other. A witness is not told that the peer has everything before
/// hastd has taken the permit back.
pub fn run_errands(
    name: &str,
    leases: &Leases,
    hastd: &Hastd,
    errands: &Receiver<Errand>,
    messages: &Sender<Message>,
) {
    let _about = about(name, None);
    let mut doubt = None;
    for errand in errands {
        match errand {
            Errand::Permit { until } => {
                doubt = hastd.permit(Permit::Until(until), WATCH_LIMIT).err();
                if let Some(why) = &doubt {
                    log::error!("unable to tell hastd how long the lease is: {why}");
                }
            }
            Errand::Renew { alone } => {
                let answer = match &doubt {
                    Some(why) if !alone => LeaseAnswer::Unreachable(why.clone()),
                    _ => leases.renew(alone),
                };
                if messages.send(Message::Renewed { alone, answer }).is_err() {
                    return;
                }
            }
        }
    }
}
