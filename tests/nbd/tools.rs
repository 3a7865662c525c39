//! Clients nobody here wrote: libnbd's nbdinfo and nbdcopy, QEMU's qemu-img and qemu-io,
//! fio's nbd engine, and a file system made in an image that went through the server.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hast::provider::{self, Backend};
use nix::errno::Errno;

use super::backend::{Failing, Memory, Shuffled};
use super::support::{eventually, run, skip, tool};
use super::{Served, pattern};

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;

fn shuffled() -> (Arc<Memory>, Served) {
    let memory = Memory::new(SIZE);
    let served = Served::new(SIZE as u64, Shuffled::new(memory.clone()));
    (memory, served)
}

/// A file with data, and a hole that copying programs like to skip.
fn image(path: &Path, seed: u64) -> Vec<u8> {
    let mut bytes = pattern(SIZE, seed);
    bytes[SIZE / 4..SIZE / 2].fill(0);
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn nbdinfo_shows_the_export() {
    let Some(nbdinfo) = tool("nbdinfo", "libnbd-bin") else {
        return;
    };
    let (_, served) = shuffled();
    let size = run(Command::new(&nbdinfo).args(["--size", &served.uri()])).success();
    assert_eq!(size.trim(), SIZE.to_string());
    let text = run(Command::new(&nbdinfo).arg(served.uri())).success();
    for line in [
        "protocol: newstyle-fixed without TLS, using structured packets",
        "export=\"disk1\":",
        "can_flush: true",
        "can_fua: true",
        "can_multi_conn: true",
        "can_trim: true",
        "can_zero: true",
        "can_fast_zero: false",
        "can_cache: false",
        "is_read_only: false",
        "block_size_minimum: 512",
        "block_size_preferred: 4096",
        "block_size_maximum: 33554432",
    ] {
        assert!(text.contains(line), "no '{line}' in:\n{text}");
    }
    let list = run(Command::new(&nbdinfo).args(["--list", &served.uri()])).success();
    assert!(list.contains("export=\"disk1\":"), "{list}");
    let other = served.uri().replace("disk1", "disk9");
    let refusal = run(Command::new(&nbdinfo).arg(other)).failure();
    // libnbd's words for "unknown export", the one refusal that means this.
    assert!(
        refusal.contains("No such file or directory for export: disk9"),
        "{refusal}"
    );
}

#[test]
fn nbdcopy_copies_both_ways_with_many_requests_and_connections() {
    let Some(nbdcopy) = tool("nbdcopy", "libnbd-bin") else {
        return;
    };
    let (memory, served) = shuffled();
    let (source, back) = (served.path("source"), served.path("back"));
    let bytes = image(&source, 1);
    let copy = || {
        let mut command = Command::new(&nbdcopy);
        command.args(["--requests=64", "--connections=4", "--flush"]);
        command
    };
    run(copy().arg(&source).arg(served.uri())).success();
    assert!(
        memory.bytes(0, SIZE) == bytes,
        "the device differs from the file"
    );
    assert!(memory.seen(provider::Command::Flush) > 0);
    run(copy().arg(served.uri()).arg(&back)).success();
    assert!(
        fs::read(&back).unwrap() == bytes,
        "the copy differs from the device"
    );
    // In its largest requests, which take several of the backend's.
    run(copy()
        .arg("--request-size=33554432")
        .arg(&source)
        .arg(served.uri()))
    .success();
    run(copy()
        .arg("--request-size=33554432")
        .arg(served.uri())
        .arg(&back))
    .success();
    assert!(fs::read(&back).unwrap() == bytes, "the second copy differs");
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

#[test]
fn qemu_img_converts_and_compares() {
    let Some(qemu_img) = tool("qemu-img", "qemu-utils") else {
        return;
    };
    let (_, served) = shuffled();
    let (source, back) = (served.path("source"), served.path("back"));
    let bytes = image(&source, 2);
    let qemu = |arguments: &[&str]| run(Command::new(&qemu_img).args(arguments));
    let (source, back, uri) = (
        source.to_str().unwrap(),
        back.to_str().unwrap(),
        &served.uri(),
    );
    let info = qemu(&["info", "-f", "raw", uri]).success();
    assert!(
        info.contains("virtual size: 64 MiB (67108864 bytes)"),
        "{info}"
    );
    let raw = ["-f", "raw", "-O", "raw"];
    qemu(
        &[
            &["convert", "-n", "-W", "-m", "16"],
            &raw[..],
            &[source, uri],
        ]
        .concat(),
    )
    .success();
    qemu(&["compare", "-f", "raw", "-F", "raw", source, uri]).success();
    qemu(&[&["convert"], &raw[..], &[uri, back]].concat()).success();
    assert!(
        fs::read(back).unwrap() == bytes,
        "the copy differs from the device"
    );
    let mut client = served.client();
    client.write(SIZE as u64 / 8, &[0xee; 512], false).unwrap();
    let differs = qemu(&["compare", "-f", "raw", "-F", "raw", source, uri]).failure();
    assert!(
        differs.contains(&format!("Content mismatch at offset {}", SIZE / 8)),
        "{differs}"
    );
}

#[test]
fn qemu_io_reads_what_it_wrote_discarded_and_zeroed() {
    let Some(qemu_io) = tool("qemu-io", "qemu-utils") else {
        return;
    };
    let (memory, served) = shuffled();
    let mut command = Command::new(qemu_io);
    command.args(["-f", "raw", "-d", "unmap", "-t", "none"]);
    for script in [
        "write -P 0x5a 0 4k",
        "write -P 0xa5 4k 3M",
        "read -P 0x5a 0 4k",
        "read -P 0xa5 4k 3M",
        "write -z 1M 64k",
        "read -P 0 1M 64k",
        "read -P 0xa5 1088k 4k",
        "discard 2M 512k",
        "read -P 0 2M 512k",
        "aio_write -P 0x11 8M 32M",
        "aio_write -P 0x22 40M 1M",
        "aio_flush",
        "read -P 0x11 8M 32M",
        "write -f -P 0x33 512 512",
        "read -P 0x33 512 512",
        "flush",
    ] {
        command.args(["-c", script]);
    }
    let said = run(command.arg(served.uri())).success();
    assert!(!said.contains("verification failed"), "{said}");
    assert_eq!(memory.bytes(40 * MIB, MIB), vec![0x22; MIB]);
    for command in [
        provider::Command::Zeroes,
        provider::Command::Delete,
        provider::Command::Flush,
    ] {
        assert!(memory.seen(command) > 0, "{command:?} never came");
    }
}

#[test]
fn qemu_io_sees_errors_of_the_device() {
    let Some(qemu_io) = tool("qemu-io", "qemu-utils") else {
        return;
    };
    let failures = HashMap::from([
        ((provider::Command::Read, 8192), Errno::EIO),
        // The second piece of a long read.
        ((provider::Command::Read, 5 << 20), Errno::EIO),
        ((provider::Command::Write, 4096), Errno::ENOSPC),
    ]);
    let memory = Memory::new(SIZE);
    let served = Served::new(
        SIZE as u64,
        Arc::new(Failing {
            memory: memory.clone(),
            failures,
        }),
    );
    let mut command = Command::new(qemu_io);
    command.args(["-f", "raw"]);
    for script in [
        "read 8k 4k",
        "read 4M 4M",
        "write 4k 512",
        "write -P 9 16k 4k",
        "read -P 9 16k 4k",
    ] {
        command.args(["-c", script]);
    }
    let outcome = run(command.arg(served.uri()));
    let said = outcome.stdout + &outcome.stderr;
    assert_eq!(
        said.matches("read failed: Input/output error").count(),
        2,
        "{said}"
    );
    assert_eq!(
        said.matches("write failed: No space left on device")
            .count(),
        1,
        "{said}"
    );
    assert!(
        said.contains("read 4096/4096 bytes at offset 16384"),
        "{said}"
    );
    assert!(!said.contains("verification failed"), "{said}");
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

fn fio(backend: Arc<dyn Backend>, arguments: &[&str]) {
    let Some(fio) = tool("fio", "fio") else {
        return;
    };
    let engines = run(Command::new(&fio).arg("--enghelp")).success();
    if !engines.lines().any(|line| line.trim() == "nbd") {
        skip("this fio has no nbd engine; install a package of fio built with libnbd");
        return;
    }
    let served = Served::new(SIZE as u64, backend);
    let mut command = Command::new(fio);
    command.current_dir(served.folder.path());
    command.args([
        "--name=verify",
        "--ioengine=nbd",
        "--randseed=7",
        "--verify_fatal=1",
    ]);
    command
        .arg(format!("--uri={}", served.uri()))
        .args(arguments);
    let said = run(&mut command).success();
    assert!(said.contains("err= 0"), "{said}");
}

#[test]
fn fio_verifies_random_reads_and_writes() {
    fio(
        Shuffled::new(Memory::new(SIZE)),
        &[
            "--rw=randrw",
            "--verify=crc32c",
            "--iodepth=32",
            "--bsrange=512-128k",
            "--blockalign=512",
            "--size=64m",
        ],
    );
}

#[test]
fn fio_verifies_through_a_small_budget() {
    fio(
        Shuffled::new(Memory::with_budget(SIZE, 2 * MIB)),
        &[
            "--rw=randwrite",
            "--verify=crc32c",
            "--iodepth=32",
            "--bs=256k",
            "--size=64m",
        ],
    );
}

#[test]
fn a_file_system_that_went_through_is_whole() {
    let (Some(mkfs), Some(e2fsck), Some(nbdcopy)) = (
        tool("mkfs.ext4", "e2fsprogs"),
        tool("e2fsck", "e2fsprogs"),
        tool("nbdcopy", "libnbd-bin"),
    ) else {
        return;
    };
    let (_, served) = shuffled();
    let (source, back) = (served.path("source"), served.path("back"));
    fs::File::create(&source)
        .unwrap()
        .set_len(SIZE as u64)
        .unwrap();
    let files = served.path("files");
    fs::create_dir(&files).unwrap();
    for n in 0..50 {
        fs::write(files.join(n.to_string()), pattern(n as usize * 5000, n)).unwrap();
    }
    run(Command::new(mkfs)
        .args(["-q", "-F", "-d"])
        .arg(&files)
        .arg(&source))
    .success();
    run(Command::new(&nbdcopy).arg(&source).arg(served.uri())).success();
    run(Command::new(&nbdcopy).arg(served.uri()).arg(&back)).success();
    run(Command::new(e2fsck).args(["-f", "-n"]).arg(&back)).success();
    assert!(
        fs::read(&source).unwrap() == fs::read(&back).unwrap(),
        "the images differ"
    );
}
