//! Who has a device open, read from texts as FreeBSD 15 writes them.

use hast::provider::gate::confxml::Mesh;
use hast::provider::gate::holders::{Holder, holders};
use hast::provider::gate::kernel::Mount;

/// A class with geoms.
fn class(name: &str, geoms: &[String]) -> String {
    let geoms = geoms.concat();
    format!("  <class id=\"0xffffffff81a2b3c0\">\n    <name>{name}</name>\n{geoms}  </class>\n")
}

/// A geom that uses the provider `uses` and offers others (their id, name, and mode).
fn geom(id: &str, name: &str, uses: Option<(&str, &str)>, offers: &[(&str, &str, &str)]) -> String {
    let consumer = uses.map(|(provider, mode)| {
        format!(
            "\t<consumer id=\"0xfffff80003c0{id}\">\n\t  <geom ref=\"{id}\"/>\n\
             \t  <provider ref=\"{provider}\"/>\n\t  <mode>{mode}</mode>\n\t</consumer>\n"
        )
    });
    let provider = |(provider, name, mode): &(&str, &str, &str)| {
        format!(
            "\t<provider id=\"{provider}\">\n\t  <geom ref=\"{id}\"/>\n\t  <mode>{mode}</mode>\n\
             \t  <name>{name}</name>\n\t  <mediasize>8388608</mediasize>\n\
             \t  <sectorsize>512</sectorsize>\n\t  <stripesize>0</stripesize>\n\
             \t  <stripeoffset>0</stripeoffset>\n\t  <config>\n\t    <start>40</start>\n\
             \t    <type>freebsd-ufs</type>\n\t  </config>\n\t</provider>\n"
        )
    };
    let providers: String = offers.iter().map(provider).collect();
    format!(
        "    <geom id=\"{id}\">\n      <class ref=\"0xffffffff81a2b3c0\"/>\n      <name>{name}</name>\n\
         \x20     <rank>2</rank>\n{}{providers}    </geom>\n",
        consumer.unwrap_or_default()
    )
}

/// The gate device, open so.
fn gate(mode: &str) -> String {
    let rest = geom("0x1", "hast/disk1", None, &[("0xd1", "hast/disk1", mode)]);
    let config = "      <rank>2</rank>\n      <config>\n\t<access>read-write</access>\n\
                  \t<timeout>0</timeout>\n\t<info>hast <primary> & </provider></info>\n\
                  \t<queue_count>0</queue_count>\n\t<queue_size>0</queue_size>\n\t<ref>9</ref>\n\
                  \t<unit>3</unit>\n      </config>\n";
    class("GATE", &[rest.replace("      <rank>2</rank>\n", config)])
}

/// The device file that every provider has.
fn file(id: &str, name: &str, provider: &str, mode: &str) -> String {
    class("DEV", &[geom(id, name, Some((provider, mode)), &[])])
}

fn found(classes: &[String], mounts: &[(&str, &str)]) -> Vec<Holder> {
    let text = format!("<mesh>\n{}</mesh>\n", classes.concat());
    let mount = |(from, on): &(&str, &str)| Mount {
        from: (*from).to_owned(),
        on: (*on).to_owned(),
    };
    let mounts: Vec<_> = mounts.iter().map(mount).collect();
    holders(&Mesh::parse(&text), &mounts, "hast/disk1")
}

fn device() -> String {
    "hast/disk1".to_owned()
}

#[test]
fn the_gate_itself_is_read_whatever_its_info_says() {
    let mesh = Mesh::parse(&format!("<mesh>\n{}</mesh>\n", gate("r1w1e1")));
    let (geom, provider) = mesh.provider("GATE", "hast/disk1").unwrap();
    assert_eq!(geom.setting("unit"), Some("3"));
    assert_eq!(geom.setting("ref"), Some("9"));
    assert_eq!(geom.setting("info"), Some("hast <primary> & </provider>"));
    assert_eq!(
        (provider.media_size, provider.sector_size),
        (8_388_608, 512)
    );
    assert!(provider.mode.is_open());
    assert_eq!(mesh.provider("GATE", "hast/disk2"), None);
    assert_eq!(mesh.provider("MD", "hast/disk1"), None);
}

#[test]
fn nobody_is_nobody() {
    assert_eq!(
        found(
            &[gate("r0w0e0"), file("0x2", "hast/disk1", "0xd1", "r0w0e0")],
            &[]
        ),
        []
    );
    assert_eq!(found(&[], &[]), []);
}

#[test]
fn a_mounted_file_system_is_named_by_its_place() {
    let vfs = class(
        "VFS",
        &[geom("0x2", "ffs.hast/disk1", Some(("0xd1", "r1w1e1")), &[])],
    );
    let classes = [
        gate("r1w1e1"),
        file("0x3", "hast/disk1", "0xd1", "r0w0e0"),
        vfs,
    ];
    let mounts = [("/dev/ada0p2", "/"), ("/dev/hast/disk1", "/shared")];
    let holder = Holder::Mount {
        device: device(),
        on: Some("/shared".into()),
    };
    assert_eq!(found(&classes, &mounts), [holder]);
    let unknown = Holder::Mount {
        device: device(),
        on: None,
    };
    assert_eq!(found(&classes, &[]), [unknown]);
}

#[test]
fn pools_swap_programs_and_other_classes_are_named() {
    for (name, geom_name, expected) in [
        ("ZFS::VDEV", "zfs::vdev", "/dev/hast/disk1 is in a ZFS pool"),
        ("SWAP", "swap", "/dev/hast/disk1 is swap space"),
        ("DEV", "hast/disk1", "a program has /dev/hast/disk1 open"),
        (
            "MULTIPATH",
            "m0",
            "/dev/hast/disk1 is used by m0 of class MULTIPATH",
        ),
    ] {
        let user = class(
            name,
            &[geom("0x2", geom_name, Some(("0xd1", "r1w0e0")), &[])],
        );
        let holders = found(&[gate("r1w0e0"), user], &[]);
        let text: Vec<_> = holders.iter().map(ToString::to_string).collect();
        assert_eq!(text, [expected]);
    }
}

#[test]
fn what_is_on_top_is_named_and_not_what_is_between() {
    let part = geom(
        "0x2",
        "hast/disk1",
        Some(("0xd1", "r2w2e4")),
        &[
            ("0xd2", "hast/disk1p1", "r0w0e0"),
            ("0xd3", "hast/disk1p2", "r1w1e1"),
            ("0xd4", "hast/disk1p3", "r1w1e0"),
        ],
    );
    let eli = geom(
        "0x3",
        "hast/disk1p2.eli",
        Some(("0xd3", "r1w1e1")),
        &[("0xd5", "hast/disk1p2.eli", "r1w1e1")],
    );
    let classes = [
        gate("r2w2e4"),
        class("PART", &[part]),
        class("ELI", &[eli]),
        class(
            "VFS",
            &[geom(
                "0x4",
                "ffs.hast/disk1p2.eli",
                Some(("0xd5", "r1w1e1")),
                &[],
            )],
        ),
        class(
            "SWAP",
            &[geom("0x5", "swap", Some(("0xd4", "r1w1e0")), &[])],
        ),
    ];
    let mounts = [("/dev/hast/disk1p2.eli", "/a b")];
    let text: Vec<_> = found(&classes, &mounts)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "/dev/hast/disk1p2.eli is mounted on /a b",
            "/dev/hast/disk1p3 is swap space"
        ]
    );
}

#[test]
fn names_are_decoded_and_a_broken_text_only_says_less() {
    let odd = class(
        "LABEL",
        &[geom(
            "0x2",
            "a&#x26;b&lt;&#xC3;&#xBC;&x;",
            Some(("0xd1", "r1w0e0")),
            &[],
        )],
    );
    let text = found(&[gate("r1w0e0"), odd.clone()], &[]);
    assert_eq!(
        text[0].to_string(),
        "/dev/hast/disk1 is used by a&b<\u{fc}&x; of class LABEL"
    );
    let whole = format!("<mesh>\n{}{odd}</mesh>\n", gate("r1w0e0"));
    for end in 0..whole.len() {
        if let Some(part) = whole.get(..end) {
            holders(&Mesh::parse(part), &[], "hast/disk1");
        }
    }
    // A consumer of what it offers itself.
    let circle = geom(
        "0x2",
        "x",
        Some(("0xd1", "r1w0e0")),
        &[("0xd1", "hast/disk1", "r1w0e0")],
    );
    assert_eq!(
        found(&[gate("r1w0e0"), class("LOOP", &[circle])], &[]).len(),
        1
    );
}
