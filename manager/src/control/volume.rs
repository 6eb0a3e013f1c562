//! Cluster volumes: what was asked for. Plugins make and publish them elsewhere.

use skep_proto::{
    ids::VolumeId,
    swarmkit::{
        CreateVolumeRequest, CreateVolumeResponse, GetVolumeRequest, GetVolumeResponse,
        ListVolumesRequest, ListVolumesResponse, RemoveVolumeRequest, RemoveVolumeResponse, Secret,
        UpdateVolumeRequest, UpdateVolumeResponse, Volume, VolumeSpec,
    },
};

use super::{
    ControlService, at_version,
    errors::ControlError,
    filters::{any_or_empty, bounded, common_filter, own_labels},
    id_of,
    validate::{self, shown},
    wanted,
};

/// One volume.
pub(super) async fn get(
    control: &ControlService,
    request: GetVolumeRequest,
) -> Result<GetVolumeResponse, ControlError> {
    let view = control.read().await?;
    Ok(GetVolumeResponse { volume: Some(Volume::clone(wanted(&view, &request.volume_id)?)) })
}

/// The volumes that pass the filters.
pub(super) async fn list(
    control: &ControlService,
    request: ListVolumesRequest,
) -> Result<ListVolumesResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let own = request.filters.clone().unwrap_or_default();
    bounded(own.groups.len(), "groups")?;
    bounded(own.drivers.len(), "drivers")?;
    let view = control.read().await?;
    let volumes = filter.list::<Volume>(&view, own_labels, |volume| {
        volume.spec.as_ref().is_some_and(|spec| {
            let driver = spec.driver.as_ref().map(|driver| driver.name.clone()).unwrap_or_default();
            any_or_empty(&own.groups, &spec.group) && any_or_empty(&own.drivers, &driver)
        })
    });
    Ok(ListVolumesResponse { volumes })
}

/// Stores a new volume whose secrets exist.
pub(super) async fn create(
    control: &ControlService,
    request: CreateVolumeRequest,
) -> Result<CreateVolumeResponse, ControlError> {
    let spec = validate::volume_spec(&request.spec)?;
    let volume = Volume { id: control.new_id(), spec: Some(spec.clone()), ..Default::default() };
    let volume = control
        .write(|tx| {
            if let Some(missing) =
                spec.secrets.iter().find(|s| tx.get_text::<Secret>(&s.secret).is_none())
            {
                return Err(ControlError::argument(format!(
                    "volume: secret {} does not exist; name it by its id",
                    shown(&missing.secret)
                )));
            }
            Ok(tx.create(volume)?)
        })
        .await?;
    Ok(CreateVolumeResponse { volume: Some(Volume::clone(&volume)) })
}

/// Changes a volume's labels and availability; everything else is made once.
pub(super) async fn update(
    control: &ControlService,
    request: UpdateVolumeRequest,
) -> Result<UpdateVolumeResponse, ControlError> {
    let spec = validate::volume_spec(&request.spec)?;
    let volume = control
        .write(|tx| {
            let mut volume: Volume = at_version(tx, &request.volume_id, request.volume_version)?;
            if !changes_allowed(volume.spec.as_ref(), spec) {
                return Err(ControlError::argument(
                    "volume: only the labels and the availability of a volume can be updated",
                ));
            }
            volume.spec = Some(spec.clone());
            Ok(tx.update(volume)?)
        })
        .await?;
    Ok(UpdateVolumeResponse { volume: Some(Volume::clone(&volume)) })
}

fn changes_allowed(own: Option<&VolumeSpec>, given: &VolumeSpec) -> bool {
    let fixed = |spec: &VolumeSpec| {
        let mut spec = VolumeSpec { availability: 0, ..spec.clone() };
        if let Some(annotations) = &mut spec.annotations {
            annotations.labels.clear();
        }
        spec
    };
    own.is_none_or(|own| fixed(own) == fixed(given))
}

/// Removes a volume that is not in use, or by force. One that a plugin has made is marked, and goes when the plugin has
/// deleted it.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveVolumeRequest,
) -> Result<RemoveVolumeResponse, ControlError> {
    control
        .write(|tx| {
            let volume = wanted::<Volume>(tx, &request.volume_id)?;
            let id: VolumeId = id_of(&**volume)?;
            if request.force || volume.volume_info.is_none() {
                tx.remove::<Volume>(&id)?;
                return Ok(());
            }
            if !volume.publish_status.is_empty() {
                return Err(ControlError::Precondition(format!(
                    "volume {id} is still in use on {} nodes; drain it first, or use force",
                    volume.publish_status.len()
                )));
            }
            tx.modify::<Volume>(&id, |volume| volume.pending_delete = true)?;
            Ok(())
        })
        .await?;
    Ok(RemoveVolumeResponse {})
}
