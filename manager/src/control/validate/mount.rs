//! Mounts of a container.

use std::collections::HashSet;

use skep_proto::swarmkit::{
    Mount,
    mount::{Consistency, Type, bind_options::Propagation},
};

use super::{Checked, ensure, known, refuse, shown, template};

/// The mounts of one container: each well-formed, no two in one place.
pub(super) fn mounts(mounts: &[Mount]) -> Checked {
    let mut targets = HashSet::new();
    for mount in mounts {
        one(mount)?;
        ensure(targets.insert(mount.target.as_str()), || {
            format!("container: duplicate mount point: {}", shown(&mount.target))
        })?;
    }
    Ok(())
}

fn one(mount: &Mount) -> Checked {
    let target = shown(&mount.target);
    ensure(!mount.target.is_empty(), || "container: a mount has no target".into())?;
    ensure(!mount.target.contains('\0') && !mount.source.contains('\0'), || {
        format!("container: the mount at {target} contains a NUL")
    })?;
    let kind = known::<Type>(mount.r#type, "mount type")?;
    known::<Consistency>(mount.consistency, "mount consistency")?;
    template::expandable(&mount.source, &format!("the source of the mount at {target}"))?;
    template::expandable(&mount.target, &format!("the target of the mount at {target}"))?;
    match kind {
        Type::Bind | Type::Npipe | Type::Cluster => ensure(!mount.source.is_empty(), || {
            format!("container: the mount at {target} needs a source: what is mounted there")
        })?,
        Type::Tmpfs => {
            ensure(mount.source.is_empty(), || {
                format!("container: the tmpfs at {target} cannot have a source")
            })?;
        }
        Type::Volume => {}
    }
    if let Some(bind) = &mount.bind_options {
        known::<Propagation>(bind.propagation, "mount propagation")?;
    }
    if let Some(tmpfs) = &mount.tmpfs_options {
        ensure(tmpfs.size_bytes >= 0, || {
            format!(
                "container: the tmpfs at {target} cannot have a size of {} bytes",
                tmpfs.size_bytes
            )
        })?;
    }
    if let Some(volume) = &mount.volume_options {
        if volume.subpath.split('/').any(|part| part == "..") || volume.subpath.starts_with('/') {
            return refuse(format!(
                "container: the subpath of the volume at {target} must stay inside the volume"
            ));
        }
        for (key, value) in &volume.labels {
            template::expandable(
                value,
                &format!("the label {} of the volume at {target}", shown(key)),
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::mount::{TmpfsOptions, VolumeOptions};

    use super::super::says;
    use super::*;

    fn at(kind: Type, source: &str, target: &str) -> Mount {
        Mount {
            r#type: kind.into(),
            source: source.into(),
            target: target.into(),
            ..Default::default()
        }
    }

    #[test]
    fn mounts_have_a_place_of_their_own() {
        for (list, expected) in [
            (vec![], "ok"),
            (
                vec![
                    at(Type::Volume, "data", "/a"),
                    at(Type::Bind, "/b", "/b"),
                    at(Type::Tmpfs, "", "/t"),
                ],
                "ok",
            ),
            (vec![at(Type::Volume, "", "/anonymous")], "ok"),
            (vec![at(Type::Volume, "{{.Service.Name}}-{{.Task.Slot}}", "/a")], "ok"),
            (vec![at(Type::Volume, "x", "")], "container: a mount has no target"),
            (
                vec![at(Type::Volume, "x", "/a"), at(Type::Bind, "/y", "/a")],
                r#"container: duplicate mount point: "/a""#,
            ),
            (
                vec![at(Type::Bind, "", "/a")],
                r#"container: the mount at "/a" needs a source: what is mounted there"#,
            ),
            (
                vec![at(Type::Tmpfs, "x", "/a")],
                r#"container: the tmpfs at "/a" cannot have a source"#,
            ),
            (vec![at(Type::Volume, "\0", "/a")], r#"container: the mount at "/a" contains a NUL"#),
            (
                vec![Mount { r#type: 9, ..at(Type::Volume, "", "/a") }],
                "mount type 9 is not a known value",
            ),
            (
                vec![at(Type::Volume, "{{", "/a")],
                r#"the source of the mount at "/a" is not a template: unclosed action (in the action at character 1)"#,
            ),
        ] {
            assert_eq!(says(mounts(&list)), expected);
        }
    }

    #[test]
    fn options_of_a_mount_are_in_range() {
        let tmpfs = TmpfsOptions { size_bytes: -1, ..Default::default() };
        let mount = Mount { tmpfs_options: Some(tmpfs), ..at(Type::Tmpfs, "", "/t") };
        assert_eq!(
            says(mounts(&[mount])),
            r#"container: the tmpfs at "/t" cannot have a size of -1 bytes"#
        );
        for subpath in ["../x", "a/../../b", "/abs"] {
            let volume = VolumeOptions { subpath: subpath.into(), ..Default::default() };
            let mount = Mount { volume_options: Some(volume), ..at(Type::Volume, "v", "/v") };
            assert_eq!(
                says(mounts(&[mount])),
                r#"container: the subpath of the volume at "/v" must stay inside the volume"#
            );
        }
    }
}
