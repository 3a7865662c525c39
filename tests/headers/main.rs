//! The bindings to FreeBSD's kernel against FreeBSD's own headers: all that they say (see
//! `hast_ffi::headers`) becomes a C program of static assertions, compiled for every kind of
//! machine with the headers that zig carries.

#![allow(clippy::unwrap_used)] // helpers of tests fail tests

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hast_ffi::headers::{CLAIMS, Claims};
use hast_ffi::layout::{Model, Structure};
use support::{Outcome, run_within, skip};

/// How long the compiler may take: it has to warm up once, beside other tests.
const COMPILING: Duration = Duration::from_mins(5);

/// zig with its arguments up to those of the C compiler, or that the test is skipped.
fn zig() -> Option<Command> {
    let zig = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/zig");
    let version = run_within(Command::new(&zig).arg("version"), COMPILING);
    if !version.status.success() {
        skip("python3 has no ziglang here; install it with pip, as .ci/prepare does");
        return None;
    }
    let mut command = Command::new(zig);
    command.arg("cc");
    Some(command)
}

/// A C program that compiles if and only if all of this is so on a kind of machine.
fn program(claims: &[Claims], model: Model) -> String {
    let mut text = String::from("#include <stddef.h>\n");
    for claim in claims {
        for header in claim.headers {
            writeln!(text, "#include <{header}>").unwrap();
        }
        for structure in claim.structures {
            describe(&mut text, structure, model);
        }
        for request in claim.requests {
            let number = request.code(model).into();
            assertion(&mut text, request.name, number);
        }
        for (name, value) in claim.constants {
            assertion(&mut text, name, *value);
        }
    }
    text
}

/// What a structure's size and the place and size of each of its fields must be.
fn describe(text: &mut String, structure: &Structure, model: Model) {
    let name = structure.name;
    let size = structure.size(model) as u64;
    assertion(text, &format!("sizeof(struct {name})"), size);
    for (index, (field, kind)) in structure.fields.iter().enumerate() {
        let offset = structure.offset(index, model) as u64;
        assertion(text, &format!("offsetof(struct {name}, {field})"), offset);
        let size = kind.size(model) as u64;
        let field = format!("sizeof(((struct {name} *)0)->{field})");
        assertion(text, &field, size);
    }
}

fn assertion(text: &mut String, expression: &str, value: u64) {
    writeln!(
        text,
        "_Static_assert((unsigned long long)({expression}) == {value}ULL, \"{expression}\");"
    )
    .unwrap();
}

/// Compiles a program for one target of zig's.
fn compile(mut zig: Command, target: &str, program: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("headers.c");
    fs::write(&source, program).unwrap();
    zig.args(["-target", target, "-Werror", "-c", "-o"])
        .arg(folder.path().join("headers.o"))
        .arg(&source);
    run_within(&mut zig, COMPILING)
}

/// All bindings against the headers for one target.
fn check(target: &str, model: Model) {
    let Some(zig) = zig() else { return };
    compile(zig, target, &program(CLAIMS, model)).success();
}

#[test]
fn the_bindings_are_as_the_headers_for_amd64() {
    check("x86_64-freebsd", Model::LP64);
}

#[test]
fn the_bindings_are_as_the_headers_for_arm64() {
    check("aarch64-freebsd", Model::LP64);
}

#[test]
fn the_bindings_are_as_the_headers_for_32_bit_arm() {
    check("arm-freebsd-eabihf", Model::ILP32);
}

#[test]
fn the_bindings_are_as_the_headers_for_i386() {
    check("x86-freebsd", Model::I386);
}

/// What the checks above are worth: a field that is moved, in any structure, is noticed.
#[test]
fn a_moved_field_is_noticed() {
    let Some(mut zig) = zig() else { return };
    zig.arg("-ferror-limit=0");
    let mut text = String::new();
    let mut moved = Vec::new();
    for claim in CLAIMS {
        for header in claim.headers {
            writeln!(text, "#include <{header}>").unwrap();
        }
        for structure in claim.structures {
            let mut fields = structure.fields.to_vec();
            let last = fields.len() - 1;
            if last > 0 {
                fields.swap(last - 1, last);
                let name = structure.name;
                moved.push(format!("offsetof(struct {name}, {})", fields[last].0));
                let fields = Vec::leak(fields);
                describe(&mut text, &Structure { name, fields }, Model::LP64);
            }
        }
    }
    let complaints = compile(zig, "x86_64-freebsd", &text).failure();
    for field in moved {
        assert!(complaints.contains(&field), "{field}: {complaints}");
    }
}

/// And a constant or an ioctl's number that is another.
#[test]
fn a_wrong_number_is_noticed() {
    let Some(mut zig) = zig() else { return };
    zig.arg("-ferror-limit=0");
    let mut text = String::new();
    let mut names = Vec::new();
    for claim in CLAIMS {
        for header in claim.headers {
            writeln!(text, "#include <{header}>").unwrap();
        }
        for request in claim.requests {
            let number = u64::from(request.code(Model::I386));
            assertion(&mut text, request.name, number ^ 0x1_0000);
            names.push(request.name);
        }
        for (name, value) in claim.constants {
            assertion(&mut text, name, value ^ 1);
            names.push(name);
        }
    }
    let complaints = compile(zig, "x86-freebsd", &text).failure();
    for name in names {
        assert!(complaints.contains(&format!(": {name}\n")), "{name}");
    }
}
