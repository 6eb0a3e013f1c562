//! Scripts of one orderer: raft, the disk and the clock are played by hand.

use std::collections::BTreeMap;

use skep_raft::{Member, RaftId};

use super::*;
use crate::core::chain::Kind;
use crate::core::consenters::{Consenter, tests::consenter};
use crate::core::limits::Limits;
use crate::wire;

const LIMITS: Limits = Limits {
    messages_max: 2,
    preferred_bytes: 100,
    absolute_bytes: 300,
    timeout: Duration::from_millis(10),
    in_flight_max: 2,
    window_blocks: 4,
};

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn configuration(ids: &[u32]) -> Configuration {
    let consenters: BTreeMap<_, _> =
        ids.iter().map(|id| (id.to_string(), consenter(*id))).collect();
    Configuration { chain_id: "chain".to_owned(), limits: LIMITS, consenters }
}

fn members(ids: &[u32]) -> Membership {
    let member = |id: &u32| {
        let Consenter { id: name, addr } = consenter(*id);
        Member { raft_id: RaftId(u64::from(*id)), node_id: format!("{name}#7"), addr }
    };
    Membership::new(ids.iter().map(member), [])
}

fn submission(id: &str, payload_bytes: usize) -> Submission {
    let payload = vec![7; payload_bytes].into();
    let envelope = wire::Envelope { submitter: "a".into(), id: id.into(), payload };
    Submission::new(&envelope).unwrap()
}

/// An orderer with raft's log and a ledger. Waiters are words.
struct Script {
    orderer: Orderer<&'static str>,
    in_flight: Vec<Proposal>,
    index: u64,
    epoch: u64,
}

impl Script {
    /// A leader of one whose first block is durable.
    fn leader() -> Script {
        let orderer = Orderer::new(1, None, Some(configuration(&[1])));
        let mut script = Script { orderer, in_flight: Vec::new(), index: 0, epoch: 0 };
        script.orderer.members(members(&[1]));
        script.lead();
        script.commit();
        script.write();
        script
    }

    fn lead(&mut self) {
        self.epoch += 1;
        self.orderer.leading(Epoch(self.epoch));
        self.propose();
    }

    fn propose(&mut self) {
        self.in_flight.extend(self.orderer.take_proposals());
    }

    /// Raft commits the first entry that is on its way.
    fn commit(&mut self) -> Kind {
        let proposal = self.in_flight.remove(0);
        self.commit_entry(proposal.data, Some(proposal.ticket))
    }

    fn commit_entry(&mut self, data: Bytes, ticket: Option<Ticket>) -> Kind {
        self.index += 1;
        let kind = decode_proposal(data.clone()).unwrap().kind;
        self.orderer.apply(self.index, 1, data, ticket).unwrap();
        kind
    }

    /// The disk writes what there is.
    fn write(&mut self) {
        while let Some(Work::Write(blocks)) = self.orderer.work().unwrap() {
            self.orderer.wrote(at(0), blocks.last().unwrap().tip());
        }
        self.propose();
    }

    fn submit(&mut self, id: &'static str) -> Option<Refused> {
        self.submit_as(id, submission(id, 10))
    }

    fn submit_as(&mut self, waiter: &'static str, submission: Submission) -> Option<Refused> {
        let outcome = self.orderer.submit(at(0), None, submission, waiter);
        self.propose();
        outcome.err().map(|(_, _, why)| why)
    }

    fn answers(&mut self) -> Vec<(&'static str, Outcome)> {
        self.orderer.take_answers()
    }

    /// Envelopes of each block that is on its way.
    fn blocks(&self) -> Vec<usize> {
        let count = |p: &Proposal| decode_proposal(p.data.clone()).unwrap().data.len();
        self.in_flight.iter().map(count).collect()
    }
}

fn ordered(block: u64) -> Outcome {
    Outcome::Ordered { block, duplicate: false }
}

fn again(block: u64) -> Outcome {
    Outcome::Ordered { block, duplicate: true }
}

#[test]
fn a_founder_begins_the_chain_with_its_configuration() {
    let script = Script::leader();
    assert_eq!(script.orderer.state().tip().map(|tip| tip.header.number), Some(0));
    assert_eq!(script.orderer.state().configuration(), Some(&configuration(&[1])));
    assert_eq!(script.orderer.counts(), Counts { normal: 0, config: 1, failures: 0 });
}

#[test]
fn an_envelope_is_acknowledged_when_its_block_is_committed_and_durable() {
    let mut script = Script::leader();
    assert_eq!(script.submit("x"), None);
    assert_eq!(script.blocks(), [0; 0], "the block is open");
    assert_eq!(script.submit("y"), None);
    assert_eq!(script.blocks(), [2], "the second fills it");
    assert_eq!(script.answers(), []);
    script.commit();
    assert_eq!(script.answers(), [], "not before it is in the ledger");
    script.write();
    assert_eq!(script.answers(), [("x", ordered(1)), ("y", ordered(1))]);
}

#[test]
fn the_open_block_is_closed_when_its_time_is_up() {
    let mut script = Script::leader();
    script.submit("x");
    assert_eq!(script.orderer.deadline(), Some(at(10)));
    for (now, expected) in [(9, vec![]), (10, vec![1])] {
        script.orderer.tick(at(now));
        script.propose();
        assert_eq!(script.blocks(), expected, "at {now} ms");
    }
}

#[test]
fn submitters_wait_while_too_many_blocks_are_on_their_way() {
    let mut script = Script::leader();
    for id in ["a", "b", "c", "d"] {
        assert_eq!(script.submit(id), None);
    }
    assert_eq!(script.blocks(), [2, 2]);
    assert_eq!(script.submit("e"), Some(Refused::Wait));
    script.commit();
    assert_eq!(script.submit("e"), Some(Refused::Wait), "committed is not durable");
    script.write();
    assert_eq!(script.submit("e"), None);
}

#[test]
fn a_block_whose_time_is_up_waits_for_room() {
    let mut script = Script::leader();
    script.submit("a");
    // Larger than preferred: a block alone, which closes the open one too.
    script.submit_as("b", submission("b", 200));
    assert_eq!(script.blocks(), [1, 1]);
    assert_eq!(script.submit("c"), Some(Refused::Wait));
    script.commit();
    script.write();
    script.submit("c");
    script.submit_as("d", submission("d", 200));
    assert_eq!(script.blocks(), [1, 1, 1], "one push may close two blocks");
    script.orderer.tick(at(99));
    script.propose();
    assert_eq!(script.blocks(), [1, 1, 1]);
}

#[test]
fn an_envelope_that_is_submitted_again_is_ordered_once() {
    let mut script = Script::leader();
    script.submit("x");
    script.submit_as("while open", submission("x", 10));
    script.submit("y");
    script.submit_as("on its way", submission("x", 10));
    script.commit();
    script.submit_as("committed", submission("x", 10));
    assert_eq!(script.answers(), []);
    script.write();
    script.submit_as("durable", submission("x", 10));
    assert_eq!(
        script.answers(),
        [
            ("x", ordered(1)),
            ("while open", again(1)),
            ("y", ordered(1)),
            ("on its way", again(1)),
            ("committed", again(1)),
            ("durable", again(1)),
        ]
    );
    assert_eq!(script.blocks(), [0; 0]);
}

#[test]
fn what_was_submitted_again_is_answered_even_when_there_is_no_room() {
    let mut script = Script::leader();
    for id in ["a", "b", "c", "d"] {
        script.submit(id);
    }
    assert_eq!(script.submit_as("again", submission("a", 10)), None);
}

#[test]
fn an_envelope_is_remembered_for_the_window_and_no_longer() {
    let mut script = Script::leader();
    script.submit("x");
    for (large, expected) in [("1", again(1)), ("2", again(1)), ("3", again(1)), ("4", ordered(6))]
    {
        // An envelope alone in a block: the first closes the block of x, too.
        script.submit_as("large", submission(large, 200));
        while !script.in_flight.is_empty() {
            script.commit();
            script.write();
        }
        script.answers();
        script.submit_as("x", submission("x", 10));
        script.orderer.tick(at(99));
        script.propose();
        while !script.in_flight.is_empty() {
            script.commit();
            script.write();
        }
        assert_eq!(script.answers(), [("x", expected)], "after envelope {large}");
    }
}

#[test]
fn envelopes_that_cannot_be_ordered_are_refused() {
    let mut script = Script::leader();
    let bytes = submission("x", 300).bytes.len();
    let too_large = Refused::TooLarge { bytes, bytes_max: 300 };
    assert_eq!(script.submit_as("w", submission("x", 300)), Some(too_large));
    script.submit("x");
    assert_eq!(script.submit_as("w", submission("x", 11)), Some(Refused::NameUsed), "while open");
    script.submit("y");
    assert_eq!(script.submit_as("w", submission("x", 11)), Some(Refused::NameUsed), "on its way");
    script.commit();
    assert_eq!(script.submit_as("w", submission("x", 11)), Some(Refused::NameUsed), "committed");
    script.orderer.following();
    assert_eq!(script.submit("z"), Some(Refused::NotLeading));
}

#[test]
fn who_loses_leadership_tells_each_submitter_what_is_known() {
    let mut script = Script::leader();
    for id in ["a", "b", "c", "d"] {
        script.submit(id);
    }
    script.commit();
    script.orderer.following();
    assert_eq!(script.answers(), [("c", Outcome::Unknown), ("d", Outcome::Unknown)]);
    script.write();
    assert_eq!(script.answers(), [("a", ordered(1)), ("b", ordered(1))], "it was committed");

    script.lead();
    script.submit("e");
    script.orderer.following();
    assert_eq!(script.answers(), [("e", Outcome::NotOrdered)], "nobody else ever saw it");
}

#[test]
fn what_is_found_committed_after_all_is_not_ordered_again() {
    let mut script = Script::leader();
    script.submit("x");
    script.submit("y");
    script.orderer.following();
    assert_eq!(script.answers(), [("x", Outcome::Unknown), ("y", Outcome::Unknown)]);
    // Another leader commits it; this one hears of it without its ticket, and leads again.
    let entry = script.in_flight.remove(0);
    script.commit_entry(entry.data, None);
    script.write();
    script.lead();
    script.submit_as("x", submission("x", 10));
    assert_eq!(script.answers(), [("x", again(1))]);
}

#[test]
fn what_raft_refuses_is_not_ordered_and_the_next_epoch_goes_on_from_what_is() {
    let mut script = Script::leader();
    for id in ["a", "b", "c", "d"] {
        script.submit(id);
    }
    script.commit();
    let refused = script.in_flight.remove(0);
    script.orderer.refused(refused.ticket);
    assert_eq!(script.answers(), [("c", Outcome::NotOrdered), ("d", Outcome::NotOrdered)]);
    assert_eq!(script.submit("e"), Some(Refused::NotLeading), "until the next epoch");
    script.write();
    script.lead();
    script.submit("c");
    script.submit("d");
    script.commit();
    assert_eq!(script.orderer.state().tip().map(|tip| tip.header.number), Some(2));
    assert_eq!(script.orderer.counts().failures, 1);
}

#[test]
fn what_comes_after_envelopes_of_another_epoch_is_refused() {
    let mut script = Script::leader();
    let submit = |script: &mut Script, since, id| {
        script.orderer.submit(at(0), since, submission(id, 10), "w").map_err(|(_, _, why)| why)
    };
    let first = submit(&mut script, None, "a");
    assert_eq!(first, Ok(Epoch(1)));
    script.orderer.following();
    script.lead();
    assert_eq!(submit(&mut script, first.ok(), "b"), Err(Refused::NotLeading));
    assert_eq!(submit(&mut script, None, "a"), Ok(Epoch(2)));
}

#[test]
fn nothing_is_ordered_while_the_orderers_are_being_changed() {
    let mut script = Script::leader();
    script.submit("x");
    let change = Change::Add(consenter(2));
    assert_eq!(script.orderer.change(&change, "change"), Ok(Ok(())));
    script.propose();
    assert_eq!(script.blocks(), [1, 1], "what is open comes first");
    assert_eq!(script.submit("y"), Some(Refused::Wait));
    let other = Change::Add(consenter(3));
    assert_eq!(script.orderer.change(&other, "other"), Ok(Err(ChangeError::InProgress)));
    assert_eq!(script.commit(), Kind::Envelopes);
    assert_eq!(script.commit(), Kind::Configuration);
    script.write();
    assert_eq!(script.answers(), [("x", ordered(1)), ("change", ordered(2))]);
    assert_eq!(script.orderer.step(), Some(Step::Admit(consenter(2))));
    assert_eq!(script.submit("y"), Some(Refused::Wait), "raft's members are not changed yet");
    script.orderer.members(members(&[1, 2]));
    assert_eq!(script.orderer.step(), None);
    assert_eq!(script.submit("y"), None);
}

#[test]
fn the_next_leader_finishes_what_the_last_one_began() {
    let mut first = Script::leader();
    first.orderer.change(&Change::Add(consenter(2)), "change").unwrap().unwrap();
    first.propose();
    let entry = first.in_flight.remove(0);
    // The other one has applied the same log.
    let mut second = Script::leader();
    second.orderer.following();
    second.commit_entry(entry.data, None);
    second.write();
    second.lead();
    assert_eq!(second.orderer.step(), Some(Step::Admit(consenter(2))));
    assert_eq!(second.submit("x"), Some(Refused::Wait));
}

#[test]
fn a_change_that_raft_will_not_make_is_taken_back() {
    let mut script = Script::leader();
    script.orderer.change(&Change::Add(consenter(2)), "change").unwrap().unwrap();
    script.propose();
    script.commit();
    let step = script.orderer.step().unwrap();
    script.orderer.take_back(&step);
    script.propose();
    script.commit();
    script.write();
    assert_eq!(script.orderer.state().configuration(), Some(&configuration(&[1])));
    assert_eq!(script.submit("x"), None);
}

#[test]
fn a_leader_whose_ledger_is_behind_orders_nothing_yet() {
    let mut script = Script::leader();
    for id in ["a", "b", "c", "d"] {
        script.submit(id);
    }
    script.commit();
    script.commit();
    let data = script.orderer.snapshot().encode(&members(&[1]));

    let mut behind = Script { orderer: Orderer::new(2, None, None), ..Script::leader() };
    assert_eq!(behind.orderer.restore(data), Ok(members(&[1])));
    behind.orderer.members(members(&[1]));
    behind.lead();
    assert_eq!(behind.submit("e"), Some(Refused::Wait));
    assert_eq!(behind.orderer.work(), Ok(Some(Work::Headers { from: 0, through: 2 })));
    assert_eq!(behind.submit_as("again", submission("a", 10)), None, "but it knows what was");
    assert_eq!(behind.answers(), [], "and says so when it has it");
}
