//! Questions to peers of the test's own. What a real hastd answers is in `tests/daemon`.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::{JoinHandle, spawn};

use super::*;
use crate::config::{Config, NodeNames};
use crate::wire::handshake::{Opening, Refusal};

/// Enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(30);
/// For what is not going to happen.
const SHORT: Duration = Duration::from_millis(300);

fn resource(remote: &str) -> Resource {
    let text = format!("resource disk1 {{ local /disk on a {{ remote {remote} }} }}");
    let config = Config::parse(&text, Path::new("hast.conf"), &NodeNames::named("a"));
    config.unwrap().resources.remove(0)
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = format!("tcp4://{}", listener.local_addr().unwrap());
    (listener, remote)
}

/// A peer that takes a question and answers with these bytes; the question.
fn peer(answer: Vec<u8>) -> (String, JoinHandle<Opening>) {
    let (listener, remote) = listener();
    let thread = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let message = Message::read_from(&mut stream, Limits::OPENING).unwrap();
        stream.write_all(&answer).unwrap();
        Opening::from_nv(message.nv.view()).unwrap()
    });
    (remote, thread)
}

fn answered(answer: Vec<u8>) -> Result<Answer, AskError> {
    let (remote, thread) = peer(answer);
    let result = ask(&resource(&remote), Question::default(), LONG);
    thread.join().unwrap();
    result
}

fn vector(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("HAST_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors")),
        PathBuf::from,
    );
    std::fs::read(folder.join(name)).unwrap()
}

/// What base says of itself, and no more than that.
fn base(role: Role) -> Answer {
    Answer {
        role,
        claimed: None,
        ours: false,
        local: None,
        connected: false,
    }
}

fn encoded(nv: &crate::nv::Nv) -> Vec<u8> {
    frame::encode(PROTOCOL_VERSION, nv, &[])
}

#[test]
fn what_base_refuses_with_is_its_role() {
    let captured = vector("not-secondary/00.to-primary.bin");
    assert_eq!(answered(captured), Ok(base(Role::Init)));
    let primary = encoded(&Refusal::not_secondary(Role::Primary).to_nv());
    assert_eq!(answered(primary), Ok(base(Role::Primary)));
    let secondary = encoded(&Refusal::new(Refusal::WRONG_TOKEN).to_nv());
    assert_eq!(answered(secondary), Ok(base(Role::Secondary)));
}

#[test]
fn a_claim_counts_from_the_question() {
    let answer = QueryAnswer {
        role: Role::Secondary,
        claim: Duration::from_secs(4),
        local: Some(LocalState::UpToDate),
        connected: true,
    };
    let (remote, thread) = peer(encoded(&answer.to_nv()));
    let question = Question {
        claim: 10 * CLAIM_LIMIT,
        invite: true,
    };
    let before = Moment::now();
    let answer = ask(&resource(&remote), question, LONG).unwrap();
    let claimed = answer.claimed.unwrap();
    assert!(claimed >= before.after(Duration::from_secs(4)));
    assert!(claimed <= Moment::now().after(Duration::from_secs(4)));
    let Answer {
        role,
        ours,
        local,
        connected,
        ..
    } = answer;
    assert_eq!((role, ours, connected), (Role::Secondary, true, true));
    assert_eq!(local, Some(LocalState::UpToDate));

    let Opening::Query(query) = thread.join().unwrap() else {
        panic!("no question");
    };
    assert_eq!(query.resource, "disk1");
    assert_eq!((query.claim, query.invite), (CLAIM_LIMIT, true));
    assert_ne!(query.token, [0; TOKEN_SIZE]);
}

#[test]
fn refusals_and_nonsense_are_told_apart_from_silence() {
    let refused = |answer| match answered(answer) {
        Err(AskError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let text = Refusal::new(Refusal::NOT_CONFIGURED).to_nv();
    assert_eq!(refused(encoded(&text)), Refusal::NOT_CONFIGURED);
    assert!(refused(Vec::new()).starts_with("it closed the connection"));
    let half = encoded(&text)[..12].to_vec();
    assert!(refused(half).starts_with("it closed the connection"));

    let mut incomplete = crate::nv::Nv::new();
    incomplete.add_u8("query", 1);
    for nonsense in [vec![9; 64], encoded(&incomplete)] {
        let error = answered(nonsense).unwrap_err();
        assert!(matches!(error, AskError::Malformed { .. }), "{error:?}");
    }
}

#[test]
fn who_does_not_answer_is_out_of_reach_when_the_time_is_over() {
    let unreachable = |remote: &str| {
        let begin = Instant::now();
        let error = ask(&resource(remote), Question::default(), SHORT).unwrap_err();
        assert!(begin.elapsed() < LONG);
        assert!(matches!(error, AskError::Unreachable { .. }), "{error:?}");
        error.to_string()
    };
    // It accepts, as the kernel does for a process that hangs, and that is all.
    let (silent, remote) = listener();
    unreachable(&remote);
    drop(silent);
    let text = unreachable(&remote);
    assert!(text.starts_with(&format!("the other node at {remote} is out of reach")));

    let (slow, remote) = listener();
    let thread = spawn(move || dribble(&slow));
    unreachable(&remote);
    thread.join().unwrap();

    let error = ask(&resource("none"), Question::default(), LONG);
    assert_eq!(error, Err(AskError::NoPeer));
}

/// Sends the beginning of an answer, a byte now and then, until nobody wants more.
fn dribble(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let answer = [PROTOCOL_VERSION, 0, 8, 0, 0].into_iter();
    for byte in answer.chain(std::iter::repeat(0)) {
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_comes_from_the_source_and_not_from_its_port() {
    let (listener, remote) = listener();
    let port = listener.local_addr().unwrap().port();
    // The port is taken: what binds to it fails.
    let resource = resource(&format!("{remote} source 127.0.0.1:{port}"));
    let thread = spawn(move || {
        let (mut stream, from): (TcpStream, _) = listener.accept().unwrap();
        Message::read_from(&mut stream, Limits::OPENING).unwrap();
        let answer = encoded(&Refusal::new(Refusal::NO_ACCESS).to_nv());
        stream.write_all(&answer).unwrap();
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_ok() && rest.is_empty());
        from
    });
    let error = ask(&resource, Question::default(), LONG).unwrap_err();
    assert!(error.to_string().ends_with(Refusal::NO_ACCESS), "{error}");
    assert!(thread.join().unwrap().ip().is_loopback());

    let other = ask(
        &self::resource(&format!("{remote} source ::1")),
        Question::default(),
        LONG,
    );
    assert!(matches!(other, Err(AskError::Unreachable { .. })));
}
