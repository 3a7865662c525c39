//! Why a worker can not take its role: one sentence for the administrator, and an exit code; and why two
//! nodes do not go together, in the same words on both.

use crate::disk::DiskError;
use crate::engine::meeting;
use crate::engine::primary::PromotionRefused;
use crate::provider::gate::GateError;
use crate::provider::nbd::ProviderError;

use super::confinement::ConfinementError;
use super::exit;
use crate::config::Resource;
use crate::wire::handshake::Refusal;

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
    /// There is no device.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The provider is one that this program does not have.
    #[error("provider gate is not built into this hastd; use 'provider nbd'")]
    NoGate,
    /// The system gives no more threads, sockets or random numbers.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// It would have to serve as root.
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
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
            Self::Confinement(ConfinementError::NoUser) => exit::CONFIG,
            Self::Confinement(ConfinementError::Refused { .. }) => exit::OS,
            Self::Provider(_) | Self::Gate(_) | Self::System(_) => exit::OS,
            Self::Channel(_) => exit::SOFTWARE,
        }
    }
}

/// A refusal as an administrator needs it: what is wrong between this node and the other one, and what
/// to do. The text that goes over the wire is base hastd's.
pub fn explain(refusal: &Refusal, resource: &Resource) -> String {
    let (name, remote) = (&resource.name, resource.remote_text());
    let said = refusal.errmsg.trim_end_matches('.');
    let start_over = format!(
        "on the node whose data is to be given up run 'hastctl role init {name}', \
         'hastctl create {name}' and 'hastctl role secondary {name}'"
    );
    if refusal.is_split_brain() {
        format!("split brain with {remote}: both nodes were written to while apart; {start_over}")
    } else if refusal.is_resuid_mismatch() {
        format!("{said}: this node and {remote} hold different data; {start_over}")
    } else if refusal.errmsg == Refusal::NOT_CONFIGURED {
        format!("{remote} refuses: {said}; add resource {name} to its hast.conf and reload it")
    } else if refusal.errmsg == Refusal::NO_ACCESS {
        format!(
            "{remote} refuses: {said}; the 'remote' of {name} in its hast.conf has to be this node's \
             address"
        )
    } else if refusal.is_not_secondary() {
        format!("{remote} refuses: {said}; run 'hastctl role secondary {name}' on one of the two")
    } else {
        format!("{remote} refuses: {said}")
    }
}

/// Why this node refuses the other as its primary, in the same words as the other says it where there are
/// such, and else in those that it was told.
pub fn explain_own(refusal: meeting::Refusal, resource: &Resource) -> String {
    let told = Refusal::new(refusal.to_string());
    if told.is_split_brain() || told.is_resuid_mismatch() {
        return explain(&told, resource);
    }
    let said = told.errmsg.trim_end_matches('.');
    format!("{} is refused as primary: {said}", resource.remote_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, NodeNames};
    use crate::terms::Role;
    use std::path::Path;

    #[test]
    fn refusals_say_what_to_do() {
        let text = "resource disk1 { local /x on a { remote 10.0.0.2 } }";
        let config = Config::parse(text, Path::new("hast.conf"), &NodeNames::named("a"));
        let resource = config.unwrap().resources.pop().unwrap();
        for (refusal, wrong, remedy) in [
            (Refusal::split_brain(), "split brain", "create disk1'"),
            (
                Refusal::resuid_mismatch(1, 2),
                "Resource unique ID mismatch (primary=1, secondary=2)",
                "create disk1'",
            ),
            (
                Refusal::not_secondary(Role::Init),
                "acts as init",
                "'hastctl role secondary disk1'",
            ),
            (
                Refusal::new(Refusal::NOT_CONFIGURED),
                "not configured",
                "add resource disk1",
            ),
            (
                Refusal::new(Refusal::NO_ACCESS),
                "No access",
                "this node's address",
            ),
            (Refusal::new("Odd."), "10.0.0.2 refuses: Odd", ""),
        ] {
            let sentence = explain(&refusal, &resource);
            assert!(sentence.contains(wrong), "{sentence}");
            assert!(sentence.contains(remedy), "{sentence}");
            assert!(sentence.contains("10.0.0.2"), "{sentence}");
        }
    }

    #[test]
    fn what_this_node_refuses_is_not_said_of_the_other() {
        let text = "resource disk1 { local /x on a { remote 10.0.0.2 } }";
        let config = Config::parse(text, Path::new("hast.conf"), &NodeNames::named("a"));
        let resource = config.unwrap().resources.pop().unwrap();
        let split = explain_own(meeting::Refusal::SplitBrain, &resource);
        assert_eq!(split, explain(&Refusal::split_brain(), &resource));
        let both = explain_own(meeting::Refusal::BothLack, &resource);
        assert!(
            both.starts_with("10.0.0.2 is refused as primary: Both copies lack"),
            "{both}"
        );
    }
}
