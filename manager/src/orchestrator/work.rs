//! From what has to be done to the next batch of writes, and from what came of it to what has to be done next.

use skep_proto::ids::ServiceId;

use super::{
    act::{Outcome, Part},
    mind::{Mind, Wake},
    moment::Moment,
    task::PlaceOf,
    update::{Action, Verdict},
};

/// Parts in one pass. It bounds how long what happens meanwhile has to wait: some ten proposals, which is some tens of
/// milliseconds; a scale-out of 100,000 tasks takes fifty passes.
pub(super) const PASS_PARTS_MAX: usize = 2_000;

impl Mind {
    /// The next parts, most urgent first: what keeps services running comes before what makes them grow, and tidying up comes last.
    pub(super) fn take(&mut self, now: Moment) -> Vec<Part> {
        let mut parts = self.step_updates(now);
        let room = |parts: &Vec<Part>| PASS_PARTS_MAX.saturating_sub(parts.len());
        let n = room(&parts);
        parts.extend(take_first(&mut self.touched, n).map(Part::Look));
        let n = room(&parts);
        parts.extend(take_first(&mut self.strays, n).map(Part::Retire));
        let n = room(&parts);
        self.take_queued(n, &mut parts);
        let n = room(&parts);
        parts.extend(take_first(&mut self.useless, n).map(Part::Delete));
        let n = room(&parts);
        parts.extend(take_first(&mut self.prunable, n).map(Part::Prune));
        parts
    }

    /// Asks the updates for what is next. Places are queued; what has to be written down comes at once.
    fn step_updates(&mut self, now: Moment) -> Vec<Part> {
        let mut reports = Vec::new();
        for service in std::mem::take(&mut self.stepping) {
            let Some(known) = self.known.get_mut(&service) else { continue };
            let Some(update) = &mut known.update else { continue };
            let (actions, wake) = update.step(now);
            let version = update.version;
            for action in actions {
                match action {
                    Action::Begin(place) => known.begin.push_back(place),
                    Action::Report(verdict) => {
                        reports.push(Part::Report { service, version, verdict });
                    }
                }
            }
            if known.is_busy() {
                self.busy.insert(service);
            }
            if let Some(at) = wake {
                self.wake_at(at, Wake::Update(service));
            }
        }
        reports
    }

    /// Takes queued places, of every service an equal share, so that a large one keeps no small one waiting.
    fn take_queued(&mut self, mut room: usize, parts: &mut Vec<Part>) {
        let mut services = self.busy.len();
        let Mind { busy, known, .. } = self;
        busy.retain(|&service| {
            let Some(known) = known.get_mut(&service) else { return false };
            let share = room.div_ceil(services.max(1)).min(room);
            let before = parts.len();
            let start_first = known.update.as_ref().is_some_and(|u| u.plan.start_first);
            let at = |place| PlaceOf { service, place };
            let left = |parts: &Vec<Part>| share - (parts.len() - before);
            let n = left(parts).min(known.begin.len());
            parts.extend(
                known.begin.drain(..n).map(|place| Part::Replace { at: at(place), start_first }),
            );
            let n = left(parts).min(known.vacate.len());
            parts.extend(known.vacate.drain(..n).map(|place| Part::Vacate(at(place))));
            let n = left(parts).min(known.fill.len());
            parts.extend(known.fill.drain(..n).map(|place| Part::Fill(at(place))));
            room -= parts.len() - before;
            services -= 1;
            known.is_busy()
        });
    }

    /// Takes note of what came of a part.
    pub(super) fn absorb(&mut self, part: &Part, outcome: Outcome, now: Moment) {
        match *part {
            Part::Look(at) => self.absorb_place(at, &outcome),
            Part::Replace { at, .. } => {
                self.absorb_place(at, &outcome);
                if let Some(update) =
                    self.known.get_mut(&at.service).and_then(|k| k.update.as_mut())
                {
                    update.began(at.place, outcome.begun, now);
                    self.stepping.insert(at.service);
                }
                // The start of one that was there before may be due already.
                self.touched.extend((outcome.unsettled && !outcome.created).then_some(at));
            }
            Part::Fill(at) => self.prunable.extend(outcome.grown.then_some(at)),
            Part::Vacate(at) => {
                self.settle(at);
                if outcome.more
                    && let Some(known) = self.known.get_mut(&at.service)
                {
                    known.vacate.push_back(at.place);
                    self.busy.insert(at.service);
                }
            }
            Part::Report { service, verdict, .. } => self.absorb_report(service, verdict),
            Part::Prune(at) => {
                self.prunable.extend(outcome.more.then_some(at));
                match outcome.overfull {
                    true => drop(self.overfull.insert(at)),
                    false => drop(self.overfull.remove(&at)),
                }
            }
            Part::Retire(_) | Part::Delete(_) => {}
        }
    }

    fn absorb_place(&mut self, at: PlaceOf, outcome: &Outcome) {
        let Some(known) = self.known.get_mut(&at.service) else { return };
        match (&mut known.update, outcome.moved) {
            (Some(update), Some(to)) => update.moved(at.place, to),
            (Some(_), None) => known.overlooked |= outcome.stale,
            (None, _) if outcome.stale => drop(self.dirty.insert(at.service)),
            (None, _) => {}
        }
        if outcome.vacant && !known.job {
            self.dirty.insert(at.service);
        }
        if let Some(when) = outcome.look_again {
            self.wake_at(when, Wake::Place(at));
        }
        match outcome.unsettled {
            true => drop(self.unsettled.insert(at)),
            false => self.settle(at),
        }
        self.prunable.extend(outcome.grown.then_some(at));
    }

    fn settle(&mut self, at: PlaceOf) {
        if self.unsettled.remove(&at) && self.overfull.contains(&at) {
            self.prunable.insert(at);
        }
    }

    fn absorb_report(&mut self, service: ServiceId, verdict: Verdict) {
        if verdict == Verdict::Started {
            return;
        }
        let Some(known) = self.known.get_mut(&service) else { return };
        known.update = None;
        known.begin.clear();
        if std::mem::take(&mut known.overlooked) && verdict == Verdict::Completed {
            self.dirty.insert(service);
        }
    }
}

fn take_first<T: Ord + Copy>(
    set: &mut std::collections::BTreeSet<T>,
    count: usize,
) -> impl Iterator<Item = T> {
    let rest = match set.iter().nth(count).copied() {
        Some(first) => set.split_off(&first),
        None => Default::default(),
    };
    std::mem::replace(set, rest).into_iter()
}
