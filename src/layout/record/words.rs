//! A record in plain words, for people: `hastctl dump`, the log.

use std::fmt;

use super::{Generation, Point, Record};

/// 16 hexadecimal digits.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.number())
    }
}

/// `generation/number`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.generation, self.number)
    }
}

/// What the record says, in short clauses that are separated by semicolons.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.lacks {
            "lacks data of the other node"
        } else {
            "complete"
        })?;
        match self.at {
            Some(at) => write!(f, "; last common point {at}")?,
            None => f.write_str("; no common point with the other node yet")?,
        }
        if let Some(next) = self.next {
            let full = if next.full {
                ", nothing left to copy"
            } else {
                ""
            };
            write!(f, "; point {} proposed{full}", next.point)?;
        }
        if let Some(own) = self.own {
            write!(f, "; went on alone as {own}")?;
        }
        if self.forced {
            f.write_str("; taken as the truth by force")?;
        }
        if self.counted {
            f.write_str("; localcnt and remotecnt decide until the next common point")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Proposal;
    use super::*;

    #[test]
    fn a_record_says_what_it_means() {
        assert_eq!(
            Record::default().to_string(),
            "complete; no common point with the other node yet"
        );
        let at = |number| Point {
            generation: Generation::new(0xa5).expect("not 0"),
            number,
        };
        let record = Record {
            at: Some(at(7)),
            next: Some(Proposal {
                point: at(8),
                full: true,
            }),
            own: Generation::new(1),
            lacks: true,
            counted: true,
            forced: true,
            past: Vec::new(),
        };
        assert_eq!(
            record.to_string(),
            "lacks data of the other node; last common point 00000000000000a5/7; \
             point 00000000000000a5/8 proposed, nothing left to copy; went on alone as \
             0000000000000001; taken as the truth by force; localcnt and remotecnt decide until the next common point"
        );
    }
}
