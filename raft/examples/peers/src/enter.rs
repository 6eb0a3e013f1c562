//! A node's way into its group: back into the one that its folder knows, or by founding one, or by joining.
//!
//! What must hold: no second group is ever founded beside one that is there, and no node ever votes twice. See the front
//! page for how.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::future::join_all;
use rand::RngCore as _;
use skep_raft::{Member, RaftId, Start, StartError};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    Security, ask,
    folder::{Folder, FolderError, Identity},
    transport::Shared,
    wire::{JoinReply, JoinRequest, NAME_BYTES_MAX, Whoami},
};

/// How often the others are asked again.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a restart waits for the others to say which group they are of.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the log says what is being waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name among the members; not empty, at most 255 bytes.
    pub name: String,
    /// Where the other members reach it.
    pub addr: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// How it becomes a member the first time. Later its folder says it all.
    pub way: Way,
    /// How connections are protected.
    pub security: Security,
}

/// How a node becomes a member for the first time.
#[derive(Clone, Debug)]
pub enum Way {
    /// With these nodes, by name, itself among them; all of them are told the same.
    Listed(BTreeMap<String, String>),
    /// Through any of these addresses of members.
    Join(Vec<String>),
}

/// Why a node is not in its group.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The setup contradicts itself.
    #[error("{0}")]
    Setup(String),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The listener.
    #[error("cannot listen on the members' address")]
    Listen(#[source] std::io::Error),
    /// The raft node.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The folder's member was removed from the group for ever.
    #[error(
        "this member was removed from its group; with an empty folder the node can join as a new one"
    )]
    Removed,
    /// The folder says that there is a log, and there is none.
    #[error(
        "the folder's raft log is gone, and with it the votes of this member; \
         clear the whole folder, so that the node joins as a new member"
    )]
    LogLost,
    /// The others are not who they should be.
    #[error("{0}")]
    Others(String),
    /// The leader refuses this node for good.
    #[error("the group does not take this node: {0}")]
    Refused(String),
}

impl Way {
    /// As all nodes of the list say it.
    pub(crate) fn listed(&self) -> String {
        let Way::Listed(all) = self else { return String::new() };
        let all: Vec<_> = all.iter().map(|(name, addr)| format!("{name}={addr}")).collect();
        all.join(",")
    }
}

impl Setup {
    pub(crate) fn check(&self) -> Result<(), EnterError> {
        let wrong = |text: String| Err(EnterError::Setup(text));
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return wrong(format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        match &self.way {
            Way::Listed(all) => match all.get(&self.name) {
                None => wrong(format!("{} is not among the nodes listed", self.name)),
                Some(addr) if *addr != self.addr => {
                    wrong(format!("{} is listed at {addr}, not at {}", self.name, self.addr))
                }
                Some(_) => Ok(()),
            },
            Way::Join(members) if members.is_empty() => {
                wrong("no member is named to join through".to_owned())
            }
            Way::Join(_) => Ok(()),
        }
    }
}

/// Makes sure that the folder is not one of another group, as far as anybody answers. Not waited for: a group whose other
/// members are down must be able to start.
pub(crate) async fn check_others(
    setup: &Setup,
    shared: &Shared,
    own: Option<u64>,
) -> Result<(), EnterError> {
    let others: Vec<_> = match &setup.way {
        Way::Listed(all) => all.values().filter(|addr| **addr != setup.addr).collect(),
        Way::Join(members) => members.iter().collect(),
    };
    let asked = others.into_iter().map(|addr| async move {
        let who = tokio::time::timeout(CHECK_TIMEOUT, ask::who(&shared.security, addr)).await;
        (addr, who.ok().and_then(Result::ok))
    });
    for (addr, who) in join_all(asked).await {
        if let Some(who) = who.filter(|who| who.member && Some(who.cluster) != own) {
            return Err(EnterError::Others(format!(
                "{} holds a member of group {:016x}, and {} at {addr} is one of {:016x}: the folder or \
                 the address is wrong",
                setup.folder.display(),
                own.unwrap_or_default(),
                who.name,
                who.cluster
            )));
        }
    }
    Ok(())
}

/// What the others say decides.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Somebody at this address is a member.
    JoinThrough(String),
    /// Nobody is, and it is for this node to found the group.
    Found,
    /// Not enough is known; why.
    Wait(String),
    /// It will never do.
    GiveUp(String),
}

/// Decides by what the others in the list say; `None` for one that does not answer.
fn decide(
    own: &str,
    all: &BTreeMap<String, String>,
    listed: &str,
    answers: &BTreeMap<String, Option<Whoami>>,
) -> Next {
    let others = all.iter().filter(|(name, _)| *name != own);
    let mut missing = Vec::new();
    let mut member = None;
    for (name, addr) in others {
        match answers.get(name).and_then(Option::as_ref) {
            None => missing.push(format!("no answer from {name} at {addr}")),
            Some(who) if who.name != *name => {
                return Next::GiveUp(format!("at {addr} is {}, not {name}", who.name));
            }
            Some(who) if who.member => member = member.or(Some(addr.clone())),
            // It is on its way back into a group, which this node must not found a second time.
            Some(who) if !who.fresh => {
                missing.push(format!("{name} at {addr} is not back in its group yet"))
            }
            Some(who) if who.listed != listed => {
                return Next::GiveUp(format!(
                    "{name} was told to form a group of {:?}, and this node one of {listed:?}",
                    who.listed
                ));
            }
            Some(_) => {}
        }
    }
    let founder = all.keys().next().is_some_and(|first| first == own);
    match member {
        Some(addr) => Next::JoinThrough(addr),
        None if founder && missing.is_empty() => Next::Found,
        None if founder => Next::Wait(missing.join("; ")),
        None => Next::Wait("no node in the list is a member yet".to_owned()),
    }
}

/// The way in, once it is known that the log is empty. Waits for as long as it takes.
pub(crate) async fn first_start(
    setup: &Setup,
    shared: &Shared,
    folder: &mut Folder,
) -> Result<Start, EnterError> {
    let mut said = Saying::default();
    loop {
        let why = match next(setup, shared).await {
            Next::Found => {
                let cluster = rand::rng().next_u64() | 1;
                folder.change(|identity| identity.cluster = Some(cluster))?;
                tracing::info!("founds group {cluster:016x}");
                let node_id = folder.identity().node_id();
                return Ok(Start::Bootstrap { node_id, addr: setup.addr.clone() });
            }
            Next::GiveUp(why) => return Err(EnterError::Others(why)),
            Next::Wait(why) => why,
            Next::JoinThrough(addr) => {
                match ask::join(&shared.security, &addr, request(setup, folder.identity())).await {
                    Ok(reply) => return joined(folder, reply),
                    Err(status) if is_final(&status) => {
                        return Err(EnterError::Refused(status.message().to_owned()));
                    }
                    Err(status) => status.message().to_owned(),
                }
            }
        };
        said.say(&why);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn next(setup: &Setup, shared: &Shared) -> Next {
    match &setup.way {
        Way::Listed(all) => {
            let others = all.iter().filter(|(name, _)| **name != setup.name);
            let asked = others.map(|(name, addr)| async {
                (name.clone(), ask::who(&shared.security, addr).await.ok())
            });
            let answers = join_all(asked).await.into_iter().collect();
            decide(&setup.name, all, &shared.listed, &answers)
        }
        Way::Join(members) => {
            let asked = members.iter().map(|addr| ask::who(&shared.security, addr));
            let answers = join_all(asked).await;
            let member = members
                .iter()
                .zip(answers)
                .find_map(|(addr, who)| who.is_ok_and(|who| who.member).then(|| addr.clone()));
            let nobody = || Next::Wait(format!("no member answers at {}", members.join(", ")));
            member.map_or_else(nobody, Next::JoinThrough)
        }
    }
}

pub(crate) fn request(setup: &Setup, identity: &Identity) -> JoinRequest {
    JoinRequest {
        name: setup.name.clone(),
        incarnation: identity.incarnation,
        addr: setup.addr.clone(),
        passed_on: false,
    }
}

/// The name is taken: no waiting will change that.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::AlreadyExists | Code::InvalidArgument)
}

fn joined(folder: &mut Folder, reply: JoinReply) -> Result<Start, EnterError> {
    let member = |member: crate::wire::Member| Member {
        raft_id: RaftId(member.raft_id),
        node_id: member.node_id,
        addr: member.addr,
    };
    let members: Vec<_> = reply.members.into_iter().map(member).collect();
    let own = members.iter().find(|member| member.raft_id.0 == reply.raft_id).cloned();
    let own = own.filter(|own| own.raft_id.0 != 0 && reply.cluster != 0).ok_or_else(|| {
        EnterError::Others("the leader's answer does not say which member this is".to_owned())
    })?;
    folder.change(|identity| identity.cluster = Some(reply.cluster))?;
    tracing::info!("joins group {:016x} as member {}", reply.cluster, own.raft_id);
    Ok(Start::Join { own, members })
}

/// Says what is being waited for: at once when it changes, and again now and then.
#[derive(Default)]
pub(crate) struct Saying {
    last: Option<(String, Instant)>,
}

impl Saying {
    pub(crate) fn say(&mut self, why: &str) {
        let again =
            self.last.as_ref().is_none_or(|(said, at)| said != why || at.elapsed() >= SAY_EVERY);
        if again {
            tracing::info!("is not a member yet: {why}");
            self.last = Some((why.to_owned(), Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `2:new` answers and is no member, `2:member` is one, `2:back` will be one again, `2:-` does not answer, `2:is 3` is somebody else.
    fn answers(script: &str, listed: &str) -> BTreeMap<String, Option<Whoami>> {
        let answer = |text: &str| {
            let (name, says) = text.split_once(':').unwrap();
            let name = name.to_owned();
            let who = Whoami {
                name: name.clone(),
                listed: listed.to_owned(),
                fresh: true,
                ..Whoami::default()
            };
            let who = match says {
                "new" => Some(who),
                "back" => Some(Whoami { fresh: false, ..who }),
                "member" => Some(Whoami { member: true, cluster: 9, fresh: false, ..who }),
                "other list" => Some(Whoami { listed: "9=i".to_owned(), ..who }),
                "-" => None,
                says => Some(Whoami { name: says.strip_prefix("is ").unwrap().to_owned(), ..who }),
            };
            (name, who)
        };
        script.split(", ").map(answer).collect()
    }

    #[test]
    fn who_founds_who_joins_and_who_waits() {
        let all: BTreeMap<_, _> =
            [("1", "a"), ("2", "b"), ("3", "c")].map(|(n, a)| (n.to_owned(), a.to_owned())).into();
        let listed = Way::Listed(all.clone()).listed();
        for (own, said, expected) in [
            ("1", "2:new, 3:new", "found"),
            ("1", "2:-, 3:new", "wait: no answer from 2 at b"),
            ("1", "2:-, 3:-", "wait: no answer from 2 at b; no answer from 3 at c"),
            // It has lost its disk: there is a group, whoever is not up.
            ("1", "2:-, 3:member", "join c"),
            ("1", "2:member, 3:new", "join b"),
            ("1", "2:back, 3:new", "wait: 2 at b is not back in its group yet"),
            ("1", "2:back, 3:member", "join c"),
            ("2", "1:new, 3:new", "wait: no node in the list is a member yet"),
            ("2", "1:-, 3:-", "wait: no node in the list is a member yet"),
            ("2", "1:member, 3:-", "join a"),
            ("3", "1:-, 2:member", "join b"),
            ("1", "2:is 7, 3:new", "give up: at b is 7, not 2"),
            (
                "1",
                "2:other list, 3:new",
                "give up: 2 was told to form a group of \"9=i\", and this node one of \"1=a,2=b,3=c\"",
            ),
        ] {
            let next = match decide(own, &all, &listed, &answers(said, &listed)) {
                Next::Found => "found".to_owned(),
                Next::JoinThrough(addr) => format!("join {addr}"),
                Next::Wait(why) => format!("wait: {why}"),
                Next::GiveUp(why) => format!("give up: {why}"),
            };
            assert_eq!(next, expected, "{own} hears {said}");
        }
        let alone = [("1".to_owned(), "a".to_owned())].into();
        assert_eq!(decide("1", &alone, "1=a", &BTreeMap::new()), Next::Found);
    }
}
