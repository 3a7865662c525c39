use super::*;
use mio::Poll;
use socket2::{Domain, Type};

#[test]
fn who_says_nothing_makes_room_first_for_its_own_address_then_for_all() {
    let poll = Poll::new().unwrap();
    let mut reactor = Reactor::new(poll.registry().try_clone().unwrap());
    let mut meetings = Meetings::default();
    let mut others = Vec::new();
    let mut add = |meetings: &mut Meetings, peer: [u8; 4]| {
        let (socket, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        others.push(other);
        meetings.add(&mut reactor, socket, IpAddr::from(peer));
    };
    let count = |meetings: &Meetings, peer: [u8; 4]| {
        let all = meetings.meetings.values();
        all.filter(|meeting| meeting.peer == IpAddr::from(peer))
            .count()
    };
    add(&mut meetings, [10, 0, 0, 1]);
    for _ in 0..2 * STRANGERS_OF_ONE {
        add(&mut meetings, [10, 0, 0, 2]);
    }
    assert_eq!(
        count(&meetings, [10, 0, 0, 1]),
        1,
        "another's crowd does not push it out"
    );
    assert_eq!(count(&meetings, [10, 0, 0, 2]), STRANGERS_OF_ONE);
    for number in 0..2 * STRANGERS {
        add(&mut meetings, [10, 1, (number >> 8) as u8, number as u8]);
    }
    assert_eq!(meetings.meetings.len(), STRANGERS);
    assert_eq!(
        count(&meetings, [10, 0, 0, 1]),
        0,
        "the oldest of all went first"
    );
}
