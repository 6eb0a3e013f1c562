//! What the orchestrator keeps in memory while it runs: what has to be looked at, when, and how far each service is on its way. All
//! of it can be made anew from the store at any moment, and is, whenever a write fails or leadership begins.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet, VecDeque},
};

use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    swarmkit::{Node, Service, Task},
};
use skep_store::Tables;

use super::{
    board::Board,
    moment::Moment,
    nodes::is_unfit,
    reaper::is_useless,
    task::{Place, PlaceOf, id, is_global, is_job},
    update::Update,
};

/// See the module.
#[derive(Default)]
pub(super) struct Mind {
    /// Nodes that keep their tasks.
    pub fit: HashSet<NodeId>,
    /// Services, and how far each is on its way.
    pub known: BTreeMap<ServiceId, Known>,
    /// Services that have to be looked at as a whole.
    pub dirty: BTreeSet<ServiceId>,
    /// Nodes of which something changed that counts.
    pub moved_nodes: BTreeSet<NodeId>,
    /// Services that were removed, whose tasks follow.
    pub removed: BTreeSet<ServiceId>,
    /// Places that have to be looked at.
    pub touched: BTreeSet<PlaceOf>,
    /// Places where something is under way: every change there counts.
    pub unsettled: HashSet<PlaceOf>,
    /// Places that may have more tasks than are kept.
    pub prunable: BTreeSet<PlaceOf>,
    /// Places that have more tasks than are kept, of which none could go yet.
    pub overfull: HashSet<PlaceOf>,
    /// Tasks without a service.
    pub strays: BTreeSet<TaskId>,
    /// Tasks that can be deleted.
    pub useless: BTreeSet<TaskId>,
    /// Services whose update has to be asked what is next.
    pub stepping: BTreeSet<ServiceId>,
    /// Services that have places queued.
    pub busy: BTreeSet<ServiceId>,
    wakes: BinaryHeap<Reverse<(Moment, Wake)>>,
}

/// A service, and what is queued for it.
#[derive(Default)]
pub(super) struct Known {
    pub global: bool,
    pub job: bool,
    /// Places that the update brings to the new spec now.
    pub begin: VecDeque<Place>,
    /// Places that are given up.
    pub vacate: VecDeque<Place>,
    /// Places that get a task.
    pub fill: VecDeque<Place>,
    /// The update that is under way.
    pub update: Option<Update>,
    /// The run of the job.
    pub board: Option<Board>,
    /// Something is not on the present spec that the update does not know of.
    pub overlooked: bool,
}

/// What is due at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// A place is to be looked at.
    Place(PlaceOf),
    /// An update is to be asked what is next.
    Update(ServiceId),
    /// A service is to be looked at again, since a write for it was refused.
    Service(ServiceId),
}

impl Known {
    pub(super) fn of(service: &Service) -> Known {
        Known { global: is_global(service), job: is_job(service), ..Known::default() }
    }

    /// Where a task of this service belongs.
    pub(super) fn place(&self, task: &Task) -> Option<Place> {
        match self.global {
            true => task.node_id.parse().ok().map(Place::Node),
            false => Some(Place::Slot(task.slot)),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        !(self.begin.is_empty() && self.vacate.is_empty() && self.fill.is_empty())
    }
}

impl Mind {
    /// A mind that knows nothing but what the store holds: every service has to be looked at, and every task without one.
    pub(super) fn of(tables: &Tables) -> Mind {
        let mut mind = Mind::default();
        let fit = tables.all::<Node>().filter(|node| !is_unfit(Some(node)));
        mind.fit = fit.filter_map(|node| node.id.parse().ok()).collect();
        for service in tables.all::<Service>() {
            let Ok(id) = service.id.parse() else { continue };
            mind.known.insert(id, Known::of(service));
            mind.dirty.insert(id);
        }
        for task in tables.all::<Task>() {
            if is_useless(task) {
                mind.useless.extend(id(task));
            }
            let service = task.service_id.parse::<ServiceId>();
            if service.is_ok_and(|service| !mind.known.contains_key(&service)) {
                mind.strays.extend(id(task));
            }
        }
        mind
    }

    /// Sees to it that something is looked at when its moment comes.
    pub(super) fn wake_at(&mut self, at: Moment, what: Wake) {
        self.wakes.push(Reverse((at, what)));
    }

    /// The next moment at which something is due.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes up everything that is due.
    pub(super) fn wake(&mut self, now: Moment) {
        while let Some(Reverse((at, what))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            match what {
                Wake::Place(at) => drop(self.touched.insert(at)),
                Wake::Update(service) => drop(self.stepping.insert(service)),
                Wake::Service(service) => drop(self.dirty.insert(service)),
            }
        }
    }

    /// Forgets a service.
    pub(super) fn forget(&mut self, service: ServiceId) {
        self.known.remove(&service);
        self.dirty.remove(&service);
        self.stepping.remove(&service);
        self.busy.remove(&service);
        self.touched.retain(|at| at.service != service);
        self.unsettled.retain(|at| at.service != service);
        self.prunable.retain(|at| at.service != service);
        self.overfull.retain(|at| at.service != service);
    }
}
