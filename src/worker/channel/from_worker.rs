//! What a worker says to the main process.

use std::str::FromStr;

use super::{ChannelError, Fields, VERSION};
use crate::nv::{Nv, NvView};
use crate::wire::frame;

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
    /// The other node went on as primary without this one.
    Superseded,
}

impl HookEvent {
    /// Every event.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Disconnect,
        Self::SyncStart,
        Self::SyncDone,
        Self::SyncInterrupted,
        Self::SplitBrain,
        Self::Superseded,
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
            Self::Superseded => "superseded",
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
    /// The worker was told to stop and does not: its device is open.
    Busy {
        /// By whom, where that is known: one sentence for the administrator.
        message: String,
    },
    /// The other node went on as primary: the device fails everything. To be told to stop, the device destroyed.
    Superseded {
        /// What that means and what to do: one sentence for the administrator.
        message: String,
    },
    /// Whether somebody has the device open: a worker that is confined can not see that.
    AskOpen {
        /// To be repeated in the answer.
        number: u32,
    },
    /// A connection to the resource's `remote` (from its `source`) is wanted.
    Connect {
        /// To be repeated in the answer.
        number: u32,
    },
    /// The answer to [`ToWorker::Status`](super::ToWorker::Status).
    Report {
        /// As asked.
        number: u32,
        /// The entries of a [`WorkerStatus`](crate::control::WorkerStatus).
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
            Self::Busy { message } => {
                nv.add_str("kind", "busy").add_str("message", message);
            }
            Self::Superseded { message } => {
                nv.add_str("kind", "superseded").add_str("message", message);
            }
            Self::AskOpen { number } => {
                nv.add_str("kind", "ask-open").add_u32("number", *number);
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
            "busy" => Ok(Self::Busy {
                message: fields.text("message")?.to_owned(),
            }),
            "superseded" => Ok(Self::Superseded {
                message: fields.text("message")?.to_owned(),
            }),
            "ask-open" => Ok(Self::AskOpen {
                number: fields.number()?,
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
