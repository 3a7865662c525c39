//! What can be seen of the bindings without a gate.

use super::*;

fn answer(error: i32) -> IoArgument {
    IoArgument {
        version: VERSION,
        unit: 3,
        seq: 7,
        cmd: command::WRITE,
        offset: 1 << 40,
        length: 131_072,
        data: std::ptr::null_mut(),
        error,
    }
}

#[test]
fn a_request_a_buffer_too_small_and_the_end_are_told_apart() {
    let request = Request {
        seq: 7,
        command: command::WRITE,
        offset: 1 << 40,
        length: 131_072,
    };
    assert_eq!(started(&answer(0)), Ok(Started::Request(request)));
    assert_eq!(
        started(&answer(libc::ENOMEM)),
        Ok(Started::TooLong(131_072))
    );
    assert_eq!(started(&answer(libc::ECANCELED)), Ok(Started::Destroyed));
    assert_eq!(started(&answer(libc::EIO)), Err(Errno::EIO));
}

#[test]
fn texts_end_with_a_nul_and_have_no_other() {
    assert_eq!(text::<4>("abc"), Ok(*b"abc\0"));
    assert_eq!(text::<4>(""), Ok([0; 4]));
    assert_eq!(text::<4>("abcd"), Err(Errno::ENAMETOOLONG));
    assert_eq!(text::<4>("a\0b"), Err(Errno::EINVAL));
}

#[test]
fn the_kernel_is_not_asked_to_read_beyond_the_data() {
    let null = std::fs::File::open("/dev/null").expect("there is always /dev/null");
    let control = std::os::fd::AsFd::as_fd(&null);
    let mut request = Request {
        seq: 1,
        command: command::READ,
        offset: 0,
        length: 512,
    };
    let short = [0; 511];
    assert_eq!(done(control, 0, &request, Ok(&short)), Err(Errno::EINVAL));
    let data = [0; 512];
    assert_eq!(done(control, 0, &request, Ok(&data)), Err(Errno::ENOTTY));
    assert_eq!(
        done(control, 0, &request, Err(Errno::EIO)),
        Err(Errno::ENOTTY)
    );
    request.command = command::FLUSH;
    assert_eq!(done(control, 0, &request, Ok(&[])), Err(Errno::ENOTTY));
}

#[test]
fn what_is_no_gate_says_so() {
    let null = std::fs::File::open("/dev/null").expect("there is always /dev/null");
    let control = std::os::fd::AsFd::as_fd(&null);
    let device = Create {
        name: "hast/test",
        mediasize: 1 << 20,
        sectorsize: 512,
        access: Access::Both,
        maxcount: 0,
        timeout: 0,
        info: "",
        direct_reads: None,
    };
    assert_eq!(create(control, &device), Err(Errno::ENOTTY));
    assert_eq!(
        modify(control, 0, &Modify::NoDirectReads),
        Err(Errno::ENOTTY)
    );
    assert_eq!(destroy(control, Device::Unit(0), true), Err(Errno::ENOTTY));
    assert_eq!(
        cancel(control, Device::Name("hast/test"), None),
        Err(Errno::ENOTTY)
    );
    assert_eq!(start(control, 0, &mut []), Err(Errno::ENOTTY));
}
