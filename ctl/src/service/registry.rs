//! Options about where images come from.

use skep_proto::swarmkit::ContainerSpec;

use crate::errors::Failure;

/// Options of the image's registry.
#[derive(Debug, clap::Args)]
pub struct RegistryOptions {
    /// Do not ask the registry for the image's digest: never done, the option is taken for scripts
    #[arg(long)]
    no_resolve_image: bool,
}

impl RegistryOptions {
    /// Writes what was given into `container`.
    pub fn apply(&self, _container: &mut ContainerSpec) -> Result<(), Failure> {
        Ok(())
    }
}
