//! What the agent asks of this node's hastd, over its control socket. Every question has an end.

use std::time::Duration;

use crate::config::{Address, Resource};
use crate::control::client::{self, ClientError};
use crate::control::{
    Condition, Connection, ErrorCode, Failure, Guard, LocalState, PeerState, Permit, Request,
    ResourceStatus, RoleReply, Selection, StatusReply,
};
use crate::failover::supervisor::Watch;
use crate::terms::Role;

/// hastd, for the resources of a group.
#[derive(Debug, Clone)]
pub struct Hastd {
    control: Address,
    /// As the configuration has them.
    pub resources: Vec<Resource>,
}

/// Each resource, in the order of the group.
pub type Found = Vec<(String, ResourceStatus)>;

/// Why resources are not in the role they were to have.
#[derive(Debug, PartialEq, Eq)]
pub enum RoleError {
    /// The peer has claimed one of them, or may have.
    Claimed,
    /// Why, as a sentence.
    Failed(String),
}

impl Hastd {
    /// At its control address, for resources that it has.
    pub const fn new(control: Address, resources: Vec<Resource>) -> Self {
        Self { control, resources }
    }

    fn selection(&self) -> Selection {
        let names = self.resources.iter().map(|resource| resource.name.clone());
        Selection::Named(names.collect())
    }

    /// How the resources are, asked for at most about `limit`.
    pub fn look(&self, limit: Duration) -> Result<Found, String> {
        let request = Request::Status {
            resources: self.selection(),
        };
        let nv = client::exchange(&self.control, &request, limit).map_err(|it| it.to_string())?;
        let reply = StatusReply::from_nv(&nv).map_err(|error| error.to_string())?;
        let all = reply.resources.into_iter().map(|(name, result)| {
            let status = result.map_err(|failure| format!("{name}: {failure}"))?;
            Ok((name, status))
        });
        all.collect()
    }

    /// Says for how long it may acknowledge what the peer does not have.
    pub fn permit(&self, permit: Permit, limit: Duration) -> Result<(), String> {
        let request = Request::Permit {
            resources: self.selection(),
            permit,
        };
        let nv = client::exchange(&self.control, &request, limit).map_err(|it| it.to_string())?;
        let reply = StatusReply::from_nv(&nv).map_err(|error| error.to_string())?;
        let failed = |(name, result): (String, Result<ResourceStatus, Failure>)| match result {
            Err(failure) => Some(format!("{name}: {failure}")),
            // It may not have heard of it yet.
            Ok(status) if permit != Permit::Free && is_primary(&status) && !is_bound(&status) => {
                Some(format!("{name}: its worker does not answer"))
            }
            Ok(_) => None,
        };
        let why = reply.resources.into_iter().find_map(failed);
        why.map_or(Ok(()), Err)
    }

    /// Puts all of them into a role.
    pub fn set_role(
        &self,
        role: Role,
        force: bool,
        guard: Option<Guard>,
        limit: Duration,
    ) -> Result<(), RoleError> {
        let request = Request::SetRole {
            role,
            resources: self.selection(),
            force,
            guard,
        };
        let failed = |error: &dyn std::error::Error| RoleError::Failed(error.to_string());
        let reply = client::exchange(&self.control, &request, limit)
            .map_err(|error: ClientError| failed(&error))
            .and_then(|nv| RoleReply::from_nv(&nv).map_err(|error| failed(&error)))?;
        let mut claimed = false;
        let mut why = Vec::new();
        for (name, result) in &reply.resources {
            match result {
                Ok(_) => {}
                Err(failure) if failure.code == ErrorCode::CLAIMED => {
                    log::info!("{name}: {failure}");
                    claimed = true;
                }
                Err(failure) => why.push(format!("{name}: {failure}")),
            }
        }
        match (why.is_empty(), claimed) {
            (true, false) => Ok(()),
            (true, true) => Err(RoleError::Claimed),
            (false, _) => Err(RoleError::Failed(why.join("; "))),
        }
    }
}

/// What the supervisor is to know of what was found.
pub fn watch(found: &Result<Found, String>) -> Watch {
    let Ok(found) = found else {
        return Watch::default();
    };
    let all = |is_so: fn(&ResourceStatus) -> bool| found.iter().all(|(_, status)| is_so(status));
    let any = |is_so: fn(&ResourceStatus) -> bool| found.iter().any(|(_, status)| is_so(status));
    Watch {
        answered: true,
        primary: all(is_primary),
        connected: all(is_connected),
        complete: all(|it| is_primary(it) && is_complete(it)),
        fresh: all(|it| it.role == Role::Secondary && is_complete(it) && is_good(it)),
        init: any(|it| it.role == Role::Init),
        split_brain: any(is_split),
        superseded: any(is_superseded),
    }
}

/// How long ago the peer has invited us to take all of them; none where it has not.
pub fn invited(found: &Found) -> Option<Duration> {
    let seconds = found.iter().map(|(_, status)| status.invited);
    let seconds: Option<Vec<u32>> = seconds.collect();
    seconds?
        .into_iter()
        .max()
        .map(|s| Duration::from_secs(s.into()))
}

/// In the primary's role, and serving.
pub fn is_primary(status: &ResourceStatus) -> bool {
    status.role == Role::Primary && !is_superseded(status)
}

/// The peer went on as primary without it.
fn is_superseded(status: &ResourceStatus) -> bool {
    let worker = status.worker.as_ref();
    worker.is_some_and(|it| it.condition == Condition::Superseded)
}

/// Through with the handshake.
pub fn is_connected(status: &ResourceStatus) -> bool {
    details(status, |it| it.connection == Connection::Connected)
}

/// Connected, and both copies are equal.
fn is_complete(status: &ResourceStatus) -> bool {
    let worker = status.worker.as_ref();
    is_connected(status) && worker.is_some_and(|it| it.condition == Condition::Complete)
}

/// It goes on alone only with a permit.
fn is_bound(status: &ResourceStatus) -> bool {
    details(status, |it| it.holding.is_some())
}

/// The local copy is of one moment.
pub fn is_good(status: &ResourceStatus) -> bool {
    details(status, |it| it.local == LocalState::UpToDate)
}

/// Both were written to apart.
pub fn is_split(status: &ResourceStatus) -> bool {
    details(status, |it| it.peer == PeerState::SplitBrain)
}

/// Why it is as it is, where there is more to say.
pub fn reason(status: &ResourceStatus) -> Option<&str> {
    let details = status.worker.as_ref()?.details.as_ref()?;
    details.reason.as_deref()
}

fn details(status: &ResourceStatus, is_so: impl Fn(&crate::control::Details) -> bool) -> bool {
    let worker = status.worker.as_ref();
    let details = worker.and_then(|worker| worker.details.as_ref());
    details.is_some_and(is_so)
}
