//! Writes the ledger, and pulls what it lacks from other orderers.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::around::{Around, Waiter};
use super::links::Links;
use crate::core::chain::{Header, Kept};
use crate::core::keeper::{KeeperError, Work};
use crate::ledger::{Ledger, LedgerError};
use crate::machine::Shared;
use crate::wire::RangeRequest;

/// The pause after nobody could help.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the next message of a peer may take.
const STALL: Duration = Duration::from_secs(5);
/// Blocks that are pulled before they are written hold this many bytes at most, or are one.
const PULL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why an orderer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The ledger and the chain contradict one another.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The disk.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The thread that writes has panicked.
    #[error("the ledger's thread has ended: {0}")]
    Thread(String),
}

/// Runs until the orderer cannot go on; gives why.
pub async fn run(
    shared: Arc<Shared<Waiter, Around>>,
    links: Arc<Links>,
    mut ledger: Ledger,
) -> KeepError {
    loop {
        let work = match shared.work() {
            Ok(Some(work)) => work,
            Ok(None) => {
                shared.around.keeper.notified().await;
                continue;
            }
            Err(error) => return error.into(),
        };
        match work {
            Work::Write(blocks) => {
                let writing = tokio::task::spawn_blocking(move || {
                    let outcome = ledger.append(&blocks);
                    (ledger, outcome)
                });
                match writing.await {
                    Ok((same, Ok(()))) => ledger = same,
                    Ok((_, Err(error))) => return error.into(),
                    Err(error) => return KeepError::Thread(error.to_string()),
                }
                if let Some(tip) = ledger.tip() {
                    shared.around.ledger_grew(tip.header.number + 1);
                    let now = shared.around.now();
                    shared.act(|orderer| orderer.wrote(now, tip));
                }
            }
            Work::Headers { from, through } => {
                tracing::info!("the ledger lacks blocks {from} to {through}; pulls them");
                if !pull(&shared, &links, from, through, false).await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Work::Blocks { from, through } => {
                if !pull(&shared, &links, from, through, true).await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Asks one orderer after the other; whether one could help.
async fn pull(
    shared: &Shared<Waiter, Around>,
    links: &Links,
    from: u64,
    through: u64,
    blocks: bool,
) -> bool {
    for addr in links.others() {
        let outcome = match blocks {
            true => pull_blocks(shared, links, &addr, from, through).await,
            false => pull_headers(shared, links, &addr, from, through).await,
        };
        match outcome {
            Ok(()) => return true,
            Err(status) => {
                tracing::debug!("{addr} cannot help with blocks {from} to {through}: {status}");
            }
        }
    }
    tracing::info!("nobody has blocks {from} to {through} at the moment; tries again");
    false
}

async fn next<T>(stream: &mut tonic::Streaming<T>) -> Result<Option<T>, Status> {
    let next = tokio::time::timeout(STALL, stream.message()).await;
    next.map_err(|_| Status::deadline_exceeded("it has stalled"))?
}

async fn pull_headers(
    shared: &Shared<Waiter, Around>,
    links: &Links,
    addr: &str,
    from: u64,
    through: u64,
) -> Result<(), Status> {
    let asking = async { links.dial(addr)?.headers(RangeRequest { from, through }).await };
    let asked = tokio::time::timeout(STALL, asking).await;
    let asked = asked.map_err(|_| Status::deadline_exceeded("no answer"))?;
    let mut stream = asked?.into_inner();
    let mut headers = Vec::new();
    while let Some(header) = next(&mut stream).await? {
        let header = Header::from_wire(&header);
        headers.push(header.ok_or_else(|| Status::data_loss("a header without hashes"))?);
        if headers.len() as u64 > through - from + 1 {
            return Err(Status::data_loss("it sent more than was asked for"));
        }
    }
    let taken = shared.act(|orderer| orderer.headers(&headers));
    taken.map_err(|error| Status::data_loss(error.to_string()))
}

async fn pull_blocks(
    shared: &Shared<Waiter, Around>,
    links: &Links,
    addr: &str,
    from: u64,
    through: u64,
) -> Result<(), Status> {
    let asking = async { links.dial(addr)?.blocks(RangeRequest { from, through }).await };
    let asked = tokio::time::timeout(STALL, asking).await;
    let asked = asked.map_err(|_| Status::deadline_exceeded("no answer"))?;
    let mut stream = asked?.into_inner();
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    while bytes < PULL_BYTES_MAX
        && let Some(block) = next(&mut stream).await?
    {
        let kept = Kept::from_wire(block).map_err(|error| Status::data_loss(error.to_string()))?;
        bytes += kept.block.data_bytes().max(1);
        blocks.push(kept);
    }
    if blocks.is_empty() {
        return Err(Status::not_found("it sent none"));
    }
    let taken = shared.act(|orderer| orderer.pulled(blocks));
    taken.map_err(|error| Status::data_loss(error.to_string()))
}
