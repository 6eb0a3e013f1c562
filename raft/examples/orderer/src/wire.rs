//! The messages of `proto/orderer.proto`, as generated.

#![allow(missing_docs, reason = "generated code; the .proto says what it means")]

tonic::include_proto!("skep.orderer.v1");
