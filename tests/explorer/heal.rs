//! Mends everything, and looks whether the two nodes come to rest: equal, or refused for a reason.
//!
//! One history for each state, not all: whoever may step does, until nobody may; then somebody does what
//! an operator or an agent would. It spends no events.

use hast::engine::meeting::Refusal;

use crate::events::{close, leave, promote};
use crate::judge;
use crate::meetings::{hear_of_primary, separate};
use crate::naming::rename;
use crate::product;
use crate::rules::{Label, Moves, Rules, Step, successors};
use crate::world::{Budget, Event, Image, Phase, Spot, World, Wrong};

/// More steps than any history that ends takes.
const PATIENCE: usize = 400;

/// What went wrong, and by which steps.
pub struct Ill {
    pub wrong: Wrong,
    pub steps: Vec<Label>,
    pub world: World,
}

/// Nothing where it comes to rest as it should.
pub fn heal(rules: &Rules, ill: &World) -> Option<Ill> {
    let mut healing = Healing {
        rules,
        world: mended(ill),
        steps: vec![],
        turned: 0,
        list: vec![],
    };
    for _ in 0..PATIENCE {
        if let Some(wrong) = healing.world.wrong {
            return Some(healing.ill(wrong));
        }
        if healing.step() {
            continue;
        }
        match healing.help() {
            Help::Given => {}
            Help::AtRest => return None,
            Help::None(wrong) => return Some(healing.ill(wrong)),
        }
    }
    Some(healing.ill(Wrong::Stuck))
}

fn mended(ill: &World) -> World {
    let mut world = *ill;
    world.budget = Budget {
        total: 9,
        ..Budget::default()
    }
    .with(Event::Promote, 9);
    for node in &mut world.nodes {
        node.up = true;
        node.meta_dead = false;
        node.data_dead = false;
        node.image = Image::default();
    }
    world
}

enum Help {
    Given,
    AtRest,
    None(Wrong),
}

struct Healing<'a> {
    rules: &'a Rules,
    world: World,
    steps: Vec<Label>,
    /// How often the roles were changed for a refusal.
    turned: u8,
    list: Vec<(Label, World)>,
}

impl Healing<'_> {
    fn ill(self, wrong: Wrong) -> Ill {
        Ill {
            wrong,
            steps: self.steps,
            world: self.world,
        }
    }

    /// What the nodes do by themselves; nobody loses patience.
    fn step(&mut self) -> bool {
        self.list.clear();
        successors(self.rules, &self.world, false, &mut self.list);
        let world = self.world;
        self.list
            .retain(|(label, after)| label.step != Step::GiveUp && *after != world);
        let wrong = self.list.iter().find(|(_, after)| after.wrong.is_some());
        let Some((label, after)) = wrong.or(self.list.first()) else {
            return false;
        };
        self.steps.push(*label);
        self.world = *after;
        true
    }

    fn note(&mut self, step: Step, node: usize) {
        self.steps.push(Label {
            step,
            node: node as u8,
            detail: 0,
        });
    }

    fn help(&mut self) -> Help {
        let world = self.world;
        let primaries = [0, 1].map(|n| world.nodes[n].primary);
        if world.link.phase == Phase::Together {
            let here = &world.nodes[world.link.primary as usize];
            let rests = world.link.reached && here.behind == 0 && here.stale == 0;
            let complete = world.nodes.iter().all(|node| !node.record().lacks);
            return if rests && complete {
                Help::AtRest
            } else {
                Help::None(Wrong::Stuck)
            };
        }
        match primaries {
            [true, true] => self.two_primaries(),
            [false, false] => self.promote_somebody(),
            [first, _] => self.one_primary(usize::from(!first)),
        }
    }

    fn two_primaries(&mut self) -> Help {
        for node in 0..2 {
            self.list.clear();
            let mut moves = Moves {
                rules: self.rules,
                from: &self.world,
                node,
                list: &mut self.list,
            };
            hear_of_primary(&mut moves);
            if let Some((label, world)) = self.list.first().copied() {
                self.steps.push(label);
                self.world = world;
                return Help::Given;
            }
        }
        let done = |n: usize| !self.world.nodes[n].open || self.world.nodes[n].superseded;
        let node = (0..2)
            .rev()
            .find(|n| done(*n))
            .or((0..2).find(|n| self.world.nodes[*n].is_idle()));
        self.release(node.unwrap_or(1));
        Help::Given
    }

    /// Gets a node out of its role: its permit, its consumer's patience, its consumer.
    fn release(&mut self, n: usize) {
        let here = &mut self.world.nodes[n];
        if !here.is_idle() && !here.superseded && !here.permit {
            here.permit = true;
            self.note(Step::GainPermit, n);
        } else if !here.is_idle() && !here.superseded {
            here.drop_requests();
            self.note(Step::GiveUp, n);
        } else {
            self.demote(n);
        }
    }

    fn demote(&mut self, n: usize) {
        separate(&mut self.world);
        if self.world.nodes[n].superseded {
            close(&mut self.world, n);
        } else {
            self.world.nodes[n].flush();
            leave(&mut self.world.nodes[n]);
        }
        rename(&mut self.world);
        self.note(Step::Demote, n);
    }

    fn promote_somebody(&mut self) -> Help {
        for node in 0..2 {
            if self.promoted(node) {
                return Help::Given;
            }
        }
        let world = &self.world;
        if world.forced || world.rolled_back || world.unwritten {
            Help::AtRest
        } else if world.faulty {
            Help::None(Wrong::BothLack)
        } else {
            Help::None(Wrong::RefusedWithoutReason)
        }
    }

    fn promoted(&mut self, node: usize) -> bool {
        self.list.clear();
        promote(&mut Moves {
            rules: self.rules,
            from: &self.world,
            node,
            list: &mut self.list,
        });
        let Some((label, world)) = self.list.first().copied() else {
            return false;
        };
        self.steps.push(label);
        self.world = world;
        rename(&mut self.world);
        true
    }

    /// One is primary, and they do not meet.
    fn one_primary(&mut self, n: usize) -> Help {
        let here = self.world.nodes[n];
        if here.superseded {
            self.demote(n);
            return Help::Given;
        }
        match product::decide(&self.world, n, self.rules.mutant) {
            Err(Refusal::SplitBrain) => {
                if judge::diverged(&self.world) {
                    Help::AtRest
                } else {
                    Help::None(Wrong::SplitWithoutDivergence)
                }
            }
            Err(Refusal::Superseded) | Ok(_) => self.wait_for(n),
            Err(refusal) => self.refused(n, refusal),
        }
    }

    /// It waits for something: a permit, or a consumer.
    fn wait_for(&mut self, n: usize) -> Help {
        if self.world.nodes[n].permit && self.world.nodes[n].is_idle() {
            return Help::None(Wrong::Stuck);
        }
        if self.world.nodes[n].permit {
            self.world.nodes[n].drop_requests();
            self.note(Step::GiveUp, n);
        } else {
            self.world.nodes[n].permit = true;
            self.note(Step::GainPermit, n);
        }
        Help::Given
    }

    /// The other way round, once each: what an operator would do.
    fn refused(&mut self, n: usize, refusal: Refusal) -> Help {
        let here = self.world.nodes[n];
        if here.open || !here.is_idle() {
            self.release(n);
            return Help::Given;
        }
        if self.turned < 2 {
            self.turned += 1;
            let before = self.world;
            self.demote(n);
            if self.promoted(1 - n) {
                return Help::Given;
            }
            self.world = before;
        }
        let world = &self.world;
        if world.forced || world.rolled_back {
            return Help::AtRest;
        }
        if !world.faulty {
            return Help::None(Wrong::RefusedWithoutReason);
        }
        let complete = world.nodes.iter().any(|node| {
            let rec = node.record();
            rec.used && !rec.lacks && rec.at != Spot::default()
        });
        if complete && refusal != Refusal::CompleteCopyGone {
            Help::None(Wrong::Stuck)
        } else if !complete && !world.unwritten {
            Help::None(Wrong::BothLack)
        } else {
            Help::AtRest
        }
    }
}
