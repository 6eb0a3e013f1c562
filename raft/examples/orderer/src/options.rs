//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use skep_orderer::core::limits::Limits;

/// An ordering service: envelopes in, one hash chain of blocks out, the same on every node.
#[derive(Debug, Parser)]
#[command(name = "orderer", version, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do instead of ordering.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run.
    #[command(flatten)]
    pub serve: Option<ServeOptions>,
}

/// What there is besides ordering.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit an envelope; prints the block that it is in.
    Submit {
        #[command(flatten)]
        at: At,
        /// Who submits it.
        #[arg(long)]
        submitter: String,
        /// Its id, which no other envelope of the submitter has. Submitted again under the same id it is ordered once.
        #[arg(long)]
        id: String,
        /// What is in it.
        payload: String,
    },
    /// Print the chain, and check it.
    Deliver {
        #[command(flatten)]
        at: At,
        /// The first block.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Wait for further blocks.
        #[arg(long)]
        follow: bool,
        /// Print the envelopes, too.
        #[arg(long)]
        envelopes: bool,
    },
    /// The orderers of the chain.
    Member {
        #[command(flatten)]
        at: At,
        /// What to do with them.
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// What an orderer knows.
    Status {
        #[command(flatten)]
        at: At,
    },
    /// Measure: three orderers in a temporary folder, and submitters.
    Bench(BenchOptions),
    /// Make a CA and certificates of orderers, a folder for each, for --tls.
    Certificates {
        /// Where the folders are made.
        #[arg(long)]
        out: PathBuf,
        /// The ids of the orderers, and of some more to spare: the CA's key is not kept.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Which orderers to ask.
#[derive(Args, Clone, Debug)]
pub struct At {
    /// Ask these orderers, one after the other until one can help: HOST:PORT,….
    #[arg(long, env = "ORDERER_AT", value_delimiter = ',', global = true)]
    pub at: Vec<String>,
}

/// What may be done with the orderers of a chain.
#[derive(Clone, Debug, Subcommand)]
pub enum MemberCommand {
    /// Add an orderer, which waits at its address with an empty folder (--join).
    Add {
        /// Its id.
        id: String,
        /// Where the other orderers reach it.
        addr: String,
    },
    /// Remove an orderer for ever.
    Remove {
        /// Its id.
        id: String,
    },
    /// List them.
    List,
}

/// One orderer.
#[derive(Args, Clone, Debug)]
#[group(id = "serve")]
pub struct ServeOptions {
    /// This orderer's id, which no other has.
    #[arg(long)]
    pub id: String,
    /// The orderers that found the chain together: the same list on all of them, ID=HOST:PORT,….
    #[arg(long, value_parser = parse_peers, conflicts_with = "join")]
    pub peers: Option<Peers>,
    /// Join a chain that is there, through any of these orderers: HOST:PORT,….
    #[arg(long, value_delimiter = ',', requires = "addr")]
    pub join: Vec<String>,
    /// Where the other orderers reach this one; with --peers it stands there.
    #[arg(long)]
    pub addr: Option<String>,
    /// Listen for orderers here instead, if what they dial leads here.
    #[arg(long)]
    pub listen: Option<String>,
    /// Listen for clients here.
    #[arg(long)]
    pub clients: String,
    /// Serve Prometheus' page here.
    #[arg(long)]
    pub metrics: Option<String>,
    /// The folder of this orderer's files.
    #[arg(long)]
    pub dir: PathBuf,
    /// The folder of this orderer's certificate. Without, orderers talk in the clear, and only on loopback.
    #[arg(long)]
    pub tls: Option<PathBuf>,
    /// Take a snapshot when the entries since the last one hold this many bytes.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    pub snapshot_bytes: u64,
    /// What the log says, as RUST_LOG would.
    #[arg(long, default_value = "info")]
    pub log: String,
    /// Envelopes of a block at most. This and what follows is for a new chain; one that is there says it itself.
    #[arg(long, default_value_t = Limits::default().messages_max)]
    pub messages_max: usize,
    /// Bytes of envelopes of a block at most, unless it is one alone.
    #[arg(long, default_value_t = Limits::default().preferred_bytes)]
    pub preferred_bytes: usize,
    /// Bytes of an envelope at most.
    #[arg(long, default_value_t = Limits::default().absolute_bytes)]
    pub absolute_bytes: usize,
    /// How long the first envelope of a block waits for others, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    pub timeout_ms: u64,
    /// Blocks on their way at most; submitters wait then.
    #[arg(long, default_value_t = Limits::default().in_flight_max)]
    pub in_flight_max: usize,
    /// Blocks in which a submission finds itself again.
    #[arg(long, default_value_t = Limits::default().window_blocks)]
    pub window_blocks: u64,
}

impl ServeOptions {
    /// How a new chain cuts its blocks.
    pub fn limits(&self) -> Limits {
        Limits {
            messages_max: self.messages_max,
            preferred_bytes: self.preferred_bytes,
            absolute_bytes: self.absolute_bytes,
            timeout: Duration::from_millis(self.timeout_ms),
            in_flight_max: self.in_flight_max,
            window_blocks: self.window_blocks,
        }
    }
}

/// What is measured.
#[derive(Args, Clone, Debug)]
pub struct BenchOptions {
    /// For how long.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Streams of envelopes, spread over the orderers.
    #[arg(long, default_value_t = 6)]
    pub streams: usize,
    /// Envelopes of a stream that wait for their answers.
    #[arg(long, default_value_t = 500)]
    pub under_way: usize,
    /// Bytes of an envelope's payload.
    #[arg(long, default_value_t = 1024)]
    pub bytes: usize,
    /// Envelopes of a block.
    #[arg(long, default_value_t = 500)]
    pub messages_max: usize,
    /// Send everything to the leader rather than to all orderers.
    #[arg(long)]
    pub leader_only: bool,
}

/// Addresses by id.
pub type Peers = BTreeMap<String, String>;

fn parse_peers(text: &str) -> Result<Peers, String> {
    let mut peers = Peers::new();
    for one in text.split(',') {
        let wrong = || format!("{one:?} is not of the form ID=HOST:PORT");
        let (id, addr) = one.split_once('=').ok_or_else(wrong)?;
        let (host, port) = addr.rsplit_once(':').ok_or_else(wrong)?;
        if id.is_empty() || host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        if peers.values().any(|known| known == addr) {
            return Err(format!("{addr} is there twice"));
        }
        if peers.insert(id.to_owned(), addr.to_owned()).is_some() {
            return Err(format!("{id} is there twice"));
        }
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn peers_are_a_list_of_ids_and_addresses() {
        let peers = parse_peers("1=127.0.0.1:7051,2=[::1]:7052").unwrap();
        assert_eq!(peers.into_keys().collect::<Vec<_>>(), ["1", "2"]);
        for (text, wrong) in [
            ("", "not of the form"),
            ("1=host", "not of the form"),
            ("1=:7051", "not of the form"),
            ("=host:1", "not of the form"),
            ("1=a:1,1=a:2", "1 is there twice"),
            ("1=a:1,2=a:1", "a:1 is there twice"),
        ] {
            let error = parse_peers(text).expect_err(text);
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
