//! Volumes.

use skep_proto::swarmkit::{
    CreateVolumeRequest, Driver, GetVolumeRequest, ListVolumesRequest, RemoveVolumeRequest, Secret,
    SecretSpec, UpdateVolumeRequest, Volume, VolumeAccessMode, VolumeInfo, VolumePublishStatus,
    VolumeSecret, VolumeSpec,
    list_volumes_request::Filters,
    volume_access_mode::{AccessType, BlockVolume},
};

use super::*;

fn spec(name: &str, group: &str, driver: &str) -> VolumeSpec {
    VolumeSpec {
        annotations: named(name),
        group: group.into(),
        driver: Some(Driver { name: driver.into(), ..Default::default() }),
        access_mode: Some(VolumeAccessMode {
            access_type: Some(AccessType::Block(BlockVolume {})),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn create(h: &Harness, spec: VolumeSpec) -> Volume {
    done!(h, create_volume, CreateVolumeRequest { spec: Some(spec) }).volume.unwrap()
}

#[tokio::test]
async fn volumes_are_created_and_filtered() {
    let h = Harness::new();
    let a = create(&h, spec("a", "fast", "csi")).await;
    create(&h, spec("b", "slow", "csi")).await;
    create(&h, spec("c", "fast", "other")).await;
    let names = |volumes: Vec<Volume>| {
        volumes
            .into_iter()
            .map(|v| v.spec.unwrap().annotations.unwrap().name)
            .collect::<std::collections::BTreeSet<_>>()
    };
    for (groups, drivers, expected) in [
        (&[][..], &[][..], &["a", "b", "c"][..]),
        (&["fast"], &[], &["a", "c"]),
        (&["fast"], &["csi"], &["a"]),
        (&["none"], &[], &[]),
    ] {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let filters =
            Some(Filters { groups: texts(groups), drivers: texts(drivers), ..Default::default() });
        let listed = names(done!(h, list_volumes, ListVolumesRequest { filters }).volumes);
        assert_eq!(listed.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }
    let got = done!(h, get_volume, GetVolumeRequest { volume_id: a.id.clone() }).volume.unwrap();
    assert_eq!(got, a);
    assert_eq!(
        refused!(h, create_volume, CreateVolumeRequest { spec: Some(spec("a", "", "csi")) }),
        says(Code::AlreadyExists, "volume a already exists")
    );
}

#[tokio::test]
async fn the_secrets_of_a_volume_exist() {
    let h = Harness::new();
    let secrets = vec![VolumeSecret { key: "k".into(), secret: "s".into() }];
    let with_secret = || CreateVolumeRequest {
        spec: Some(VolumeSpec { secrets: secrets.clone(), ..spec("a", "", "csi") }),
    };
    assert_eq!(
        refused!(h, create_volume, with_secret()),
        says(Code::InvalidArgument, "volume: secret \"s\" does not exist; name it by its id")
    );
    let secret = SecretSpec { annotations: named("s"), ..Default::default() };
    h.put(Secret { id: "s".into(), spec: Some(secret), ..Default::default() }).await;
    done!(h, create_volume, with_secret());
}

#[tokio::test]
async fn labels_and_availability_of_a_volume_change() {
    let h = Harness::new();
    let volume = create(&h, spec("a", "fast", "csi")).await;
    let request = |spec| UpdateVolumeRequest {
        volume_id: volume.id.clone(),
        volume_version: version_of(&volume),
        spec: Some(spec),
    };
    assert_eq!(
        refused!(h, update_volume, request(spec("a", "slow", "csi"))),
        says(
            Code::InvalidArgument,
            "volume: only the labels and the availability of a volume can be updated"
        )
    );
    let mut drained = VolumeSpec { availability: 2, ..spec("a", "fast", "csi") };
    drained.annotations.as_mut().unwrap().labels = [("k".to_owned(), "v".to_owned())].into();
    let updated = done!(h, update_volume, request(drained.clone())).volume.unwrap();
    assert_eq!(updated.spec, Some(drained.clone()));
    assert_eq!(refused!(h, update_volume, request(drained)), stale());
}

#[tokio::test]
async fn a_volume_in_use_stays_unless_forced() {
    let h = Harness::new();
    let made = |id: &str, used: usize| Volume {
        id: id.into(),
        spec: Some(spec(id, "", "csi")),
        volume_info: Some(VolumeInfo::default()),
        publish_status: vec![VolumePublishStatus::default(); used],
        ..Default::default()
    };
    let remove = |id: &str, force| RemoveVolumeRequest { volume_id: id.into(), force };
    h.put(made("used", 2)).await;
    h.put(made("idle", 0)).await;
    h.put(Volume { volume_info: None, ..made("new", 0) }).await;
    assert_eq!(
        refused!(h, remove_volume, remove("used", false)),
        says(
            Code::FailedPrecondition,
            "volume used is still in use on 2 nodes; drain it first, or use force"
        )
    );
    done!(h, remove_volume, remove("idle", false));
    assert!(h.get::<Volume>("idle").unwrap().pending_delete, "until its plugin has deleted it");
    done!(h, remove_volume, remove("new", false));
    assert!(h.get::<Volume>("new").is_none());
    done!(h, remove_volume, remove("used", true));
    assert!(h.get::<Volume>("used").is_none());
}
