//! hastd: the daemon.

fn main() -> std::process::ExitCode {
    hast::daemon::main()
}
