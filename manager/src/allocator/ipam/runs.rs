//! A set of numbers, kept as runs of neighbours.
//!
//! Runs rather than a bitmap: what is given out serially lies together, so a network has a few runs, however many addresses
//! are in use; a subnet of 2^64 addresses costs what is used of it; a block of addresses goes in whole; and the next free
//! number is the end of the run that was asked about, one look-up in a tree, however full and however fragmented the set
//! is. A bitmap would have to be read word by word where it is full. The worst case, every other number in use, takes 32
//! bytes a number.

use std::collections::BTreeMap;

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// From the first number of a run to its last. Between two runs lies at least one number.
    runs: BTreeMap<u128, u128>,
}

impl Runs {
    /// Whether the number is in the set.
    pub fn contains(&self, number: u128) -> bool {
        self.run_of(number).is_some()
    }

    /// Puts in all from `first` to `last`. False, and nothing changes, if one of them was in.
    pub fn insert(&mut self, first: u128, last: u128) -> bool {
        debug_assert!(first <= last);
        let before = self.runs.range(..=last).next_back().map(|(from, to)| (*from, *to));
        let mut run = (first, last);
        if let Some((from, to)) = before {
            if to >= first {
                return false;
            }
            if to + 1 == first {
                run.0 = from;
            }
        }
        if let Some(next) = last.checked_add(1)
            && let Some(to) = self.runs.remove(&next)
        {
            run.1 = to;
        }
        self.runs.insert(run.0, run.1);
        true
    }

    /// Takes out all from `first` to `last`. False, and nothing changes, if one of them was not in.
    pub fn remove(&mut self, first: u128, last: u128) -> bool {
        debug_assert!(first <= last);
        let Some((from, to)) = self.run_of(first).filter(|(_, to)| *to >= last) else {
            return false;
        };
        match first.checked_sub(1).filter(|before| *before >= from) {
            Some(before) => self.runs.insert(from, before),
            None => self.runs.remove(&from),
        };
        if last < to {
            self.runs.insert(last + 1, to);
        }
        true
    }

    /// The smallest number from `first` to `last` that is not in the set.
    pub fn first_gap(&self, first: u128, last: u128) -> Option<u128> {
        let gap = match self.run_of(first) {
            Some((_, to)) => to.checked_add(1)?,
            None => first,
        };
        (gap <= last).then_some(gap)
    }

    /// The run that the number is in.
    fn run_of(&self, number: u128) -> Option<(u128, u128)> {
        let (from, to) = self.runs.range(..=number).next_back()?;
        (*to >= number).then_some((*from, *to))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// "1-3 5".
    fn shown(runs: &Runs) -> String {
        let runs = runs.runs.iter().map(|(from, to)| match from == to {
            true => from.to_string(),
            false => format!("{from}-{to}"),
        });
        runs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn neighbours_are_one_run() {
        let mut runs = Runs::default();
        for (put_in, first, last, done, expected) in [
            (true, 5, 5, true, "5"),
            (true, 7, 8, true, "5 7-8"),
            (true, 6, 6, true, "5-8"),
            (true, 8, 9, false, "5-8"),
            (true, 2, 9, false, "5-8"),
            (true, 9, 9, true, "5-9"),
            (true, 1, 3, true, "1-3 5-9"),
            (false, 6, 7, true, "1-3 5 8-9"),
            (false, 7, 8, false, "1-3 5 8-9"),
            (false, 3, 5, false, "1-3 5 8-9"),
            (false, 1, 1, true, "2-3 5 8-9"),
            (false, 9, 9, true, "2-3 5 8"),
            (false, 2, 3, true, "5 8"),
            (false, 9, 9, false, "5 8"),
        ] {
            let is_done = match put_in {
                true => runs.insert(first, last),
                false => runs.remove(first, last),
            };
            assert_eq!((is_done, shown(&runs)), (done, expected.to_owned()), "{first}-{last}");
        }
    }

    #[test]
    fn the_largest_numbers_are_numbers_too() {
        let mut runs = Runs::default();
        assert!(runs.insert(u128::MAX - 1, u128::MAX - 1));
        assert_eq!(runs.first_gap(u128::MAX - 1, u128::MAX), Some(u128::MAX));
        assert!(runs.insert(u128::MAX, u128::MAX));
        assert_eq!(runs.first_gap(u128::MAX - 1, u128::MAX), None);
        assert!(runs.insert(0, 0));
        assert!(runs.remove(u128::MAX, u128::MAX) && runs.remove(0, 0));
        assert_eq!(runs.first_gap(0, 0), Some(0));
    }

    proptest! {
        #[test]
        fn a_set_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..40_u128, 0..6_u128), 1..80)) {
            let mut runs = Runs::default();
            let mut model = BTreeSet::new();
            for (put_in, first, more) in steps {
                let all = first..=first + more;
                if put_in {
                    let free = all.clone().all(|n| !model.contains(&n));
                    prop_assert_eq!(runs.insert(first, first + more), free);
                    if free {
                        model.extend(all);
                    }
                } else {
                    let held = all.clone().all(|n| model.contains(&n));
                    prop_assert_eq!(runs.remove(first, first + more), held);
                    if held {
                        all.for_each(|n| { model.remove(&n); });
                    }
                }
                let mut pairs = runs.runs.iter().zip(runs.runs.iter().skip(1));
                prop_assert!(pairs.all(|((_, to), (from, _))| to + 1 < *from));
                for number in 0..48 {
                    prop_assert_eq!(runs.contains(number), model.contains(&number));
                    let gap = (number..=44).find(|n| !model.contains(n));
                    prop_assert_eq!(runs.first_gap(number, 44), gap);
                }
            }
        }
    }
}
