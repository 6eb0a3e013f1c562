//! What the dispatcher counts and measures, over all leaderships of this manager.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Counters that the dispatcher keeps. Cheap to clone; clones are the same counters.
#[derive(Clone, Debug)]
pub struct DispatcherMetrics {
    /// How long tasks took from their creation until they were reported running, in seconds.
    scheduling_delay: Histogram,
    /// Messages with assignments that nodes were sent.
    pub(super) assignment_messages: Counter,
    /// Changes in them.
    pub(super) assignment_changes: Counter,
    /// States of tasks that nodes reported.
    pub(super) statuses: Counter,
    /// Of these, written: several of one task are one write.
    pub(super) statuses_written: Counter,
}

impl Default for DispatcherMetrics {
    fn default() -> DispatcherMetrics {
        DispatcherMetrics {
            // From 10 ms to 164 s.
            scheduling_delay: Histogram::new(exponential_buckets(0.01, 2.0, 15)),
            assignment_messages: Counter::default(),
            assignment_changes: Counter::default(),
            statuses: Counter::default(),
            statuses_written: Counter::default(),
        }
    }
}

impl DispatcherMetrics {
    /// A task was reported running for the first time, if there is a delay.
    pub(super) fn started(&self, delay: Option<Duration>) {
        if let Some(delay) = delay {
            self.scheduling_delay.observe(delay.as_secs_f64());
        }
    }

    /// Has them served, under the names that stand in `docs/metrics.md`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "swarm_dispatcher_scheduling_delay_seconds",
            "Time from a task's creation until it was reported running",
            self.scheduling_delay.clone(),
        );
        let counters: [(&str, &str, &Counter); 4] = [
            (
                "skep_dispatcher_assignment_messages",
                "Messages with assignments that nodes were sent",
                &self.assignment_messages,
            ),
            (
                "skep_dispatcher_assignment_changes",
                "Changes in messages with assignments",
                &self.assignment_changes,
            ),
            ("skep_dispatcher_statuses", "States of tasks that nodes reported", &self.statuses),
            (
                "skep_dispatcher_statuses_written",
                "States of tasks that were written",
                &self.statuses_written,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
