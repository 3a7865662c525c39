fn main() -> std::process::ExitCode {
    hast::cli::run(std::env::args_os()).into()
}
