//! The secondary's side of the handshake, from the primary's second message on (spec, section 3).
//!
//! Never decides: the engine does. Invariant: what the answer says is on the disk before it is sent.

use std::io::{self, Write};

use socket2::Socket;

use crate::config::Resource;
use crate::disk::DiskError;
use crate::engine::base::{self, MapSent};
use crate::engine::meeting::{self, Agreement, Refusal, Source};
use crate::layout::{Bitmap, Metadata, Standing};
use crate::terms::Role;
use crate::wire::frame;
use crate::wire::handshake::{self as messages, ComponentFacts, Identity, StartAnswer, SyncSource};
use crate::worker::channel::Introduction;
use crate::worker::local::Local;

/// Why there is no agreement.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The two do not fit; the primary has been told.
    #[error("the primary is refused: {0}")]
    Refused(#[from] Refusal),
    /// The answer could not be sent.
    #[error("cannot answer the primary: {0}")]
    Io(#[from] io::Error),
    /// What was agreed on could not be stored, or the map not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Answers the primary's second message; returns the metadata agreed on, and who is the source of what has to
/// be copied. For a base primary all that is on the disk then; one of ours tells a point first.
pub fn answer(
    local: &Local,
    resource: &Resource,
    metadata: Metadata,
    primary: &Introduction,
    socket: &Socket,
) -> Result<(Metadata, Source), ServeError> {
    let extended = primary.extension > 0;
    let standing = Standing::from(&metadata);
    match meeting::decide(&primary.hello, &standing, extended) {
        Ok(agreement) => {
            let (metadata, answer) = if extended {
                extended_answer(local, metadata, primary, agreement)?
            } else {
                base_answer(local, metadata, primary, agreement)?
            };
            let message = answer.encode(primary.version, resource.compression, resource.checksum);
            send(socket, &message)?;
            Ok((metadata, agreement.source))
        }
        Err(refusal) => {
            let facts = facts_of(local, &metadata);
            let mut message = messages::Refusal::new(refusal.to_string());
            if extended {
                message = message.with_standing(standing);
            }
            let message = message.to_nv_after(facts);
            send(socket, &frame::encode(primary.version, &message, &[]))?;
            Err(refusal.into())
        }
    }
}

/// Nothing is stored before the primary tells a point.
fn extended_answer(
    local: &Local,
    metadata: Metadata,
    primary: &Introduction,
    agreement: Agreement,
) -> Result<(Metadata, StartAnswer), DiskError> {
    let map = to_bytes(local, &local.read_map()?);
    let mut answer = start_answer(local, &metadata, agreement.source, map);
    answer.virgin = metadata.resuid == 0;
    answer.ours = Some(Identity {
        resuid: metadata.resuid,
        record: metadata.record.clone(),
    });
    let metadata = Metadata {
        resuid: primary.hello.standing.resuid,
        record: metadata.record.resolved(&primary.hello.standing.record),
        prevrole: Role::Secondary,
        ..metadata
    };
    Ok((metadata, answer))
}

fn base_answer(
    local: &Local,
    metadata: Metadata,
    primary: &Introduction,
    agreement: Agreement,
) -> Result<(Metadata, StartAnswer), DiskError> {
    let on_disk = local.read_map()?;
    let base::Answer {
        metadata,
        map,
        virgin,
    } = base::answer(metadata, &primary.hello, agreement, !on_disk.is_empty());
    let map = match map {
        MapSent::Nothing if on_disk.is_empty() => Vec::new(),
        MapSent::Nothing | MapSent::OnDisk => to_bytes(local, &on_disk),
        MapSent::Everything => {
            let mut map = on_disk;
            map.set_all();
            // Before the metadata: see `MapSent::Everything`.
            local.write_whole_map(&map)?;
            to_bytes(local, &map)
        }
    };
    local.write_metadata(&metadata)?;
    let mut answer = start_answer(local, &metadata, agreement.source, map);
    answer.virgin = virgin;
    Ok((metadata, answer))
}

fn start_answer(local: &Local, metadata: &Metadata, source: Source, map: Vec<u8>) -> StartAnswer {
    let facts = facts_of(local, metadata);
    StartAnswer {
        datasize: facts.datasize,
        extentsize: facts.extentsize,
        localcnt: facts.localcnt,
        remotecnt: facts.remotecnt,
        virgin: false,
        syncsrc: match source {
            Source::Primary => SyncSource::Primary,
            Source::Secondary => SyncSource::Secondary,
        },
        map,
        ours: None,
    }
}

fn facts_of(local: &Local, metadata: &Metadata) -> ComponentFacts {
    ComponentFacts {
        datasize: local.geometry().data_size,
        extentsize: local.geometry().extent_size,
        localcnt: metadata.localcnt,
        remotecnt: metadata.remotecnt,
    }
}

fn to_bytes(local: &Local, map: &Bitmap) -> Vec<u8> {
    map.to_bytes(usize::try_from(local.geometry().map_size).expect("a map fits the memory"))
}

fn send(socket: &Socket, message: &[u8]) -> io::Result<()> {
    let mut socket = socket;
    socket.write_all(message)
}
