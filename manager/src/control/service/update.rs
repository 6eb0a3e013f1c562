//! Moving a service to its next spec, or back to its previous one.

use std::mem;

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{
        Service, ServiceSpec, UpdateServiceRequest, UpdateServiceResponse, UpdateStatus, Version,
        update_service_request::Rollback, update_status::UpdateState,
    },
};

use super::super::{ControlService, at_version, errors::ControlError, validate};
use crate::allocator::endowed;

/// Replaces a service's spec and keeps the one that it had, or swaps the two. Each update of a job is a new run of it.
pub(in super::super) async fn update(
    control: &ControlService,
    request: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, ControlError> {
    let spec = validate::service_spec(&request.spec)?;
    let rollback = validate::known::<Rollback>(request.rollback, "rollback")? == Rollback::Previous;
    let service = control
        .write(|tx| {
            let mut service: Service =
                at_version(tx, &request.service_id, request.service_version)?;
            let own = service.spec.clone().unwrap_or_default();
            allowed(&own, spec)?;
            if rollback {
                roll_back(&mut service, tx.now())?;
            } else {
                advance(&mut service, spec);
            }
            let next = service.spec.clone().unwrap_or_default();
            super::fits(tx, &next, &service.id)?;
            if super::is_job(&next) {
                let last = service.job_status.as_ref().and_then(|status| status.job_iteration);
                let iteration = last.map_or(0, |last| last.index).saturating_add(1);
                service.job_status = Some(super::job_run(iteration, tx.now()));
            }
            Ok(tx.update(endowed(service))?)
        })
        .await?;
    Ok(UpdateServiceResponse { service: Some(Service::clone(&service)) })
}

/// What the control loops cannot follow, since they see only the present spec.
pub(super) fn allowed(own: &ServiceSpec, given: &ServiceSpec) -> Result<(), ControlError> {
    let task_networks = |spec: &ServiceSpec| {
        spec.task.as_ref().map(|task| task.networks.clone()).unwrap_or_default()
    };
    let name =
        |spec: &ServiceSpec| spec.annotations.as_ref().map(|a| a.name.clone()).unwrap_or_default();
    // Moving the networks from the old field to the task's is the one change that the old field may see.
    if !given.networks.is_empty()
        && given.networks != own.networks
        && task_networks(given) == task_networks(own)
    {
        return Err(ControlError::unsupported(
            "changing network in service is not supported: name the networks in the task's spec instead",
        ));
    }
    if own.mode.as_ref().map(mem::discriminant) != given.mode.as_ref().map(mem::discriminant) {
        return Err(ControlError::unsupported(
            "service mode change is not allowed: remove the service and create it in the other mode",
        ));
    }
    if name(own) != name(given) {
        return Err(ControlError::unsupported("renaming services is not supported"));
    }
    Ok(())
}

/// The version of the new spec is the one of the service that the client saw: it tells tasks of this spec from older ones.
pub(super) fn advance(service: &mut Service, spec: &ServiceSpec) {
    service.previous_spec = service.spec.replace(spec.clone());
    service.previous_spec_version = service.spec_version;
    service.spec_version = Some(seen_version(service));
    service.update_status = None;
}

fn seen_version(service: &Service) -> Version {
    service.meta.as_ref().and_then(|meta| meta.version).unwrap_or_default()
}

fn roll_back(service: &mut Service, now: Timestamp) -> Result<(), ControlError> {
    if service.previous_spec.is_none() {
        return Err(ControlError::Precondition(format!(
            "service {} does not have a previous spec",
            service.id
        )));
    }
    mem::swap(&mut service.spec, &mut service.previous_spec);
    mem::swap(&mut service.spec_version, &mut service.previous_spec_version);
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted.into(),
        started_at: Some(now),
        message: "manually requested rollback".into(),
        ..Default::default()
    });
    Ok(())
}
