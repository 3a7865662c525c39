//! `hastctl dump`: what local components say of themselves. Only reads, so it can be asked of a
//! component in use; what it shows is then of one moment or the next.

use super::arguments::NamesArguments;
use super::{Failure, configuration, each_named, print, sysexits};
use crate::config::Resource;
use crate::disk::{Access, Component, DiskError, DiskErrorKind};
use crate::layout::block::Found;
use crate::layout::{Metadata, MetadataError};

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        let code = error.exit_code();
        Self::new(error, code)
    }
}

/// `hastctl dump`
pub fn run(arguments: &NamesArguments) -> Result<u8, Failure> {
    let (_, config) = configuration(&arguments.common)?;
    let all = arguments.names.is_empty() || arguments.names == ["all"];
    let names: Vec<String> = if all {
        config
            .resources
            .iter()
            .map(|resource| resource.name.clone())
            .collect()
    } else {
        arguments.names.clone()
    };
    Ok(each_named(&config, &names, |resource| {
        let (metadata, found) = metadata_of(resource)?;
        print(&super::print::dump(&metadata, found))
    }))
}

fn metadata_of(resource: &Resource) -> Result<(Metadata, Found), Failure> {
    let component = Component::open(&resource.local, Access::ReadOnly)?;
    let fault = |what: &dyn std::fmt::Display| {
        let message = format!("{}: {}: {what}", resource.name, resource.local.display());
        Failure::new(message, sysexits::EX_DATAERR)
    };
    let (metadata, found) = read_metadata(&component)?.map_err(|error| fault(&error))?;
    if metadata.resource != resource.name {
        let other = &metadata.resource;
        return Err(fault(&format!(
            "the component belongs to the resource '{other}'"
        )));
    }
    Ok((metadata, found))
}

/// The metadata of a component, and what became of its record; the inner error is that it holds none.
pub fn read_metadata(
    component: &Component,
) -> Result<Result<(Metadata, Found), MetadataError>, DiskError> {
    match component.examine_metadata() {
        Ok(read) => Ok(Ok(read)),
        Err(error) => match error.kind() {
            DiskErrorKind::Metadata(none) => Ok(Err(none.clone())),
            _ => Err(error),
        },
    }
}
