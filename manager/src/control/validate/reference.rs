//! References of a container to secrets and configs, and where they show up in it.

use std::collections::HashSet;

use skep_proto::swarmkit::{
    ConfigReference, ContainerSpec, FileTarget, SecretReference, config_reference,
    privileges::credential_spec::Source, secret_reference,
};

use super::{Checked, ensure, refuse, shown};

/// Secrets: each has an id, a name and a file of its own.
pub(super) fn secret_references(references: &[SecretReference]) -> Checked {
    let mut files = HashSet::new();
    for reference in references {
        let name = shown(&reference.secret_name);
        named(&reference.secret_id, &reference.secret_name, "secret")?;
        match &reference.target {
            Some(secret_reference::Target::File(file)) => {
                file_target(file, &mut files, "secret", &name)?
            }
            None => {
                return refuse(format!(
                    "the reference to secret {name} has no target: name the file"
                ));
            }
        }
    }
    Ok(())
}

/// Configs: as secrets, or for the runtime itself, which the credential spec must then name.
pub(super) fn config_references(spec: &ContainerSpec) -> Checked {
    let mut files = HashSet::new();
    for reference in &spec.configs {
        let name = shown(&reference.config_name);
        named(&reference.config_id, &reference.config_name, "config")?;
        match &reference.target {
            Some(config_reference::Target::File(file)) => {
                file_target(file, &mut files, "config", &name)?
            }
            Some(config_reference::Target::Runtime(_)) => {}
            None => {
                return refuse(format!(
                    "the reference to config {name} has no target: name the file"
                ));
            }
        }
    }
    let source = spec.privileges.as_ref().and_then(|p| p.credential_spec.as_ref()?.source.as_ref());
    if let Some(Source::Config(id)) = source {
        let runtime = |reference: &ConfigReference| {
            reference.config_id == *id
                && matches!(reference.target, Some(config_reference::Target::Runtime(_)))
        };
        ensure(spec.configs.iter().any(runtime), || {
            format!(
                "the credential spec names config {}, which is not among the references with a runtime target",
                shown(id)
            )
        })?;
    }
    Ok(())
}

fn named(id: &str, name: &str, what: &str) -> Checked {
    ensure(!id.is_empty() && !name.is_empty(), || {
        format!(
            "malformed {what} reference: it needs both the id and the name, and has {} and {}",
            shown(id),
            shown(name)
        )
    })
}

fn file_target<'a>(
    file: &'a FileTarget,
    files: &mut HashSet<&'a str>,
    what: &str,
    name: &str,
) -> Checked {
    ensure(!file.name.is_empty() && !file.name.contains('\0'), || {
        format!("the reference to {what} {name} has no valid file name")
    })?;
    ensure(files.insert(&file.name), || {
        format!(
            "{what} {name} has a conflicting target: {} is taken by another reference",
            shown(&file.name)
        )
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{Privileges, RuntimeTarget, privileges::CredentialSpec};

    use super::super::says;
    use super::*;

    fn secret(id: &str, name: &str, file: Option<&str>) -> SecretReference {
        let target = file.map(|file| {
            secret_reference::Target::File(FileTarget { name: file.into(), ..Default::default() })
        });
        SecretReference { secret_id: id.into(), secret_name: name.into(), target }
    }

    #[test]
    fn a_reference_names_what_and_where() {
        for (list, expected) in [
            (vec![], "ok"),
            (vec![secret("1", "a", Some("x")), secret("1", "a", Some("y"))], "ok"),
            (
                vec![secret("1", "a", Some("x")), secret("2", "b", Some("x"))],
                "secret \"b\" has a conflicting target: \"x\" is taken by another reference",
            ),
            (
                vec![secret("", "a", Some("x"))],
                "malformed secret reference: it needs both the id and the name, and has \"\" and \"a\"",
            ),
            (
                vec![secret("1", "", Some("x"))],
                "malformed secret reference: it needs both the id and the name, and has \"1\" and \"\"",
            ),
            (
                vec![secret("1", "a", None)],
                "the reference to secret \"a\" has no target: name the file",
            ),
            (
                vec![secret("1", "a", Some(""))],
                "the reference to secret \"a\" has no valid file name",
            ),
        ] {
            assert_eq!(says(secret_references(&list)), expected);
        }
    }

    #[test]
    fn a_credential_spec_needs_a_runtime_reference() {
        let source = Some(Source::Config("1".into()));
        let privileges = Some(Privileges {
            credential_spec: Some(CredentialSpec { source }),
            ..Default::default()
        });
        let reference =
            |target| ConfigReference { config_id: "1".into(), config_name: "a".into(), target };
        let runtime = Some(config_reference::Target::Runtime(RuntimeTarget {}));
        let file = FileTarget { name: "f".into(), ..Default::default() };
        let file = Some(config_reference::Target::File(file));
        let spec = |configs| ContainerSpec {
            privileges: privileges.clone(),
            configs,
            ..Default::default()
        };
        assert_eq!(says(config_references(&spec(vec![reference(runtime)]))), "ok");
        assert_eq!(
            says(config_references(&spec(vec![reference(file)]))),
            "the credential spec names config \"1\", which is not among the references with a runtime target"
        );
        assert_eq!(
            says(config_references(&spec(vec![reference(None)]))),
            "the reference to config \"a\" has no target: name the file"
        );
    }
}
