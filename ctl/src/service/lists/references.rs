//! Secrets, configs and networks that a service uses, from what an operator calls them.

use skep_proto::swarmkit::{
    Config, ConfigReference, FileTarget, Network, NetworkAttachmentConfig, Secret, SecretReference,
    config_reference, secret_reference,
};

use super::{super::words::csv_fields, keyed::Change};
use crate::{
    connect::Connection, errors::Failure, input::pairs, objects::Stored as _, resolve::resolve,
};

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
    for field in csv_fields(text)? {
        match field.split_once('=') {
            None if !text.contains('=') => source = field,
            Some(("source" | "src", value)) => source = value.into(),
            Some(("target", value)) => file.name = value.into(),
            Some(("uid", value)) => file.uid = value.into(),
            Some(("gid", value)) => file.gid = value.into(),
            Some(("mode", value)) => {
                let digits = value.trim_start_matches("0o");
                let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
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

/// A network from its text: a name alone, or `name=…,alias=…,driver-opt=KEY=VALUE`. What is named is looked up later.
pub fn network(text: &str) -> Result<NetworkAttachmentConfig, String> {
    let mut attachment = NetworkAttachmentConfig::default();
    let mut options = Vec::new();
    for field in csv_fields(text)? {
        match field.split_once('=') {
            None if !text.contains('=') => attachment.target = field,
            Some(("name", value)) => attachment.target = value.into(),
            Some(("alias", value)) => attachment.aliases.push(value.into()),
            Some(("driver-opt", value)) => options.push(value.to_owned()),
            _ => return Err(format!("'{field}' is none of name, alias, driver-opt")),
        }
    }
    attachment.driver_attachment_opts = pairs(&options);
    if attachment.target.is_empty() {
        Err("name=NETWORK is missing".into())
    } else {
        Ok(attachment)
    }
}

/// Adds references to secrets; one that goes to the same file replaces what went there.
pub async fn secrets(
    connection: &Connection,
    added: &[Given],
    references: &mut Vec<SecretReference>,
) -> Result<(), Failure> {
    for Given { source, file } in added {
        let secret: Secret = resolve(connection, source).await?;
        references.retain(|own| {
            !matches!(&own.target, Some(secret_reference::Target::File(f)) if f.name == file.name)
        });
        references.push(SecretReference {
            secret_name: secret.name().to_owned(),
            secret_id: secret.id,
            target: Some(secret_reference::Target::File(file.clone())),
        });
    }
    Ok(())
}

/// Adds references to configs; one that goes to the same file replaces what went there.
pub async fn configs(
    connection: &Connection,
    added: &[Given],
    references: &mut Vec<ConfigReference>,
) -> Result<(), Failure> {
    for Given { source, file } in added {
        let config: Config = resolve(connection, source).await?;
        references.retain(|own| {
            !matches!(&own.target, Some(config_reference::Target::File(f)) if f.name == file.name)
        });
        references.push(ConfigReference {
            config_name: config.name().to_owned(),
            config_id: config.id,
            target: Some(config_reference::Target::File(file.clone())),
        });
    }
    Ok(())
}

/// Changes the networks of a task.
pub async fn networks(
    connection: &Connection,
    change: &Change<NetworkAttachmentConfig>,
    attachments: &mut Vec<NetworkAttachmentConfig>,
) -> Result<(), Failure> {
    let mut by_id = Change { add: Vec::new(), remove: change.remove.clone() };
    for given in &change.remove {
        by_id.remove.push(resolve::<Network>(connection, given).await?.id);
    }
    for given in &change.add {
        let network: Network = resolve(connection, &given.target).await?;
        by_id.add.push(NetworkAttachmentConfig { target: network.id, ..given.clone() });
    }
    by_id.apply(attachments, |attachment| attachment.target.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_of_its_name_unless_told_otherwise() {
        let plain = given("key").unwrap();
        assert_eq!((plain.source.as_str(), plain.file.name.as_str()), ("key", "key"));
        assert_eq!(plain.file.mode, 0o444);
        let long = given("source=key,target=/run/k,mode=0400,uid=7").unwrap();
        assert_eq!((long.file.name.as_str(), long.file.mode), ("/run/k", 0o400));
        for text in ["target=/a", "source=a,mode=999", "source=a,junk"] {
            assert!(given(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_has_aliases_and_options() {
        assert_eq!(network("back").unwrap().target, "back");
        let long = network("name=back,alias=db,alias=pg,driver-opt=a=b").unwrap();
        assert_eq!((long.target.as_str(), long.aliases.len()), ("back", 2));
        assert_eq!(long.driver_attachment_opts["a"], "b");
        assert!(network("alias=x").is_err() && network("name=x,junk").is_err());
    }
}
