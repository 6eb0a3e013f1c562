//! `skep swarm ca`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bytes::Bytes;
use skep_proto::swarmkit::{
    CaConfig, Cluster, ExternalCa, KeyRotation, ListNodesRequest, Node, external_ca::CaProtocol,
};

use crate::{
    cluster::{cluster, update_cluster},
    commands::Session,
    connect::Connection,
    errors::Failure,
    input::{self, wire_duration},
};

/// How often the rotation is looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Print and rotate the swarm's root certificate.
#[derive(Debug, clap::Args)]
pub struct Ca {
    /// Bring in a new root: the one given, or one made for the purpose
    #[arg(long)]
    rotate: bool,
    /// The new root certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "rotate")]
    ca_cert: Option<PathBuf>,
    /// The new root's key, a PEM file
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// How long node certificates are valid
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "rotate")]
    cert_expiry: Option<Duration>,
    /// Signers outside of the swarm: protocol=cfssl,url=URL[,cacert=FILE]
    #[arg(long, value_name = "SPEC", requires = "rotate")]
    external_ca: Vec<String>,
    /// Return at once; the rotation goes on
    #[arg(short, long, requires = "rotate")]
    detach: bool,
    /// Wait no longer than this for every node to have a certificate of the new root (exit code 3)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "rotate")]
    wait: Option<Duration>,
    /// Do not print progress
    #[arg(short, long)]
    quiet: bool,
}

impl Ca {
    /// Prints the root, after rotating it if so asked.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        if !self.rotate {
            return output.raw(&root(&cluster(connection).await?)?);
        }
        let change = self.read()?;
        let before = issuers(connection).await?;
        update_cluster(connection, KeyRotation::default(), |spec| {
            change.apply(spec.ca_config.get_or_insert_default());
        })
        .await?;
        if self.detach {
            return Ok(());
        }
        let wait = self.converged(connection, &before);
        let rotated = match self.wait {
            None => wait.await?,
            Some(limit) => tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
                Err(Failure::NotConverged {
                    waiting_for: "every node to have a certificate of the new root".into(),
                    limit,
                    hint: "the rotation goes on; a node that is down holds it up until it is back or removed \
                           ('skep node ls')"
                        .into(),
                })
            })?,
        };
        output.raw(&root(&rotated)?)
    }

    fn read(&self) -> Result<Change, Failure> {
        let bytes = |path: &PathBuf| input::file(path).map(|b| Bytes::copy_from_slice(&b));
        Ok(Change {
            certificate: self.ca_cert.as_ref().map(bytes).transpose()?,
            key: self.ca_key.as_ref().map(bytes).transpose()?,
            expiry: self.cert_expiry,
            external: self.external_ca.iter().map(|s| external_ca(s)).collect::<Result<_, _>>()?,
        })
    }

    /// Waits until no rotation is going on, and says on the standard error how far it is: a node is done when its
    /// certificate comes from another key than it did `before`.
    async fn converged(
        &self,
        connection: &Connection,
        before: &Issuers,
    ) -> Result<Cluster, Failure> {
        let mut said = String::new();
        loop {
            let cluster = cluster(connection).await?;
            if cluster.root_ca.as_ref().is_none_or(|ca| ca.root_rotation.is_none()) {
                return Ok(cluster);
            }
            if !self.quiet {
                let now = issuers(connection).await?;
                let done = now.iter().filter(|(id, key)| before.get(*id) != Some(*key)).count();
                let progress =
                    format!("nodes with a certificate of the new root: {done}/{}", now.len());
                if progress != said {
                    eprintln!("{progress}");
                    said = progress;
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// What a rotation is to change.
struct Change {
    certificate: Option<Bytes>,
    key: Option<Bytes>,
    expiry: Option<Duration>,
    external: Vec<ExternalCa>,
}

impl Change {
    fn apply(&self, config: &mut CaConfig) {
        config.signing_ca_cert = self.certificate.clone().unwrap_or_default();
        config.signing_ca_key = self.key.clone().unwrap_or_default();
        // Only with no certificate given does the counter make the leader generate a root.
        config.force_rotate = config.force_rotate.wrapping_add(1);
        if let Some(expiry) = self.expiry {
            config.node_cert_expiry = Some(wire_duration(expiry));
        }
        if !self.external.is_empty() {
            config.external_cas = self.external.clone();
        }
    }
}

/// A signer from its text `protocol=cfssl,url=URL[,cacert=FILE][,OPTION=VALUE…]`.
pub fn external_ca(text: &str) -> Result<ExternalCa, Failure> {
    let refused = |why: &str| Failure::Usage(format!("--external-ca {text}: {why}"));
    let mut ca = ExternalCa::default();
    let mut protocol = false;
    for field in text.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| refused("write key=value,…"))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "protocol" if value.eq_ignore_ascii_case("cfssl") => {
                ca.protocol = CaProtocol::Cfssl.into();
                protocol = true;
            }
            "protocol" => return Err(refused("the only protocol is cfssl")),
            "url" => ca.url = value.to_owned(),
            "cacert" => ca.ca_cert = Bytes::copy_from_slice(&input::file(value.as_ref())?),
            other => {
                ca.options.insert(other.to_owned(), value.to_owned());
            }
        }
    }
    if !protocol || ca.url.is_empty() {
        return Err(refused("it needs protocol=cfssl and url=URL"));
    }
    Ok(ca)
}

fn root(cluster: &Cluster) -> Result<Bytes, Failure> {
    let certificate = cluster.root_ca.as_ref().map(|ca| ca.ca_cert.clone());
    let missing = || Failure::Incomplete {
        doing: "read the root certificate".into(),
        missing: "root certificate",
    };
    certificate.filter(|c| !c.is_empty()).ok_or_else(missing)
}

/// The key that signed each node's certificate, by node id.
type Issuers = BTreeMap<String, Bytes>;

async fn issuers(connection: &Connection) -> Result<Issuers, Failure> {
    let request = connection.request(ListNodesRequest::default());
    let reply = connection.control().list_nodes(request).await;
    let nodes = reply.map_err(Failure::call("list nodes"))?.into_inner().nodes;
    let issuer = |node: Node| {
        let tls = node.description.and_then(|d| d.tls_info);
        (node.id, tls.map(|t| t.cert_issuer_public_key).unwrap_or_default())
    };
    Ok(nodes.into_iter().map(issuer).collect())
}
