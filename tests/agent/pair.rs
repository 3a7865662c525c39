//! Two nodes, each with hastd and an agent.

use std::fs;

use crate::cluster::{Cluster, Setup};
use crate::member::Member;

/// Two nodes whose group is `storage`, of two resources.
#[derive(Debug)]
pub struct Pair {
    // Before the cluster: its folder goes last.
    pub a: Member,
    pub b: Member,
    pub cluster: Cluster,
}

impl Pair {
    /// Both hastds and agents run and both nodes are backup; `group` is added to the group's table on both.
    pub fn start(group: &str) -> Self {
        Self::start_with("", group)
    }

    fn start_with(failover: &str, group: &str) -> Self {
        let mut setup = Setup::new("fullsync");
        setup.resources = vec!["disk1".into(), "disk2".into()];
        let cluster = setup.created();
        let root = cluster.path("");
        let mut pair = Self {
            a: Member::new("nodea", &root, failover, group),
            b: Member::new("nodeb", &root, failover, group),
            cluster,
        };
        for (one, other) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
            let folder = other.folder.to_str().unwrap();
            fs::write(one.folder.join("other"), folder).unwrap();
        }
        pair.a.start();
        pair.b.start();
        pair.a.until("backup");
        pair.b.until("backup");
        pair.forget_calls();
        pair
    }

    /// As [`Self::start`], with `a` master by CARP's word, and both copies complete.
    pub fn with_master(group: &str) -> Self {
        Self::with_master_and("", group)
    }

    /// The same, with more in the table `failover`.
    pub fn with_master_and(failover: &str, group: &str) -> Self {
        let pair = Self::start_with(failover, group);
        pair.a.carp("MASTER");
        pair.a.until("master");
        for resource in &pair.cluster.setup.resources {
            pair.cluster.a.until_complete(resource);
        }
        pair.a.until_complete();
        pair.b.until_fresh();
        pair.forget_calls();
        pair
    }

    /// From now on the address is at the other node where one node gives it away.
    pub fn let_the_address_move(&self) {
        fs::write(self.cluster.path("address-moves"), "").unwrap();
    }

    pub fn forget_calls(&self) {
        self.a.changes();
        self.b.changes();
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let twice = fs::read_to_string(self.cluster.path("twice")).unwrap_or_default();
        if !std::thread::panicking() {
            assert_eq!(twice, "", "a pool was imported on both nodes");
        }
    }
}
