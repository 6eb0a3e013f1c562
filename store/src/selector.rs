//! What a watcher wants to see.

use std::sync::Arc;

use crate::{Action, By, Commit, Event, Kind};

/// A set of (kind, action) pairs in one word, to pass over a commit at the cost of one comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask(u32);

impl Mask {
    fn of(kind: Kind, action: Action) -> Mask {
        Mask(1 << (kind as u32 * Action::ALL.len() as u32 + action as u32))
    }

    pub(crate) fn of_events(events: &[Event]) -> Mask {
        events.iter().fold(Mask::default(), |mask, e| mask.or(Mask::of(e.kind(), e.action())))
    }

    fn or(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    fn meets(self, other: Mask) -> bool {
        self.0 & other.0 != 0
    }

    fn within(self, other: Mask) -> bool {
        self.0 & !other.0 == 0
    }
}

/// Events of one kind: these actions, and every filter holds for the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    pub kind: Kind,
    pub actions: Vec<Action>,
    /// All of them must hold; judged on the object as it is after the change, or as it last was if it was removed.
    pub filters: Vec<By>,
}

impl Select {
    /// Every event of a kind.
    pub fn kind(kind: Kind) -> Select {
        Select { kind, actions: Action::ALL.to_vec(), filters: Vec::new() }
    }

    fn mask(&self) -> Mask {
        self.actions.iter().fold(Mask::default(), |mask, &a| mask.or(Mask::of(self.kind, a)))
    }
}

/// The events that a watcher sees: those that any of its entries selects.
#[derive(Clone, Debug)]
pub struct Selector {
    entries: Vec<Select>,
    mask: Mask,
    filtered: bool,
}

impl Selector {
    /// Events that any of these selects.
    pub fn any(entries: impl IntoIterator<Item = Select>) -> Selector {
        let entries: Vec<Select> = entries.into_iter().collect();
        let mask = entries.iter().fold(Mask::default(), |mask, e| mask.or(e.mask()));
        let filtered = entries.iter().any(|e| !e.filters.is_empty());
        Selector { entries, mask, filtered }
    }

    /// Every event of these kinds.
    pub fn kinds(kinds: &[Kind]) -> Selector {
        Selector::any(kinds.iter().copied().map(Select::kind))
    }

    /// Every event.
    pub fn all() -> Selector {
        Selector::kinds(&Kind::ALL)
    }

    /// Whether the event is selected.
    pub fn selects(&self, event: &Event) -> bool {
        let mask = Mask::of(event.kind(), event.action());
        mask.meets(self.mask)
            && (!self.filtered
                || self.entries.iter().any(|entry| {
                    mask.meets(entry.mask()) && entry.filters.iter().all(|by| event.matches(by))
                }))
    }

    /// What is selected of a commit, or nothing. Shares the commit when that is all of it.
    pub(crate) fn of_commit(&self, mask: Mask, commit: &Arc<Commit>) -> Option<Arc<Commit>> {
        if !mask.meets(self.mask) {
            return None;
        }
        if !self.filtered && mask.within(self.mask) {
            return Some(commit.clone());
        }
        let events: Vec<Event> =
            commit.events.iter().filter(|event| self.selects(event)).cloned().collect();
        if events.is_empty() {
            return None;
        }
        Some(Arc::new(Commit { version: commit.version, events }))
    }
}
