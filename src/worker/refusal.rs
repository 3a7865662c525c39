//! Why a worker can not take its role: one sentence for the administrator, and an exit code.

use crate::disk::DiskError;
use crate::engine::primary::PromotionRefused;
use crate::provider::nbd::ProviderError;

use super::exit;

/// Why a role can not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The component is not there, not free, not this resource's, or failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It may not be promoted.
    #[error(transparent)]
    Promotion(#[from] PromotionRefused),
    /// Nothing can be served.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The provider is one that this program does not have.
    #[error("provider gate is not built into this hastd; use 'provider nbd'")]
    NoGate,
    /// The system gives no more threads, sockets or random numbers.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The main process does not keep to what was agreed on with it.
    #[error("hastd and its worker do not understand each other: {0}")]
    Channel(&'static str),
}

impl RoleError {
    /// The exit code (sysexits(3)) of a worker that can not go on for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Disk(error) => error.exit_code(),
            Self::Promotion(_) | Self::NoGate => exit::CONFIG,
            Self::Provider(_) | Self::System(_) => exit::OS,
            Self::Channel(_) => exit::SOFTWARE,
        }
    }
}
