//! What the writers saw, and what follows from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Names that a report shows of a group.
const SHOWN_MAX: usize = 10;

/// The writes of a round.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Writes that were acknowledged, in the order of the answers.
    pub acknowledged: Vec<Acknowledged>,
    /// Writes that failed or were not answered: they may have happened.
    pub unknown: BTreeSet<String>,
}

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The name of the object.
    pub name: String,
    /// When the call began.
    pub began: Instant,
    /// When the answer came.
    pub answered: Instant,
}

/// What the cluster holds against what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes whose outcome the writer never learnt, and that happened.
    pub unknown_happened: usize,
    /// Writes whose outcome the writer never learnt, and that did not happen.
    pub unknown_lost: usize,
    /// Acknowledged, and not there.
    pub lost: Vec<String>,
    /// There more than once.
    pub doubled: Vec<String>,
    /// There, and written by nobody.
    pub strange: Vec<String>,
}

impl History {
    /// From `from` to the first answer to a write that began later.
    pub fn first_acknowledged_after(&self, from: Instant) -> Option<Duration> {
        let later = self.acknowledged.iter().filter(|a| a.began >= from);
        later.map(|a| a.answered - from).min()
    }

    /// The longest time between two answers of which the later came after `from`.
    pub fn longest_pause_from(&self, from: Instant) -> Option<Duration> {
        let mut answers: Vec<Instant> = self.acknowledged.iter().map(|a| a.answered).collect();
        answers.sort();
        let pairs = answers.iter().zip(answers.iter().skip(1));
        pairs.filter(|(_, later)| **later >= from).map(|(earlier, later)| *later - *earlier).max()
    }

    /// Compares with the names that the cluster holds.
    pub fn audit<'n>(&self, held: impl Iterator<Item = &'n str>) -> Audit {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in held {
            *counts.entry(name).or_default() += 1;
        }
        let acknowledged: BTreeSet<&str> =
            self.acknowledged.iter().map(|a| a.name.as_str()).collect();
        let lost = acknowledged.iter().filter(|name| !counts.contains_key(*name));
        let known = |name: &str| acknowledged.contains(name) || self.unknown.contains(name);
        let happened =
            self.unknown.iter().filter(|name| counts.contains_key(name.as_str())).count();
        let names = |of: Vec<&&str>| of.into_iter().map(|name| (*name).to_owned()).collect();
        Audit {
            acknowledged: acknowledged.len(),
            unknown_happened: happened,
            unknown_lost: self.unknown.len() - happened,
            lost: names(lost.collect()),
            doubled: names(counts.iter().filter(|(_, n)| **n > 1).map(|(name, _)| name).collect()),
            strange: names(counts.keys().filter(|name| !known(name)).collect()),
        }
    }
}

impl Audit {
    /// Whether everything that was acknowledged is there once, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.strange.is_empty()
    }

    /// Some of the names that are wrong.
    pub fn details(&self) -> String {
        let some = |what: &str, names: &[String]| {
            let shown: Vec<&str> = names.iter().take(SHOWN_MAX).map(String::as_str).collect();
            format!("{what}: {}", shown.join(" "))
        };
        [some("lost", &self.lost), some("doubled", &self.doubled), some("strange", &self.strange)]
            .join("\n")
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} writes acknowledged, {} lost, {} doubled, {} strange; of {} without an answer {} happened",
            self.acknowledged,
            self.lost.len(),
            self.doubled.len(),
            self.strange.len(),
            self.unknown_happened + self.unknown_lost,
            self.unknown_happened
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(start: Instant, writes: &[(&str, u64, u64)], unknown: &[&str]) -> History {
        let at = |ms: &u64| start + Duration::from_millis(*ms);
        let acknowledged = writes.iter().map(|(name, began, answered)| Acknowledged {
            name: (*name).to_owned(),
            began: at(began),
            answered: at(answered),
        });
        let unknown = unknown.iter().map(|name| (*name).to_owned()).collect();
        History { acknowledged: acknowledged.collect(), unknown }
    }

    #[test]
    fn the_pause_after_a_kill_ends_with_a_write_that_began_after_it() {
        let start = Instant::now();
        let writes = [("a", 0, 5), ("b", 90, 110), ("c", 120, 900), ("d", 800, 850)];
        let gone = start + Duration::from_millis(100);
        let history = history(start, &writes, &[]);
        assert_eq!(history.first_acknowledged_after(gone), Some(Duration::from_millis(750)));
        let after_all = start + Duration::from_secs(5);
        assert_eq!(history.first_acknowledged_after(after_all), None);
    }

    #[test]
    fn the_pause_of_a_hand_over_is_the_longest_between_answers() {
        let start = Instant::now();
        let writes = [("a", 0, 0), ("b", 0, 500), ("c", 0, 510), ("d", 0, 640), ("e", 0, 650)];
        let history = history(start, &writes, &[]);
        let signal = start + Duration::from_millis(505);
        assert_eq!(history.longest_pause_from(signal), Some(Duration::from_millis(130)));
    }

    #[test]
    fn an_audit_finds_what_is_lost_doubled_and_strange() {
        let history = history(Instant::now(), &[("a", 0, 1), ("b", 0, 1)], &["u", "v"]);
        let clean = history.audit(["a", "b", "u"].into_iter());
        assert!(clean.is_clean());
        assert_eq!((clean.unknown_happened, clean.unknown_lost), (1, 1));
        let broken = history.audit(["b", "b", "x"].into_iter());
        assert_eq!(broken.lost, ["a"]);
        assert_eq!(broken.doubled, ["b"]);
        assert_eq!(broken.strange, ["x"]);
    }
}
