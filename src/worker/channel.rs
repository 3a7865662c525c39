//! What hastd's main process and its workers say to each other, over the unix socket between them.
//!
//! Every message is one of [`wire::frame`](crate::wire::frame), version 2, without a payload; its nv
//! says what it is in `kind`. Descriptors travel beside the messages (see [`crate::passing`]):
//! [`ToWorker::descriptors`] says how many belong to one. Turns values into bytes and back, and
//! nothing else: sockets are [`super::link`]'s and the daemon's.

use std::path::Path;
use std::str::FromStr;

use crate::config::{Config, NodeNames, Resource};
use crate::engine::primary::{Hello, Promotion};
use crate::nv::{Nv, NvView};
use crate::terms::Role;
use crate::wire::frame::{self, Limits};

/// The number at which a worker finds its end of the socket.
pub const DESCRIPTOR: i32 = 3;

/// The one argument with which hastd is executed as a worker.
pub const ARGUMENT: &str = "--worker";

/// What either side is willing to take: the longest is a resource's configuration, a few KiB.
pub const LIMITS: Limits = Limits {
    nv: 1 << 20,
    payload: 0,
};

/// The version in the messages' headers.
const VERSION: u8 = 2;

/// The node under which a resource's configuration is written down for a worker.
const NODE: &str = "this-node";

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The configuration changed in place.
    Reload(Box<Resource>),
    /// A report is wanted.
    Status {
        /// To be repeated in the report.
        number: u32,
    },
    /// End cleanly.
    Stop,
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
            Self::ConnectionFailed { .. } | Self::Reload(_) | Self::Status { .. } | Self::Stop => 0,
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
            Self::Reload(resource) => {
                nv.add_str("kind", "reload")
                    .add_str("resource", &resource_to_text(resource));
            }
            Self::Status { number } => {
                nv.add_str("kind", "status").add_u32("number", *number);
            }
            Self::Stop => {
                nv.add_str("kind", "stop");
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
            "reload" => Ok(Self::Reload(Box::new(fields.resource()?))),
            "status" => Ok(Self::Status {
                number: fields.number()?,
            }),
            "stop" => Ok(Self::Stop),
            unknown => Err(ChannelError::Kind(unknown.to_owned())),
        }
    }
}

/// Something that a resource's `exec` program is run for (spec, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookEvent {
    /// A pair of connections works.
    Connect,
    /// It is gone.
    Disconnect,
    /// A synchronisation began.
    SyncStart,
    /// It is complete.
    SyncDone,
    /// It was interrupted.
    SyncInterrupted,
    /// Both nodes wrote apart from each other.
    SplitBrain,
}

impl HookEvent {
    /// Every event.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Disconnect,
        Self::SyncStart,
        Self::SyncDone,
        Self::SyncInterrupted,
        Self::SplitBrain,
    ];

    /// The program's first argument.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::SyncStart => "syncstart",
            Self::SyncDone => "syncdone",
            Self::SyncInterrupted => "syncintr",
            Self::SplitBrain => "split-brain",
        }
    }
}

impl FromStr for HookEvent {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|event| event.word() == word)
            .ok_or(())
    }
}

/// From a worker to the main process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// The role is taken: component open and locked, promotion allowed, provider listening.
    Started,
    /// It can not be taken, or no longer be kept; the worker exits with this code after it.
    Refused {
        /// Of sysexits(3).
        exit: u8,
        /// Why: one sentence for the administrator.
        message: String,
    },
    /// A connection to the resource's `remote` (from its `source`) is wanted.
    Connect {
        /// To be repeated in the answer.
        number: u32,
    },
    /// The answer to [`ToWorker::Status`].
    Report {
        /// As asked.
        number: u32,
        /// The entries of a [`ResourceStatus`](crate::control::ResourceStatus).
        status: Nv,
    },
    /// Run the resource's `exec` program.
    Hook(HookEvent),
}

impl FromWorker {
    /// The whole message.
    pub fn encode(&self) -> Vec<u8> {
        let mut nv = Nv::new();
        match self {
            Self::Started => {
                nv.add_str("kind", "started");
            }
            Self::Refused { exit, message } => {
                nv.add_str("kind", "refused")
                    .add_u8("exit", *exit)
                    .add_str("message", message);
            }
            Self::Connect { number } => {
                nv.add_str("kind", "connect").add_u32("number", *number);
            }
            Self::Report { number, status } => {
                nv.add_str("kind", "report").add_u32("number", *number);
                nv.add_bytes("status", status.as_bytes());
            }
            Self::Hook(event) => {
                nv.add_str("kind", "hook").add_str("event", event.word());
            }
        }
        frame::encode(VERSION, &nv, &[])
    }

    /// Reads a message's entries.
    pub fn decode(nv: NvView<'_>) -> Result<Self, ChannelError> {
        let fields = Fields::of(nv);
        match fields.kind {
            "started" => Ok(Self::Started),
            "refused" => Ok(Self::Refused {
                exit: fields.byte("exit")?,
                message: fields.text("message")?.to_owned(),
            }),
            "connect" => Ok(Self::Connect {
                number: fields.number()?,
            }),
            "report" => {
                let status = nv.bytes("status").unwrap_or_default();
                let status = Nv::decode(status).map_err(|_| fields.invalid("status"))?;
                Ok(Self::Report {
                    number: fields.number()?,
                    status,
                })
            }
            "hook" => {
                let event = fields.text("event")?.parse();
                event.map(Self::Hook).map_err(|()| fields.invalid("event"))
            }
            unknown => Err(ChannelError::Kind(unknown.to_owned())),
        }
    }
}

fn write_begin(nv: &mut Nv, begin: &Begin) {
    nv.add_str("kind", "begin")
        .add_str("resource", &resource_to_text(&begin.resource));
    nv.add_u8("debug", begin.debug)
        .add_u8("foreground", u8::from(begin.foreground));
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
            nv.add_u64("resuid", hello.resuid)
                .add_u8("virgin", u8::from(hello.virgin));
            nv.add_u64("localcnt", hello.localcnt)
                .add_u64("remotecnt", hello.remotecnt);
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
                resuid: fields.long("resuid")?,
                localcnt: fields.long("localcnt")?,
                remotecnt: fields.long("remotecnt")?,
                virgin: fields.byte("virgin")? != 0,
            },
        }),
        Ok(Role::Init) | Err(_) => return Err(fields.invalid("role")),
    };
    Ok(ToWorker::Begin(Box::new(Begin {
        resource: fields.resource()?,
        assignment,
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

    fn number(&self) -> Result<u32, ChannelError> {
        self.nv.u32("number").ok_or_else(|| self.invalid("number"))
    }

    fn resource(&self) -> Result<Resource, ChannelError> {
        resource_from_text(self.text("resource")?).map_err(|why| ChannelError::Resource {
            kind: self.kind.to_owned(),
            why,
        })
    }
}

/// A resource as a hast.toml of its own: the one notation that both processes read anyway.
fn resource_to_text(resource: &Resource) -> String {
    let mut node = toml::Table::new();
    node.insert("remote".into(), resource.remote_text().into());
    if let Some(source) = &resource.source {
        node.insert("source".into(), source.text().into());
    }
    let mut table = toml::Table::new();
    table.insert("name".into(), resource.provname.as_str().into());
    table.insert(
        "local".into(),
        resource.local.to_string_lossy().as_ref().into(),
    );
    table.insert("replication".into(), resource.replication.word().into());
    table.insert("checksum".into(), resource.checksum.word().into());
    table.insert("compression".into(), resource.compression.word().into());
    table.insert("timeout".into(), (resource.timeout.as_secs() as i64).into());
    if let Some(exec) = &resource.exec {
        table.insert("exec".into(), exec.to_string_lossy().as_ref().into());
    }
    table.insert("metaflush".into(), resource.metaflush.into());
    table.insert("provider".into(), resource.provider.to_string().into());
    table.insert("buffers".into(), (resource.buffers as i64).into());
    table.insert(
        "on".into(),
        toml::Table::from_iter([(NODE.to_owned(), node.into())]).into(),
    );
    let resources = toml::Table::from_iter([(resource.name.clone(), table.into())]);
    toml::Table::from_iter([("resource".to_owned(), resources.into())]).to_string()
}

fn resource_from_text(text: &str) -> Result<Resource, String> {
    let config = Config::parse(text, Path::new("worker.toml"), &NodeNames::named(NODE));
    let mut resources = config.map_err(|error| error.to_string())?.resources;
    match (resources.pop(), resources.is_empty()) {
        (Some(resource), true) => Ok(resource),
        _ => Err("not one resource".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Message;

    fn resource(text: &str) -> Resource {
        let config = Config::parse(text, Path::new("hast.conf"), &NodeNames::named("a"));
        config.expect("valid").resources.pop().expect("one")
    }

    fn plain() -> Resource {
        resource("resource disk1 { local /tmp/disk1 on a { remote 10.0.0.2 } }")
    }

    fn elaborate() -> Resource {
        resource(
            "exec /bin/true\ntimeout 7\nresource a/b { name \"we.i\\\\rd\" provider nbd 127.0.0.1:7 buffers 8m\n\
             replication async checksum sha256 compression lzf metaflush off\n\
             on a { local \"/tmp/a b\" remote tcp6://[::1]:9 source tcp4://127.0.0.1 } }",
        )
    }

    fn nv_of(bytes: &[u8]) -> Nv {
        let message = Message::read_from(&mut &*bytes, LIMITS).expect("a message");
        assert_eq!(message.version, 2);
        message.nv
    }

    fn hello() -> Hello {
        Hello {
            resuid: u64::MAX,
            localcnt: 3,
            remotecnt: 2,
            virgin: true,
        }
    }

    #[test]
    fn what_main_says_comes_back() {
        let introduction = Introduction {
            version: 2,
            extension: 1,
            hello: hello(),
        };
        let begin = |resource, assignment| {
            ToWorker::Begin(Box::new(Begin {
                resource,
                assignment,
                debug: 2,
                foreground: true,
            }))
        };
        let messages = [
            (begin(plain(), Assignment::Primary(Promotion::Asked)), 0),
            (
                begin(elaborate(), Assignment::Primary(Promotion::Forced)),
                0,
            ),
            (begin(plain(), Assignment::Primary(Promotion::Resumed)), 0),
            (begin(elaborate(), Assignment::Secondary(introduction)), 2),
            (ToWorker::Connection { number: 7 }, 1),
            (
                ToWorker::ConnectionFailed {
                    number: 8,
                    reason: "refused".into(),
                },
                0,
            ),
            (ToWorker::Reload(Box::new(elaborate())), 0),
            (ToWorker::Status { number: 9 }, 0),
            (ToWorker::Stop, 0),
        ];
        for (message, descriptors) in messages {
            let nv = nv_of(&message.encode());
            assert_eq!(ToWorker::decode(nv.view()).as_ref(), Ok(&message));
            assert_eq!(message.descriptors(), descriptors);
        }
    }

    #[test]
    fn addresses_keep_their_spelling() {
        let before = elaborate();
        let nv = nv_of(&ToWorker::Reload(Box::new(before.clone())).encode());
        let Ok(ToWorker::Reload(after)) = ToWorker::decode(nv.view()) else {
            panic!("no reload")
        };
        assert_eq!(after.remote_text(), before.remote_text());
        let text = |resource: &Resource| resource.source.as_ref().map(ToString::to_string);
        assert_eq!(text(&after), text(&before));
    }

    #[test]
    fn what_a_worker_says_comes_back() {
        let mut status = Nv::new();
        status.add_str("resource0", "disk1").add_u64("dirty0", 5);
        let mut messages = vec![
            FromWorker::Started,
            FromWorker::Refused {
                exit: 78,
                message: "no".into(),
            },
            FromWorker::Connect { number: 1 },
            FromWorker::Report { number: 2, status },
            FromWorker::Report {
                number: 3,
                status: Nv::new(),
            },
        ];
        messages.extend(HookEvent::ALL.map(FromWorker::Hook));
        for message in messages {
            let nv = nv_of(&message.encode());
            assert_eq!(FromWorker::decode(nv.view()).as_ref(), Ok(&message));
        }
    }

    #[test]
    fn what_is_no_message_is_named() {
        let error = |nv: &Nv| ToWorker::decode(nv.view()).expect_err("none").to_string();
        assert!(error(&Nv::new()).contains("unknown kind ''"));
        let mut nv = Nv::new();
        nv.add_str("kind", "begin");
        assert!(error(&nv).contains("'begin'") && error(&nv).contains("'role'"));
        nv.add_str("role", "init");
        assert!(error(&nv).contains("'role'"));
        let mut reload = Nv::new();
        reload
            .add_str("kind", "reload")
            .add_str("resource", "nonsense");
        assert!(error(&reload).contains("'reload'"));
    }
}
