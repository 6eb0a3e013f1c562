//! Containers in which tests stand and look around.

use std::collections::BTreeSet;

use skep_testkit::docker_hosts::DockerHost;

use super::operations::{WEB_PORT, addresses_on};
use crate::{
    services::scene::{Scene, running},
    support::docker,
};

/// The label that engines put on the containers of a task.
const TASK_LABEL: &str = "com.docker.swarm.task.id";
/// The server of names in every container, which the engine answers for.
const NAME_SERVER: &str = "127.0.0.11";
/// An answer comes at once or not at all: there is nothing between the hosts that could be slow.
const ANSWER_SECONDS: u32 = 2;

/// A container on a network.
pub struct Place<'a> {
    pub engine: &'a DockerHost,
    pub container: String,
    /// What its web server answers: the id of the task, for the containers of services.
    pub says: String,
    pub address: String,
}

impl Scene {
    /// The containers of a service that run, each with its one address on the network.
    pub async fn places(&self, service: &str, network: &str) -> Vec<Place<'_>> {
        let found = self.wait("a container for every task", async |scene| {
            let tasks = scene.tasks(service).await?;
            running(&tasks)
                .map(|task| match &addresses_on(task, network)[..] {
                    [address] => {
                        let (engine, container) = scene.container_of(&task.id)?;
                        Ok((engine, container, task.id.clone(), address.clone()))
                    }
                    others => Err(format!("task {} has the addresses {others:?} there", task.id)),
                })
                .collect::<Result<Vec<_>, String>>()
        });
        let place = |(engine, container, says, address)| {
            let engine = self.engine(engine);
            Place { engine, container, says, address }
        };
        found.await.into_iter().map(place).collect()
    }

    /// The engine that has the container of a task, by its place, and the container.
    fn container_of(&self, task: &str) -> Result<(usize, String), String> {
        let filter = format!("label={TASK_LABEL}={task}");
        for (place, engine) in self.engines().iter().enumerate() {
            let listed = docker(engine, &["ps", "--quiet", "--no-trunc", "--filter", &filter]);
            if let Some(container) = listed.map_err(|error| error.to_string())?.lines().next() {
                return Ok((place, container.to_owned()));
            }
        }
        Err(format!("no engine has a container of task {task}"))
    }

    /// Waits until each of these reaches each of those.
    pub async fn wait_reach(&self, from: &[Place<'_>], to: &[Place<'_>]) {
        self.wait("containers to reach each other", async |_| {
            for place in from {
                for other in to {
                    let answer = place.get(&other.address)?;
                    if answer != other.says {
                        return Err(format!("{} is answered by {answer}", other.address));
                    }
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until a name stands for exactly these addresses, wherever it is asked for.
    pub async fn wait_name(&self, from: &[Place<'_>], name: &str, addresses: &BTreeSet<String>) {
        self.wait(&format!("'{name}' to stand for {addresses:?}"), async |_| {
            for place in from {
                let found = place.look_up(name)?;
                if found != *addresses {
                    return Err(format!("on {}: {found:?}", place.engine.name()));
                }
            }
            Ok(())
        })
        .await;
    }
}

impl Place<'_> {
    /// What the web server at this address says.
    pub fn get(&self, address: &str) -> Result<String, String> {
        // The static wget crashes, whatever it is asked for.
        let request = r"printf 'GET / HTTP/1.0\r\n\r\n'";
        let script = format!("{request} | nc -w {ANSWER_SECONDS} {address} {WEB_PORT}");
        let answer = self.run(&["sh", "-c", &script])?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim_end().to_owned());
        body.ok_or_else(|| format!("{address} answered {answer:?}"))
    }

    /// The addresses that a name stands for in the container; none where nobody knows it.
    pub fn look_up(&self, name: &str) -> Result<BTreeSet<String>, String> {
        // What the engine knows it answers at once; for other names it asks a server outside, of which there is none.
        let script = format!("nslookup -timeout=1 -retry=1 {name} {NAME_SERVER} || true");
        let answer = self.run(&["sh", "-c", &script])?;
        let named = answer.split_once("Name:").map_or("", |(_, named)| named);
        let lines = named.lines().filter(|line| line.starts_with("Address"));
        Ok(lines.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect())
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let all = [&["exec", self.container.as_str()], words].concat();
        docker(self.engine, &all).map_err(|error| error.to_string())
    }
}

/// Their addresses.
pub fn addresses(places: &[Place<'_>]) -> BTreeSet<String> {
    places.iter().map(|place| place.address.clone()).collect()
}
