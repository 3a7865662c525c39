//! hastd: the daemon, and, executed again by itself, each of its workers.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == hast::worker::channel::ARGUMENT)
    {
        return hast::worker::run();
    }
    hast::daemon::main()
}
