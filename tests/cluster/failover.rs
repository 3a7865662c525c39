//! What failover rests on: questions to a node that replicates, promotions that exclude each other, writes that
//! are held.

use std::time::Duration;

use hast::config::{Config, NodeNames};
use hast::control::{LocalState, Permit};
use hast::peer_query::{Answer, Question, ask};
use hast::provider::nbd::ListenAddress;
use hast::provider::nbd::client::Client;
use hast::terms::Role;
use hast::wire::handshake::query::CLAIM_LIMIT;

use crate::cluster::{Cluster, Setup};
use crate::node::Node;
use crate::observe::{LIMIT, finish};

/// What `from` hears of the other node.
fn asked_by(cluster: &Cluster, from: &Node, claim: Duration) -> Answer {
    let names = NodeNames::named(from.name());
    let path = cluster.path("hast.conf");
    let text = std::fs::read_to_string(&path).unwrap();
    let config = Config::parse(&text, &path, &names).unwrap();
    let question = Question {
        claim,
        invite: false,
    };
    ask(&config.resources[0], question, LIMIT).unwrap()
}

#[test]
fn questions_disturb_no_replication() {
    let cluster = Setup::new("fullsync").pair();
    let workers = [cluster.a.worker_pid("disk1"), cluster.b.worker_pid("disk1")];
    let load = cluster.a.load(31);
    for _ in 0..30 {
        cluster.progress(&load, 5);
        let of_b = asked_by(&cluster, &cluster.a, CLAIM_LIMIT);
        assert_eq!((of_b.role, of_b.connected), (Role::Secondary, true));
        assert_eq!(of_b.local, Some(LocalState::UpToDate));
        assert!(of_b.claimed.is_some());
        let of_a = asked_by(&cluster, &cluster.b, CLAIM_LIMIT);
        assert_eq!((of_a.role, of_a.connected), (Role::Primary, true));
        assert_eq!(of_a.claimed, None, "it has the role");
    }
    let refusal = cluster.b.hastctl("role primary all").failure();
    assert!(refusal.contains("is taking this role now"), "{refusal}");
    assert_eq!(
        workers,
        [cluster.a.worker_pid("disk1"), cluster.b.worker_pid("disk1"),]
    );
    let written = finish(load);
    assert_eq!(written.failed, 0);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
}

#[test]
fn of_two_nodes_that_want_the_role_at_most_one_gets_it() {
    let cluster = Setup::new("fullsync").created();
    std::thread::sleep(CLAIM_LIMIT);
    let mut taken = 0;
    for _ in 0..8 {
        let contend = |node: &Node| {
            let answer = asked_by(&cluster, node, Duration::from_secs(1));
            let Some(until) = answer.claimed else {
                return false;
            };
            node.promote("disk1", until).is_ok()
        };
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| contend(&cluster.b));
            (contend(&cluster.a), other.join().unwrap())
        });
        assert!(!(a && b), "both are primary");
        taken += usize::from(a || b);
        for node in [&cluster.a, &cluster.b] {
            node.ctl("role init all");
        }
        // Claims of this round have run out in the next.
        std::thread::sleep(Duration::from_secs(1));
    }
    // How often one wins is chance; that the role can not be had at all is not.
    let alone = asked_by(&cluster, &cluster.a, Duration::from_secs(1));
    assert!(taken > 0 || cluster.a.promote("disk1", alone.claimed.unwrap()).is_ok());
}

#[test]
fn a_primary_that_held_its_writes_gives_way_without_a_split_brain() {
    let cluster = Setup::new("fullsync").proxied().pair();
    cluster.a.permit(Permit::lasting(Duration::ZERO));
    let device = ListenAddress::Unix(cluster.a.device("disk1"));
    let mut client = Client::connect(&device, "disk1", LIMIT).unwrap();
    client.write(0, &[1; 4096], false).unwrap();
    client.flush().unwrap();

    cluster.to_b().unplug();
    std::thread::scope(|scope| {
        let held = scope.spawn(move || client.write(0, &[2; 4096], false));
        cluster.a.until("disk1", "a write is held", |worker| {
            let details = worker.details.as_ref();
            let holding = details.and_then(|details| details.holding);
            holding.is_some_and(|holding| holding.held == 1)
        });
        // The other node takes over and writes, and this one gives the role up.
        cluster.b.ctl("role primary all");
        let device = ListenAddress::Unix(cluster.b.device("disk1"));
        let mut other = Client::connect(&device, "disk1", LIMIT).unwrap();
        assert_eq!(other.read(0, 4096).unwrap(), [1; 4096]);
        other.write(4096, &[3; 4096], false).unwrap();
        let busy = cluster.a.hastctl("role secondary all").failure();
        assert!(busy.contains("is open (process "), "{busy}");
        cluster.a.ctl("role --force secondary all");
        assert!(held.join().unwrap().is_err(), "it was never acknowledged");
    });
    cluster.to_b().plug();
    cluster.b.until_complete("disk1");
    assert!(!cluster.b.log().contains("Split-brain"));
    cluster.assert_equal("disk1");
}
