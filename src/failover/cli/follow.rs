//! Asks the agent for a change and shows what it does, until it has settled. Who stops looking stops nothing.

use super::{Failure, ask, next, print, sysexits, unexpected};
use crate::failover::agent::protocol::{Answer, Request};
use crate::failover::group::Settings;
use crate::failover::supervisor::PhaseWord;

/// Asks, and follows; 0 where the group is in the end as it was asked for.
pub fn follow(settings: &Settings, request: &Request) -> Result<u8, Failure> {
    let mut answers = ask(settings, request)?;
    match next(settings, &mut answers)? {
        Answer::Taken => {}
        other => return Err(unexpected(&other)),
    }
    let socket = answers.get_ref();
    socket
        .set_read_timeout(None)
        .map_err(|error| super::lost(settings, &error))?;
    // Why the group is not as it was asked for.
    let mut last = None;
    loop {
        match next(settings, &mut answers)? {
            Answer::Begins { what } => print(&format!("{what} ..."))?,
            Answer::Ended(ended) => {
                let seconds = ended.milliseconds as f64 / 1000.0;
                print(&format!(" {} ({seconds:.1} s)\n", ended.outcome))?;
            }
            Answer::Said { level, text } => {
                print(&format!("{text}\n"))?;
                if level == "error" {
                    last = Some(text);
                }
            }
            Answer::Settled { phase, trouble } => {
                return if is_asked_for(request, &phase) {
                    Ok(0)
                } else {
                    let why = trouble.or(last).unwrap_or_default();
                    let what = format!("this node is {phase}: {why}");
                    Err(Failure::new(what, sysexits::EX_UNAVAILABLE))
                };
            }
            other => return Err(unexpected(&other)),
        }
    }
}

fn is_asked_for(request: &Request, phase: &str) -> bool {
    let wanted = match request {
        Request::Master { .. } => PhaseWord::Master,
        Request::Backup { .. } | Request::Switchover { .. } => PhaseWord::Backup,
        Request::Clear { .. } | Request::Event { .. } | Request::Status { .. } => return true,
    };
    phase == wanted.word()
}
