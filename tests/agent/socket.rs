//! The agent's socket and its command line, where nobody should be trusted to say what makes sense.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::pair::Pair;

#[test]
fn nonsense_is_answered_or_hung_up_on_and_harms_nobody() {
    let pair = Pair::start("");
    let path = pair.a.folder.join("control");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        // It may have hung up before all of it was said.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    for nonsense in [
        &b"\n"[..],
        b"{}\n",
        b"{\"do\":\"reboot\"}\n",
        b"{\"do\":\"master\",\"group\":\"storage\",\"force\":false,\"more\":1}\n",
        b"\xff\xfe\n",
    ] {
        let answer = say(nonsense);
        assert!(answer.contains("\"is\":\"refused\""), "{answer}");
    }
    say(b"");
    say(b"{\"do\":\"sta");
    say(&vec![b'['; 3 << 20]);
    assert!(say(b"{\"do\":\"backup\",\"group\":\"other\"}\n").contains("no group 'other'"));
    assert!(say(b"{\"do\":\"status\",\"group\":null}\n").contains("\"state\":\"backup\""));

    // There is one agent for these files.
    let second = pair.a.failover("run -F");
    assert_eq!(second.status.code(), Some(75), "{second:?}");
}

#[test]
fn commands_say_what_is_wrong_with_the_right_code() {
    let mut pair = Pair::start("");
    let code = |words: &str| pair.a.failover(words).status.code();
    assert_eq!(code("event 2@em0 MASTER"), Some(0), "not ours");
    assert_eq!(code("event 1@em0 UP"), Some(64));
    assert_eq!(code("master other"), Some(65));
    assert_eq!(code("status other"), Some(69));
    assert_eq!(code("nonsense"), Some(64));
    let checked = pair.a.failover("check").success();
    assert!(
        checked.contains("storage: disk1, disk2; 1@em0"),
        "{checked}"
    );

    pair.a.end();
    let event = pair.a.failover("event 1@em0 MASTER");
    assert_eq!(event.status.code(), Some(75));
    assert!(event.stderr.contains("looks at CARP itself"), "{event:?}");
    assert_eq!(pair.a.failover("event 2@em0 MASTER").status.code(), Some(0));
    // As it says.
    std::fs::write(pair.a.folder.join("machine/carp"), "MASTER").unwrap();
    pair.a.start();
    pair.a.until("master");
}
