//! Two nodes of one shared configuration, in a folder that goes when the test ends.

use std::fmt::Write;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::node::Node;
use crate::observe::{LIMIT, wait_for};
use crate::ports::free_port;
use crate::proxy::Proxy;

/// How often to try again where another process took a port.
const START_ATTEMPTS: usize = 5;
/// Lines of each log that a failed test shows.
const LOG_LINES: usize = 60;

/// What a cluster is to be like.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Statements for all resources.
    pub settings: String,
    pub resources: Vec<String>,
    /// Size of each component in bytes.
    pub size: u64,
    /// Options of `hastctl create`.
    pub create: &'static str,
    /// Whether the nodes reach each other through proxies only.
    pub proxied: bool,
}

impl Setup {
    /// One resource, `disk1`, in this replication mode.
    pub fn new(replication: &str) -> Self {
        Self {
            settings: format!("replication {replication}\ntimeout 3\n"),
            resources: vec!["disk1".into()],
            size: 16 << 20,
            create: "-e 64k -k 4",
            proxied: false,
        }
    }

    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    pub fn size(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    pub fn setting(mut self, statement: &str) -> Self {
        writeln!(self.settings, "{statement}").unwrap();
        self
    }

    /// Components, configuration and both daemons; the components are not yet created.
    pub fn start(self) -> Cluster {
        Cluster::start(&self)
    }

    /// As [`Self::start`], with the components created.
    pub fn created(self) -> Cluster {
        let cluster = self.start();
        for node in [&cluster.a, &cluster.b] {
            cluster.create(node);
        }
        cluster
    }

    /// A pair at work: `a` primary, `b` secondary, complete.
    pub fn pair(self) -> Cluster {
        let cluster = self.created();
        cluster.b.ctl("role secondary all");
        cluster.a.ctl("role primary all");
        for resource in &cluster.setup.resources {
            cluster.a.until_complete(resource);
        }
        cluster
    }
}

/// A folder that goes with all that is in it, also where somebody still uses it: what a killed
/// daemon has started goes on for a moment.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("hast").tempdir().unwrap();
        Self(folder.keep())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let since = Instant::now();
        while fs::remove_dir_all(&self.0).is_err() && self.0.exists() {
            if since.elapsed() > LIMIT {
                eprintln!("left behind: {}", self.0.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Two nodes.
#[derive(Debug)]
pub struct Cluster {
    pub a: Node,
    pub b: Node,
    pub setup: Setup,
    /// Between a primary on `a` and `b`, where asked for.
    to_b: Option<Proxy>,
    to_a: Option<Proxy>,
    /// Listened at by `a` and `b`.
    pub ports: [u16; 2],
    // Last: the nodes end before their folder goes.
    folder: Folder,
}

impl Cluster {
    fn start(setup: &Setup) -> Self {
        for _ in 0..START_ATTEMPTS {
            let mut cluster = Self::prepare(setup.clone());
            let started = cluster.a.try_start().and_then(|()| cluster.b.try_start());
            match started {
                Ok(()) => return cluster,
                Err(status) => {
                    let logs = cluster.a.log() + &cluster.b.log();
                    assert!(logs.contains("in use"), "hastd ended with {status}: {logs}");
                }
            }
        }
        panic!("no free ports in {START_ATTEMPTS} attempts");
    }

    fn prepare(setup: Setup) -> Self {
        let folder = Folder::new();
        let config = folder.0.join("hast.conf");
        let ports = [free_port(), free_port()];
        let proxy = |target| setup.proxied.then(|| Proxy::start(target));
        let cluster = Self {
            a: Node::new("nodea", &folder.0, &config),
            b: Node::new("nodeb", &folder.0, &config),
            to_b: proxy(ports[1]),
            to_a: proxy(ports[0]),
            ports,
            setup,
            folder,
        };
        for node in [&cluster.a, &cluster.b] {
            for resource in &cluster.setup.resources {
                let file = File::create(node.component(resource)).unwrap();
                file.set_len(cluster.setup.size).unwrap();
            }
        }
        let hook = cluster.hook();
        let record = format!(
            "#!/bin/sh\necho \"$PPID $*\" >> {}\n",
            cluster.path("hooks").display()
        );
        fs::write(&hook, record).unwrap();
        fs::set_permissions(&hook, Permissions::from_mode(0o755)).unwrap();
        cluster.write_config();
        cluster
    }

    /// Something in the cluster's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// A program for `exec` that records how it is called.
    pub fn hook(&self) -> PathBuf {
        self.path("hook")
    }

    pub fn to_a(&self) -> &Proxy {
        self.to_a.as_ref().expect("proxied")
    }

    pub fn to_b(&self) -> &Proxy {
        self.to_b.as_ref().expect("proxied")
    }

    /// Writes hast.conf as the setup is now. `HOOK` in settings stands for the recording hook.
    pub fn write_config(&self) {
        let hook = self.hook();
        let mut text = self.setup.settings.replace("HOOK", hook.to_str().unwrap());
        for (node, port) in [(&self.a, self.ports[0]), (&self.b, self.ports[1])] {
            writeln!(
                text,
                "on {} {{\n\tcontrol {}\n\tpidfile {}\n\tlisten tcp4://127.0.0.1:{port}\n}}",
                node.name(),
                node.control().display(),
                node.pidfile().display(),
            )
            .unwrap();
        }
        let via = |proxy: &Option<Proxy>, port| proxy.as_ref().map_or(port, Proxy::port);
        let remotes = [
            via(&self.to_b, self.ports[1]),
            via(&self.to_a, self.ports[0]),
        ];
        for resource in &self.setup.resources {
            writeln!(text, "resource {resource} {{").unwrap();
            for (node, remote) in [&self.a, &self.b].into_iter().zip(remotes) {
                writeln!(
                    text,
                    "\ton {} {{\n\t\tlocal {}\n\t\tprovider nbd {}\n\t\tremote tcp4://127.0.0.1:{remote}\n\t}}",
                    node.name(),
                    node.component(resource).display(),
                    node.device(resource).display(),
                )
                .unwrap();
            }
            text.push_str("}\n");
        }
        fs::write(self.path("hast.conf"), text).unwrap();
    }

    /// `hastctl create` of every resource on a node.
    pub fn create(&self, node: &Node) {
        let names = self.setup.resources.join(" ");
        node.ctl(&format!("create {} {names}", self.setup.create));
    }

    /// Waits until the writer has had this many more writes acknowledged, or has given up.
    #[track_caller]
    pub fn progress(&self, load: &Load, more: u64) {
        let goal = load.acknowledged() + more;
        let state = || {
            format!(
                "{:?}\n{}\n{}",
                self.a.statuses(),
                self.a.log(),
                self.b.log()
            )
        };
        wait_for("writes acknowledged", state, || {
            (load.acknowledged() >= goal || load.has_ended()).then_some(())
        });
    }

    /// Holds both components, at rest, against each other: data equal, counters equal
    /// crosswise, neither lacking anything of the other, and both at the same point.
    pub fn assert_equal(&self, resource: &str) {
        let (ours, theirs) = (self.a.metadata(resource), self.b.metadata(resource));
        assert_ne!(ours.resuid, 0);
        assert_eq!(ours.resuid, theirs.resuid);
        assert_eq!(
            (ours.localcnt, ours.remotecnt),
            (theirs.remotecnt, theirs.localcnt)
        );
        for record in [&ours.record, &theirs.record] {
            assert!(!record.lacks && record.at.is_some(), "{record}");
        }
        self.until_at_one_point(resource);
        let (ours, theirs) = (self.a.data(resource), self.b.data(resource));
        let differing = ours
            .iter()
            .zip(&theirs)
            .position(|(one, other)| one != other);
        assert_eq!((ours.len(), differing), (theirs.len(), None), "{resource}");
    }
}

impl Cluster {
    /// Waits until both records name the same last point. One that covers the last writes may still be under
    /// way.
    #[track_caller]
    pub fn until_at_one_point(&self, resource: &str) {
        let records = || [&self.a, &self.b].map(|node| node.metadata(resource).record);
        let state = || records().map(|record| record.to_string()).join("; ");
        wait_for("the same point on both", state, || {
            let [ours, theirs] = records();
            let (here, there) = (ours.resolved(&theirs), theirs.resolved(&ours));
            (here.at.is_some() && here.at == there.at).then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in [&self.a, &self.b] {
                let log = node.log();
                let lines: Vec<&str> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
                eprintln!("--- log of {}:\n{}", node.name(), last.join("\n"));
            }
        }
    }
}
