//! What a log writer does, in virtual time.

use rand::Rng;

use super::event::Happening;
use super::invariants::Violation;
use super::node::Work;
use super::program::Program;
use super::sabotage::Sabotage;
use super::world::World;
use crate::node::log_writer::merge;
use crate::storage::sim_disk::Faults;
use crate::{LogStore as _, StorageError, wire};

/// A write to the disk, in milliseconds.
const WRITE_MS: std::ops::Range<u64> = 1..5;
/// A write to a disk that has stalled.
const STALLED_WRITE_MS: std::ops::Range<u64> = 100..1_500;
/// A snapshot's way, besides a message's.
const SNAPSHOT_MS: std::ops::Range<u64> = 5..60;

impl<P: Program> World<P> {
    /// Lets the log writer begin, if it is idle and there is work.
    pub(super) fn start_writing(&mut self, place: usize) {
        let sabotage = self.sabotage();
        let stalled = self.places[place].stalled_until_ms > self.queue.now_ms;
        let Some(member) = self.places[place].running_mut() else { return };
        if member.writing || member.queue.is_empty() {
            return;
        }
        member.writing = true;
        let life = member.life;
        let early = sabotage == Some(Sabotage::AnswerBeforePersist);
        let range = if stalled || early { STALLED_WRITE_MS } else { WRITE_MS };
        let delay = self.rng.random_range(range);
        self.queue.after(delay, Happening::Written { place, life });
    }

    pub(super) fn written(&mut self, place: usize, life: u32) -> Result<(), Violation> {
        let Some(member) = self.in_life(place, life) else { return Ok(()) };
        member.writing = false;
        let outcome = self.write_next(place);
        if let Err(error) = outcome {
            return self.storage_failed(place, &error);
        }
        self.round(place)
    }

    /// The log writer's next piece of work, batches that follow one another as one.
    pub(super) fn write_next(&mut self, place: usize) -> Result<(), StorageError> {
        let early = self.sabotage() == Some(Sabotage::AnswerBeforePersist);
        let Some(member) = self.places[place].running_mut() else { return Ok(()) };
        let life = member.life;
        match member.queue.pop_front() {
            None => {}
            Some(Work::Append { mut number, mut batch }) => {
                while let Some(Work::Append { .. }) = member.queue.front() {
                    let Some(Work::Append { number: later, batch: next }) =
                        member.queue.pop_front()
                    else {
                        break;
                    };
                    number = later;
                    merge(&mut batch, next);
                }
                member.log.append(&batch)?;
                if !early {
                    member.core.persisted(number);
                }
            }
            Some(Work::SaveSnapshot(staged)) => {
                let meta = staged.meta.clone();
                match member.log.save_snapshot(staged)? {
                    true => {
                        let bytes = member.log.sizes().snapshot_bytes;
                        member.core.snapshot_saved(meta, bytes);
                    }
                    false => member.core.snapshot_failed(),
                }
            }
            Some(Work::Compact(through)) => member.log.compact(through)?,
            Some(Work::ReadSnapshot { to, mut message }) => match member.log.read_snapshot()? {
                Some(snapshot) => {
                    wire::attach_snapshot(&mut message, snapshot);
                    let extra_ms = self.rng.random_range(SNAPSHOT_MS);
                    self.send(place, life, &to.addr, *message, extra_ms);
                }
                None => {
                    member.core.report_snapshot(to.raft_id, false);
                    member.core.force_snapshot();
                }
            },
        }
        Ok(())
    }

    /// The log of a member failed: it stops, and starts again later.
    pub(super) fn storage_failed(
        &mut self,
        place: usize,
        error: &StorageError,
    ) -> Result<(), Violation> {
        self.note(format_args!("place {place} stops: {error}"));
        if !(self.places[place].disk_fails && matches!(error, StorageError::Io { .. })) {
            let detail = format!("place {place}, whose disk is well: {error}");
            return Err(Violation::new("storage", detail));
        }
        self.kill(place);
        let pause = self.rng.random_range(100..2_000);
        self.queue.after(pause, Happening::Start { place });
        Ok(())
    }

    /// Work of the log writer that the power cut finds under way.
    pub(super) fn write_until_cut(&mut self, place: usize) {
        if self.places[place].running().is_some_and(|member| member.writing)
            && self.rng.random_bool(0.6)
        {
            let disk = self.places[place].disk.clone();
            let power_out_at = Some(disk.changes() + self.rng.random_range(0..12));
            disk.set_faults(Faults { power_out_at, ..self.healthy_disk() });
            // Whether it got done or not: nobody hears of it any more.
            let _ = self.write_next(place);
        }
    }
}
