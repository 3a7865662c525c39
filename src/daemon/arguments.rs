//! hastd's command line.

use std::path::PathBuf;

use clap::Parser;

use crate::witness::{secret, store};

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
    /// Be a witness, which holds no data and says which node of a group may be master
    #[arg(long, conflicts_with_all = ["config", "node"])]
    pub witness: bool,
    /// Where the witness listens; may be repeated. The default is port 8458 of all addresses
    #[arg(long, value_name = "address", requires = "witness")]
    pub listen: Vec<String>,
    /// The secret that the witness shares with the nodes
    #[arg(long, value_name = "file", requires = "witness", default_value = secret::DEFAULT_PATH)]
    pub secret: PathBuf,
    /// Where the witness keeps what it must not forget
    #[arg(long, value_name = "file", requires = "witness", default_value = store::DEFAULT_PATH)]
    pub state: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_base_hastds_and_some() {
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
                witness: false,
                listen: Vec::new(),
                secret: "/usr/local/etc/hast.key".into(),
                state: "/var/db/hast-witness/state".into(),
            }
        );
        assert!(read("hastd extra").is_err());
        assert!(read("hastd -x").is_err());
        assert!(read("hastd -c").is_err());
    }

    #[test]
    fn a_witness_has_options_of_its_own() {
        let read = |line: &str| Arguments::try_parse_from(line.split_whitespace());
        let arguments = read("hastd --witness -F --listen a --listen [::1]:1 --secret k --state s");
        let arguments = arguments.unwrap();
        assert!(arguments.witness && arguments.foreground);
        assert_eq!(arguments.listen, ["a", "[::1]:1"]);
        assert_eq!(
            (arguments.secret, arguments.state),
            ("k".into(), "s".into())
        );
        for line in [
            "--witness -c a",
            "--witness -n a",
            "--listen a",
            "--secret k",
            "--state s",
        ] {
            assert!(read(&format!("hastd {line}")).is_err(), "{line}");
        }
    }
}
