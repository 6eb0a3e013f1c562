//! The table of root rotations: what each change of the settings leads to, and how a rotation ends.

mod support;

use bytes::Bytes;
use skep_ca::{
    JoinToken, RootCa,
    root::LEAF_LIFETIME_DEFAULT,
    rotation::{
        Plan, ROTATE_BATCH, Refusal, Step, Which, begin, decide, finish, lagging, rotate_batch,
        signs_locally, target_issuer,
    },
};
use skep_proto::swarmkit::{
    CaConfig, Certificate, ExternalCa, IssuanceStatus, JoinTokens, Node, NodeDescription,
    NodeTlsInfo, RootCa as StoredRoot, issuance_status::State,
};
use support::*;

fn key(root: &RootCa) -> Bytes {
    root.signer().unwrap().key().to_pem().to_vec().into()
}

fn stored(root: &RootCa, with_key: bool) -> StoredRoot {
    let token = || JoinToken::generate(root.digest(), false).expose().to_owned();
    StoredRoot {
        ca_cert: root.pem().clone(),
        ca_key: if with_key { key(root) } else { Bytes::new() },
        ca_cert_hash: root.digest().to_string(),
        join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
        root_rotation: None,
        last_forced_rotation: 4,
    }
}

fn with_rotation(current: &StoredRoot, next: &RootCa) -> StoredRoot {
    let signer = signs_locally(current).unwrap().unwrap();
    let cross = signer.cross_sign(&next.certificates()[0]).unwrap();
    begin(current, next.pem().clone(), key(next), cross, current.last_forced_rotation)
}

fn external(root: Option<&RootCa>) -> ExternalCa {
    ExternalCa {
        url: "https://ca.example/sign".into(),
        ca_cert: root.map(|root| root.pem().clone()).unwrap_or_default(),
        ..Default::default()
    }
}

struct Wish<'a> {
    certificate: Option<&'a RootCa>,
    key: Option<&'a RootCa>,
    force: u64,
    external: Vec<ExternalCa>,
}

fn config(wish: Wish<'_>) -> CaConfig {
    CaConfig {
        signing_ca_cert: wish.certificate.map(|root| root.pem().clone()).unwrap_or_default(),
        signing_ca_key: wish.key.map(key).unwrap_or_default(),
        force_rotate: wish.force,
        external_cas: wish.external,
        ..Default::default()
    }
}

fn reached(plan: &Plan) -> Vec<Which> {
    plan.must_reach.iter().map(|reach| reach.which).collect()
}

#[test]
fn every_row_of_the_table() {
    let cluster = Cluster::new();
    let now = cluster.clock.now();
    let [old, next, other] = [0; 3].map(|_| RootCa::generate(now).unwrap());
    let local = stored(&old, true);
    let remote = stored(&old, false);
    let local_rotating = with_rotation(&local, &next);
    let mut local_rotating_to_remote = local_rotating.clone();
    local_rotating_to_remote.root_rotation.as_mut().unwrap().ca_key = Bytes::new();
    let wish =
        |certificate, key, force, external| config(Wish { certificate, key, force, external });
    let both = vec![external(None), external(Some(&next))];
    let plan = |current: &StoredRoot, config: &CaConfig| decide(current, config, now).unwrap();
    let refusal =
        |current: &StoredRoot, config: &CaConfig| decide(current, config, now).unwrap_err();

    // Nothing asked for.
    let nothing = wish(None, None, 4, vec![]);
    for current in [&local, &local_rotating] {
        assert_eq!(plan(current, &nothing), Plan { must_reach: vec![], step: Step::Keep });
    }
    assert_eq!(refusal(&remote, &nothing), Refusal::NoExternalCa(Which::Current));
    assert_eq!(refusal(&local_rotating_to_remote, &nothing), Refusal::NoExternalCa(Which::Next));
    let kept = plan(&local_rotating_to_remote, &wish(None, None, 4, both.clone()));
    assert_eq!((reached(&kept), kept.step), (vec![Which::Next], Step::Keep));

    // A forced rotation; one in progress is begun again.
    for current in [&local, &local_rotating] {
        assert_eq!(plan(current, &wish(None, None, 5, vec![])).step, Step::Generate);
    }
    let forced = plan(&remote, &wish(None, None, 5, both.clone()));
    assert_eq!((reached(&forced), forced.step), (vec![Which::Current], Step::Generate));

    // The current root again: the rotation is called off, the key swapped.
    let called_off = StoredRoot { last_forced_rotation: 5, ..local.clone() };
    for current in [&local, &local_rotating, &remote] {
        let plan = plan(current, &wish(Some(&old), Some(&old), 5, vec![]));
        assert_eq!(plan.must_reach, vec![]);
        let Step::Install(root) = plan.step else { panic!("{:?}", plan.step) };
        assert_eq!(StoredRoot { join_tokens: local.join_tokens.clone(), ..root }, called_off);
    }
    let given_away = plan(&local, &wish(Some(&old), None, 4, both.clone()));
    assert_eq!(reached(&given_away), [Which::Desired]);
    let Step::Install(root) = given_away.step else { panic!() };
    assert!(root.ca_key.is_empty() && root.join_tokens == local.join_tokens);
    assert_eq!(
        refusal(&local, &wish(Some(&old), None, 4, vec![])),
        Refusal::NoExternalCa(Which::Desired)
    );

    // The root that is being rotated to: only its key changes hands.
    let swapped = plan(&local_rotating_to_remote, &wish(Some(&next), Some(&next), 5, vec![]));
    let Step::Install(root) = swapped.step else { panic!() };
    assert_eq!(root, StoredRoot { last_forced_rotation: 5, ..local_rotating.clone() });
    let swapped = plan(&local_rotating, &wish(Some(&next), None, 4, both.clone()));
    assert_eq!(reached(&swapped), [Which::Desired]);
    assert_eq!(swapped.step, Step::Install(local_rotating_to_remote.clone()));

    // Another root with its key; one without.
    for current in [&local, &local_rotating] {
        let plan = plan(current, &wish(Some(&other), Some(&other), 4, vec![]));
        let step = Step::Rotate { certificate: other.pem().clone(), key: key(&other) };
        assert_eq!(plan, Plan { must_reach: vec![], step });
    }
    let to_remote = plan(&local, &wish(Some(&next), None, 4, both.clone()));
    assert_eq!(reached(&to_remote), [Which::Desired]);
    assert_eq!(to_remote.step, Step::Rotate { certificate: next.pem().clone(), key: Bytes::new() });
    assert_eq!(
        refusal(&local, &wish(Some(&other), None, 4, both.clone())),
        Refusal::NoExternalCa(Which::Desired)
    );
    let from_remote = plan(&remote, &wish(Some(&other), Some(&other), 4, both.clone()));
    assert_eq!(reached(&from_remote), [Which::Current]);
    assert_eq!(refusal(&remote, &wish(Some(&next), None, 4, both)), Refusal::ExternalToExternal);
}

#[test]
fn every_refusal_of_what_is_given() {
    let cluster = Cluster::new();
    let now = cluster.clock.now();
    let [old, next] = [0; 2].map(|_| RootCa::generate(now).unwrap());
    let current = stored(&old, true);
    let decide_at = |config: &CaConfig, now| decide(&current, config, now).unwrap_err();
    let refusal = |config: &CaConfig| decide_at(config, now);
    let given = |certificate: Bytes, key: Bytes| CaConfig {
        signing_ca_cert: certificate,
        signing_ca_key: key,
        ..Default::default()
    };

    assert_eq!(refusal(&given(Bytes::new(), key(&next))), Refusal::KeyWithoutCertificate);
    assert!(matches!(refusal(&given("x".into(), key(&next))), Refusal::Certificate(_)));
    assert!(matches!(refusal(&given(next.pem().clone(), "x".into())), Refusal::Key(_)));
    assert!(matches!(refusal(&given(next.pem().clone(), key(&old))), Refusal::Key(_)));
    let two = [&next.pem()[..], old.pem()].concat();
    assert_eq!(refusal(&given(two.into(), key(&next))), Refusal::ManyCertificates(2));
    let leaf = cluster.credentials(skep_ca::Role::Worker);
    assert!(matches!(refusal(&given(leaf.pem().clone(), key(&next))), Refusal::Certificate(_)));
    let late = now + 365 * 19 * DAY + 20 * DAY;
    assert_eq!(decide_at(&given(next.pem().clone(), key(&next)), late), Refusal::ExpiresTooSoon);

    // The old key under another certificate: cross-signing renews the certificate, and no more.
    let signer = old.signer().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let same_key = rcgen::KeyPair::from_pem(std::str::from_utf8(&signer.key().to_pem()).unwrap());
    let renamed: Bytes = parameters.self_signed(&same_key.unwrap()).unwrap().pem().into();
    assert_eq!(refusal(&given(renamed, key(&old))), Refusal::SameKey);

    let mut broken = given(Bytes::new(), Bytes::new());
    broken.external_cas = vec![ExternalCa { ca_cert: "x".into(), ..external(None) }];
    assert!(matches!(refusal(&broken), Refusal::ExternalCertificate { .. }));
}

fn node(reports: Option<(&Bytes, &Bytes)>, state: State) -> Node {
    let tls_info = reports.map(|(subject, public_key)| NodeTlsInfo {
        cert_issuer_subject: subject.clone(),
        cert_issuer_public_key: public_key.clone(),
        ..Default::default()
    });
    Node {
        description: Some(NodeDescription { tls_info, ..Default::default() }),
        certificate: Some(Certificate {
            status: Some(IssuanceStatus { state: state.into(), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn nodes_are_asked_in_batches_until_all_report_the_new_issuer() {
    let cluster = Cluster::new();
    let [old, next] = [0; 2].map(|_| RootCa::generate(cluster.clock.now()).unwrap());
    let issuer = |root: &RootCa| {
        let root = root.certificates()[0].clone();
        (root.subject, root.public_key)
    };
    let (of_old, of_next) = (issuer(&old), issuer(&next));
    let current = stored(&old, true);
    let rotating = with_rotation(&current, &next);
    let target = target_issuer(&rotating).unwrap();
    assert_eq!((target.subject.clone(), target.public_key.clone()), of_next);
    assert_eq!(target_issuer(&current).unwrap().public_key, of_old.1);

    let old_reports = Some((&of_old.0, &of_old.1));
    let new_reports = Some((&of_next.0, &of_next.1));
    for (node, lags, asked) in [
        (node(new_reports, State::Issued), false, false),
        (node(old_reports, State::Issued), true, true),
        (node(old_reports, State::Failed), true, true),
        (node(old_reports, State::Unknown), true, true),
        (node(old_reports, State::Rotate), true, false),
        (node(old_reports, State::Renew), true, false),
        (node(old_reports, State::Pending), true, false),
        (node(None, State::Issued), true, true),
        (Node::default(), true, true),
    ] {
        assert_eq!(lagging(&node, &target), lags, "{node:?}");
        assert_eq!(rotate_batch([&node], &target).len(), usize::from(asked), "{node:?}");
    }
    let many = vec![node(old_reports, State::Issued); 100];
    assert_eq!(rotate_batch(&many, &target).len(), ROTATE_BATCH);
}

#[test]
fn a_finished_rotation_leaves_a_new_root_and_new_tokens() {
    let cluster = Cluster::new();
    let now = cluster.clock.now();
    let [old, next] = [0; 2].map(|_| RootCa::generate(now).unwrap());
    let current = stored(&old, true);
    assert_eq!(finish(&current, false), None);
    let rotating = with_rotation(&current, &next);
    assert_eq!(rotating.join_tokens, current.join_tokens);
    let done = finish(&rotating, false).unwrap();
    assert_eq!(done.ca_cert_hash, next.digest().to_string());
    assert_eq!((done.root_rotation.clone(), done.last_forced_rotation), (None, 4));
    let tokens = done.join_tokens.clone().unwrap();
    for text in [&tokens.worker, &tokens.manager] {
        assert_eq!(text.parse::<JoinToken>().unwrap().root(), next.digest());
    }
    assert_ne!(tokens.worker, tokens.manager);
    let root = RootCa::from_cluster(&done, now).unwrap();
    let csr = skep_ca::NodeKey::generate().unwrap().request().unwrap();
    let identity = cluster.identity(skep_ca::Role::Worker);
    assert!(root.issue(&csr, identity, LEAF_LIFETIME_DEFAULT, now).is_ok());
    assert!(
        finish(&rotating, true).unwrap().join_tokens.unwrap().worker.starts_with("SWMTKN-2-1-")
    );
}
