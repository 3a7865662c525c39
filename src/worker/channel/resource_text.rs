//! A resource's configuration on its way to a worker: written as a hast.toml with one resource and one
//! node, and read back by the parser that reads the administrator's.

use std::path::Path;

use crate::config::{Config, NodeNames, Resource};

/// The node under which the resource is written down.
const NODE: &str = "this-node";

/// A resource as a hast.toml of its own: the one notation that both processes read anyway.
pub fn write(resource: &Resource) -> String {
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

/// Reads it back; the error is the parser's sentence.
pub fn read(text: &str) -> Result<Resource, String> {
    let config = Config::parse(text, Path::new("worker.toml"), &NodeNames::named(NODE));
    let mut resources = config.map_err(|error| error.to_string())?.resources;
    match (resources.pop(), resources.is_empty()) {
        (Some(resource), true) => Ok(resource),
        _ => Err("not one resource".to_owned()),
    }
}
