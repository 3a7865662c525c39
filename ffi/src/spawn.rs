//! Starting a program with chosen descriptors at chosen numbers.
//! Never passes on a descriptor of this program's own that was not named: all of those are
//! closed on exec.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// The first number that may be given to a descriptor: those below are standard input, output
/// and error, which [`Command`] sets up itself.
pub const FIRST_NUMBER: RawFd = 3;

/// Starts `command` with each of `descriptors` open at the number beside it, and with no
/// signal blocked. The rest of the new process (arguments, argv\[0\], environment, standard
/// descriptors) is as `command` says; it stays in this process group. The parent's copies of
/// `descriptors` are closed on return.
///
/// # Errors
/// `InvalidInput` for a number below [`FIRST_NUMBER`] or one named twice, and whatever keeps a
/// process from being started (a missing program included).
pub fn with_descriptors(
    mut command: Command,
    descriptors: Vec<(OwnedFd, RawFd)>,
) -> io::Result<Child> {
    check_numbers(&descriptors)?;
    let above = descriptors
        .iter()
        .map(|(_, number)| number.saturating_add(1))
        .max()
        .unwrap_or(FIRST_NUMBER);
    let mut moves = Vec::new();
    let mut reserved = Vec::new();
    for (descriptor, number) in descriptors {
        // A number that is free now must not become Command's own pipe, through which
        // the child reports that exec failed: hold it until the child has started.
        reserved.push(duplicate(&descriptor, number)?);
        // Sources above every target: no move overwrites what a later one reads.
        moves.push((duplicate(&descriptor, above)?, number));
    }
    let in_child = move || {
        for (source, number) in &moves {
            // SAFETY: a plain system call; both are numbers below the descriptor limit. The copy
            // has no close-on-exec flag.
            nix::errno::Errno::result(unsafe { libc::dup2(source.as_raw_fd(), *number) })?;
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        Ok(())
    };
    // SAFETY: between fork and exec this only calls dup2 and the signal mask's system call, which
    // are async-signal-safe, and allocates nothing: an Errno becomes an io::Error in place.
    unsafe { command.pre_exec(in_child) };
    let child = command.spawn();
    drop(reserved);
    child
}

/// Refuses numbers that can not be given out.
fn check_numbers(descriptors: &[(OwnedFd, RawFd)]) -> io::Result<()> {
    for (index, (_, number)) in descriptors.iter().enumerate() {
        let twice = descriptors[..index]
            .iter()
            .any(|(_, other)| other == number);
        if *number < FIRST_NUMBER || twice {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("descriptor number {number} can not be given to a new process"),
            ));
        }
    }
    Ok(())
}

/// A copy of a descriptor at the first free number from `least` on, closed on exec.
fn duplicate(descriptor: &impl AsFd, least: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: fcntl has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::Stdio;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    fn output(child: Child) -> String {
        let output = child.wait_with_output().expect("the shell ends");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn descriptors_are_where_they_were_asked_for() {
        let (three_reader, mut three) = io::pipe().expect("pipe");
        let (four_reader, mut four) = io::pipe().expect("pipe");
        // Crossed over: the one wanted at 4 may well be at 3 now, and the other way round.
        let fds = vec![(three_reader.into(), 3), (four_reader.into(), 4)];
        let child = with_descriptors(shell("cat <&3; cat <&4"), fds).expect("started");
        three.write_all(b"three ").expect("room in the pipe");
        four.write_all(b"four").expect("room in the pipe");
        drop((three, four));
        assert_eq!(output(child), "three four");
    }

    #[test]
    fn the_parent_keeps_no_copy() {
        let (mut reader, writer) = io::pipe().expect("pipe");
        let child = with_descriptors(shell("echo gone >&9"), vec![(writer.into(), 9)]);
        let mut text = String::new();
        // Ends only when every writing end is closed, ours too.
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "gone\n");
        assert_eq!(output(child.expect("started")), "");
    }

    #[test]
    fn a_missing_program_is_an_error_of_the_start() {
        let (reader, _writer) = io::pipe().expect("pipe");
        let error = with_descriptors(Command::new("/no/such/program"), vec![(reader.into(), 3)])
            .expect_err("nothing to start");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn standard_descriptors_and_repeated_numbers_are_refused() {
        for numbers in [vec![2], vec![3, 3], vec![-1]] {
            let fds = numbers
                .iter()
                .map(|number| (io::pipe().expect("pipe").0.into(), *number))
                .collect();
            let error = with_descriptors(shell("exit 0"), fds).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{numbers:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_child_has_no_signal_blocked_and_its_own_name() {
        use nix::sys::signal::Signal;
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR1);
        blocked.thread_block().expect("blocked in this thread");
        // No shell between: one that is starting a program may itself block signals.
        let mut command = Command::new("grep");
        command
            .args(["-a", "-h", "-e", "SigBlk", "-e", "hastd"])
            .args(["/proc/self/status", "/proc/self/cmdline"])
            .arg0("hastd: disk1 (primary)")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let text = output(with_descriptors(command, Vec::new()).expect("started"));
        blocked.thread_unblock().expect("unblocked again");
        assert!(text.contains("SigBlk:\t0000000000000000"), "{text}");
        assert!(text.contains("hastd: disk1 (primary)\0-a\0"), "{text}");
    }
}
