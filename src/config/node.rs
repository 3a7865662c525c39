//! Which `on` sections are this node's (spec, section 6): those named by the full host name,
//! its first label, or, on FreeBSD, kern.hostuuid or `hostid` followed by kern.hostid.
//! A name given by the user (`-n`) stands in for the host name alone.

use std::fmt;
use std::io;

/// The names this node answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNames {
    names: Vec<String>,
    /// Compared without regard to case, as base does.
    uuid: Option<String>,
}

impl NodeNames {
    /// The names of the machine we run on.
    ///
    /// # Errors
    /// What gethostname(3) says, or `InvalidData` for a name that is not UTF-8.
    pub fn of_this_host() -> io::Result<Self> {
        let host = nix::unistd::gethostname()
            .map_err(io::Error::from)?
            .into_string()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "host name is not UTF-8"))?;
        let mut node = Self::named(&host);
        let identifiers = host_identifiers();
        node.uuid = identifiers.uuid;
        node.names
            .extend(identifiers.id.map(|id| format!("hostid{id}")));
        Ok(node)
    }

    /// The names of a node called `name`: the name and, where it has dots, its first label.
    pub fn named(name: &str) -> Self {
        let mut names = Vec::new();
        if let Some((label, _)) = name.split_once('.')
            && !label.is_empty()
        {
            names.push(label.to_owned());
        }
        names.push(name.to_owned());
        Self { names, uuid: None }
    }

    /// Whether a section called `section` is for this node.
    pub fn matches(&self, section: &str) -> bool {
        self.names.iter().any(|name| name == section)
            || self
                .uuid
                .as_deref()
                .is_some_and(|uuid| uuid.eq_ignore_ascii_case(section))
    }
}

/// The names tried, for messages: `hasta, hasta.example.org`.
impl fmt::Display for NodeNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = self
            .names
            .iter()
            .chain(&self.uuid)
            .map(String::as_str)
            .collect();
        f.write_str(&all.join(", "))
    }
}

#[derive(Default)]
struct HostIdentifiers {
    uuid: Option<String>,
    id: Option<String>,
}

/// kern.hostuuid and kern.hostid, where the kernel has them.
#[cfg(target_os = "freebsd")]
fn host_identifiers() -> HostIdentifiers {
    let read = |name: &str| {
        let output = std::process::Command::new("/sbin/sysctl")
            .args(["-n", name])
            .output()
            .ok()?;
        let value = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !value.is_empty()).then_some(value)
    };
    HostIdentifiers {
        uuid: read("kern.hostuuid"),
        id: read("kern.hostid"),
    }
}

/// Other kernels have neither.
#[cfg(not(target_os = "freebsd"))]
fn host_identifiers() -> HostIdentifiers {
    HostIdentifiers::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_answers_to_its_name_and_first_label() {
        let node = NodeNames::named("hasta.example.org");
        assert!(node.matches("hasta"));
        assert!(node.matches("hasta.example.org"));
        assert!(!node.matches("hasta.example"));
        assert!(!node.matches("HASTA"));
        assert_eq!(node.to_string(), "hasta, hasta.example.org");
        assert!(NodeNames::named("a").matches("a"));
        assert!(!NodeNames::named(".odd").matches(""));
    }

    #[test]
    fn this_host_answers_to_its_host_name() {
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        assert!(NodeNames::of_this_host().unwrap().matches(&host));
    }
}
