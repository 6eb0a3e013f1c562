//! Options about the registry that images come from, and what an operator has told Docker of it.
//!
//! `--with-registry-auth` takes the credentials that `docker login` wrote into Docker's own file, and sends them along with
//! the service, for the engines that pull the image. Credentials that Docker keeps elsewhere (in a helper program) are not
//! asked for.

use std::path::PathBuf;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use serde_json::{Value, json};
use skep_proto::swarmkit::{ContainerSpec, container_spec::PullOptions};
use zeroize::Zeroizing;

use crate::{errors::Failure, input};

/// What Docker calls its own registry in its file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Options of the image's registry.
#[derive(Debug, clap::Args)]
pub struct RegistryOptions {
    /// Do not ask the registry for the image's digest: never done, the option is taken for scripts
    #[arg(long)]
    no_resolve_image: bool,
    /// Give the engines the credentials that 'docker login' wrote down here
    #[arg(long)]
    with_registry_auth: bool,
}

impl RegistryOptions {
    /// Writes the credentials for the container's image into its spec, if they are asked for.
    pub fn apply(&self, container: &mut ContainerSpec) -> Result<(), Failure> {
        if !self.with_registry_auth {
            return Ok(());
        }
        let path = docker_config();
        let text = input::file(&path)?;
        let refused = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
        let config = serde_json::from_slice(&text).map_err(|_| refused("is no JSON".into()))?;
        let auth = registry_auth(&config, &container.image).map_err(refused)?;
        container.pull_options = Some(PullOptions { registry_auth: auth.to_string() });
        Ok(())
    }
}

/// Docker's own file, where Docker looks for it.
fn docker_config() -> PathBuf {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker");
    folder.unwrap_or_else(home).join("config.json")
}

/// The credentials for an image as engines take them. The errors name no credential.
fn registry_auth(config: &Value, image: &str) -> Result<Zeroizing<String>, String> {
    let registry = registry(image);
    let entry = &config["auths"][registry];
    let helper = config["credHelpers"].get(registry).or(config.get("credsStore"));
    let login = || format!("there are no credentials of {registry}; use 'docker login {registry}'");
    let auth = entry["auth"].as_str().filter(|auth| !auth.is_empty());
    let auth = auth.ok_or_else(|| match helper.and_then(Value::as_str) {
        Some(helper) => format!(
            "the credentials of {registry} are kept by the program docker-credential-{helper}, which is not asked"
        ),
        None => login(),
    })?;
    let garbled = || format!("the credentials of {registry} are garbled; log in again");
    let pair = Zeroizing::new(BASE64_STANDARD.decode(auth).map_err(|_| garbled())?);
    let pair = std::str::from_utf8(&pair).map_err(|_| garbled())?;
    let (username, password) = pair.split_once(':').ok_or_else(garbled)?;
    let credentials = json!({
        "username": username,
        "password": password.trim_end_matches('\0'),
        "serveraddress": registry,
        "identitytoken": entry["identitytoken"].as_str().unwrap_or_default(),
    });
    let text = Zeroizing::new(credentials.to_string());
    Ok(Zeroizing::new(BASE64_URL_SAFE.encode(text.as_bytes())))
}

/// The registry of an image, as Docker names it in its file: what stands before the first slash, if it can be a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => DOCKER_HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_the_host_of_an_image() {
        for (image, expected) in [
            ("nginx", DOCKER_HUB),
            ("team/app:1", DOCKER_HUB),
            ("docker.io/library/nginx", DOCKER_HUB),
            ("registry.example.com/app", "registry.example.com"),
            ("localhost:5000/app@sha256:ab", "localhost:5000"),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    #[test]
    fn credentials_are_those_that_docker_wrote_down() {
        let config = json!({
            "auths": {
                "r.example.com": { "auth": BASE64_STANDARD.encode("ann:s:cret") },
                "broken.example.com": { "auth": "%%%" },
                "kept.example.com": {},
            },
            "credHelpers": { "kept.example.com": "pass" },
        });
        let auth = registry_auth(&config, "r.example.com/app").unwrap();
        let decoded = BASE64_URL_SAFE.decode(auth.as_bytes()).unwrap();
        let credentials: Value = serde_json::from_slice(&decoded).unwrap();
        assert_eq!(
            (&credentials["username"], &credentials["password"]),
            (&json!("ann"), &json!("s:cret"))
        );
        assert_eq!(credentials["serveraddress"], "r.example.com");
        let refused = |image| registry_auth(&config, image).unwrap_err();
        assert_eq!(
            refused("other.example.com/app"),
            "there are no credentials of other.example.com; use 'docker login other.example.com'"
        );
        assert!(refused("broken.example.com/app").contains("garbled"));
        assert!(refused("kept.example.com/app").contains("docker-credential-pass"));
    }
}
