//! The messages of `proto/orderer.proto`, as generated.

#![allow(missing_docs)]

tonic::include_proto!("skep.orderer.v1");
