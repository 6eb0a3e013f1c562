//! What the allocator would say of networks, computed from a view: it asks nothing of the running allocator.

use skep_proto::swarmkit::Network;
use skep_store::Tables;

use super::{
    Waits,
    book::Ledger,
    ipam::{IpamError, SubnetUsage},
    network::{self, Kind},
};

/// Who holds what at one moment. To be made once for many questions: it looks at every object that has an address.
pub struct Survey(Ledger);

impl Survey {
    /// Of these tables.
    pub fn of(tables: &Tables) -> Survey {
        Survey(Ledger::of(tables))
    }

    /// How full the subnets of a network are, or why it has none. Networks that nodes make by themselves have none here, and
    /// wait for nothing. One that just was created, and has its addresses in a moment, has none yet either.
    pub fn network(&mut self, network: &Network) -> Result<Vec<SubnetUsage>, Waits> {
        let Ok(id) = network.id.parse() else { return Ok(Vec::new()) };
        let ledger = &mut self.0;
        if Kind::of(network) == Kind::Overlay && network::is_allocated(network) {
            return Ok(ledger.ipam.usage(&id));
        }
        network::allocated(ledger, id, network)?;
        ledger.drop_network(id);
        Ok(Vec::new())
    }
}

/// Whether a network that is to be created could be given what it asks for, beside the networks that there are. What may
/// change by itself is no reason to refuse it: it waits then, and says so.
pub fn check_network(tables: &Tables, network: &Network) -> Result<(), Waits> {
    let Ok(id) = network.id.parse() else { return Ok(()) };
    let mut ledger = Ledger::of_networks(tables);
    match network::allocated(&mut ledger, id, network) {
        Ok(_) => match ledger.ipam.usage(&id).iter().find(|usage| usage.free == 0) {
            Some(full) => Err(Waits::NoRoom {
                network: network::name(network).into_owned(),
                subnet: full.subnet.range.unwrap_or(full.subnet.net),
            }),
            None => Ok(()),
        },
        Err(Waits::UnknownDriver { .. }) => Ok(()),
        Err(Waits::Addresses { source, .. })
            if matches!(*source, IpamError::DefaultPoolsExhausted { .. }) =>
        {
            Ok(())
        }
        Err(waits) => Err(waits),
    }
}

/// See [`Survey::network`]; for a single question.
pub fn network_state(tables: &Tables, network: &Network) -> Result<Vec<SubnetUsage>, Waits> {
    Survey::of(tables).network(network)
}

/// Whether every node makes the network by itself, so that the managers give out no addresses of it.
pub fn is_node_local(network: &Network) -> bool {
    matches!(Kind::of(network), Kind::Local(_))
}
