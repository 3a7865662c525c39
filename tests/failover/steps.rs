//! What steps do in the model, how long they take, and how they fail.

use std::time::Duration;

use hast::failover::step::{CLAIM, FenceAnswer, LeaseAnswer, Outcome, PeerAnswer, Step};
use hast::failover::supervisor::Carp;

use crate::machine::{Fate, Job, Role};
use crate::profile::Sabotage;
use crate::world::{Fault, World, ms, secs};

impl World {
    /// A step was told.
    pub fn told(&mut self, node: usize, step: Step) {
        self.note(format!("node {node}: {step}"));
        if matches!(step, Step::Import { .. }) {
            self.check_import_told(node);
        }
        let waits = matches!(
            step,
            Step::WaitForHastd | Step::WaitForDevices | Step::WaitForPeer | Step::WaitForTakeover
        );
        self.steps += 1;
        let fault = self.fault.filter(|(number, _)| *number == self.steps);
        let fate = match fault.map(|(_, fault)| fault) {
            Some(Fault::Fails) => Fate::Fails,
            Some(Fault::FailsLate) => Fate::FailsLate,
            Some(Fault::Hangs) => Fate::Hangs,
            Some(Fault::DiesBefore | Fault::DiesAfter) | None => self.fate(&step),
        };
        let acts = self.now + ms(self.rng.u64(50..1500));
        let ends = acts + ms(self.rng.u64(50..2500));
        let limit = self.now + step.limit(&self.profile.group);
        let job = Job {
            acts: (!waits).then_some(acts),
            ends: if waits || fate == Fate::Hangs {
                limit
            } else {
                ends
            },
            since: self.now,
            step,
            fate,
            outcome: None,
        };
        let agent = self.nodes[node].agent.as_mut().expect("who was told lives");
        assert!(agent.job.is_none(), "one step at a time");
        agent.job = Some(job);
        self.die_of(node, fault.map(|(_, fault)| fault));
    }

    /// The agent dies with its step.
    fn die_of(&mut self, node: usize, fault: Option<Fault>) {
        let after = match fault {
            Some(Fault::DiesBefore) => false,
            Some(Fault::DiesAfter) => true,
            _ => return,
        };
        let job = self.nodes[node].agent.as_mut().and_then(|it| it.job.take());
        if let Some(job) = job.filter(|job| after && job.acts.is_some()) {
            self.act(node, &job);
        }
        self.lose_agent(node);
    }

    fn fate(&mut self, step: &Step) -> Fate {
        let heals = self.healing;
        let external = matches!(
            step,
            Step::Import { .. }
                | Step::Export { .. }
                | Step::Start(_)
                | Step::Stop(_)
                | Step::RaiseDemotion
                | Step::LowerDemotion
                | Step::YieldAddress
                | Step::TakeAddress
                | Step::Demote { .. }
                | Step::Promote { .. }
        );
        if heals || !external || self.rng.u32(..self.profile.fails) != 0 {
            return Fate::Works;
        }
        match self.rng.u8(..3) {
            0 => Fate::Fails,
            1 => Fate::FailsLate,
            _ => Fate::Hangs,
        }
    }

    /// Goes on with what a node's agent does; the outcome when it ends.
    pub fn work(&mut self, node: usize) -> Option<Outcome> {
        let mut job = self.nodes[node].agent.as_mut()?.job.take()?;
        match job.acts {
            Some(acts) if acts <= self.now && job.outcome.is_none() => {
                let works = matches!(job.fate, Fate::Works | Fate::FailsLate);
                job.outcome = Some(if works {
                    self.act(node, &job)
                } else {
                    Outcome::Failed("so it was thrown".to_owned())
                });
            }
            Some(_) => {}
            None => {
                if let Some(outcome) = self.waited(node, &job.step) {
                    return Some(outcome);
                }
            }
        }
        if job.ends > self.now {
            // A machine that lost its power has no agent any more.
            if let Some(agent) = self.nodes[node].agent.as_mut() {
                agent.job = Some(job);
            }
            return None;
        }
        let peer_gone = matches!(job.step, Step::AskPeer | Step::LookAtPeer) && !self.link(node);
        Some(match (job.fate, job.outcome) {
            (Fate::Hangs, _) | (_, None) => Outcome::Overdue,
            (Fate::FailsLate, _) => Outcome::Failed("it failed at its end".to_owned()),
            _ if peer_gone => Outcome::Peer(PeerAnswer::Unreachable("no answer".to_owned())),
            (_, Some(outcome)) => outcome,
        })
    }

    /// Somebody waits for something: whether it is so.
    fn waited(&mut self, node: usize, step: &Step) -> Option<Outcome> {
        let peer = &self.nodes[1 - node];
        let so = match step {
            Step::WaitForHastd => self.nodes[node].hastd.up,
            Step::WaitForDevices => self.nodes[node].hastd.role == Role::Primary,
            Step::WaitForPeer if self.split_brain => {
                return Some(Outcome::Failed("split brain".to_owned()));
            }
            Step::WaitForPeer => self.connected == Some(node) && self.synced,
            Step::WaitForTakeover => {
                self.link(node) && peer.up && peer.hastd.up && peer.hastd.role == Role::Primary
            }
            other => unreachable!("{other} waits for nothing"),
        };
        so.then_some(Outcome::Done)
    }

    #[allow(clippy::too_many_lines)] // a table
    fn act(&mut self, node: usize, job: &Job) -> Outcome {
        let other = 1 - node;
        let now = self.now;
        let failed = |why: &str| Outcome::Failed(why.to_owned());
        match &job.step {
            Step::AskPeer => Outcome::Peer(self.ask(node, true)),
            Step::LookAtPeer => Outcome::Peer(self.ask(node, false)),
            Step::Fence => self.fence(node),
            Step::AcquireLease => {
                let answer = self.acquire(node, job.since, None);
                Outcome::Lease(answer)
            }
            Step::Hold => {
                self.nodes[node].hastd.permit = Some(Duration::ZERO);
                Outcome::Done
            }
            Step::Promote { force } => self.promote(node, *force),
            Step::Import { force, .. } => {
                let this = &self.nodes[node];
                if this.hastd.role != Role::Primary || !this.hastd.up {
                    return failed("no device");
                }
                if this.pool {
                    return Outcome::Done;
                }
                // When all is well again, somebody has seen to that.
                if self.last_host.is_some_and(|host| host != node) && !force && !self.healing {
                    return failed("it was last used by another system");
                }
                self.count(if *force { "import by force" } else { "import" });
                self.last_host = Some(node);
                self.nodes[node].pool = true;
                self.check_imported(node);
                Outcome::Done
            }
            Step::Export { force, .. } => {
                let held = self.is_held(node);
                let this = &mut self.nodes[node];
                if !this.pool || self.sabotage == Some(Sabotage::ExportSkipped) {
                    return Outcome::Done;
                }
                if (held || this.hastd.role != Role::Primary) && !force {
                    return Outcome::Overdue;
                }
                this.pool = false;
                if !force {
                    self.last_host = None;
                }
                Outcome::Done
            }
            Step::Demote { force } => {
                let skipped = self.sabotage == Some(Sabotage::ExportSkipped);
                let this = &mut self.nodes[node];
                if !this.hastd.up {
                    return failed("hastd is not running");
                }
                if this.pool && this.hastd.role == Role::Primary && !force && !skipped {
                    return failed("the device is open");
                }
                if *force {
                    this.pool = false;
                    self.count("forced down");
                }
                // The sabotage leaves a primary with its pool behind.
                if !(skipped && self.nodes[node].pool) {
                    self.nodes[node].hastd.role = Role::Secondary;
                    self.nodes[node].hastd.permit = None;
                }
                Outcome::Done
            }
            Step::ReleaseLease => {
                if self.nodes[node].hears_witness {
                    self.witness.release(node);
                }
                Outcome::Done
            }
            Step::RaiseDemotion => {
                self.nodes[node].raised = true;
                Outcome::Done
            }
            Step::LowerDemotion => {
                self.nodes[node].raised = false;
                Outcome::Done
            }
            Step::TakeAddress => {
                if self.nodes[node].network {
                    self.carp_becomes(node, Carp::Master);
                    if self.nodes[other].carp == Carp::Master {
                        self.carp_becomes(other, Carp::Backup);
                    }
                }
                Outcome::Done
            }
            Step::YieldAddress => {
                if self.nodes[node].carp == Carp::Master {
                    self.carp_becomes(node, Carp::Backup);
                    self.nodes[node].quiet = now;
                }
                Outcome::Done
            }
            Step::Invite => {
                if !self.hears(node) {
                    return failed("no answer");
                }
                self.nodes[other].hastd.invited = true;
                Outcome::Done
            }
            Step::Verify => {
                if self.nodes[node].serves() {
                    Outcome::Done
                } else {
                    failed("the pool is not there")
                }
            }
            Step::Reboot => {
                self.count("reboot");
                let back = now + secs(self.rng.u64(20..60));
                self.lose_power(node, back);
                Outcome::Done
            }
            Step::Start(_) | Step::Stop(_) | Step::Hook(_) => Outcome::Done,
            other => unreachable!("{other} is not in this model"),
        }
    }

    fn ask(&mut self, node: usize, claim: bool) -> PeerAnswer {
        if self.sabotage == Some(Sabotage::PeerNotAsked) {
            return PeerAnswer::Init;
        }
        if !self.hears(node) {
            return PeerAnswer::Unreachable("no answer".to_owned());
        }
        let peer = &mut self.nodes[1 - node].hastd;
        if peer.role == Role::Primary {
            return PeerAnswer::Primary;
        }
        if claim {
            peer.claim = self.now + CLAIM;
        }
        let answer = match peer.role {
            Role::Secondary => PeerAnswer::Secondary,
            _ => PeerAnswer::Init,
        };
        // The worst moment for a restart: it forgets the claim that it has just noted.
        if claim && !self.healing && self.rng.u8(..40) == 0 {
            self.note(format!("node {}: hastd dies with a claim", 1 - node));
            self.nodes[1 - node].lose_hastd();
            self.nodes[1 - node].back = self.now + ms(self.rng.u64(200..2000));
        }
        answer
    }

    fn promote(&mut self, node: usize, force: bool) -> Outcome {
        let now = self.now;
        let this = &mut self.nodes[node].hastd;
        if !this.up {
            return Outcome::Failed("hastd is not running".to_owned());
        }
        if this.role == Role::Primary || force {
            this.role = Role::Primary;
            return Outcome::Done;
        }
        if this.claim > now && self.sabotage != Some(Sabotage::ClaimIgnored) {
            self.count("claimed");
            return Outcome::Claimed;
        }
        if now < this.started + CLAIM {
            return Outcome::Claimed;
        }
        this.role = Role::Primary;
        // What the agent has put it under holds.
        Outcome::Done
    }

    fn fence(&mut self, node: usize) -> Outcome {
        let answer = match self.rng.u8(..10) {
            0 => FenceAnswer::NotFenced,
            1 => FenceAnswer::Unknown,
            _ => FenceAnswer::Fenced,
        };
        let lies = self.sabotage == Some(Sabotage::FenceLies);
        let off = answer == FenceAnswer::Fenced && !lies
            || answer == FenceAnswer::Unknown && self.rng.bool();
        if off {
            self.count("fenced");
            let back = self.now + secs(self.rng.u64(30..120));
            self.lose_power(1 - node, back);
        }
        Outcome::Fence(answer)
    }

    pub fn acquire(&mut self, node: usize, sent: Duration, alone: Option<bool>) -> LeaseAnswer {
        if !self.nodes[node].hears_witness {
            return LeaseAnswer::Unreachable("no answer".to_owned());
        }
        let answer = self
            .witness
            .acquire(self.now, sent, node, alone, self.sabotage);
        if matches!(answer, LeaseAnswer::Granted { .. }) {
            self.count("lease");
        }
        answer
    }
}
