//! What the other node says of a group: each of its resources is asked for, all at once, on the
//! replication port.

use std::time::Duration;

use crate::config::Resource;
use crate::failover::step::PeerAnswer;
use crate::moment::Moment;
use crate::peer_query::{Answer, AskError, Question, ask};
use crate::terms::Role;

/// Asks for every resource, for at most about `limit`.
pub fn ask_all(
    resources: &[Resource],
    question: Question,
    limit: Duration,
) -> Vec<Result<Answer, AskError>> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = resources
            .iter()
            .map(|resource| scope.spawn(move || ask(resource, question, limit)))
            .collect();
        let answers = asking.into_iter().map(|it| {
            it.join().unwrap_or_else(|_| {
                Err(AskError::Malformed {
                    remote: "the peer".to_owned(),
                    reason: "an internal error, see the log".to_owned(),
                })
            })
        });
        answers.collect()
    })
}

/// What the answers are, taken together, and until when all the claims stand, where `claimed` asked for some.
pub fn judge(answers: &[Result<Answer, AskError>], claimed: bool) -> (PeerAnswer, Option<Moment>) {
    let known = || answers.iter().filter_map(|answer| answer.as_ref().ok());
    let is = |role| known().any(|answer| answer.role == role);
    if is(Role::Primary) {
        return (PeerAnswer::Primary, None);
    }
    if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
        let why = match error {
            AskError::NoPeer => "no peer is configured".to_owned(),
            other => other.to_string(),
        };
        return (PeerAnswer::Unreachable(why), None);
    }
    if claimed && known().any(|answer| answer.claimed.is_none()) {
        return (PeerAnswer::NoPromise, None);
    }
    let until = known().filter_map(|answer| answer.claimed).min();
    if is(Role::Init) {
        (PeerAnswer::Init, until)
    } else {
        (PeerAnswer::Secondary, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(role: Role, claimed: Option<u64>) -> Answer {
        Answer {
            role,
            claimed: claimed.map(Moment::from_nanoseconds),
            ours: true,
            local: None,
            connected: true,
        }
    }

    fn away() -> Result<Answer, AskError> {
        Err(AskError::Unreachable {
            remote: "tcp4://b".to_owned(),
            reason: "timed out".to_owned(),
        })
    }

    #[test]
    fn the_worst_answer_counts() {
        let primary = || Ok(answer(Role::Primary, None));
        let secondary = || Ok(answer(Role::Secondary, Some(5)));
        let init = || Ok(answer(Role::Init, Some(7)));
        let until = |at| Some(Moment::from_nanoseconds(at));
        let said = |answers: &[Result<Answer, AskError>]| judge(answers, true);
        assert_eq!(said(&[away(), primary()]).0, PeerAnswer::Primary);
        assert!(
            matches!(said(&[secondary(), away()]).0, PeerAnswer::Unreachable(why) if why.contains("tcp4://b"))
        );
        assert_eq!(said(&[init(), secondary()]), (PeerAnswer::Init, until(5)));
        assert_eq!(
            said(&[secondary(), secondary()]),
            (PeerAnswer::Secondary, until(5))
        );
        let silent = Ok(answer(Role::Secondary, None));
        assert_eq!(
            said(&[secondary(), silent.clone()]),
            (PeerAnswer::NoPromise, None)
        );
        assert_eq!(judge(&[silent], false), (PeerAnswer::Secondary, None));
        let none = PeerAnswer::Unreachable("no peer is configured".to_owned());
        assert_eq!(said(&[Err(AskError::NoPeer)]).0, none);
    }
}
