//! Every way through a resource's stages.

use std::time::Duration;

use super::*;

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(100);

fn command(role: Role) -> Event {
    Event::Command { role, force: false }
}

fn restart() -> Event {
    Event::Restart {
        promotion: Promotion::Resumed,
        device: DeviceFate::Keep,
    }
}

fn died(lived: Duration) -> Event {
    let may_return = true;
    Event::Ended { may_return, lived }
}

fn gave_up() -> Event {
    let (may_return, lived) = (false, SHORT);
    Event::Ended { may_return, lived }
}

fn announce(old: Role, new: Role) -> Action {
    Action::Announce { old, new }
}

/// A resource after some events.
fn after(events: &[Event]) -> Lifecycle {
    let mut lifecycle = Lifecycle::default();
    for event in events {
        lifecycle.step(*event);
    }
    lifecycle
}

fn state(lifecycle: &Lifecycle) -> (Role, Stage) {
    (lifecycle.role(), lifecycle.stage())
}

fn primary() -> Lifecycle {
    after(&[command(Role::Primary), Event::Started])
}

fn secondary_at_work() -> Lifecycle {
    after(&[command(Role::Secondary), Event::Met, Event::Started])
}

#[test]
fn a_primary_starts_and_stops() {
    let mut it = Lifecycle::default();
    let spawn = Action::SpawnPrimary(Promotion::Asked);
    assert_eq!(it.step(command(Role::Primary)), [spawn]);
    assert!(!it.is_settled());
    let announced = announce(Role::Init, Role::Primary);
    assert_eq!(it.step(Event::Started), [announced, Action::Settled]);
    assert!(it.is_settled());
    assert_eq!(it.step(command(Role::Primary)), []);
    assert_eq!(
        it.step(command(Role::Init)),
        [Action::Stop(DeviceFate::Release)]
    );
    assert_eq!(state(&it), (Role::Init, Stage::Stopping));
    assert!(!it.is_settled());
    let announced = announce(Role::Primary, Role::Init);
    assert_eq!(it.step(gave_up()), [announced, Action::Settled]);
    assert_eq!(state(&it), (Role::Init, Stage::Idle));
}

#[test]
fn force_is_for_one_promotion() {
    let mut it = Lifecycle::default();
    let (role, force) = (Role::Primary, true);
    let spawn = Action::SpawnPrimary(Promotion::Forced);
    assert_eq!(it.step(Event::Command { role, force }), [spawn]);
    it.step(Event::Started);
    it.step(died(SHORT));
    let spawn = Action::SpawnPrimary(Promotion::Resumed);
    assert_eq!(it.step(Event::StageOver), [spawn]);
    it.step(Event::Started);
    it.step(command(Role::Init));
    it.step(gave_up());
    let spawn = Action::SpawnPrimary(Promotion::Asked);
    assert_eq!(it.step(command(Role::Primary)), [spawn]);
}

#[test]
fn a_refused_promotion_ends_in_init_and_is_not_tried_again() {
    for end in [died(SHORT), gave_up()] {
        let mut it = after(&[command(Role::Primary), Event::Refused]);
        assert_eq!(
            it.step(end),
            [Action::Settled],
            "nothing was ever announced"
        );
        assert_eq!(state(&it), (Role::Init, Stage::Idle));
    }
}

#[test]
fn a_primary_that_dies_comes_back_more_and_more_slowly() {
    let mut it = primary();
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let wait = Action::Wait(Duration::from_secs(seconds));
        assert_eq!(it.step(died(SHORT)), [wait]);
        assert_eq!(state(&it), (Role::Primary, Stage::BackOff));
        let spawn = Action::SpawnPrimary(Promotion::Resumed);
        assert_eq!(it.step(Event::StageOver), [spawn]);
        assert_eq!(
            it.step(Event::Started),
            [Action::Settled],
            "the role is not new"
        );
    }
    let wait = Action::Wait(Duration::from_secs(1));
    assert_eq!(it.step(died(LONG)), [wait], "it lived long");
}

#[test]
fn a_resumed_primary_that_is_refused_for_now_tries_again() {
    let mut it = primary();
    it.step(died(SHORT));
    it.step(Event::StageOver);
    it.step(Event::Refused);
    assert_eq!(it.step(died(SHORT)), [Action::Wait(Duration::from_secs(2))]);
    it.step(Event::StageOver);
    it.step(Event::Refused);
    let announced = announce(Role::Primary, Role::Init);
    assert_eq!(it.step(gave_up()), [announced, Action::Settled]);
}

#[test]
fn a_primary_that_gives_up_is_init() {
    let mut it = primary();
    let announced = announce(Role::Primary, Role::Init);
    assert_eq!(it.step(gave_up()), [announced, Action::Settled]);
    assert_eq!(state(&it), (Role::Init, Stage::Idle));
}

#[test]
fn a_secondary_waits_works_and_waits_again() {
    let mut it = Lifecycle::default();
    let announced = announce(Role::Init, Role::Secondary);
    assert_eq!(
        it.step(command(Role::Secondary)),
        [announced, Action::Settled]
    );
    assert_eq!(it.step(Event::Displaced), []);
    assert_eq!(it.step(Event::Met), [Action::SpawnSecondary]);
    it.step(Event::Started);
    for end in [died(SHORT), gave_up()] {
        assert_eq!(it.step(end), [Action::Settled]);
        assert_eq!(state(&it), (Role::Secondary, Stage::Idle));
        it.step(Event::Met);
    }
}

#[test]
fn a_new_primary_displaces_the_worker_of_the_old() {
    let mut it = secondary_at_work();
    assert_eq!(it.step(Event::Displaced), [Action::Stop(DeviceFate::Keep)]);
    assert_eq!(it.step(Event::Displaced), []);
    assert_eq!(it.step(gave_up()), [Action::Settled]);
    assert_eq!(it.step(Event::Met), [Action::SpawnSecondary]);
}

#[test]
fn a_worker_that_does_not_end_is_killed_until_it_has() {
    let mut it = primary();
    it.step(command(Role::Secondary));
    assert_eq!(it.step(Event::StageOver), [Action::Kill]);
    assert_eq!(it.step(Event::StageOver), [Action::Kill]);
    let announced = announce(Role::Primary, Role::Secondary);
    assert_eq!(it.step(died(SHORT)), [announced, Action::Settled]);
}

#[test]
fn of_several_commands_the_last_counts() {
    let mut it = primary();
    it.step(command(Role::Init));
    assert_eq!(it.step(command(Role::Secondary)), []);
    assert_eq!(it.step(command(Role::Primary)), []);
    let spawn = Action::SpawnPrimary(Promotion::Asked);
    assert_eq!(it.step(gave_up()), [spawn]);
    assert_eq!(it.step(Event::Started), [Action::Settled]);
}

#[test]
fn a_command_ends_a_start_and_a_back_off() {
    let mut it = after(&[command(Role::Primary)]);
    assert_eq!(
        it.step(command(Role::Init)),
        [Action::Stop(DeviceFate::Release)]
    );
    assert_eq!(it.step(Event::Started), [], "it crossed the stop");
    assert_eq!(it.step(gave_up()), [Action::Settled]);

    let mut it = primary();
    it.step(died(SHORT));
    let announced = announce(Role::Primary, Role::Secondary);
    assert_eq!(
        it.step(command(Role::Secondary)),
        [announced, Action::Settled]
    );
    assert_eq!(
        it.step(Event::StageOver),
        [],
        "the timer crossed the command"
    );
}

#[test]
fn a_restart_passes_through_init_and_says_so() {
    let mut it = primary();
    assert_eq!(it.step(restart()), [Action::Stop(DeviceFate::Keep)]);
    assert_eq!(it.role(), Role::Primary);
    let spawn = Action::SpawnPrimary(Promotion::Resumed);
    let left = announce(Role::Primary, Role::Init);
    assert_eq!(it.step(gave_up()), [left, spawn]);
    let back = announce(Role::Init, Role::Primary);
    assert_eq!(it.step(Event::Started), [back, Action::Settled]);

    let mut it = secondary_at_work();
    assert_eq!(it.step(restart()), [Action::Stop(DeviceFate::Keep)]);
    assert_eq!(it.step(gave_up()), [Action::Settled]);
}

#[test]
fn a_meeting_needs_an_idle_secondary() {
    for events in [
        &[][..],
        &[command(Role::Primary)],
        &[command(Role::Primary), Event::Started],
        &[command(Role::Secondary), Event::Met],
    ] {
        assert_eq!(after(events).step(Event::Met), [], "{events:?}");
    }
    let mut it = primary();
    assert_eq!(it.step(Event::Displaced), []);
}

#[test]
fn a_role_that_was_never_taken_is_not_settled_by_a_back_off() {
    let mut it = after(&[command(Role::Primary)]);
    it.step(died(SHORT));
    assert_eq!(state(&it), (Role::Primary, Stage::BackOff));
    assert!(!it.is_settled());
    assert_eq!(
        it.step(Event::StageOver),
        [Action::SpawnPrimary(Promotion::Asked)]
    );
    it.step(Event::Started);
    it.step(died(SHORT));
    assert!(it.is_settled());
}

#[test]
fn a_primary_whose_device_is_open_stays_one() {
    let mut it = primary();
    assert_eq!(
        it.step(command(Role::Secondary)),
        [Action::Stop(DeviceFate::Release)]
    );
    assert!(!it.is_settled());
    assert_eq!(it.step(Event::Busy), [Action::Settled]);
    assert_eq!(state(&it), (Role::Primary, Stage::Running));
    // It is one as before: a worker that dies is replaced.
    assert_eq!(it.step(died(SHORT)), [Action::Wait(Duration::from_secs(1))]);
    assert_eq!(
        it.step(Event::StageOver),
        [Action::SpawnPrimary(Promotion::Resumed)]
    );
}

#[test]
fn force_takes_an_open_device_away() {
    let (role, force) = (Role::Init, true);
    let stop = [Action::Stop(DeviceFate::Destroy)];
    assert_eq!(primary().step(Event::Command { role, force }), stop);
}

#[test]
fn the_end_of_hastd_says_what_becomes_of_the_devices() {
    for device in [DeviceFate::Vacate, DeviceFate::Keep] {
        let mut it = primary();
        assert_eq!(it.step(Event::End(device)), [Action::Stop(device)]);
        assert_eq!(state(&it), (Role::Init, Stage::Stopping));
    }
}

#[test]
fn a_superseded_primary_is_secondary_once_nobody_has_its_device_open() {
    let mut it = primary();
    let destroy = Action::Stop(DeviceFate::Destroy);
    assert_eq!(it.step(Event::Superseded), [destroy]);
    assert_eq!(state(&it), (Role::Primary, Stage::Stopping));
    assert!(it.is_superseded() && !it.is_settled());
    let looks = [Action::Settled, Action::LookWhetherOpen];
    assert_eq!(it.step(gave_up()), looks);
    assert_eq!(state(&it), (Role::Primary, Stage::Superseded));
    assert_eq!(it.step(Event::Met), [], "it is no secondary yet");
    assert_eq!(it.step(Event::StageOver), [Action::LookWhetherOpen]);
    let announced = announce(Role::Primary, Role::Secondary);
    assert_eq!(it.step(Event::Closed), [announced, Action::Settled]);
    assert_eq!(state(&it), (Role::Secondary, Stage::Idle));
    assert!(!it.is_superseded());
    assert_eq!(it.step(Event::Met), [Action::SpawnSecondary]);
}

#[test]
fn a_superseded_primary_that_is_told_something_else_does_that() {
    let mut it = primary();
    it.step(Event::Superseded);
    assert_eq!(it.step(command(Role::Init)), []);
    assert!(!it.is_superseded());
    let announced = announce(Role::Primary, Role::Init);
    assert_eq!(it.step(gave_up()), [announced, Action::Settled]);
    assert_eq!(state(&it), (Role::Init, Stage::Idle));

    let mut it = primary();
    it.step(Event::Superseded);
    it.step(gave_up());
    let announced = announce(Role::Primary, Role::Init);
    let end = Event::End(DeviceFate::Vacate);
    assert_eq!(it.step(end), [announced, Action::Settled]);
    assert_eq!(state(&it), (Role::Init, Stage::Idle));
}

#[test]
fn a_primary_that_is_found_superseded_while_it_stops_is_that() {
    // Busy, so it stays: but of no use.
    let mut it = primary();
    it.step(command(Role::Secondary));
    assert_eq!(it.step(Event::Superseded), []);
    assert_eq!(it.step(Event::Busy), [Action::Stop(DeviceFate::Destroy)]);
    let looks = [Action::Settled, Action::LookWhetherOpen];
    assert_eq!(it.step(gave_up()), looks);
    assert_eq!(state(&it), (Role::Primary, Stage::Superseded));

    // To be restarted: not any more.
    let mut it = primary();
    it.step(restart());
    it.step(Event::Superseded);
    assert_eq!(it.step(gave_up()), looks);
}
