//! Requests: set a role, ask for status.

use super::fields::Fields;
use super::permit::Permit;
use super::reply::ErrorCode;
use crate::moment::Moment;
use crate::nv::Nv;
use crate::terms::Role;

/// The word for every resource.
const ALL: &str = "all";

/// `cmd` of [`Request::SetRole`].
const COMMAND_SET_ROLE: u8 = 1;
/// `cmd` of [`Request::Status`].
const COMMAND_STATUS: u8 = 2;
/// `cmd` of [`Request::Permit`], far from base's.
const COMMAND_PERMIT: u8 = 128;

/// Which resources a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All that are configured.
    All,
    /// Those named, in this order; at least one.
    Named(Vec<String>),
}

impl Selection {
    /// From the words of a command line: `all` in the first place means every resource, as it
    /// does on the wire.
    pub fn from_words(words: Vec<String>) -> Self {
        match words.first().map(String::as_str) {
            Some(ALL) => Self::All,
            _ => Self::Named(words),
        }
    }
}

/// A promotion that is refused wherever the other node might be primary too (our addition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Until when the other node has promised to stay out of the role; none where it is out of reach and
    /// something else has made sure of that.
    pub until: Option<Moment>,
}

/// What a client asks of hastd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Put resources into a role.
    SetRole {
        /// The role.
        role: Role,
        /// Which.
        resources: Selection,
        /// Promote even a component that is known to lack data, or while the other node takes the
        /// role (our addition).
        force: bool,
        /// Of a promotion by a program.
        guard: Option<Guard>,
    },
    /// Tell the state of resources.
    Status {
        /// Which.
        resources: Selection,
    },
    /// Give primaries a permit to go on alone, or take it away (our addition). It counts for what
    /// becomes primary later, too. Answered as [`Self::Status`], once it is in force.
    Permit {
        /// Which.
        resources: Selection,
        /// What they may.
        permit: Permit,
    },
}

impl Request {
    /// The request's entries. [`super::encode`] frames them.
    pub fn to_nv(&self) -> Nv {
        let mut nv = Nv::new();
        let (resources, force, guard) = match self {
            Self::SetRole {
                role,
                resources,
                force,
                guard,
            } => {
                nv.add_u8("cmd", COMMAND_SET_ROLE);
                nv.add_u8("role", role.number());
                (resources, *force, *guard)
            }
            Self::Status { resources } => {
                nv.add_u8("cmd", COMMAND_STATUS);
                (resources, false, None)
            }
            Self::Permit { resources, permit } => {
                nv.add_u8("cmd", COMMAND_PERMIT);
                permit.add_to(&mut nv);
                (resources, false, None)
            }
        };
        match resources {
            Selection::All => {
                nv.add_str("resource0", ALL);
            }
            Selection::Named(names) => {
                for (index, name) in names.iter().enumerate() {
                    nv.add_str(&format!("resource{index}"), name);
                }
            }
        }
        if force {
            nv.add_u8("force", 1);
        }
        if let Some(guard) = guard {
            nv.add_u8("guard", 1);
            if let Some(until) = guard.until {
                nv.add_u64("until", until.nanoseconds());
            }
        }
        nv
    }

    /// Understands a request's entries.
    ///
    /// # Errors
    /// The code that base hastd answers with: [`ErrorCode::INVALID`] for a missing or bad entry,
    /// [`ErrorCode::UNIMPLEMENTED`] for an unknown command.
    pub fn from_nv(nv: &Nv) -> Result<Self, ErrorCode> {
        let fields = Fields::of(nv);
        let command = fields.u8("cmd").ok_or(ErrorCode::INVALID)?;
        let resources = selection(&fields)?;
        match command {
            COMMAND_SET_ROLE => Ok(Self::SetRole {
                role: fields
                    .u8("role")
                    .and_then(Role::from_number)
                    .ok_or(ErrorCode::INVALID)?,
                resources,
                force: flag(&fields, "force"),
                guard: flag(&fields, "guard").then(|| Guard {
                    until: fields.u64("until").map(Moment::from_nanoseconds),
                }),
            }),
            COMMAND_STATUS => Ok(Self::Status { resources }),
            COMMAND_PERMIT => {
                let permit = Permit::from_nv(nv.view());
                let bounded = permit.is_bounded().then_some(permit);
                Ok(Self::Permit {
                    resources,
                    permit: bounded.ok_or(ErrorCode::INVALID)?,
                })
            }
            _ => Err(ErrorCode::UNIMPLEMENTED),
        }
    }
}

fn flag(fields: &Fields<'_>, name: &str) -> bool {
    fields.u8(name).is_some_and(|value| value != 0)
}

fn selection(fields: &Fields<'_>) -> Result<Selection, ErrorCode> {
    let names: Vec<String> = (0..)
        .map_while(|index| fields.str(&format!("resource{index}")))
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(ErrorCode::INVALID);
    }
    Ok(Selection::from_words(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back() {
        let named = Selection::Named(vec!["a".into(), "b".into(), "all".into()]);
        for request in [
            Request::Status {
                resources: Selection::All,
            },
            Request::Status {
                resources: named.clone(),
            },
            Request::SetRole {
                role: Role::Primary,
                resources: named.clone(),
                force: true,
                guard: None,
            },
            Request::SetRole {
                role: Role::Init,
                resources: Selection::All,
                force: false,
                guard: Some(Guard { until: None }),
            },
            Request::Permit {
                resources: Selection::All,
                permit: Permit::Free,
            },
            Request::Permit {
                resources: named.clone(),
                permit: Permit::lasting(std::time::Duration::from_secs(10)),
            },
            Request::SetRole {
                role: Role::Primary,
                resources: named,
                force: false,
                guard: Some(Guard {
                    until: Some(Moment::now()),
                }),
            },
        ] {
            assert_eq!(Request::from_nv(&request.to_nv()), Ok(request));
        }
    }

    #[test]
    fn a_permit_for_longer_than_one_may_last_is_invalid() {
        let request = Request::Permit {
            resources: Selection::All,
            permit: Permit::lasting(2 * Permit::LONGEST),
        };
        assert_eq!(Request::from_nv(&request.to_nv()), Err(ErrorCode::INVALID));
    }

    #[test]
    fn bad_requests_get_bases_error_numbers() {
        let request = |command: Option<u8>, role: Option<u8>, resource: Option<&str>| {
            let mut nv = Nv::new();
            command.map(|command| nv.add_u8("cmd", command).is_empty());
            role.map(|role| nv.add_u8("role", role).is_empty());
            resource.map(|resource| nv.add_str("resource0", resource).is_empty());
            Request::from_nv(&nv).unwrap_err()
        };
        assert_eq!(request(None, None, Some("all")), ErrorCode::INVALID);
        assert_eq!(request(Some(2), None, None), ErrorCode::INVALID);
        assert_eq!(request(Some(1), None, Some("all")), ErrorCode::INVALID);
        assert_eq!(request(Some(1), Some(4), Some("all")), ErrorCode::INVALID);
        assert_eq!(
            request(Some(3), None, Some("all")),
            ErrorCode::UNIMPLEMENTED
        );
    }
}
