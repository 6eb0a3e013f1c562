//! Changes of a service that are made again when somebody else was faster.

use skep_proto::swarmkit::{
    Service, ServiceSpec, UpdateServiceRequest, service_spec::Mode,
    update_service_request::Rollback,
};

use crate::{
    connect::Connection,
    errors::{Failure, is_out_of_sequence},
    resolve::resolve,
};

/// How often an update is tried: a loss means that somebody else won, and the managers' own updates of a service that is
/// being updated count too.
const UPDATE_ATTEMPTS_MAX: usize = 20;

/// Changes the spec of the service that `given` names with `edit`, which may run several times. A spec that stays as it
/// is, is not sent: it would take the place of the previous one, and an update would be lost that could be rolled back.
/// A job is sent anyway, since each update is a new run of it.
pub async fn change(
    connection: &Connection,
    given: &str,
    mut edit: impl AsyncFnMut(&Service, &mut ServiceSpec) -> Result<(), Failure>,
) -> Result<Service, Failure> {
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let service: Service = resolve(connection, given).await?;
        let mut spec = service.spec.clone().unwrap_or_default();
        edit(&service, &mut spec).await?;
        let is_job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
        if service.spec.as_ref() == Some(&spec) && !is_job {
            return Ok(service);
        }
        if let Some(changed) = send(connection, given, &service, spec, Rollback::None).await? {
            return Ok(changed);
        }
    }
    Err(contended(given))
}

/// Goes back to the service's previous spec.
pub async fn roll_back(connection: &Connection, given: &str) -> Result<Service, Failure> {
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let service: Service = resolve(connection, given).await?;
        let spec = service.spec.clone().unwrap_or_default();
        if let Some(changed) = send(connection, given, &service, spec, Rollback::Previous).await? {
            return Ok(changed);
        }
    }
    Err(contended(given))
}

/// The service after the update; nothing if somebody else was faster.
async fn send(
    connection: &Connection,
    given: &str,
    service: &Service,
    spec: ServiceSpec,
    rollback: Rollback,
) -> Result<Option<Service>, Failure> {
    let doing = format!("update service {given}");
    let request = connection.request(UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: service.meta.and_then(|m| m.version),
        spec: Some(spec),
        rollback: rollback.into(),
    });
    match connection.control().update_service(request).await {
        Ok(reply) => {
            let missing = Failure::Incomplete { doing, missing: "service" };
            reply.into_inner().service.map(Some).ok_or(missing)
        }
        Err(status) if is_out_of_sequence(&status) => Ok(None),
        Err(status) => Err(Failure::call(doing)(status)),
    }
}

fn contended(given: &str) -> Failure {
    Failure::Contended { doing: format!("update service {given}"), attempts: UPDATE_ATTEMPTS_MAX }
}
