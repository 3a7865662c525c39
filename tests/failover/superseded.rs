//! A master whose hastd says that the other node went on as primary without it.

use std::time::Duration;

use hast::failover::step::{Outcome, Step};
use hast::failover::supervisor::{Action, Carp, Input, Level, Saved, Supervisor, Watch};

use crate::profile::Profile;

/// A supervisor that was found as master, with everything in place.
fn master() -> Supervisor {
    let mut it = Supervisor::new(Profile::plain().group, None, 1);
    let saved = Some(Saved {
        master: true,
        moving: false,
        pinned: false,
        trouble: None,
    });
    let same_boot = true;
    let carp = Some(Carp::Master);
    let begin = Input::Begin {
        saved,
        same_boot,
        carp,
    };
    assert!(
        it.handle(Duration::ZERO, begin)
            .contains(&Action::Perform(Step::Verify))
    );
    it.handle(Duration::from_secs(1), Input::Finished(Outcome::Done));
    it
}

#[test]
fn it_gives_the_group_up_instead_of_making_its_resources_primary_again() {
    let mut it = master();
    // What hastd shows of it: not served, whatever the role's name.
    let watch = Watch {
        answered: true,
        superseded: true,
        ..Watch::default()
    };
    let actions = it.handle(Duration::from_secs(2), Input::Watched(watch));
    let said = |text: &str| {
        actions.iter().any(
            |action| matches!(action, Action::Say(Level::Error, said) if said.starts_with(text)),
        )
    };
    assert!(
        said("giving up: the other node went on as primary"),
        "{actions:?}"
    );
    assert!(!said("resources of this master are not primary"));
    // The whole way, by force where a step hangs: nothing waits for the device any more.
    let mut steps = Vec::new();
    let mut actions = actions;
    for second in 3..60 {
        for action in std::mem::take(&mut actions) {
            if let Action::Perform(step) = action {
                steps.push(step);
            }
        }
        if matches!(steps.last(), Some(Step::Demote { .. })) {
            return;
        }
        actions = it.handle(Duration::from_secs(second), Input::Finished(Outcome::Done));
    }
    panic!("the role is not given up: {steps:?}");
}
