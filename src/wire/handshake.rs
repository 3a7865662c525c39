//! The messages that open a pair of connections (spec, section 3): what each says, and in which
//! order base hastd says it. Decisions (which counters win, which component fits) are the engine's.
//!
//! `extension` is an entry of ours, a level; base hastd ignores it, and we write it only where told to. Two
//! nodes that both said it say more of themselves in the messages after it (see `standing.rs`).

use super::payload::{self, PayloadError, PayloadFields, Unpacked};
use super::{PROTOCOL_VERSION, frame};
use crate::layout::RecordError;
use crate::layout::record::NUMBER_LIMIT;
use crate::nv::{Nv, NvView};
use crate::terms::{Checksum, Compression};

pub mod query;
mod refusal;
mod standing;

use crate::layout::Standing;
use query::Query;
pub use refusal::Refusal;
pub use standing::{Identity, Situation};

/// Length of the token that pairs the two connections, in bytes.
pub const TOKEN_SIZE: usize = 16;

/// Pairs the second connection with the first: random, made by the secondary.
pub type Token = [u8; TOKEN_SIZE];

/// Why a message of the handshake can not be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// An entry that must be there is not, or is not of its type.
    #[error("the peer's {what} has no valid '{field}'")]
    Missing {
        /// Which message.
        what: &'static str,
        /// The entry's name.
        field: &'static str,
    },
    /// A record that cannot be.
    #[error("the peer's {what} holds a damaged record: {error}")]
    Record {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        error: RecordError,
    },
    /// A counter that no node reaches.
    #[error(
        "the peer's {what} holds the {field} {value}: its metadata is damaged, or the message forged"
    )]
    Counter {
        /// Which message.
        what: &'static str,
        /// The entry's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A version that was not offered.
    #[error("the peer answered with protocol version {0}, which was not offered")]
    Version(u8),
    /// The map is of another component than ours.
    #[error(
        "the peer's activemap has {found} bytes where {needed} are needed: were both components created with the same size and extent size?"
    )]
    MapSize {
        /// The length announced.
        found: usize,
        /// The least that our own extents need.
        needed: u64,
    },
    /// The map's payload is damaged.
    #[error("the peer's activemap: {0}")]
    Map(#[from] PayloadError),
}

fn required<T>(
    value: Option<T>,
    what: &'static str,
    field: &'static str,
) -> Result<T, HandshakeError> {
    value.ok_or(HandshakeError::Missing { what, field })
}

/// A counter of the peer's metadata: below 2^63, so that none ever wraps.
fn counter(nv: NvView<'_>, what: &'static str, field: &'static str) -> Result<u64, HandshakeError> {
    let value = required(nv.u64(field), what, field)?;
    if value < NUMBER_LIMIT {
        Ok(value)
    } else {
        Err(HandshakeError::Counter { what, field, value })
    }
}

fn token_of(nv: NvView<'_>) -> Option<Token> {
    nv.bytes("token")?.try_into().ok()
}

/// An answer, or the refusal in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// The peer goes on.
    Accepted(T),
    /// The peer does not, and closes.
    Refused(Refusal),
}

/// The first message, from the primary on the first connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The resource's name.
    pub resource: String,
    /// The newest protocol version that the primary speaks; none means 1.
    pub version: Option<u8>,
    /// The level of our extension that the primary speaks.
    pub extension: Option<u8>,
}

impl Hello {
    /// The message's entries.
    pub fn to_nv(&self) -> Nv {
        Nv::build(|nv| {
            nv.str("resource", &self.resource);
            if let Some(version) = self.version {
                nv.u8("version", version);
            }
            if let Some(level) = self.extension {
                nv.u8("extension", level);
            }
        })
    }

    fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        let resource = required(nv.str("resource"), "first message", "resource")?.to_owned();
        Ok(Self {
            resource,
            version: nv.u8("version"),
            extension: nv.u8("extension"),
        })
    }

    /// The version to answer with: the lower of ours and the offered one.
    pub fn negotiated(&self) -> u8 {
        self.version.unwrap_or(1).clamp(1, PROTOCOL_VERSION)
    }
}

/// What a listener gets first on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The first connection of a pair.
    Hello(Hello),
    /// The second: it shows the token.
    Start(Start),
    /// A question, on a connection of its own.
    Query(Query),
}

impl Opening {
    /// Reads the entries; what tells the first two apart is the token.
    pub fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        if Query::is_one(nv) {
            Query::from_nv(nv).map(Self::Query)
        } else if nv.contains("token") {
            Start::from_nv(nv).map(Self::Start)
        } else {
            Hello::from_nv(nv).map(Self::Hello)
        }
    }

    /// The resource that it is about.
    pub fn resource(&self) -> &str {
        match self {
            Self::Hello(hello) => &hello.resource,
            Self::Start(start) => &start.resource,
            Self::Query(query) => &query.resource,
        }
    }
}

/// The secondary's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloAnswer {
    /// The version to go on with.
    pub version: u8,
    /// To be shown on the second connection.
    pub token: Token,
    /// The level of our extension to go on with.
    pub extension: Option<u8>,
}

impl HelloAnswer {
    /// The message's entries.
    pub fn to_nv(&self) -> Nv {
        Nv::build(|nv| {
            nv.u8("version", self.version).bytes("token", &self.token);
            if let Some(level) = self.extension {
                nv.u8("extension", level);
            }
        })
    }

    /// Reads the entries.
    pub fn from_nv(nv: NvView<'_>) -> Result<Answer<Self>, HandshakeError> {
        if let Some(refusal) = Refusal::from_nv(nv) {
            return Ok(Answer::Refused(refusal));
        }
        let version = nv.u8("version").unwrap_or(0).max(1);
        if version > PROTOCOL_VERSION {
            return Err(HandshakeError::Version(version));
        }
        let token = required(token_of(nv), "first answer", "token")?;
        Ok(Answer::Accepted(Self {
            version,
            token,
            extension: nv.u8("extension"),
        }))
    }
}

/// The second message, from the primary on the second connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The resource's name.
    pub resource: String,
    /// The secondary's token.
    pub token: Token,
    /// Names the data set.
    pub resuid: u64,
    /// The primary's.
    pub localcnt: u64,
    /// The primary's.
    pub remotecnt: u64,
    /// The primary has just invented `resuid`: nothing was ever written.
    pub virgin: bool,
    /// What only our extension says.
    pub ours: Option<Situation>,
}

/// What messages call [`Start`].
const SECOND_MESSAGE: &str = "second message";
/// What messages call [`StartAnswer`].
const SECOND_ANSWER: &str = "second answer";

impl Start {
    /// The message's entries.
    pub fn to_nv(&self) -> Nv {
        Nv::build(|nv| {
            nv.str("resource", &self.resource)
                .bytes("token", &self.token);
            if self.virgin {
                nv.i8("virgin", 1);
            }
            nv.u64("resuid", self.resuid);
            nv.u64("localcnt", self.localcnt)
                .u64("remotecnt", self.remotecnt);
            if let Some(ours) = &self.ours {
                ours.write(nv);
            }
        })
    }

    /// Reads the entries.
    pub fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        let what = SECOND_MESSAGE;
        Ok(Self {
            resource: required(nv.str("resource"), what, "resource")?.to_owned(),
            token: required(token_of(nv), what, "token")?,
            resuid: required(nv.u64("resuid"), what, "resuid")?,
            localcnt: required(nv.u64("localcnt"), what, "localcnt")?,
            remotecnt: required(nv.u64("remotecnt"), what, "remotecnt")?,
            virgin: nv.contains("virgin"),
            ours: Situation::from_nv(nv, what)?,
        })
    }

    /// What a primary that speaks the extension must say.
    ///
    /// # Errors
    /// [`HandshakeError::Missing`] where it did not.
    pub fn situation(&self) -> Result<&Situation, HandshakeError> {
        required(self.ours.as_ref(), SECOND_MESSAGE, standing::RECORD)
    }
}

/// Whose data is copied where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SyncSource {
    /// The primary's.
    Primary = 1,
    /// The secondary's.
    Secondary = 2,
}

/// What the third message says of the secondary's component, also where it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComponentFacts {
    /// Size of the data, in bytes.
    pub datasize: u64,
    /// Size of an extent, in bytes.
    pub extentsize: u32,
    /// The secondary's.
    pub localcnt: u64,
    /// The secondary's.
    pub remotecnt: u64,
}

impl ComponentFacts {
    fn add_to(self, nv: &mut Nv) {
        nv.add_i64("datasize", self.datasize as i64);
        nv.add_i32("extentsize", self.extentsize as i32);
        nv.add_u64("localcnt", self.localcnt)
            .add_u64("remotecnt", self.remotecnt);
    }

    fn from_nv(nv: NvView<'_>) -> Result<Self, HandshakeError> {
        let what = SECOND_ANSWER;
        let datasize = nv.i64("datasize").and_then(|size| u64::try_from(size).ok());
        let extentsize = nv
            .i32("extentsize")
            .and_then(|size| u32::try_from(size).ok());
        Ok(Self {
            datasize: required(datasize, what, "datasize")?,
            extentsize: required(extentsize, what, "extentsize")?,
            localcnt: counter(nv, what, "localcnt")?,
            remotecnt: counter(nv, what, "remotecnt")?,
        })
    }
}

/// The third message, from the secondary on the first connection, where it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartAnswer {
    /// Size of the data, in bytes.
    pub datasize: u64,
    /// Size of an extent, in bytes.
    pub extentsize: u32,
    /// The secondary's.
    pub localcnt: u64,
    /// The secondary's.
    pub remotecnt: u64,
    /// The secondary was freshly created: it took the primary's resuid.
    pub virgin: bool,
    /// Whose data is copied.
    pub syncsrc: SyncSource,
    /// The secondary's activemap as on disk; empty where there is nothing to copy.
    pub map: Vec<u8>,
    /// What only our extension says.
    pub ours: Option<Identity>,
}

impl StartAnswer {
    fn facts(&self) -> ComponentFacts {
        let Self {
            datasize,
            extentsize,
            localcnt,
            remotecnt,
            ..
        } = *self;
        ComponentFacts {
            datasize,
            extentsize,
            localcnt,
            remotecnt,
        }
    }

    /// What a secondary that speaks the extension must say of its component.
    ///
    /// # Errors
    /// [`HandshakeError::Missing`] where it did not.
    pub fn standing(&self) -> Result<Standing, HandshakeError> {
        let ours = required(self.ours.as_ref(), SECOND_ANSWER, standing::RECORD)?;
        Ok(Standing {
            resuid: ours.resuid,
            localcnt: self.localcnt,
            remotecnt: self.remotecnt,
            record: ours.record.clone(),
        })
    }

    /// The whole message, the map packed as configured.
    pub fn encode(&self, version: u8, compression: Compression, checksum: Checksum) -> Vec<u8> {
        let packed = payload::pack(&self.map, compression, checksum);
        let mut nv = self.to_nv();
        packed.fields.write(&mut nv.writer());
        frame::encode(version, &nv, &packed.bytes)
    }

    /// The message's entries, but for what describes its payload.
    pub fn to_nv(&self) -> Nv {
        let mut nv = Nv::new();
        self.facts().add_to(&mut nv);
        if self.virgin {
            nv.add_i8("virgin", 1);
        }
        nv.add_u8("syncsrc", self.syncsrc as u8)
            .add_u32("mapsize", self.map.len() as u32);
        if let Some(ours) = &self.ours {
            ours.write(&mut nv.writer());
        }
        nv
    }

    /// Reads entries and payload. `extents` is how many our own data has: the peer's map, where it is
    /// not empty, must have a bit for each, and at most [`max_map`] bytes. (It may be longer than ours
    /// on disk: base counts in its whole component, and rounds to its own sectors.)
    pub fn decode(
        nv: NvView<'_>,
        sent: &[u8],
        extents: u64,
    ) -> Result<Answer<Self>, HandshakeError> {
        if let Some(refusal) = Refusal::from_nv(nv) {
            return Ok(Answer::Refused(refusal));
        }
        let ComponentFacts {
            datasize,
            extentsize,
            localcnt,
            remotecnt,
        } = ComponentFacts::from_nv(nv)?;
        let syncsrc = match nv.u8("syncsrc") {
            Some(1) => Some(SyncSource::Primary),
            Some(2) => Some(SyncSource::Secondary),
            _ => None,
        };
        Ok(Answer::Accepted(Self {
            datasize,
            extentsize,
            localcnt,
            remotecnt,
            virgin: nv.contains("virgin"),
            syncsrc: required(syncsrc, SECOND_ANSWER, "syncsrc")?,
            map: decode_map(nv, sent, extents)?,
            ours: Identity::from_nv(nv, SECOND_ANSWER)?,
        }))
    }
}

/// The longest map that we take from a peer, in bytes: also the payload to allow for the message that
/// carries it ([`frame::Limits::with_payload`]). Twice what our own extents need, for components
/// that `hastctl create -m` used half of, and something for rounding.
pub fn max_map(extents: u64) -> usize {
    const ROUNDING: u64 = 64 << 10;
    let bytes = extents
        .div_ceil(8)
        .saturating_mul(2)
        .saturating_add(ROUNDING);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn decode_map(nv: NvView<'_>, sent: &[u8], extents: u64) -> Result<Vec<u8>, HandshakeError> {
    let found = required(nv.u32("mapsize"), SECOND_ANSWER, "mapsize")? as usize;
    if found == 0 {
        return Ok(Vec::new());
    }
    let needed = extents.div_ceil(8);
    if (found as u64) < needed || found > max_map(extents) {
        return Err(HandshakeError::MapSize { found, needed });
    }
    let fields = PayloadFields::from_nv(nv)?;
    match payload::unpack(&fields, sent, found)? {
        unpacked if unpacked.len() != found => Err(PayloadError::WrongLength {
            length: unpacked.len(),
            expected: found,
        }
        .into()),
        Unpacked::Data(data) => Ok(data.into_owned()),
        Unpacked::Zeroes(length) => Ok(vec![0; length]),
    }
}

#[cfg(test)]
mod tests;
