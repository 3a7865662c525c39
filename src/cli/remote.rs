//! The commands that ask hastd: `role`, `status`, `list`.

use super::arguments::{NamesArguments, RoleArguments};
use super::{Failure, complain, configuration, print, sysexits};
use crate::control::client::{self, ClientError};
use crate::control::{ErrorCode, Request, Selection, StatusReply};

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = error.exit_code();
        Self::new(error, code)
    }
}

/// `hastctl role`
pub fn role(arguments: &RoleArguments) -> Result<u8, Failure> {
    let (_, config) = configuration(&arguments.common)?;
    let reply = client::set_role(
        &config.control,
        &Request::SetRole {
            role: arguments.role,
            resources: Selection::from_words(arguments.names.clone()),
            force: arguments.force,
            guard: None,
        },
    )?;
    let mut code = 0;
    for (name, result) in &reply.resources {
        match result {
            Err(failure) => {
                complain(&format!("{name}: {failure}"));
                code = first_of(code, failure.code);
            }
            Ok(old) if *old == arguments.role && arguments.common.debug >= 2 => {
                complain(&format!("{name}: role unchanged ({old})"));
            }
            Ok(old) if *old != arguments.role && arguments.common.debug >= 1 => {
                complain(&format!(
                    "{name}: role changed from {old} to {}",
                    arguments.role
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(code)
}

/// `hastctl status`
pub fn status(arguments: &NamesArguments) -> Result<u8, Failure> {
    show(arguments, super::print::status)
}

/// `hastctl list`
pub fn list(arguments: &NamesArguments) -> Result<u8, Failure> {
    show(arguments, super::print::list)
}

fn show(arguments: &NamesArguments, text: fn(&StatusReply) -> String) -> Result<u8, Failure> {
    let (_, config) = configuration(&arguments.common)?;
    let resources = match arguments.names.as_slice() {
        [] => Selection::All,
        names => Selection::from_words(names.to_vec()),
    };
    let reply = client::status(&config.control, &Request::Status { resources })?;
    print(&text(&reply))?;
    let failures = reply
        .resources
        .iter()
        .filter_map(|(_, result)| result.as_ref().err());
    Ok(failures.fold(0, |code, failure| first_of(code, failure.code)))
}

/// As base's, hastctl exits with the number of the first error (its low byte, which must not
/// look like success).
fn first_of(code: u8, error: ErrorCode) -> u8 {
    match (code, error.0 as u8) {
        (0, 0) => sysexits::EX_SOFTWARE,
        (0, number) => number,
        (first, _) => first,
    }
}
