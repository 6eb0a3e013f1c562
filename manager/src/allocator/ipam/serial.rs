//! Numbers that are given out one after the other: what becomes free rests until all the others have had their turn.

use super::runs::Runs;

/// Numbers between two bounds, and which of them are given out.
#[derive(Clone, Debug)]
pub struct Serial {
    first: u128,
    last: u128,
    taken: Runs,
    /// How many of the numbers between the bounds are taken.
    count: u128,
    /// The number that was given out last; or, of one that has not given out any yet, the highest that was in use before it.
    cursor: Option<u128>,
    given: bool,
}

impl Serial {
    /// Gives out the numbers from `first` to `last`, both included.
    pub fn new(first: u128, last: u128) -> Serial {
        debug_assert!(first <= last);
        Serial { first, last, taken: Runs::default(), count: 0, cursor: None, given: false }
    }

    /// The next free number after the one that was given out last, beginning again at the first one; none if all are taken.
    pub fn give(&mut self) -> Option<u128> {
        let after = self.cursor.and_then(|cursor| cursor.checked_add(1));
        let from = after.filter(|from| (self.first..=self.last).contains(from));
        let ahead = from.and_then(|from| self.taken.first_gap(from, self.last));
        let number = ahead.or_else(|| self.taken.first_gap(self.first, self.last))?;
        self.mark(number);
        self.cursor = Some(number);
        self.given = true;
        Some(number)
    }

    /// Takes a given number, which may lie outside the bounds. It does not move the order of those to come. False if it
    /// is taken.
    pub fn take(&mut self, number: u128) -> bool {
        !self.taken.contains(number) && {
            self.mark(number);
            true
        }
    }

    /// Takes a number that was given out earlier, by one whose memory is lost: as long as none was given out since, the
    /// search goes on behind the highest of these, for that is where the earlier one most likely was. False if it is taken.
    pub fn take_back(&mut self, number: u128) -> bool {
        let taken = self.take(number);
        if taken && !self.given && (self.first..=self.last).contains(&number) {
            self.cursor = self.cursor.max(Some(number));
        }
        taken
    }

    /// Makes a number free again. False if it was free.
    pub fn release(&mut self, number: u128) -> bool {
        let released = self.taken.remove(number, number);
        if released && (self.first..=self.last).contains(&number) {
            self.count -= 1;
        }
        released
    }

    /// How many numbers there are between the bounds.
    pub fn total(&self) -> u128 {
        // No pool of ours holds all 2^128: the callers leave at least one out.
        (self.last - self.first).saturating_add(1)
    }

    /// How many of them are taken.
    pub fn count(&self) -> u128 {
        self.count
    }

    fn mark(&mut self, number: u128) {
        if self.taken.insert(number, number) && (self.first..=self.last).contains(&number) {
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_free_comes_again_after_all_others() {
        let mut serial = Serial::new(10, 13);
        assert_eq!((serial.give(), serial.give()), (Some(10), Some(11)));
        assert!(serial.release(10));
        assert_eq!((serial.give(), serial.give(), serial.give()), (Some(12), Some(13), Some(10)));
        assert_eq!((serial.give(), serial.count(), serial.total()), (None, 4, 4));
        assert!(serial.release(12) && !serial.release(12));
        assert_eq!((serial.give(), serial.give()), (Some(12), None));
    }

    #[test]
    fn numbers_that_are_asked_for_do_not_move_the_order() {
        let mut serial = Serial::new(10, 15);
        assert!(serial.take(13) && !serial.take(13));
        // Outside the bounds: held, and not counted.
        assert!(serial.take(20) && !serial.take(20) && serial.count() == 1);
        assert_eq!((serial.give(), serial.give(), serial.give()), (Some(10), Some(11), Some(12)));
        assert_eq!(serial.give(), Some(14));
        assert!(serial.release(20) && serial.take_back(15));
        assert_eq!(serial.give(), None);
    }

    #[test]
    fn the_search_goes_on_behind_what_an_earlier_one_gave_out() {
        let mut serial = Serial::new(10, 15);
        assert!(serial.take_back(13) && serial.take_back(11) && serial.take_back(30));
        assert_eq!((serial.give(), serial.give(), serial.give()), (Some(14), Some(15), Some(10)));
        assert_eq!((serial.give(), serial.give()), (Some(12), None));
    }
}
