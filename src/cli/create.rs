//! `hastctl create`: gives local components their metadata and an empty activemap.
//!
//! Whoever has run base's create again to recover a node finds the same here: a component of the
//! same resource is made new, and what is lost by that is said. A component that is in use or
//! belongs to another resource is left alone.

use super::arguments::CreateArguments;
use super::dump::read_metadata;
use super::{Failure, complain, configuration, each_named, sysexits};
use crate::config::Resource;
use crate::disk::{Access, Component};
use crate::layout::{
    DEFAULT_EXTENT_SIZE, DEFAULT_KEEP_DIRTY, Geometry, METADATA_SIZE, Metadata, Record,
};
use crate::terms::Role;

/// `hastctl create`
pub fn run(arguments: &CreateArguments) -> Result<u8, Failure> {
    let (_, config) = configuration(&arguments.common)?;
    Ok(each_named(&config, &arguments.names, |resource| {
        create(resource, arguments)
    }))
}

fn create(resource: &Resource, arguments: &CreateArguments) -> Result<(), Failure> {
    let component = Component::open(&resource.local, Access::Exclusive)?;
    let geometry = geometry(resource, &component, arguments)?;
    // Nothing that can be read as metadata is nothing to be careful with.
    if let Ok((old, _)) = read_metadata(&component)? {
        consider_replacing(resource, &old, arguments.force)?;
    }
    let metadata = Metadata {
        resource: resource.name.clone(),
        datasize: geometry.data_size,
        extentsize: geometry.extent_size,
        keepdirty: unless_zero(arguments.keepdirty).unwrap_or(DEFAULT_KEEP_DIRTY),
        offset: geometry.data_offset,
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        prevrole: Role::Init,
        record: Record::default(),
    };
    let block = metadata.encode().map_err(|error| fault(resource, &error))?;
    // In this order: a cleared map beside the old metadata would say that the copies are equal.
    component.write_at(&block, 0)?;
    component.flush()?;
    component.write_zeroes(METADATA_SIZE as u64, geometry.map_size)?;
    component.flush()?;
    Ok(())
}

fn geometry(
    resource: &Resource,
    component: &Component,
    arguments: &CreateArguments,
) -> Result<Geometry, Failure> {
    let present = component.media_size();
    let media_size = arguments
        .mediasize
        .filter(|size| *size != 0)
        .unwrap_or(present);
    if media_size > present {
        let message =
            format!("it has {present} bytes, fewer than the {media_size} asked for with -m");
        return Err(fault(resource, &message));
    }
    let extent_size = unless_zero(arguments.extentsize).unwrap_or(DEFAULT_EXTENT_SIZE);
    Geometry::new(media_size, component.sector_size(), extent_size)
        .map_err(|error| fault(resource, &error))
}

/// Refuses to overwrite another resource's component, and says what is lost with our own.
fn consider_replacing(resource: &Resource, old: &Metadata, force: bool) -> Result<(), Failure> {
    let other = &old.resource;
    if old.resource != resource.name && !force {
        let message = format!(
            "the component belongs to the resource '{other}' (resuid {}); correct the 'local' \
             path, or overwrite it with --force",
            old.resuid
        );
        return Err(fault(resource, &message));
    }
    if old.resource != resource.name || old.resuid != 0 {
        complain(&format!(
            "{}: {}: replacing the metadata of resource '{other}' (resuid {}, localcnt {}, \
             remotecnt {}, last role {})",
            resource.name,
            resource.local.display(),
            old.resuid,
            old.localcnt,
            old.remotecnt,
            old.prevrole
        ));
    }
    Ok(())
}

/// 0 asks for the default, as in base.
fn unless_zero(number: Option<u32>) -> Option<u32> {
    number.filter(|number| *number != 0)
}

fn fault(resource: &Resource, what: &impl std::fmt::Display) -> Failure {
    let message = format!("{}: {}: {what}", resource.name, resource.local.display());
    Failure::new(message, sysexits::EX_DATAERR)
}
