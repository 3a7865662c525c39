//! An older image of a component is put back, as from a snapshot or a backup: told by the points that both
//! nodes made since, brought up by copying everything, and never taken for the newer one.

use std::fs;
use std::path::PathBuf;

use crate::cluster::{Cluster, Setup};
use crate::load::Written;
use crate::node::Node;
use crate::observe::finish;

/// Writes to the device of `a`, or of the node that is primary, with something on both nodes before.
fn written_pair(mode: &str, seed: u64) -> (Cluster, Written) {
    let cluster = Setup::new(mode).pair();
    let load = cluster.a.load(seed);
    cluster.progress(&load, 50);
    let written = finish(load);
    cluster.a.until_complete("disk1");
    cluster.until_at_one_point("disk1");
    (cluster, written)
}

/// Writes on where `written` ended, and makes the point that every orderly end of a primary makes: nothing of
/// it is marked in either map then.
fn more_and_a_point(cluster: &Cluster, written: Written, seed: u64) -> Written {
    let plan = crate::load::Plan::new(seed);
    let load = crate::load::Load::start(&cluster.a.device("disk1"), written.ledger, plan);
    cluster.progress(&load, 200);
    let written = finish(load);
    cluster.a.until_complete("disk1");
    let before = cluster.a.metadata("disk1").record.at;
    cluster.a.ctl("role secondary disk1");
    cluster.until_at_one_point("disk1");
    assert_ne!(
        cluster.a.metadata("disk1").record.at,
        before,
        "a point was made"
    );
    cluster.a.ctl("role primary disk1");
    cluster.a.until_complete("disk1");
    written
}

fn image(cluster: &Cluster, node: &Node) -> PathBuf {
    let image = cluster.path("image");
    fs::copy(node.component("disk1"), &image).unwrap();
    image
}

#[test]
fn an_older_secondary_gets_everything_and_not_only_what_is_marked() {
    let (mut cluster, written) = written_pair("fullsync", 81);
    let image = image(&cluster, &cluster.b);
    let written = more_and_a_point(&cluster, written, 82);
    cluster.b.kill();
    cluster.a.until_degraded("disk1");
    fs::copy(&image, cluster.b.component("disk1")).unwrap();
    let differing = cluster.a.data("disk1") != cluster.b.data("disk1");
    assert!(differing, "the image is older");
    cluster.b.start();
    cluster.b.ctl("role secondary disk1");
    cluster.a.until_logged(
        "an older image of the other node's component was put back: all of it is copied",
    );
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    cluster.a.verify(&written.ledger);
}

#[test]
fn an_older_primary_is_not_the_source_over_newer_data() {
    let (mut cluster, written) = written_pair("fullsync", 83);
    let image = image(&cluster, &cluster.a);
    let written = more_and_a_point(&cluster, written, 84);
    cluster.a.kill();
    fs::copy(&image, cluster.a.component("disk1")).unwrap();
    let newer = cluster.b.data("disk1");
    assert!(cluster.a.data("disk1") != newer, "the image is older");
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    cluster
        .a
        .until_logged("an older image of this node's component was put back: all of it is copied");
    cluster.a.until_complete("disk1");
    assert!(
        cluster.b.data("disk1") == newer,
        "the newer data was touched"
    );
    cluster.assert_equal("disk1");
    cluster.a.verify(&written.ledger);
}

/// What was written on top of an older image is a truth of its own.
#[test]
fn an_older_primary_that_went_on_alone_is_split_brain() {
    let (mut cluster, written) = written_pair("fullsync", 85);
    let image = image(&cluster, &cluster.a);
    more_and_a_point(&cluster, written, 86);
    cluster.a.kill();
    cluster.b.kill();
    fs::copy(&image, cluster.a.component("disk1")).unwrap();
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    let mut client = crate::load::connect(&cluster.a.device("disk1")).unwrap();
    client.write(0, &[7; 4096], true).unwrap();
    client.disconnect().unwrap();
    let before = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    cluster.b.start();
    cluster.b.ctl("role secondary disk1");
    for node in [&cluster.a, &cluster.b] {
        node.until_logged("split brain with");
    }
    let after = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    assert!(before == after, "something was overwritten");
}
