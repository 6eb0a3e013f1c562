//! Clients that write all the time, and go on with another manager when one fails them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use skep_testkit::{
    skepd_process::SETTLE_LIMIT,
    wait::{self, NotInTime},
};
use tokio::task::JoinHandle;

use super::history::{Acknowledged, History};
use crate::manager::{Client, Kind, Manager};

/// Time between two writes of one writer: enough writes to see a pause of milliseconds, few enough to audit.
const WRITE_INTERVAL: Duration = Duration::from_millis(5);
/// A manager that does not answer for this long is given up for another. Longer than the pause that is looked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Running writers.
pub struct Writers {
    history: Arc<Mutex<History>>,
    stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts `count` writers, over the managers in turn. Their objects' names begin with `prefix`.
    pub fn start(managers: &[Manager], count: usize, prefix: &str) -> Writers {
        let history = Arc::new(Mutex::new(History::default()));
        let stopped = Arc::new(AtomicBool::new(false));
        let writer = |number: usize| Writer {
            clients: managers.iter().map(|m| m.client(0)).collect(),
            current: number % managers.len(),
            name: format!("{prefix}{number}"),
            history: Arc::clone(&history),
            stopped: Arc::clone(&stopped),
        };
        let tasks = (0..count).map(|number| tokio::spawn(writer(number).run())).collect();
        Writers { history, stopped, tasks }
    }

    /// Waits until `count` writes that began after `from` are acknowledged.
    pub async fn acknowledged_since(&self, from: Instant, count: usize) -> Result<(), NotInTime> {
        wait::until("writes to be acknowledged", SETTLE_LIMIT, async || {
            let history = locked(&self.history);
            let since = history.acknowledged.iter().rev().filter(|a| a.began >= from).count();
            if since >= count { Ok(()) } else { Err(format!("{since} of {count}")) }
        })
        .await
    }

    /// Stops the writers when each has its answer, and gives what they saw.
    pub async fn stop(self) -> anyhow::Result<History> {
        self.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await?;
        }
        Ok(std::mem::take(&mut *locked(&self.history)))
    }
}

struct Writer {
    clients: Vec<Client>,
    current: usize,
    name: String,
    history: Arc<Mutex<History>>,
    stopped: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self) {
        let data = Bytes::from_static(b"written while the leader goes");
        for number in 0u64.. {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("{}-{number}", self.name);
            let began = Instant::now();
            let create =
                self.clients[self.current].create(Kind::Config, name.clone(), data.clone());
            match tokio::time::timeout(ANSWER_LIMIT, create).await {
                Ok(Ok(_)) => {
                    let acknowledged = Acknowledged { name, began, answered: Instant::now() };
                    locked(&self.history).acknowledged.push(acknowledged);
                }
                Ok(Err(_)) | Err(_) => {
                    locked(&self.history).unknown.insert(name);
                    self.current = (self.current + 1) % self.clients.len();
                }
            }
            tokio::time::sleep(WRITE_INTERVAL).await;
        }
    }
}

fn locked(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
