//! The port: true to the sources, and in the form that ports have.

use std::collections::BTreeSet;
use std::process::Command;

use crate::install::{Installation, files};
use crate::support::{run, tool};
use crate::{SCRIPTS, read, root};

#[test]
fn the_services_of_the_port_are_the_services() {
    for script in SCRIPTS {
        let own = read(format!("rc.d/{script}")).replace("/usr/local", "%%PREFIX%%");
        assert!(
            read(format!("port/files/{script}.in")) == own,
            "run: sed 's,/usr/local,%%PREFIX%%,g' rc.d/{script} > port/files/{script}.in"
        );
    }
}

#[test]
fn crates_are_those_of_the_lock_file() {
    let again = "run: cargo fetch && sh port/crates.sh";
    let crates = run(Command::new("sh")
        .current_dir(root())
        .args(["port/crates.sh", "-n"]))
    .success();
    assert_eq!(read("port/Makefile.crates"), crates, "{again}");

    // The script's figures against a reading of the lock file that is not the script's.
    let lock: toml::Table = read("Cargo.lock").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("packages");
    let expected: BTreeSet<(String, String)> = packages
        .iter()
        .filter_map(|package| {
            let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
            let file = format!("rust/crates/{}-{}.crate", text("name")?, text("version")?);
            Some((file, text("checksum")?))
        })
        .collect();
    let distinfo = read("port/distinfo");
    let entries = |kind: &str| -> BTreeSet<(String, String)> {
        let begin = format!("{kind} (");
        let lines = distinfo.lines().filter_map(|it| it.strip_prefix(&begin));
        lines
            .filter_map(|line| line.split_once(") = "))
            .map(|(file, value)| (file.to_owned(), value.to_owned()))
            .collect()
    };
    let sums = entries("SHA256");
    assert_eq!(sums, expected, "{again}");
    let sizes = entries("SIZE");
    assert!(sizes.iter().all(|(_, size)| size.parse::<u32>().is_ok()));
    let names = |set: BTreeSet<(String, String)>| -> BTreeSet<String> {
        set.into_iter().map(|(file, _)| file).collect()
    };
    assert_eq!(names(sums), names(sizes));
    assert!(distinfo.starts_with("TIMESTAMP = "));
}

/// The value of a variable of the port's Makefile.
#[track_caller]
fn variable(makefile: &str, name: &str) -> String {
    let value = makefile.lines().find_map(|line| {
        let (found, value) = line.split_once("=\t")?;
        (found == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| panic!("{name} is not set, or no tab follows its '='"))
}

/// What portlint looks at first: blocks of variables, and their order.
#[test]
fn the_makefile_has_the_form_of_a_port() {
    let makefile = read("port/Makefile");
    let blocks: Vec<Vec<&str>> = makefile
        .split("\n\n")
        .map(|block| {
            let names = block.lines().filter_map(|line| line.split_once("=\t"));
            let names = names.map(|(name, _)| name.trim_end_matches('+'));
            names
                .filter(|name| !name.starts_with(['\t', '.']))
                .collect()
        })
        .filter(|names: &Vec<&str>| !names.is_empty())
        .collect();
    let expected: [&[&str]; 7] = [
        &["PORTNAME", "DISTVERSION", "CATEGORIES"],
        &["MAINTAINER", "COMMENT", "WWW"],
        &["LICENSE", "LICENSE_FILE"],
        &["USES", "USE_RC_SUBR"],
        &["USERS", "GROUPS"],
        &["PORTEXAMPLES"],
        &["OPTIONS_DEFINE"],
    ];
    assert_eq!(blocks, expected);
    assert!(makefile.ends_with("\n.include <bsd.port.mk>\n"));
    assert!(makefile.lines().all(|line| line.trim_end() == line));

    assert_eq!(
        variable(&makefile, "DISTVERSION"),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(variable(&makefile, "LICENSE"), "BSD2CLAUSE");
    assert_eq!(variable(&makefile, "USE_RC_SUBR"), SCRIPTS.join(" "));
    let comment = variable(&makefile, "COMMENT");
    assert!(comment.len() <= 70 && !comment.ends_with('.'), "{comment}");
    assert!(comment.starts_with(char::is_uppercase), "{comment}");

    let describes = read("port/pkg-descr");
    assert!(describes.lines().all(|line| line.len() < 80));
    assert!(describes.lines().count() < 24);
    // Old-fashioned places, which portlint knows.
    assert!(!describes.contains("WWW:"));
    assert!(read("port/README").contains(env!("CARGO_PKG_VERSION")));
}

/// The port puts into its package what `make install` installs, file by file.
#[test]
fn the_package_has_what_make_install_installs() {
    let Some(make) = tool("make", "make") else {
        return;
    };
    let installation = Installation::new();
    let destination = installation.destination();
    let into = format!("DESTDIR={}", destination.display());
    installation.make(&make, &["install", &into]).success();
    let installed = files(&destination.join("usr/local"));

    let makefile = read("port/Makefile");
    let list = read("port/pkg-plist");
    let entries: Vec<&str> = list.lines().collect();
    assert!(entries.is_sorted(), "{entries:?}");
    let mut packaged: BTreeSet<String> = entries
        .iter()
        .map(|entry| entry.trim_start_matches("@sample ").to_owned())
        .collect();
    for entry in &entries {
        assert_eq!(entry.ends_with(".sample"), entry.starts_with("@sample "));
    }
    // The framework lists these by itself.
    packaged.extend(SCRIPTS.map(|script| format!("etc/rc.d/{script}")));
    for name in variable(&makefile, "PORTEXAMPLES").split(' ') {
        let source = root().join("examples").join(name);
        if source.is_dir() {
            // The notice for devd goes where devd looks.
            let samples = files(&source).into_iter().filter(|it| it != "devd.conf");
            packaged.extend(samples.map(|it| format!("share/examples/hast/{name}/{it}")));
        } else {
            packaged.insert(format!("share/examples/hast/{name}"));
        }
    }
    assert_eq!(packaged, installed);

    // And it installs each of those that cargo and the framework do not.
    for sample in entries.iter().filter_map(|it| it.strip_prefix("@sample ")) {
        let target = format!("${{STAGEDIR}}${{PREFIX}}/{sample}");
        assert!(makefile.contains(&target), "{target}");
    }
    for page in packaged.iter().filter_map(|name| name.strip_suffix(".gz")) {
        let source = page.rsplit('/').next().expect("a name");
        let source = format!("${{WRKSRC}}/man/{source}");
        assert!(makefile.contains(&source), "{source}");
    }
}

#[test]
fn the_script_of_the_port_is_clean() {
    let Some(shellcheck) = tool("shellcheck", "shellcheck") else {
        return;
    };
    run(Command::new(shellcheck)
        .current_dir(root())
        .arg("port/crates.sh"))
    .success();
}
