//! Mounts of a container, in Docker's words: `type=volume,source=data,target=/data,readonly`.

use skep_proto::swarmkit::{
    Mount,
    mount::{
        BindOptions, Consistency, TmpfsOptions, Type, VolumeOptions, bind_options::Propagation,
    },
};

use super::super::{quantities::memory_bytes, words::csv_fields};
use crate::input::pairs;

/// A mount from its text.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut parsed = Mount { r#type: Type::Volume.into(), ..Mount::default() };
    for field in csv_fields(text)? {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v)));
        set(&mut parsed, &key.to_ascii_lowercase(), value)
            .map_err(|why| format!("'{field}': {why}"))?;
    }
    let kind = parsed.r#type();
    let foreign = |there: bool, of: Type| there && kind != of;
    if foreign(parsed.bind_options.is_some(), Type::Bind)
        || foreign(parsed.volume_options.is_some(), Type::Volume)
        || foreign(parsed.tmpfs_options.is_some(), Type::Tmpfs)
    {
        return Err("it has options of another type of mount".into());
    }
    match (kind, parsed.source.is_empty(), parsed.target.is_empty()) {
        (_, _, true) => Err("target=PATH is missing".into()),
        (Type::Bind, true, _) => Err("a bind mount needs source=PATH".into()),
        _ => Ok(parsed),
    }
}

fn set(mount: &mut Mount, key: &str, value: Option<&str>) -> Result<(), String> {
    // What is a switch needs no value.
    match key {
        "readonly" | "ro" => mount.readonly = switch(value)?,
        "volume-nocopy" => volume(mount).nocopy = switch(value)?,
        "bind-nonrecursive" => bind(mount).nonrecursive = switch(value)?,
        _ => return set_value(mount, key, value.ok_or("it has no value")?),
    }
    Ok(())
}

fn set_value(mount: &mut Mount, key: &str, value: &str) -> Result<(), String> {
    match key {
        "type" => mount.set_type(match value.to_ascii_lowercase().as_str() {
            "bind" => Type::Bind,
            "volume" => Type::Volume,
            "tmpfs" => Type::Tmpfs,
            "npipe" => Type::Npipe,
            "cluster" => Type::Cluster,
            _ => return Err("the types are bind, volume, tmpfs, npipe and cluster".into()),
        }),
        "source" | "src" => mount.source = value.into(),
        "target" | "dst" | "destination" => mount.target = value.into(),
        "consistency" => mount.set_consistency(match value {
            "default" => Consistency::Default,
            "consistent" => Consistency::Consistent,
            "cached" => Consistency::Cached,
            "delegated" => Consistency::Delegated,
            _ => return Err("write default, consistent, cached or delegated".into()),
        }),
        "bind-propagation" => bind(mount).set_propagation(match value {
            "rprivate" => Propagation::Rprivate,
            "private" => Propagation::Private,
            "rshared" => Propagation::Rshared,
            "shared" => Propagation::Shared,
            "rslave" => Propagation::Rslave,
            "slave" => Propagation::Slave,
            _ => {
                return Err("write private, rprivate, shared, rshared, slave or rslave".into());
            }
        }),
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).nonrecursive = true,
            "writable" => bind(mount).readonlynonrecursive = true,
            "readonly" => bind(mount).readonlyforcerecursive = true,
            _ => return Err("write enabled, disabled, writable or readonly".into()),
        },
        "volume-subpath" => volume(mount).subpath = value.into(),
        "volume-label" => volume(mount).labels.extend(pairs(&[value.to_owned()])),
        "volume-driver" => {
            volume(mount).driver_config.get_or_insert_default().name = value.into();
        }
        "volume-opt" => {
            let driver = volume(mount).driver_config.get_or_insert_default();
            driver.options.extend(pairs(&[value.to_owned()]));
        }
        "tmpfs-size" => tmpfs(mount).size_bytes = memory_bytes(value)?,
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
            tmpfs(mount).mode = mode.ok_or("that is no mode such as 1777")?;
        }
        _ => return Err("that is no part of a mount".into()),
    }
    Ok(())
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn switch(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err("write true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read() {
        let parsed = mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave").unwrap();
        assert_eq!(parsed.r#type(), Type::Bind);
        assert_eq!((parsed.source.as_str(), parsed.target.as_str()), ("/a", "/b"));
        assert!(parsed.readonly);
        assert_eq!(parsed.bind_options.unwrap().propagation(), Propagation::Rslave);
        assert!(!mount("target=/b,readonly=false").unwrap().readonly);

        let text = "source=data,target=/d,volume-driver=local,\"volume-opt=o=a,b\",volume-nocopy";
        let options = mount(text).unwrap().volume_options.unwrap();
        assert!(options.nocopy);
        assert_eq!(options.driver_config.unwrap().options["o"], "a,b");

        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777").unwrap();
        let options = tmpfs.tmpfs_options.unwrap();
        assert_eq!((options.size_bytes, options.mode), (1 << 20, 0o1777));
    }

    #[test]
    fn what_is_incomplete_or_mixed_is_refused() {
        for text in [
            "type=bind,target=/b",
            "source=a",
            "type=floppy,target=/a",
            "junk,target=/a",
            "target=/a,readonly=perhaps",
            "type=bind,source=/a,target=/b,volume-nocopy",
            "type=tmpfs,target=/t,tmpfs-mode=9",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
