//! A cluster for one measurement: started for it, or given.

use std::path::Path;

use skep_testkit::{docker_hosts::DockerHosts, skepd_process::SkepdCluster};

use crate::{
    clusters::{Via, start_docker, start_skep},
    target::Target,
};

/// A cluster for one measurement. Dropping it ends what was started.
pub struct Cluster {
    target: Target,
    started: Started,
}

enum Started {
    Skep(#[expect(dead_code, reason = "held until the end")] SkepdCluster),
    Docker(DockerHosts),
    Nothing,
}

impl Cluster {
    /// Our managers, as processes on loopback.
    pub async fn skep(program: &Path, managers: usize) -> anyhow::Result<Cluster> {
        let (cluster, target) = start_skep(program, managers, Via::Leader).await?;
        Ok(Cluster { target, started: Started::Skep(cluster) })
    }

    /// Stock managers.
    pub async fn docker(managers: u8) -> anyhow::Result<Cluster> {
        let (hosts, target) = start_docker(managers, Via::Leader).await?;
        Ok(Cluster { target, started: Started::Docker(hosts) })
    }

    /// One that runs already.
    pub fn given(target: Target) -> Cluster {
        Cluster { target, started: Started::Nothing }
    }

    /// Its control sockets and processes; the leader first.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Ends what was started.
    pub async fn stop(self) -> anyhow::Result<()> {
        if let Started::Docker(hosts) = self.started {
            tokio::task::spawn_blocking(|| hosts.stop()).await??;
        }
        Ok(())
    }
}
