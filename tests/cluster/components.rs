//! Components that are not what they should be: a clear message, an exit code, nothing
//! overwritten; and disks that fail while they are in use.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use hast::terms::Role;

use crate::cluster::{Cluster, Folder, Setup};
use crate::observe::finish;
use crate::support::run;

/// What hastctl exits with where the state of a resource forbids what was asked.
const REFUSED: i32 = 5;

/// Asks for the role primary, which must be refused with this sentence and leave the resource
/// in init and the component as it is.
#[track_caller]
fn assert_refused(cluster: &Cluster, sentence: &str) {
    let component = cluster.a.component("disk1");
    let before = fs::read(&component).ok();
    let run = cluster.a.hastctl("role primary disk1");
    assert_eq!(run.status.code(), Some(REFUSED), "{run:?}");
    let expected = format!(
        "hastctl: disk1: component '{}' {sentence}",
        component.display()
    );
    assert!(run.stderr.starts_with(&expected), "{run:?}");
    cluster.a.until_role("disk1", Role::Init);
    cluster.a.until_logged(sentence);
    assert!(fs::read(&component).ok() == before, "it was touched");
}

/// The exit codes are those of sysexits(3): hastd logs its worker's.
#[track_caller]
fn assert_exit_code(cluster: &Cluster, code: u8) {
    cluster.a.until_logged(&format!("exitcode={code})"));
}

#[test]
fn missing_or_unsuitable() {
    let cluster = Setup::new("fullsync").created();
    let component = cluster.a.component("disk1");
    fs::remove_file(&component).unwrap();
    assert_refused(
        &cluster,
        "does not exist; create it, or correct the resource's 'local' path",
    );
    assert_exit_code(&cluster, 66);
    fs::create_dir(&component).unwrap();
    assert_refused(&cluster, "is neither a disk device nor a regular file");
}

#[test]
fn never_created_or_damaged() {
    let cluster = Setup::new("fullsync").start();
    assert_refused(&cluster, "can not be used: not a HAST component");
    assert_exit_code(&cluster, 65);
    cluster.create(&cluster.a);
    let mut bytes = fs::read(cluster.a.component("disk1")).unwrap();
    bytes[..4096].fill(0x55);
    fs::write(cluster.a.component("disk1"), bytes).unwrap();
    assert_refused(&cluster, "can not be used: not a HAST component");
}

#[test]
fn cut_short() {
    let cluster = Setup::new("fullsync").created();
    let file = File::options()
        .write(true)
        .open(cluster.a.component("disk1"))
        .unwrap();
    file.set_len(cluster.setup.size / 2).unwrap();
    let (size, half) = (cluster.setup.size, cluster.setup.size / 2);
    assert_refused(
        &cluster,
        &format!("was made for {size} bytes and has {half} now"),
    );
    assert_exit_code(&cluster, 65);
}

#[test]
fn another_resources() {
    let mut setup = Setup::new("fullsync");
    setup.resources.push("disk2".into());
    let cluster = setup.created();
    fs::copy(cluster.a.component("disk2"), cluster.a.component("disk1")).unwrap();
    assert_refused(&cluster, "belongs to resource 'disk2' and not to 'disk1'");
    assert_exit_code(&cluster, 65);
}

#[test]
fn in_use() {
    let cluster = Setup::new("fullsync").created();
    let file = File::open(cluster.a.component("disk1")).unwrap();
    file.try_lock().unwrap();
    assert_refused(&cluster, "is in use by another process");
    drop(file);
    cluster.a.ctl("role primary disk1");
}

#[test]
fn of_another_size_than_the_peers() {
    let cluster = Setup::new("fullsync").start();
    let file = File::options()
        .write(true)
        .open(cluster.b.component("disk1"))
        .unwrap();
    file.set_len(2 * cluster.setup.size).unwrap();
    cluster.create(&cluster.a);
    cluster.create(&cluster.b);
    let before = fs::read(cluster.b.component("disk1")).unwrap();
    cluster.b.ctl("role secondary disk1");
    cluster.a.ctl("role primary disk1");
    cluster.a.until("disk1", "the reason given", |worker| {
        let details = worker.details.as_ref().and_then(|it| it.reason.as_ref());
        details.is_some_and(|reason| reason.contains("size"))
    });
    let load = cluster.a.load(61);
    cluster.progress(&load, 20);
    finish(load);
    cluster.a.until_degraded("disk1");
    let after = fs::read(cluster.b.component("disk1")).unwrap();
    assert!(before[4096..] == after[4096..], "its data was touched");
}

#[test]
fn another_data_set_on_the_secondary_is_left_alone() {
    let cluster = Setup::new("fullsync").created();
    // Both have been primary alone, without ever having met: two data sets.
    for node in [&cluster.a, &cluster.b] {
        node.ctl("role primary disk1");
        let load = node.load(62);
        cluster.progress(&load, 20);
        finish(load);
        node.ctl("role init disk1");
    }
    let before = cluster.b.data("disk1");
    cluster.b.ctl("role secondary disk1");
    cluster.a.ctl("role primary disk1");
    cluster.a.until_logged("Resource unique ID mismatch");
    cluster.a.until_degraded("disk1");
    assert!(cluster.b.data("disk1") == before, "overwritten");
}

#[test]
fn removed_while_in_use() {
    let cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(63);
    cluster.progress(&load, 50);
    fs::remove_file(cluster.a.component("disk1")).unwrap();
    cluster
        .a
        .until_logged("was removed or replaced while in use");
    cluster.progress(&load, 50);
    let written = finish(load);
    cluster.a.verify(&written.ledger);
    cluster.a.until("disk1", "it is said in status", |worker| {
        let reason = worker.details.as_ref().and_then(|it| it.reason.as_ref());
        reason.is_some_and(|reason| reason.contains("removed or replaced"))
    });
    // The other node has everything.
    cluster.a.ctl("role init disk1");
    cluster.b.ctl("role primary disk1");
    cluster.b.verify(&written.ledger);
}

/// A small file system in memory, mounted for as long as this lives.
struct SmallDisk(Folder);

impl SmallDisk {
    /// None where this user may not mount: said, and a failure where CI is true.
    fn mount(bytes: u64) -> Option<Self> {
        let folder = Folder::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
        let mounted = run(mount.arg(&folder.0));
        if mounted.status.success() {
            return Some(Self(folder));
        }
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let why = mounted.stderr.trim();
        let message = format!("SKIPPED {name}: it needs root, to mount a tmpfs ({why})");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        // Past the test harness's capture: a skip has to be seen.
        let _ = writeln!(std::io::stderr(), "{message}");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Busy until the last of the killed processes has gone.
        for _ in 0..100 {
            if run(Command::new("umount").arg(&self.0.0)).status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A pair where the component of one node is a sparse file on a file system half its size. The
/// nodes must go first.
fn pair_with_small_disk(of_primary: bool) -> Option<(SmallDisk, Cluster)> {
    let cluster = Setup::new("fullsync").start();
    let small = SmallDisk::mount(cluster.setup.size / 2)?;
    let node = if of_primary { &cluster.a } else { &cluster.b };
    let real = small.0.0.join("disk1");
    File::create(&real)
        .unwrap()
        .set_len(cluster.setup.size)
        .unwrap();
    fs::remove_file(node.component("disk1")).unwrap();
    symlink(&real, node.component("disk1")).unwrap();
    for node in [&cluster.a, &cluster.b] {
        cluster.create(node);
    }
    cluster.b.ctl("role secondary disk1");
    cluster.a.ctl("role primary disk1");
    cluster.a.until_complete("disk1");
    Some((small, cluster))
}

#[test]
fn a_full_disk_of_the_primary_loses_nothing() {
    let Some((_small, mut cluster)) = pair_with_small_disk(true) else {
        return;
    };
    let load = cluster.a.load(64);
    cluster.a.until("disk1", "write errors", |worker| {
        worker.statistics.write_error > 0
    });
    cluster.progress(&load, 200);
    let written = finish(load);
    assert_eq!(written.failed, 0, "the other node had them");
    cluster.a.verify(&written.ledger);
    cluster
        .a
        .until_logged("free space on the file system that holds it");
    let list = cluster.a.ctl("list disk1");
    assert!(!list.contains("local errors: read: 0, write: 0,"), "{list}");
    assert!(!list.contains("status: complete"), "{list}");
    cluster.a.kill();
    cluster.b.ctl("role primary disk1");
    cluster.b.verify(&written.ledger);
}

#[test]
fn a_full_disk_of_the_secondary_loses_nothing() {
    let Some((_small, cluster)) = pair_with_small_disk(false) else {
        return;
    };
    let load = cluster.a.load(65);
    cluster
        .b
        .until_logged("free space on the file system that holds it");
    cluster.progress(&load, 200);
    let written = finish(load);
    cluster.a.verify(&written.ledger);
    let worker = cluster.a.worker("disk1").unwrap();
    assert_ne!(
        worker.condition,
        hast::control::Condition::Complete,
        "{worker:?}"
    );
}
