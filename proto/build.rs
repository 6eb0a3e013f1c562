//! Compiles the .proto sources without protoc, and turns the roles that stand on each method into a table.
//! A method without roles is a build error: nothing is open by omission.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use prost_reflect::{DescriptorPool, Value};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

const SOURCES: &[&str] = &[
    "docker/swarmkit/v1/ca.proto",
    "docker/swarmkit/v1/control.proto",
    "docker/swarmkit/v1/dispatcher.proto",
    "docker/swarmkit/v1/health.proto",
    "docker/swarmkit/v1/logbroker.proto",
    "docker/swarmkit/v1/objects.proto",
    "docker/swarmkit/v1/raft.proto",
    "docker/swarmkit/v1/resource.proto",
    "docker/swarmkit/v1/snapshot.proto",
    "docker/swarmkit/v1/specs.proto",
    "docker/swarmkit/v1/types.proto",
    "docker/swarmkit/v1/watch.proto",
    "raftpb/raftpb.proto",
    "skep/v1/daemon.proto",
    "skep/v1/networks.proto",
    "skep/v1/raft_stream.proto",
    "skep/v1/scheduling.proto",
];

/// Messages that carry secrets: their `Debug` is written by hand in `redacted.rs`.
const SECRETS: &[&str] = &[
    ".docker.swarmkit.v1.SecretSpec",
    ".docker.swarmkit.v1.RootCA",
    ".docker.swarmkit.v1.RootRotation",
    ".docker.swarmkit.v1.JoinTokens",
    ".docker.swarmkit.v1.EncryptionKey",
    ".docker.swarmkit.v1.CAConfig",
    ".docker.swarmkit.v1.GetUnlockKeyResponse",
    ".docker.swarmkit.v1.IssueNodeCertificateRequest",
    ".docker.swarmkit.v1.ContainerSpec.PullOptions",
    ".skep.v1.InitResponse",
    ".skep.v1.JoinRequest",
    ".skep.v1.UnlockRequest",
    ".skep.v1.GetKeysResponse",
];

/// Fields whose message many objects have in common: they hold it shared, see `shared.rs`.
const SHARED: &[(&str, &str, &str)] = &[
    ("Task", "spec", "TaskSpec"),
    ("ServiceSpec", "task", "TaskSpec"),
    ("NetworkAttachment", "network", "Network"),
    ("Service", "endpoint", "Endpoint"),
    ("Task", "endpoint", "Endpoint"),
];
/// The package that stands for shared messages while code is generated.
const SHARED_PACKAGE: &str = "skep.shared";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(SOURCES)?;
    // The encoded set keeps the extensions; the decoded one is what the generator takes.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptor_set.bin"), &encoded)?;
    fs::write(out.join("methods.rs"), methods_table(&encoded)?)?;

    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .skip_debug(SECRETS)
        .extern_path(
            format!(".{SHARED_PACKAGE}.TaskSpec"),
            "crate::shared::Shared<crate::swarmkit::TaskSpec>",
        )
        .extern_path(
            format!(".{SHARED_PACKAGE}.Network"),
            "crate::shared::Shared<crate::swarmkit::Network>",
        )
        .extern_path(
            format!(".{SHARED_PACKAGE}.Endpoint"),
            "crate::shared::Shared<crate::swarmkit::Endpoint>",
        )
        .compile_fds(with_shared_fields(FileDescriptorSet::decode(&*encoded)?)?)?;
    Ok(())
}

/// Gives the shared fields a type of their own, which is mapped to the one that shares. The generator wants to know what is in
/// it, which is what is in the original.
fn with_shared_fields(mut set: FileDescriptorSet) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let package = "docker.swarmkit.v1";
    let mut file = FileDescriptorProto {
        name: Some("skep/shared.proto".to_owned()),
        package: Some(SHARED_PACKAGE.to_owned()),
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    let mut messages: Vec<&mut DescriptorProto> = set
        .file
        .iter_mut()
        .filter(|file| file.package() == package)
        .flat_map(|file| &mut file.message_type)
        .collect();
    for &(message, field, kind) in SHARED {
        let original = format!(".{package}.{kind}");
        let mut fields =
            messages.iter_mut().filter(|m| m.name() == message).flat_map(|m| &mut m.field);
        let field = fields
            .find(|f| f.name() == field && f.type_name() == original)
            .ok_or_else(|| format!("{message}.{field} is not of type {kind}"))?;
        field.type_name = Some(format!(".{SHARED_PACKAGE}.{kind}"));
        if !file.message_type.iter().any(|m| m.name() == kind) {
            let original = messages.iter().find(|m| m.name() == kind);
            file.message_type.push(DescriptorProto::clone(original.ok_or("no such message")?));
        }
    }
    set.file.push(file);
    Ok(set)
}

fn methods_table(encoded: &[u8]) -> Result<String, Box<dyn Error>> {
    let pool = DescriptorPool::decode(encoded)?;
    let option = pool
        .get_extension_by_name("docker.protobuf.plugin.tls_authorization")
        .ok_or("plugin.proto lacks the extension tls_authorization")?;
    let mut rows = Vec::new();
    for method in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let options = method.options();
        if !options.has_extension(&option) {
            return Err(format!("{path} has no tls_authorization: say who may call it").into());
        }
        let value = options.get_extension(&option);
        let rule = value.as_message().ok_or("tls_authorization is a message")?;
        let insecure = rule.get_field_by_name("insecure").and_then(|v| v.as_bool()) == Some(true);
        let roles: Vec<String> = rule
            .get_field_by_name("roles")
            .and_then(|v| v.as_list().map(<[Value]>::to_vec))
            .unwrap_or_default()
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect();
        if insecure != roles.is_empty() {
            return Err(format!("{path} must either name roles or be insecure").into());
        }
        rows.push((
            path,
            method.is_client_streaming(),
            method.is_server_streaming(),
            insecure,
            roles,
        ));
    }
    rows.sort();
    let mut text = String::from("pub static METHODS: &[Method] = &[\n");
    for (path, client_streaming, server_streaming, insecure, roles) in rows {
        let worker = roles.iter().any(|r| r == "swarm-worker");
        let manager = roles.iter().any(|r| r == "swarm-manager");
        if roles.len() != usize::from(worker) + usize::from(manager) {
            return Err(
                format!("{path} names a role that no certificate carries: {roles:?}").into()
            );
        }
        writeln!(
            text,
            "    Method {{ path: {path:?}, client_streaming: {client_streaming}, \
             server_streaming: {server_streaming}, \
             access: Access {{ insecure: {insecure}, worker: {worker}, manager: {manager} }} }},"
        )?;
    }
    text.push_str("];\n");
    Ok(text)
}
