//! Secrets and configs: data under a name.

use skep_proto::swarmkit::{ConfigSpec, SecretSpec};

use super::{
    Checked, annotations::file_name, driver, ensure, required, template::expandable_payload,
};

/// Secrets are smaller than this.
const SECRET_BYTES: usize = 500 * 1024;
/// Configs are smaller than this.
const CONFIG_BYTES: usize = 1000 * 1024;

/// The spec of a secret that is to be created: data, or a driver that fetches it.
pub fn secret_spec(spec: &Option<SecretSpec>) -> Checked<&SecretSpec> {
    let spec = required(spec, "the secret's spec")?;
    file_name(&spec.annotations, "secret")?;
    driver(spec.driver.as_ref(), "secret")?;
    driver(spec.templating.as_ref(), "templating of a secret")?;
    match &spec.driver {
        Some(_) => ensure(spec.data.is_empty(), || {
            "secret: a secret of a driver must not carry data; leave one of them out".into()
        })?,
        None => size(spec.data.len(), SECRET_BYTES, "secret")?,
    }
    expandable_payload(&spec.data, spec.templating.as_ref(), "secret")?;
    Ok(spec)
}

/// The spec of a config that is to be created.
pub fn config_spec(spec: &Option<ConfigSpec>) -> Checked<&ConfigSpec> {
    let spec = required(spec, "the config's spec")?;
    file_name(&spec.annotations, "config")?;
    driver(spec.templating.as_ref(), "templating of a config")?;
    size(spec.data.len(), CONFIG_BYTES, "config")?;
    expandable_payload(&spec.data, spec.templating.as_ref(), "config")?;
    Ok(spec)
}

/// The spec of a secret whose labels are to change; the data may be left out.
pub fn secret_labels(spec: &Option<SecretSpec>) -> Checked<&SecretSpec> {
    let spec = required(spec, "the secret's spec")?;
    file_name(&spec.annotations, "secret")?;
    Ok(spec)
}

/// The spec of a config whose labels are to change; the data may be left out.
pub fn config_labels(spec: &Option<ConfigSpec>) -> Checked<&ConfigSpec> {
    let spec = required(spec, "the config's spec")?;
    file_name(&spec.annotations, "config")?;
    Ok(spec)
}

fn size(len: usize, below: usize, what: &str) -> Checked {
    ensure((1..below).contains(&len), || {
        format!("{what} data must be larger than 0 and less than {below} bytes, this has {len}")
    })
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{Annotations, Driver};

    use super::super::says;
    use super::*;

    fn name() -> Option<Annotations> {
        Some(Annotations { name: "a".into(), ..Default::default() })
    }

    #[test]
    fn a_secret_has_data_or_a_driver() {
        let driver = |name: &str| Some(Driver { name: name.into(), ..Default::default() });
        for (len, driver, expected) in [
            (1, None, "ok"),
            (511_999, None, "ok"),
            (0, driver("vault"), "ok"),
            (0, None, "secret data must be larger than 0 and less than 512000 bytes, this has 0"),
            (
                512_000,
                None,
                "secret data must be larger than 0 and less than 512000 bytes, this has 512000",
            ),
            (
                1,
                driver("vault"),
                "secret: a secret of a driver must not carry data; leave one of them out",
            ),
            (
                0,
                driver(""),
                "secret: a driver was given without a name; name it or leave the driver out",
            ),
        ] {
            let spec = SecretSpec {
                annotations: name(),
                data: vec![0; len].into(),
                driver,
                ..Default::default()
            };
            assert_eq!(says(secret_spec(&Some(spec))), expected);
        }
        assert_eq!(says(secret_spec(&None)), "the secret's spec is missing");
        assert_eq!(says(secret_spec(&Some(SecretSpec::default()))), "secret: the name is missing");
    }

    #[test]
    fn a_config_has_data() {
        for (len, expected) in [
            (1, "ok"),
            (1_023_999, "ok"),
            (0, "config data must be larger than 0 and less than 1024000 bytes, this has 0"),
            (
                1_024_000,
                "config data must be larger than 0 and less than 1024000 bytes, this has 1024000",
            ),
        ] {
            let spec =
                ConfigSpec { annotations: name(), data: vec![0; len].into(), ..Default::default() };
            assert_eq!(says(config_spec(&Some(spec))), expected);
        }
        assert_eq!(says(config_spec(&None)), "the config's spec is missing");
    }
}
