//! A network between members that can be cut: a proxy in front of each one's address. It knows who is calling by the
//! process that holds the other end, so that it can cut one pair and leave the rest alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// From whom to whom nothing gets through.
type Cuts = BTreeSet<(u16, u16)>;

/// All proxies of a cluster.
pub struct Proxies {
    cuts: watch::Sender<Cuts>,
    /// Which member a process is.
    pids: Arc<Mutex<BTreeMap<u32, u16>>>,
}

/// Who holds the socket with this local address, among these processes. As `/proc` tells it.
fn owner(of: SocketAddr, pids: &BTreeMap<u32, u16>) -> Option<u16> {
    let SocketAddr::V4(addr) = of else { return None };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&wanted))?;
    let inode = line.split_whitespace().nth(9)?;
    let link = format!("socket:[{inode}]");
    let holds = |pid: &&u32| {
        let sockets = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        sockets
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.to_str() == Some(&link))
    };
    pids.get(pids.keys().find(holds)?).copied()
}

impl Proxies {
    pub fn new() -> Proxies {
        Proxies { cuts: watch::Sender::new(Cuts::new()), pids: Arc::default() }
    }

    /// Says which processes the members are now.
    pub fn members_are(&self, pids: impl IntoIterator<Item = (u32, u16)>) {
        *self.pids.lock().unwrap() = pids.into_iter().collect();
    }

    /// Stands at `front`, and passes on to the member behind it.
    pub async fn stand(&self, id: u16, front: &str, behind: String) {
        let listener = TcpListener::bind(front).await.expect("the address is ours");
        let (cuts, pids) = (self.cuts.subscribe(), self.pids.clone());
        tokio::spawn(async move {
            while let Ok((caller, from)) = listener.accept().await {
                let from = owner(from, &pids.lock().unwrap());
                tokio::spawn(pass(caller, behind.clone(), (from.unwrap_or(0), id), cuts.clone()));
            }
        });
    }

    /// Cuts these off from all others, in both directions. Silently: what is sent is not lost but stays where it is, and
    /// nobody is told.
    pub fn cut_off(&self, ids: &[u16]) {
        let apart = |from: u16, to: u16| ids.contains(&from) != ids.contains(&to);
        let all = 1..=9u16;
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        self.cuts.send_replace(pairs.filter(|(from, to)| apart(*from, *to)).collect());
    }

    /// Cuts one direction alone.
    pub fn cut_one_way(&self, from: u16, to: u16) {
        self.cuts.send_replace(Cuts::from([(from, to)]));
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.cuts.send_replace(Cuts::new());
    }
}

/// Passes bytes on until either side ends, and not while the pair is cut. A connection that was cut ends when it could go
/// on, as one does whose packets were lost for long.
async fn pass(
    caller: TcpStream,
    behind: String,
    pair: (u16, u16),
    mut cuts: watch::Receiver<Cuts>,
) {
    // No connection is made through a cut either.
    if cuts.wait_for(|cuts| !cuts.contains(&pair)).await.is_err() {
        return;
    }
    let Ok(member) = TcpStream::connect(&behind).await else { return };
    for stream in [&caller, &member] {
        let _ = stream.set_nodelay(true);
    }
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_member, mut to_member) = member.into_split();
    let forth = copy(&mut from_caller, &mut to_member, cuts.clone(), pair);
    let back = copy(&mut from_member, &mut to_caller, cuts, pair);
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}

async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut cuts: watch::Receiver<Cuts>,
    pair: (u16, u16),
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if cuts.borrow_and_update().contains(&pair) {
            let _ = cuts.wait_for(|cuts| !cuts.contains(&pair)).await;
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
