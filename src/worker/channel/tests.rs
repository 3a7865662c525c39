use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{Config, NodeNames};
use crate::layout::Generation;
use crate::wire::frame::Message;

fn resource(text: &str) -> Resource {
    let config = Config::parse(text, Path::new("hast.conf"), &NodeNames::named("a"));
    config.expect("valid").resources.pop().expect("one")
}

fn plain() -> Resource {
    resource("resource disk1 { local /tmp/disk1 on a { remote 10.0.0.2 } }")
}

fn elaborate() -> Resource {
    resource(
        "exec /bin/true\ntimeout 7\nresource a/b { name \"we.i\\\\rd\" provider nbd 127.0.0.1:7 buffers 8m\n\
         replication async checksum sha256 compression lzf metaflush off\n\
         on a { local \"/tmp/a b\" remote tcp6://[::1]:9 source tcp4://127.0.0.1 } }",
    )
}

fn nv_of(bytes: &[u8]) -> Nv {
    let message = Message::read_from(&mut &*bytes, LIMITS).expect("a message");
    assert_eq!(message.version, 2);
    message.nv
}

fn hello() -> Hello {
    let generation = Generation::new(u64::MAX).expect("not 0");
    Hello {
        standing: Standing {
            resuid: u64::MAX,
            localcnt: 3,
            remotecnt: 2,
            record: Record {
                own: Some(generation),
                lacks: true,
                ..Record::default()
            },
        },
        virgin: true,
        holds: true,
        leans: false,
    }
}

#[test]
fn what_main_says_comes_back() {
    let introduction = Introduction {
        version: 2,
        extension: 1,
        hello: hello(),
    };
    let begin = |resource, assignment| {
        ToWorker::Begin(Box::new(Begin {
            resource,
            assignment,
            permit: Permit::lasting(Duration::from_secs(4)),
            debug: 2,
            foreground: true,
        }))
    };
    let messages = [
        (begin(plain(), Assignment::Primary(Promotion::Asked)), 0),
        (
            begin(elaborate(), Assignment::Primary(Promotion::Forced)),
            0,
        ),
        (begin(plain(), Assignment::Primary(Promotion::Resumed)), 0),
        (begin(elaborate(), Assignment::Secondary(introduction)), 2),
        (ToWorker::Connection { number: 7 }, 1),
        (
            ToWorker::ConnectionFailed {
                number: 8,
                reason: "refused".into(),
            },
            0,
        ),
        (ToWorker::Permit(Permit::Free), 0),
        (ToWorker::Permit(Permit::lasting(Duration::ZERO)), 0),
        (ToWorker::Reload(Box::new(elaborate())), 0),
        (ToWorker::Status { number: 9 }, 0),
        (ToWorker::Stop(DeviceFate::Release), 0),
        (ToWorker::Stop(DeviceFate::Destroy), 0),
        (ToWorker::Stop(DeviceFate::Vacate), 0),
        (ToWorker::Stop(DeviceFate::Keep), 0),
    ];
    for (message, descriptors) in messages {
        let nv = nv_of(&message.encode());
        assert_eq!(ToWorker::decode(nv.view()).as_ref(), Ok(&message));
        assert_eq!(message.descriptors(), descriptors);
    }
}

#[test]
fn addresses_keep_their_spelling() {
    let before = elaborate();
    let nv = nv_of(&ToWorker::Reload(Box::new(before.clone())).encode());
    let Ok(ToWorker::Reload(after)) = ToWorker::decode(nv.view()) else {
        panic!("no reload")
    };
    assert_eq!(after.remote_text(), before.remote_text());
    let text = |resource: &Resource| resource.source.as_ref().map(ToString::to_string);
    assert_eq!(text(&after), text(&before));
}

#[test]
fn what_a_worker_says_comes_back() {
    let mut status = Nv::new();
    status.add_str("resource0", "disk1").add_u64("dirty0", 5);
    let mut messages = vec![
        FromWorker::Started,
        FromWorker::Refused {
            exit: 78,
            message: "no".into(),
        },
        FromWorker::Busy {
            message: "mounted".into(),
        },
        FromWorker::Connect { number: 1 },
        FromWorker::Report { number: 2, status },
        FromWorker::Report {
            number: 3,
            status: Nv::new(),
        },
    ];
    messages.extend(HookEvent::ALL.map(FromWorker::Hook));
    for message in messages {
        let nv = nv_of(&message.encode());
        assert_eq!(FromWorker::decode(nv.view()).as_ref(), Ok(&message));
    }
}

#[test]
fn what_is_no_message_is_named() {
    let error = |nv: &Nv| ToWorker::decode(nv.view()).expect_err("none").to_string();
    assert!(error(&Nv::new()).contains("unknown kind ''"));
    let mut nv = Nv::new();
    nv.add_str("kind", "begin");
    assert!(error(&nv).contains("'begin'") && error(&nv).contains("'role'"));
    nv.add_str("role", "init");
    assert!(error(&nv).contains("'role'"));
    let mut reload = Nv::new();
    reload
        .add_str("kind", "reload")
        .add_str("resource", "nonsense");
    assert!(error(&reload).contains("'reload'"));
}
