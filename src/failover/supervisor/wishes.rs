//! What a supervisor is wished to do, by CARP and by people, and when it is followed.

use super::down::Cause;
use super::{Action, Carp, Level, Origin, Phase, Request, Supervisor, Wish};

impl Supervisor {
    pub(super) fn carp_says(&mut self, state: Carp) {
        self.carp = Some(state);
        if self.pinned {
            self.say(
                Level::Info,
                format!("CARP says {state:?}, which is not followed until 'clear'"),
            );
        } else {
            self.wish(state == Carp::Master, Origin::Carp);
        }
    }

    /// The latest wish counts. Those of CARP that come close to each other are one.
    pub(super) fn wish(&mut self, master: bool, origin: Origin) {
        let due = match (origin, self.pending) {
            (
                Origin::Carp,
                Some(Wish {
                    origin: Origin::Carp,
                    due,
                    ..
                }),
            ) => due,
            (Origin::Carp, _) => self.now + self.group.debounce,
            _ => self.now,
        };
        self.pending = Some(Wish {
            master,
            origin,
            due,
        });
        // A step that only waits for something is not waited for.
        let unwanted = match self.phase {
            Phase::Up(_) => !master,
            _ => false,
        };
        if unwanted && self.performing.is_some() && !self.hurried {
            self.hurried = true;
            self.actions.push(Action::Hurry);
        }
    }

    pub(super) fn asked(&mut self, request: Request) -> Result<(), String> {
        match request {
            Request::Master { force } => {
                self.pinned = false;
                self.wish(true, Origin::Hand { force });
                Ok(())
            }
            Request::Backup => {
                self.pinned = true;
                self.wish(false, Origin::Hand { force: false });
                Ok(())
            }
            Request::Switchover => self.switchover(),
            Request::Clear => {
                self.pinned = false;
                self.trouble = None;
                self.lowering = true;
                if let (Some(carp), Phase::Master) = (self.carp, &self.phase) {
                    self.wish(carp == Carp::Master, Origin::Carp);
                }
                Ok(())
            }
        }
    }

    fn switchover(&mut self) -> Result<(), String> {
        if !matches!(self.phase, Phase::Master) || self.performing.is_some() {
            return Err("this node is not master, or is busy: run it on the master".to_owned());
        }
        if !self.watch.complete {
            return Err(
                "the peer is not connected or not up to date: see hastctl status".to_owned(),
            );
        }
        self.pending = None;
        self.go_down(Cause::Switchover, true);
        Ok(())
    }

    pub(super) fn follow_wish(&mut self) {
        let Some(wish) = self.pending else {
            return;
        };
        let mut due = wish.due;
        if wish.master
            && wish.origin == Origin::Carp
            && let Some(trouble) = &self.trouble
        {
            due = due.max(trouble.retry);
        }
        if self.now < due {
            return;
        }
        let hand = matches!(wish.origin, Origin::Hand { .. });
        let cause = if hand { Cause::Hand } else { Cause::Event };
        match (&self.phase, wish.master) {
            (Phase::Starting, _) => return,
            (Phase::Backup, true) => self.go_up(wish.origin),
            (Phase::Down(down), true) if down.may_turn() => self.go_up(wish.origin),
            (Phase::Down(_), true) => return,
            (Phase::Up(up), false) => {
                let whole = !up.is_clean();
                self.go_down(cause, whole);
            }
            (Phase::Master, false) => self.go_down(cause, true),
            // A person's word brings the address away, too.
            (Phase::Backup, false) if hand => self.go_down(cause, true),
            (Phase::Down(_), false) if hand => return,
            (Phase::Backup | Phase::Down(_), false) | (Phase::Up(_) | Phase::Master, true) => {}
        }
        self.pending = None;
    }
}
