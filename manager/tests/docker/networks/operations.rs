//! What tests do to networks: small verbs, each of which ends when its effect is to be seen.

use skep_proto::swarmkit::{
    CreateNetworkRequest, ListNetworksRequest, ListTasksRequest, Network as Stored,
    RemoveNetworkRequest, Task, task_spec::Runtime,
};

use super::spec::Network;
use crate::services::scene::Scene;

/// Where the web servers of the tests listen.
pub const WEB_PORT: u16 = 80;

impl Scene {
    /// Creates a network, waits until it has its addresses, and gives its id.
    pub async fn create_network(&self, network: Network) -> String {
        let request = CreateNetworkRequest { spec: Some(network.0.clone()) };
        let created = self.manager().control_client().create_network(request).await.unwrap();
        let id = created.into_inner().network.unwrap().id;
        self.wait(
            &format!("network {} to be allocated", network.name()),
            async |scene| match scene.network(&id).await? {
                network if network.driver_state.is_some() => Ok(()),
                network => Err(format!("{network:?}")),
            },
        )
        .await;
        id
    }

    /// Removes a network, as soon as nothing is on it any more.
    pub async fn remove_network(&self, id: &str) {
        self.wait("the network to be removed", async |scene| {
            let request = RemoveNetworkRequest { network_id: id.to_owned(), ..Default::default() };
            let removed = scene.manager().control_client().remove_network(request).await;
            removed.map(drop).map_err(|status| status.to_string())
        })
        .await;
    }

    pub async fn network(&self, id: &str) -> Result<Stored, String> {
        let request = ListNetworksRequest::default();
        let listed = self.manager().control_client().list_networks(request).await;
        let listed = listed.map_err(|status| status.to_string())?.into_inner().networks;
        let found = listed.into_iter().find(|network| network.id == id);
        found.ok_or_else(|| "it is not listed".to_owned())
    }

    /// The tasks that stand for containers of engines on networks.
    pub async fn attachments(&self) -> Result<Vec<Task>, String> {
        let request = ListTasksRequest::default();
        let listed = self.manager().control_client().list_tasks(request).await;
        let listed = listed.map_err(|status| status.to_string())?.into_inner().tasks;
        Ok(listed.into_iter().filter(is_attachment).collect())
    }
}

fn is_attachment(task: &Task) -> bool {
    let runtime = task.spec.as_ref().and_then(|spec| spec.runtime.as_ref());
    matches!(runtime, Some(Runtime::Attachment(_)))
}

/// The addresses of a task on a network, without the lengths of their subnets.
pub fn addresses_on(task: &Task, network: &str) -> Vec<String> {
    let is_on = |id: &str| id == network;
    let attachments = task.networks.iter();
    let attachments = attachments.filter(|a| a.network.as_ref().is_some_and(|n| is_on(&n.id)));
    attachments.flat_map(|a| &a.addresses).map(|address| without_length(address)).collect()
}

/// `10.0.1.3` of `10.0.1.3/24`.
pub fn without_length(address: &str) -> String {
    address.split('/').next().unwrap_or_default().to_owned()
}
