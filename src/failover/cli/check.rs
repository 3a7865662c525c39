//! `hast-failover check`: whether the configuration is one, what it means for this node, and what on this machine will
//! probably keep it from working. Changes nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Common, Failure, complain, configuration, print};
use crate::failover::carp;
use crate::failover::commands::{Command, Table};
use crate::failover::group::{Group, Settings};
use crate::failover::runner::{Programs, Ran, Run};

/// How long each look at the machine may take.
const LOOK: Duration = Duration::from_secs(10);

/// Checks; 0 also where there are warnings.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let (config, settings) = configuration(common)?;
    let mut text = String::new();
    for group in &settings.groups {
        let address = group
            .carp
            .as_ref()
            .map_or("no address".to_owned(), ToString::to_string);
        let names = group.resources.join(", ");
        let (name, node) = (&group.name, &settings.node);
        writeln!(text, "{name}: {names}; {address}; on node {node}")
            .expect("a String takes any text");
    }
    print(&text)?;
    let mut warnings = missing_programs(&settings);
    for group in &settings.groups {
        let resources = group
            .resources
            .iter()
            .filter_map(|name| config.resource(name));
        let alone = resources.filter(|it| it.remote.is_none());
        let name = &group.name;
        warnings.extend(alone.map(|it| format!("group {name}: resource {} has no peer", it.name)));
        warnings.extend(address(&settings, group));
    }
    if settings.groups.iter().any(|group| group.carp.is_some()) {
        warnings.extend(preempt(&settings));
    }
    if let Some(witness) = &settings.witness
        && let Err(error) = crate::witness::secret::Secret::read(&witness.secret)
    {
        warnings.push(error.to_string());
    }
    for warning in warnings {
        complain(&format!("warning: {warning}"));
    }
    Ok(0)
}

fn missing_programs(settings: &Settings) -> Vec<String> {
    let programs = &settings.programs;
    let groups = &settings.groups;
    let mut needed: Vec<&Path> = vec![&programs.reboot];
    if groups.iter().any(|group| !group.pools.is_empty()) {
        needed.push(&programs.zpool);
    }
    if groups.iter().any(|group| !group.mounts.is_empty()) {
        needed.extend([&programs.mount, &programs.umount, &programs.fsck].map(PathBuf::as_path));
    }
    if groups.iter().any(|group| !group.services.is_empty()) {
        needed.push(&programs.service);
    }
    if groups.iter().any(|group| group.carp.is_some()) {
        needed.extend([&programs.ifconfig, &programs.sysctl].map(PathBuf::as_path));
    }
    let own = groups.iter().flat_map(|group| {
        let hooks = group.hooks.iter().map(|(_, argv)| argv);
        hooks.chain(&group.fence)
    });
    needed.extend(own.filter_map(|argv| argv.first()).map(Path::new));
    needed.dedup();
    let missing = needed.into_iter().filter(|path| !is_program(path));
    missing
        .map(|path| format!("there is no program {}", path.display()))
        .collect()
}

fn is_program(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn output(command: &Command) -> Result<String, String> {
    match Programs::default().run(command, LOOK) {
        Ran::Ended {
            code: Some(0),
            output,
        } => Ok(output),
        _ => Err(format!("'{command}' does not work here")),
    }
}

fn address(settings: &Settings, group: &Group) -> Option<String> {
    let address = group.carp.as_ref()?;
    let name = &group.name;
    let command = Table::new(&settings.programs, group, &[]).interface()?;
    match output(&command) {
        Err(why) => Some(format!(
            "group {name}: {why}; is there an interface {}?",
            address.interface
        )),
        Ok(text) => carp::state(&text, address.vhid)
            .is_none()
            .then(|| format!("group {name}: '{command}' shows no vhid {}", address.vhid)),
    }
}

/// Without it a demotion moves no address.
fn preempt(settings: &Settings) -> Option<String> {
    let arguments = ["-n", "net.inet.carp.preempt"];
    let command = Command::new(&settings.programs.sysctl, arguments);
    match output(&command) {
        Err(why) => Some(why),
        Ok(text) => (text.trim() == "0").then(|| {
            "net.inet.carp.preempt is 0: a node that fails does not hand its address over by \
             demotion; set it to 1 in sysctl.conf(5) on both nodes"
                .to_owned()
        }),
    }
}
