//! Questions of the other node: claims, invitations, and what promotions make of them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hast::config::{Config, NodeNames, Resource};
use hast::control::{Failure, Guard, LocalState, Request, RoleReply, Selection};
use hast::moment::Moment;
use hast::peer_query::{Answer, AskError, Question, ask};
use hast::terms::Role;
use hast::wire::handshake::query::CLAIM_LIMIT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{
    Hastd, PATIENCE, assert_ended, receive, say_hello, send, start_message, token_of,
};

const SECOND: Duration = Duration::from_secs(1);

/// Two resources of this address that can be primary.
const RESOURCES: &str = "
    resource disk1 { local FOLDER/disk1 provider nbd FOLDER/nbd1 on a { remote 127.0.0.1:1 } }
    resource disk2 { local FOLDER/disk2 provider nbd FOLDER/nbd2 on a { remote 127.0.0.1:1 } }
";

fn node() -> Hastd {
    let hastd = Hastd::start(RESOURCES);
    for name in ["disk1", "disk2"] {
        let component = std::fs::File::create(hastd.path(name)).unwrap();
        component.set_len(8 << 20).unwrap();
    }
    let created = hastctl(&hastd, &["create"], &["disk1", "disk2"]);
    assert_eq!(created, Ok(()));
    hastd
}

/// Runs hastctl; the error is what it complained of.
fn hastctl(hastd: &Hastd, command: &[&str], words: &[&str]) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_hastctl"))
        .args(command)
        .args(["-n", "a", "-c"])
        .arg(hastd.path("hast.conf"))
        .args(words)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The resource as the other node has it.
fn theirs(hastd: &Hastd, name: &str) -> Resource {
    let remote = format!("tcp4://127.0.0.1:{}", hastd.port);
    let text = format!("resource {name} {{ local /disk on b {{ remote {remote} }} }}");
    let config = Config::parse(&text, Path::new("hast.conf"), &NodeNames::named("b"));
    config.unwrap().resources.remove(0)
}

fn question(hastd: &Hastd, claim: Duration, invite: bool) -> Answer {
    ask(
        &theirs(hastd, "disk1"),
        Question { claim, invite },
        PATIENCE,
    )
    .unwrap()
}

fn what_is(hastd: &Hastd) -> Answer {
    question(hastd, Duration::ZERO, false)
}

/// What an agent does.
fn guarded(hastd: &Hastd, until: Option<Moment>) -> Result<Role, Failure> {
    let request = Request::SetRole {
        role: Role::Primary,
        resources: Selection::Named(vec!["disk1".to_owned()]),
        force: false,
        guard: Some(Guard { until }),
    };
    let reply = RoleReply::from_nv(&hastd.ask(&request)).unwrap();
    let [(_, role)] = <[_; 1]>::try_from(reply.resources).unwrap();
    role
}

fn reason(result: Result<Role, Failure>) -> String {
    result.unwrap_err().message.unwrap()
}

/// Tries until it is no longer refused for this reason.
fn until_not_refused(part: &str, mut promote: impl FnMut() -> Result<Role, Failure>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(failure) = promote() {
        let message = failure.message.unwrap();
        assert!(message.contains(part), "{message}");
        assert!(Instant::now() < deadline, "{message}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_node_tells_its_role() {
    let hastd = node();
    let told = |role, local| Answer {
        role,
        claimed: None,
        ours: true,
        local,
        connected: false,
    };
    assert_eq!(what_is(&hastd), told(Role::Init, None));
    hastd.set_role("disk1", Role::Secondary).unwrap();
    assert_eq!(what_is(&hastd), told(Role::Secondary, None));
    hastd.set_role("disk1", Role::Primary).unwrap();
    let local = Some(LocalState::UpToDate);
    assert_eq!(what_is(&hastd), told(Role::Primary, local));
}

#[test]
fn a_primary_that_is_ending_is_one_still_and_promises_nothing() {
    let hastd = node();
    hastd.set_role("disk1", Role::Primary).unwrap();
    let worker = Pid::from_raw(hastd.status("disk1").workerpid);
    kill(worker, Signal::SIGSTOP).unwrap();
    let begin = Instant::now();
    let answer = question(&hastd, CLAIM_LIMIT, true);
    assert!(begin.elapsed() < PATIENCE / 2, "it does not wait for ever");
    assert_eq!((answer.role, answer.local), (Role::Primary, None));

    std::thread::scope(|scope| {
        scope.spawn(|| hastd.set_role("disk1", Role::Init));
        while hastd.status("disk1").role == Role::Primary {
            std::thread::sleep(Duration::from_millis(5));
        }
        let answer = question(&hastd, CLAIM_LIMIT, true);
        assert_eq!((answer.role, answer.claimed), (Role::Primary, None));
        kill(worker, Signal::SIGCONT).unwrap();
    });
    assert_eq!(hastd.status("disk1").invited, None);
    assert_eq!(what_is(&hastd).role, Role::Init);
    assert_eq!(hastd.set_role("disk1", Role::Primary), Ok(Role::Init));
}

#[test]
fn while_the_other_node_takes_the_role_it_is_refused_here() {
    let hastd = node();
    let before = Moment::now();
    let answer = question(&hastd, CLAIM_LIMIT, false);
    assert_eq!(answer.role, Role::Init);
    assert!(answer.claimed.unwrap() >= before.after(CLAIM_LIMIT));

    let failure = hastctl(&hastd, &["role"], &["primary", "disk1"]).unwrap_err();
    let text = "hastctl: disk1: node 127.0.0.1:1 is taking this role now; try again in ";
    assert!(failure.starts_with(text), "{failure}");
    assert!(reason(guarded(&hastd, None)).contains("is taking this role now"));
    assert_eq!(hastd.status("disk1").role, Role::Init);
    assert_eq!(hastd.set_role("disk1", Role::Secondary), Ok(Role::Init));
    assert_eq!(hastd.set_role("disk2", Role::Primary), Ok(Role::Init));
    assert_eq!(
        hastctl(&hastd, &["role"], &["--force", "primary", "disk1"]),
        Ok(())
    );
    assert_eq!(hastd.status("disk1").role, Role::Primary);

    // What is primary already stays so, whatever was claimed before, and grants nothing.
    assert_eq!(hastd.set_role("disk1", Role::Primary), Ok(Role::Primary));
    let answer = question(&hastd, CLAIM_LIMIT, false);
    assert_eq!((answer.role, answer.claimed), (Role::Primary, None));
}

#[test]
fn a_claim_runs_out() {
    let hastd = node();
    question(&hastd, SECOND, false);
    until_not_refused("is taking this role now", || {
        hastd.set_role("disk1", Role::Primary)
    });
}

#[test]
fn an_agent_does_not_promote_just_after_a_start_nor_too_late() {
    let begin = Instant::now();
    let hastd = node();
    assert!(reason(guarded(&hastd, None)).contains("hastd has just started"));
    until_not_refused("just started", || guarded(&hastd, None));
    assert!(begin.elapsed() >= CLAIM_LIMIT);

    hastd.set_role("disk1", Role::Init).unwrap();
    let late = reason(guarded(&hastd, Some(Moment::now())));
    assert!(late.contains("no longer stays out"), "{late}");
    let until = Moment::now().after(PATIENCE);
    assert_eq!(guarded(&hastd, Some(until)), Ok(Role::Init));
}

#[test]
fn an_invitation_is_shown_until_it_is_followed() {
    let hastd = node();
    assert_eq!(hastd.status("disk1").invited, None);
    question(&hastd, Duration::ZERO, true);
    let seconds = hastd.status("disk1").invited.unwrap();
    assert!(u64::from(seconds) < CLAIM_LIMIT.as_secs());
    assert_eq!(hastd.status("disk2").invited, None);
    hastd.set_role("disk1", Role::Primary).unwrap();
    assert_eq!(hastd.status("disk1").invited, None);
    question(&hastd, Duration::ZERO, true);
    assert_eq!(hastd.status("disk1").invited, None, "it has the role");
}

#[test]
fn who_may_not_be_primary_here_may_not_ask_either() {
    let hastd = Hastd::with_two_resources();
    let refused = |name| match ask(&theirs(&hastd, name), Question::default(), PATIENCE) {
        Err(AskError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("nothing"), "Resource not configured.");
    assert_eq!(refused("disk2"), "No access to the resource.");
    let stranger = Hastd::start("resource disk1 { local FOLDER/disk1 on a { remote 127.0.0.9 } }");
    let error = ask(&theirs(&stranger, "disk1"), Question::default(), PATIENCE);
    assert!(matches!(error, Err(AskError::Refused { .. })), "{error:?}");
}

#[test]
fn a_question_does_not_disturb_a_meeting() {
    let hastd = node();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    let (mut first, answer) = say_hello(&hastd, "disk1");
    question(&hastd, CLAIM_LIMIT, true);
    let mut second = hastd.connect();
    send(&mut second, 2, &start_message("disk1", token_of(&answer)));
    assert!(receive(&mut first).contains("datasize"));
    let worker = hastd.status("disk1").workerpid;
    assert_ne!(worker, 0);
    question(&hastd, CLAIM_LIMIT, true);
    assert_eq!(hastd.status("disk1").workerpid, worker);
    hastd.set_role("disk1", Role::Init).unwrap();
    assert_ended(&mut first);
}
