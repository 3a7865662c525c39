//! The state of a resource: what hastd knows of every one, and what its worker adds.
//!
//! The entries base's hastctl reads come first and in base's order, ours ([`Details`]) after
//! them. A worker reports to hastd with the same names without the resource's number.

use super::fields::Fields;
use super::states::{Condition, Connection, Direction, LocalState, PeerState};
use crate::nv::Nv;
use crate::terms::{Checksum, Compression, Replication, Role, UnknownWord};
use std::str::FromStr;

/// A synchronisation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synchronisation {
    /// Which way.
    pub direction: Direction,
    /// Bytes copied so far.
    pub done: u64,
    /// Bytes to be copied in all.
    pub total: u64,
    /// Bytes a second, lately.
    pub rate: u64,
}

/// How a primary stands that may not always go on alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Seconds that its permit still holds, rounded up; 0 once it has run out.
    pub left: u32,
    /// Requests that are held for want of one.
    pub held: u64,
}

/// What our hastd tells beyond base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The connection to the peer.
    pub connection: Connection,
    /// The peer's copy.
    pub peer: PeerState,
    /// The local copy.
    pub local: LocalState,
    /// While copies are being made equal.
    pub synchronisation: Option<Synchronisation>,
    /// Where it goes on alone only with a permit.
    pub holding: Option<Holding>,
    /// Why the resource is not complete, in words for people.
    pub reason: Option<String>,
}

/// Requests and failures since the worker started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // what their names say
pub struct Statistics {
    pub read: u64,
    pub write: u64,
    pub delete: u64,
    pub flush: u64,
    pub activemap_update: u64,
    pub read_error: u64,
    pub write_error: u64,
    pub delete_error: u64,
    pub flush_error: u64,
}

/// Requests in each stage at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    /// Free for new requests.
    pub idle: u64,
    /// Waiting for the local component.
    pub local: u64,
    /// Waiting to be sent.
    pub send: u64,
    /// Waiting for the peer's answer.
    pub receive: u64,
    /// Waiting to be handed back.
    pub done: u64,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// The status word.
    pub condition: Condition,
    /// Bytes of extents marked dirty; 0 in a secondary.
    pub dirty: u64,
    /// Bytes.
    pub extentsize: u32,
    /// Extents kept dirty; 0 in a secondary.
    pub keepdirty: u32,
    /// Since the worker started.
    pub statistics: Statistics,
    /// Now.
    pub queues: Queues,
    /// None from base hastd.
    pub details: Option<Details>,
}

/// What hastd says of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceStatus {
    /// Name of the device.
    pub provname: String,
    /// Path of the component.
    pub localpath: String,
    /// The peer as configured, or `none`.
    pub remoteaddr: String,
    /// The source address as configured.
    pub sourceaddr: Option<String>,
    /// Configured mode.
    pub replication: Replication,
    /// Configured checksum.
    pub checksum: Checksum,
    /// Configured compression.
    pub compression: Compression,
    /// The role it is in.
    pub role: Role,
    /// The worker's process; 0 where there is none.
    pub workerpid: i32,
    /// How long ago the peer gave the role up for this node to take, in whole seconds, while that
    /// counts (our addition).
    pub invited: Option<u32>,
    /// None where there is no worker, or it did not answer.
    pub worker: Option<WorkerStatus>,
}

impl ResourceStatus {
    /// Appends the entries, each name with `suffix` behind it.
    pub(super) fn add_to(&self, nv: &mut Nv, suffix: &str) {
        let mut string = |name: &str, value: &str| {
            nv.add_str(&format!("{name}{suffix}"), value);
        };
        string("provname", &self.provname);
        string("localpath", &self.localpath);
        string("remoteaddr", &self.remoteaddr);
        if let Some(source) = &self.sourceaddr {
            string("sourceaddr", source);
        }
        string("replication", self.replication.word());
        string("checksum", self.checksum.word());
        string("compression", self.compression.word());
        string("role", self.role.word());
        nv.add_i32(&format!("workerpid{suffix}"), self.workerpid);
        if let Some(worker) = &self.worker {
            worker.add_to(nv, suffix);
        }
        if let Some(seconds) = self.invited {
            nv.add_u32(&format!("invited{suffix}"), seconds);
        }
    }

    /// Reads the entries back; the error is the name of the entry that is missing or unusable.
    pub(super) fn from_fields(fields: &Fields<'_>, suffix: &str) -> Result<Self, String> {
        let text = |name: &str| string(fields, name, suffix).map(str::to_owned);
        Ok(Self {
            provname: text("provname")?,
            localpath: text("localpath")?,
            remoteaddr: text("remoteaddr")?,
            sourceaddr: text("sourceaddr").ok(),
            replication: word(fields, "replication", suffix)?,
            checksum: word(fields, "checksum", suffix)?,
            compression: word(fields, "compression", suffix)?,
            role: word(fields, "role", suffix)?,
            workerpid: fields.i32(&format!("workerpid{suffix}")).unwrap_or(0),
            invited: fields.u32(&format!("invited{suffix}")),
            worker: match string(fields, "status", suffix) {
                Ok(_) => Some(WorkerStatus::from_fields(fields, suffix)?),
                Err(_) => None,
            },
        })
    }
}

impl WorkerStatus {
    /// The entries of a worker's report to hastd.
    pub fn to_nv(&self) -> Nv {
        let mut nv = Nv::new();
        self.add_to(&mut nv, "");
        nv
    }

    /// Reads a worker's report; the error is the name of the entry that is missing or unusable.
    pub fn from_nv(nv: &Nv) -> Result<Self, String> {
        Self::from_fields(&Fields::of(nv), "")
    }

    fn add_to(&self, nv: &mut Nv, suffix: &str) {
        nv.add_str(&format!("status{suffix}"), self.condition.word());
        nv.add_u64(&format!("dirty{suffix}"), self.dirty);
        nv.add_u32(&format!("extentsize{suffix}"), self.extentsize);
        nv.add_u32(&format!("keepdirty{suffix}"), self.keepdirty);
        let (counts, queues) = (&self.statistics, &self.queues);
        for (name, value) in [
            ("stat_read", counts.read),
            ("stat_write", counts.write),
            ("stat_delete", counts.delete),
            ("stat_flush", counts.flush),
            ("stat_activemap_update", counts.activemap_update),
            ("stat_read_error", counts.read_error),
            ("stat_write_error", counts.write_error),
            ("stat_delete_error", counts.delete_error),
            ("stat_flush_error", counts.flush_error),
            ("idle_queue_size", queues.idle),
            ("local_queue_size", queues.local),
            ("send_queue_size", queues.send),
            ("recv_queue_size", queues.receive),
            ("done_queue_size", queues.done),
        ] {
            nv.add_u64(&format!("{name}{suffix}"), value);
        }
        if let Some(details) = &self.details {
            details.add_to(nv, suffix);
        }
    }

    fn from_fields(fields: &Fields<'_>, suffix: &str) -> Result<Self, String> {
        let number = |name: &str| fields.u64(&format!("{name}{suffix}")).unwrap_or(0);
        let small = |name: &str| fields.u32(&format!("{name}{suffix}")).unwrap_or(0);
        Ok(Self {
            condition: word(fields, "status", suffix)?,
            dirty: number("dirty"),
            extentsize: small("extentsize"),
            keepdirty: small("keepdirty"),
            statistics: Statistics {
                read: number("stat_read"),
                write: number("stat_write"),
                delete: number("stat_delete"),
                flush: number("stat_flush"),
                activemap_update: number("stat_activemap_update"),
                read_error: number("stat_read_error"),
                write_error: number("stat_write_error"),
                delete_error: number("stat_delete_error"),
                flush_error: number("stat_flush_error"),
            },
            queues: Queues {
                idle: number("idle_queue_size"),
                local: number("local_queue_size"),
                send: number("send_queue_size"),
                receive: number("recv_queue_size"),
                done: number("done_queue_size"),
            },
            details: Details::from_fields(fields, suffix),
        })
    }
}

impl Details {
    fn add_to(&self, nv: &mut Nv, suffix: &str) {
        nv.add_str(&format!("connection{suffix}"), self.connection.word());
        nv.add_str(&format!("peer{suffix}"), self.peer.word());
        nv.add_str(&format!("localstate{suffix}"), self.local.word());
        if let Some(synchronisation) = &self.synchronisation {
            nv.add_str(
                &format!("syncdirection{suffix}"),
                synchronisation.direction.word(),
            );
            nv.add_u64(&format!("syncdone{suffix}"), synchronisation.done);
            nv.add_u64(&format!("synctotal{suffix}"), synchronisation.total);
            nv.add_u64(&format!("syncrate{suffix}"), synchronisation.rate);
        }
        if let Some(Holding { left, held }) = self.holding {
            nv.add_u32(&format!("permit{suffix}"), left);
            nv.add_u64(&format!("held{suffix}"), held);
        }
        if let Some(reason) = &self.reason {
            nv.add_str(&format!("reason{suffix}"), reason);
        }
    }

    /// None where they are not all there, as from base hastd.
    fn from_fields(fields: &Fields<'_>, suffix: &str) -> Option<Self> {
        let number = |name: &str| fields.u64(&format!("{name}{suffix}")).unwrap_or(0);
        let direction = word(fields, "syncdirection", suffix).ok();
        let left = fields.u32(&format!("permit{suffix}"));
        Some(Self {
            connection: word(fields, "connection", suffix).ok()?,
            peer: word(fields, "peer", suffix).ok()?,
            local: word(fields, "localstate", suffix).ok()?,
            synchronisation: direction.map(|direction| Synchronisation {
                direction,
                done: number("syncdone"),
                total: number("synctotal"),
                rate: number("syncrate"),
            }),
            holding: left.map(|left| Holding {
                left,
                held: number("held"),
            }),
            reason: string(fields, "reason", suffix).ok().map(str::to_owned),
        })
    }
}

fn string<'a>(fields: &Fields<'a>, name: &str, suffix: &str) -> Result<&'a str, String> {
    let name = format!("{name}{suffix}");
    fields.str(&name).ok_or(name)
}

fn word<T: FromStr<Err = UnknownWord>>(
    fields: &Fields<'_>,
    name: &str,
    suffix: &str,
) -> Result<T, String> {
    let text = string(fields, name, suffix)?;
    text.parse::<T>().map_err(|_| format!("{name}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_report_reads_back() {
        let mut status = WorkerStatus {
            condition: Condition::Syncing,
            dirty: 1 << 21,
            extentsize: 1 << 21,
            keepdirty: 64,
            statistics: Statistics {
                read: 1,
                write: 2,
                delete: 3,
                flush: 4,
                activemap_update: 5,
                read_error: 6,
                write_error: 7,
                delete_error: 8,
                flush_error: 9,
            },
            queues: Queues {
                idle: 10,
                local: 11,
                send: 12,
                receive: 13,
                done: 14,
            },
            details: Some(Details {
                connection: Connection::Connected,
                peer: PeerState::Inconsistent,
                local: LocalState::UpToDate,
                synchronisation: Some(Synchronisation {
                    direction: Direction::ToPeer,
                    done: 15,
                    total: 16,
                    rate: 17,
                }),
                holding: Some(Holding { left: 7, held: 3 }),
                reason: Some("the peer is being brought up to date".into()),
            }),
        };
        assert_eq!(WorkerStatus::from_nv(&status.to_nv()).as_ref(), Ok(&status));
        status.details = None;
        assert_eq!(WorkerStatus::from_nv(&status.to_nv()).as_ref(), Ok(&status));
    }

    #[test]
    fn an_unusable_word_is_named() {
        let mut nv = Nv::new();
        nv.add_str("status", "splendid");
        assert_eq!(WorkerStatus::from_nv(&nv), Err("status".into()));
    }
}
