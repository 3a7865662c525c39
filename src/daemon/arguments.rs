//! hastd's command line.

use std::path::PathBuf;

use clap::Parser;

/// Highly available storage: the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "hastd", version, about, args_override_self = true)]
pub struct Arguments {
    /// Read this configuration; hast.conf's grammar, or TOML where its name ends in .toml
    #[arg(short, value_name = "config")]
    pub config: Option<PathBuf>,
    /// Log more; may be repeated
    #[arg(short, action = clap::ArgAction::Count)]
    pub debug: u8,
    /// Stay in the foreground and log to standard error
    #[arg(short = 'F')]
    pub foreground: bool,
    /// Keep the process number in this file, in the foreground too
    #[arg(short = 'P', value_name = "pidfile")]
    pub pidfile: Option<PathBuf>,
    /// Take the sections of this node, not of the host's name
    #[arg(short, value_name = "node")]
    pub node: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_base_hastds_and_a_node() {
        let read = |line: &str| Arguments::try_parse_from(line.split_whitespace());
        let arguments = read("hastd -dd -F -c a.conf -P /p -n hasta -d").unwrap();
        assert_eq!(
            arguments,
            Arguments {
                config: Some("a.conf".into()),
                debug: 3,
                foreground: true,
                pidfile: Some("/p".into()),
                node: Some("hasta".to_owned()),
            }
        );
        assert!(read("hastd extra").is_err());
        assert!(read("hastd -x").is_err());
        assert!(read("hastd -c").is_err());
    }
}
