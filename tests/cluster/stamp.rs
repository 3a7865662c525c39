//! What a block of the device holds: every sector says which block it is part of, which write
//! put it there, and carries a checksum, so that nothing else can be taken for it. Only bytes,
//! no I/O.

/// The device's sector: what a disk writes whole or not at all.
pub const SECTOR: usize = 512;
/// The unit that is written and kept account of.
pub const BLOCK: usize = 4096;

const MAGIC: [u8; 8] = *b"hastdemo";
/// Magic, block, sequence, sector within the block.
const HEADER: usize = 32;
const CHECKSUM_AT: usize = SECTOR - 4;

/// What a sector, or a whole block, holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Zeros: never written, or zeroed.
    Zeros,
    /// What the write of this number put there.
    Stamp(u64),
}

/// The bytes of a block after the write `sequence`.
pub fn block_bytes(block: u64, sequence: u64) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    // Every fourth is easy to compress, the others are not.
    let is_plain = sequence.is_multiple_of(4);
    let mut noise = block.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sequence.rotate_left(32) | 1;
    for (number, sector) in bytes.chunks_exact_mut(SECTOR).enumerate() {
        sector[..8].copy_from_slice(&MAGIC);
        sector[8..16].copy_from_slice(&block.to_le_bytes());
        sector[16..24].copy_from_slice(&sequence.to_le_bytes());
        sector[24..HEADER].copy_from_slice(&(number as u64).to_le_bytes());
        if !is_plain {
            for word in sector[HEADER..CHECKSUM_AT].chunks_mut(8) {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                word.copy_from_slice(&noise.to_le_bytes()[..word.len()]);
            }
        }
        let checksum = crc32fast::hash(&sector[..CHECKSUM_AT]);
        sector[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// What sector `number` of `block` holds; the error says why it is nothing that was ever
/// written there.
pub fn read_sector(block: u64, number: usize, sector: &[u8]) -> Result<Content, String> {
    if sector.iter().all(|byte| *byte == 0) {
        return Ok(Content::Zeros);
    }
    let word = |at: usize| {
        let bytes = sector[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    let checksum = crc32fast::hash(&sector[..CHECKSUM_AT]).to_le_bytes();
    if sector[..8] != MAGIC || sector[CHECKSUM_AT..] != checksum {
        return Err(format!("no stamp: {:02x?}...", &sector[..HEADER]));
    }
    match (word(8), word(24)) {
        (stamped, place) if stamped == block && place == number as u64 => {
            Ok(Content::Stamp(word(16)))
        }
        (stamped, place) => Err(format!("it belongs to sector {place} of block {stamped}")),
    }
}

#[test]
fn a_stamp_reads_back_and_any_change_is_noticed() {
    for sequence in [1, 4] {
        let bytes = block_bytes(7, sequence);
        for (number, sector) in bytes.chunks_exact(SECTOR).enumerate() {
            let content = read_sector(7, number, sector);
            assert_eq!(content, Ok(Content::Stamp(sequence)));
            assert!(read_sector(8, number, sector).is_err());
            assert!(read_sector(7, number + 1, sector).is_err());
            for at in 0..SECTOR {
                let mut changed = sector.to_vec();
                changed[at] ^= 1;
                assert!(read_sector(7, number, &changed).is_err(), "byte {at}");
            }
        }
    }
    assert_eq!(read_sector(7, 0, &[0; SECTOR]), Ok(Content::Zeros));
}
