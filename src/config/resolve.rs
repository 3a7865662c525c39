//! Makes the configuration of one node from the tree: picks the node's sections, inherits from
//! the outer section what the inner one does not say, fills in defaults, and refuses what
//! can not work. Sections of other nodes are checked too, then dropped.

use super::address::{Address, DEFAULT_PORT};
use super::model::{
    Config, DEFAULT_BUFFERS, DEFAULT_CONTROL, DEFAULT_LISTEN, DEFAULT_PIDFILE, DEFAULT_TIMEOUT,
    NBD_SOCKET_FOLDER, Provider, Resource,
};
use super::node::NodeNames;
use super::settings::{ProviderChoice, Remote, Settings, name as valid_name};
use super::tree::{Problem, Section, SectionKind};
use crate::terms::{Checksum, Compression, Replication};
use std::path::PathBuf;

/// The word hastctl uses for every resource, which therefore names none.
const ALL: &str = "all";

/// Resolves `global`, the tree of a whole file, for the node that answers to `node`.
pub fn resolve(global: &Section, node: &NodeNames) -> Result<Config, Problem> {
    let settings = Settings::read(global)?;
    let own = own_section(global, SectionKind::Node, node)?.unwrap_or_default();

    // A node's listen addresses come beside the global ones, as in base hastd.
    let mut listen = settings.listen.clone();
    listen.extend(own.settings.listen);
    let listen_is_default = listen.is_empty();
    if listen_is_default {
        listen.extend(DEFAULT_LISTEN.map(built_in));
    }

    let nodes = node_names(global);
    let mut config = Config {
        node: nodes.iter().find(|name| node.matches(name)).cloned(),
        nodes,
        control: own
            .settings
            .control
            .or_else(|| settings.control.clone())
            .unwrap_or_else(|| built_in(DEFAULT_CONTROL)),
        listen,
        listen_is_default,
        pidfile: own
            .settings
            .pidfile
            .or_else(|| settings.pidfile.clone())
            .unwrap_or_else(|| PathBuf::from(DEFAULT_PIDFILE)),
        resources: Vec::new(),
    };
    for section in of_kind(global, SectionKind::Resource) {
        let resource = resource(section, &settings, node)?;
        refuse_conflicts(&config, &resource, section.line)?;
        config.resources.push(resource);
    }
    Ok(config)
}

fn resource(section: &Section, global: &Settings, node: &NodeNames) -> Result<Resource, Problem> {
    let name = valid_name(&section.name)
        .map_err(|what| Problem::at(section.line, format!("resource: {what}")))?;
    let fault = |line: usize, what: &str| Problem::at(line, format!("resource {name}: {what}"));
    if name == ALL {
        return Err(fault(
            section.line,
            "'all' means every resource; choose another name",
        ));
    }
    let outer = Settings::read(section)?;
    let Some(own) = own_section(section, SectionKind::ResourceNode, node)? else {
        let what = format!("no 'on' section for this node (names tried: {node})");
        return Err(fault(section.line, &what));
    };
    let inner = own.settings;

    let remote = match inner.remote {
        Some(Remote::At(address)) => Some(address),
        Some(Remote::None) => None,
        None => {
            return Err(fault(
                own.line,
                "no 'remote' address (or none) for this node",
            ));
        }
    };
    let provname = inner.name.or(outer.name).unwrap_or_else(|| name.clone());
    let choice = inner
        .provider
        .or(outer.provider)
        .or_else(|| global.provider.clone());
    let provider = provider(choice, &provname).map_err(|what| fault(own.line, &what))?;
    Ok(Resource {
        provider,
        provname,
        local: inner
            .local
            .or(outer.local)
            .ok_or_else(|| fault(own.line, "no 'local' path for this node"))?,
        remote,
        source: inner.source,
        replication: outer
            .replication
            .or(global.replication)
            .unwrap_or(Replication::Memsync),
        checksum: outer.checksum.or(global.checksum).unwrap_or(Checksum::None),
        compression: outer
            .compression
            .or(global.compression)
            .unwrap_or(Compression::Hole),
        timeout: outer.timeout.or(global.timeout).unwrap_or(DEFAULT_TIMEOUT),
        exec: outer.exec.or_else(|| global.exec.clone()),
        metaflush: inner
            .metaflush
            .or(outer.metaflush)
            .or(global.metaflush)
            .unwrap_or(true),
        buffers: outer.buffers.or(global.buffers).unwrap_or(DEFAULT_BUFFERS),
        name,
    })
}

/// The names that sections of nodes have, here and in the resources.
fn node_names(global: &Section) -> Vec<String> {
    let nodes = of_kind(global, SectionKind::Node);
    let resources = of_kind(global, SectionKind::Resource);
    let inner = resources.flat_map(|resource| of_kind(resource, SectionKind::ResourceNode));
    let mut names: Vec<String> = Vec::new();
    for section in nodes.chain(inner) {
        if !names.contains(&section.name) {
            names.push(section.name.clone());
        }
    }
    names
}

/// The node's own section of one parent.
#[derive(Default)]
struct Own {
    settings: Settings,
    line: usize,
}

/// Reads every node section of `parent` and keeps the one of this node.
fn own_section(
    parent: &Section,
    kind: SectionKind,
    node: &NodeNames,
) -> Result<Option<Own>, Problem> {
    let mut own: Option<(Own, &str)> = None;
    let mut seen: Vec<&Section> = Vec::new();
    for section in of_kind(parent, kind) {
        if let Some(first) = seen.iter().find(|earlier| earlier.name == section.name) {
            let what = format!(
                "'on {}' is repeated; it was already opened on line {}",
                section.name, first.line
            );
            return Err(Problem::at(section.line, what));
        }
        seen.push(section);
        let settings = Settings::read(section)?;
        if !node.matches(&section.name) {
            continue;
        }
        if let Some((first, name)) = own {
            let what = format!(
                "'on {}' is this node as well as 'on {name}' on line {}; expected one section for it",
                section.name, first.line
            );
            return Err(Problem::at(section.line, what));
        }
        let line = section.line;
        own = Some((Own { settings, line }, &section.name));
    }
    Ok(own.map(|(own, _)| own))
}

fn of_kind(parent: &Section, kind: SectionKind) -> impl Iterator<Item = &Section> {
    parent
        .sections
        .iter()
        .filter(move |section| section.kind == kind)
}

fn provider(choice: Option<ProviderChoice>, provname: &str) -> Result<Provider, String> {
    let default = if cfg!(target_os = "freebsd") {
        ProviderChoice::Gate
    } else {
        ProviderChoice::Nbd(None)
    };
    match choice.unwrap_or(default) {
        ProviderChoice::Gate if cfg!(target_os = "freebsd") => Ok(Provider::Gate),
        ProviderChoice::Gate => {
            Err("'provider gate' exists on FreeBSD only; expected 'provider nbd'".to_owned())
        }
        ProviderChoice::Nbd(Some(address)) => Ok(Provider::Nbd(address)),
        ProviderChoice::Nbd(None) => {
            let path = format!("{NBD_SOCKET_FOLDER}/{}.nbd", provname.replace('/', "."));
            Address::from_socket_path(&path)
                .map(Provider::Nbd)
                .map_err(|error| format!("{error}; give 'provider nbd' an address"))
        }
    }
}

/// Refuses a resource that can not run beside those before it, or at all.
fn refuse_conflicts(config: &Config, new: &Resource, line: usize) -> Result<(), Problem> {
    let fault = |what: String| Err(Problem::at(line, format!("resource {}: {what}", new.name)));
    for old in &config.resources {
        let other = &old.name;
        if old.name == new.name {
            return Err(Problem::at(
                line,
                format!("the resource {other} is configured twice"),
            ));
        }
        if old.local == new.local {
            let path = new.local.display();
            return fault(format!(
                "its local path {path} is also that of resource {other}"
            ));
        }
        if old.provname == new.provname {
            let name = &new.provname;
            return fault(format!(
                "its provider name {name} is also that of resource {other}"
            ));
        }
        if old.provider == new.provider && old.provider != Provider::Gate {
            let provider = &new.provider;
            return fault(format!(
                "its provider {provider} is also that of resource {other}"
            ));
        }
    }
    if let Some(remote) = &new.remote
        && config
            .listen
            .iter()
            .any(|own| own.numeric().is_some() && own.numeric() == remote.numeric())
    {
        return fault(format!(
            "its remote {remote} is an address this node itself listens on"
        ));
    }
    Ok(())
}

/// An address of ours.
fn built_in(text: &str) -> Address {
    Address::parse(text, DEFAULT_PORT).expect("default addresses are well-formed")
}
