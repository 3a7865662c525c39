//! A primary's permit to go on alone: until when it may acknowledge what its peer does not have.

use std::time::Duration;

use crate::moment::Moment;
use crate::nv::{Nv, NvView};

/// The name of the entry, in requests and between hastd and its workers.
const NAME: &str = "permit";

/// What a primary may acknowledge that only it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Permit {
    /// Everything, as base hastd does.
    #[default]
    Free,
    /// What is acknowledged before this moment. After it such changes, and flushes, are held until there is
    /// another permit, or the peer has them.
    Until(Moment),
}

impl Permit {
    /// The longest that one may last: whoever gives them is to be heard of from time to time.
    pub const LONGEST: Duration = Duration::from_hours(1);

    /// From now on so long; zero holds at once.
    pub fn lasting(time: Duration) -> Self {
        Self::Until(Moment::now().after(time))
    }

    /// Whether it holds at this moment.
    pub fn holds(self) -> bool {
        match self {
            Self::Free => true,
            Self::Until(end) => Moment::now() < end,
        }
    }

    /// How long it still holds; none where it does for ever.
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::Free => None,
            Self::Until(end) => Some(end.since(Moment::now())),
        }
    }

    /// Whether it lasts no longer than one may.
    pub fn is_bounded(self) -> bool {
        self.left().is_none_or(|left| left <= Self::LONGEST)
    }

    /// Adds the entry, where there is something to say.
    pub fn add_to(self, nv: &mut Nv) {
        if let Self::Until(end) = self {
            nv.add_u64(NAME, end.nanoseconds());
        }
    }

    /// Reads the entry of a message.
    pub fn from_nv(nv: NvView<'_>) -> Self {
        nv.u64(NAME)
            .map_or(Self::Free, |end| Self::Until(Moment::from_nanoseconds(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_holds_until_its_end() {
        assert!(Permit::Free.holds() && Permit::Free.is_bounded());
        assert_eq!(Permit::Free.left(), None);
        let over = Permit::lasting(Duration::ZERO);
        assert!(!over.holds());
        assert_eq!(over.left(), Some(Duration::ZERO));
        let good = Permit::lasting(Permit::LONGEST);
        assert!(good.holds() && good.is_bounded());
        assert!(good.left().unwrap() <= Permit::LONGEST);
        assert!(!Permit::lasting(2 * Permit::LONGEST).is_bounded());
    }

    #[test]
    fn a_permit_reads_back() {
        for permit in [Permit::Free, Permit::lasting(Duration::from_secs(9))] {
            let mut nv = Nv::new();
            permit.add_to(&mut nv);
            assert_eq!(Permit::from_nv(nv.view()), permit);
        }
    }
}
