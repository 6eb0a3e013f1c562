//! Linearizable reads: one question to the leader for all reads that wait, and the wait until its answer is applied.
//!
//! A read may only use an answer that was asked for after the read came: reads that come while a question is under
//! way wait for the next one.

use std::collections::BTreeMap;

use raft::eraftpb::{Entry, MessageType};

use super::{Answer, Core, Event, RequestId};
use crate::ReadError;

/// Reads that wait at most; far above what asks for barriers.
const WAITING_MAX: usize = 65_536;

/// A question without an answer is asked again after so many ticks: it is lost when leadership changes, or when the
/// leader has not committed anything in its term yet.
const ASK_AGAIN_TICKS: u64 = 2;

/// A read that has no answer after so many election timeouts fails: the group has probably lost its quorum.
const GIVE_UP_ELECTIONS: u64 = 2;

#[derive(Clone, Copy, Debug)]
struct Read {
    request: RequestId,
    since_tick: u64,
}

#[derive(Debug)]
struct Question {
    name: u64,
    asked_tick: u64,
    reads: Vec<Read>,
}

/// See the module.
#[derive(Debug)]
pub struct Reads {
    waiting: Vec<Read>,
    question: Option<Question>,
    /// By the index that has to be applied first.
    confirmed: BTreeMap<u64, Vec<Read>>,
    next_name: u64,
}

impl Reads {
    /// `first_name` is random, so that an answer to a question of an earlier life is not taken for one of this.
    pub fn new(first_name: u64) -> Self {
        Reads {
            waiting: Vec::new(),
            question: None,
            confirmed: BTreeMap::new(),
            next_name: first_name,
        }
    }
}

impl Core {
    /// Asks for a read barrier.
    pub fn read(&mut self, request: RequestId) {
        if self.reads.waiting.len() >= WAITING_MAX {
            self.out.events.push(Event::Answer(request, Answer::Read(Err(ReadError::Busy))));
            return;
        }
        self.reads.waiting.push(Read { request, since_tick: self.ticks });
    }

    pub(super) fn begin_read(&mut self) {
        if self.reads.question.is_some() || self.reads.waiting.is_empty() {
            return;
        }
        let reads = std::mem::take(&mut self.reads.waiting);
        self.ask(reads);
    }

    fn ask(&mut self, reads: Vec<Read>) {
        let name = self.reads.next_name;
        self.reads.next_name = name.wrapping_add(1);
        self.reads.question = Some(Question { name, asked_tick: self.ticks, reads });
        let entry = Entry { data: self.read_name(name).into(), ..Entry::default() };
        let mut message = Core::message(MessageType::MsgReadIndex);
        message.set_entries(vec![entry].into());
        // Not from this member by name: raft answers an unnamed asker directly, and names it when it forwards.
        if let Err(error) = self.raw.raft.step(message) {
            tracing::debug!("raft did not take a read: {error}");
        }
        self.settle();
    }

    /// A name that no other member uses.
    fn read_name(&self, name: u64) -> Vec<u8> {
        [self.own.0.to_be_bytes(), name.to_be_bytes()].concat()
    }

    pub(super) fn read_confirmed(&mut self, name: &[u8], index: u64) {
        let Some(question) = self.reads.question.take() else { return };
        if self.read_name(question.name) != name {
            self.reads.question = Some(question);
            return;
        }
        self.reads.confirmed.entry(index).or_default().extend(question.reads);
        self.reads_applied(self.raw.raft.raft_log.applied);
    }

    pub(super) fn reads_applied(&mut self, applied: u64) {
        while let Some(first) = self.reads.confirmed.first_entry() {
            if *first.key() > applied {
                return;
            }
            for read in first.remove() {
                let answer = Answer::Read(Ok(applied));
                self.out.events.push(Event::Answer(read.request, answer));
            }
        }
    }

    pub(super) fn tick_reads(&mut self) {
        let give_up = GIVE_UP_ELECTIONS * u64::from(self.config.timing.election_ticks);
        let now = self.ticks;
        let mut expired = Vec::new();
        let mut keep = |read: &Read| {
            let fresh = now - read.since_tick <= give_up;
            if !fresh {
                expired.push(read.request);
            }
            fresh
        };
        self.reads.waiting.retain(&mut keep);
        self.reads.confirmed.retain(|_, reads| {
            reads.retain(&mut keep);
            !reads.is_empty()
        });
        if let Some(question) = &mut self.reads.question {
            question.reads.retain(&mut keep);
        }
        for request in expired {
            let answer = Answer::Read(Err(ReadError::NoLeader));
            self.out.events.push(Event::Answer(request, answer));
        }
        let stale = |question: &mut Question| now - question.asked_tick >= ASK_AGAIN_TICKS;
        if let Some(mut question) = self.reads.question.take_if(stale) {
            question.reads.append(&mut self.reads.waiting);
            if !question.reads.is_empty() {
                self.ask(question.reads);
            }
        }
    }
}
