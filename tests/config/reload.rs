//! What a reload asks of a running resource.

use crate::conf;
use hast::config::{Change, Resource};
use hast::terms::Role;

fn resource(outer: &str, inner: &str) -> Resource {
    let text = format!("resource d {{ {outer} on hasta {{ {inner} }} }}");
    conf(&text).unwrap().resources.remove(0)
}

#[test]
fn a_primary_changes_in_place_where_it_can() {
    let old = resource("local /d", "remote h:1 source 10.0.0.1");
    for (outer, inner) in [
        ("local /d", "remote h:2 source 10.0.0.1"),
        ("local /d", "remote none source 10.0.0.1"),
        ("local /d", "remote h:1"),
        ("local /d", "remote tcp://h:1 source 10.0.0.1"),
        ("local /d replication async", "remote h:1 source 10.0.0.1"),
        ("local /d checksum crc32", "remote h:1 source 10.0.0.1"),
        ("local /d compression none", "remote h:1 source 10.0.0.1"),
        ("local /d timeout 3", "remote h:1 source 10.0.0.1"),
        ("local /d exec /hook", "remote h:1 source 10.0.0.1"),
        ("local /d", "remote h:1 source 10.0.0.1 metaflush off"),
    ] {
        let new = resource(outer, inner);
        assert_eq!(
            old.change_to(&new, Role::Primary),
            Change::InPlace,
            "{outer} {inner}"
        );
        assert_eq!(
            old.change_to(&new, Role::Secondary),
            Change::Restart,
            "{outer} {inner}"
        );
        assert_eq!(
            old.change_to(&new, Role::Init),
            Change::Restart,
            "{outer} {inner}"
        );
    }
}

#[test]
fn another_device_is_another_worker() {
    let old = resource("local /d", "remote none");
    for (outer, inner) in [
        ("local /e", "remote none"),
        ("local /d name e", "remote none"),
        ("local /d", "remote none provider nbd h:1"),
        ("local /d buffers 64m", "remote none"),
    ] {
        let new = resource(outer, inner);
        for role in Role::ALL {
            assert_eq!(
                old.change_to(&new, *role),
                Change::Restart,
                "{outer} {inner}"
            );
        }
    }
}

#[test]
fn the_same_is_the_same() {
    let old = resource("local /d timeout 20", "remote h:1 source 10.0.0.1");
    let new = resource("local /d", "remote h:1 source 10.0.0.1");
    for role in Role::ALL {
        assert_eq!(old.change_to(&new, *role), Change::Unchanged);
    }
}
