//! A service as creating or updating it would store it: checked in the same way, and not stored.

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{Service, ServiceSpec, Version},
};
use skep_store::{By, Kind, Object, StoreError, Tables};

use super::{
    super::{errors::ControlError, validate, wanted},
    update::{advance, allowed},
};

/// Stands for the id that a service would get. Ids that are given out are longer.
const NO_ID: &str = "planned";

/// What would be stored. An empty id stands for a service to be created; a version, when there is one, must be that of the
/// stored service.
pub(crate) fn prospective(
    tables: &Tables,
    service_id: &str,
    version: Option<Version>,
    spec: &Option<ServiceSpec>,
) -> Result<Service, ControlError> {
    let spec = validate::service_spec(spec)?;
    if service_id.is_empty() {
        return created(tables, spec);
    }
    let mut service = Service::clone(wanted(tables, service_id)?);
    let stored = service.meta().and_then(|meta| meta.version).unwrap_or_default();
    if let Some(given) = version
        && given != stored
    {
        let (kind, id) = (Kind::Service, service.id);
        let (stored, given) = (stored.index, given.index);
        return Err(StoreError::OutOfSequence { kind, id, stored, given }.into());
    }
    let own = service.spec.clone().unwrap_or_default();
    allowed(&own, spec)?;
    super::fits(tables, spec, &service.id)?;
    advance(&mut service, spec);
    if super::is_job(spec) {
        let last = service.job_status.as_ref().and_then(|status| status.job_iteration);
        let iteration = last.map_or(0, |last| last.index).saturating_add(1);
        service.job_status = Some(super::job_run(iteration, Timestamp::default()));
    }
    Ok(service)
}

fn created(tables: &Tables, spec: &ServiceSpec) -> Result<Service, ControlError> {
    super::fits(tables, spec, NO_ID)?;
    let name = spec.annotations.as_ref().map(|a| a.name.clone()).unwrap_or_default();
    if tables.find_one::<Service>(By::Name(name.clone())).is_some() {
        return Err(StoreError::NameConflict { kind: Kind::Service, name }.into());
    }
    Ok(Service {
        id: NO_ID.to_owned(),
        spec: Some(spec.clone()),
        spec_version: Some(Version::default()),
        job_status: super::is_job(spec).then(|| super::job_run(0, Timestamp::default())),
        ..Default::default()
    })
}
