//! `make demo`: two nodes on this machine, three disks, and what happens when one node is killed
//! in mid-write. Prints the commands an administrator would type, and ends with what was
//! checked. Needs no root, no kernel module and no other program, and leaves nothing behind.

#[path = "../../tests/cluster/ledger.rs"]
#[allow(dead_code)] // tests use more of it
mod ledger;
#[path = "../../tests/cluster/load.rs"]
#[allow(dead_code)] // tests use more of it
mod load;
mod node;
#[path = "../../tests/cluster/ports.rs"]
mod ports;
#[path = "../../tests/cluster/stamp.rs"]
mod stamp;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ledger::Ledger;
use load::{Load, Plan, Written, device_size, verify};
use node::{Failure, Node, Terminal, compare};

const DISKS: [&str; 3] = ["disk1", "disk2", "disk3"];
/// Size of each of the six components.
const COMPONENT_SIZE: u64 = 64 << 20;
/// How long the clients write before the primary is killed, and again at the other node.
const WRITING: Duration = Duration::from_secs(3);
/// While copies are being made equal.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// For anything that is waited for.
const LIMIT: Duration = Duration::from_secs(30);
/// Starts, where other programs take the ports that were chosen.
const ATTEMPTS: usize = 5;
/// Of each daemon's log that are shown when something is wrong.
const LOG_LINES: usize = 12;

fn main() -> ExitCode {
    let terminal = match Terminal::new() {
        Ok(terminal) => terminal,
        Err(error) => {
            eprintln!("demo FAILED: {error}");
            return ExitCode::FAILURE;
        }
    };
    match demonstrate(&terminal) {
        Ok(checked) => {
            println!("{checked}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("demo FAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The whole of it, in a folder that goes at the end; the line that says what was checked.
fn demonstrate(terminal: &Terminal) -> Result<String, Failure> {
    let folder = tempfile::Builder::new().prefix("hast-demo.").tempdir()?;
    let mut nodes = start(terminal, folder.path())?;
    let result = play(terminal, &mut nodes);
    if matches!(&result, Err(failure) if !matches!(failure, Failure::Interrupted)) {
        for node in &nodes {
            eprintln!(
                "--- the end of {}'s log:\n{}",
                node.name,
                node.log(LOG_LINES)
            );
        }
    }
    // The daemons end before their folder goes.
    drop(nodes);
    folder.close()?;
    result
}

/// Writes the configuration and starts both daemons, with other ports where these are taken.
fn start(terminal: &Terminal, folder: &Path) -> Result<[Node; 2], Failure> {
    terminal.explain("Two nodes, hast1 and hast2, share this hast.conf:")?;
    let mut attempt = 1;
    loop {
        let config = folder.join("hast.conf");
        let mut nodes = [
            Node::new("hast1", folder, ports::free_port())?,
            Node::new("hast2", folder, ports::free_port())?,
        ];
        fs::write(&config, configuration(&nodes)?)?;
        let [one, two] = &mut nodes;
        match one.start(terminal).and_then(|()| two.start(terminal)) {
            Err(Failure::PortTaken) if attempt < ATTEMPTS => attempt += 1,
            Err(failure) => return Err(failure),
            Ok(()) => {
                introduce(terminal, &nodes, &fs::read_to_string(config)?)?;
                return Ok(nodes);
            }
        }
    }
}

/// Like the one in the article that everybody starts from, with what two nodes on one machine
/// must have apart.
fn configuration(nodes: &[Node; 2]) -> Result<String, std::fmt::Error> {
    let mut text = String::from("replication fullsync\ntimeout 5\n");
    for node in nodes {
        let (folder, port) = (node.folder.display(), node.port);
        writeln!(text, "\non {} {{", node.name)?;
        writeln!(text, "\tcontrol {folder}/control")?;
        writeln!(text, "\tlisten tcp4://127.0.0.1:{port}\n}}")?;
    }
    for disk in DISKS {
        writeln!(text, "\nresource {disk} {{")?;
        for (node, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
            let folder = node.folder.display();
            writeln!(text, "\ton {} {{", node.name)?;
            writeln!(text, "\t\tlocal {folder}/{disk}")?;
            writeln!(text, "\t\tprovider nbd {folder}/{disk}.nbd")?;
            writeln!(text, "\t\tremote tcp4://127.0.0.1:{}\n\t}}", other.port)?;
        }
        text.push_str("}\n");
    }
    Ok(text)
}

fn introduce(terminal: &Terminal, nodes: &[Node; 2], config: &str) -> Result<(), Failure> {
    let (shown, _) = config
        .split_once("\nresource disk2")
        .unwrap_or((config, ""));
    for line in shown.lines() {
        let line = format!("    {}", line.replace('\t', "  "));
        terminal.line(line.trim_end())?;
    }
    terminal.line("    ... and disk2, disk3 likewise")?;
    terminal.explain(
        "Both run on this machine: behind each command's name stands, not shown here,\n\
         '-c hast.conf -n hast1' or hast2. On machines of their own they need neither.",
    )?;
    for node in nodes {
        terminal.typed(node.name, "hastd -F &")?;
    }
    Ok(())
}

fn play(terminal: &Terminal, nodes: &mut [Node; 2]) -> Result<String, Failure> {
    terminal
        .explain("Make the disks ready (files of 64 MiB here) and give the nodes their roles:")?;
    for (node, role) in [(&nodes[1], "secondary"), (&nodes[0], "primary")] {
        node.hastctl(terminal, &format!("create {}", DISKS.join(" ")))?;
        node.hastctl(terminal, &format!("role {role} all"))?;
    }
    until_complete(terminal, &nodes[0])?;

    terminal.explain("Clients write to hast1's three devices, 8 requests at a time each ...")?;
    let empty = |disk: &&str| Ok(Ledger::new(device_size(&nodes[0].device(disk))?));
    let ledgers = DISKS
        .iter()
        .map(empty)
        .collect::<Result<Vec<_>, String>>()?;
    let loads = write_to(&nodes[0], ledgers, 1);
    watch(terminal, &loads)?;
    terminal.explain("... and hast1 is killed in the middle of it, hastd and all its workers:")?;
    nodes[0].kill(terminal)?;
    let written = finish(loads)?;
    let acknowledged = total(&written, |it| it.acknowledged);
    let unanswered = total(&written, |it| it.unanswered);
    terminal.line(&format!(
        "    {acknowledged} writes were acknowledged, {unanswered} were in flight"
    ))?;
    if unanswered == 0 {
        return Err(Failure::Wrong(
            "nothing was being written when hast1 was killed".into(),
        ));
    }

    terminal.explain("Fail over: hast2 takes the disks.")?;
    nodes[1].hastctl(terminal, "role primary all")?;
    terminal.explain("Read all of it there: is every acknowledged write present?")?;
    let bytes = read_back(&nodes[1], &written)?;
    let blocks = total(&written, |it| it.ledger.acknowledged_blocks());
    terminal.line(&format!(
        "    {blocks} blocks hold their last acknowledged write ({} MiB read)",
        bytes >> 20
    ))?;

    terminal.explain("Work goes on at hast2 alone:")?;
    let ledgers = written.into_iter().map(|it| it.ledger).collect();
    let loads = write_to(&nodes[1], ledgers, 2);
    watch(terminal, &loads)?;
    let written = finish(loads)?;
    let alone = total(&written, |it| it.acknowledged);
    terminal.line(&format!("    {alone} more writes were acknowledged"))?;
    show_status(terminal, &nodes[1], &nodes[1].quiet("status")?)?;

    terminal.explain("hast1 is repaired, comes back as secondary and is brought up to date:")?;
    terminal.typed("hast1", "hastd -F &")?;
    nodes[0].start(terminal)?;
    nodes[0].hastctl(terminal, "role secondary all")?;
    until_complete(terminal, &nodes[1])?;
    terminal.explain("Compare the two copies byte for byte, and read everything once more:")?;
    read_back(&nodes[1], &written)?;
    let mut compared = 0;
    for disk in DISKS {
        compared += compare(&nodes[0].component(disk), &nodes[1].component(disk))?;
    }
    terminal.line(&format!(
        "    {} MiB are equal on both nodes",
        compared >> 20
    ))?;

    terminal.explain("End both daemons:")?;
    for node in nodes {
        node.end(terminal)?;
    }
    Ok(format!(
        "\nOK: {acknowledged} acknowledged writes ({blocks} blocks) survived kill -9; copies are equal."
    ))
}

fn write_to(node: &Node, ledgers: Vec<Ledger>, seed: u64) -> Vec<Load> {
    let start =
        |(disk, ledger): (&&str, Ledger)| Load::start(&node.device(disk), ledger, Plan::new(seed));
    DISKS.iter().zip(ledgers).map(start).collect()
}

/// Lets the writers work.
fn watch(terminal: &Terminal, loads: &[Load]) -> Result<(), Failure> {
    let since = Instant::now();
    while since.elapsed() < WRITING && !loads.iter().any(Load::has_ended) {
        terminal.pause()?;
    }
    if loads.iter().any(|load| load.acknowledged() == 0) {
        return Err(Failure::Wrong("a device took no writes".into()));
    }
    Ok(())
}

fn finish(loads: Vec<Load>) -> Result<Vec<Written>, Failure> {
    Ok(loads
        .into_iter()
        .map(Load::finish)
        .collect::<Result<_, _>>()?)
}

fn total(written: &[Written], number: impl Fn(&Written) -> u64) -> u64 {
    written.iter().map(number).sum()
}

/// Holds all three devices against what was acknowledged; the number of bytes read.
fn read_back(node: &Node, written: &[Written]) -> Result<u64, Failure> {
    let mut bytes = 0;
    for (disk, written) in DISKS.iter().zip(written) {
        let found = verify(&node.device(disk), &written.ledger);
        bytes +=
            found.map_err(|what| Failure::Wrong(format!("{disk} on {}: {what}", node.name)))?;
    }
    Ok(bytes)
}

/// Shows what `hastctl status` prints, without the components' paths, which are long here.
fn show_status(terminal: &Terminal, node: &Node, table: &str) -> Result<(), Failure> {
    terminal.typed(node.name, "hastctl status")?;
    terminal.line("    Name    Status   Role           Components")?;
    for row in table.lines().skip(1) {
        let mut columns = row.split('\t');
        let (name, state) = (columns.next().unwrap_or(""), columns.next().unwrap_or(""));
        let rest: Vec<&str> = columns.collect();
        let state = state.split('/').next().unwrap_or("");
        terminal.line(&format!("    {name:<8}{state}{name}, {}", rest.join("  ")))?;
    }
    Ok(())
}

/// Waits until all is complete; shows the status now and then while something is copied, and at
/// the end.
fn until_complete(terminal: &Terminal, node: &Node) -> Result<(), Failure> {
    let since = Instant::now();
    let mut shown: Option<Instant> = None;
    loop {
        let table = node.quiet("status")?;
        if table.matches("\tcomplete ").count() == DISKS.len() {
            return show_status(terminal, node, &table);
        }
        let copied = table.contains('%') && !table.contains("\t0%");
        if copied && shown.is_none_or(|shown| shown.elapsed() > SHOW_EVERY) {
            show_status(terminal, node, &table)?;
            shown = Some(Instant::now());
        }
        if since.elapsed() > LIMIT {
            return Err(Failure::Wrong(format!(
                "not complete within {LIMIT:?}:\n{table}"
            )));
        }
        terminal.pause()?;
    }
}
