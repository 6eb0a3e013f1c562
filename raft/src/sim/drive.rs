//! What the node's task does, event by event.

use bytes::Bytes;
use rand::Rng;

use super::event::Happening;
use super::invariants::Violation;
use super::node::{Asked, State, Work};
use super::program::{Program, ReadToken};
use super::sabotage::Sabotage;
use super::world::World;
use crate::core::{Answer, Core, Event, Output, RequestId};
use crate::{
    Committed, LogStore as _, Membership, ProbeError, Refusal, Role, SnapshotContents,
    SnapshotError, SnapshotMeta, StageError, StateMachine as _, StopReason, Ticket,
};

/// How long followers may go without word of a commit.
const TELL_COMMITS_MS: std::ops::Range<u64> = 1..10;

/// Encoding a snapshot.
const ENCODE_MS: std::ops::Range<u64> = 1..200;

impl<P: Program> World<P> {
    pub(super) fn tick(&mut self, place: usize, life: u32) -> Result<(), Violation> {
        let tick_ms = self.places[place].tick_ms;
        let Some(member) = self.in_life(place, life) else { return Ok(()) };
        member.core.tick();
        self.queue.after(tick_ms, Happening::Tick { place, life });
        self.round(place)
    }

    /// The member at a place, if it is still in this life.
    pub(super) fn in_life(
        &mut self,
        place: usize,
        life: u32,
    ) -> Option<&mut super::node::Running<P::Machine>> {
        self.places[place].running_mut().filter(|member| member.life == life)
    }

    pub(super) fn encoded(
        &mut self,
        place: usize,
        life: u32,
        meta: SnapshotMeta,
        contents: Result<SnapshotContents, SnapshotError>,
    ) -> Result<(), Violation> {
        let Some(member) = self.in_life(place, life) else { return Ok(()) };
        let stage = member.log.snapshot_stage();
        let staged = contents.map_err(StageError::from);
        match staged.and_then(|contents| stage.stage(meta, contents)) {
            Ok(staged) => member.queue.push_back(Work::SaveSnapshot(staged)),
            Err(StageError::Contents(_)) => member.core.snapshot_failed(),
            Err(StageError::Storage(error)) => return self.storage_failed(place, &error),
        }
        self.round(place)
    }

    pub(super) fn probed(
        &mut self,
        place: usize,
        life: u32,
        request: RequestId,
        address: &str,
    ) -> Result<(), Violation> {
        let now_ms = self.queue.now_ms;
        let answers = self.place_at(address).is_some_and(|to| {
            !matches!(self.places[to].state, State::Empty | State::Down)
                && self.network.open(place, to, now_ms)
                && self.network.open(to, place, now_ms)
        });
        let Some(member) = self.in_life(place, life) else { return Ok(()) };
        let outcome =
            if answers { Ok(()) } else { Err(ProbeError("simulated: no answer".to_owned())) };
        member.core.probed(request, outcome);
        self.round(place)
    }

    /// Asks a member for something that it answers later.
    pub(super) fn ask(
        &mut self,
        place: usize,
        asked: Asked,
        ask: impl FnOnce(&mut Core, RequestId),
    ) {
        let Some(member) = self.places[place].running_mut() else { return };
        member.last_request += 1;
        let request = RequestId(member.last_request);
        member.requests.insert(request, asked);
        ask(&mut member.core, request);
    }

    pub(super) fn read(&mut self, place: usize, token: ReadToken) {
        if self.sabotage() == Some(Sabotage::StaleRead) {
            let now_ms = self.queue.now_ms;
            if let Some(member) = self.places[place].running_mut() {
                self.program.read_done(token, Ok(0), &mut member.machine, now_ms);
            }
            return;
        }
        self.ask(place, Asked::Read(token), |core, request| core.read(request));
    }

    /// One round of a member's work: proposals in, outputs out, until there is nothing to do.
    pub(super) fn round(&mut self, place: usize) -> Result<(), Violation> {
        let sabotage = self.sabotage();
        let Some(member) = self.places[place].running_mut() else { return Ok(()) };
        let drained = member.proposals.drain();
        let proposals: Vec<(Ticket, Bytes)> =
            drained.proposals.into_iter().map(|p| (p.ticket, p.data)).collect();
        if sabotage == Some(Sabotage::SkipEpochRefusal) {
            member.kept.extend(proposals.iter().cloned());
        }
        if !proposals.is_empty() {
            member.core.propose(proposals);
        }
        if drained.broken {
            member.core.break_epoch();
        }
        loop {
            let Some(member) = self.places[place].running_mut() else { return Ok(()) };
            let output = member.core.ready();
            if output.is_empty() {
                break;
            }
            self.perform(place, output)?;
        }
        self.observe(place)?;
        self.tell_commits_later(place);
        self.start_writing(place);
        Ok(())
    }

    fn tell_commits_later(&mut self, place: usize) {
        let Some(member) = self.places[place].running_mut() else { return };
        if member.telling_commits || !member.core.commits_untold() {
            return;
        }
        member.telling_commits = true;
        let life = member.life;
        let delay = self.rng.random_range(TELL_COMMITS_MS);
        self.queue.after(delay, Happening::TellCommits { place, life });
    }

    pub(super) fn tell_commits(&mut self, place: usize, life: u32) -> Result<(), Violation> {
        let Some(member) = self.in_life(place, life) else { return Ok(()) };
        member.telling_commits = false;
        member.core.tell_commits();
        self.round(place)
    }

    /// Looks at a member after a round.
    fn observe(&mut self, place: usize) -> Result<(), Violation> {
        let Some(member) = self.places[place].running() else { return Ok(()) };
        let status = member.core.status();
        if status.role == Role::Leader {
            self.invariants.leads(status.own, status.term, &member.view)?;
        }
        if status.applied_index >= member.restoring {
            self.invariants.membership(
                status.own,
                status.applied_index,
                member.core.membership(),
            )?;
        }
        Ok(())
    }

    fn perform(&mut self, place: usize, output: Output) -> Result<(), Violation> {
        let Some(life) = self.places[place].running().map(|member| member.life) else {
            return Ok(());
        };
        for envelope in output.send {
            self.send(place, life, &envelope.to.addr, envelope.message, 0);
        }
        for envelope in output.send_snapshot {
            let work = Work::ReadSnapshot { to: envelope.to, message: Box::new(envelope.message) };
            if let Some(member) = self.in_life(place, life) {
                member.queue.push_back(work);
            }
        }
        for persist in output.persist {
            let early = self.sabotage() == Some(Sabotage::AnswerBeforePersist);
            let Some(member) = self.places[place].running_mut() else { return Ok(()) };
            self.invariants.writes(&mut member.view, &persist.batch)?;
            member.queue.push_back(Work::Append { number: persist.number, batch: persist.batch });
            if early {
                member.core.persisted(persist.number);
            }
        }
        for event in output.events {
            if self.in_life(place, life).is_none() {
                break;
            }
            self.event(place, life, event)?;
        }
        Ok(())
    }

    fn event(&mut self, place: usize, life: u32, event: Event) -> Result<(), Violation> {
        let sabotage = self.sabotage();
        let Some(member) = self.places[place].running_mut() else { return Ok(()) };
        match event {
            Event::Apply(entries) => return self.apply(place, entries),
            Event::Refused(ticket, why) => {
                let skip = sabotage == Some(Sabotage::SkipEpochRefusal);
                if skip && why == Refusal::StaleEpoch && member.kept.contains_key(&ticket) {
                    member.again.push(ticket);
                } else {
                    self.invariants.refuses(life, ticket)?;
                    member.machine.refused(ticket, why);
                }
            }
            Event::EpochEnded(why) => return self.close_queue(place, why),
            Event::Leading(epoch, commit_index) => {
                member.leading = true;
                member.proposals.open(epoch);
                member.machine.leading(epoch, commit_index);
                let again: Vec<_> = std::mem::take(&mut member.again);
                let kept: Vec<_> =
                    again.iter().filter_map(|t| Some((*t, member.kept.get(t)?.clone()))).collect();
                if !kept.is_empty() {
                    member.core.propose(kept);
                }
                self.note(format_args!("place {place} leads from {commit_index}"));
            }
            Event::Following => return self.following(place, Refusal::NotLeader),
            Event::Restore { index, data } => {
                member.restoring = index;
                member.replica.restore(index);
                let restored = member.machine.restore(index, data);
                let membership = restored.map_err(|error| {
                    let detail = format!("place {place} cannot restore {index}: {error:?}");
                    Violation::new("state_machine_safety", detail)
                })?;
                let shared = std::sync::Arc::new(membership.clone());
                self.invariants.membership(member.core.own(), index, &shared)?;
                member.core.restored(membership);
                self.note(format_args!("place {place} restores {index}"));
            }
            Event::TakeSnapshot { meta, membership } => {
                self.invariants.membership(member.core.own(), meta.index, &membership)?;
                let write = member.machine.snapshot();
                let contents = write(&spoiled(sabotage, &membership));
                let mut meta = meta;
                if sabotage == Some(Sabotage::SnapshotAhead) && meta.index < member.view.last() {
                    meta.index += 1;
                }
                let delay = self.rng.random_range(ENCODE_MS);
                self.queue.after(delay, Happening::Encoded { place, life, meta, contents });
            }
            Event::Compact(through) => member.queue.push_back(Work::Compact(through)),
            Event::Members(_) => {}
            Event::Probe { request, addr } => {
                let delay = self.rng.random_range(2..50);
                self.queue.after(delay, Happening::Probed { place, life, request, addr });
            }
            Event::Answer(request, answer) => self.answer(place, request, answer),
            Event::Ended(reason) => return self.ended(place, &reason),
        }
        Ok(())
    }

    fn answer(&mut self, place: usize, request: RequestId, answer: Answer) {
        let now_ms = self.queue.now_ms;
        let Some(member) = self.places[place].running_mut() else { return };
        let Some(asked) = member.requests.remove(&request) else { return };
        match (asked, answer) {
            (Asked::Read(token), Answer::Read(outcome)) => {
                self.program.read_done(token, outcome, &mut member.machine, now_ms);
            }
            (asked, answer) => self.answered(place, asked, &answer),
        }
    }

    fn apply(&mut self, place: usize, entries: Vec<Committed>) -> Result<(), Violation> {
        let sabotage = self.sabotage();
        let Some(member) = self.places[place].running_mut() else { return Ok(()) };
        self.invariants.applies(member.life, &mut member.replica, &entries)?;
        let (first, last) = (entries[0].index, entries[entries.len() - 1].index);
        let twice = (sabotage == Some(Sabotage::ApplyTwice) && self.rng.random_range(0..50) == 0)
            .then(|| entries.clone());
        member.machine.apply(entries).map_err(|error| {
            let detail = format!("place {place} cannot apply {first}: {error:?}");
            Violation::new("state_machine_safety", detail)
        })?;
        self.note(format_args!("place {place} applies {first} to {last}"));
        match twice {
            Some(entries) => self.apply(place, entries),
            None => Ok(()),
        }
    }

    fn close_queue(&mut self, place: usize, why: Refusal) -> Result<(), Violation> {
        let sabotage = self.sabotage();
        let Some(member) = self.places[place].running_mut() else { return Ok(()) };
        for proposal in member.proposals.close(why) {
            if sabotage == Some(Sabotage::SkipEpochRefusal) {
                member.again.push(proposal.ticket);
                member.kept.insert(proposal.ticket, proposal.data);
                continue;
            }
            self.invariants.refuses(member.life, proposal.ticket)?;
            member.machine.refused(proposal.ticket, why);
        }
        Ok(())
    }

    pub(super) fn following(&mut self, place: usize, why: Refusal) -> Result<(), Violation> {
        self.close_queue(place, why)?;
        if let Some(member) = self.places[place].running_mut()
            && std::mem::take(&mut member.leading)
        {
            member.again.clear();
            member.machine.following();
        }
        Ok(())
    }

    fn ended(&mut self, place: usize, reason: &StopReason) -> Result<(), Violation> {
        self.note(format_args!("place {place} ends: {reason}"));
        match reason {
            StopReason::Removed => {
                self.end(place);
                self.places[place].raft_id = None;
                self.places[place].state = State::Empty;
                Ok(())
            }
            other => Err(Violation::new("faults_of_the_core", format!("place {place}: {other}"))),
        }
    }
}

/// The membership that a snapshot is given, which a bug may have emptied.
fn spoiled(sabotage: Option<Sabotage>, membership: &Membership) -> Membership {
    match sabotage {
        Some(Sabotage::ForgetRemoved) => Membership::new(membership.members().cloned(), []),
        Some(Sabotage::SnapshotWithoutMembership) => Membership::new([], membership.removed()),
        _ => membership.clone(),
    }
}
