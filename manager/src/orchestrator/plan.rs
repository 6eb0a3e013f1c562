//! Looking at a service as a whole: which places it should have, which of them to fill, to give up, to look at, and to move to
//! its present spec. Happens when its spec changes and when a leader begins; what happens to single tasks later does not
//! come back here.

use std::sync::Arc;

use skep_proto::{
    ids::{NodeId, ServiceId},
    prost_types::Timestamp,
    swarmkit::{Node, Service, Task, TaskState},
};
use skep_store::{By, Tables};

use super::{
    board::Board,
    mind::{Known, Mind},
    moment::Moment,
    nodes::{Standing, is_unfit, job_standing, standing},
    replicated::{Occupied, scale},
    restart::node_of,
    slot::{holders, of_this_run, replicas},
    task::{Place, PlaceOf, has_failed, id, is_global, is_job, is_wanted, sort_by_age},
    update::begin::Beginning,
};

impl Mind {
    /// Looks at everything that has to be looked at as a whole.
    pub(super) fn plan(&mut self, tables: &Tables, now: Timestamp) {
        for service in std::mem::take(&mut self.removed) {
            let tasks = tables.find::<Task>(By::Service(service));
            self.strays.extend(tasks.filter_map(|task| id(task)));
        }
        for node in std::mem::take(&mut self.moved_nodes) {
            self.plan_node(tables, node);
        }
        for service in std::mem::take(&mut self.dirty) {
            self.plan_service(tables, service, now);
        }
        self.plan_jobs(tables);
    }

    /// Every place that the node's change may have to do with.
    fn plan_node(&mut self, tables: &Tables, node: NodeId) {
        if is_unfit(tables.get::<Node>(&node).map(|node| &**node)) {
            for task in tables.find::<Task>(By::Node(node)) {
                let Ok(service) = task.service_id.parse::<ServiceId>() else { continue };
                let Some(known) = self.known.get(&service) else { continue };
                let place = known.place(task);
                self.touched.extend(place.map(|place| PlaceOf { service, place }));
            }
        }
        let globals = self.known.iter().filter(|(_, known)| known.global);
        let places =
            globals.map(|(service, _)| PlaceOf { service: *service, place: Place::Node(node) });
        self.touched.extend(places);
    }

    fn plan_service(&mut self, tables: &Tables, id: ServiceId, now: Timestamp) {
        // Removed meanwhile: that is the next commit's news.
        let Some(service) = tables.get::<Service>(&id) else { return };
        let known = self.known.entry(id).or_insert_with(|| Known::of(service));
        known.fill.clear();
        known.vacate.clear();
        let mut by_place = tasks_by_place(tables, id, service);
        let mut staying = Vec::new();
        if is_job(service) {
            for (_, tasks) in &mut by_place {
                let (present, outdated) = of_this_run(service, std::mem::take(tasks));
                let leave = |t: &&Arc<Task>| t.desired_state < TaskState::Remove as i32;
                self.strays
                    .extend(outdated.into_iter().filter(leave).filter_map(|t| super::task::id(t)));
                *tasks = present;
            }
        }
        match (replicas(service), is_global(service)) {
            (Some(replicas), _) => {
                let occupied: Vec<Occupied<'_>> = by_place
                    .iter()
                    .filter_map(|(place, tasks)| match place {
                        Place::Slot(slot) => Some((*slot, tasks.clone())),
                        Place::Node(_) => None,
                    })
                    .collect();
                let scale = scale(service, replicas, &occupied);
                known.fill.extend(scale.fill);
                known.vacate.extend(scale.vacate);
                staying = scale.keep;
                staying.sort_unstable();
            }
            (None, true) => {
                let look = nodes_to_look_at(tables, service, &by_place);
                let places = look.into_iter().map(Place::Node);
                self.touched.extend(places.map(|place| PlaceOf { service: id, place }));
                let member =
                    |node: &NodeId| standing_of(tables, service, *node) == Standing::Member;
                let on_members = |(place, _): &(Place, _)| match place {
                    Place::Node(node) => member(node).then_some(*place),
                    Place::Slot(_) => None,
                };
                staying = by_place.iter().filter_map(on_members).collect();
            }
            (None, false) => {
                known.board = Board::of(service);
                if let Some(board) = &mut known.board {
                    for (place, tasks) in &by_place {
                        if let Place::Slot(slot) = place {
                            board.note(*slot, tasks);
                        }
                    }
                    known.fill.extend(board.hand_out().into_iter().map(Place::Slot));
                }
            }
        }
        for (place, tasks) in &by_place {
            let at = PlaceOf { service: id, place: *place };
            if tasks.iter().any(|task| asks_for_a_look(tables, task)) || wanted(tasks) > 1 {
                self.touched.insert(at);
            }
            if tasks.len() > 1 {
                self.prunable.insert(at);
            }
        }
        self.plan_update(tables, id, service, &by_place, &staying, now.into());
        if self.known.get(&id).is_some_and(Known::is_busy) {
            self.busy.insert(id);
        }
    }

    /// Begins an update, or goes on with one, if there is anything to move.
    fn plan_update(
        &mut self,
        tables: &Tables,
        id: ServiceId,
        service: &Service,
        by_place: &[(Place, Vec<&Arc<Task>>)],
        staying: &[Place],
        now: Moment,
    ) {
        let Some(known) = self.known.get_mut(&id) else { return };
        if is_job(service) || known.update.as_ref().is_some_and(|u| u.leads_to(service)) {
            return;
        }
        known.begin.clear();
        let mut beginning = Beginning::new(tables, service, now);
        for (place, tasks) in by_place.iter().filter(|(p, _)| staying.binary_search(p).is_ok()) {
            beginning.place(*place, tasks);
        }
        known.update = beginning.update();
        known.overlooked = false;
        if known.update.is_some() {
            self.stepping.insert(id);
        }
    }

    /// Brings the boards of jobs up to date where something happened, and hands out what is next.
    fn plan_jobs(&mut self, tables: &Tables) {
        let Mind { touched, known, busy, .. } = self;
        let mut hand_out = Vec::new();
        for at in touched.iter() {
            let (Place::Slot(slot), Some(known)) = (at.place, known.get_mut(&at.service)) else {
                continue;
            };
            let Some(board) = &mut known.board else { continue };
            let mut tasks: Vec<&Arc<Task>> = tables
                .find::<Task>(By::Slot(at.service, slot))
                .filter(|task| task.job_iteration == board.iteration)
                .collect();
            sort_by_age(&mut tasks);
            board.note(slot, &tasks);
            if hand_out.last() != Some(&at.service) {
                hand_out.push(at.service);
            }
        }
        for service in hand_out {
            let Some(known) = known.get_mut(&service) else { continue };
            let Some(board) = &mut known.board else { continue };
            known.fill.extend(board.hand_out().into_iter().map(Place::Slot));
            busy.extend(known.is_busy().then_some(service));
        }
    }
}

/// All tasks of a service by place, in order; within each place the oldest first.
fn tasks_by_place<'a>(
    tables: &'a Tables,
    id: ServiceId,
    service: &Service,
) -> Vec<(Place, Vec<&'a Arc<Task>>)> {
    let mut tasks: Vec<(Place, &Arc<Task>)> = tables
        .find::<Task>(By::Service(id))
        .filter_map(|task| Some((super::task::place(service, task)?, task)))
        .collect();
    // The index has the slots in order already.
    tasks.sort_by_key(|(place, _)| *place);
    let mut by_place: Vec<(Place, Vec<&Arc<Task>>)> = Vec::new();
    for (place, task) in tasks {
        match by_place.last_mut() {
            Some((last, tasks)) if *last == place => tasks.push(task),
            _ => by_place.push((place, vec![task])),
        }
    }
    by_place.iter_mut().for_each(|(_, tasks)| sort_by_age(tasks));
    by_place
}

/// Nodes that should have a task of the service and do not, or have one and should not.
fn nodes_to_look_at(
    tables: &Tables,
    service: &Service,
    by_place: &[(Place, Vec<&Arc<Task>>)],
) -> Vec<NodeId> {
    let held = |node: NodeId| {
        let at = by_place.binary_search_by_key(&Place::Node(node), |(place, _)| *place);
        at.is_ok_and(|at| !holders(service, &by_place[at].1).is_empty())
    };
    let lacking = tables
        .all::<Node>()
        .filter_map(|node| node.id.parse().ok())
        .filter(|node| standing_of(tables, service, *node) == Standing::Member && !held(*node));
    let unwanted = by_place.iter().filter_map(|(place, tasks)| match place {
        Place::Node(node) => match standing_of(tables, service, *node) {
            Standing::Gone => Some(*node),
            Standing::Outsider if wanted(tasks) > 0 => Some(*node),
            _ => None,
        },
        Place::Slot(_) => None,
    });
    lacking.chain(unwanted).collect()
}

fn standing_of(tables: &Tables, service: &Service, node: NodeId) -> Standing {
    let node = tables.get::<Node>(&node).map(|node| &**node);
    match is_job(service) {
        true => job_standing(service, node),
        false => standing(service, node),
    }
}

fn wanted(tasks: &[&Arc<Task>]) -> usize {
    tasks.iter().filter(|task| is_wanted(task)).count()
}

/// Whether something is to be done about the task, or is under way.
fn asks_for_a_look(tables: &Tables, task: &Task) -> bool {
    let displaced = || !task.node_id.is_empty() && is_unfit(node_of(task, tables));
    let waits = task.desired_state <= TaskState::Ready as i32;
    is_wanted(task) && (waits || has_failed(task) || displaced())
}
