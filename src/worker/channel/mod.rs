//! What hastd's main process and its workers say to each other, over the unix socket between them.
//!
//! Every message is one of [`wire::frame`](crate::wire::frame), version 2, without a payload; its nv
//! says what it is in `kind`. Descriptors travel beside the messages (see [`crate::passing`]):
//! [`ToWorker::descriptors`] says how many belong to one. Turns values into bytes and back, and
//! nothing else: sockets are [`super::link`]'s and the daemon's.

mod from_worker;
mod resource_text;

pub use from_worker::{FromWorker, HookEvent};

use crate::config::Resource;
use crate::control::Permit;
use crate::engine::meeting::Hello;
use crate::engine::primary::Promotion;
use crate::layout::{Record, Standing};
use crate::nv::{Nv, NvView};
use crate::terms::Role;
use crate::wire::frame::{self, Limits};

/// The number at which a worker finds its end of the socket.
pub const DESCRIPTOR: i32 = 3;

/// The number at which it finds the pipe that takes its log (see [`relay`](crate::logging::relay)).
pub const LOG_DESCRIPTOR: i32 = 4;

/// The one argument with which hastd is executed as a worker.
pub const ARGUMENT: &str = "--worker";

/// What either side is willing to take: the longest is a resource's configuration, a few KiB.
pub const LIMITS: Limits = Limits {
    nv: 1 << 20,
    payload: 0,
};

/// The version in the messages' headers.
const VERSION: u8 = 2;

/// Why bytes of the other process are no message: the two are not of one version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// An entry that must be there is not, or makes no sense.
    #[error("message '{kind}' between hastd and its worker without a valid '{field}'")]
    Field {
        /// The message's kind.
        kind: String,
        /// The entry's name.
        field: &'static str,
    },
    /// A kind that nobody knows.
    #[error("message of unknown kind '{0}' between hastd and its worker")]
    Kind(String),
    /// The resource's configuration can not be read back.
    #[error("message '{kind}' between hastd and its worker: {why}")]
    Resource {
        /// The message's kind.
        kind: String,
        /// What the parser says.
        why: String,
    },
}

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// The resource.
    pub resource: Resource,
    /// What to be for it.
    pub assignment: Assignment,
    /// What a primary may acknowledge alone.
    pub permit: Permit,
    /// How often -d was given to hastd.
    pub debug: u8,
    /// Whether to log to standard error rather than to syslog.
    pub foreground: bool,
}

/// A role and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// Offer the device; asks for its connections itself.
    Primary(Promotion),
    /// Answer this primary. Two descriptors come with it: its first and its second connection.
    Secondary(Introduction),
}

impl Assignment {
    /// The role.
    pub const fn role(&self) -> Role {
        match self {
            Self::Primary(_) => Role::Primary,
            Self::Secondary(_) => Role::Secondary,
        }
    }
}

/// What the main process has read from a primary, and agreed on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The protocol version of the first answer.
    pub version: u8,
    /// The level of our extension in the first answer; 0 for none.
    pub extension: u8,
    /// What the second message said of the primary's data.
    pub hello: Hello,
}

/// From the main process to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// The first message.
    Begin(Box<Begin>),
    /// The answer to [`FromWorker::Connect`]: one descriptor comes with it, a connected TCP socket.
    Connection {
        /// As asked.
        number: u32,
    },
    /// The other answer to [`FromWorker::Connect`].
    ConnectionFailed {
        /// As asked.
        number: u32,
        /// Why, for the log.
        reason: String,
    },
    /// What a primary may acknowledge alone.
    Permit(Permit),
    /// The configuration changed in place.
    Reload(Box<Resource>),
    /// A report is wanted.
    Status {
        /// To be repeated in the report.
        number: u32,
    },
    /// End cleanly; a primary whose device is to be released may answer [`FromWorker::Busy`] instead.
    Stop(DeviceFate),
}

/// What becomes of a primary's device when its worker ends. Only GEOM gate's can outlive it, and be open
/// by others; any other goes with the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFate {
    /// It goes, unless somebody has it open: then the worker stays.
    Release,
    /// It goes; who has it open gets errors.
    Destroy,
    /// It goes, unless somebody has it open: then it stays, and what they ask waits for the next worker.
    Vacate,
    /// It stays, and what is asked of it waits for the next worker.
    Keep,
}

impl DeviceFate {
    const ALL: [Self; 4] = [Self::Release, Self::Destroy, Self::Vacate, Self::Keep];

    const fn word(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Destroy => "destroy",
            Self::Vacate => "vacate",
            Self::Keep => "keep",
        }
    }
}

impl ToWorker {
    /// How many descriptors belong to it.
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Begin(begin) => match begin.assignment {
                Assignment::Primary(_) => 0,
                Assignment::Secondary(_) => 2,
            },
            Self::Connection { .. } => 1,
            Self::ConnectionFailed { .. }
            | Self::Permit(_)
            | Self::Reload(_)
            | Self::Status { .. }
            | Self::Stop(_) => 0,
        }
    }

    /// The whole message.
    pub fn encode(&self) -> Vec<u8> {
        let mut nv = Nv::new();
        match self {
            Self::Begin(begin) => write_begin(&mut nv, begin),
            Self::Connection { number } => {
                nv.add_str("kind", "connection").add_u32("number", *number);
            }
            Self::ConnectionFailed { number, reason } => {
                nv.add_str("kind", "connection-failed")
                    .add_u32("number", *number);
                nv.add_str("reason", reason);
            }
            Self::Permit(permit) => {
                nv.add_str("kind", "permit");
                permit.add_to(&mut nv);
            }
            Self::Reload(resource) => {
                nv.add_str("kind", "reload")
                    .add_str("resource", &resource_text::write(resource));
            }
            Self::Status { number } => {
                nv.add_str("kind", "status").add_u32("number", *number);
            }
            Self::Stop(device) => {
                nv.add_str("kind", "stop").add_str("device", device.word());
            }
        }
        frame::encode(VERSION, &nv, &[])
    }

    /// Reads a message's entries.
    pub fn decode(nv: NvView<'_>) -> Result<Self, ChannelError> {
        let fields = Fields::of(nv);
        match fields.kind {
            "begin" => read_begin(&fields),
            "connection" => Ok(Self::Connection {
                number: fields.number()?,
            }),
            "connection-failed" => Ok(Self::ConnectionFailed {
                number: fields.number()?,
                reason: fields.text("reason")?.to_owned(),
            }),
            "permit" => Ok(Self::Permit(Permit::from_nv(fields.nv))),
            "reload" => Ok(Self::Reload(Box::new(fields.resource()?))),
            "status" => Ok(Self::Status {
                number: fields.number()?,
            }),
            "stop" => {
                let word = fields.text("device")?;
                let fate = DeviceFate::ALL.into_iter().find(|fate| fate.word() == word);
                fate.map(Self::Stop).ok_or_else(|| fields.invalid("device"))
            }
            unknown => Err(ChannelError::Kind(unknown.to_owned())),
        }
    }
}

fn write_begin(nv: &mut Nv, begin: &Begin) {
    nv.add_str("kind", "begin")
        .add_str("resource", &resource_text::write(&begin.resource));
    nv.add_u8("debug", begin.debug)
        .add_u8("foreground", u8::from(begin.foreground));
    begin.permit.add_to(nv);
    nv.add_str("role", begin.assignment.role().word());
    match &begin.assignment {
        Assignment::Primary(promotion) => {
            nv.add_str("promotion", promotion_word(*promotion));
        }
        Assignment::Secondary(introduction) => {
            let Introduction {
                version,
                extension,
                hello,
            } = introduction;
            nv.add_u8("version", *version)
                .add_u8("extension", *extension);
            let standing = &hello.standing;
            nv.add_u64("resuid", standing.resuid)
                .add_u64("localcnt", standing.localcnt)
                .add_u64("remotecnt", standing.remotecnt)
                .add_bytes("record", &standing.record.to_bytes());
            nv.add_u8("virgin", u8::from(hello.virgin))
                .add_u8("holds", u8::from(hello.holds))
                .add_u8("leans", u8::from(hello.leans));
        }
    }
}

fn read_begin(fields: &Fields<'_>) -> Result<ToWorker, ChannelError> {
    let assignment = match fields.text("role")?.parse() {
        Ok(Role::Primary) => {
            let promotion = promotion_of(fields.text("promotion")?);
            Assignment::Primary(promotion.ok_or_else(|| fields.invalid("promotion"))?)
        }
        Ok(Role::Secondary) => Assignment::Secondary(Introduction {
            version: fields.byte("version")?,
            extension: fields.byte("extension")?,
            hello: Hello {
                standing: Standing {
                    resuid: fields.long("resuid")?,
                    localcnt: fields.long("localcnt")?,
                    remotecnt: fields.long("remotecnt")?,
                    record: Record::from_bytes(fields.bytes("record")?)
                        .map_err(|_| fields.invalid("record"))?,
                },
                virgin: fields.byte("virgin")? != 0,
                holds: fields.byte("holds")? != 0,
                leans: fields.byte("leans")? != 0,
            },
        }),
        Ok(Role::Init) | Err(_) => return Err(fields.invalid("role")),
    };
    Ok(ToWorker::Begin(Box::new(Begin {
        resource: fields.resource()?,
        assignment,
        permit: Permit::from_nv(fields.nv),
        debug: fields.byte("debug")?,
        foreground: fields.byte("foreground")? != 0,
    })))
}

const fn promotion_word(promotion: Promotion) -> &'static str {
    match promotion {
        Promotion::Asked => "asked",
        Promotion::Forced => "forced",
        Promotion::Resumed => "resumed",
    }
}

fn promotion_of(word: &str) -> Option<Promotion> {
    let all = [Promotion::Asked, Promotion::Forced, Promotion::Resumed];
    all.into_iter()
        .find(|promotion| promotion_word(*promotion) == word)
}

/// A message's entries, with the errors of this room.
struct Fields<'a> {
    nv: NvView<'a>,
    kind: &'a str,
}

impl<'a> Fields<'a> {
    fn of(nv: NvView<'a>) -> Self {
        let kind = nv.into_entries().find_map(|entry| match entry.value {
            crate::nv::Value::Str(text) if entry.name == b"kind" => std::str::from_utf8(text).ok(),
            _ => None,
        });
        Self {
            nv,
            kind: kind.unwrap_or_default(),
        }
    }

    fn invalid(&self, field: &'static str) -> ChannelError {
        ChannelError::Field {
            kind: self.kind.to_owned(),
            field,
        }
    }

    fn text(&self, field: &'static str) -> Result<&str, ChannelError> {
        self.nv.str(field).ok_or_else(|| self.invalid(field))
    }

    fn byte(&self, field: &'static str) -> Result<u8, ChannelError> {
        self.nv.u8(field).ok_or_else(|| self.invalid(field))
    }

    fn long(&self, field: &'static str) -> Result<u64, ChannelError> {
        self.nv.u64(field).ok_or_else(|| self.invalid(field))
    }

    fn bytes(&self, field: &'static str) -> Result<&[u8], ChannelError> {
        self.nv.bytes(field).ok_or_else(|| self.invalid(field))
    }

    fn number(&self) -> Result<u32, ChannelError> {
        self.nv.u32("number").ok_or_else(|| self.invalid("number"))
    }

    fn resource(&self) -> Result<Resource, ChannelError> {
        resource_text::read(self.text("resource")?).map_err(|why| ChannelError::Resource {
            kind: self.kind.to_owned(),
            why,
        })
    }
}

#[cfg(test)]
mod tests;
