//! Replies: per resource a result or a failure, or one failure for the whole request.

use super::fields::Fields;
use super::status::ResourceStatus;
use crate::nv::Nv;
use crate::terms::Role;
use std::fmt;

/// An error number of the control socket. Base's hastctl prints any number and exits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// No such resource is configured.
    pub const NO_SUCH_RESOURCE: Self = Self(1);
    /// The request lacks something or holds nonsense.
    pub const INVALID: Self = Self(2);
    /// Out of memory.
    pub const NO_MEMORY: Self = Self(3);
    /// The command is unknown.
    pub const UNIMPLEMENTED: Self = Self(4);
    /// The resource is known, but its state forbids what was asked. Ours; a message always says
    /// why.
    pub const REFUSED: Self = Self(5);
    /// The other node takes the role, or may: what was asked may be possible in some seconds. Ours;
    /// a message always says why.
    pub const CLAIMED: Self = Self(6);
}

/// What hastctl says where hastd sent a number only.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NO_SUCH_RESOURCE => f.write_str("no such resource is configured"),
            Self::INVALID => f.write_str("the request is invalid"),
            Self::NO_MEMORY => f.write_str("hastd is out of memory"),
            Self::UNIMPLEMENTED => f.write_str("hastd does not know this command"),
            Self::REFUSED => f.write_str("the state of the resource does not allow it"),
            Self::CLAIMED => f.write_str("the other node is taking the role"),
            Self(number) => write!(f, "error {number} from hastd"),
        }
    }
}

/// Why hastd did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The number.
    pub code: ErrorCode,
    /// The reason in words for people (our addition).
    pub message: Option<String>,
}

impl Failure {
    /// A failure with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => self.code.fmt(f),
        }
    }
}

/// Why a reply holds no results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The whole request failed.
    #[error("hastd refused the request: {0}")]
    Failed(Failure),
    /// An entry that must be there is missing or is not what it should be.
    #[error("the reply of hastd lacks a usable entry '{0}'")]
    Malformed(String),
}

/// The reply that fails a whole request.
pub fn failure_reply(failure: &Failure) -> Nv {
    let mut nv = Nv::new();
    nv.add_i16("error", failure.code.0);
    if let Some(message) = &failure.message {
        nv.add_str("errmsg", message);
    }
    nv
}

/// The reply to [`super::Request::SetRole`]: per resource its previous role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleReply {
    /// In the order of the request.
    pub resources: Vec<(String, Result<Role, Failure>)>,
}

impl RoleReply {
    /// The reply's entries.
    pub fn to_nv(&self) -> Nv {
        resources_to_nv(&self.resources, |role, nv, index| {
            nv.add_str(&format!("role{index}"), role.word());
        })
    }

    /// Understands a reply's entries.
    pub fn from_nv(nv: &Nv) -> Result<Self, ReplyError> {
        let resources = resources_from_nv(nv, |fields, index| {
            let name = format!("role{index}");
            let role = fields.str(&name).and_then(|word| word.parse::<Role>().ok());
            role.ok_or(ReplyError::Malformed(name))
        })?;
        Ok(Self { resources })
    }
}

/// The reply to [`super::Request::Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusReply {
    /// In the order of the request.
    pub resources: Vec<(String, Result<ResourceStatus, Failure>)>,
}

impl StatusReply {
    /// The reply's entries.
    pub fn to_nv(&self) -> Nv {
        resources_to_nv(&self.resources, |status, nv, index| {
            status.add_to(nv, &index.to_string());
        })
    }

    /// Understands a reply's entries.
    pub fn from_nv(nv: &Nv) -> Result<Self, ReplyError> {
        let resources = resources_from_nv(nv, |fields, index| {
            ResourceStatus::from_fields(fields, &index.to_string()).map_err(ReplyError::Malformed)
        })?;
        Ok(Self { resources })
    }
}

fn resources_to_nv<T>(
    resources: &[(String, Result<T, Failure>)],
    add: impl Fn(&T, &mut Nv, usize),
) -> Nv {
    let mut nv = Nv::new();
    for (index, (name, result)) in resources.iter().enumerate() {
        nv.add_str(&format!("resource{index}"), name);
        match result {
            Ok(value) => add(value, &mut nv, index),
            Err(failure) => {
                nv.add_i16(&format!("error{index}"), failure.code.0);
                if let Some(message) = &failure.message {
                    nv.add_str(&format!("errmsg{index}"), message);
                }
            }
        }
    }
    nv
}

/// One resource's name and what became of the request for it.
type Named<T> = (String, Result<T, Failure>);

fn resources_from_nv<T>(
    nv: &Nv,
    read: impl Fn(&Fields<'_>, usize) -> Result<T, ReplyError>,
) -> Result<Vec<Named<T>>, ReplyError> {
    let fields = Fields::of(nv);
    if let Some(failure) = failure(&fields, "") {
        return Err(ReplyError::Failed(failure));
    }
    let mut resources = Vec::new();
    while let Some(name) = fields.str(&format!("resource{}", resources.len())) {
        let index = resources.len();
        let result = match failure(&fields, &index.to_string()) {
            Some(failure) => Err(failure),
            None => Ok(read(&fields, index)?),
        };
        resources.push((name.to_owned(), result));
    }
    Ok(resources)
}

/// The failure told by `error<suffix>`; zero is none.
fn failure(fields: &Fields<'_>, suffix: &str) -> Option<Failure> {
    let code = fields
        .i16(&format!("error{suffix}"))
        .filter(|code| *code != 0)?;
    let message = fields.str(&format!("errmsg{suffix}"));
    Some(Failure {
        code: ErrorCode(code),
        message: message.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_replies_read_back() {
        let reply = RoleReply {
            resources: vec![
                ("a".into(), Ok(Role::Init)),
                ("b".into(), Err(ErrorCode::NO_SUCH_RESOURCE.into())),
                (
                    "c".into(),
                    Err(Failure::new(ErrorCode::REFUSED, "half a copy")),
                ),
            ],
        };
        assert_eq!(RoleReply::from_nv(&reply.to_nv()), Ok(reply));
        assert_eq!(RoleReply::from_nv(&Nv::new()), Ok(RoleReply::default()));
    }

    #[test]
    fn a_failed_request_is_an_error() {
        for failure in [
            Failure::from(ErrorCode::INVALID),
            Failure::new(ErrorCode(12), "no reason"),
        ] {
            let nv = failure_reply(&failure);
            assert_eq!(StatusReply::from_nv(&nv), Err(ReplyError::Failed(failure)));
        }
    }

    #[test]
    fn a_reply_without_role_or_status_is_malformed() {
        let mut nv = Nv::new();
        nv.add_str("resource0", "a");
        assert_eq!(
            RoleReply::from_nv(&nv),
            Err(ReplyError::Malformed("role0".into()))
        );
        assert_eq!(
            StatusReply::from_nv(&nv),
            Err(ReplyError::Malformed("provname0".into()))
        );
    }
}
