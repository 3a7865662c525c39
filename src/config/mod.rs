//! The configuration: one model ([`Config`], resolved for one node) and two notations read into
//! it, hast.conf in HAST's own grammar and hast.toml.
//!
//! Both notations are read into one [`tree`], which one piece of code ([`resolve`]) makes the
//! model from: what one notation can say or refuses, so does the other. Nothing is ignored: an
//! unknown word is an error, and every error names file and line. Never looks names up in the
//! network, opens devices or checks that paths exist.

pub mod address;
mod conf;
mod find;
mod lexer;
pub mod model;
mod node;
mod reload;
mod resolve;
mod settings;
mod size;
mod toml_notation;
mod tree;

pub use address::{Address, DEFAULT_PORT, Target};
pub use find::find;
pub use model::{Config, Provider, Resource};
pub use node::NodeNames;
pub use reload::Change;
pub use size::{SizeError, parse_size};
pub use tree::{Keyword, SectionKind};

pub(crate) use settings::path as absolute_path;
pub(crate) use toml_notation::{Tables, document, in_order, line_at};
pub(crate) use tree::Problem;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest configuration file read: some ten thousand resources.
const FILE_SIZE_MAX: u64 = 4 << 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named, and none lies where one is looked for.
    #[error("no configuration file found; looked for {}", list(.0))]
    NotFound(Vec<PathBuf>),
    /// The file can not be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is too large to be one.
    #[error("the configuration {} is larger than {FILE_SIZE_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Something in the file is wrong.
    #[error("{}, line {line}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What was found there and what was expected.
        what: String,
    },
    /// This machine does not know its own name.
    #[error("cannot find out this node's name ({0}); give it with -n")]
    Node(io::Error),
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

impl ConfigError {
    /// A problem in the file at `path`.
    pub(crate) fn invalid(path: &Path, problem: Problem) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            line: problem.line,
            what: problem.what,
        }
    }

    /// The exit code of sysexits(3) that base hastd and hastctl end with.
    pub const fn exit_code(&self) -> u8 {
        const EX_OSERR: u8 = 71;
        const EX_OSFILE: u8 = 72;
        const EX_CONFIG: u8 = 78;
        match self {
            Self::NotFound(_) | Self::Read { .. } => EX_OSFILE,
            Self::TooLarge(_) | Self::Invalid { .. } => EX_CONFIG,
            Self::Node(_) => EX_OSERR,
        }
    }
}

/// The notation a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// HAST's own grammar.
    Conf,
    /// TOML.
    Toml,
}

impl Notation {
    /// By the file's name: one that ends in `.toml` is TOML.
    pub fn of(path: &Path) -> Self {
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            Self::Toml
        } else {
            Self::Conf
        }
    }
}

impl Config {
    /// Reads the configuration `path` for the node `node`. Where there is no path the usual
    /// places are searched ([`find`]); where there is no node, this host's names are taken.
    pub fn load(path: Option<&Path>, node: Option<&str>) -> Result<Self, ConfigError> {
        let (path, node) = whence(path, node)?;
        Self::parse(&read(&path)?, &path, &node)
    }

    /// Makes the configuration for `node` from `text`, the contents of `path`; the path's name
    /// decides the notation and stands in errors.
    pub fn parse(text: &str, path: &Path, node: &NodeNames) -> Result<Self, ConfigError> {
        let tree = match Notation::of(path) {
            Notation::Conf => conf::parse(text),
            Notation::Toml => toml_notation::parse(text),
        };
        tree.and_then(|tree| resolve::resolve(&tree, node))
            .map_err(|problem| ConfigError::invalid(path, problem))
    }
}

/// Which file, and for which node: what was named, or else what is usual.
pub(crate) fn whence(
    path: Option<&Path>,
    node: Option<&str>,
) -> Result<(PathBuf, NodeNames), ConfigError> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => find().map_err(ConfigError::NotFound)?,
    };
    let node = match node {
        Some(name) => NodeNames::named(name),
        None => NodeNames::of_this_host().map_err(ConfigError::Node)?,
    };
    Ok((path, node))
}

/// The text of a file that is not too large to be a configuration.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let fail = |error| ConfigError::Read {
        path: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(FILE_SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > FILE_SIZE_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ConfigError::Invalid {
            path: path.to_owned(),
            line: 1 + String::from_utf8_lossy(valid).matches('\n').count(),
            what: "found bytes that are not UTF-8 text".to_owned(),
        }
    })
}
