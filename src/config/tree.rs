//! The tree both notations are read into: sections, each with statements and inner sections,
//! each with the line it stands on. Values are still text here.
//!
//! This is the one place that knows which statement belongs in which section.

use std::fmt;

/// Something wrong in a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1.
    pub line: usize,
    /// One sentence without its full stop: what was found and what was expected.
    pub what: String,
}

impl Problem {
    /// A problem on `line`.
    pub fn at(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

/// The statements of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keyword {
    /// Address hastctl talks to.
    Control,
    /// Address peers connect to; may repeat.
    Listen,
    /// File for the main process's number.
    Pidfile,
    /// Replication mode.
    Replication,
    /// Checksum on the wire.
    Checksum,
    /// Compression on the wire.
    Compression,
    /// Connection timeout in seconds.
    Timeout,
    /// Program run on events.
    Exec,
    /// Whether the map is flushed before the data it covers.
    Metaflush,
    /// Where requests come from: our addition.
    Provider,
    /// Memory budget of a worker: our addition.
    Buffers,
    /// Provider name.
    Name,
    /// Path of the local component.
    Local,
    /// Address of the peer, or `none`.
    Remote,
    /// Local address of connections to the peer.
    Source,
}

impl Keyword {
    /// Every statement, in the order of the manual.
    pub const ALL: [Self; 15] = [
        Self::Control,
        Self::Listen,
        Self::Pidfile,
        Self::Replication,
        Self::Checksum,
        Self::Compression,
        Self::Timeout,
        Self::Exec,
        Self::Metaflush,
        Self::Provider,
        Self::Buffers,
        Self::Name,
        Self::Local,
        Self::Remote,
        Self::Source,
    ];

    /// How it is written, in both notations.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Listen => "listen",
            Self::Pidfile => "pidfile",
            Self::Replication => "replication",
            Self::Checksum => "checksum",
            Self::Compression => "compression",
            Self::Timeout => "timeout",
            Self::Exec => "exec",
            Self::Metaflush => "metaflush",
            Self::Provider => "provider",
            Self::Buffers => "buffers",
            Self::Name => "name",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Source => "source",
        }
    }

    /// The statement a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keyword| keyword.word() == word)
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The four kinds of section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// The file itself.
    Global,
    /// `on <node>` at top level.
    Node,
    /// `resource <name>`.
    Resource,
    /// `on <node>` inside a resource.
    ResourceNode,
}

impl SectionKind {
    /// Whether a statement belongs in such a section (spec, section 6; `provider` and `buffers`
    /// are ours).
    pub const fn allows(self, keyword: Keyword) -> bool {
        match keyword {
            Keyword::Control | Keyword::Listen | Keyword::Pidfile => {
                matches!(self, Self::Global | Self::Node)
            }
            Keyword::Replication
            | Keyword::Checksum
            | Keyword::Compression
            | Keyword::Timeout
            | Keyword::Exec
            | Keyword::Buffers => matches!(self, Self::Global | Self::Resource),
            Keyword::Metaflush | Keyword::Provider => !matches!(self, Self::Node),
            Keyword::Name | Keyword::Local => matches!(self, Self::Resource | Self::ResourceNode),
            Keyword::Remote | Keyword::Source => matches!(self, Self::ResourceNode),
        }
    }

    /// The kind of section that a word opens here.
    pub fn opens(self, word: &str) -> Option<Self> {
        match (self, word) {
            (Self::Global, "on") => Some(Self::Node),
            (Self::Global, "resource") => Some(Self::Resource),
            (Self::Resource, "on") => Some(Self::ResourceNode),
            _ => None,
        }
    }

    /// Everything that may begin here, for messages.
    pub fn expected(self) -> String {
        let mut words: Vec<&str> = Keyword::ALL
            .into_iter()
            .filter(|keyword| self.allows(*keyword))
            .map(Keyword::word)
            .collect();
        words.extend(
            ["on", "resource"]
                .into_iter()
                .filter(|word| self.opens(word).is_some()),
        );
        words.join(", ")
    }

    /// How messages call such a section.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Global => "the global section",
            Self::Node => "a node's section",
            Self::Resource => "a resource",
            Self::ResourceNode => "a node's section of a resource",
        }
    }
}

/// One statement with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Which.
    pub keyword: Keyword,
    /// The value as text; of `provider nbd <address>` both words, a space between.
    pub value: String,
    /// Where.
    pub line: usize,
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Which kind.
    pub kind: SectionKind,
    /// The node's or resource's name; empty for the global section.
    pub name: String,
    /// Where it opens.
    pub line: usize,
    /// Its statements in order.
    pub statements: Vec<Statement>,
    /// Its inner sections in order.
    pub sections: Vec<Section>,
}

impl Section {
    /// An empty section.
    pub fn new(kind: SectionKind, name: impl Into<String>, line: usize) -> Self {
        Self {
            kind,
            name: name.into(),
            line,
            statements: Vec::new(),
            sections: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_belongs_somewhere_and_reads_back() {
        for keyword in Keyword::ALL {
            assert_eq!(Keyword::from_word(keyword.word()), Some(keyword));
            let kinds = [
                SectionKind::Global,
                SectionKind::Node,
                SectionKind::Resource,
                SectionKind::ResourceNode,
            ];
            assert!(kinds.iter().any(|kind| kind.allows(keyword)), "{keyword}");
        }
        assert_eq!(Keyword::from_word("on"), None);
    }
}
