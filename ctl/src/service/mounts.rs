//! Mounts, secrets and configs of a container: `type=volume,source=data,target=/data,readonly` and
//! `source=key,target=/run/key,mode=0400`.

use skep_proto::swarmkit::{FileTarget, Mount, mount};

/// A mount from its text.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut parsed = Mount { r#type: mount::Type::Volume.into(), ..Mount::default() };
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("type", "bind")) => parsed.set_type(mount::Type::Bind),
            Some(("type", "volume")) => parsed.set_type(mount::Type::Volume),
            Some(("type", "tmpfs")) => parsed.set_type(mount::Type::Tmpfs),
            Some(("source" | "src", value)) => parsed.source = value.into(),
            Some(("target" | "dst" | "destination", value)) => parsed.target = value.into(),
            Some(("readonly" | "ro", "true" | "1")) | None if is_readonly(field) => {
                parsed.readonly = true;
            }
            Some(("readonly" | "ro", "false" | "0")) => parsed.readonly = false,
            _ => return Err(format!("'{field}' is none of type, source, target, readonly")),
        }
    }
    match (parsed.r#type(), parsed.source.is_empty(), parsed.target.is_empty()) {
        (_, _, true) => Err("target=PATH is missing".into()),
        (mount::Type::Bind, true, _) => Err("a bind mount needs source=PATH".into()),
        _ => Ok(parsed),
    }
}

fn is_readonly(field: &str) -> bool {
    matches!(field.split('=').next(), Some("readonly" | "ro"))
}

/// A secret or config that a container gets, and as which file.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The object's id, its beginning, or its name.
    pub source: String,
    /// The file in the container.
    pub file: FileTarget,
}

/// What a container gets, from its text: a name alone, or `source=…,target=…,uid=…,gid=…,mode=…`.
pub fn given(text: &str) -> Result<Given, String> {
    let mut source = String::new();
    let mut file =
        FileTarget { uid: "0".into(), gid: "0".into(), mode: 0o444, ..FileTarget::default() };
    for field in text.split(',') {
        match field.split_once('=') {
            None if !text.contains('=') => source = field.into(),
            Some(("source" | "src", value)) => source = value.into(),
            Some(("target", value)) => file.name = value.into(),
            Some(("uid", value)) => file.uid = value.into(),
            Some(("gid", value)) => file.gid = value.into(),
            Some(("mode", value)) => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o777);
                file.mode = mode.ok_or_else(|| format!("'{value}' is no mode such as 0400"))?;
            }
            _ => return Err(format!("'{field}' is none of source, target, uid, gid, mode")),
        }
    }
    if source.is_empty() {
        return Err("source=NAME is missing".into());
    }
    if file.name.is_empty() {
        file.name.clone_from(&source);
    }
    Ok(Given { source, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read() {
        let parsed = mount("type=bind,src=/a,dst=/b,readonly").unwrap();
        assert_eq!(parsed.r#type(), mount::Type::Bind);
        assert_eq!((parsed.source.as_str(), parsed.target.as_str()), ("/a", "/b"));
        assert!(parsed.readonly);
        assert!(!mount("target=/b,readonly=false").unwrap().readonly);
    }

    #[test]
    fn a_secret_is_a_file_of_its_name_unless_told_otherwise() {
        let plain = given("key").unwrap();
        assert_eq!((plain.source.as_str(), plain.file.name.as_str()), ("key", "key"));
        assert_eq!(plain.file.mode, 0o444);
        let long = given("source=key,target=/run/k,mode=0400,uid=7").unwrap();
        assert_eq!((long.file.name.as_str(), long.file.mode), ("/run/k", 0o400));
    }

    #[test]
    fn what_is_incomplete_is_refused() {
        for text in ["type=bind,target=/b", "source=a", "type=floppy,target=/a", "junk,target=/a"] {
            assert!(mount(text).is_err(), "{text}");
        }
        for text in ["target=/a", "source=a,mode=999", "source=a,junk"] {
            assert!(given(text).is_err(), "{text}");
        }
    }
}
