//! `hastctl create` and `hastctl dump` on files.

use crate::{Node, text_vector, vector};
use hast::disk::{Access, Component};
use hast::layout::{BASE_SIZE, Generation, METADATA_SIZE, Metadata, Point, Record};
use std::os::unix::fs::FileExt;
use std::path::Path;

const EX_DATAERR: i32 = 65;
const EX_NOINPUT: i32 = 66;
const EX_TEMPFAIL: i32 = 75;
const SIZE: u64 = 16 << 20;

/// One half of a captured dump: `a` comes first, then `b`. Ours says also that base's counters speak, where
/// the component was used.
fn captured_dump(moment: &str, half: usize) -> String {
    let both = text_vector(&format!("text/{moment}.dump.txt"));
    let second = both.rfind("resource:").unwrap();
    let captured = [&both[..second], &both[second..]][half];
    let decide = if captured.contains("    resuid: 0\n") {
        ""
    } else {
        "; localcnt and remotecnt decide until the next common point"
    };
    format!("{captured}    record: complete; no common point with the other node yet{decide}\n")
}

fn metadata(path: &Path) -> Metadata {
    let bytes = std::fs::read(path).unwrap();
    Metadata::decode(&bytes[..METADATA_SIZE]).unwrap()
}

fn put_metadata(path: &Path, metadata: &Metadata) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&metadata.encode().unwrap(), 0).unwrap();
}

#[test]
fn create_makes_what_bases_create_makes() {
    let node = Node::new([SIZE, SIZE]);
    std::fs::write(node.path("disk1"), vec![0xa5; SIZE as usize]).unwrap();
    let run = node.hastctl(&["create", "disk1"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (0, "", "")
    );

    let ours = std::fs::read(node.path("disk1")).unwrap();
    let bases = vector("disk/created.a.bin");
    assert_eq!(ours.len() as u64, SIZE);
    assert_eq!(
        metadata(&node.path("disk1")),
        Metadata::decode(&bases[..METADATA_SIZE]).unwrap()
    );
    assert_eq!(
        ours[METADATA_SIZE..4608],
        bases[METADATA_SIZE..4608],
        "the map"
    );
    assert!(
        ours[4608..].iter().all(|byte| *byte == 0xa5),
        "the data stays"
    );
    assert_eq!(
        node.hastctl(&["dump", "disk1"]).stdout,
        captured_dump("created", 0)
    );
}

#[test]
fn dump_prints_captured_components_as_base_does() {
    for moment in [
        "created",
        "fullsync-virgin",
        "memsync",
        "async",
        "degraded",
        "resynced",
        "b-ahead",
        "caught-up",
        "split-brain",
        "resuid-mismatch",
    ] {
        for (half, name) in ["a", "b"].into_iter().enumerate() {
            let image = format!("disk/{moment}.{name}.bin");
            let node = Node::new([0, 0]);
            std::fs::write(node.path("disk1"), vector(&image)).unwrap();
            let run = node.hastctl(&["dump", "disk1"]);
            assert_eq!(run.code, 0, "{image}: {}", run.stderr);
            assert_eq!(run.stdout, captured_dump(moment, half), "{image}");
        }
    }
}

#[test]
fn create_takes_sizes() {
    let node = Node::new([SIZE, SIZE]);
    let run = node.hastctl(&[
        "create", "-e", "64k", "-k", "1k", "-m", "8M", "disk1", "disk2",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for name in ["disk1", "disk2"] {
        let made = metadata(&node.path(name));
        assert_eq!((made.extentsize, made.keepdirty), (65536, 1024));
        assert_eq!(made.offset + made.datasize, 8 << 20);
    }
    let all = node.hastctl(&["dump"]);
    assert!(all.stdout.contains("resource: disk1\n") && all.stdout.contains("resource: disk2\n"));
    assert_eq!(all.stdout, node.hastctl(&["dump", "all"]).stdout);
    assert_eq!(
        node.hastctl(&["create", "-e", "0", "-k", "0", "-m", "0", "disk1"])
            .code,
        0
    );
    assert_eq!(metadata(&node.path("disk1")).extentsize, 2 << 20);
}

#[test]
fn what_can_not_be_created_is_refused() {
    for (arguments, code, part) in [
        (
            &["create", "disk2"] as &[&str],
            EX_NOINPUT,
            "disk2' does not exist",
        ),
        (
            &["create", "nosuch"],
            EX_DATAERR,
            "no such resource 'nosuch'",
        ),
        (
            &["create", "-m", "17m", "disk1"],
            EX_DATAERR,
            "it has 16777216 bytes, fewer than the 17825792 asked for",
        ),
        (&["create", "-m", "4k", "disk1"], EX_DATAERR, "too small"),
        (
            &["create", "-m", "1000000", "disk1"],
            EX_DATAERR,
            "not a multiple of the sector size",
        ),
        (
            &["create", "-e", "256", "disk1"],
            EX_DATAERR,
            "extent size 256",
        ),
        (
            &["create", "-e", "3000", "disk1"],
            EX_DATAERR,
            "extent size 3000",
        ),
    ] {
        let node = Node::new([SIZE, 0]);
        let run = node.hastctl(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
        let untouched = std::fs::read(node.path("disk1")).unwrap();
        assert!(untouched.iter().all(|byte| *byte == 0), "{arguments:?}");
    }
}

#[test]
fn one_failure_does_not_stop_the_others_and_the_first_decides_the_code() {
    let node = Node::new([SIZE, 0]);
    let run = node.hastctl(&["create", "disk2", "nosuch", "disk1"]);
    assert_eq!(run.code, EX_NOINPUT);
    assert_eq!(run.stderr.lines().count(), 2);
    let run = node.hastctl(&["dump", "nosuch", "disk2", "disk1"]);
    assert_eq!(run.code, EX_DATAERR);
    assert!(run.stdout.starts_with("resource: disk1\n"));
}

#[test]
fn a_component_in_use_is_left_alone() {
    let node = Node::new([SIZE, SIZE]);
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    let before = std::fs::read(node.path("disk1")).unwrap();
    let held = Component::open(&node.path("disk1"), Access::Exclusive).unwrap();
    let run = node.hastctl(&["create", "-e", "64k", "disk1"]);
    assert_eq!(run.code, EX_TEMPFAIL, "{}", run.stderr);
    assert!(run.stderr.contains("is in use"), "{}", run.stderr);
    assert_eq!(std::fs::read(node.path("disk1")).unwrap(), before);
    assert_eq!(
        node.hastctl(&["dump", "disk1"]).code,
        0,
        "reading is always allowed"
    );
    drop(held);
    assert_eq!(node.hastctl(&["create", "-e", "64k", "disk1"]).code, 0);
}

#[test]
fn replacing_a_used_component_is_said() {
    let node = Node::new([SIZE, SIZE]);
    let path = node.path("disk1");
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    assert_eq!(
        node.hastctl(&["create", "disk1"]).stderr,
        "",
        "nothing was in it"
    );
    let used = Metadata {
        resuid: 77,
        localcnt: 3,
        ..metadata(&path)
    };
    put_metadata(&path, &used);
    let run = node.hastctl(&["create", "disk1"]);
    assert_eq!(run.code, 0);
    assert!(
        run.stderr.contains("replacing the metadata of resource 'disk1' (resuid 77, localcnt 3, remotecnt 0, last role init)"),
        "{}",
        run.stderr
    );
    assert_eq!(metadata(&path).resuid, 0);
}

#[test]
fn the_component_of_another_resource_needs_force() {
    let node = Node::new([SIZE, SIZE]);
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    std::fs::copy(node.path("disk1"), node.path("disk2")).unwrap();
    for command in ["create", "dump"] {
        let run = node.hastctl(&[command, "disk2"]);
        assert_eq!(run.code, EX_DATAERR, "{command}");
        assert!(
            run.stderr.contains("belongs to the resource 'disk1'"),
            "{}",
            run.stderr
        );
    }
    assert_eq!(metadata(&node.path("disk2")).resource, "disk1");
    let run = node.hastctl(&["create", "--force", "disk2"]);
    assert_eq!(run.code, 0);
    assert!(
        run.stderr
            .contains("replacing the metadata of resource 'disk1'"),
        "{}",
        run.stderr
    );
    assert_eq!(metadata(&node.path("disk2")).resource, "disk2");
}

#[test]
fn dump_says_what_is_not_hasts() {
    let node = Node::new([SIZE, 100]);
    let run = node.hastctl(&["dump", "disk1"]);
    assert_eq!(run.code, EX_DATAERR);
    assert!(
        run.stderr.contains("not a HAST component"),
        "{}",
        run.stderr
    );
    assert_ne!(
        node.hastctl(&["dump", "disk2"]).code,
        0,
        "too short for metadata"
    );
}

/// Stores this record as a worker does.
fn put_record(path: &Path, record: &Record) {
    let used = Metadata {
        resuid: 77,
        record: record.clone(),
        ..metadata(path)
    };
    let component = Component::open(path, Access::Exclusive).unwrap();
    component.write_metadata(&used).unwrap();
}

fn lacking() -> Record {
    let generation = Generation::new(0xa5).unwrap();
    Record {
        at: Some(Point {
            generation,
            number: 7,
        }),
        lacks: true,
        ..Record::default()
    }
}

#[test]
fn dump_says_what_a_component_lacks() {
    let node = Node::new([SIZE, 0]);
    let path = node.path("disk1");
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    let own = Record {
        own: Generation::new(0xb6),
        lacks: false,
        ..lacking()
    };
    for (record, line) in [
        (
            lacking(),
            "    record: lacks data of the other node; last common point 00000000000000a5/7\n",
        ),
        (
            own,
            "    record: complete; last common point 00000000000000a5/7; went on alone as 00000000000000b6\n",
        ),
    ] {
        put_record(&path, &record);
        let run = node.hastctl(&["dump", "disk1"]);
        assert!(
            run.stdout.ends_with(&format!("    prevrole: init\n{line}")),
            "{}",
            run.stdout
        );
    }
}

/// What dump says behind the record, and check on stderr.
fn noted(node: &Node) -> (String, String) {
    let run = node.hastctl(&["dump", "disk1"]);
    let note = run.stdout.split_once("    record: ").unwrap().1.to_owned();
    (note, node.hastctl(&["check"]).stderr)
}

#[test]
fn a_component_that_base_has_used_since_is_said_to_be_one() {
    let node = Node::new([SIZE, 0]);
    let path = node.path("disk1");
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    // Base writes the whole block, zeros where our slots are; others may leave what they do not know of.
    for length in [METADATA_SIZE, BASE_SIZE] {
        put_record(&path, &lacking());
        let mut used = metadata(&path);
        used.localcnt += 1;
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&used.encode().unwrap()[..length], 0)
            .unwrap();
        let (note, warnings) = noted(&node);
        assert!(
            note.starts_with(
                "complete; no common point with the other node yet; localcnt and remotecnt decide"
            ),
            "{note}"
        );
        let lost = length == METADATA_SIZE;
        assert_eq!(
            note.contains("    note: the component was used by another program (base's hastd?)"),
            !lost,
            "with no slot left nothing tells: {note}"
        );
        assert!(!warnings.contains("disk1:"), "no harm: {warnings}");
    }
}

#[test]
fn a_component_whose_record_is_damaged_is_said_to_be_one() {
    let node = Node::new([SIZE, 0]);
    let path = node.path("disk1");
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    put_record(&path, &Record::default());
    put_record(&path, &Record::default());
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 1024], 3072).unwrap();
    let (note, warnings) = noted(&node);
    let damaged = "has lost its record of who has what (both slots of its metadata are damaged)";
    assert!(
        note.starts_with("lacks data of the other node; no common point"),
        "{note}"
    );
    let line = format!("    note: the component {damaged}");
    assert!(note.contains(&line), "{note}");
    let line = format!(
        "hastctl: warning: disk1: component '{}' {damaged}",
        path.display()
    );
    assert!(warnings.contains(&line), "{warnings}");
}
