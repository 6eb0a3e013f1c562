//! What other orderers ask of this one, at the address where it is a member.

use std::sync::Arc;

use futures::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use super::clients::{self, Reach};
use super::read::Items;
use super::submit::{Acks, to_orderer};
use crate::core::consenters::{Change, Consenter};
use crate::wire::{
    self, Block, ChangeRequest, ChangeResponse, Envelope, Header, IdentifyRequest, Identity,
    RangeRequest, change_request, peer_server::Peer,
};

/// See the module.
pub struct Members {
    /// What it serves from.
    pub reach: Arc<Reach>,
}

#[tonic::async_trait]
impl Peer for Members {
    type OrderStream = Acks;
    type HeadersStream = Items<Header>;
    type BlocksStream = Items<Block>;

    async fn identify(&self, _: Request<IdentifyRequest>) -> Result<Response<Identity>, Status> {
        let member = self.reach.desk.links.node().is_ok();
        Ok(Response::new(Identity { id: self.reach.id.clone(), member }))
    }

    async fn order(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Acks>, Status> {
        let acks = self.reach.desk.order_here(request.into_inner().into());
        Ok(Response::new(Box::pin(acks.map(|ack| ack.map_err(to_orderer)))))
    }

    async fn change(
        &self,
        request: Request<ChangeRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let change = match request.into_inner().change {
            Some(change_request::Change::Add(wire::Consenter { id, addr })) => {
                Change::Add(Consenter { id, addr })
            }
            Some(change_request::Change::Remove(id)) => Change::Remove(id),
            None => return Err(Status::invalid_argument("no change is named")),
        };
        let block = clients::order_change(&self.reach, &change).await?;
        Ok(Response::new(ChangeResponse { block }))
    }

    async fn headers(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Items<Header>>, Status> {
        let (from, through) = self.range(request.into_inner())?;
        Ok(Response::new(self.reach.headers(from, through)))
    }

    async fn blocks(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Items<Block>>, Status> {
        let (from, through) = self.range(request.into_inner())?;
        Ok(Response::new(self.reach.blocks(from, Some(through))))
    }
}

impl Members {
    /// A range that is there: one that is behind asks somebody else rather than wait.
    fn range(&self, range: RangeRequest) -> Result<(u64, u64), Status> {
        let RangeRequest { from, through } = range;
        let height = self.reach.reader.height();
        if from > through || through >= height {
            let text = format!("blocks {from} to {through} are not here, where there are {height}");
            return Err(Status::out_of_range(text));
        }
        Ok((from, through))
    }
}
