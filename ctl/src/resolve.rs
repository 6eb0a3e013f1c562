//! From what an operator types to one object: its whole id, its whole name, or the unique beginning of its id, in
//! this order.

use skep_proto::{skep::GetStatusRequest, swarmkit::Node};
use tonic::Code;

use crate::{
    connect::Connection,
    errors::Failure,
    objects::{Selection, Stored},
};

/// The one object that `given` names.
pub async fn resolve<S: Stored>(connection: &Connection, given: &str) -> Result<S, Failure> {
    let doing = || format!("look up {} {given}", S::NOUN);
    match S::get(connection, given).await {
        Ok(Some(object)) => return Ok(object),
        Ok(None) => {}
        // What can be no id is refused as an invalid argument by some and not found by others.
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {}
        Err(status) => return Err(Failure::call(doing())(status)),
    }
    let by_name = Selection { names: vec![given.to_owned()], ..Selection::default() };
    let by_id_prefix = Selection { id_prefixes: vec![given.to_owned()], ..Selection::default() };
    for selection in [by_name, by_id_prefix] {
        let mut found =
            S::list(connection, selection).await.map_err(|s| Failure::call(doing())(s))?;
        match found.len() {
            0 => {}
            1 => return Ok(found.remove(0)),
            count => {
                return Err(Failure::Ambiguous { noun: S::NOUN, name: given.to_owned(), count });
            }
        }
    }
    Err(Failure::NotFound { noun: S::NOUN, name: given.to_owned() })
}

/// As [`resolve`], where `self` stands for the node that the daemon runs on.
pub async fn resolve_node(connection: &Connection, given: &str) -> Result<Node, Failure> {
    if given != "self" {
        return resolve(connection, given).await;
    }
    let own = own_node_id(connection).await?;
    resolve(connection, &own).await
}

/// The id of the node that the daemon runs on.
pub async fn own_node_id(connection: &Connection) -> Result<String, Failure> {
    let request = connection.request(GetStatusRequest {});
    let status = connection.daemon().get_status(request).await;
    Ok(status.map_err(Failure::call("ask the daemon who it is"))?.into_inner().node_id)
}
