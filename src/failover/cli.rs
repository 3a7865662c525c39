//! hast-failover's command line. Results go to standard output, everything else to standard error, each line
//! beginning with `hast-failover:`; exit codes are those of sysexits(3).

mod check;
mod dry_run;
mod follow;
mod forget;
mod print;

use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::agent::protocol::{self, Answer, Request};
use super::agent::startup::{self, Options};
use super::group::Settings;
use crate::cli::ending::{Failure, print, sysexits};
use crate::config::Config;
use crate::logging;

/// How long the agent may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Failover of HAST resources, with what lies on them
#[derive(Debug, Parser)]
#[command(name = "hast-failover", version, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent
    Run(RunArguments),
    /// Tell the agent of an event of CARP: for devd(8)
    Event(EventArguments),
    /// Make this node master of a group
    Master(MasterArguments),
    /// Make this node backup of a group, and keep it so until 'clear' or 'master'
    Backup(GroupArguments),
    /// On the master: change places with the other node
    Switchover(GroupArguments),
    /// Follow CARP again, and take this node's demotion back
    Clear(GroupArguments),
    /// Have the witness forget a group, with its nodes
    Forget(forget::ForgetArguments),
    /// Show how groups are
    Status(StatusArguments),
    /// Check the configuration, and what it needs on this machine
    Check(Common),
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file [default: hast.toml or hast.conf in /usr/local/etc, /etc/hast.conf]
    #[arg(short, value_name = "config")]
    config: Option<PathBuf>,
    /// Say more; may be repeated
    #[arg(short, action = clap::ArgAction::Count)]
    debug: u8,
    /// Be this node instead of the one of this host's name
    #[arg(short, value_name = "node")]
    node: Option<String>,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    common: Common,
    /// Stay in the foreground and log to standard error
    #[arg(short = 'F')]
    foreground: bool,
    /// Keep the process number in this file, in the foreground too
    #[arg(short = 'P', value_name = "pidfile")]
    pidfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct EventArguments {
    #[command(flatten)]
    common: Common,
    /// As devd says: vhid@interface
    #[arg(value_name = "subsystem")]
    subsystem: String,
    /// As devd says: MASTER, BACKUP or INIT
    #[arg(value_name = "type")]
    state: String,
}

#[derive(Debug, Args)]
struct GroupArguments {
    #[command(flatten)]
    common: Common,
    /// Only print the steps, as commands
    #[arg(long)]
    dry_run: bool,
    /// Name of the group; all of them but for 'master': all
    #[arg(value_name = "group")]
    group: String,
}

#[derive(Debug, Args)]
struct MasterArguments {
    #[command(flatten)]
    rest: GroupArguments,
    /// Even where the other node does not answer: you vouch that it is down, or backup for good
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct StatusArguments {
    #[command(flatten)]
    common: Common,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Name of a group [default: all]
    #[arg(value_name = "group")]
    group: Option<String>,
}

/// Runs hast-failover with a command line (the program's name first); returns the exit code.
pub fn main(command_line: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(command_line) {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nothing can be done where even the usage can not be printed.
            let _ = error.print();
            return if wrong { sysexits::EX_USAGE } else { 0 };
        }
    };
    let result = match &arguments.command {
        Command::Run(arguments) => return run(arguments),
        Command::Event(arguments) => event(arguments),
        Command::Master(arguments) => {
            let group = arguments.rest.group.clone();
            let force = arguments.force;
            change(&arguments.rest, &Request::Master { group, force })
        }
        Command::Backup(arguments) => {
            let group = arguments.group.clone();
            change(arguments, &Request::Backup { group })
        }
        Command::Switchover(arguments) => {
            let group = arguments.group.clone();
            change(arguments, &Request::Switchover { group })
        }
        Command::Clear(arguments) => {
            let group = arguments.group.clone();
            change(arguments, &Request::Clear { group })
        }
        Command::Forget(arguments) => forget::run(arguments),
        Command::Status(arguments) => status(arguments),
        Command::Check(common) => check::run(common),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure.message);
            failure.code
        }
    }
}

fn run(arguments: &RunArguments) -> u8 {
    logging::start(arguments.common.debug);
    let options = Options {
        config: arguments.common.config.clone(),
        node: arguments.common.node.clone(),
        foreground: arguments.foreground,
        pidfile: arguments.pidfile.clone(),
    };
    match startup::run(&options) {
        Ok(()) => 0,
        Err(error) => {
            log::error!("{error}");
            error.exit_code()
        }
    }
}

/// Says something on standard error.
fn complain(message: &str) {
    eprintln!("hast-failover: {message}");
}

fn configuration(common: &Common) -> Result<(Config, Settings), Failure> {
    Ok(Settings::load(
        common.config.as_deref(),
        common.node.as_deref(),
    )?)
}

/// Connects to the agent and asks.
fn ask(settings: &Settings, request: &Request) -> Result<BufReader<UnixStream>, Failure> {
    let path = settings.control.display();
    let mut stream = UnixStream::connect(&settings.control).map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("not permitted to talk to the agent at {path}; run hast-failover as root")
            }
            _ => format!("the agent is not running or not listening at {path}: {error}"),
        };
        Failure::new(what, sysexits::EX_TEMPFAIL)
    })?;
    protocol::line(request)
        .and_then(|line| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(&line)
        })
        .map_err(|error| lost(settings, &error))?;
    Ok(BufReader::new(stream))
}

/// The next answer, which has to come.
fn next(settings: &Settings, from: &mut BufReader<UnixStream>) -> Result<Answer, Failure> {
    match protocol::read(from) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(lost(settings, &io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(lost(settings, &error)),
    }
}

fn lost(settings: &Settings, error: &io::Error) -> Failure {
    let path = settings.control.display();
    Failure::new(
        format!("no usable answer from the agent at {path}: {error}"),
        sysexits::EX_UNAVAILABLE,
    )
}

fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Refused { why } => Failure::new(why, sysexits::EX_UNAVAILABLE),
        other => Failure::new(
            format!("unexpected answer of the agent: {other:?}"),
            sysexits::EX_PROTOCOL,
        ),
    }
}

fn event(arguments: &EventArguments) -> Result<u8, Failure> {
    let (_, settings) = configuration(&arguments.common)?;
    let (subsystem, state) = (&arguments.subsystem, &arguments.state);
    if super::carp::word(state).is_none() {
        let what = format!("found '{state}'; expected MASTER, BACKUP or INIT");
        return Err(Failure::new(what, sysexits::EX_USAGE));
    }
    let is_it = |carp: &super::group::Vhid| carp.to_string() == *subsystem;
    let ours = |group: &super::group::Group| group.carp.as_ref().is_some_and(is_it);
    if !settings.groups.iter().any(ours) {
        if arguments.common.debug > 0 {
            complain(&format!("no group has the address {subsystem}"));
        }
        return Ok(0);
    }
    let request = Request::Event {
        subsystem: subsystem.clone(),
        state: state.clone(),
    };
    let mut answers = ask(&settings, &request).map_err(|failure| Failure {
        message: format!(
            "{}; when it is started it looks at CARP itself",
            failure.message
        ),
        ..failure
    })?;
    match next(&settings, &mut answers)? {
        Answer::Taken => Ok(0),
        other => Err(unexpected(&other)),
    }
}

/// The word for every group.
const ALL: &str = "all";

/// `master`, `backup`, `switchover` and `clear`
fn change(arguments: &GroupArguments, request: &Request) -> Result<u8, Failure> {
    let (config, settings) = configuration(&arguments.common)?;
    if arguments.group == ALL && !matches!(request, Request::Master { .. }) {
        if !arguments.dry_run {
            return follow::follow_all(&settings, request);
        }
        for group in &settings.groups {
            print(&format!("# group {}\n", group.name))?;
            print(&dry_run::text(&settings, &config, group, request))?;
        }
        return Ok(0);
    }
    let Some(group) = settings.group(&arguments.group) else {
        let what = format!(
            "there is no group '{}' in the configuration",
            arguments.group
        );
        return Err(Failure::new(what, sysexits::EX_DATAERR));
    };
    if arguments.dry_run {
        print(&dry_run::text(&settings, &config, group, request))?;
        return Ok(0);
    }
    follow::follow(&settings, request, None)
}

fn status(arguments: &StatusArguments) -> Result<u8, Failure> {
    let (_, settings) = configuration(&arguments.common)?;
    let request = Request::Status {
        group: arguments.group.clone(),
    };
    let mut answers = ask(&settings, &request)?;
    match next(&settings, &mut answers)? {
        Answer::Status { groups } if arguments.json => {
            let text = serde_json::to_string_pretty(&groups)
                .map_err(|error| Failure::new(error, sysexits::EX_PROTOCOL))?;
            print(&format!("{text}\n"))?;
            Ok(0)
        }
        Answer::Status { groups } => {
            print(&print::status(&groups, arguments.common.debug > 0))?;
            Ok(0)
        }
        other => Err(unexpected(&other)),
    }
}
