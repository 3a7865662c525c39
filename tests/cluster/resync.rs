//! Synchronisation: a secondary that was away, one that is new, one whose primary dies in the
//! middle; in both directions.

use std::fs::File;

use hast::control::{Condition, Direction, LocalState, PeerState};
use hast::terms::Role;

use crate::cluster::{Cluster, Setup};
use crate::observe::finish;
use crate::stamp::BLOCK;

/// What hastctl exits with where the state of a resource forbids what was asked.
const REFUSED: i32 = 5;
/// Bytes a second between the nodes where a test must see a synchronisation under way.
const SLOW: u32 = 4 << 20;

/// Writes to all of `a`'s device, in pieces of 1 MiB, one number in each block.
fn fill(cluster: &Cluster, number: u64) {
    let mut client = crate::load::connect(&cluster.a.device("disk1")).unwrap();
    let size = client.size() / BLOCK as u64 * BLOCK as u64;
    let word = number.to_le_bytes();
    for offset in (0..size).step_by(1 << 20) {
        let length = (size - offset).min(1 << 20) as usize;
        let bytes: Vec<u8> = word.iter().copied().cycle().take(length).collect();
        client.write(offset, &bytes, false).unwrap();
    }
    client.flush().unwrap();
}

/// A pair whose secondary was away while all of the device was written, and now is back and slowly
/// being copied to.
fn synchronising(number: u64) -> Cluster {
    let cluster = Setup::new("fullsync").setting("exec HOOK").proxied().pair();
    cluster.b.ctl("role init disk1");
    cluster.a.until_degraded("disk1");
    fill(&cluster, number);
    cluster.to_b().throttle(Some(SLOW));
    cluster.b.ctl("role secondary disk1");
    cluster.a.until("disk1", "syncing", |worker| {
        let progress = worker.details.as_ref().and_then(|it| it.synchronisation);
        worker.condition == Condition::Syncing && progress.is_some_and(|it| it.done > 0)
    });
    cluster
}

#[test]
fn status_goes_from_degraded_over_syncing_to_complete() {
    let cluster = synchronising(1);
    let worker = cluster.a.worker("disk1").unwrap();
    let details = worker.details.unwrap();
    let progress = details.synchronisation.expect("under way");
    assert_eq!(progress.direction, Direction::ToPeer);
    assert!(progress.done < progress.total, "{progress:?}");
    assert_eq!(details.peer, PeerState::Inconsistent);
    assert!(worker.dirty > 0);
    let table = cluster.a.ctl("status disk1");
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("disk1\tsyncing  primary "), "{row}");
    assert!(row.ends_with('%'), "{row}");
    let list = cluster.a.ctl("list disk1");
    assert!(list.contains("  synchronisation: to the peer, "), "{list}");
    cluster.a.until_hook("syncstart disk1");

    cluster.to_b().throttle(None);
    cluster.a.until_complete("disk1");
    cluster.a.until_hook("syncdone disk1");
    cluster.assert_equal("disk1");
    let details = cluster.a.worker("disk1").unwrap().details.unwrap();
    assert_eq!(details.peer, PeerState::UpToDate);
    assert_eq!(details.synchronisation, None);
}

#[test]
fn a_secondary_that_was_away_gets_what_it_missed() {
    for mode in ["fullsync", "memsync", "async"] {
        let mut cluster = Setup::new(mode).pair();
        let load = cluster.a.load(21);
        cluster.progress(&load, 50);
        cluster.b.kill();
        cluster.a.until_degraded("disk1");
        cluster.progress(&load, 200);
        let details = cluster.a.worker("disk1").unwrap().details.unwrap();
        assert_eq!(details.peer, PeerState::Outdated);
        let list = cluster.a.ctl("list disk1");
        assert!(list.contains("  status: degraded\n"), "{list}");
        assert!(list.contains("  peer: outdated\n"), "{list}");
        cluster.b.start();
        cluster.b.ctl("role secondary disk1");
        cluster.progress(&load, 50);
        cluster.a.until_complete("disk1");
        let written = finish(load);
        cluster.a.until_complete("disk1");
        cluster.a.verify(&written.ledger);
        cluster.assert_equal("disk1");
    }
}

#[test]
fn a_newly_created_secondary_gets_everything() {
    let cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(22);
    cluster.progress(&load, 300);
    cluster.b.ctl("role init disk1");
    // A new disk: nothing of the old content is there.
    let component = File::create(cluster.b.component("disk1")).unwrap();
    component.set_len(cluster.setup.size).unwrap();
    cluster.create(&cluster.b);
    cluster.b.ctl("role secondary disk1");
    cluster.a.until_complete("disk1");
    cluster.progress(&load, 50);
    let written = finish(load);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    cluster.a.verify(&written.ledger);
}

#[test]
fn a_component_that_lacks_data_is_promoted_by_force_only() {
    let mut cluster = synchronising(2);
    cluster.a.kill();
    let left = cluster.b.metadata("disk1").record;
    assert!(left.lacks, "marked on its own disk: {left}");
    let refused = cluster.b.hastctl("role primary disk1");
    assert_eq!(refused.status.code(), Some(REFUSED), "{refused:?}");
    for part in [
        "hastctl: disk1: the component lacks data that the other node has",
        "--force",
    ] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    cluster.b.until_role("disk1", Role::Init);
    let dump = cluster.b.ctl("dump disk1");
    assert!(
        dump.contains("    record: lacks data of the other node; "),
        "{dump}"
    );

    cluster.b.ctl("role primary --force disk1");
    let details = cluster.b.worker("disk1").unwrap().details.unwrap();
    assert_eq!(
        details.local,
        LocalState::UpToDate,
        "it counts as current now"
    );
    let mut client = crate::load::connect(&cluster.b.device("disk1")).unwrap();
    // Any piece may have been the first to arrive; none is smaller.
    let arrived = (0..client.size())
        .step_by(256 << 10)
        .any(|offset| client.read(offset, 512).unwrap()[..8] == 2u64.to_le_bytes());
    assert!(arrived, "what was copied is served");
}

#[test]
fn an_interrupted_synchronisation_is_finished_later() {
    let mut cluster = synchronising(3);
    cluster.b.kill();
    cluster.a.until_hook("syncintr disk1");
    let left = cluster.b.metadata("disk1").record;
    assert!(left.lacks, "{left}");
    cluster.to_b().throttle(None);
    cluster.b.start();
    cluster.b.ctl("role secondary disk1");
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
}

#[test]
fn the_primary_dies_in_the_middle_and_goes_on() {
    let mut cluster = synchronising(4);
    cluster.a.kill();
    cluster.to_b().throttle(None);
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
}

/// The former primary is promoted again while only the other node has the current data: it is
/// copied from there, and a read in the meantime goes there.
#[test]
fn a_primary_that_is_behind_catches_up_from_its_secondary() {
    let mut cluster = Setup::new("fullsync").setting("exec HOOK").proxied().pair();
    let load = cluster.a.load(23);
    cluster.progress(&load, 50);
    cluster.a.kill();
    let written = finish(load);
    cluster.b.ctl("role primary disk1");
    let device = cluster.b.device("disk1");
    let load = crate::load::Load::start(&device, written.ledger, crate::load::Plan::new(24));
    cluster.progress(&load, 300);
    let written = finish(load);
    cluster.b.ctl("role secondary disk1");

    cluster.to_b().throttle(Some(SLOW));
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    cluster.a.until("disk1", "copying from the peer", |worker| {
        let progress = worker.details.as_ref().and_then(|it| it.synchronisation);
        progress.is_some_and(|progress| progress.direction == Direction::FromPeer)
    });
    let worker = cluster.a.worker("disk1").unwrap();
    assert_eq!(worker.details.unwrap().local, LocalState::Inconsistent);
    let meanwhile = cluster.a.metadata("disk1").record;
    assert!(meanwhile.lacks && meanwhile.at.is_some(), "{meanwhile}");
    cluster.a.verify(&written.ledger);
    cluster.to_b().throttle(None);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    cluster.a.verify(&written.ledger);
}
