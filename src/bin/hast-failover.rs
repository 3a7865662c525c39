//! hast-failover: the failover agent, and its commands.

fn main() -> std::process::ExitCode {
    hast::failover::cli::main(std::env::args_os()).into()
}
