//! What each [`Step`] is in commands: the one table that is run, and printed by `--dry-run`.
//!
//! Every command of this table but the administrator's own (hooks, fencing) looks before it does: what is as it
//! should be is left alone, so that a step can be told again. Never runs anything itself.

use std::fmt;
use std::path::PathBuf;

use super::group::{Fsck, Group, Mount, Programs};
use super::look::{Look, Sign};
use super::step::{DEMOTION, Step};
use crate::config::{Address, Provider, Resource};

/// Where GEOM gate has its devices, those with nested names too.
const DEVICES: &str = "/dev/hast";

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// The program first; never empty.
    pub argv: Vec<String>,
}

impl Command {
    /// A program, by its path, with arguments.
    pub fn new<S: Into<String>>(
        program: &std::path::Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut argv = vec![program.display().to_string()];
        argv.extend(arguments.into_iter().map(Into::into));
        Self { argv }
    }

    /// An administrator's own.
    fn given(argv: &[String]) -> Self {
        Self {
            argv: argv.to_vec(),
        }
    }
}

/// As it is typed into a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.argv.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                write!(f, "{space}{word}")?;
            } else {
                write!(f, "{space}'{}'", word.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

/// What is done by a program, with what it takes to do it only where it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// First; none where nothing can show it.
    pub look: Option<Look>,
    /// Nothing is left to be done where the look shows this.
    pub wanted: bool,
    /// What it takes.
    pub command: Command,
    /// Whether it is done all the same where the look shows nothing definite.
    pub blind: bool,
}

/// How a step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a program.
    Run(Task),
    /// By looking only: everything is to be there.
    Look(Vec<Look>),
    /// By this machine's demotion, which groups share.
    Demotion {
        /// Whether it is raised.
        raise: bool,
    },
    /// By asking hastd, the peer or the witness; what stands here is only shown: the same by hand.
    Ask(Vec<String>),
    /// There is nothing to be done: no address, no such hook.
    Nothing,
}

/// A resource's device, as it is found on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// Of GEOM gate.
    Gate(PathBuf),
    /// A unix socket of the NBD server.
    Socket(PathBuf),
    /// A TCP address of the NBD server.
    Tcp(Address),
}

impl Device {
    /// Of a resource.
    pub fn of(resource: &Resource) -> Self {
        match &resource.provider {
            Provider::Gate => Self::Gate(PathBuf::from(DEVICES).join(&resource.provname)),
            Provider::Nbd(address) => match address.socket_path() {
                Some(path) => Self::Socket(path.into()),
                None => Self::Tcp(address.clone()),
            },
        }
    }

    /// Its path; of a TCP address its text, which no program finds.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Gate(path) | Self::Socket(path) => path.clone(),
            Self::Tcp(address) => address.to_string().into(),
        }
    }
}

/// The table for one group.
#[derive(Debug, Clone)]
pub struct Table {
    programs: Programs,
    group: Group,
    devices: Vec<(String, Device)>,
}

impl Table {
    /// For a group; the resources are its own, in its order.
    pub fn new(programs: &Programs, group: &Group, resources: &[Resource]) -> Self {
        let device = |resource: &Resource| (resource.name.clone(), Device::of(resource));
        Self {
            programs: programs.clone(),
            group: group.clone(),
            devices: resources.iter().map(device).collect(),
        }
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Devices of the group's resources, in their order.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().map(|(_, device)| device)
    }

    fn device(&self, mount: &Mount) -> PathBuf {
        let found = self
            .devices
            .iter()
            .find(|(name, _)| *name == mount.resource);
        found.map_or_else(PathBuf::new, |(_, device)| device.path())
    }

    /// How a step is done. The one table.
    pub fn way(&self, step: &Step) -> Way {
        let programs = &self.programs;
        match step {
            Step::Import { pool, force } => Way::Run(Task {
                look: Some(self.pool(pool)),
                wanted: true,
                // Not in a cache file: at boot the kernel would look for it before its devices are there.
                command: Command::new(
                    &programs.zpool,
                    ["import", "-o", "cachefile=none", "-d", DEVICES]
                        .into_iter()
                        .chain(force.then_some("-f"))
                        .chain([pool.as_str()]),
                ),
                blind: false,
            }),
            Step::Export { pool, force } => Way::Run(Task {
                look: Some(self.pool(pool)),
                wanted: false,
                command: Command::new(
                    &programs.zpool,
                    std::iter::once("export")
                        .chain(force.then_some("-f"))
                        .chain([pool.as_str()]),
                ),
                blind: false,
            }),
            Step::Check(mount) => self.mounting(mount, self.check(mount)),
            Step::Mount(mount) => self.mounting(mount, self.mount(mount)),
            Step::Unmount { mount, force } => Way::Run(Task {
                look: Some(self.mounted(mount)),
                wanted: false,
                command: Command::new(
                    &programs.umount,
                    force
                        .then_some("-f".to_owned())
                        .into_iter()
                        .chain([text(&mount.path)]),
                ),
                blind: false,
            }),
            Step::Start(service) => self.service(service, "onestart", true),
            Step::Stop(service) => self.service(service, "onestop", false),
            Step::TakeAddress => self.address("master", true),
            Step::YieldAddress => self.address("backup", false),
            Step::RaiseDemotion => Way::Demotion { raise: true },
            Step::LowerDemotion => Way::Demotion { raise: false },
            Step::Fence => Self::own(self.group.fence.as_deref()),
            Step::Hook(point) => Self::own(self.group.hook(*point)),
            Step::Reboot => Way::Run(Task {
                look: None,
                wanted: true,
                command: Command::new(&programs.reboot, ["-n", "-q"]),
                blind: true,
            }),
            Step::Verify => Way::Look(self.everything()),
            _ => Way::Ask(self.by_hand(step)),
        }
    }

    /// The command that shows how an interface's addresses are.
    pub fn interface(&self) -> Option<Command> {
        let carp = self.group.carp.as_ref()?;
        Some(Command::new(&self.programs.ifconfig, [&carp.interface]))
    }

    /// Shows this machine's demotion.
    pub fn demotion(programs: &Programs) -> Command {
        Command::new(&programs.sysctl, ["-n", "net.inet.carp.demotion"])
    }

    /// Raises or lowers this machine's demotion: what is written is added.
    pub fn add_to_demotion(programs: &Programs, raise: bool) -> Command {
        let sign = if raise { "" } else { "-" };
        let setting = format!("net.inet.carp.demotion={sign}{DEMOTION}");
        Command::new(&programs.sysctl, [setting])
    }

    fn pool(&self, pool: &str) -> Look {
        Look {
            command: Command::new(&self.programs.zpool, ["list", "-H", "-o", "name", pool]),
            sign: Sign::Pool(pool.to_owned()),
        }
    }

    fn mounted(&self, mount: &Mount) -> Look {
        Look {
            command: Command::new(&self.programs.mount, ["-p"]),
            sign: Sign::Mounted {
                device: self.device(mount),
                path: mount.path.clone(),
            },
        }
    }

    fn runs(&self, service: &str) -> Look {
        Look {
            command: Command::new(&self.programs.service, [service, "onestatus"]),
            sign: Sign::Runs(service.to_owned()),
        }
    }

    fn mounting(&self, mount: &Mount, command: Command) -> Way {
        Way::Run(Task {
            look: Some(self.mounted(mount)),
            wanted: true,
            command,
            blind: false,
        })
    }

    /// The kind is named: fsck(8) looks it up in fstab(5) otherwise, where the device has no place.
    fn check(&self, mount: &Mount) -> Command {
        let how = match self.group.fsck {
            Fsck::Preen => "-p",
            Fsck::Yes => "-y",
        };
        let device = text(&self.device(mount));
        Command::new(&self.programs.fsck, ["-t", "ufs", how, &device])
    }

    fn mount(&self, mount: &Mount) -> Command {
        let mut arguments = Vec::new();
        if let Some(options) = &mount.options {
            arguments.extend(["-o".to_owned(), options.clone()]);
        }
        arguments.extend([text(&self.device(mount)), text(&mount.path)]);
        Command::new(&self.programs.mount, arguments)
    }

    fn service(&self, service: &str, verb: &str, wanted: bool) -> Way {
        Way::Run(Task {
            look: Some(self.runs(service)),
            wanted,
            command: Command::new(&self.programs.service, [service, verb]),
            // Not every service can tell.
            blind: true,
        })
    }

    fn address(&self, state: &str, wanted: bool) -> Way {
        let (Some(carp), Some(command)) = (&self.group.carp, self.interface()) else {
            return Way::Nothing;
        };
        let vhid = carp.vhid.to_string();
        Way::Run(Task {
            look: Some(Look {
                command,
                sign: Sign::Master(carp.vhid),
            }),
            wanted,
            command: Command::new(
                &self.programs.ifconfig,
                [carp.interface.as_str(), "vhid", &vhid, "state", state],
            ),
            blind: false,
        })
    }

    fn own(argv: Option<&[String]>) -> Way {
        argv.map_or(Way::Nothing, |argv| {
            Way::Run(Task {
                look: None,
                wanted: true,
                command: Command::given(argv),
                blind: true,
            })
        })
    }

    fn everything(&self) -> Vec<Look> {
        let group = &self.group;
        let pools = group.pools.iter().map(|pool| self.pool(pool));
        let mounts = group.mounts.iter().map(|mount| self.mounted(mount));
        let services = group.services.iter().map(|service| self.runs(service));
        pools.chain(mounts).chain(services).collect()
    }

    /// What the agent asks, as a person would.
    fn by_hand(&self, step: &Step) -> Vec<String> {
        let names = self.group.resources.join(" ");
        let force = |force: &bool| if *force { " --force" } else { "" };
        let one = |line: String| vec![line];
        match step {
            Step::WaitForHastd => one(format!("hastctl status {names}")),
            Step::WaitForPeer => one(format!("hastctl status {names}  # until it is complete")),
            Step::AskPeer => one(format!(
                "# asks the other node's hastd for {names}, and claims them"
            )),
            Step::LookAtPeer | Step::WaitForTakeover => one(format!(
                "# asks the other node's hastd for the roles of {names}"
            )),
            Step::Invite => one(format!("# tells the other node's hastd to take {names}")),
            Step::AcquireLease => one("# asks the witness for the lease".to_owned()),
            Step::ReleaseLease => one("# gives the lease back to the witness".to_owned()),
            Step::Hold => one("# has hastd hold writes that only this node has".to_owned()),
            Step::Promote { force: by_force } => {
                one(format!("hastctl role{} primary {names}", force(by_force)))
            }
            Step::Demote { force: by_force } => {
                one(format!("hastctl role{} secondary {names}", force(by_force)))
            }
            Step::WaitForDevices => self.devices().map(waiting_for).collect(),
            _ => Vec::new(),
        }
    }
}

fn waiting_for(device: &Device) -> String {
    let path = device.path();
    let path = path.display();
    match device {
        Device::Gate(_) => format!("test -c {path}  # until it is there"),
        Device::Socket(_) => format!("test -S {path}  # until it is there"),
        Device::Tcp(_) => format!("# waits until {path} answers"),
    }
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}
