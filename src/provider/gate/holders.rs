//! Who has a device open, said so that an administrator knows what to end: from GEOM's description of
//! itself and the table of mounts.
//!
//! A program that opened the device file is seen, but not which one: GEOM does not know.

use std::collections::HashSet;
use std::fmt;

use nix::errno::Errno;

use super::confxml::{Geom, Mesh, Provider};
use super::kernel::{Kernel, Mount};

/// Someone who has a device open, or something made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A file system.
    Mount {
        /// The device it is on, below /dev.
        device: String,
        /// Where; none if that is not known.
        on: Option<String>,
    },
    /// A ZFS pool.
    Pool {
        /// The device it is on, below /dev.
        device: String,
    },
    /// Swap space.
    Swap {
        /// The device it is on, below /dev.
        device: String,
    },
    /// A program that opened the device file.
    Program {
        /// The device it opened, below /dev.
        device: String,
    },
    /// Another user within the kernel.
    Geom {
        /// Its class.
        class: String,
        /// Its name.
        name: String,
        /// The device it uses, below /dev.
        device: String,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount {
                device,
                on: Some(on),
            } => write!(f, "/dev/{device} is mounted on {on}"),
            Self::Mount { device, on: None } => write!(f, "/dev/{device} is mounted"),
            Self::Pool { device } => write!(f, "/dev/{device} is in a ZFS pool"),
            Self::Swap { device } => write!(f, "/dev/{device} is swap space"),
            Self::Program { device } => write!(f, "a program has /dev/{device} open"),
            Self::Geom {
                class,
                name,
                device,
            } => {
                write!(f, "/dev/{device} is used by {name} of class {class}")
            }
        }
    }
}

/// Whether anybody has the device `name`, below /dev, open: also one that was destroyed and withers until they
/// have closed it.
pub(super) fn is_open(kernel: &dyn Kernel, name: &str) -> Result<bool, Errno> {
    let mesh = Mesh::parse(&kernel.configuration()?);
    let mut providers = mesh
        .geoms
        .iter()
        .filter(|geom| geom.class == super::CLASS)
        .flat_map(|geom| &geom.providers)
        .filter(|provider| provider.name == name);
    Ok(providers.any(|provider| {
        let mut users = mesh.users(&provider.id);
        provider.mode.is_open() || users.any(|(_, consumer)| consumer.mode.is_open())
    }))
}

/// Who has the device `name`, below /dev, open, as far as it can be seen from here.
pub(super) fn holders_of(kernel: &dyn Kernel, name: &str) -> Vec<Holder> {
    let Ok(text) = kernel.configuration() else {
        return Vec::new();
    };
    let mounts = kernel.mounts().unwrap_or_default();
    holders(&Mesh::parse(&text), &mounts, name)
}

/// Who has the gate device `device` (a name below /dev) open, or what is made of it. Empty if nobody does.
pub fn holders(mesh: &Mesh, mounts: &[Mount], device: &str) -> Vec<Holder> {
    let mut search = Search {
        mesh,
        mounts,
        seen: HashSet::new(),
        found: Vec::new(),
    };
    if let Some((_, provider)) = mesh.provider(super::CLASS, device) {
        search.look_at(provider);
    }
    search.found
}

struct Search<'a> {
    mesh: &'a Mesh,
    mounts: &'a [Mount],
    /// Providers. GEOM has no loops, but a text may have.
    seen: HashSet<&'a str>,
    found: Vec<Holder>,
}

impl<'a> Search<'a> {
    fn look_at(&mut self, provider: &'a Provider) {
        if !self.seen.insert(&provider.id) {
            return;
        }
        for (geom, consumer) in self.mesh.users(&provider.id) {
            if consumer.mode.is_open() {
                self.user(geom, &provider.name);
            }
        }
    }

    fn user(&mut self, geom: &'a Geom, device: &str) {
        let above = self.found.len();
        let open = geom.providers.iter().filter(|one| one.mode.is_open());
        open.for_each(|provider| self.look_at(provider));
        // What is on top of it is what can be ended.
        if self.found.len() == above {
            let holder = self.name(geom, device.to_owned());
            self.found.push(holder);
        }
    }

    fn name(&self, geom: &Geom, device: String) -> Holder {
        match geom.class.as_str() {
            "VFS" => {
                let path = format!("/dev/{device}");
                let mount = self.mounts.iter().find(|mount| mount.from == path);
                let on = mount.map(|mount| mount.on.clone());
                Holder::Mount { device, on }
            }
            "ZFS::VDEV" => Holder::Pool { device },
            "SWAP" => Holder::Swap { device },
            "DEV" => Holder::Program { device },
            class => Holder::Geom {
                class: class.to_owned(),
                name: geom.name.clone(),
                device,
            },
        }
    }
}
