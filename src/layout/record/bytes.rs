//! A record as bytes, the same in a slot of the metadata block and in messages between nodes. All
//! integers are little-endian; a generation of 0 with number 0 is none.
//!
//! | at | length | what |
//! | --- | --- | --- |
//! | 0 | 4 | flags: 1 lacks, 2 counted, 4 `next` is full, 8 forced |
//! | 4 | 16 | `at`: generation, number |
//! | 20 | 16 | `next` |
//! | 36 | 8 | `own` |
//! | 44 | 16 each | `past`, the newest first |
//!
//! Invariant: what is read was valid, and comes out as the same bytes.

use super::{Generation, PAST, Point, Proposal, Record};

/// Bytes of a point: its generation and its number.
pub const POINT_SIZE: usize = 16;
/// Bytes of a record before its past.
const HEAD_SIZE: usize = 44;
/// Bytes of the longest record.
pub const RECORD_SIZE: usize = HEAD_SIZE + PAST * POINT_SIZE;
/// The first number that no point and no counter reaches, so that none ever wraps.
pub const NUMBER_LIMIT: u64 = 1 << 63;

const LACKS: u32 = 1;
const COUNTED: u32 = 2;
const FULL: u32 = 4;
const FORCED: u32 = 8;

/// Why bytes are no record, or a record can not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Neither the head nor whole points behind it.
    #[error("a history or record of {0} bytes, which cannot be")]
    Length(usize),
    /// A flag of a newer version, or a full proposal where none is.
    #[error("the flags {0:#x}, which cannot be")]
    Flags(u32),
    /// A point without a generation.
    #[error("a point without a generation")]
    NoGeneration,
    /// A number that no point reaches.
    #[error("a point of number {0}, which no point reaches")]
    Number(u64),
    /// More older generations than are ever remembered.
    #[error("{0} older generations where {PAST} is the most")]
    TooManyPast(usize),
    /// A generation that is in the record's history twice.
    #[error("the generation {0:016x} twice in its history")]
    Repeated(u64),
}

impl Record {
    /// The bytes, [`RECORD_SIZE`] at most where the record passes [`Record::check`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let flag = |set: bool, flag| if set { flag } else { 0 };
        let flags = flag(self.lacks, LACKS)
            | flag(self.counted, COUNTED)
            | flag(self.forced, FORCED)
            | flag(self.next.is_some_and(|next| next.full), FULL);
        let mut bytes = Vec::with_capacity(RECORD_SIZE);
        bytes.extend_from_slice(&flags.to_le_bytes());
        push_point(&mut bytes, self.at);
        push_point(&mut bytes, self.next.map(|next| next.point));
        let own = self.own.map_or(0, Generation::number);
        bytes.extend_from_slice(&own.to_le_bytes());
        bytes.extend_from_slice(&past_to_bytes(&self.past));
        bytes
    }

    /// Reads what [`Record::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let (head, past) = bytes
            .split_at_checked(HEAD_SIZE)
            .ok_or(RecordError::Length(bytes.len()))?;
        let flags = u32::from_le_bytes(piece(head, 0));
        let next = point_of(&head[20..36])?;
        let full = flags & FULL != 0;
        if flags & !(LACKS | COUNTED | FULL | FORCED) != 0 || (full && next.is_none()) {
            return Err(RecordError::Flags(flags));
        }
        let record = Self {
            at: point_of(&head[4..20])?,
            next: next.map(|point| Proposal { point, full }),
            own: Generation::new(u64::from_le_bytes(piece(head, 36))),
            lacks: flags & LACKS != 0,
            counted: flags & COUNTED != 0,
            forced: flags & FORCED != 0,
            past: past_from_bytes(past).map_err(|error| match error {
                RecordError::Length(_) => RecordError::Length(bytes.len()),
                other => other,
            })?,
        };
        record.check()?;
        Ok(record)
    }

    /// Whether it can be stored and read again: no number beyond [`NUMBER_LIMIT`], and a history that is
    /// not too long and holds each generation once.
    pub fn check(&self) -> Result<(), RecordError> {
        for point in [self.at, self.next.map(|next| next.point)]
            .into_iter()
            .flatten()
        {
            check_number(point)?;
        }
        check_past(self.at, &self.past)
    }
}

/// Older generations as bytes, [`POINT_SIZE`] each, in their order.
pub fn past_to_bytes(past: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(past.len() * POINT_SIZE);
    for point in past {
        push_point(&mut bytes, Some(*point));
    }
    bytes
}

/// Reads what [`past_to_bytes`] made. What holds of them is for [`check_past`] to say.
pub fn past_from_bytes(bytes: &[u8]) -> Result<Vec<Point>, RecordError> {
    let (points, rest) = bytes.as_chunks::<POINT_SIZE>();
    if !rest.is_empty() {
        return Err(RecordError::Length(bytes.len()));
    }
    if points.len() > PAST {
        return Err(RecordError::TooManyPast(points.len()));
    }
    points
        .iter()
        .map(|point| point_of(point)?.ok_or(RecordError::NoGeneration))
        .collect()
}

/// Checks the older generations of a node whose last point is `at`.
pub fn check_past(at: Option<Point>, past: &[Point]) -> Result<(), RecordError> {
    if past.len() > PAST {
        return Err(RecordError::TooManyPast(past.len()));
    }
    let mut seen = Vec::with_capacity(PAST + 1);
    for point in at.iter().chain(past) {
        check_number(*point)?;
        if seen.contains(&point.generation) {
            return Err(RecordError::Repeated(point.generation.number()));
        }
        seen.push(point.generation);
    }
    Ok(())
}

fn check_number(point: Point) -> Result<(), RecordError> {
    if point.number < NUMBER_LIMIT {
        Ok(())
    } else {
        Err(RecordError::Number(point.number))
    }
}

fn push_point(bytes: &mut Vec<u8>, point: Option<Point>) {
    let (generation, number) = point.map_or((0, 0), |at| (at.generation.number(), at.number));
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
}

/// The point of [`POINT_SIZE`] bytes.
fn point_of(bytes: &[u8]) -> Result<Option<Point>, RecordError> {
    let number = u64::from_le_bytes(piece(bytes, 8));
    match Generation::new(u64::from_le_bytes(piece(bytes, 0))) {
        Some(generation) => Ok(Some(Point { generation, number })),
        None if number == 0 => Ok(None),
        None => Err(RecordError::NoGeneration),
    }
}

/// `N` bytes at `at`, where the caller knows that they are there.
fn piece<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut piece = [0; N];
    piece.copy_from_slice(&bytes[at..at + N]);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(of: u64, number: u64) -> Point {
        Point {
            generation: Generation::new(of).expect("not 0"),
            number,
        }
    }

    fn full() -> Record {
        Record {
            at: Some(point(100, 7)),
            next: Some(Proposal {
                point: point(101, 1),
                full: true,
            }),
            own: Generation::new(101),
            lacks: true,
            counted: true,
            forced: true,
            past: (1..=PAST as u64).map(|of| point(of, of * 3)).collect(),
        }
    }

    #[test]
    fn records_come_back() {
        let bare = Record::default();
        assert_eq!(bare.to_bytes(), [0; HEAD_SIZE]);
        let half = Record {
            lacks: false,
            counted: false,
            ..full()
        };
        let short = Record {
            next: None,
            own: None,
            past: vec![point(9, 0)],
            ..full()
        };
        for record in [bare, half, short, full(), Record::of_base(4)] {
            let bytes = record.to_bytes();
            assert!(bytes.len() <= RECORD_SIZE);
            assert_eq!(Record::from_bytes(&bytes), Ok(record));
        }
        assert_eq!(full().to_bytes().len(), RECORD_SIZE);
    }

    #[test]
    fn what_cannot_be_is_refused_by_what_it_is() {
        let changed = |at: usize, value: u64| {
            let mut bytes = full().to_bytes();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            Record::from_bytes(&bytes).expect_err("refused")
        };
        assert_eq!(changed(4, 0), RecordError::NoGeneration);
        assert_eq!(changed(44, 0), RecordError::NoGeneration);
        assert_eq!(changed(12, NUMBER_LIMIT), RecordError::Number(NUMBER_LIMIT));
        assert_eq!(changed(28, u64::MAX), RecordError::Number(u64::MAX));
        assert_eq!(changed(52, u64::MAX), RecordError::Number(u64::MAX));
        assert_eq!(changed(44, 2), RecordError::Repeated(2));
        assert_eq!(
            changed(44, 100),
            RecordError::Repeated(100),
            "the current one"
        );

        let mut bytes = full().to_bytes();
        bytes[0] = 16;
        assert_eq!(Record::from_bytes(&bytes), Err(RecordError::Flags(16)));
        bytes[0] = FULL as u8;
        bytes[20..36].fill(0);
        assert_eq!(Record::from_bytes(&bytes), Err(RecordError::Flags(FULL)));
        bytes.extend_from_slice(&[1; POINT_SIZE]);
        bytes[0] = 0;
        assert_eq!(
            Record::from_bytes(&bytes),
            Err(RecordError::TooManyPast(PAST + 1))
        );
    }

    #[test]
    fn no_length_but_whole_points_is_a_record() {
        let bytes = full().to_bytes();
        for length in 0..bytes.len() {
            let read = Record::from_bytes(&bytes[..length]);
            if length >= HEAD_SIZE && (length - HEAD_SIZE).is_multiple_of(POINT_SIZE) {
                let past = read.expect("shorter").past;
                assert_eq!(past, full().past[..(length - HEAD_SIZE) / POINT_SIZE]);
            } else {
                assert_eq!(read, Err(RecordError::Length(length)));
            }
        }
    }

    #[test]
    fn what_is_valid_comes_out_as_it_went_in() {
        let mut random = fastrand::Rng::with_seed(8);
        let mut read = 0;
        for _ in 0..100_000 {
            let mut bytes = full().to_bytes();
            bytes.truncate(HEAD_SIZE + POINT_SIZE * random.usize(..=PAST));
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.choice([0, 1, 2, 7, 0x80, 0xff]).expect("some");
            }
            if let Ok(record) = Record::from_bytes(&bytes) {
                assert_eq!(record.to_bytes(), bytes);
                read += 1;
            }
        }
        assert!(read > 10_000, "{read}");
    }
}
