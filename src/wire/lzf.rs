//! LZF, the compression of the payload pipeline (format of Marc Lehmann's LibLZF, spec, section 2).
//!
//! A block is a sequence of literal runs (`000LLLLL`, then L+1 bytes) and references into what
//! was already written (`LLLooooo oooooooo` for L+2 bytes, `111ooooo LLLLLLLL oooooooo` for L+9, from
//! o+1 bytes back). The compressor chooses its references as base hastd's does, so that the two
//! produce the same bytes. (Our own code, because the crate `lzf` panics where a repetition begins
//! just as the output reaches the input's length, and clears its table for every block.) Neither direction panics or writes beyond the limit given.

/// Size of the table of recent positions.
const SLOTS: usize = 1 << 16;
/// The longest literal run.
const MAX_RUN: usize = 32;
/// How far back a reference may reach.
const MAX_DISTANCE: usize = 1 << 13;
/// The longest reference.
const MAX_REFERENCE: usize = 264;
/// References up to here are compared without looking at [`TAIL`] (as base does).
const SHORT_REFERENCE: usize = 16;
/// The longest match where [`MAX_REFERENCE`] and the tail would allow 17 or 18 bytes (as base does).
const STEPPED_REFERENCE: usize = 19;
/// The last bytes of a block always are literals.
const TAIL: usize = 2;

/// Why a block can not be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LzfError {
    /// It ends within a run or a reference.
    #[error("the compressed block is cut short")]
    Truncated,
    /// It refers to bytes before its beginning.
    #[error("the compressed block refers to bytes before its beginning")]
    Reference,
    /// It holds more than it was said to.
    #[error("the compressed block holds more than announced")]
    TooLong,
    /// It holds less than it was said to.
    #[error("the compressed block holds less than announced")]
    TooShort,
}

/// Compresses block after block, reusing its table.
#[derive(Debug)]
pub struct Compressor {
    /// Where each hash of three bytes was last seen, as position plus the block's `stamp`.
    table: Box<[u32]>,
    /// Above every entry of earlier blocks, so that the table need not be cleared between them.
    stamp: u32,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            table: vec![0; SLOTS].into_boxed_slice(),
            stamp: 0,
        }
    }
}

impl Compressor {
    /// Appends the compressed `data` to `out` and returns true, if it takes at most `limit` bytes.
    /// Otherwise returns false and leaves `out` as it was.
    pub fn compress(&mut self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
        let Ok(length) = u32::try_from(data.len()) else {
            return false;
        };
        let Some(next_stamp) = self.stamp.checked_add(length) else {
            self.table.fill(0);
            self.stamp = 0;
            return self.compress(data, limit, out);
        };
        let start = out.len();
        let mut block = Block {
            data,
            out,
            start,
            limit,
            run: 0,
        };
        let fits = self.scan(&mut block);
        self.stamp = next_stamp;
        if !fits {
            out.truncate(start);
        }
        fits
    }

    fn scan(&mut self, block: &mut Block<'_>) -> bool {
        let data = block.data;
        if data.len() <= TAIL || block.limit == 0 {
            return false;
        }
        let end = data.len() - TAIL;
        let mut at = 0;
        while at < end {
            let seen = self.look_up(data, at);
            if let Some(earlier) = seen.filter(|earlier| refers(data, *earlier, at)) {
                let length = match_length(data, earlier, at);
                if !block.reference(at, at - earlier, length) {
                    return false;
                }
                at += length;
                if at >= end {
                    break;
                }
                self.look_up(data, at - 2);
                self.look_up(data, at - 1);
            } else {
                if !block.literal(at) {
                    return false;
                }
                at += 1;
            }
        }
        block.finish(at)
    }

    /// Where the three bytes at `at` were last seen in this block, if not at its beginning
    /// (which base never refers to); remembers `at`.
    fn look_up(&mut self, data: &[u8], at: usize) -> Option<usize> {
        let three = u32::from_be_bytes([0, data[at], data[at + 1], data[at + 2]]);
        let slot = (three >> 8).wrapping_sub(three.wrapping_mul(5)) as usize % SLOTS;
        let seen = std::mem::replace(&mut self.table[slot], self.stamp + at as u32);
        (seen > self.stamp).then(|| (seen - self.stamp) as usize)
    }
}

/// Whether the bytes at `at` can be a reference to those at `earlier`.
fn refers(data: &[u8], earlier: usize, at: usize) -> bool {
    at - earlier <= MAX_DISTANCE
        && at + 4 < data.len()
        && data[earlier..earlier + 3] == data[at..at + 3]
}

fn match_length(data: &[u8], earlier: usize, at: usize) -> usize {
    let mut longest = (data.len() - at - TAIL).min(MAX_REFERENCE);
    if longest > SHORT_REFERENCE {
        longest = longest.max(STEPPED_REFERENCE);
    }
    let ahead = data[at..].iter().take(longest);
    data[earlier..]
        .iter()
        .zip(ahead)
        .take_while(|(old, new)| old == new)
        .count()
}

/// The compressed block as it grows.
struct Block<'a> {
    data: &'a [u8],
    out: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    /// Literals not yet written out; fewer than [`MAX_RUN`].
    run: usize,
}

impl Block<'_> {
    /// The block's length with the pending run and its control byte, which base writes ahead.
    fn length(&self) -> usize {
        self.out.len() - self.start + 1 + self.run
    }

    fn literal(&mut self, at: usize) -> bool {
        if self.length() >= self.limit {
            return false;
        }
        self.run += 1;
        if self.run == MAX_RUN {
            self.end_run(at + 1);
        }
        true
    }

    /// Writes out the pending run, which ends before `end`.
    fn end_run(&mut self, end: usize) {
        if self.run > 0 {
            self.out.push(self.run as u8 - 1);
            self.out.extend_from_slice(&self.data[end - self.run..end]);
            self.run = 0;
        }
    }

    fn reference(&mut self, at: usize, distance: usize, length: usize) -> bool {
        if self.length() - usize::from(self.run == 0) + 4 >= self.limit {
            return false;
        }
        self.end_run(at);
        let [high, low] = ((distance - 1) as u16).to_be_bytes();
        let code = length - 2;
        if code < 7 {
            self.out.push((code as u8) << 5 | high);
        } else {
            self.out
                .extend_from_slice(&[7 << 5 | high, (code - 7) as u8]);
        }
        self.out.push(low);
        true
    }

    /// Writes out what is left from `at`: at most [`TAIL`] bytes.
    fn finish(&mut self, at: usize) -> bool {
        if self.length() + TAIL + 1 > self.limit {
            return false;
        }
        for last in at..self.data.len() {
            self.run += 1;
            if self.run == MAX_RUN {
                self.end_run(last + 1);
            }
        }
        self.end_run(self.data.len());
        true
    }
}

/// Decompresses a block that is said to hold exactly `out.len()` bytes.
pub fn decompress(block: &[u8], out: &mut [u8]) -> Result<(), LzfError> {
    let mut input = block.iter();
    let mut at = 0;
    while let Some(control) = input.next() {
        if *control < MAX_RUN as u8 {
            let length = *control as usize + 1;
            let run = input.as_slice().get(..length).ok_or(LzfError::Truncated)?;
            let room = out.get_mut(at..at + length).ok_or(LzfError::TooLong)?;
            room.copy_from_slice(run);
            input = input.as_slice()[length..].iter();
            at += length;
            continue;
        }
        let mut next = || input.next().copied().ok_or(LzfError::Truncated);
        let mut length = (control >> 5) as usize + 2;
        if control >> 5 == 7 {
            length += next()? as usize;
        }
        let distance = u16::from_be_bytes([control & 0x1f, next()?]) as usize + 1;
        let from = at.checked_sub(distance).ok_or(LzfError::Reference)?;
        if length > out.len() - at {
            return Err(LzfError::TooLong);
        }
        if distance >= length {
            out.copy_within(from..from + length, at);
        } else {
            // The reference overlaps what it writes: a repeated pattern.
            for index in at..at + length {
                out[index] = out[index - distance];
            }
        }
        at += length;
    }
    if at < out.len() {
        Err(LzfError::TooShort)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
