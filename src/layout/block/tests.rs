//! The block on a disk whose power is cut at every moment, and whose writes fail.

use super::*;
use crate::layout::metadata::MAX_NAME;
use crate::layout::{Generation, Point};
use crate::terms::Role;

/// What became of a sector that was being written.
const FATES: [Fate; 3] = [Fate::Old, Fate::New, Fate::Unreadable];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Old,
    New,
    Unreadable,
}

/// The first 4096 bytes of a component.
#[derive(Debug, Clone, PartialEq)]
struct Disk {
    sector: usize,
    bytes: Vec<u8>,
    unreadable: Vec<bool>,
}

type Write = (usize, Vec<u8>);

impl Disk {
    fn new(sector: usize, bytes: Vec<u8>) -> Self {
        Self {
            sector,
            bytes,
            unreadable: vec![false; METADATA_SIZE / sector],
        }
    }

    fn image(&self) -> Image {
        Image::by_sectors(self.sector as u32, |bytes, at| {
            let at = at as usize;
            bytes.copy_from_slice(&self.bytes[at..at + self.sector]);
            !self.unreadable[at / self.sector]
        })
    }

    fn open(&self) -> Result<Opened, MetadataError> {
        Block::open(&self.image(), Some("disk1"))
    }

    fn opened(&self) -> (Block, Metadata) {
        let opened = self.open().expect("metadata");
        (opened.block, opened.metadata)
    }

    /// Carries out a write, each of its sectors with the next fate.
    fn apply(&mut self, (at, bytes): &Write, fates: &[Fate]) {
        assert!(at.is_multiple_of(self.sector) && bytes.len().is_multiple_of(self.sector));
        for ((index, new), fate) in bytes.chunks(self.sector).enumerate().zip(fates) {
            let at = at + index * self.sector;
            if *fate != Fate::Old {
                self.bytes[at..at + self.sector].copy_from_slice(new);
                self.unreadable[at / self.sector] = *fate == Fate::Unreadable;
            }
        }
    }

    fn carry_out(&mut self, write: &Write) {
        self.apply(write, &vec![Fate::New; write.1.len() / self.sector]);
    }

    /// Every state that a power cut leaves while these writes are carried out in order.
    fn cut(&self, writes: &[Write]) -> Vec<Self> {
        let mut before = self.clone();
        let mut states = Vec::new();
        for write in writes {
            let sectors = write.1.len() / self.sector;
            for choice in 0..3_usize.pow(sectors as u32) {
                let fates: Vec<_> = (0..sectors as u32)
                    .map(|index| FATES[choice / 3_usize.pow(index) % 3])
                    .collect();
                let mut state = before.clone();
                state.apply(write, &fates);
                states.push(state);
            }
            before.carry_out(write);
        }
        states.push(before);
        states
    }
}

/// The writes that a store makes.
fn writes(block: &mut Block, metadata: &Metadata, sector: usize) -> Vec<Write> {
    let mut writes = Vec::new();
    let wanted = Wanted::new(metadata).expect("fits");
    let stored: Result<(), ()> = block.store(&wanted, sector as u32, &mut |bytes, at| {
        writes.push((at as usize, bytes.to_vec()));
        Ok(())
    });
    stored.expect("no write fails");
    writes
}

fn stored(disk: &Disk, block: &mut Block, metadata: &Metadata) -> Disk {
    let mut disk = disk.clone();
    for write in writes(block, metadata, disk.sector) {
        disk.carry_out(&write);
    }
    disk
}

fn metadata(number: u64, counters: u64, prevrole: Role) -> Metadata {
    let generation = |number| Generation::new(number).expect("not 0");
    Metadata {
        resource: "disk1".to_owned(),
        datasize: 16_772_608,
        extentsize: 2 << 20,
        keepdirty: 64,
        offset: 4608,
        resuid: 77,
        localcnt: counters,
        remotecnt: counters / 2,
        prevrole,
        record: Record {
            at: Some(Point {
                generation: generation(9),
                number,
            }),
            own: Generation::new(number % 3),
            lacks: number.is_multiple_of(2),
            past: (10..10 + number % 25)
                .map(|of| Point {
                    generation: generation(of),
                    number: of,
                })
                .collect(),
            ..Record::default()
        },
    }
}

/// Disks to begin with: created, base's, and with none, one and many records stored.
fn beginnings(sector: usize) -> Vec<Disk> {
    let mut fresh = metadata(0, 0, Role::Init);
    fresh.resuid = 0;
    let used = metadata(0, 5, Role::Secondary);
    let mut disks: Vec<_> = [fresh, used]
        .iter()
        .map(|metadata| Disk::new(sector, metadata.encode().expect("fits")))
        .collect();
    let mut disk = disks[1].clone();
    for (number, counters, role) in [
        (1, 5, Role::Secondary),
        (2, 6, Role::Primary),
        (3, 6, Role::Primary),
    ] {
        let (mut block, _) = disk.opened();
        disk = stored(&disk, &mut block, &metadata(number, counters, role));
        disks.push(disk.clone());
    }
    disks
}

/// Changes of the record alone, of base's part alone, and of both.
fn changes() -> [Metadata; 4] {
    [
        metadata(40, 6, Role::Primary),
        metadata(3, 7, Role::Init),
        metadata(41, 8, Role::Secondary),
        metadata(64, 6, Role::Primary),
    ]
}

const SECTORS: [usize; 4] = [512, 1024, 2048, 4096];

#[test]
fn what_is_stored_is_read_and_nothing_is_written_beyond_need() {
    for sector in SECTORS {
        for disk in beginnings(sector) {
            for change in changes() {
                let (mut block, old) = disk.opened();
                let base_changes = old.base_part() != change.base_part();
                let first = writes(&mut block, &change, sector);
                let after = stored(&disk, &mut disk.opened().0, &change);
                let opened = after.open().expect("metadata");
                assert_eq!((opened.metadata, opened.found), (change, Found::Record));
                assert!(!opened.block.lags());
                let steady = disk.bytes[SLOTS_AT[0]] != 0;
                if steady {
                    let expected = 1 + usize::from(base_changes && sector < METADATA_SIZE);
                    assert_eq!(first.len(), expected);
                    assert!(first.iter().all(|(_, bytes)| bytes.len() == sector));
                }
            }
        }
    }
}

/// Whether the one sector in which both slots are was lost: it is larger than a slot.
fn lost(disk: &Disk) -> bool {
    disk.sector > SLOT_SIZE && disk.unreadable[SLOTS_AT[0] / disk.sector]
}

/// What a disk says after a power cut: the old or the new. Where the sector of both slots was lost it says
/// so, and where that was the block's only one, nothing at all.
fn old_or_new(disk: &Disk, old: &Metadata, new: &Metadata) -> Option<(Block, Metadata)> {
    match disk.open() {
        Ok(opened) if lost(disk) => {
            assert_eq!(opened.found, Found::Damaged);
            assert!(opened.metadata.record.lacks);
            None
        }
        Ok(opened) => {
            let said = opened.metadata;
            assert!(said == *old || said == *new, "{:?}: {said:?}", opened.found);
            Some((opened.block, said))
        }
        Err(error) => {
            assert_eq!(error, MetadataError::Unreadable);
            assert!(disk.sector == METADATA_SIZE && lost(disk));
            None
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_old_or_the_new_also_twice() {
    let mut states = 0;
    for sector in SECTORS {
        for disk in beginnings(sector) {
            for change in changes() {
                let (mut block, old) = disk.opened();
                for cut in disk.cut(&writes(&mut block, &change, sector)) {
                    let Some((block, said)) = old_or_new(&cut, &old, &change) else {
                        continue;
                    };
                    for next in changes() {
                        let again = writes(&mut block.clone(), &next, sector);
                        for cut in cut.cut(&again) {
                            states += 1;
                            let Some((mut block, now)) = old_or_new(&cut, &said, &next) else {
                                continue;
                            };
                            let last = stored(&cut, &mut block, &old);
                            assert_eq!(last.opened().1.base_part(), old.base_part());
                            assert!(last == stored(&cut, &mut cut.opened().0, &old), "{now:?}");
                        }
                    }
                }
            }
        }
    }
    assert!(states > 5000, "{states}");
}

#[test]
fn a_power_cut_while_base_s_part_is_written_again_changes_nothing() {
    for sector in [512, 1024] {
        let disk = &beginnings(sector)[4];
        let change = metadata(50, 60, Role::Secondary);
        let (mut block, _) = disk.opened();
        let whole = writes(&mut block, &change, sector);
        for lost in [Fate::Old, Fate::Unreadable] {
            let mut disk = disk.clone();
            disk.carry_out(&whole[0]);
            disk.apply(&whole[1], &[lost]);
            let (mut block, said) = disk.opened();
            assert!(block.lags());
            assert_eq!(said, change);
            let mut repair = Vec::new();
            let repaired: Result<(), ()> = block.repair(sector as u32, &mut |bytes, at| {
                repair.push((at as usize, bytes.to_vec()));
                Ok(())
            });
            assert_eq!((repaired, repair.len(), block.lags()), (Ok(()), 1, false));
            for cut in disk.cut(&repair) {
                assert_eq!(cut.opened().1, change);
            }
            disk.carry_out(&repair[0]);
            let base = Metadata::of_base_part(&disk.bytes)
                .expect("base reads it")
                .0;
            assert_eq!(base.localcnt, 60);
            assert_eq!(disk.unreadable, vec![false; METADATA_SIZE / sector]);
        }
    }
}

/// Stores, and lets the write of this index fail with this fate; the writes after it are not made.
fn failing(
    disk: &mut Disk,
    block: &mut Block,
    metadata: &Metadata,
    index: usize,
    fate: Fate,
) -> bool {
    let mut count = 0;
    let wanted = Wanted::new(metadata).expect("fits");
    let sector = disk.sector as u32;
    let result = block.store(&wanted, sector, &mut |bytes, at| {
        let write = (at as usize, bytes.to_vec());
        count += 1;
        if count == index + 1 {
            disk.apply(&write, &vec![fate; bytes.len() / sector as usize]);
            return Err(());
        }
        disk.carry_out(&write);
        Ok(())
    });
    result.is_err()
}

#[test]
fn a_failed_write_leaves_the_old_or_the_new_and_is_made_good_by_the_next() {
    let mut failures = 0;
    for sector in SECTORS {
        for disk in beginnings(sector) {
            for (change, next) in changes().iter().zip(changes().iter().rev()) {
                for (index, fate) in (0..4).flat_map(|index| FATES.map(|fate| (index, fate))) {
                    let (mut block, old) = disk.opened();
                    let mut disk = disk.clone();
                    if !failing(&mut disk, &mut block, change, index, fate) {
                        continue;
                    }
                    failures += 1;
                    let found = old_or_new(&disk, &old, change).map(|(_, said)| said);
                    let again = writes(&mut block.clone(), next, sector);
                    for cut in disk.cut(&again) {
                        if lost(&cut) {
                            continue;
                        }
                        let said = cut.opened().1;
                        assert!([&old, change, next].contains(&&said), "{found:?} {said:?}");
                    }
                    let disk = stored(&disk, &mut block, next);
                    assert_eq!(disk.opened().1, *next);
                }
            }
        }
    }
    assert!(failures > 200, "{failures}");
}

#[test]
fn a_damaged_slot_does_not_count_and_two_of_them_are_said() {
    let disk = &beginnings(512)[4];
    let (_, newest) = disk.opened();
    let seqs = SLOTS_AT.map(|at| disk.bytes[at + 16]);
    let older = usize::from(seqs[0] > seqs[1]);
    for bit in (0..SLOT_SIZE * 8).step_by(37) {
        let mut damaged = disk.clone();
        damaged.bytes[SLOTS_AT[older] + bit / 8] ^= 1 << (bit % 8);
        let (mut block, said) = damaged.opened();
        assert_eq!(said, newest);
        let healed = stored(&damaged, &mut block, &said);
        assert!(block.sound[0] && block.sound[1]);
        assert_eq!(healed.opened().1, newest);

        damaged.bytes[SLOTS_AT[1 - older] + 5] ^= 1;
        for unreadable in [false, true] {
            damaged.unreadable[7] = unreadable;
            let opened = damaged.open().expect("base's part is there");
            assert_eq!(opened.found, Found::Damaged);
            let expected = Record {
                lacks: true,
                ..Record::default()
            };
            assert_eq!(opened.metadata.record, expected);
            assert_eq!(opened.metadata.localcnt, newest.localcnt);
            let mut block = opened.block;
            let healed = stored(&damaged, &mut block, &newest);
            assert_eq!(healed.opened().1, newest);
        }
    }
}

/// Base's write zeroed one slot and reached nothing else, or replaced base's part alone.
fn voided() -> Vec<Disk> {
    let disk = &beginnings(512)[4];
    let mut disks = vec![disk.clone(); 3];
    for (disk, at) in disks.iter_mut().zip(SLOTS_AT) {
        disk.bytes[at..at + SLOT_SIZE].fill(0);
    }
    let base = metadata(0, 90, Role::Init);
    disks[2].bytes[..BASE_SIZE].copy_from_slice(&base.base_part().expect("fits"));
    disks
}

#[test]
fn a_void_record_never_comes_back() {
    for disk in voided() {
        let opened = disk.open().expect("base's part is there");
        assert_eq!(opened.found, Found::Void);
        let (old, mut block) = (opened.metadata, opened.block);
        assert_eq!(old.record, Record::of_base(77));
        for change in changes() {
            for cut in disk.cut(&writes(&mut block.clone(), &change, 512)) {
                let (mut block, said) =
                    old_or_new(&cut, &old, &change).expect("no sector is shared");
                for next in changes() {
                    for cut in cut.cut(&writes(&mut block.clone(), &next, 512)) {
                        old_or_new(&cut, &said, &next);
                    }
                }
                let last = stored(&cut, &mut block, &change);
                assert_eq!(last.opened().1, change);
            }
        }
        let after = stored(&disk, &mut block, &changes()[0]);
        for at in SLOTS_AT {
            let mut damaged = after.clone();
            damaged.bytes[at] ^= 1;
            assert_eq!(
                damaged.opened().1,
                changes()[0],
                "nothing of the void one is left"
            );
        }
    }
}

#[test]
fn a_slot_in_the_other_s_place_is_damage() {
    let mut disk = beginnings(512)[4].clone();
    let (first, second) = disk.bytes[SLOTS_AT[0]..].split_at_mut(SLOT_SIZE);
    first.swap_with_slice(second);
    assert_eq!(disk.open().expect("base's part").found, Found::Damaged);
}

#[test]
fn another_resource_s_slot_does_not_stand_for_an_unreadable_base_part() {
    let mut disk = beginnings(512)[4].clone();
    disk.unreadable[0] = true;
    assert_eq!(disk.open().expect("from the slot").found, Found::Record);
    for name in [None, Some("disk2")] {
        let error = Block::open(&disk.image(), name).expect_err("not known");
        assert_eq!(error, MetadataError::Unreadable);
    }
}

#[test]
fn a_record_that_could_not_be_read_again_is_not_stored() {
    let mut metadata = metadata(3, 4, Role::Primary);
    metadata.record.past = vec![metadata.record.at.expect("a point")];
    assert!(matches!(
        Wanted::new(&metadata),
        Err(MetadataError::Record(_))
    ));
    metadata.record = Record::default();
    metadata.resource = "n".repeat(MAX_NAME + 1);
    assert!(matches!(
        Wanted::new(&metadata),
        Err(MetadataError::NameTooLong(_))
    ));
}

#[test]
fn numbers_grow_with_the_parity_of_their_slot() {
    assert_eq!((next_seq(0, 1), next_seq(0, 0)), (1, 2));
    assert_eq!((next_seq(1, 1), next_seq(1, 0)), (3, 2));
}
