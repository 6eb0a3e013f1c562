//! Values of lists that have a language of their own.

use std::net::IpAddr;

use skep_proto::swarmkit::{
    DiscreteGenericResource, GenericResource, PlacementPreference, SpreadOver,
    container_spec::Ulimit, generic_resource::Resource, placement_preference::Preference,
};

/// A number of something that nodes have, such as `gpu=2`.
pub fn generic_resource(text: &str) -> Result<GenericResource, String> {
    let (kind, value) = text.split_once('=').ok_or("write KIND=NUMBER, such as gpu=2")?;
    let value = value.parse().map_err(|_| format!("'{value}' is no number"))?;
    let discrete = DiscreteGenericResource { kind: kind.into(), value };
    Ok(GenericResource { resource: Some(Resource::DiscreteResourceSpec(discrete)) })
}

/// What kind of thing is asked for.
pub fn generic_kind(resource: &GenericResource) -> String {
    match &resource.resource {
        Some(Resource::DiscreteResourceSpec(discrete)) => discrete.kind.clone(),
        Some(Resource::NamedResourceSpec(named)) => named.kind.clone(),
        None => String::new(),
    }
}

/// How tasks are spread, such as `spread=node.labels.zone`.
pub fn placement_preference(text: &str) -> Result<PlacementPreference, String> {
    match text.split_once('=') {
        Some(("spread", descriptor)) if !descriptor.is_empty() => Ok(PlacementPreference {
            preference: Some(Preference::Spread(SpreadOver {
                spread_descriptor: descriptor.into(),
            })),
        }),
        _ => Err("write spread=node.labels.KEY or spread=engine.labels.KEY".into()),
    }
}

/// A host name and its address, `NAME:ADDR`, as a line of /etc/hosts.
pub fn host(text: &str) -> Result<String, String> {
    let (name, address) = text.split_once(':').ok_or("write NAME:ADDRESS")?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr = bare.parse().map_err(|_| format!("'{address}' is no IP address"))?;
    if name.is_empty() {
        return Err("write NAME:ADDRESS".into());
    }
    Ok(format!("{address} {name}"))
}

/// A limit of the kernel, `NAME=SOFT` or `NAME=SOFT:HARD`; -1 is no limit.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| format!("'{text}' is no number; write NAME=SOFT:HARD"))
    };
    let (name, limits) = text.split_once('=').ok_or("write NAME=SOFT or NAME=SOFT:HARD")?;
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if name.is_empty() || (hard != -1 && (soft == -1 || soft > hard)) {
        return Err("a limit has a name, and the soft limit is not above the hard one".into());
    }
    Ok(Ulimit { name: name.into(), soft, hard })
}

/// An environment variable; a name alone takes the value that it has here.
pub fn env(text: &str) -> Result<String, String> {
    match text.split('=').next() {
        None | Some("") => Err("write NAME=VALUE".into()),
        Some(_) if text.contains('=') => Ok(text.to_owned()),
        Some(name) => Ok(match std::env::var(name) {
            Ok(value) => format!("{name}={value}"),
            Err(_) => name.to_owned(),
        }),
    }
}

/// The variables in the text of a file: a line for each, `#` for comments. A name that has no value here is left out.
pub fn env_file(text: &str) -> Result<Vec<String>, String> {
    let lines = text.lines().map(str::trim_start);
    let mut variables = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let variable = env(line)?;
        if variable.contains('=') {
            variables.push(variable);
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_is_read() {
        assert_eq!(generic_resource("gpu=2").as_ref().map(generic_kind).as_deref(), Ok("gpu"));
        assert_eq!(host("db:10.0.0.1").as_deref(), Ok("10.0.0.1 db"));
        assert_eq!(host("db:[::1]").as_deref(), Ok("::1 db"));
        assert!(placement_preference("spread=node.labels.zone").is_ok());
        let limit = ulimit("nofile=10:20").unwrap();
        assert_eq!((limit.soft, limit.hard), (10, 20));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        assert_eq!(env("A=b=c").as_deref(), Ok("A=b=c"));
        assert_eq!(env_file("# x\n\nA=1\n  B=2\nSURELY_NOT_SET_HERE\n").unwrap(), ["A=1", "B=2"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(generic_resource("gpu").is_err() && generic_resource("gpu=x").is_err());
        assert!(
            placement_preference("pack=x").is_err() && placement_preference("spread=").is_err()
        );
        assert!(host("db").is_err() && host("db:elsewhere").is_err() && host(":1.1.1.1").is_err());
        for text in ["nofile", "nofile=x", "nofile=2:1", "=1", "nofile=-1:5"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
        assert!(env("=x").is_err() && env("").is_err());
    }
}
