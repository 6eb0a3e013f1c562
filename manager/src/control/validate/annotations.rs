//! Names, labels and custom index entries.

use skep_proto::{prost_types::Any, swarmkit::Annotations};

use super::{Checked, at_most, ensure, refuse, required, shown};

/// The longest name of a service, network or volume: a label of the DNS (RFC 1035, 2.3.4).
const DNS_NAME_MAX: usize = 63;
/// The longest name of a secret or config.
const FILE_NAME_MAX: usize = 64;
/// The longest name of an object that has no rule of its own.
const NAME_MAX: usize = 255;
/// Labels and index entries of one object together. Above this they are data, which belongs in a config; and a config of
/// the largest size must still fit a raft entry with them.
const ANNOTATIONS_BYTES_MAX: usize = 128 * 1024;

/// Annotations whose name becomes a DNS name: of services, networks and volumes.
pub(super) fn dns_name<'a>(
    annotations: &'a Option<Annotations>,
    what: &str,
) -> Checked<&'a Annotations> {
    let annotations = named(annotations, what)?;
    let name = &annotations.name;
    ensure(alphanumeric_with(name, b"-_"), || {
        format!(
            "{what}: the name {} must be valid as a DNS name component: letters and digits, with '-' and '_' \
             between them",
            shown(name)
        )
    })?;
    ensure(name.len() <= DNS_NAME_MAX, || {
        format!(
            "{what}: the name must be {DNS_NAME_MAX} characters or fewer, this one has {}",
            name.len()
        )
    })?;
    Ok(annotations)
}

/// Annotations whose name becomes a file name: of secrets and configs.
pub(super) fn file_name<'a>(
    annotations: &'a Option<Annotations>,
    what: &str,
) -> Checked<&'a Annotations> {
    let annotations = named(annotations, what)?;
    let name = &annotations.name;
    ensure(name.len() <= FILE_NAME_MAX && alphanumeric_with(name, b"-_."), || {
        format!(
            "{what}: the name {} must have at most {FILE_NAME_MAX} characters: letters and digits, with '-', '_' \
             and '.' between them",
            shown(name)
        )
    })?;
    Ok(annotations)
}

/// Annotations of an object that need not have a name.
pub(super) fn unnamed(annotations: Option<&Annotations>, what: &str) -> Checked {
    let Some(annotations) = annotations else { return Ok(()) };
    ensure(annotations.name.len() <= NAME_MAX, || {
        format!(
            "{what}: the name has {} characters; at most {NAME_MAX} are allowed",
            annotations.name.len()
        )
    })?;
    ensure(!annotations.name.contains('\0'), || format!("{what}: the name contains a NUL"))?;
    for entry in &annotations.indices {
        ensure(!entry.key.is_empty(), || format!("{what}: a custom index entry has no key"))?;
    }
    at_most(annotations, ANNOTATIONS_BYTES_MAX, &format!("{what}: the name with its labels"))
}

fn named<'a>(annotations: &'a Option<Annotations>, what: &str) -> Checked<&'a Annotations> {
    let present = required(annotations, &format!("{what}: the name"))?;
    ensure(!present.name.is_empty(), || format!("{what}: the name must be provided"))?;
    unnamed(Some(present), what)?;
    Ok(present)
}

/// Letters and digits at both ends, and in between those and the given others.
fn alphanumeric_with(name: &str, others: &[u8]) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || others.contains(b))
}

/// The parts of an extension: any name, which becomes the kind of its resources.
pub fn extension(annotations: &Option<Annotations>, description: &str) -> Checked {
    /// A description is a text for people.
    const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;
    named(annotations, "extension")?;
    ensure(description.len() <= DESCRIPTION_BYTES_MAX, || {
        format!(
            "extension: the description takes {} bytes; at most {DESCRIPTION_BYTES_MAX} are allowed",
            description.len()
        )
    })
}

/// The parts of a resource.
pub fn resource(annotations: &Option<Annotations>, kind: &str, payload: Option<&Any>) -> Checked {
    /// As much as a config may hold.
    const PAYLOAD_BYTES_MAX: usize = 1000 * 1024;
    named(annotations, "resource")?;
    if kind.is_empty() {
        return refuse("resource: the kind must be provided; it is the name of an extension");
    }
    payload.map_or(Ok(()), |payload| at_most(payload, PAYLOAD_BYTES_MAX, "resource: the payload"))
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    fn with(name: &str) -> Option<Annotations> {
        Some(Annotations { name: name.into(), ..Default::default() })
    }

    #[test]
    fn names_of_services_networks_and_volumes_fit_the_dns() {
        let bad = |name: &str| {
            format!(
                "service: the name {name:?} must be valid as a DNS name component: letters and digits, with '-' \
                 and '_' between them"
            )
        };
        for name in ["a", "A1", "a-b", "a--b_c", "0", &"a".repeat(63)] {
            assert_eq!(says(dns_name(&with(name), "service")), "ok", "{name}");
        }
        for name in ["-a", "a-", "a.b", "a b", "ä", "a\nb", "_a", "a/b"] {
            assert_eq!(says(dns_name(&with(name), "service")), bad(name));
        }
        assert_eq!(says(dns_name(&None, "service")), "service: the name is missing");
        assert_eq!(says(dns_name(&with(""), "service")), "service: the name must be provided");
        assert_eq!(
            says(dns_name(&with(&"a".repeat(64)), "service")),
            "service: the name must be 63 characters or fewer, this one has 64"
        );
        assert_eq!(
            says(dns_name(&with(&"a".repeat(1 << 20)), "service")),
            "service: the name has 1048576 characters; at most 255 are allowed"
        );
    }

    #[test]
    fn names_of_secrets_and_configs_may_have_dots() {
        for name in ["a", "a.b", "a-_.b", "1.json", &"a".repeat(64)] {
            assert_eq!(says(file_name(&with(name), "secret")), "ok", "{name}");
        }
        for name in [".a", "a.", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(
                says(file_name(&with(name), "secret")),
                format!(
                    "secret: the name {name:?} must have at most 64 characters: letters and digits, with '-', '_' \
                     and '.' between them"
                )
            );
        }
    }

    #[test]
    fn labels_are_bounded_and_index_entries_have_keys() {
        let labels = [("k".to_owned(), "v".repeat(ANNOTATIONS_BYTES_MAX))].into();
        let fat = Annotations { name: "a".into(), labels, ..Default::default() };
        assert_eq!(
            says(unnamed(Some(&fat), "node")),
            "node: the name with its labels takes 131086 bytes; at most 131072 are allowed"
        );
        let keyless = Annotations { indices: vec![Default::default()], ..Default::default() };
        assert_eq!(says(unnamed(Some(&keyless), "node")), "node: a custom index entry has no key");
        assert_eq!(says(unnamed(None, "node")), "ok");
    }

    #[test]
    fn resources_have_a_name_a_kind_and_a_bounded_payload() {
        assert_eq!(says(extension(&with("any name"), "")), "ok");
        assert_eq!(says(extension(&with(""), "")), "extension: the name must be provided");
        assert_eq!(says(resource(&with("r"), "k", None)), "ok");
        assert_eq!(
            says(resource(&with("r"), "", None)),
            "resource: the kind must be provided; it is the name of an extension"
        );
        let fat = Any { value: vec![0; 1 << 20], ..Default::default() };
        assert_eq!(
            says(resource(&with("r"), "k", Some(&fat))),
            "resource: the payload takes 1048580 bytes; at most 1024000 are allowed"
        );
    }
}
