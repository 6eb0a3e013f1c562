//! Services as stored objects: what was asked for, and how to get back to what was asked for before.

mod defaults;
mod ports;
mod prospective;
mod references;
mod statuses;
mod update;

use skep_proto::{
    ids::ServiceId,
    prost_types::Timestamp,
    swarmkit::{
        CreateServiceRequest, CreateServiceResponse, GetServiceRequest, GetServiceResponse,
        JobStatus, ListServicesRequest, ListServicesResponse, RemoveServiceRequest,
        RemoveServiceResponse, Service, ServiceSpec, Version, service_spec::Mode,
    },
};
use skep_store::Tables;

use super::{
    ControlService,
    errors::ControlError,
    filters::{bounded, common_filter, own_labels},
    id_of, network, task, validate, wanted,
};

use crate::allocator::endowed;

pub(crate) use prospective::prospective;
pub(super) use statuses::statuses;
pub(super) use update::update;

/// One service; on request with the defaults that apply where its spec says nothing.
pub(super) async fn get(
    control: &ControlService,
    request: GetServiceRequest,
) -> Result<GetServiceResponse, ControlError> {
    let view = control.read().await?;
    let mut service = Service::clone(wanted(&view, &request.service_id)?);
    if request.insert_defaults {
        service.spec = service.spec.map(defaults::with_defaults);
    }
    Ok(GetServiceResponse { service: Some(service) })
}

/// The services that pass the filters.
pub(super) async fn list(
    control: &ControlService,
    request: ListServicesRequest,
) -> Result<ListServicesResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let runtimes = request.filters.as_ref().map_or(&[][..], |filters| &filters.runtimes);
    bounded(runtimes.len(), "runtimes")?;
    let view = control.read().await?;
    let services = filter.list::<Service>(&view, own_labels, |service| {
        let task = service.spec.as_ref().and_then(|spec| spec.task.as_deref());
        runtimes.is_empty() || runtimes.contains(&task::runtime(task))
    });
    Ok(ListServicesResponse { services })
}

/// Stores a new service.
pub(super) async fn create(
    control: &ControlService,
    request: CreateServiceRequest,
) -> Result<CreateServiceResponse, ControlError> {
    let spec = validate::service_spec(&request.spec)?;
    let id = control.new_id();
    let service = control
        .write(|tx| {
            fits(tx, spec, &id)?;
            Ok(tx.create(endowed(Service {
                id,
                spec: Some(spec.clone()),
                spec_version: Some(Version::default()),
                job_status: is_job(spec).then(|| job_run(0, tx.now())),
                ..Default::default()
            }))?)
        })
        .await?;
    Ok(CreateServiceResponse { service: Some(Service::clone(&service)) })
}

/// Removes a service; its tasks follow.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveServiceRequest,
) -> Result<RemoveServiceResponse, ControlError> {
    control
        .write(|tx| {
            let id: ServiceId = id_of(&**wanted::<Service>(tx, &request.service_id)?)?;
            Ok(tx.remove::<Service>(&id)?)
        })
        .await?;
    Ok(RemoveServiceResponse {})
}

/// The spec fits what is there: its references exist, its ports are free, and the network for them is there. Asked inside
/// of the transaction that writes the service, so that of two that want one port only one gets it.
fn fits(tables: &Tables, spec: &ServiceSpec, id: &str) -> Result<(), ControlError> {
    references::exist(tables, spec)?;
    ports::free(tables, spec, id)?;
    if network::needs_ingress(spec) && network::ingress(tables).is_none() {
        return Err(ControlError::Precondition(
            "service needs ingress network, but no ingress network is present".into(),
        ));
    }
    Ok(())
}

fn is_job(spec: &ServiceSpec) -> bool {
    matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)))
}

fn job_run(iteration: u64, now: Timestamp) -> JobStatus {
    JobStatus { job_iteration: Some(Version { index: iteration }), last_execution: Some(now) }
}
