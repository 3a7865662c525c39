//! What `--dry-run` prints: each step with its commands, from the table that is run. Asks nobody and does nothing.

use std::fmt::Write;

use crate::config::Config;
use crate::failover::agent::protocol::Request;
use crate::failover::commands::{Table, Way};
use crate::failover::group::{Group, HookPoint, OnHang, OnUnreachable, Settings};
use crate::failover::look::{Look, Sign};
use crate::failover::plan::{self, Ascent, Authority};
use crate::failover::step::Step;

/// The steps of a request.
pub fn text(settings: &Settings, config: &Config, group: &Group, request: &Request) -> String {
    let resources = group.resources.iter();
    let resources: Vec<_> = resources
        .filter_map(|name| config.resource(name).cloned())
        .collect();
    let mut paper = Paper {
        settings,
        group,
        table: Table::new(&settings.programs, group, &resources),
        text: String::new(),
        number: 0,
    };
    match request {
        Request::Master { force, .. } => paper.master(*force),
        Request::Backup { .. } => {
            paper.down();
            paper.steps(&plan::away(group));
        }
        Request::Switchover { .. } => {
            paper.say("on this node, where the peer is connected and up to date:");
            paper.down();
            paper.steps(&plan::away(group));
            paper.steps(&[Step::Invite, Step::WaitForTakeover]);
            paper.say("the other node then becomes master; where it does not, this one does again");
        }
        Request::Clear { .. } => paper.steps(&[Step::LowerDemotion]),
        Request::Event { .. } | Request::Status { .. } => {}
    }
    paper.text
}

struct Paper<'a> {
    settings: &'a Settings,
    group: &'a Group,
    table: Table,
    text: String,
    number: u32,
}

impl Paper<'_> {
    fn put(&mut self, part: std::fmt::Arguments<'_>) {
        self.text.write_fmt(part).expect("a String takes any text");
    }

    fn say(&mut self, what: &str) {
        self.put(format_args!("# {what}\n"));
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        self.number += 1;
        let limit = step.limit(self.group).as_secs();
        let number = self.number;
        self.put(format_args!("{number}. {step} (at most {limit} s)\n"));
        match self.table.way(step) {
            Way::Nothing => {}
            Way::Ask(lines) => {
                for line in lines {
                    self.put(format_args!("     {line}\n"));
                }
            }
            Way::Look(looks) => {
                for look in looks {
                    self.put(format_args!("     {}\n", look.command));
                }
            }
            Way::Run(task) => {
                if let Some(look) = &task.look {
                    let not = if task.wanted { "unless" } else { "if" };
                    let shows = shows(look);
                    self.put(format_args!("     # {not} {shows}: {}\n", look.command));
                }
                self.put(format_args!("     {}\n", task.command));
            }
            Way::Demotion { raise } => {
                let raised = if raise { "has" } else { "wants" };
                let look = Table::demotion(&self.settings.programs);
                let command = Table::add_to_demotion(&self.settings.programs, raise);
                self.put(format_args!(
                    "     # unless another group {raised} it raised: {look}\n     {command}\n"
                ));
            }
        }
    }

    fn down(&mut self) {
        self.steps(&plan::down(self.group, self.settings.witness.is_some()));
        let what = match self.group.on_hang {
            OnHang::Retry => "tried again until it works",
            OnHang::Force => "then done by force: what is not yet on the disk is lost",
            OnHang::Reboot => {
                "then this machine is restarted at once: what is not yet on the disk is lost"
            }
        };
        self.say(&format!(
            "where unmounting, exporting or a role hangs or fails it is {what}"
        ));
    }

    fn master(&mut self, force: bool) {
        let group = self.group;
        let before = group.hook(HookPoint::BeforeMaster);
        if before.is_some() {
            self.step(&Step::Hook(HookPoint::BeforeMaster));
        }
        self.steps(&[Step::WaitForHastd, Step::AskPeer]);
        self.say("where the peer is primary this ends here");
        if force {
            self.say("where the peer does not answer you vouch for it");
            self.climb(Authority::Person);
            return;
        }
        self.climb(Authority::Promise);
        self.say("where the peer does not answer, instead of the role above:");
        if group.fence.is_some() {
            self.step(&Step::Fence);
        }
        if self.settings.witness.is_some() {
            self.step(&Step::AcquireLease);
        }
        let otherwise = match group.on_unreachable {
            OnUnreachable::Refuse => "without that this ends here ('on-unreachable = refuse')",
            OnUnreachable::Wait => {
                "without that it is asked until it answers ('on-unreachable = wait')"
            }
            OnUnreachable::Promote => {
                "without that this goes on all the same ('on-unreachable = promote'): both may be primary"
            }
        };
        self.say(otherwise);
        if group.carp.is_some() {
            self.say("where a step fails those before it are undone, and:");
            self.steps(&plan::away(group));
        }
    }

    fn climb(&mut self, authority: Authority) {
        let witness = self.settings.witness.is_some();
        if witness && authority != Authority::Lease {
            self.step(&Step::AcquireLease);
        }
        self.steps(&plan::up(
            self.group,
            Ascent {
                authority,
                witness,
                take_address: true,
            },
        ));
    }
}

fn shows(look: &Look) -> String {
    match &look.sign {
        Sign::Pool(pool) => format!("pool {pool} is imported"),
        Sign::Mounted { path, .. } => format!("{} is mounted", path.display()),
        Sign::Runs(service) => format!("{service} runs"),
        Sign::Master(vhid) => format!("vhid {vhid} is MASTER"),
    }
}
