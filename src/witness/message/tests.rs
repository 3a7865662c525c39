//! Requests and answers as values, and what is refused.

use super::*;

fn acquire(seconds: u64) -> Acquire {
    Acquire {
        group: "storage".into(),
        node: "hast1".into(),
        time: Duration::from_secs(seconds),
        copies: Copies::OnlyMine,
        force: true,
    }
}

#[test]
fn requests_come_back_as_they_were() {
    let (group, node) = ("gröup one".to_owned(), "n".repeat(NAME_MAX));
    for request in [
        Request::Acquire(acquire(3)),
        Request::Acquire(acquire(60)),
        Request::Release {
            group: group.clone(),
            node,
        },
        Request::Look {
            group: group.clone(),
        },
        Request::Forget { group },
    ] {
        let nv = request.to_nv().unwrap();
        assert_eq!(Request::from_nv(&nv).unwrap(), request);
    }
}

#[test]
fn answers_come_back_as_they_were_and_fit() {
    let (long, left) = ("n".repeat(NAME_MAX), Duration::from_secs(61));
    let (by, nodes) = (long.clone(), vec![long.clone(), "b".to_owned()]);
    let mut answers = vec![
        Answer::Granted,
        Answer::Done,
        Answer::View(View::default()),
        Answer::View(View {
            nodes: vec![long.clone(), long.clone()],
            holder: Some((long.clone(), left)),
            alone: Some(long),
            quiet: left,
        }),
    ];
    let refusals = [
        Refusal::Held {
            by: by.clone(),
            left,
        },
        Refusal::Alone { by },
        Refusal::Quiet { left },
        Refusal::Stranger { nodes },
        Refusal::TooManyGroups,
        Refusal::Overtaken,
        Refusal::Storage,
    ];
    answers.extend(refusals.map(Answer::Refused));
    for answer in answers {
        let nv = answer.to_nv();
        assert!(nv.as_bytes().len() <= crate::witness::protocol::BODY_MAX);
        assert_eq!(Answer::from_nv(&nv).unwrap(), answer);
    }
}

#[test]
fn what_may_not_be_asked_is_neither_sent_nor_taken() {
    let wrong = |change: &dyn Fn(&mut Acquire)| {
        let mut asked = acquire(10);
        change(&mut asked);
        Request::Acquire(asked).to_nv().unwrap_err()
    };
    assert_eq!(
        wrong(&|it| it.time = Duration::from_secs(2)).to_string(),
        "a lease lasts from 3 to 60 seconds, and 2 were asked for"
    );
    let time = |millis| Duration::from_millis(millis);
    assert_eq!(wrong(&|it| it.time = time(61_000)), MessageError::Time(61));
    assert_eq!(wrong(&|it| it.time = time(4500)), MessageError::Time(4));
    assert_eq!(wrong(&|it| it.node.clear()), MessageError::Name("node"));
    let long = "g".repeat(NAME_MAX + 1);
    for name in ["", "a\nb", &long] {
        let group = name.to_owned();
        assert_eq!(
            wrong(&|it| it.group.clone_from(&group)),
            MessageError::Name("group")
        );
    }

    let nv = Request::Acquire(acquire(10)).to_nv().unwrap();
    for entry in nv.entries() {
        let mut without = Nv::new();
        for other in nv.entries().filter(|other| other.name != entry.name) {
            without.writer().copy(other);
        }
        assert!(Request::from_nv(&without).is_err(), "{without}");
    }
    let mut late = Nv::new();
    late.add_u64("seconds", 1 << 40);
    for entry in nv.entries().filter(|entry| entry.name != b"seconds") {
        late.writer().copy(entry);
    }
    assert_eq!(Request::from_nv(&late), Err(MessageError::Time(1 << 40)));
}

#[test]
fn time_that_is_left_is_rounded_up() {
    let left = Duration::from_millis(4001);
    let by = "hast2".to_owned();
    let refusal = Refusal::Held { by, left };
    assert_eq!(
        refusal.to_string(),
        "hast2 holds the lease for 5 more seconds"
    );
}
