//! Several cores over a network and disks that the test owns: nothing moves unless the test says so, and the same
//! test is the same history each time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{MemStore, Recorder};
use crate::{
    Batch, Config, LogStore as _, Membership, ProbeError, RaftId, SnapshotMeta, Start, StartError,
    StateMachine as _, Status, StopReason, Ticket, Timing,
    core::{Answer, Core, Envelope, Event, Output, Persist, RequestId, prepare},
    door::{self, Verdict},
    wire,
};

/// One member.
pub struct Member {
    pub core: Core,
    pub store: MemStore,
    pub recorder: Recorder,
    /// Writes that the disk has not finished; empty unless `slow_disk`.
    pub writes: VecDeque<Persist>,
    pub slow_disk: bool,
    pub answers: BTreeMap<u64, Answer>,
    pub ended: Option<StopReason>,
    pub config: Config,
}

/// The group. Members are known by their place: 0, 1, 2…
#[derive(Default)]
pub struct Group {
    pub members: Vec<Member>,
    pub wire: VecDeque<(usize, Envelope)>,
    /// Pairs (from, to) between which messages are lost.
    pub cut: BTreeSet<(usize, usize)>,
    /// Addresses that do not answer the dial-back.
    pub unhealthy: BTreeSet<String>,
    last_request: u64,
    last_ticket: u64,
}

pub fn addr(place: usize) -> String {
    format!("10.0.0.{place}:2377")
}

impl Group {
    /// A group of so many members, the first one leading.
    pub fn new(size: usize) -> Self {
        Group::with(size, |_| {})
    }

    /// … with other settings.
    pub fn with(size: usize, tune: impl Fn(&mut Config)) -> Self {
        let mut group = Group::default();
        let mut config = Config::new(Timing::fast(), 7);
        tune(&mut config);
        let start = Start::Bootstrap { node_id: "node0".to_owned(), addr: addr(0) };
        let founder = Member::start(config, start, MemStore::default()).unwrap();
        group.members.push(founder);
        group.run();
        for _ in 1..size {
            group.grow(&tune);
        }
        group
    }

    /// Joins one more member through the leader.
    pub fn grow(&mut self, tune: &impl Fn(&mut Config)) {
        let place = self.members.len();
        let leader = self.leader();
        let answer = self.ask(leader, |core, request| core.join(request, node(place), addr(place)));
        let Answer::Join(Ok(joined)) = answer else { panic!("no join: {answer:?}") };
        let own = crate::Member {
            raft_id: joined.raft_id,
            node_id: format!("node{place}"),
            addr: addr(place),
        };
        let mut config = Config::new(Timing::fast(), 100 + place as u64);
        tune(&mut config);
        let start = Start::Join { own, members: joined.members };
        self.members.push(Member::start(config, start, MemStore::default()).unwrap());
        self.run();
        self.tick(2);
    }

    pub fn id(&self, place: usize) -> RaftId {
        self.members[place].core.own()
    }

    pub fn status(&self, place: usize) -> Status {
        self.members[place].core.status()
    }

    pub fn place(&self, raft_id: RaftId) -> Option<usize> {
        self.members.iter().position(|member| member.core.own() == raft_id)
    }

    /// The one member that may act as leader.
    pub fn leader(&self) -> usize {
        self.find_leader().expect("there is no leader")
    }

    pub fn find_leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            self.members[*place].ended.is_none() && self.members[*place].core.epoch().is_some()
        };
        let highest = |place: &usize| self.status(*place).term;
        (0..self.members.len()).filter(leads).max_by_key(highest)
    }

    /// Loses every message from and to a member.
    pub fn isolate(&mut self, place: usize) {
        for other in 0..self.members.len() {
            self.cut.insert((place, other));
            self.cut.insert((other, place));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Proposes texts at a member, and lets everything settle. Gives the tickets.
    pub fn propose(&mut self, place: usize, texts: &[&str]) -> Vec<Ticket> {
        let tickets = self.propose_only(place, texts);
        self.run();
        tickets
    }

    /// Proposes without letting anything move.
    pub fn propose_only(&mut self, place: usize, texts: &[&str]) -> Vec<Ticket> {
        let tickets: Vec<_> = texts.iter().map(|_| self.ticket()).collect();
        let datas = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.members[place].core.propose(tickets.iter().copied().zip(datas));
        tickets
    }

    pub fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Makes a request; gives its name.
    pub fn request(&mut self, place: usize, ask: impl FnOnce(&mut Core, RequestId)) -> u64 {
        self.last_request += 1;
        ask(&mut self.members[place].core, RequestId(self.last_request));
        self.last_request
    }

    /// Makes a request and waits for its answer, ticking.
    pub fn ask(&mut self, place: usize, ask: impl FnOnce(&mut Core, RequestId)) -> Answer {
        let request = self.request(place, ask);
        for _ in 0..200 {
            self.run();
            if let Some(answer) = self.members[place].answers.remove(&request) {
                return answer;
            }
            self.tick(1);
        }
        panic!("request {request} was never answered");
    }

    /// So many ticks for everybody, with everything settled after each.
    pub fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for place in 0..self.members.len() {
                self.members[place].core.tick();
            }
            self.run();
        }
    }

    /// Ticks until it holds.
    pub fn tick_until(&mut self, what: &str, mut holds: impl FnMut(&Group) -> bool) {
        for _ in 0..300 {
            if holds(self) {
                return;
            }
            self.tick(1);
        }
        panic!("never came true: {what}");
    }

    /// Moves messages and outputs until nothing moves any more.
    pub fn run(&mut self) {
        loop {
            let mut moved = false;
            for place in 0..self.members.len() {
                moved |= self.pump(place);
            }
            while let Some((from, envelope)) = self.wire.pop_front() {
                self.deliver(from, envelope);
                moved = true;
            }
            if !moved && !self.tell_commits() {
                return;
            }
        }
    }

    /// Lets leaders tell what has committed; says whether any had to.
    fn tell_commits(&mut self) -> bool {
        let untold = self.members.iter_mut().filter(|member| member.core.commits_untold());
        untold.map(|member| member.core.tell_commits()).count() > 0
    }

    /// Does what one member's core says.
    pub fn pump(&mut self, place: usize) -> bool {
        let mut moved = false;
        loop {
            let output = self.members[place].core.ready();
            if output.is_empty() {
                return moved;
            }
            moved = true;
            let unhealthy = self.unhealthy.clone();
            let sent = self.members[place].perform(output, &unhealthy);
            self.wire.extend(sent.into_iter().map(|envelope| (place, envelope)));
        }
    }

    /// Hands one message over, unless its way is cut.
    pub fn deliver(&mut self, from: usize, envelope: Envelope) {
        let Some(to) = self.place(envelope.to.raft_id) else { return };
        let lost = self.cut.contains(&(from, to)) || self.members[to].ended.is_some();
        let snapshot = envelope.message.r#type() == skep_proto::raftpb::MessageType::MsgSnap;
        if !lost {
            let own = self.members[to].core.own();
            match door::check(envelope.message, own) {
                Ok(Verdict::Take(message)) => self.members[to].core.step(message),
                Ok(Verdict::Drop) => {}
                Err(why) => panic!("a member's own message was refused: {why}"),
            }
        }
        if snapshot {
            self.members[from].core.report_snapshot(envelope.to.raft_id, !lost);
        }
    }

    /// The power goes: writes that were not finished are lost. The member comes back from its disk.
    pub fn restart(&mut self, place: usize, start: Start) {
        self.restart_quietly(place, start);
        self.run();
    }

    /// … without letting anything else move.
    pub fn restart_quietly(&mut self, place: usize, start: Start) {
        let (store, config) = {
            let member = &self.members[place];
            (member.store.clone(), member.config.clone())
        };
        let gone = self.id(place);
        for (from, envelope) in std::mem::take(&mut self.wire) {
            if envelope.to.raft_id == gone {
                // The transport notices. (What is no snapshot is not concerned by this report.)
                self.members[from].core.report_snapshot(gone, false);
            } else if from != place {
                self.wire.push_back((from, envelope));
            }
        }
        self.members[place] = Member::start(config, start, store).unwrap();
    }
}

fn node(place: usize) -> String {
    format!("node{place}")
}

impl Member {
    pub fn start(config: Config, start: Start, mut store: MemStore) -> Result<Self, StartError> {
        let recorder = Recorder::default();
        let mut machine = recorder.clone();
        let restored =
            prepare(&config, start, &mut store, |index, data| machine.restore(index, data))?;
        let core = Core::new(config.clone(), restored)?;
        Ok(Member {
            core,
            store,
            recorder,
            writes: VecDeque::new(),
            slow_disk: false,
            answers: BTreeMap::new(),
            ended: None,
            config,
        })
    }

    fn perform(&mut self, output: Output, unhealthy: &BTreeSet<String>) -> Vec<Envelope> {
        let mut sent = output.send;
        for mut envelope in output.send_snapshot {
            let snapshot = self.store.read_snapshot().unwrap().expect("there is a snapshot");
            wire::attach_snapshot(&mut envelope.message, snapshot);
            sent.push(envelope);
        }
        for persist in output.persist {
            if self.slow_disk || !self.writes.is_empty() {
                self.writes.push_back(persist);
            } else {
                self.write(persist);
            }
        }
        for event in output.events {
            self.event(event, unhealthy);
        }
        sent
    }

    fn write(&mut self, persist: Persist) {
        self.store.append(&persist.batch).unwrap();
        self.core.persisted(persist.number);
    }

    /// The slow disk finishes so many writes.
    pub fn finish_writes(&mut self, count: usize) {
        for _ in 0..count {
            let Some(persist) = self.writes.pop_front() else { return };
            self.write(persist);
        }
    }

    /// The slow disk finishes everything in one go, and says so once.
    pub fn finish_all_writes(&mut self) {
        let writes = std::mem::take(&mut self.writes);
        let Some(last) = writes.back().map(|write| write.number) else { return };
        let batches: Vec<Batch> = writes.into_iter().map(|write| write.batch).collect();
        for batch in &batches {
            self.store.append(batch).unwrap();
        }
        self.core.persisted(last);
    }

    fn event(&mut self, event: Event, unhealthy: &BTreeSet<String>) {
        match event {
            Event::Apply(entries) => self.recorder.apply(entries).unwrap(),
            Event::Refused(ticket, why) => self.recorder.refused(ticket, why),
            Event::Leading(epoch, index) => self.recorder.leading(epoch, index),
            Event::Following => self.recorder.following(),
            Event::Restore { index, data } => {
                let membership = self.recorder.restore(index, data).unwrap();
                self.core.restored(membership);
            }
            Event::TakeSnapshot { meta, membership } => self.take_snapshot(meta, &membership),
            Event::Compact(through) => self.store.compact(through).unwrap(),
            Event::Probe { request, addr } => {
                let error = || ProbeError("connection refused".to_owned());
                let outcome = if unhealthy.contains(&addr) { Err(error()) } else { Ok(()) };
                self.core.probed(request, outcome);
            }
            Event::Answer(request, answer) => drop(self.answers.insert(request.0, answer)),
            Event::Ended(reason) => self.ended = Some(reason),
            Event::EpochEnded(_) | Event::Members(_) => {}
        }
    }

    fn take_snapshot(&mut self, meta: SnapshotMeta, membership: &Membership) {
        let contents = self.recorder.snapshot()(membership).unwrap();
        let staged = self.store.snapshot_stage().stage(meta.clone(), contents).unwrap();
        if self.store.save_snapshot(staged).unwrap() {
            self.core.snapshot_saved(meta, self.store.sizes().snapshot_bytes);
        } else {
            self.core.snapshot_failed();
        }
    }
}
