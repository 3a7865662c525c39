//! What an administrator asks of failover: the groups, with everything defaulted, as this node sees them.
//!
//! Holds no trace of the notation it was written in; `config.rs` makes it.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Address;
use crate::terms::words;

/// How this node takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The agent's socket.
    pub control: PathBuf,
    /// Folder of the files in which groups' states survive a restart.
    pub state: PathBuf,
    /// This node's name, as the configuration knows it.
    pub node: String,
    /// Who grants leases.
    pub witness: Option<WitnessSettings>,
    /// Where the programs are that steps run.
    pub programs: Programs,
    /// In the order of the file; no resource is in two of them.
    pub groups: Vec<Group>,
}

impl Settings {
    /// The group called `name`.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// The witness, and how long its leases are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// TCP.
    pub address: Address,
    /// File of the shared secret.
    pub secret: PathBuf,
    /// 3 s..=60 s.
    pub lease: Duration,
}

/// Programs by what they are; absolute paths. The one table of what is run that is not the administrator's
/// own (hooks and fencing).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // named like the programs
pub struct Programs {
    pub zpool: PathBuf,
    pub mount: PathBuf,
    pub umount: PathBuf,
    pub fsck: PathBuf,
    pub service: PathBuf,
    pub ifconfig: PathBuf,
    pub sysctl: PathBuf,
    pub reboot: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            zpool: "/sbin/zpool".into(),
            mount: "/sbin/mount".into(),
            umount: "/sbin/umount".into(),
            fsck: "/sbin/fsck".into(),
            service: "/usr/sbin/service".into(),
            ifconfig: "/sbin/ifconfig".into(),
            sysctl: "/sbin/sysctl".into(),
            reboot: "/sbin/reboot".into(),
        }
    }
}

/// Resources that go from node to node together, with what lies on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name on both nodes.
    pub name: String,
    /// At least one; names of the configuration.
    pub resources: Vec<String>,
    /// ZFS pools made of them.
    pub pools: Vec<String>,
    /// File systems on them, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// Of rc(8), in the order in which they are started.
    pub services: Vec<String>,
    /// The address that goes with the group.
    pub carp: Option<Vhid>,
    /// What to do where the peer can not be asked.
    pub on_unreachable: OnUnreachable,
    /// Makes sure that the peer is off: program and arguments.
    pub fence: Option<Vec<String>>,
    /// When `zpool import` may be told that a pool is nobody else's.
    pub force_import: ForceImport,
    /// How file systems are checked before they are mounted.
    pub fsck: Fsck,
    /// What to do where giving up hangs or fails.
    pub on_hang: OnHang,
    /// What a master does that can renew its lease no more and has no peer.
    pub on_lease_loss: OnLeaseLoss,
    /// Whether a node that has come back may have the group again by itself.
    pub fail_back: FailBack,
    /// Without the peer, only a copy is promoted that was up to date and connected so recently.
    pub freshness: Duration,
    /// Events closer than this are one.
    pub debounce: Duration,
    /// How long steps may take.
    pub limits: Limits,
    /// Programs of the administrator's, with arguments, between the steps.
    pub hooks: Vec<(HookPoint, Vec<String>)>,
}

impl Group {
    /// What is run at this point.
    pub fn hook(&self, point: HookPoint) -> Option<&[String]> {
        let mut hooks = self.hooks.iter();
        hooks.find_map(|(at, argv)| (*at == point).then_some(argv.as_slice()))
    }
}

/// A UFS file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// It lies on this resource's device; one of the group's.
    pub resource: String,
    /// Absolute.
    pub path: PathBuf,
    /// For mount(8)'s `-o`.
    pub options: Option<String>,
}

/// A CARP address: `vhid@interface`, as devd(8) names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vhid {
    /// 1..=255.
    pub vhid: u8,
    /// Name of the interface.
    pub interface: String,
}

impl std::fmt::Display for Vhid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.vhid, self.interface)
    }
}

words! {
    /// What to do where the peer can not be asked and neither fencing nor a witness helps.
    OnUnreachable, "word", "refuse, wait or promote", {
        /// Give the address back and wait for a person.
        Refuse = "refuse",
        /// Ask until it answers.
        Wait = "wait",
        /// Take the risk of two primaries.
        Promote = "promote",
    }
}

words! {
    /// When a pool is imported by force.
    ForceImport, "word", "never or confirmed", {
        /// Never.
        Never = "never",
        /// When the peer is known not to have it: fenced, not primary by its own word, or without a lease.
        Confirmed = "confirmed",
    }
}

words! {
    /// How a file system is checked.
    Fsck, "word", "preen or yes", {
        /// `fsck -p`: what can be repaired without a question.
        Preen = "preen",
        /// `fsck -y`: everything.
        Yes = "yes",
    }
}

words! {
    /// What to do where giving up hangs or fails.
    OnHang, "word", "retry, force or reboot", {
        /// Try again for as long as it takes.
        Retry = "retry",
        /// By force; writes that programs made and the file system still holds are lost.
        Force = "force",
        /// Restart this machine at once.
        Reboot = "reboot",
    }
}

words! {
    /// What a master does without lease and peer.
    OnLeaseLoss, "word", "stop or keep", {
        /// Acknowledges no writes until it has one of them again.
        Stop = "stop",
        /// Goes on, and takes the risk of two primaries.
        Keep = "keep",
    }
}

words! {
    /// Whether a node that has come back may have the group again.
    FailBack, "word", "manual or synchronised", {
        /// When a person says so.
        Manual = "manual",
        /// Once its copies are up to date.
        Synchronised = "synchronised",
    }
}

words! {
    /// Where hooks are run.
    HookPoint, "hook", "before-master, after-promote, after-import, after-master, before-backup, \
        after-services, after-export or after-backup", {
        /// Before anything is done to become master; its failure stops that.
        BeforeMaster = "before-master",
        /// The devices are there.
        AfterPromote = "after-promote",
        /// Pools and file systems are there.
        AfterImport = "after-import",
        /// The group is served here.
        AfterMaster = "after-master",
        /// Before anything is done to become backup.
        BeforeBackup = "before-backup",
        /// The services are stopped.
        AfterServices = "after-services",
        /// Pools and file systems are gone.
        AfterExport = "after-export",
        /// The resources are secondary.
        AfterBackup = "after-backup",
    }
}

/// How long each kind of step may take; whole seconds, 1 s to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until hastd answers: at boot it comes later.
    pub hastd: Duration,
    /// Asking the peer once.
    pub peer: Duration,
    /// A role, a device, a connection.
    pub promote: Duration,
    /// `zpool import`.
    pub import: Duration,
    /// `zpool export` and umount(8).
    pub export: Duration,
    /// fsck(8).
    pub fsck: Duration,
    /// mount(8).
    pub mount: Duration,
    /// Starting or stopping a service.
    pub service: Duration,
    /// The fencing command.
    pub fence: Duration,
    /// A hook.
    pub hook: Duration,
    /// Until the other node has given up, or taken over.
    pub takeover: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            hastd: seconds(120),
            peer: seconds(10),
            promote: seconds(60),
            import: seconds(300),
            export: seconds(300),
            fsck: seconds(3600),
            mount: seconds(60),
            service: seconds(120),
            fence: seconds(60),
            hook: seconds(60),
            takeover: seconds(300),
        }
    }
}
