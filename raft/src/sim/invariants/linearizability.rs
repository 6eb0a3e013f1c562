//! Linearizability of registers: there is an order of all operations on a key, each at some moment between its call and its return,
//! in which every read gives what was written last. Herlihy and Wing 1990; searched for as Wing and Gong 1993, with
//! the states that were seen remembered (Lowe 2017).
//!
//! Histories are checked key by key, which is enough (the property is local). Values written to a key are different from one
//! another, so a write whose outcome is unknown and whose value nobody read may be left out.

use std::collections::{BTreeSet, HashSet};

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wrote this value; `0` is what a key holds before its first write.
    Write(u64),
    /// Read this value.
    Read(u64),
}

/// One operation on a key.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// What was done.
    pub action: Action,
    /// When it was called.
    pub called: u64,
    /// When it returned; `None` when nobody knows whether it happened: it may have at any time after the call, or not at all.
    pub returned: Option<u64>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none.
    NotLinearizable,
    /// The search was given up after [`STATES_MAX`] states.
    Undecided,
}

/// States that a search may look at before it gives up: a second or so.
pub const STATES_MAX: usize = 1_000_000;

/// Operations on one key that can be checked: the width of the set of those that are done.
pub const OPERATIONS_MAX: usize = 256;

type Done = [u128; 2];

/// Checks the history of one key.
pub fn check(history: &[Operation]) -> Verdict {
    let read: BTreeSet<u64> = history
        .iter()
        .filter_map(|operation| match operation.action {
            Action::Read(value) => Some(value),
            Action::Write(_) => None,
        })
        .collect();
    let unseen = |operation: &Operation| match (operation.action, operation.returned) {
        (Action::Write(value), None) => !read.contains(&value),
        // A read without an answer says nothing.
        (Action::Read(_), None) => true,
        _ => false,
    };
    let mut operations: Vec<_> = history.iter().filter(|op| !unseen(op)).copied().collect();
    operations.sort_by_key(|operation| operation.called);
    if operations.len() > OPERATIONS_MAX {
        return Verdict::Undecided;
    }
    search(&operations)
}

fn search(operations: &[Operation]) -> Verdict {
    let must: usize = operations.iter().filter(|op| op.returned.is_some()).count();
    let mut seen: HashSet<(Done, u64)> = HashSet::new();
    // The operations done, the value they leave, and how many of them had to be done.
    let mut open: Vec<(Done, u64, usize)> = vec![([0; 2], 0, 0)];
    while let Some((done, value, count)) = open.pop() {
        if count == must {
            return Verdict::Linearizable;
        }
        if !seen.insert((done, value)) {
            continue;
        }
        if seen.len() > STATES_MAX {
            return Verdict::Undecided;
        }
        // The next one must have been called before any other that is not done returned.
        let pending = || operations.iter().enumerate().filter(|(n, _)| !is_done(&done, *n));
        let first_return = pending().filter_map(|(_, op)| op.returned).min().unwrap_or(u64::MAX);
        for (n, operation) in pending().take_while(|(_, op)| op.called <= first_return) {
            let next = match operation.action {
                Action::Write(written) => written,
                Action::Read(read) if read == value => value,
                Action::Read(_) => continue,
            };
            let mut with = done;
            with[n / 128] |= 1 << (n % 128);
            open.push((with, next, count + usize::from(operation.returned.is_some())));
        }
    }
    Verdict::NotLinearizable
}

fn is_done(done: &Done, n: usize) -> bool {
    done[n / 128] >> (n % 128) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `w1 0-10`: writes 1, called at 0, returned at 10; `r1 5-?`: no answer.
    fn history(script: &str) -> Vec<Operation> {
        let operation = |text: &str| {
            let (what, when) = text.trim().split_once(' ').unwrap();
            let (called, returned) = when.split_once('-').unwrap();
            let value = what[1..].parse().unwrap();
            let action =
                if what.starts_with('w') { Action::Write(value) } else { Action::Read(value) };
            Operation { action, called: called.parse().unwrap(), returned: returned.parse().ok() }
        };
        script.split(',').map(operation).collect()
    }

    #[test]
    fn histories() {
        let cases = [
            ("r0 0-1", true),
            ("r1 0-1", false),
            ("w1 0-1, r1 2-3", true),
            ("w1 0-1, r0 2-3", false),
            ("w1 0-10, r0 2-3, r1 4-5", true),
            ("w1 0-10, r1 2-3, r0 4-5", false),
            ("w1 0-1, w2 2-3, r1 4-5", false),
            ("w1 0-9, w2 0-9, r1 10-11, r2 12-13", false),
            ("w1 0-9, w2 0-9, r1 10-11", true),
            ("w1 0-?, r0 5-6, r1 7-8", true),
            ("w1 0-?, r1 5-6, r0 7-8", false),
            ("w1 0-?, w2 1-2, r1 50-51", true),
            ("w1 0-1, w2 2-3, r2 4-5, r2 4-5, r2 6-7", true),
        ];
        for (script, linearizable) in cases {
            let expected =
                if linearizable { Verdict::Linearizable } else { Verdict::NotLinearizable };
            assert_eq!(check(&history(script)), expected, "{script}");
        }
    }

    #[test]
    fn many_unknown_writes_are_no_burden() {
        let mut script: Vec<_> = (1..200).map(|n| format!("w{n} {n}-?")).collect();
        script.push("r77 300-301".to_owned());
        script.push("r0 302-303".to_owned());
        assert_eq!(check(&history(&script.join(","))), Verdict::NotLinearizable);
    }
}
