//! A device whose process is gone, and that nobody wants to serve.

use hast::provider::gate::{Busy, ReleaseError, orphan};

use crate::backend::Memory;
use crate::model::Model;
use crate::{MAX_TRANSFER, NAME, SIZE, Served, open};

/// A kernel with a device that was left in place.
fn left() -> Model {
    let model = Model::new(MAX_TRANSFER);
    let gate = open(model.clone(), Memory::new(SIZE as usize)).unwrap();
    model.tasted();
    gate.leave();
    drop(gate);
    assert_eq!(model.units().len(), 1);
    model
}

#[test]
fn what_is_left_is_destroyed() {
    let model = left();
    assert_eq!(orphan::remove(&model, "other", false), Ok(false));
    assert_eq!(orphan::remove(&model, "disk1", false), Ok(true));
    assert_eq!(model.units(), []);
    assert_eq!(orphan::remove(&model, "disk1", false), Ok(false));
}

#[test]
fn unless_it_is_open() {
    let model = left();
    model.add_mount("/dev/hast/disk1", "/mnt");
    let mounted = model.open_as(NAME, "VFS", "ffs.hast/disk1").unwrap();
    let Err(ReleaseError::Busy(busy)) = orphan::remove(&model, "disk1", false) else {
        panic!("it is open");
    };
    assert!(busy.to_string().contains("mounted on /mnt"), "{busy}");
    assert_eq!(Busy::of(&model, NAME.into()), busy);
    assert_eq!(model.units().len(), 1);
    assert_eq!(orphan::remove(&model, "disk1", true), Ok(true));
    drop(mounted);
}

#[test]
fn who_waits_for_one_is_seen() {
    let model = left();
    assert!(!orphan::is_open(&model, "disk1"), "nobody");
    assert!(!orphan::is_open(&model, "other"), "there is none");
    let mounted = model.open_as(NAME, "VFS", "ffs.hast/disk1").unwrap();
    assert!(orphan::is_open(&model, "disk1"));
    drop(mounted);
    assert!(!orphan::is_open(&model, "disk1"), "it is closed");

    let served = Served::new(Memory::new(SIZE as usize));
    let mounted = served.model.open_as(NAME, "VFS", "ffs.hast/disk1").unwrap();
    assert!(!orphan::is_open(&served.model, "disk1"), "nobody waits");
    drop(mounted);
}

#[test]
fn one_that_is_served_is_left_alone() {
    let served = Served::new(Memory::new(SIZE as usize));
    assert_eq!(orphan::remove(&served.model, "disk1", true), Ok(false));
    served.client().read(0, 4096).unwrap();
}

#[test]
fn a_destroyed_device_is_open_until_the_last_of_its_users_has_closed_it() {
    let model = &Model::new(MAX_TRANSFER);
    let gate = open(model.clone(), Memory::new(SIZE as usize)).unwrap();
    model.tasted();
    assert!(!orphan::has_holders(model, "disk1"));
    assert!(!orphan::has_holders(model, "other"), "there is none");
    let pool = model.open_as(NAME, "ZFS::VDEV", "zfs::vdev").unwrap();
    assert!(orphan::has_holders(model, "disk1"), "though it is served");
    assert_eq!(gate.is_open(), Some(true));
    model.set_withering(0);
    assert!(orphan::has_holders(model, "disk1"), "it withers only");
    drop(pool);
    assert!(!orphan::has_holders(model, "disk1"));

    model.set_blind(true);
    assert!(orphan::has_holders(model, "disk1"), "nobody knows");
    assert_eq!(gate.is_open(), None);
}
