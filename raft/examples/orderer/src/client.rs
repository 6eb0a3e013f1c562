//! What clients and operators do.

use std::time::Duration;

use anyhow::Context as _;
use prost::Message as _;
use skep_orderer::core::chain::{Block, Hash, Header, Kind, check_link};
use skep_orderer::core::consenters::Configuration;
use skep_orderer::wire::{
    AddMemberRequest, Consenter, DeliverRequest, Envelope, MembersResponse, RemoveMemberRequest,
    StatusRequest, orderer_client::OrdererClient,
};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::options::{At, Command, MemberCommand};

/// How long a client tries: an election, and another one.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// A message: a block has 1.5 MiB at most.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection to an orderer, made when it is first used.
pub fn connect(addr: &str) -> anyhow::Result<OrdererClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"));
    let endpoint = endpoint.with_context(|| format!("{addr:?} is no address: HOST:PORT"))?;
    let channel = endpoint.connect_timeout(CONNECT_TIME_MAX).connect_lazy();
    Ok(OrdererClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// What went wrong, at which orderer.
fn failed(addr: &str, status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{addr}: {}", status.message())
}

/// The first orderer that is named.
fn named(at: &At) -> anyhow::Result<&String> {
    at.at.first().context("name orderers to ask with --at or ORDERER_AT")
}

/// Asks one orderer after the other, until one can help or it has taken too long. Only for what may be asked twice.
async fn ask<T>(
    at: &At,
    call: impl AsyncFn(OrdererClient<Channel>) -> Result<T, Status>,
) -> anyhow::Result<T> {
    named(at)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut last = None;
        for addr in &at.at {
            match call(connect(addr)?).await {
                Ok(answer) => return Ok(answer),
                Err(status) if is_lost(&status) => {
                    last = Some(failed(addr, &status));
                }
                Err(status) => return Err(failed(addr, &status)),
            }
        }
        if Instant::now() > deadline {
            return Err(last.context("nobody was asked")?);
        }
        sleep(PAUSE).await;
    }
}

/// Does what is asked for.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Submit { at, submitter, id, payload } => {
            let envelope = Envelope { submitter, id, payload: payload.into() };
            // Under its id it may be submitted as often as need be.
            let submit = async |mut client: OrdererClient<Channel>| {
                client.submit(envelope.clone()).await.map(tonic::Response::into_inner)
            };
            let ack = ask(&at, submit).await?;
            let before = if ack.duplicate { ", submitted before" } else { "" };
            println!("{} is in block {}{before}", ack.id, ack.block);
            Ok(())
        }
        Command::Deliver { at, from, follow, envelopes } => {
            deliver(&at, from, follow, envelopes).await
        }
        Command::Member { at, command } => member(&at, command).await,
        Command::Status { at } => {
            named(&at)?;
            for addr in &at.at {
                match connect(addr)?.status(StatusRequest {}).await {
                    Ok(status) => {
                        let status = status.into_inner();
                        let leader = match status.leader.as_str() {
                            "" => "no leader".to_owned(),
                            leader => format!("leader {leader}"),
                        };
                        let hash = Hash::from_slice(&status.last_hash).unwrap_or_default();
                        println!(
                            "orderer {}: {leader}, term {}, {} blocks, the last one {hash}",
                            status.id, status.term, status.height
                        );
                    }
                    Err(status) => println!("{addr}: {}", status.message()),
                }
            }
            Ok(())
        }
        Command::Bench(_) | Command::Certificates { .. } => unreachable!("done elsewhere"),
    }
}

fn print_members(members: &MembersResponse) {
    for Consenter { id, addr } in &members.consenters {
        println!("orderer {id} at {addr}");
    }
}

async fn member(at: &At, command: MemberCommand) -> anyhow::Result<()> {
    named(at)?;
    let mut unsure = None;
    for addr in &at.at {
        let mut client = connect(addr)?;
        let list = async |mut client: OrdererClient<Channel>| {
            let status = client.status(StatusRequest {}).await?;
            Ok(status.map(|status| MembersResponse { consenters: status.consenters }))
        };
        let members = match command.clone() {
            MemberCommand::Add { id, addr } => {
                let request = AddMemberRequest { consenter: Some(Consenter { id, addr }) };
                client.add_member(request).await
            }
            MemberCommand::Remove { id } => client.remove_member(RemoveMemberRequest { id }).await,
            MemberCommand::List => list(client.clone()).await,
        };
        let made = unsure.is_some();
        let members = match members {
            // Asked for already, of an orderer that went away, perhaps because it was removed itself.
            Err(status)
                if made && matches!(status.code(), Code::AlreadyExists | Code::NotFound) =>
            {
                list(client).await
            }
            members => members,
        };
        match members {
            Ok(members) => {
                print_members(&members.into_inner());
                return Ok(());
            }
            Err(status) if is_lost(&status) => unsure = Some(failed(addr, &status)),
            Err(status) => return Err(failed(addr, &status)),
        }
    }
    Err(unsure.context("nobody was asked")?)
}

/// Whether another orderer may know better.
fn is_lost(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Aborted | Code::Unknown | Code::Cancelled | Code::Internal
    )
}

async fn deliver(at: &At, from: u64, follow: bool, envelopes: bool) -> anyhow::Result<()> {
    let addr = named(at)?;
    let mut client = connect(addr)?;
    let error = |status: Status| failed(addr, &status);
    let height = client.status(StatusRequest {}).await.map_err(error)?.into_inner().height;
    anyhow::ensure!(follow || from < height, "{addr}: the chain has {height} blocks");
    let through = (!follow).then(|| height - 1);
    let request = DeliverRequest { from, through };
    let mut blocks = client.deliver(request).await.map_err(error)?.into_inner();
    let mut last: Option<Header> = None;
    while let Some(block) = blocks.message().await.map_err(error)? {
        let block = Block::from_wire(block)?;
        if last.is_some() || from == 0 {
            check_link(last.as_ref(), &block.header)?;
        }
        block.check_data()?;
        last = Some(block.header);
        print_block(&block, envelopes)?;
    }
    Ok(())
}

fn print_block(block: &Block, envelopes: bool) -> anyhow::Result<()> {
    let Header { number, previous, .. } = block.header;
    let what = match block.kind {
        Kind::Envelopes => format!("{} envelopes", block.data.len()),
        Kind::Configuration => {
            let configuration = Configuration::decode(&block.data[0]);
            let configuration = configuration.context("its configuration makes no sense")?;
            let ids: Vec<_> = configuration.consenters.into_keys().collect();
            format!("orderers {}", ids.join(", "))
        }
    };
    println!("block {number} {} after {previous}: {what}", block.header.hash());
    if envelopes && block.kind == Kind::Envelopes {
        for item in &block.data {
            let envelope = Envelope::decode(item.clone())?;
            let payload = String::from_utf8_lossy(&envelope.payload);
            println!("  {} {} {payload}", envelope.submitter, envelope.id);
        }
    }
    Ok(())
}
