//! Asks the agent for a change and shows what it does, until it has settled. Who stops looking stops nothing.

use super::{Failure, ask, complain, lost, next, print, sysexits, unexpected};
use crate::failover::agent::protocol::{Answer, Ended, Request};
use crate::failover::group::Settings;
use crate::failover::supervisor::PhaseWord;

/// Asks for every group at once: for switchover for those that are master here. The exit code is that of the first
/// that is not as it was asked for.
pub fn follow_all(settings: &Settings, request: &Request) -> Result<u8, Failure> {
    let mut names: Vec<String> = settings.groups.iter().map(|it| it.name.clone()).collect();
    if matches!(request, Request::Switchover { .. }) {
        names = masters(settings)?;
    }
    let results: Vec<_> = std::thread::scope(|scope| {
        let following: Vec<_> = names
            .iter()
            .map(|name| {
                let request = for_group(request, name);
                scope.spawn(move || follow(settings, &request, Some(name)))
            })
            .collect();
        following
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut code = 0;
    for (name, result) in names.iter().zip(results) {
        let failure = match result {
            Ok(Ok(_)) => continue,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new("internal error", sysexits::EX_SOFTWARE),
        };
        complain(&format!("{name}: {}", failure.message));
        if code == 0 {
            code = failure.code;
        }
    }
    Ok(code)
}

/// The groups that are master here.
fn masters(settings: &Settings) -> Result<Vec<String>, Failure> {
    let mut answers = ask(settings, &Request::Status { group: None })?;
    match next(settings, &mut answers)? {
        Answer::Status { groups } => {
            let is_master = |state: &str| state == PhaseWord::Master.word();
            let masters = groups.into_iter().filter(|it| is_master(&it.state));
            Ok(masters.map(|it| it.group).collect())
        }
        other => Err(unexpected(&other)),
    }
}

/// The same for this group.
fn for_group(request: &Request, name: &str) -> Request {
    let mut request = request.clone();
    match &mut request {
        Request::Master { group, .. }
        | Request::Backup { group }
        | Request::Switchover { group }
        | Request::Clear { group } => name.clone_into(group),
        Request::Event { .. } | Request::Status { .. } => {}
    }
    request
}

/// Asks, and follows; 0 where the group is in the end as it was asked for. One of several stands before each line.
pub fn follow(settings: &Settings, request: &Request, one: Option<&str>) -> Result<u8, Failure> {
    let mut answers = ask(settings, request)?;
    match next(settings, &mut answers)? {
        Answer::Taken => {}
        other => return Err(unexpected(&other)),
    }
    let socket = answers.get_ref();
    socket
        .set_read_timeout(None)
        .map_err(|error| lost(settings, &error))?;
    // Why the group is not as it was asked for.
    let mut last = None;
    loop {
        match (next(settings, &mut answers)?, one) {
            (Answer::Begins { what }, None) => print(&format!("{what} ..."))?,
            (Answer::Begins { .. }, Some(_)) => {}
            (Answer::Ended(ended), None) => print(&format!(" {}\n", came(&ended)))?,
            (Answer::Ended(ended), Some(name)) => {
                print(&format!("{name}: {}: {}\n", ended.what, came(&ended)))?;
            }
            (Answer::Said { level, text }, _) => {
                match one {
                    None => print(&format!("{text}\n"))?,
                    Some(name) => print(&format!("{name}: {text}\n"))?,
                }
                if level == "error" {
                    last = Some(text);
                }
            }
            (Answer::Settled { phase, trouble }, _) => {
                return if is_asked_for(request, &phase) {
                    Ok(0)
                } else {
                    let why = trouble.or(last).unwrap_or_default();
                    let what = format!("this node is {phase}: {why}");
                    Err(Failure::new(what, sysexits::EX_UNAVAILABLE))
                };
            }
            (other, _) => return Err(unexpected(&other)),
        }
    }
}

fn came(ended: &Ended) -> String {
    let seconds = ended.milliseconds as f64 / 1000.0;
    format!("{} ({seconds:.1} s)", ended.outcome)
}

fn is_asked_for(request: &Request, phase: &str) -> bool {
    let wanted = match request {
        Request::Master { .. } => PhaseWord::Master,
        Request::Backup { .. } | Request::Switchover { .. } => PhaseWord::Backup,
        Request::Clear { .. } | Request::Event { .. } | Request::Status { .. } => return true,
    };
    phase == wanted.word()
}
