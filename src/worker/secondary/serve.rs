//! The secondary's side of the handshake, from the primary's second message on (spec, section 3).
//!
//! Never decides: the engine does. Invariant: what the answer says is on the disk before it is sent.

use std::io::{self, Write};

use socket2::Socket;

use crate::config::Resource;
use crate::disk::DiskError;
use crate::engine::handshake::{self, Agreement, MapSent, Refusal, Source};
use crate::layout::{Bitmap, Metadata};
use crate::wire::frame;
use crate::wire::handshake::{self as messages, ComponentFacts, StartAnswer, SyncSource};
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

/// Answers the primary's second message; returns the metadata agreed on, which is on the disk, and who is
/// the source of what has to be copied.
pub fn answer(
    local: &Local,
    resource: &Resource,
    metadata: Metadata,
    primary: &Introduction,
    socket: &Socket,
) -> Result<(Metadata, Source), ServeError> {
    let facts = facts_of(local, &metadata);
    match handshake::decide(metadata, &primary.hello, primary.extension > 0) {
        Ok(agreement) => agree(local, resource, agreement, primary.version, socket),
        Err(refusal) => {
            let message = messages::Refusal::new(refusal.to_string()).to_nv_after(facts);
            send(socket, &frame::encode(primary.version, &message, &[]))?;
            Err(refusal.into())
        }
    }
}

fn agree(
    local: &Local,
    resource: &Resource,
    agreement: Agreement,
    version: u8,
    socket: &Socket,
) -> Result<(Metadata, Source), ServeError> {
    let Agreement {
        metadata,
        source,
        map,
        virgin,
    } = agreement;
    let map = match map {
        MapSent::Nothing => {
            let map = local.read_map()?;
            if map.is_empty() {
                Vec::new()
            } else {
                to_bytes(local, &map)
            }
        }
        MapSent::OnDisk => to_bytes(local, &local.read_map()?),
        MapSent::Everything => {
            let mut map = Bitmap::new(local.geometry().extents);
            map.set_all();
            // Before the metadata: see `MapSent::Everything`.
            local.write_whole_map(&map)?;
            to_bytes(local, &map)
        }
    };
    local.write_metadata(&metadata)?;
    let facts = facts_of(local, &metadata);
    let answer = StartAnswer {
        datasize: facts.datasize,
        extentsize: facts.extentsize,
        localcnt: facts.localcnt,
        remotecnt: facts.remotecnt,
        virgin,
        syncsrc: match source {
            Source::Primary => SyncSource::Primary,
            Source::Secondary => SyncSource::Secondary,
        },
        map,
    };
    send(
        socket,
        &answer.encode(version, resource.compression, resource.checksum),
    )?;
    Ok((metadata, source))
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
