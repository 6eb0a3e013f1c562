//! What must hold of a chain, read from an orderer.

use std::collections::BTreeMap;

use prost::Message as _;
use skep_orderer::core::chain::{Block, Hash, Header, Kind, check_link};
use skep_orderer::core::limits::Limits;
use skep_orderer::wire::{DeliverRequest, Envelope};

use crate::cluster::client;

/// A chain as an orderer delivers it: checked.
#[derive(Clone)]
pub struct Chain {
    pub hashes: Vec<Hash>,
    /// The block of each envelope, by submitter and number.
    pub envelopes: BTreeMap<(String, u64), u64>,
}

/// Reads so many blocks. Linked, within the limits, no envelope twice, each submitter's in order.
pub async fn read(addr: &str, height: u64, limits: &Limits) -> Chain {
    let request = DeliverRequest { from: 0, through: Some(height - 1) };
    let mut blocks = client(addr).deliver(request).await.expect("it delivers").into_inner();
    let mut chain = Chain { hashes: Vec::new(), envelopes: BTreeMap::new() };
    let mut last: Option<Header> = None;
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(block) = blocks.message().await.expect("it delivers") {
        let block = Block::from_wire(block).expect("a block");
        check_link(last.as_ref(), &block.header).expect("linked to the block before");
        block.check_data().expect("it holds what its header says");
        last = Some(block.header);
        chain.hashes.push(block.header.hash());
        if block.kind == Kind::Configuration {
            continue;
        }
        let (count, bytes) = (block.data.len(), block.data_bytes());
        assert!(count > 0 && count <= limits.messages_max, "{count} envelopes");
        assert!(bytes <= limits.absolute_bytes, "{bytes} bytes");
        assert!(bytes <= limits.preferred_bytes || count == 1, "{count} of {bytes} bytes");
        for item in &block.data {
            let envelope = Envelope::decode(item.clone()).expect("an envelope");
            let number = envelope.id.parse().expect("a number");
            let key = (envelope.submitter.clone(), number);
            let before = chain.envelopes.insert(key, block.header.number);
            assert_eq!(before, None, "{} of {} is there twice", envelope.id, envelope.submitter);
            let before = newest.insert(envelope.submitter.clone(), number);
            assert!(before < Some(number), "{number} after {before:?} of {}", envelope.submitter);
        }
    }
    assert_eq!(chain.hashes.len() as u64, height);
    chain
}
