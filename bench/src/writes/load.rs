//! One measurement: a number of writers that each create an object, wait for the answer, and create the next.

use std::{
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::Rng as _;
use serde::Serialize;
use tonic::Status;

use crate::{
    manager::{Client, Kind, Manager},
    process::{cpu_time, cpu_time_of_all},
    statistics::quantile,
    target::Target,
};

/// Objects that are removed at the same time after a measurement.
const REMOVERS: usize = 64;

/// A load on one target.
pub struct Load<'a> {
    /// The target.
    pub target: &'a Target,
    /// Its managers, used in turn by the writers.
    pub managers: &'a [Manager],
    /// What is created.
    pub kind: Kind,
    /// How large each is.
    pub payload_bytes: usize,
}

/// What one measurement gave.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The target's name.
    pub target: String,
    /// Concurrent writers.
    pub writers: usize,
    /// Objects that were created.
    pub creates: usize,
    /// From the first call to the last answer.
    pub elapsed_seconds: f64,
    /// Half of the creates took no longer.
    pub p50_ms: f64,
    /// 99 of 100 creates took no longer.
    pub p99_ms: f64,
    /// CPU time of all managers for one create; nothing without their processes.
    pub manager_cpu_us: Option<f64>,
    /// CPU time of this program for one create.
    pub driver_cpu_us: f64,
}

impl Measured {
    /// Creates per second.
    pub fn per_second(&self) -> f64 {
        self.creates as f64 / self.elapsed_seconds
    }
}

impl Load<'_> {
    /// Writes for `window` and removes what was created. A create that fails ends the measurement: under a load that
    /// a cluster cannot take, its rate means nothing.
    pub async fn run(&self, writers: usize, window: Duration) -> anyhow::Result<Measured> {
        let run: Arc<str> = format!("bench-{:08x}", rand::rng().random::<u32>()).into();
        let data: Bytes = vec![b'x'; self.payload_bytes].into();
        let managers_before = cpu_time_of_all(&self.target.pids)?;
        let own_before = cpu_time(process::id())?;
        let start = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|number| {
                let writer = Writer {
                    client: self.client(number),
                    kind: self.kind,
                    name: format!("{run}-{number}"),
                    data: data.clone(),
                    deadline: start + window,
                };
                tokio::spawn(writer.write())
            })
            .collect();
        let mut created = Vec::new();
        for task in tasks {
            created.extend(task.await?.context("a create failed")?);
        }
        let elapsed = start.elapsed();
        let own = cpu_time(process::id())?.saturating_sub(own_before);
        let managers = cpu_time_of_all(&self.target.pids)?.saturating_sub(managers_before);

        let mut latencies_ms: Vec<f64> =
            created.iter().map(|c| c.took.as_secs_f64() * 1e3).collect();
        latencies_ms.sort_by(f64::total_cmp);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / created.len() as f64;
        let measured = Measured {
            target: self.target.name.clone(),
            writers,
            creates: created.len(),
            elapsed_seconds: elapsed.as_secs_f64(),
            p50_ms: quantile(&latencies_ms, 0.5).context("nothing was created")?,
            p99_ms: quantile(&latencies_ms, 0.99).context("nothing was created")?,
            manager_cpu_us: (!self.target.pids.is_empty()).then(|| each(managers)),
            driver_cpu_us: each(own),
        };
        self.remove(created).await?;
        Ok(measured)
    }

    fn client(&self, number: usize) -> Client {
        let manager = &self.managers[number % self.managers.len()];
        manager.client(number / self.managers.len())
    }

    async fn remove(&self, created: Vec<Created>) -> anyhow::Result<()> {
        let removals = created.into_iter().enumerate().map(|(number, created)| {
            let mut client = self.client(number);
            async move { client.remove(self.kind, created.id).await }
        });
        let removed = stream::iter(removals).buffer_unordered(REMOVERS).try_collect::<()>();
        removed.await.context("cannot remove what was created")
    }
}

struct Created {
    id: String,
    took: Duration,
}

struct Writer {
    client: Client,
    kind: Kind,
    name: String,
    data: Bytes,
    deadline: Instant,
}

impl Writer {
    async fn write(mut self) -> Result<Vec<Created>, Status> {
        let mut created = Vec::new();
        loop {
            let start = Instant::now();
            if start >= self.deadline {
                return Ok(created);
            }
            let name = format!("{}-{}", self.name, created.len());
            let id = self.client.create(self.kind, name, self.data.clone()).await?;
            created.push(Created { id, took: start.elapsed() });
        }
    }
}
