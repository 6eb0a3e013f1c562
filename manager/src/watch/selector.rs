//! What a client wants to watch, as the store selects it. What makes no sense is refused, so that a client does not wait
//! for events that cannot come.

use skep_proto::{
    ids::Id,
    swarmkit::{SelectBy, WatchActionKind, select_by::By as Wire, watch_request::WatchEntry},
};
use skep_store::{Action, By, Kind, Select, Selector};

use crate::control::{
    errors::ControlError,
    validate::{known, shown},
};

/// The most entries of one request, and filters of one entry: each event is held against them.
const ENTRIES_MAX: usize = 100;

/// The selector that the entries ask for; without entries, everything.
pub(super) fn selector(entries: &[WatchEntry]) -> Result<Selector, ControlError> {
    if entries.is_empty() {
        return Ok(Selector::all());
    }
    bounded(entries.len(), "entries")?;
    Ok(Selector::any(entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?))
}

fn bounded(len: usize, what: &str) -> Result<(), ControlError> {
    if len <= ENTRIES_MAX {
        return Ok(());
    }
    Err(ControlError::argument(format!(
        "{len} {what} in a watch are too many; at most {ENTRIES_MAX} are allowed"
    )))
}

fn entry(entry: &WatchEntry) -> Result<Select, ControlError> {
    bounded(entry.filters.len(), "filters")?;
    let actions = actions(entry.action)?;
    let mut filters = entry.filters.iter().map(filter).collect::<Result<Vec<_>, _>>()?;
    // A kind that is none of ours is one that an extension has added.
    let kind = match Kind::ALL.iter().find(|kind| kind.as_str() == entry.kind) {
        Some(kind) => *kind,
        None if entry.kind.is_empty() => {
            return Err(ControlError::argument("an entry of a watch names no kind of object"));
        }
        None => {
            filters.push(By::Kind(entry.kind.clone()));
            Kind::Resource
        }
    };
    if !filters.iter().all(|by| by.applies_to(kind)) {
        return Err(ControlError::argument(format!(
            "a watch of {} has a filter that objects of this kind cannot be asked for",
            shown(&entry.kind)
        )));
    }
    Ok(Select { kind, actions, filters })
}

fn actions(mask: i32) -> Result<Vec<Action>, ControlError> {
    let actions = [
        (Action::Create, WatchActionKind::WatchActionCreate),
        (Action::Update, WatchActionKind::WatchActionUpdate),
        (Action::Remove, WatchActionKind::WatchActionRemove),
    ];
    let all = actions.iter().fold(0, |all, (_, bit)| all | *bit as i32);
    if mask == 0 || mask & !all != 0 {
        return Err(ControlError::argument(format!(
            "action {mask} of a watch is not a sum of 1 (create), 2 (update) and 4 (remove)"
        )));
    }
    Ok(actions
        .into_iter()
        .filter(|(_, bit)| mask & *bit as i32 != 0)
        .map(|(action, _)| action)
        .collect())
}

fn filter(select: &SelectBy) -> Result<By, ControlError> {
    let Some(by) = &select.by else {
        return Err(ControlError::argument("a filter of a watch is empty"));
    };
    Ok(match by {
        Wire::Id(id) => By::Id(parse(id)?),
        Wire::IdPrefix(prefix) => By::IdPrefix(prefix.clone()),
        Wire::Name(name) => By::Name(name.clone()),
        Wire::NamePrefix(prefix) => By::NamePrefix(prefix.clone()),
        Wire::Custom(custom) => {
            By::Custom { key: custom.index.clone(), value: custom.value.clone() }
        }
        Wire::CustomPrefix(custom) => {
            By::CustomPrefix { key: custom.index.clone(), value_prefix: custom.value.clone() }
        }
        Wire::ServiceId(id) => By::Service(parse(id)?.into()),
        Wire::NodeId(id) => By::Node(parse(id)?.into()),
        Wire::Slot(slot) => By::Slot(parse(&slot.service_id)?.into(), slot.slot),
        Wire::DesiredState(state) => By::DesiredState(known(*state, "desired state")?),
        Wire::Role(role) => By::Role(known(*role, "role")?),
        Wire::Membership(membership) => By::Membership(known(*membership, "membership")?),
        Wire::ReferencedNetworkId(id) => By::ReferencedNetwork(parse(id)?.into()),
        Wire::ReferencedSecretId(id) => By::ReferencedSecret(parse(id)?.into()),
        Wire::ReferencedConfigId(id) => By::ReferencedConfig(parse(id)?.into()),
        Wire::Kind(kind) => By::Kind(kind.clone()),
    })
}

fn parse(id: &str) -> Result<Id, ControlError> {
    id.parse().map_err(|_| ControlError::argument(format!("{} in a watch is not an id", shown(id))))
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{SelectByCustom, SelectBySlot};

    use super::*;

    fn asked(kind: &str, action: i32, by: Vec<Option<Wire>>) -> Result<Select, String> {
        let filters = by.into_iter().map(|by| SelectBy { by }).collect();
        entry(&WatchEntry { kind: kind.into(), action, filters }).map_err(|error| error.to_string())
    }

    #[test]
    fn kinds_and_actions_are_those_that_there_are() {
        for kind in Kind::ALL {
            assert_eq!(asked(kind.as_str(), 7, vec![]), Ok(Select::kind(kind)));
        }
        let some = asked("task", 5, vec![]).unwrap();
        assert_eq!(some.actions, [Action::Create, Action::Remove]);
        let custom = asked("certificate", 1, vec![]).unwrap();
        assert_eq!(
            (custom.kind, custom.filters),
            (Kind::Resource, vec![By::Kind("certificate".into())])
        );
        assert_eq!(asked("", 7, vec![]), Err("an entry of a watch names no kind of object".into()));
        for mask in [0, 8, 9, -1] {
            assert_eq!(
                asked("node", mask, vec![]),
                Err(format!(
                    "action {mask} of a watch is not a sum of 1 (create), 2 (update) and 4 (remove)"
                ))
            );
        }
    }

    #[test]
    fn every_filter_has_its_condition() {
        let id: Id = "abc".parse().unwrap();
        let text = || "abc".to_owned();
        let custom =
            || SelectByCustom { kind: String::new(), index: "k".into(), value: "v".into() };
        for (kind, wire, by) in [
            ("node", Wire::Id(text()), By::Id(id)),
            ("node", Wire::IdPrefix(text()), By::IdPrefix(text())),
            ("secret", Wire::Name(text()), By::Name(text())),
            ("secret", Wire::NamePrefix(text()), By::NamePrefix(text())),
            ("config", Wire::Custom(custom()), By::Custom { key: "k".into(), value: "v".into() }),
            (
                "config",
                Wire::CustomPrefix(custom()),
                By::CustomPrefix { key: "k".into(), value_prefix: "v".into() },
            ),
            ("task", Wire::ServiceId(text()), By::Service(id.into())),
            ("task", Wire::NodeId(text()), By::Node(id.into())),
            (
                "task",
                Wire::Slot(SelectBySlot { service_id: text(), slot: 3 }),
                By::Slot(id.into(), 3),
            ),
            (
                "task",
                Wire::DesiredState(512),
                By::DesiredState(skep_proto::swarmkit::TaskState::Running),
            ),
            ("node", Wire::Role(1), By::Role(skep_proto::swarmkit::NodeRole::Manager)),
            (
                "node",
                Wire::Membership(1),
                By::Membership(skep_proto::swarmkit::node_spec::Membership::Accepted),
            ),
            ("service", Wire::ReferencedNetworkId(text()), By::ReferencedNetwork(id.into())),
            ("task", Wire::ReferencedSecretId(text()), By::ReferencedSecret(id.into())),
            ("service", Wire::ReferencedConfigId(text()), By::ReferencedConfig(id.into())),
            ("resource", Wire::Kind(text()), By::Kind(text())),
        ] {
            assert_eq!(asked(kind, 7, vec![Some(wire)]).unwrap().filters, [by]);
        }
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        let unfit = |kind: &str| {
            format!(
                "a watch of {kind:?} has a filter that objects of this kind cannot be asked for"
            )
        };
        for (kind, by, expected) in [
            ("node", None, "a filter of a watch is empty".into()),
            ("node", Some(Wire::Id("a b".into())), "\"a b\" in a watch is not an id".into()),
            ("node", Some(Wire::Role(9)), "role 9 is not a known value".into()),
            ("task", Some(Wire::DesiredState(1)), "desired state 1 is not a known value".into()),
            ("task", Some(Wire::Role(1)), unfit("task")),
            (
                "network",
                Some(Wire::Slot(SelectBySlot { service_id: "a".into(), slot: 1 })),
                unfit("network"),
            ),
            ("volume", Some(Wire::Kind("x".into())), unfit("volume")),
        ] {
            assert_eq!(asked(kind, 7, vec![by]), Err(expected));
        }
        let many = vec![WatchEntry::default(); 101];
        assert_eq!(
            selector(&many).err().unwrap().to_string(),
            "101 entries in a watch are too many; at most 100 are allowed"
        );
    }
}
