//! What two nodes of ours say of themselves in the handshake beside base's entries: their records. Base hastd
//! never gets these entries, and would ignore them.
//!
//! | entry | in | what |
//! | --- | --- | --- |
//! | `record`: bytes | both, and refusals | the record, as [`crate::layout::record`] has it |
//! | `holds`: uint8, `leans`: uint8 | the primary's second message | 0 or 1, see [`Situation`] |
//! | `resuid`: uint64 | the secondary's answer, and refusals | (base's own in the primary's message) |

use super::{HandshakeError, required};
use crate::layout::{Record, Standing};
use crate::nv::{NvView, NvWriter};

/// The entry whose presence says that the sender spoke the extension.
pub(super) const RECORD: &str = "record";

/// What a primary says of itself beside its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// What it knows of who has what.
    pub record: Record,
    /// Its device is open, or it holds requests.
    pub holds: bool,
    /// It was written to while it relied on this peer: what the peer has that it lacks, its own consumer wrote.
    pub leans: bool,
}

impl Situation {
    pub(super) fn write(&self, nv: &mut NvWriter<'_>) {
        nv.bytes(RECORD, &self.record.to_bytes())
            .u8("holds", u8::from(self.holds))
            .u8("leans", u8::from(self.leans));
    }

    /// None where the sender said no record.
    pub(super) fn from_nv(
        nv: NvView<'_>,
        what: &'static str,
    ) -> Result<Option<Self>, HandshakeError> {
        let Some(record) = record_of(nv, what)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            record,
            holds: required(nv.u8("holds"), what, "holds")? != 0,
            leans: required(nv.u8("leans"), what, "leans")? != 0,
        }))
    }
}

/// What a secondary says of its component beside its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Names the data set; 0 for a component that was never used.
    pub resuid: u64,
    /// What it knows of who has what.
    pub record: Record,
}

impl Identity {
    pub(super) fn write(&self, nv: &mut NvWriter<'_>) {
        write_identity(nv, self.resuid, &self.record);
    }

    /// None where the sender said no record.
    pub(super) fn from_nv(
        nv: NvView<'_>,
        what: &'static str,
    ) -> Result<Option<Self>, HandshakeError> {
        let Some(record) = record_of(nv, what)? else {
            return Ok(None);
        };
        let resuid = required(nv.u64("resuid"), what, "resuid")?;
        Ok(Some(Self { resuid, record }))
    }
}

/// What base's counters do not say.
pub(super) fn write_standing(standing: &Standing, nv: &mut NvWriter<'_>) {
    write_identity(nv, standing.resuid, &standing.record);
}

/// None where the sender said no record, or where what it said cannot be.
pub(super) fn standing_from(nv: NvView<'_>) -> Option<Standing> {
    let Identity { resuid, record } = Identity::from_nv(nv, "refusal").ok()??;
    Some(Standing {
        resuid,
        localcnt: nv.u64("localcnt")?,
        remotecnt: nv.u64("remotecnt")?,
        record,
    })
}

fn write_identity(nv: &mut NvWriter<'_>, resuid: u64, record: &Record) {
    nv.u64("resuid", resuid).bytes(RECORD, &record.to_bytes());
}

fn record_of(nv: NvView<'_>, what: &'static str) -> Result<Option<Record>, HandshakeError> {
    if !nv.contains(RECORD) {
        return Ok(None);
    }
    let bytes = required(nv.bytes(RECORD), what, RECORD)?;
    match Record::from_bytes(bytes) {
        Ok(record) => Ok(Some(record)),
        Err(error) => Err(HandshakeError::Record { what, error }),
    }
}
