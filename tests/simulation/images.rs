//! Components that are not what they were: put back from an older image, or replaced by a new one. Only
//! while no worker runs on the node: its power was cut.
//!
//! What a judge expects afterwards is in `fate` (`put_back`, `recreated`).

use std::collections::BTreeSet;

use crate::dialect;
use crate::disk::Disk;
use crate::oracle::Apart;
use crate::view::{Moment, View};
use crate::world::World;

/// What a component was at one moment, on its medium.
#[derive(Debug, Clone)]
pub struct Image {
    disk: Disk,
    fresh: bool,
    /// When it was taken.
    pub taken: Moment,
    /// What the node was bound to then.
    pub views: Vec<View>,
    pub apart: Apart,
    pub alone: BTreeSet<usize>,
}

impl World {
    /// A snapshot of a component is taken.
    pub fn take_image(&mut self, node: usize) {
        self.note(|| format!("node {node}: an image is taken"));
        let this = &mut self.nodes[node];
        this.image = Some(Box::new(Image {
            disk: this.disk.image(),
            fresh: this.fresh,
            taken: self.oracle.step(),
            views: self.oracle.views[node].clone(),
            apart: self.oracle.apart[node],
            alone: self.oracle.alone[node].clone(),
        }));
    }

    /// A component is put back as it was.
    pub fn put_back(&mut self, node: usize) {
        let Some(image) = self.nodes[node].image.clone() else {
            return self.take_image(node);
        };
        self.cut_power(node);
        self.note(|| format!("node {node}: an older image is put back"));
        self.nodes[node].disk = image.disk.clone();
        self.nodes[node].fresh = image.fresh;
        let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
        self.oracle.put_back(node, &image, disks);
    }

    /// A component is replaced by a new one.
    pub fn replace(&mut self, node: usize) {
        // Of two new components none is right: the other has to be part of a pair.
        let other = &self.nodes[1 - node];
        if other.fresh || dialect::is_nearly_new(other.disk.metadata()) {
            return;
        }
        self.cut_power(node);
        self.note(|| format!("node {node}: the component is replaced by a new one"));
        self.nodes[node].recreate(true);
        self.nodes[node].image = None;
        self.oracle.recreated(node, true);
        let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
        self.oracle.replaced(node, disks);
    }
}
