//! Keeps account of what was written where and what was acknowledged, and holds what is read
//! against it. Knows no sockets.
//!
//! A sector may hold the last acknowledged write of its block, or a later one that was sent and
//! never answered. Nothing else: not an earlier one, not a mixture within a sector.

use std::ops::Range;

use crate::stamp::{BLOCK, Content, SECTOR, read_sector};

/// One write that was sent and not yet acknowledged.
#[derive(Debug, Clone, Copy)]
struct Sent {
    sequence: u64,
    content: Content,
}

/// What is known of one block.
#[derive(Debug, Clone)]
struct History {
    /// Number of the last acknowledged write; 0 when there was none.
    sequence: u64,
    /// What that write put there.
    acknowledged: Content,
    /// Later ones, answered by nobody.
    sent: Vec<Sent>,
}

/// What is known of a device, block by block.
#[derive(Debug, Clone)]
pub struct Ledger {
    blocks: Vec<History>,
    last_sequence: u64,
}

impl Ledger {
    /// Of a device of `size` bytes that holds zeros; what is left of the last block is not used.
    pub fn new(size: u64) -> Self {
        let empty = History {
            sequence: 0,
            acknowledged: Content::Zeros,
            sent: Vec::new(),
        };
        Self {
            blocks: vec![empty; size as usize / BLOCK],
            last_sequence: 0,
        }
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// How many blocks hold an acknowledged write.
    pub fn acknowledged_blocks(&self) -> u64 {
        let written = self.blocks.iter().filter(|block| block.sequence > 0);
        written.count() as u64
    }

    /// A write (with `zeros`, a zeroing) of these blocks is about to be sent; its number.
    pub fn send(&mut self, blocks: Range<u64>, zeros: bool) -> u64 {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let content = if zeros {
            Content::Zeros
        } else {
            Content::Stamp(sequence)
        };
        for block in self.of(blocks) {
            block.sent.push(Sent { sequence, content });
        }
        sequence
    }

    /// The write of that number to these blocks was answered with success.
    pub fn acknowledge(&mut self, blocks: Range<u64>, sequence: u64) {
        for block in self.of(blocks) {
            let own = block.sent.iter().find(|sent| sent.sequence == sequence);
            block.acknowledged = own.expect("acknowledged once, after it was sent").content;
            block.sequence = sequence;
            block.sent.retain(|sent| sent.sequence > sequence);
        }
    }

    /// Holds bytes read from block `first` on against what may be there.
    pub fn check(&self, first: u64, bytes: &[u8]) -> Result<(), String> {
        self.each_sector(first, bytes, |history, content| {
            let allowed = |sent: &Sent| sent.content == content;
            if content == history.acknowledged || history.sent.iter().any(allowed) {
                return Ok(());
            }
            let (write, sent) = (history.sequence, &history.sent);
            Err(format!(
                "it holds {content:?}, but write {write} ({:?}) was acknowledged and {sent:?} are \
                 possible",
                history.acknowledged
            ))
        })
    }

    /// As [`Self::check`], where acknowledged writes may be lost: any earlier write will do.
    pub fn check_any(&self, first: u64, bytes: &[u8]) -> Result<(), String> {
        self.each_sector(first, bytes, |_, content| match content {
            Content::Stamp(sequence) if sequence > self.last_sequence => {
                Err(format!("it holds write {sequence}, which was never sent"))
            }
            Content::Stamp(_) | Content::Zeros => Ok(()),
        })
    }

    /// Takes what a device holds for what was acknowledged there.
    pub fn adopt(&mut self, first: u64, bytes: &[u8]) -> Result<(), String> {
        self.check_any(first, bytes)?;
        for (number, block) in (first..).zip(bytes.chunks_exact(BLOCK)) {
            let history = &mut self.blocks[number as usize];
            // A torn block is of several writes: each of its sectors may stay.
            history.sent.clear();
            for (place, sector) in block.chunks_exact(SECTOR).enumerate() {
                let content = read_sector(number, place, sector)?;
                let sequence = match content {
                    Content::Zeros => 0,
                    Content::Stamp(sequence) => sequence,
                };
                history.sent.push(Sent { sequence, content });
                (history.sequence, history.acknowledged) = (sequence, content);
            }
        }
        Ok(())
    }

    fn of(&mut self, blocks: Range<u64>) -> &mut [History] {
        &mut self.blocks[blocks.start as usize..blocks.end as usize]
    }

    fn each_sector(
        &self,
        first: u64,
        bytes: &[u8],
        judge: impl Fn(&History, Content) -> Result<(), String>,
    ) -> Result<(), String> {
        for (number, block) in (first..).zip(bytes.chunks_exact(BLOCK)) {
            let history = &self.blocks[number as usize];
            for (place, sector) in block.chunks_exact(SECTOR).enumerate() {
                read_sector(number, place, sector)
                    .and_then(|content| judge(history, content))
                    .map_err(|what| format!("block {number}, sector {place}: {what}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::block_bytes;

    #[test]
    fn only_the_last_acknowledged_write_or_a_later_unanswered_one_will_do() {
        let mut ledger = Ledger::new(4 * BLOCK as u64);
        assert_eq!(ledger.check(1, &[0; BLOCK]), Ok(()));
        let first = ledger.send(1..2, false);
        assert_eq!(ledger.check(1, &block_bytes(1, first)), Ok(()));
        assert_eq!(ledger.check(1, &[0; BLOCK]), Ok(()));
        ledger.acknowledge(1..2, first);
        assert!(ledger.check(1, &[0; BLOCK]).is_err(), "lost");
        let second = ledger.send(1..3, false);
        let third = ledger.send(1..2, true);
        for bytes in [
            block_bytes(1, first),
            block_bytes(1, second),
            vec![0; BLOCK],
        ] {
            assert_eq!(ledger.check(1, &bytes), Ok(()));
        }
        ledger.acknowledge(1..2, third);
        assert!(ledger.check(1, &block_bytes(1, second)).is_err(), "older");
        assert!(ledger.check_any(1, &block_bytes(1, second)).is_ok());
        assert!(ledger.check_any(1, &block_bytes(1, third + 1)).is_err());
        assert_eq!(ledger.check(2, &block_bytes(2, second)), Ok(()));
        assert_eq!(ledger.acknowledged_blocks(), 1);
    }

    #[test]
    fn what_was_found_can_be_taken_for_acknowledged() {
        let mut ledger = Ledger::new(BLOCK as u64);
        let first = ledger.send(0..1, false);
        let second = ledger.send(0..1, false);
        ledger.acknowledge(0..1, second);
        ledger.adopt(0, &block_bytes(0, first)).unwrap();
        assert_eq!(ledger.check(0, &block_bytes(0, first)), Ok(()));
        assert!(ledger.check(0, &block_bytes(0, second)).is_err());
        assert!(ledger.check(0, &[0; BLOCK]).is_err());
    }
}
