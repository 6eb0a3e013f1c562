//! Compiles the service's .proto without protoc. Raft's own messages are those of `skep-proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["peers.proto"], ["proto", "../../../proto/proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".raftpb", "::skep_proto::raftpb")
        .compile_fds(files)?;
    Ok(())
}
