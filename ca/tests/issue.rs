//! What is signed, by which roots, and who believes it; with OpenSSL as a second opinion.

mod support;

use std::{fs, path::Path, process::Command, time::Duration};

use bytes::Bytes;
use skep_ca::{
    Csr, Identity, NodeKey, Role, RootCa, SecurityConfig,
    certificate::Certificate,
    key_file::Kek,
    root::{IssueError, RootError, Signer},
};
use skep_proto::swarmkit;
use support::*;

fn fixture(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(path).unwrap().into()
}

fn operators_root(name: &str, cluster: &Cluster) -> RootCa {
    let root = RootCa::from_pem(fixture(&format!("{name}.crt")), cluster.clock.now()).unwrap();
    let key = fixture(&format!("{name}.key"));
    let signer = Signer::from_pem(root.pem(), &key, Bytes::new()).unwrap();
    root.with_signer(signer, cluster.clock.now()).unwrap()
}

#[tokio::test]
async fn roots_that_operators_bring_sign_nodes_that_are_let_in() {
    for name in ["odd-root", "rsa-root", "p521-root"] {
        let mut cluster = Cluster::new();
        cluster.root = operators_root(name, &cluster);
        let addr = listen(cluster.node(Role::Manager).server_config()).await;
        let client = cluster.node(Role::Worker);
        let answer = call_manager(addr, &client).await;
        assert_eq!(answer, Ok(format!("swarm-worker {}", client.identity().node_id)), "{name}");
        // A chain holds where the names' bytes are equal.
        let leaf = client.credentials().chain()[0].clone();
        assert_eq!(leaf.issuer, cluster.root.certificates()[0].subject);
    }
}

#[tokio::test]
async fn every_root_can_be_rotated_to_every_other() {
    let names = ["generated", "odd-root", "rsa-root", "p521-root"];
    for from in names {
        for to in names {
            let mut cluster = Cluster::new();
            let make = |name| match name {
                "generated" => RootCa::generate(cluster.clock.now()).unwrap(),
                name => operators_root(name, &cluster),
            };
            let (old, new) = (make(from), make(to));
            if from == to && from != "generated" {
                continue;
            }
            cluster.root = rotating(&old, &new, &cluster.clock);
            let credentials = cluster.credentials(Role::Manager);
            assert_eq!(credentials.chain().len(), 2);
            for root in [&old, &new] {
                root.verify(credentials.chain(), cluster.clock.now()).unwrap();
                let issuer = root.issuer_of(credentials.chain()).unwrap();
                assert_eq!(issuer.public_key, new.certificates()[0].public_key);
            }
            let security = SecurityConfig::new(old, credentials, cluster.clock.clone()).unwrap();
            let addr = listen(security.server_config()).await;
            assert!(call_manager(addr, &security).await.is_ok(), "{from} to {to}");
        }
    }
}

#[test]
fn weak_keys_and_weak_hashes_are_no_roots() {
    let cluster = Cluster::new();
    for name in ["weak-root.crt", "sha1-root.crt"] {
        let error = RootCa::from_pem(fixture(name), cluster.clock.now()).unwrap_err();
        assert!(matches!(error, RootError::Signature(0, _)), "{name}: {error}");
    }
}

#[test]
fn a_signer_must_be_a_pair_and_chain_to_the_root() {
    let cluster = Cluster::new();
    let now = cluster.clock.now();
    let other = RootCa::generate(now).unwrap();
    let (own, theirs) = (cluster.root.signer().unwrap(), other.signer().unwrap());
    let mixed = Signer::new(own.certificate().clone(), theirs.key().clone(), Bytes::new());
    assert_eq!(mixed.unwrap_err(), RootError::KeyMismatch);

    let sign_with = |intermediates| {
        let signer =
            Signer::new(theirs.certificate().clone(), theirs.key().clone(), intermediates).unwrap();
        cluster.root.clone().with_signer(signer, now)
    };
    assert!(matches!(sign_with(Bytes::new()), Err(RootError::SignerUntrusted(_))));
    assert!(matches!(sign_with(other.pem().clone()), Err(RootError::SignerUntrusted(_))));
    assert!(sign_with(own.cross_sign(theirs.certificate()).unwrap()).is_ok());
}

#[test]
fn the_cluster_object_says_what_signs() {
    let cluster = Cluster::new();
    let now = cluster.clock.now();
    let (old, new) = (&cluster.root, RootCa::generate(now).unwrap());
    let key = |root: &RootCa| Bytes::from(root.signer().unwrap().key().to_pem().to_vec());
    let mut stored =
        swarmkit::RootCa { ca_cert: old.pem().clone(), ca_key: key(old), ..Default::default() };
    let signer = |stored: &swarmkit::RootCa| {
        let root = RootCa::from_cluster(stored, now).unwrap();
        assert_eq!(root.digest(), old.digest());
        root.signer().map(|signer| signer.certificate().clone())
    };
    assert_eq!(signer(&stored), Some(old.certificates()[0].clone()));
    stored.root_rotation = Some(swarmkit::RootRotation {
        ca_cert: new.pem().clone(),
        ca_key: key(&new),
        cross_signed_ca_cert: old.signer().unwrap().cross_sign(&new.certificates()[0]).unwrap(),
    });
    assert_eq!(signer(&stored), Some(new.certificates()[0].clone()));
    stored.root_rotation.as_mut().unwrap().ca_key = Bytes::new();
    assert_eq!(signer(&stored), None);
}

#[test]
fn lifetimes_are_kept_to_and_bad_ones_are_the_default() {
    let cluster = Cluster::new();
    let now = cluster.clock.now();
    let csr = NodeKey::generate().unwrap().request().unwrap();
    let hours = |h: u64| Duration::from_secs(h * 3600);
    for (asked, expected) in [
        (hours(1), hours(1)),
        (hours(24), hours(24)),
        (hours(0), 90 * DAY),
        (hours(1) - Duration::from_secs(1), 90 * DAY),
        (Duration::MAX, 36_500 * DAY),
    ] {
        let chain = cluster.root.issue(&csr, cluster.identity(Role::Worker), asked, now).unwrap();
        let leaf = &Certificate::from_pem(&chain).unwrap()[0];
        // The cluster's time is forty seconds past a full minute.
        let rounded = now + Duration::from_secs(20);
        assert_eq!(leaf.not_before, rounded - hours(1));
        assert_eq!(leaf.not_after, rounded + expected, "{asked:?}");
    }
}

#[test]
fn requests_that_prove_nothing_are_not_signed() {
    let cluster = Cluster::new();
    let issue = |root: &RootCa, csr: &Csr| {
        root.issue(csr, cluster.identity(Role::Worker), DAY, cluster.clock.now())
    };
    let good = NodeKey::generate().unwrap().request().unwrap();
    assert!(issue(&cluster.root, &good).is_ok());
    let keyless = cluster.root.clone().without_signer();
    assert_eq!(issue(&keyless, &good), Err(IssueError::NoSigner));
    for bad in
        ["", "CSR", "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----"]
    {
        let error = issue(&cluster.root, &Csr::from_pem(Bytes::from_static(bad.as_bytes())));
        assert!(matches!(error, Err(IssueError::Csr(_))), "{bad}");
    }
}

/// Runs `openssl` in `folder`; `None` where it is not installed.
fn openssl(folder: &Path, arguments: &str) -> Option<(bool, String)> {
    let output = match Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
    {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: openssl is not installed");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn openssl_agrees_about_chains_requests_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut cluster = Cluster::new();
    let at = cluster.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for name in ["generated", "odd-root", "rsa-root", "p521-root"] {
        let new = match name {
            "generated" => RootCa::generate(cluster.clock.now()).unwrap(),
            name => operators_root(name, &cluster),
        };
        let old = Cluster::new().root;
        cluster.root = rotating(&old, &new, &cluster.clock);
        let chain = cluster.credentials(Role::Manager);
        fs::write(path.join("new.crt"), new.pem()).unwrap();
        fs::write(path.join("old.crt"), old.pem()).unwrap();
        fs::write(path.join("leaf.crt"), chain.chain()[0].to_pem()).unwrap();
        fs::write(path.join("cross.crt"), chain.chain()[1].to_pem()).unwrap();
        let strict = format!("verify -x509_strict -attime {at} -purpose sslclient");
        for trust in ["-CAfile new.crt", "-CAfile old.crt -untrusted cross.crt"] {
            let Some((ok, text)) = openssl(path, &format!("{strict} {trust} leaf.crt")) else {
                return;
            };
            assert!(ok, "{name}: {text}");
        }
        let (ok, _) = openssl(path, &format!("{strict} -CAfile old.crt leaf.crt")).unwrap();
        assert!(!ok);
    }

    let key = NodeKey::generate().unwrap();
    fs::write(path.join("node.csr"), key.request().unwrap().pem()).unwrap();
    let (ok, text) = openssl(path, "req -verify -noout -in node.csr").unwrap();
    assert!(ok && text.contains("OK"), "{text}");
    let (ok, _) = openssl(path, "ecparam -name secp384r1 -genkey -noout -out p384.key").unwrap();
    assert!(ok);
    // A P-384 request signed with SHA-256: key and signature's hash are not of one strength.
    let new = "req -new -key p384.key -sha256 -subj /CN=x -addext subjectAltName=DNS:x \
               -addext 1.2.3.4=ASN1:UTF8String:odd -out p384.csr";
    let (ok, text) = openssl(path, new).unwrap();
    assert!(ok, "{text}");
    let csr = Csr::from_pem(fs::read(path.join("p384.csr")).unwrap().into());
    let key = NodeKey::from_pem(&fs::read(path.join("p384.key")).unwrap()).unwrap();
    let identity = cluster.identity(Role::Worker);
    let chain = cluster.root.issue(&csr, identity, DAY, cluster.clock.now()).unwrap();
    let leaf = &Certificate::from_pem(&chain).unwrap()[0];
    assert_eq!(leaf.public_key, key.public_key());
    assert_eq!(Identity::from_certificate(&leaf.der), Ok(identity));
}

#[test]
fn openssl_opens_what_we_seal_and_we_open_what_it_seals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let cluster = Cluster::new();
    let credentials = cluster.credentials(Role::Manager);
    let unlock = skep_ca::UnlockKey::from_raw(b"correct-horse").unwrap();
    let kek = Kek { key: Some(unlock.clone()), version: 3 };
    let files = skep_ca::CertificateFolder::below(path);
    skep_ca::KeyFile::create(&files, credentials.clone(), kek).unwrap();

    // OpenSSL knows no headers in such a block.
    let mut block = skep_ca::pem::PemBlock::decode_all(&fs::read(files.key()).unwrap()).unwrap();
    assert_eq!(block[0].label, "ENCRYPTED PRIVATE KEY");
    block[0].headers.clear();
    fs::write(path.join("sealed.key"), &*block[0].encode()).unwrap();
    let open = "pkey -in sealed.key -passin pass:correct-horse -out open.key";
    let Some((ok, text)) = openssl(path, open) else { return };
    assert!(ok, "{text}");
    let opened = NodeKey::from_pem(&fs::read(path.join("open.key")).unwrap()).unwrap();
    assert_eq!(opened.public_key(), credentials.key().public_key());

    fs::write(path.join("clear.key"), &*credentials.key().to_pem()).unwrap();
    for parameters in ["-v2 aes-256-cbc -v2prf hmacWithSHA1", "-v2 aes-256-cbc"] {
        let seal = format!(
            "pkcs8 -topk8 -in clear.key {parameters} -passout pass:correct-horse -out {}",
            files.key().display()
        );
        let (ok, text) = openssl(path, &seal).unwrap();
        assert!(ok, "{text}");
        let skep_ca::key_file::Opened::Locked(file) = skep_ca::KeyFile::open(&files).unwrap()
        else {
            panic!("not locked")
        };
        let opened = file.unlock(&unlock).unwrap();
        assert_eq!(opened.credentials().key().public_key(), credentials.key().public_key());
    }
}
