//! Specs of networks, put together word by word.

use skep_proto::swarmkit::{
    Annotations, Driver, IpamConfig, IpamOptions, NetworkSpec, network_spec::ConfigFrom,
};

/// A spec in the making.
#[derive(Clone)]
pub struct Network(pub NetworkSpec);

/// A network that spans engines.
pub fn overlay(name: &str) -> Network {
    Network(NetworkSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
        ..Default::default()
    })
    .driver("overlay")
}

impl Network {
    /// With another driver.
    pub fn driver(mut self, name: &str) -> Network {
        self.0.driver_config.get_or_insert_default().name = name.to_owned();
        self
    }

    /// With an option of its driver.
    pub fn option(mut self, name: &str, value: &str) -> Network {
        let driver: &mut Driver = self.0.driver_config.get_or_insert_default();
        driver.options.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn label(mut self, name: &str, value: &str) -> Network {
        let annotations = self.0.annotations.get_or_insert_default();
        annotations.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With these addresses, and the rest as the manager chooses.
    pub fn subnet(self, subnet: &str) -> Network {
        self.addresses(IpamConfig { subnet: subnet.to_owned(), ..Default::default() })
    }

    /// With these addresses, of which tasks get those of the range.
    pub fn subnet_with(self, subnet: &str, range: &str, gateway: &str) -> Network {
        let (subnet, range) = (subnet.to_owned(), range.to_owned());
        let gateway = gateway.to_owned();
        self.addresses(IpamConfig { subnet, range, gateway, ..Default::default() })
    }

    pub fn addresses(mut self, config: IpamConfig) -> Network {
        let options: &mut IpamOptions = self.0.ipam.get_or_insert_default();
        options.configs.push(config);
        self
    }

    /// With addresses of IPv6 too.
    pub fn ipv6(mut self) -> Network {
        self.0.ipv6_enabled = true;
        self
    }

    /// Open to containers that are no service's.
    pub fn attachable(mut self) -> Network {
        self.0.attachable = true;
        self
    }

    /// Without a way out.
    pub fn internal(mut self) -> Network {
        self.0.internal = true;
        self
    }

    /// As each engine has it configured under this name.
    pub fn config_from(mut self, name: &str) -> Network {
        self.0.config_from = Some(ConfigFrom::Network(name.to_owned()));
        self
    }

    pub fn name(&self) -> &str {
        self.0.annotations.as_ref().map_or("", |annotations| &annotations.name)
    }
}
