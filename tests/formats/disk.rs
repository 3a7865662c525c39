//! Metadata and activemap of components that base nodes wrote.

use std::fmt::Write;

use hast::layout::block::{Block, Found, Image, Wanted};
use hast::layout::{Bitmap, Generation, Geometry, METADATA_SIZE, Metadata, Point, Record};
use hast::nv::Nv;

use crate::vectors;

#[test]
fn disk_images_read_as_their_transcripts_say_and_come_out_the_same() {
    let folder = vectors::root().join("disk");
    let images = vectors::files(&folder, ".bin");
    assert_eq!(vectors::files(&folder, ".txt").len(), images.len());
    let mut dirty = 0;
    for path in images {
        let mut image = vectors::read(&path);
        vectors::clean(&mut image[..METADATA_SIZE]);
        let (block, map) = image.split_at(METADATA_SIZE);

        let metadata = Metadata::decode(block).expect("captured");
        assert_eq!(metadata.record, Record::of_base(metadata.resuid));
        assert!(
            metadata.encode().expect("fits") == block,
            "{}",
            path.display()
        );

        let media_size = metadata.offset + metadata.datasize;
        let geometry = Geometry::new(media_size, 512, metadata.extentsize).expect("captured");
        assert_eq!(geometry.data_offset, metadata.offset);
        assert_eq!(geometry.data_size, metadata.datasize);
        assert_eq!(
            Geometry::of_component(&metadata, media_size, 512),
            Ok(geometry)
        );
        assert_eq!(image.len() as u64, geometry.data_offset);
        assert_eq!(map.len() as u64, geometry.map_size);

        let bitmap = Bitmap::from_bytes(geometry.extents, map);
        assert!(bitmap.to_bytes(map.len()) == map, "{}", path.display());
        dirty += bitmap.count();

        let nv = Nv::decode(block).expect("captured");
        let mut found = format!("{nv}\nmap ");
        let used = map
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        map[..used]
            .iter()
            .for_each(|byte| write!(found, "{byte:02x}").expect("to a string"));
        assert_eq!(
            found + "\n",
            vectors::read_text(&path.with_extension("txt"))
        );
    }
    assert!(dirty > 0, "no captured map has a bit set");
}

/// A captured block, without what base leaves between the entries.
fn captured(name: &str) -> Vec<u8> {
    let mut block = vectors::read(&vectors::root().join("disk").join(name));
    block.truncate(METADATA_SIZE);
    vectors::clean(&mut block);
    block
}

/// Stores metadata in a block on sectors of 512 bytes.
fn store(bytes: &mut [u8], metadata: &Metadata) {
    let mut block = Block::open(&Image::whole(bytes).expect("a block"), None)
        .expect("metadata")
        .block;
    let wanted = Wanted::new(metadata).expect("fits");
    let stored: Result<(), ()> = block.store(&wanted, 512, &mut |written, at| {
        let at = at as usize;
        bytes[at..at + written.len()].copy_from_slice(written);
        Ok(())
    });
    stored.expect("no write fails");
}

fn open(bytes: &[u8]) -> (Metadata, Found) {
    let opened = Block::open(&Image::whole(bytes).expect("a block"), None).expect("metadata");
    (opened.metadata, opened.found)
}

fn record(number: u64) -> Record {
    let generation = Generation::new(11).expect("not 0");
    Record {
        at: Some(Point { generation, number }),
        lacks: true,
        ..Record::default()
    }
}

/// Blocks with one record and with two, in step with base's part and ahead of it.
pub fn with_records() -> Vec<Vec<u8>> {
    let mut bytes = captured("degraded.a.bin");
    let mut blocks = Vec::new();
    for number in 1..=3 {
        let (mut metadata, _) = open(&bytes);
        metadata.record = record(number);
        metadata.localcnt += 1;
        let base_part = bytes[..512].to_vec();
        store(&mut bytes, &metadata);
        blocks.push(bytes.clone());
        blocks.push([&base_part, &bytes[512..]].concat());
    }
    blocks
}

#[test]
fn a_component_goes_from_base_to_ours_and_back() {
    let folder = vectors::root().join("disk");
    for path in vectors::files(&folder, ".bin") {
        let base = captured(vectors::name(&path));
        let (mut metadata, found) = open(&base);
        assert_eq!(found, Found::None);
        let mut bytes = base.clone();
        metadata.record = record(1);
        store(&mut bytes, &metadata);
        assert_eq!(open(&bytes), (metadata.clone(), Found::Record));
        // Base reads the whole block as one list.
        assert!(
            Nv::decode(&bytes) == Nv::decode(&base),
            "{}",
            path.display()
        );

        metadata.localcnt += 3;
        metadata.record = record(2);
        store(&mut bytes, &metadata);
        let nv = Nv::decode(&bytes).expect("base reads it");
        assert_eq!(nv.u64("localcnt"), Some(metadata.localcnt));
        assert_eq!(nv.entries().count(), 9);
        // What base writes, it writes as a whole: nothing of ours is left.
        assert_eq!(
            open(&base),
            (Metadata::decode(&base).expect("base's"), Found::None)
        );
    }
}

#[test]
fn a_write_of_base_s_that_was_cut_short_never_brings_an_older_record_back() {
    let names = [
        "degraded.a.bin",
        "caught-up.a.bin",
        "b-ahead.b.bin",
        "created.a.bin",
    ];
    for name in names {
        let mut ours = captured("fullsync-virgin.a.bin");
        let base = captured(name);
        for number in 1..=3 {
            let (metadata, _) = open(&ours);
            let metadata = Metadata {
                record: record(number),
                ..metadata
            };
            store(&mut ours, &metadata);
            for arrived in 0..256 {
                let pieces = ours.chunks(512).zip(base.chunks(512)).enumerate();
                let torn: Vec<u8> = pieces
                    .flat_map(|(index, (ours, base))| {
                        if arrived >> index & 1 == 1 {
                            base
                        } else {
                            ours
                        }
                    })
                    .copied()
                    .collect();
                let (found, state) = open(&torn);
                if state == Found::Record {
                    // Only after the first store do both slots say the same.
                    let gone = arrived & 0b1100_0000;
                    assert!(gone == 0 || (number == 1 && gone == 0b0100_0000));
                    assert!(arrived & 1 == 0, "base's part is its own");
                    assert_eq!(found, metadata);
                } else {
                    assert_ne!(arrived & 0b1100_0001, 0);
                    assert_eq!(found.record, Record::of_base(found.resuid));
                }
            }
        }
    }
}
