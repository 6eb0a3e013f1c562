//! The command line.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// A replicated key/value store over HTTP.
#[derive(Debug, Parser)]
#[command(name = "kv", version, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to serve.
    #[command(flatten)]
    pub serve: Option<ServeOptions>,
}

/// What there is besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a CA and certificates of members, a folder for each, for --tls.
    Certificates {
        /// Where the folders are made.
        #[arg(long)]
        out: PathBuf,
        /// The ids of the members, and of some more to spare: the CA's key is not kept.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// One member.
#[derive(Args, Clone, Debug)]
#[group(id = "serve")]
pub struct ServeOptions {
    /// This member's id, which no other has.
    #[arg(long)]
    pub id: String,
    /// The members that form the group together: the same list on all of them, ID=HOST:PORT,….
    #[arg(long, value_parser = parse_peers, conflicts_with = "join")]
    pub peers: Option<Peers>,
    /// Join a group that is there, through any of these members: HOST:PORT,….
    #[arg(long, value_delimiter = ',', requires = "addr")]
    pub join: Vec<String>,
    /// Where the other members reach this one; with --peers it stands there.
    #[arg(long)]
    pub addr: Option<String>,
    /// Listen for members here instead, if what they dial leads here.
    #[arg(long)]
    pub listen: Option<String>,
    /// Listen for clients here.
    #[arg(long)]
    pub http: String,
    /// The folder of this member's files.
    #[arg(long)]
    pub dir: PathBuf,
    /// The folder of this member's certificate. Without, members talk in the clear, and only on loopback.
    #[arg(long)]
    pub tls: Option<PathBuf>,
    /// Threads that work on requests, besides the one that writes the log. One is cheapest, and enough for tens of thousands
    /// of requests a second.
    #[arg(long, default_value = "1", value_parser = parse_threads)]
    pub threads: usize,
    /// What the log says, as RUST_LOG would.
    #[arg(long, default_value = "info")]
    pub log: String,
}

/// Addresses by id.
pub type Peers = BTreeMap<String, String>;

/// More than any machine has processors.
const THREADS_MAX: usize = 1024;

fn parse_threads(text: &str) -> Result<usize, String> {
    let threads = text.parse().ok().filter(|threads| (1..=THREADS_MAX).contains(threads));
    threads.ok_or_else(|| format!("it is a number from 1 to {THREADS_MAX}"))
}

fn parse_peers(text: &str) -> Result<Peers, String> {
    let mut peers = Peers::new();
    for one in text.split(',') {
        let (id, addr) = one
            .split_once('=')
            .ok_or_else(|| format!("{one:?} is not of the form ID=HOST:PORT"))?;
        let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if id.is_empty() || port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
            return Err(format!("{one:?} is not of the form ID=HOST:PORT"));
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
        let peers = parse_peers("1=127.0.0.1:7001,2=[::1]:7002").unwrap();
        assert_eq!(peers.into_keys().collect::<Vec<_>>(), ["1", "2"]);
        for (text, wrong) in [
            ("", "not of the form"),
            ("1", "not of the form"),
            ("1=host", "not of the form"),
            ("1=:7001", "not of the form"),
            ("=host:1", "not of the form"),
            ("1=a:1,1=a:2", "1 is there twice"),
            ("1=a:1,2=a:1", "a:1 is there twice"),
        ] {
            let error = parse_peers(text).expect_err(text);
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
