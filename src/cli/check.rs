//! `hastctl check`: reads the configuration as hastd would and shows what this node would run.
//! What is wrong in the file is an error; what may only be missing at the moment (a component, a
//! hook) is a warning. Changes nothing and asks nobody.

use super::arguments::Common;
use super::dump::read_metadata;
use super::{Failure, complain, configuration, print};
use crate::config::{Address, Config, Resource};
use crate::disk::{Access, Component};
use crate::layout::MetadataError;
use crate::layout::block::Found;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `hastctl check`
pub fn run(common: &Common) -> Result<u8, Failure> {
    let (path, config) = configuration(common)?;
    print(&describe(&path, &config))?;
    for resource in &config.resources {
        for warning in warnings(resource) {
            complain(&format!("warning: {}: {warning}", resource.name));
        }
    }
    Ok(0)
}

fn describe(path: &Path, config: &Config) -> String {
    let mut text = String::new();
    line!(text, "configuration: {}", path.display());
    line!(text, "control: {}", config.control);
    for address in &config.listen {
        line!(text, "listen: {address}");
    }
    line!(text, "pidfile: {}", config.pidfile.display());
    for resource in &config.resources {
        describe_resource(&mut text, resource);
    }
    text
}

fn describe_resource(text: &mut String, resource: &Resource) {
    line!(text, "{}:", resource.name);
    line!(text, "  provname: {}", resource.provname);
    line!(text, "  provider: {}", resource.provider);
    line!(text, "  localpath: {}", resource.local.display());
    line!(text, "  remoteaddr: {}", resource.remote_text());
    if let Some(source) = &resource.source {
        line!(text, "  sourceaddr: {source}");
    }
    line!(text, "  replication: {}", resource.replication);
    line!(text, "  checksum: {}", resource.checksum);
    line!(text, "  compression: {}", resource.compression);
    line!(text, "  timeout: {} s", resource.timeout.as_secs());
    line!(
        text,
        "  metaflush: {}",
        if resource.metaflush { "on" } else { "off" }
    );
    if let Some(exec) = &resource.exec {
        line!(text, "  exec: {}", exec.display());
    }
    line!(
        text,
        "  buffers: {} ({})",
        resource.buffers,
        super::humanize::bytes(resource.buffers)
    );
}

fn warnings(resource: &Resource) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(component_warning(resource));
    if resource.remote.is_none() {
        found.push("'remote none': it runs without a peer until one is configured".to_owned());
    }
    if let Some(name) = resource.remote.as_ref().and_then(host_name) {
        found.push(format!(
            "the remote '{name}' is a name: replication depends on its being resolved"
        ));
    }
    if let Some(exec) = &resource.exec {
        found.extend(hook_warning(exec));
    }
    found
}

/// The address as written, where its host is a name.
fn host_name(address: &Address) -> Option<&str> {
    address.numeric().is_none().then(|| address.text())
}

fn component_warning(resource: &Resource) -> Option<String> {
    let component = match Component::open(&resource.local, Access::ReadOnly) {
        Ok(component) => component,
        Err(error) => return Some(error.to_string()),
    };
    let path = resource.local.display();
    match read_metadata(&component) {
        Err(error) => Some(error.to_string()),
        Ok(Err(newer @ (MetadataError::SlotVersion(_) | MetadataError::Role(_)))) => {
            Some(format!("component '{path}' can not be used: {newer}"))
        }
        Ok(Err(_)) => Some(format!(
            "component '{path}' holds no metadata yet; run 'hastctl create {}'",
            resource.name
        )),
        Ok(Ok((metadata, _))) if metadata.resource != resource.name => Some(format!(
            "component '{path}' belongs to the resource '{}'",
            metadata.resource
        )),
        Ok(Ok((_, Found::Damaged))) => Some(format!("component '{path}' {}", Found::Damaged)),
        Ok(Ok(_)) => None,
    }
}

fn hook_warning(exec: &Path) -> Option<String> {
    let path = exec.display();
    match std::fs::metadata(exec) {
        Err(error) => Some(format!("the hook '{path}' can not be run: {error}")),
        Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => {
            Some(format!("the hook '{path}' is not an executable file"))
        }
        Ok(_) => None,
    }
}
