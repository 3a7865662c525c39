//! A question to the other node, of ours: what it is for a resource, with a claim or an invitation if
//! wanted. It is asked on a connection of its own, and answered with one message.
//!
//! It shows a token, as a second connection does, and one that nobody was given. So base hastd, which
//! knows no questions, ends it with a refusal that tells its role, and leaves a secondary's worker
//! and half-open connections in peace.

use std::time::Duration;

use super::{HandshakeError, Refusal, TOKEN_SIZE, Token, required};
use crate::nv::{Nv, NvView};
use crate::terms::{LocalState, Role};
use crate::wire::PROTOCOL_VERSION;

/// The longest that a node stays out of a role for the other's sake: enough to go from the answer to the
/// promotion, and soon over where the other dies between them.
pub const CLAIM_LIMIT: Duration = Duration::from_secs(10);

/// The level of the question and of its answer.
const LEVEL: u8 = 1;

/// The question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The resource's name.
    pub resource: String,
    /// Random, and so no node's.
    pub token: Token,
    /// For how long the other node shall stay out of the primary's role, because we are about to
    /// take it; whole seconds, at most [`CLAIM_LIMIT`]; zero for not at all.
    pub claim: Duration,
    /// We have given the role up for the other node to take.
    pub invite: bool,
}

impl Query {
    /// The message's entries.
    pub fn to_nv(&self) -> Nv {
        Nv::build(|nv| {
            nv.str("resource", &self.resource);
            nv.u8("version", PROTOCOL_VERSION)
                .bytes("token", &self.token);
            nv.u8("query", LEVEL)
                .u32("claim", self.claim.as_secs() as u32);
            nv.u8("invite", u8::from(self.invite));
        })
    }

    /// Whether a first message is one.
    pub(super) fn is_one(nv: NvView<'_>) -> bool {
        nv.contains("query")
    }

    pub(super) fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        let what = "question";
        let token = nv.bytes("token").and_then(|token| token.try_into().ok());
        let claim = Duration::from_secs(nv.u32("claim").unwrap_or(0).into());
        Ok(Self {
            resource: required(nv.str("resource"), what, "resource")?.to_owned(),
            token: required::<[u8; TOKEN_SIZE]>(token, what, "token")?,
            claim: claim.min(CLAIM_LIMIT),
            invite: nv.u8("invite").is_some_and(|invite| invite != 0),
        })
    }
}

/// The answer of a node that knows questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryAnswer {
    /// Its role. Primary also while it is giving that up.
    pub role: Role,
    /// For how long it will stay out of the primary's role unless forced; zero where it was not asked to or
    /// does not promise that. Whole seconds.
    pub claim: Duration,
    /// The state of its copy, where a worker is there to ask.
    pub local: Option<LocalState>,
    /// It is through with the handshake with its peer.
    pub connected: bool,
}

impl QueryAnswer {
    /// The message's entries.
    pub fn to_nv(&self) -> Nv {
        let mut nv = Nv::new();
        nv.add_u8("query", LEVEL)
            .add_str("role", self.role.word())
            .add_u32("claim", self.claim.as_secs() as u32);
        if let Some(local) = self.local {
            nv.add_str("local", local.word());
        }
        nv.add_u8("connected", u8::from(self.connected));
        nv
    }

    fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        let what = "answer to our question";
        required(nv.u8("query"), what, "query")?;
        let role = nv.str("role").and_then(|word| word.parse().ok());
        let claim = nv.u32("claim").unwrap_or(0);
        Ok(Self {
            role: required(role, what, "role")?,
            claim: Duration::from_secs(claim.into()),
            local: nv.str("local").and_then(|word| word.parse().ok()),
            connected: nv.u8("connected").is_some_and(|connected| connected != 0),
        })
    }
}

/// What a question leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An answer.
    Answer(QueryAnswer),
    /// The node knows no questions, but this is its role.
    Role(Role),
    /// No answer.
    Refused(Refusal),
}

impl Reply {
    /// Reads the entries.
    pub fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        let Some(refusal) = Refusal::from_nv(nv) else {
            return QueryAnswer::from_nv(nv).map(Self::Answer);
        };
        // Base looks at the role before it looks at the token.
        let role = match refusal.errmsg.as_str() {
            Refusal::WRONG_TOKEN => Some(Role::Secondary),
            _ => refusal.acts_as(),
        };
        Ok(role.map_or(Self::Refused(refusal), Self::Role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::handshake::Opening;

    fn query() -> Query {
        Query {
            resource: "disk1".to_owned(),
            token: [9; TOKEN_SIZE],
            claim: Duration::from_secs(7),
            invite: true,
        }
    }

    #[test]
    fn questions_read_back_and_ask_for_no_more_than_is_granted() {
        let nv = query().to_nv();
        assert_eq!(Opening::from_nv(nv.view()), Ok(Opening::Query(query())));
        let greedy = Query {
            claim: Duration::from_hours(1),
            ..query()
        };
        let granted = Query {
            claim: CLAIM_LIMIT,
            ..query()
        };
        assert_eq!(Query::from_nv(greedy.to_nv().view()), Ok(granted));
    }

    #[test]
    fn a_question_without_its_token_or_resource_is_none() {
        for missing in ["token", "resource"] {
            let mut nv = Nv::new();
            for entry in query().to_nv().entries() {
                if entry.name != missing.as_bytes() {
                    nv.writer().copy(entry);
                }
            }
            let error = Opening::from_nv(nv.view()).expect_err("incomplete");
            let text = format!("the peer's question has no valid '{missing}'");
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn answers_read_back() {
        for (local, connected) in [(None, false), (Some(LocalState::Inconsistent), true)] {
            let answer = QueryAnswer {
                role: Role::Secondary,
                claim: Duration::from_secs(3),
                local,
                connected,
            };
            let read = Reply::from_nv(answer.to_nv().view());
            assert_eq!(read, Ok(Reply::Answer(answer)));
        }
        assert!(Reply::from_nv(Nv::new().view()).is_err());
        assert!(Reply::from_nv(Nv::new().add_str("role", "primary").view()).is_err());
    }

    #[test]
    fn what_base_refuses_with_tells_its_role() {
        for role in [Role::Init, Role::Primary] {
            let nv = Refusal::not_secondary(role).to_nv();
            assert_eq!(Reply::from_nv(nv.view()), Ok(Reply::Role(role)));
        }
        let nv = Refusal::new(Refusal::WRONG_TOKEN).to_nv();
        assert_eq!(Reply::from_nv(nv.view()), Ok(Reply::Role(Role::Secondary)));
        for text in [
            Refusal::NO_ACCESS,
            "Remote node acts as king for the resource.",
        ] {
            let refusal = Refusal::new(text);
            let nv = refusal.to_nv();
            assert_eq!(Reply::from_nv(nv.view()), Ok(Reply::Refused(refusal)));
        }
    }
}
