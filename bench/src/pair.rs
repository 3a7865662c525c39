//! Two nodes of hast on this machine: real hastd processes with a generated configuration, told what
//! to do through hastctl.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path as FilePath, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::path::Path;
use crate::process::{Running, output_of, wait_until};
use crate::settings::Settings;

/// The only resource.
const RESOURCE: &str = "bench";

/// How long a pair may take to reach a state.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a component has beside its data: metadata and map.
const OVERHEAD: u64 = 1 << 20;

/// What a pair is like.
#[derive(Debug)]
pub struct Form<'a> {
    /// Names its files.
    pub name: &'a str,
    /// Bytes of data, at least.
    pub size: u64,
    /// `buffers` in the configuration, in MiB; its window is half of that.
    pub buffers: u64,
    /// The way between the nodes.
    pub path: &'a Path,
}

/// Two hastd, one primary and one secondary, fullsync.
#[derive(Debug)]
pub struct Pair<'a> {
    settings: &'a Settings,
    configuration: PathBuf,
    events: PathBuf,
    nodes: [Running; 2],
    /// Where the primary serves NBD.
    pub socket: PathBuf,
}

impl<'a> Pair<'a> {
    /// Starts them and waits until they are complete.
    pub fn start(
        settings: &'a Settings,
        form: &Form<'_>,
        data: &FilePath,
        sockets: &FilePath,
    ) -> Result<Self> {
        let name = form.name;
        let folder = sockets.join(name);
        fs::create_dir(&folder)?;
        let components = ["a", "b"].map(|node| data.join(format!("{name}.{node}")));
        for component in &components {
            File::create_new(component)?.set_len(form.size + OVERHEAD)?;
        }
        let configuration = folder.join("hast.conf");
        let events = folder.join("events");
        fs::write(&events, "")?;
        let hook = write_hook(&folder, &events)?;
        let text = configure(form, &folder, &components, &hook)?;
        fs::write(&configuration, text)?;

        let mut pair = Self {
            settings,
            configuration,
            events,
            nodes: [
                daemon(settings, &form.path.prefix(), &folder, "a")?,
                daemon(settings, &form.path.prefix(), &folder, "b")?,
            ],
            socket: folder.join("a.nbd"),
        };
        for (index, node) in ["a", "b"].into_iter().enumerate() {
            let control = folder.join(format!("{node}.control"));
            let daemon = &mut pair.nodes[index];
            wait_until("hastd's control socket", PATIENCE, || {
                if daemon.has_ended() {
                    let log = fs::read_to_string(folder.join(format!("{node}.log")))?;
                    return Err(format!("hastd ended: {log}").into());
                }
                Ok(control.exists())
            })?;
            pair.control(node, &["create"])?;
        }
        pair.control("b", &["role", "secondary"])?;
        pair.control("a", &["role", "primary"])?;
        pair.wait_for_complete()?;
        Ok(pair)
    }

    /// Runs hastctl on a node: the words, then the resource.
    pub fn control(&self, node: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(self.settings.program("hastctl"));
        let (verb, rest) = words.split_first().ok_or("no command")?;
        command
            .args([verb, "-n", node, "-c"])
            .arg(&self.configuration)
            .args(rest)
            .arg(RESOURCE);
        output_of(&mut command)
    }

    /// Waits until the primary says that both copies are the same.
    pub fn wait_for_complete(&self) -> Result<()> {
        wait_until("both copies to be the same", PATIENCE, || {
            Ok(self.listed("a", "status")?.as_deref() == Some("complete"))
        })
    }

    /// A line of `hastctl list`.
    fn listed(&self, node: &str, key: &str) -> Result<Option<String>> {
        let text = self.control(node, &["list"])?;
        let start = format!("{key}: ");
        let found = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(&start));
        Ok(found.map(str::to_owned))
    }

    /// Bytes that the primary says are still to be copied.
    pub fn dirty(&self) -> Result<u64> {
        let text = self.listed("a", "dirty")?.ok_or("list shows no dirty")?;
        let bytes = text.split_whitespace().next().unwrap_or_default();
        Ok(bytes.parse()?)
    }

    /// Process numbers of the two workers, primary's first.
    pub fn workers(&self) -> Result<[u32; 2]> {
        let worker = |node| -> Result<u32> {
            let number = self.listed(node, "workerpid")?;
            Ok(number.ok_or("no worker runs")?.parse()?)
        };
        Ok([worker("a")?, worker("b")?])
    }

    /// Process numbers of all four processes. Behind `ip netns exec` too: it becomes what it starts.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut processes = self.workers()?.to_vec();
        processes.extend(self.nodes.iter().map(Running::id));
        Ok(processes)
    }

    /// Takes the secondary away, so that the primary goes on alone.
    pub fn part(&self) -> Result<()> {
        self.control("b", &["role", "init"])?;
        wait_until("the primary to be alone", PATIENCE, || {
            Ok(self.listed("a", "status")?.as_deref() == Some("degraded"))
        })
    }

    /// Lets the secondary come back.
    pub fn rejoin(&self) -> Result<()> {
        self.control("b", &["role", "secondary"]).map(drop)
    }

    /// How often the hook was run for `event`.
    pub fn count_of(&self, event: &str) -> Result<usize> {
        let text = fs::read_to_string(&self.events)?;
        Ok(text.lines().filter(|line| *line == event).count())
    }

    /// Waits until the hook was run for `event` once more than `before` times; looks every
    /// millisecond.
    pub fn wait_for(&self, event: &str, before: usize) -> Result<()> {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.count_of(event)? <= before {
            if std::time::Instant::now() > deadline {
                return Err(format!("waited in vain for the hook {event}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn daemon(
    settings: &Settings,
    prefix: &[String],
    folder: &FilePath,
    node: &str,
) -> Result<Running> {
    let hastd = settings.program("hastd");
    let mut command = match prefix.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(hastd);
            command
        }
        None => Command::new(hastd),
    };
    command
        .args(["-F", "-n", node, "-c"])
        .arg(folder.join("hast.conf"));
    Running::start(command, &folder.join(format!("{node}.log")))
}

/// A hook that writes down each event.
fn write_hook(folder: &FilePath, events: &FilePath) -> Result<PathBuf> {
    let hook = folder.join("hook");
    fs::write(
        &hook,
        format!("#!/bin/sh\necho \"$1\" >>'{}'\n", events.display()),
    )?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    Ok(hook)
}

fn configure(
    form: &Form<'_>,
    folder: &FilePath,
    components: &[PathBuf; 2],
    hook: &FilePath,
) -> Result<String> {
    let listeners = [free_address()?, free_address()?];
    // Only the primary's way to the secondary is used.
    let remotes = [form.path.through(&listeners[1])?, listeners[0].clone()];
    let mut text = format!(
        "replication fullsync\nbuffers {}m\nexec {}\n",
        form.buffers,
        hook.display()
    );
    let folder = folder.display();
    for (node, listener) in ["a", "b"].iter().zip(&listeners) {
        writeln!(
            text,
            "on {node} {{\n\tcontrol uds://{folder}/{node}.control\n\tpidfile {folder}/{node}.pid\n\
             \tlisten tcp://{listener}\n}}"
        )?;
    }
    writeln!(text, "resource {RESOURCE} {{")?;
    for (index, node) in ["a", "b"].iter().enumerate() {
        writeln!(
            text,
            "\ton {node} {{\n\t\tlocal {}\n\t\tremote tcp://{}\n\t\tprovider nbd {folder}/{node}.nbd\n\t}}",
            components[index].display(),
            remotes[index],
        )?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
