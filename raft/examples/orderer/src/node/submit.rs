//! Takes envelopes in: orders them here if this orderer leads, passes them on to the leader if not.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt as _};
use skep_raft::Epoch;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::around::{Around, Waiter};
use super::links::{Links, no_leader};
use crate::core::envelope::Submission;
use crate::core::leader::{Outcome, Refused};
use crate::machine::Shared;
use crate::wire::{Ack, Envelope};

/// Envelopes of one stream that wait for their answers at most; the stream is not read on meanwhile.
const UNDER_WAY_MAX: usize = 8192;
/// Answers that wait for a slow client at most, likewise.
const ANSWERS_MAX: usize = 1024;

/// Answers of one stream.
pub type Acks = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;

/// See the module.
#[derive(Clone)]
pub struct Desk {
    /// The orderer.
    pub shared: Arc<Shared<Waiter, Around>>,
    /// The way to the leader.
    pub links: Arc<Links>,
}

fn refused(why: &Refused) -> Status {
    match why {
        Refused::NotLeading | Refused::Wait => no_leader(),
        Refused::TooLarge { .. } => Status::invalid_argument(why.to_string()),
        Refused::NameUsed => Status::already_exists(why.to_string()),
    }
}

fn answer(id: String, outcome: Result<Outcome, oneshot::error::RecvError>) -> Result<Ack, Status> {
    match outcome {
        Ok(Outcome::Ordered { block, duplicate }) => Ok(Ack { id, block, duplicate }),
        Ok(Outcome::NotOrdered) => Err(Status::unavailable(format!(
            "envelope {id} was not ordered, since this orderer has just stopped leading; submit it again"
        ))),
        // The process stops before it could say.
        Ok(Outcome::Unknown) | Err(_) => Err(unknown(&format!("of envelope {id}"))),
    }
}

/// Nobody knows.
fn unknown(what: &str) -> Status {
    Status::aborted(format!(
        "the leader was lost and the outcome {what} is not known; submit it again under the same id"
    ))
}

impl Desk {
    /// Orders an envelope here; resolves once it has been taken, to what resolves with the outcome. Waits for room. When it is
    /// dropped before, the envelope was not taken.
    async fn order(
        &self,
        since: Option<Epoch>,
        envelope: &Envelope,
    ) -> Result<(Epoch, oneshot::Receiver<Outcome>), Status> {
        let invalid = |error: &dyn std::error::Error| Status::invalid_argument(error.to_string());
        let mut submission = Submission::new(envelope).map_err(|error| invalid(&error))?;
        let (mut waiter, outcome) = oneshot::channel();
        loop {
            let room = self.shared.around.room.notified();
            tokio::pin!(room);
            // Before the try, so that no word is missed after it.
            room.as_mut().enable();
            let now = self.shared.around.now();
            match self.shared.submit(now, since, submission, waiter) {
                Ok(epoch) => return Ok((epoch, outcome)),
                Err((again, same, Refused::Wait)) => (submission, waiter) = (again, same),
                Err((_, _, why)) => return Err(refused(&why)),
            }
            room.await;
        }
    }

    /// Orders a stream of envelopes on the leader. The first one that is refused ends it, after the answers for those before.
    pub fn order_here(&self, mut envelopes: Envelopes) -> Acks {
        let (out, answers) = mpsc::channel(ANSWERS_MAX);
        let desk = self.clone();
        tokio::spawn(async move {
            let mut under_way = FuturesOrdered::new();
            let mut open = true;
            while open || !under_way.is_empty() {
                tokio::select! {
                    biased;
                    Some((id, outcome)) = under_way.next(), if !under_way.is_empty() => {
                        let answer = answer(id, outcome);
                        let failed = answer.is_err();
                        if out.send(answer).await.is_err() || failed {
                            // Who comes after it was not ordered either, or is told so when the stream is begun anew.
                            return;
                        }
                    }
                    taken = desk.take(&mut envelopes), if open && under_way.len() < UNDER_WAY_MAX => {
                        match taken {
                            Ok(Some((id, outcome))) => under_way.push_back(async move { (id, outcome.await) }),
                            Ok(None) => open = false,
                            Err(status) => {
                                while let Some((id, outcome)) = under_way.next().await {
                                    if out.send(answer(id, outcome)).await.is_err() {
                                        return;
                                    }
                                }
                                // Nobody listens any more: then nobody need know.
                                let _ = out.send(Err(status)).await;
                                return;
                            }
                        }
                    }
                }
            }
        });
        Box::pin(ReceiverStream::new(answers))
    }

    /// The next envelope of a stream. Safe to drop: an envelope that was read and not taken is tried again.
    async fn take(
        &self,
        envelopes: &mut Envelopes,
    ) -> Result<Option<(String, oneshot::Receiver<Outcome>)>, Status> {
        if envelopes.next.is_none() {
            envelopes.next = envelopes.stream.next().await.transpose()?;
        }
        let Some(envelope) = &envelopes.next else { return Ok(None) };
        let (epoch, outcome) = self.order(envelopes.epoch, envelope).await?;
        envelopes.epoch = Some(epoch);
        let envelope = envelopes.next.take().expect("it was there above");
        Ok(Some((envelope.id, outcome)))
    }

    /// Orders a stream of envelopes, wherever the leader is.
    ///
    /// # Errors
    /// When there is no leader.
    pub async fn broadcast(&self, envelopes: Envelopes) -> Result<Acks, Status> {
        if self.links.node()?.status().leads() {
            return Ok(self.order_here(envelopes));
        }
        let mut leader = self.links.leader()?;
        let (forward, forwarded) = mpsc::channel(ANSWERS_MAX);
        // When it is dropped, so is what is forwarded: the client's errors are its own affair.
        tokio::spawn(async move {
            let mut envelopes = envelopes;
            while let Some(Ok(envelope)) = envelopes.stream.next().await {
                if forward.send(envelope).await.is_err() {
                    return;
                }
            }
        });
        let answers = leader.order(ReceiverStream::new(forwarded)).await?.into_inner();
        Ok(Box::pin(answers.map(|answer| answer.map_err(from_leader))))
    }
}

/// What a leader says of a submission, on its way to another orderer: that nothing was ordered has a code that no broken connection has.
pub fn to_orderer(status: Status) -> Status {
    match status.code() {
        Code::Unavailable => Status::failed_precondition(status.message()),
        _ => status,
    }
}

/// And on its way from there to a client.
fn from_leader(status: Status) -> Status {
    match status.code() {
        Code::FailedPrecondition => Status::unavailable(status.message()),
        Code::InvalidArgument | Code::AlreadyExists | Code::Aborted => status,
        _ => unknown("of what was under way"),
    }
}

/// A stream of envelopes, and the one that was read and not yet ordered.
pub struct Envelopes {
    stream: Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>,
    next: Option<Envelope>,
    /// Under which it has been ordered so far.
    epoch: Option<Epoch>,
}

impl From<Streaming<Envelope>> for Envelopes {
    fn from(stream: Streaming<Envelope>) -> Envelopes {
        Envelopes { stream: Box::pin(stream), next: None, epoch: None }
    }
}

impl From<Envelope> for Envelopes {
    fn from(envelope: Envelope) -> Envelopes {
        let stream = Box::pin(futures::stream::iter([Ok(envelope)]));
        Envelopes { stream, next: None, epoch: None }
    }
}
