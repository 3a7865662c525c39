//! Reads the TOML notation (`hast.toml`) into the same tree as hast.conf.
//!
//! Every statement is a key of the same word in the same section; `on` and `resource` are
//! tables of tables: `[on.hasta]`, `[resource.disk1]`, `[resource.disk1.on.hasta]`. `listen` is
//! a string or an array of them, `timeout` a number, `metaflush` a boolean; `provider` and
//! `buffers` are the strings hast.conf would have (`buffers` also a number of bytes).
//!
//! The tables `failover` and `group` may stand in the same file. They are for hast-failover alone,
//! which reads them with what is shared here, and are not looked into otherwise.

use super::tree::{Keyword, Problem, Section, SectionKind, Statement};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::HashMap;
use toml::Spanned;

/// Named tables with the place of each.
pub type Tables<T> = HashMap<Spanned<String>, T>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GlobalTable {
    control: Option<Spanned<String>>,
    listen: Option<Spanned<OneOrMany>>,
    pidfile: Option<Spanned<String>>,
    replication: Option<Spanned<String>>,
    checksum: Option<Spanned<String>>,
    compression: Option<Spanned<String>>,
    timeout: Option<Spanned<u64>>,
    exec: Option<Spanned<String>>,
    metaflush: Option<Spanned<bool>>,
    provider: Option<Spanned<String>>,
    buffers: Option<Spanned<Size>>,
    #[serde(default)]
    on: Tables<NodeTable>,
    #[serde(default)]
    resource: Tables<ResourceTable>,
    #[serde(rename = "failover")]
    _failover: Option<IgnoredAny>,
    #[serde(rename = "group")]
    _group: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    control: Option<Spanned<String>>,
    listen: Option<Spanned<OneOrMany>>,
    pidfile: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceTable {
    replication: Option<Spanned<String>>,
    checksum: Option<Spanned<String>>,
    compression: Option<Spanned<String>>,
    timeout: Option<Spanned<u64>>,
    exec: Option<Spanned<String>>,
    metaflush: Option<Spanned<bool>>,
    provider: Option<Spanned<String>>,
    buffers: Option<Spanned<Size>>,
    name: Option<Spanned<String>>,
    local: Option<Spanned<String>>,
    #[serde(default)]
    on: Tables<ResourceNodeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceNodeTable {
    name: Option<Spanned<String>>,
    local: Option<Spanned<String>>,
    remote: Option<Spanned<String>>,
    source: Option<Spanned<String>>,
    metaflush: Option<Spanned<bool>>,
    provider: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size such as \"32m\"")]
enum Size {
    Bytes(u64),
    Text(String),
}

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Section, Problem> {
    document::<GlobalTable>(text).map(|table| table.into_section(text))
}

/// Reads a whole file into tables of one's own.
pub fn document<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    ::toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        // The library's messages may go over several lines: the sentence is one.
        let what = error.message().trim().replace('\n', ": ");
        Problem::at(line_at(text, start), what)
    })
}

/// The line, counted from 1, that a byte offset lies on.
pub fn line_at(text: &str, offset: usize) -> usize {
    1 + text.get(..offset).unwrap_or(text).matches('\n').count()
}

impl GlobalTable {
    fn into_section(self, text: &str) -> Section {
        let mut section = Builder::new(text, SectionKind::Global, String::new(), 1);
        section.string(Keyword::Control, self.control);
        section.many(Keyword::Listen, self.listen);
        section.string(Keyword::Pidfile, self.pidfile);
        section.string(Keyword::Replication, self.replication);
        section.string(Keyword::Checksum, self.checksum);
        section.string(Keyword::Compression, self.compression);
        section.number(Keyword::Timeout, self.timeout);
        section.string(Keyword::Exec, self.exec);
        section.switch(Keyword::Metaflush, self.metaflush);
        section.string(Keyword::Provider, self.provider);
        section.size(Keyword::Buffers, self.buffers);
        for (name, line, table) in in_order(text, self.on) {
            section.inner(table.into_section(text, name, line));
        }
        for (name, line, table) in in_order(text, self.resource) {
            section.inner(table.into_section(text, name, line));
        }
        section.section
    }
}

impl NodeTable {
    fn into_section(self, text: &str, name: String, line: usize) -> Section {
        let mut section = Builder::new(text, SectionKind::Node, name, line);
        section.string(Keyword::Control, self.control);
        section.many(Keyword::Listen, self.listen);
        section.string(Keyword::Pidfile, self.pidfile);
        section.section
    }
}

impl ResourceTable {
    fn into_section(self, text: &str, name: String, line: usize) -> Section {
        let mut section = Builder::new(text, SectionKind::Resource, name, line);
        section.string(Keyword::Replication, self.replication);
        section.string(Keyword::Checksum, self.checksum);
        section.string(Keyword::Compression, self.compression);
        section.number(Keyword::Timeout, self.timeout);
        section.string(Keyword::Exec, self.exec);
        section.switch(Keyword::Metaflush, self.metaflush);
        section.string(Keyword::Provider, self.provider);
        section.size(Keyword::Buffers, self.buffers);
        section.string(Keyword::Name, self.name);
        section.string(Keyword::Local, self.local);
        for (name, line, table) in in_order(text, self.on) {
            section.inner(table.into_section(text, name, line));
        }
        section.section
    }
}

impl ResourceNodeTable {
    fn into_section(self, text: &str, name: String, line: usize) -> Section {
        let mut section = Builder::new(text, SectionKind::ResourceNode, name, line);
        section.string(Keyword::Name, self.name);
        section.string(Keyword::Local, self.local);
        section.string(Keyword::Remote, self.remote);
        section.string(Keyword::Source, self.source);
        section.switch(Keyword::Metaflush, self.metaflush);
        section.string(Keyword::Provider, self.provider);
        section.section
    }
}

/// Tables in the order in which the file opens them, each with its name and line.
pub fn in_order<T>(text: &str, tables: Tables<T>) -> Vec<(String, usize, T)> {
    let mut ordered: Vec<(Spanned<String>, T)> = tables.into_iter().collect();
    ordered.sort_by_key(|(name, _)| name.span().start);
    ordered
        .into_iter()
        .map(|(name, table)| {
            let line = line_at(text, name.span().start);
            (name.into_inner(), line, table)
        })
        .collect()
}

/// Fills a section with statements made from keys.
struct Builder<'a> {
    text: &'a str,
    section: Section,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, kind: SectionKind, name: String, line: usize) -> Self {
        let section = Section::new(kind, name, line);
        Self { text, section }
    }

    fn add(&mut self, keyword: Keyword, value: String, offset: usize) {
        let line = line_at(self.text, offset);
        self.section.statements.push(Statement {
            keyword,
            value,
            line,
        });
    }

    fn inner(&mut self, section: Section) {
        self.section.sections.push(section);
    }

    fn value<T>(&mut self, keyword: Keyword, key: Option<Spanned<T>>, text: fn(T) -> String) {
        if let Some(key) = key {
            let offset = key.span().start;
            self.add(keyword, text(key.into_inner()), offset);
        }
    }

    fn string(&mut self, keyword: Keyword, key: Option<Spanned<String>>) {
        self.value(keyword, key, |value| value);
    }

    fn number(&mut self, keyword: Keyword, key: Option<Spanned<u64>>) {
        self.value(keyword, key, |value| value.to_string());
    }

    fn switch(&mut self, keyword: Keyword, key: Option<Spanned<bool>>) {
        self.value(keyword, key, |on| if on { "on" } else { "off" }.to_owned());
    }

    fn size(&mut self, keyword: Keyword, key: Option<Spanned<Size>>) {
        self.value(keyword, key, |size| match size {
            Size::Bytes(bytes) => bytes.to_string(),
            Size::Text(text) => text,
        });
    }

    fn many(&mut self, keyword: Keyword, key: Option<Spanned<OneOrMany>>) {
        let Some(key) = key else { return };
        let offset = key.span().start;
        let values = match key.into_inner() {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        };
        for value in values {
            self.add(keyword, value, offset);
        }
    }
}
