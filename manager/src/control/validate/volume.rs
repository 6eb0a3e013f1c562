//! Cluster volumes.

use std::collections::HashSet;

use skep_proto::swarmkit::{
    VolumeSpec,
    volume_access_mode::{Scope, Sharing},
    volume_spec::VolumeAvailability,
};

use super::{Checked, annotations::dns_name, at_most, ensure, known, required, shown};

/// The longest spec of a volume: what a plugin needs to make it, not data.
const VOLUME_BYTES_MAX: usize = 256 * 1024;

/// The spec of a volume.
pub fn volume_spec(spec: &Option<VolumeSpec>) -> Checked<&VolumeSpec> {
    let spec = required(spec, "the volume's spec")?;
    dns_name(&spec.annotations, "volume")?;
    at_most(spec, VOLUME_BYTES_MAX, "the volume's spec")?;
    let driver = required(&spec.driver, "volume: the driver")?;
    ensure(!driver.name.is_empty(), || "volume: the driver must have a name".into())?;
    let access = required(&spec.access_mode, "volume: the access mode")?;
    known::<Scope>(access.scope, "volume scope")?;
    known::<Sharing>(access.sharing, "volume sharing")?;
    required(&access.access_type, "volume: the access type (block or mount)")?;
    known::<VolumeAvailability>(spec.availability, "volume availability")?;
    let mut keys = HashSet::new();
    for secret in &spec.secrets {
        ensure(!secret.key.is_empty() && !secret.secret.is_empty(), || {
            "volume: a secret needs both a key and the secret's name or id".into()
        })?;
        ensure(keys.insert(&secret.key), || {
            format!("volume: the secret key {} is given twice", shown(&secret.key))
        })?;
    }
    if let Some(capacity) = &spec.capacity_range {
        let (least, most) = (capacity.required_bytes, capacity.limit_bytes);
        ensure(least >= 0 && most >= 0 && (most == 0 || least <= most), || {
            format!("volume: a capacity of at least {least} and at most {most} bytes cannot be")
        })?;
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{
        Annotations, CapacityRange, Driver, VolumeAccessMode, VolumeSecret,
        volume_access_mode::{AccessType, BlockVolume},
    };

    use super::super::says;
    use super::*;

    fn volume() -> VolumeSpec {
        VolumeSpec {
            annotations: Some(Annotations { name: "v".into(), ..Default::default() }),
            driver: Some(Driver { name: "csi".into(), ..Default::default() }),
            access_mode: Some(VolumeAccessMode {
                access_type: Some(AccessType::Block(BlockVolume {})),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_volume_says_who_makes_it_and_how_it_is_used() {
        let secret = |key: &str| VolumeSecret { key: key.into(), secret: "s".into() };
        let range =
            |required_bytes, limit_bytes| Some(CapacityRange { required_bytes, limit_bytes });
        for (spec, expected) in [
            (volume(), "ok"),
            (VolumeSpec { driver: None, ..volume() }, "volume: the driver is missing"),
            (
                VolumeSpec { driver: Some(Driver::default()), ..volume() },
                "volume: the driver must have a name",
            ),
            (VolumeSpec { access_mode: None, ..volume() }, "volume: the access mode is missing"),
            (
                VolumeSpec { access_mode: Some(Default::default()), ..volume() },
                "volume: the access type (block or mount) is missing",
            ),
            (
                VolumeSpec { availability: 3, ..volume() },
                "volume availability 3 is not a known value",
            ),
            (
                VolumeSpec { secrets: vec![secret("a"), secret("a")], ..volume() },
                "volume: the secret key \"a\" is given twice",
            ),
            (
                VolumeSpec { secrets: vec![secret("")], ..volume() },
                "volume: a secret needs both a key and the secret's name or id",
            ),
            (VolumeSpec { capacity_range: range(2, 0), ..volume() }, "ok"),
            (
                VolumeSpec { capacity_range: range(2, 1), ..volume() },
                "volume: a capacity of at least 2 and at most 1 bytes cannot be",
            ),
        ] {
            assert_eq!(says(volume_spec(&Some(spec))), expected);
        }
        assert_eq!(says(volume_spec(&None)), "the volume's spec is missing");
    }
}
