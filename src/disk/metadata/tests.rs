//! Making, checking and storing what stands before the data; base's own components among them.

use std::fs::{self, File};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;

fn file_of(size: u64) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("component");
    File::create(&path)
        .and_then(|file| file.set_len(size))
        .expect("a file");
    (directory, path)
}

/// A component file of 16 MiB that begins with a captured image.
fn captured(name: &str) -> (TempDir, PathBuf) {
    let vectors = std::env::var_os("HAST_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    let (directory, path) = file_of(0);
    fs::copy(vectors.join("disk").join(name), &path).expect("the captured image");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(16 * MIB))
        .expect("its size");
    (directory, path)
}

/// The error of opening for `disk1`, having checked that nothing on the component changed.
fn refusal(path: &Path) -> DiskError {
    let before = fs::read(path).expect("readable");
    let error = open_for_use(path, "disk1").expect_err("refused");
    assert!(
        fs::read(path).expect("readable") == before,
        "a refused component is not written to"
    );
    error
}

#[test]
fn what_is_created_is_what_base_creates() {
    let (_base_directory, base) = captured("created.a.bin");
    let (_directory, path) = file_of(16 * MIB);
    // Whatever was there before must not show.
    fs::write(&path, vec![0xFF; 16 * MIB as usize]).expect("filled");
    let made = create(&path, "disk1", CreateOptions::default()).expect("created");
    assert_eq!(made.geometry.data_offset, 4608);
    drop(made);
    let (ours, theirs) = (
        fs::read(&path).expect("ours"),
        fs::read(base).expect("theirs"),
    );
    // Not byte by byte: base leaves what happens to be in its memory between the entries.
    let decoded = |block: &[u8]| Metadata::decode(block).expect("metadata");
    assert_eq!(
        decoded(&ours[..METADATA_SIZE]),
        decoded(&theirs[..METADATA_SIZE])
    );
    assert!(ours[METADATA_SIZE..4608] == theirs[METADATA_SIZE..4608]);
    assert!(
        ours[4608..].iter().all(|byte| *byte == 0xFF),
        "the data is left alone"
    );
}

#[test]
fn base_s_components_are_taken_over() {
    for (image, resuid_known, dirty) in [
        ("created.b.bin", false, vec![]),
        ("degraded.a.bin", true, vec![0, 1]),
    ] {
        let (_directory, path) = captured(image);
        let prepared = open_for_use(&path, "disk1").expect("a component of disk1");
        assert_eq!(prepared.metadata.resuid != 0, resuid_known, "{image}");
        assert_eq!(prepared.geometry.data_size, 16_772_608);
        let map = prepared
            .component
            .read_map(&prepared.geometry)
            .expect("map");
        assert_eq!(map.iter().collect::<Vec<_>>(), dirty, "{image}");
        // Storing what was read changes nothing.
        let before = fs::read(&path).expect("readable");
        prepared
            .component
            .write_metadata(&prepared.metadata)
            .expect("stored");
        prepared
            .component
            .write_map(&prepared.geometry, &map)
            .expect("stored");
        let after = fs::read(&path).expect("readable");
        assert!(after[METADATA_SIZE..] == before[METADATA_SIZE..], "{image}");
        assert_eq!(
            prepared.component.read_metadata(),
            Ok(prepared.metadata),
            "{image}"
        );
    }
}

#[test]
fn what_is_stored_is_there_at_the_next_opening() {
    let (_directory, path) = file_of(16 * MIB);
    // Extents so small that the map has several sectors.
    let options = CreateOptions {
        extent_size: 512,
        ..CreateOptions::default()
    };
    let mut made = create(&path, "disk1", options).expect("created");
    made.metadata.localcnt = 7;
    made.component
        .write_metadata(&made.metadata)
        .expect("stored");
    let mut map = Bitmap::new(made.geometry.extents);
    for extent in [0, 4096, 4097, 9000] {
        map.set(extent);
    }
    made.component
        .write_map(&made.geometry, &map)
        .expect("stored");
    drop(made.component);

    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(prepared.metadata, made.metadata);
    assert_eq!(prepared.geometry, made.geometry);
    let stored = prepared
        .component
        .read_map(&prepared.geometry)
        .expect("map");
    assert_eq!(
        stored.iter().collect::<Vec<_>>(),
        [0, 4096, 4097, 9000],
        "the whole map"
    );
}

#[test]
fn a_part_of_a_component_may_be_used() {
    let (_directory, path) = file_of(16 * MIB);
    let options = CreateOptions {
        media_size: Some(8 * MIB),
        ..CreateOptions::default()
    };
    let made = create(&path, "disk1", options).expect("created");
    assert_eq!(made.geometry.media_size, 8 * MIB);
    drop(made);
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(prepared.geometry.data_size, 8 * MIB - 4608);
    drop(prepared);
    let options = CreateOptions {
        media_size: Some(17 * MIB),
        ..CreateOptions::default()
    };
    let error = create(&path, "disk1", options).expect_err("more than there is");
    assert_eq!(error.exit_code(), 65);
    assert!(
        error
            .to_string()
            .contains("choose less with 'hastctl create -m'"),
        "{error}"
    );
}

#[test]
fn another_resource_s_component_is_refused() {
    let (_directory, path) = file_of(16 * MIB);
    drop(create(&path, "disk2", CreateOptions::default()).expect("created"));
    let error = refusal(&path);
    assert_eq!(error.exit_code(), 65);
    assert!(
        error
            .to_string()
            .contains("belongs to resource 'disk2' and not to 'disk1'")
    );
}

#[test]
fn a_component_of_another_size_is_refused() {
    let (_directory, path) = file_of(16 * MIB);
    drop(create(&path, "disk1", CreateOptions::default()).expect("created"));
    let file = File::options().write(true).open(&path).expect("open");
    file.set_len(16 * MIB - 512).expect("cut");
    let error = refusal(&path);
    assert_eq!(error.exit_code(), 65);
    assert!(
        error
            .to_string()
            .contains("was made for 16777216 bytes and has 16776704 now")
    );
    file.set_len(32 * MIB).expect("grown");
    let prepared = open_for_use(&path, "disk1").expect("room is no harm");
    assert_eq!(prepared.geometry.media_size, 16 * MIB);
}

#[test]
fn metadata_that_contradicts_itself_is_refused() {
    let (_directory, path) = file_of(16 * MIB);
    let made = create(&path, "disk1", CreateOptions::default()).expect("created");
    let moved = Metadata {
        offset: 8192,
        datasize: 8 * MIB,
        ..made.metadata.clone()
    };
    made.component.write_metadata(&moved).expect("stored");
    drop(made.component);
    let error = refusal(&path);
    assert!(
        error.to_string().contains("at offset 8192 where"),
        "{error}"
    );
    let wrapped = Metadata {
        offset: u64::MAX,
        ..made.metadata
    };
    let component = Component::open(&path, Access::Exclusive).expect("opened");
    component.write_metadata(&wrapped).expect("stored");
    drop(component);
    assert!(matches!(
        refusal(&path).kind(),
        DiskErrorKind::OtherSize { .. }
    ));
}

#[test]
fn what_holds_no_metadata_is_refused() {
    for (size, content) in [(16 * MIB, 0), (16 * MIB, 0xA5), (100, 0), (0, 0)] {
        let (_directory, path) = file_of(0);
        fs::write(&path, vec![content; size as usize]).expect("filled");
        let error = refusal(&path);
        assert!(
            matches!(error.kind(), DiskErrorKind::Metadata(_)),
            "{error}"
        );
        assert_eq!(error.exit_code(), 65);
    }
}

#[test]
fn what_can_not_be_made_leaves_everything_as_it_was() {
    let (_directory, path) = file_of(16 * MIB);
    drop(create(&path, "disk1", CreateOptions::default()).expect("created"));
    let before = fs::read(&path).expect("readable");
    let long = "n".repeat(5000);
    let odd = CreateOptions {
        extent_size: 1000,
        ..CreateOptions::default()
    };
    for (name, options) in [(&*long, CreateOptions::default()), ("disk1", odd)] {
        let error = create(&path, name, options).expect_err("impossible");
        assert_eq!(error.exit_code(), 65, "{error}");
        assert!(fs::read(&path).expect("readable") == before);
    }
}

/// Metadata with a record and base's part that differ with the number.
fn numbered(metadata: &Metadata, number: u64) -> Metadata {
    let generation = crate::layout::Generation::new(number);
    Metadata {
        resuid: 7,
        localcnt: number,
        prevrole: Role::Primary,
        record: Record {
            own: generation,
            lacks: number.is_multiple_of(2),
            ..Record::default()
        },
        ..metadata.clone()
    }
}

/// A component of `disk1` to which the metadata of these numbers were stored, one after the other, and
/// what its first 4096 bytes were after each.
fn stored(numbers: &[u64]) -> (TempDir, PathBuf, Vec<Metadata>, Vec<Vec<u8>>) {
    let (directory, path) = file_of(16 * MIB);
    let made = create(&path, "disk1", CreateOptions::default()).expect("created");
    let mut blocks = Vec::new();
    let metadata: Vec<_> = numbers
        .iter()
        .map(|number| numbered(&made.metadata, *number))
        .collect();
    for metadata in &metadata {
        made.component
            .write_metadata_durably(metadata)
            .expect("stored");
        blocks.push(fs::read(&path).expect("readable")[..METADATA_SIZE].to_vec());
    }
    (directory, path, metadata, blocks)
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = File::options().write(true).open(path).expect("open");
    file.write_all_at(bytes, at as u64).expect("written");
}

#[test]
fn the_record_is_there_at_the_next_opening_and_survives_a_slot() {
    let (_directory, path, metadata, blocks) = stored(&[1, 2, 3]);
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(
        (&prepared.metadata, prepared.found),
        (&metadata[2], Found::Record)
    );
    assert_eq!(
        prepared.component.read_metadata().as_ref(),
        Ok(&metadata[2])
    );
    drop(prepared);

    // The newer slot was cut short: base's part is what the older one says, or was before it.
    overwrite(&path, 0, &blocks[1]);
    let slots: [&[u8]; 2] = [3072, 3584].map(|at| &blocks[2][at..at + 512]);
    let newer = usize::from(slots[1] != &blocks[1][3584..]);
    overwrite(&path, 3072 + 512 * newer, &slots[newer][..100]);
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(
        (&prepared.metadata, prepared.found),
        (&metadata[1], Found::Record)
    );
}

#[test]
fn a_base_part_that_a_power_cut_kept_back_is_written_at_the_next_opening() {
    let (_directory, path, metadata, blocks) = stored(&[1, 2]);
    overwrite(&path, 0, &blocks[0][..512]);
    let looked = Component::open(&path, Access::ReadOnly).expect("opened");
    let examined = looked.examine_metadata();
    assert_eq!(examined, Ok((metadata[1].clone(), Found::Record)));
    let error = looked
        .confirm_metadata(&metadata[1])
        .expect_err("not all of it");
    assert_eq!(error.kind(), &DiskErrorKind::NotKept);
    let now = fs::read(&path).expect("readable");
    assert!(now[..512] == blocks[0][..512], "looking writes nothing");
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(
        (&prepared.metadata, prepared.found),
        (&metadata[1], Found::Record)
    );
    assert!(fs::read(&path).expect("readable")[..METADATA_SIZE] == blocks[1]);
    prepared
        .component
        .confirm_metadata(&metadata[1])
        .expect("kept");
}

#[test]
fn metadata_that_somebody_else_wrote_voids_the_record() {
    let (_directory, path, metadata, _) = stored(&[1, 2]);
    let other = numbered(&metadata[0], 9);
    overwrite(&path, 0, &other.encode().expect("fits")[..512]);
    let mut prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(prepared.found, Found::Void);
    assert_eq!(
        (prepared.metadata.localcnt, &prepared.metadata.record),
        (9, &Record::of_base(7))
    );
    prepared.metadata.record.lacks = true;
    prepared
        .component
        .write_metadata(&prepared.metadata)
        .expect("stored");
    let metadata = prepared.metadata.clone();
    drop(prepared);
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(
        (prepared.metadata, prepared.found),
        (metadata, Found::Record)
    );
}

#[test]
fn a_lost_record_is_said_and_made_anew() {
    let (_directory, path, metadata, _) = stored(&[1]);
    overwrite(&path, 3500, &[0xA5; 200]);
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(prepared.found, Found::Damaged);
    let lost = Record {
        lacks: true,
        ..Record::default()
    };
    assert_eq!(prepared.metadata.record, lost);
    assert_eq!(prepared.metadata.localcnt, 1, "base's part is intact");
    let text = prepared.found.to_string();
    assert!(text.contains("'hastctl role primary --force'"), "{text}");
    prepared
        .component
        .write_metadata(&metadata[0])
        .expect("stored");
    drop(prepared);
    let prepared = open_for_use(&path, "disk1").expect("opened");
    assert_eq!(prepared.found, Found::Record);
    // Made anew, nothing of it is left.
    drop(prepared);
    let made = create(&path, "disk1", CreateOptions::default()).expect("created");
    assert_eq!(made.component.read_metadata(), Ok(made.metadata));
}

#[test]
fn one_write_of_the_metadata_touches_one_sector() {
    let (_directory, _path, _, blocks) = stored(&[1, 2, 3, 4, 5]);
    for pair in blocks.windows(2) {
        let sectors = pair[0].chunks(512).zip(pair[1].chunks(512));
        let changed: Vec<_> = sectors
            .enumerate()
            .filter(|(_, (old, new))| old != new)
            .map(|(index, _)| index)
            .collect();
        assert!(changed == [0, 6] || changed == [0, 7], "{changed:?}");
    }
}

#[test]
fn the_longest_name_has_room_for_a_record() {
    let (_directory, path) = file_of(16 * MIB);
    let name = "n".repeat(254);
    let made = create(&path, &name, CreateOptions::default()).expect("created");
    let metadata = numbered(&made.metadata, 3);
    made.component.write_metadata(&metadata).expect("stored");
    drop(made);
    let prepared = open_for_use(&path, &name).expect("opened");
    assert_eq!(
        (prepared.metadata, prepared.found),
        (metadata, Found::Record)
    );
}
