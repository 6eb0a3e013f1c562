//! Certificate and key on disk: what is written reads back, whatever a crash leaves, and damage is named.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use skep_ca::{
    CertificateFolder, DataKeys, Kek, KeyFile, Role, UnlockKey,
    key_file::{KeyFileError, Opened},
};
use support::Cluster;

fn open(folder: &CertificateFolder) -> KeyFile {
    match KeyFile::open(folder).unwrap() {
        Opened::Open(file) => file,
        other => panic!("{other:?}"),
    }
}

fn locked(version: u64) -> (UnlockKey, Kek) {
    let key = UnlockKey::generate();
    (key.clone(), Kek { key: Some(key), version })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nothing_there_is_absent() {
    let state = tempfile::tempdir().unwrap();
    let folder = CertificateFolder::below(state.path());
    assert!(matches!(KeyFile::open(&folder).unwrap(), Opened::Absent));
    folder.clear().unwrap();
}

#[test]
fn a_key_in_clear_reads_as_it_is_written() {
    let (state, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let folder = CertificateFolder::below(state.path());
    let credentials = cluster.credentials(Role::Manager);
    let file = KeyFile::create(&folder, credentials.clone(), Kek::default()).unwrap();
    let keys = DataKeys::generate();
    file.set_data_keys(Some(keys.clone())).unwrap();
    folder.write_root(&cluster.root).unwrap();

    let again = open(&folder);
    assert_eq!(again.credentials().identity(), credentials.identity());
    assert_eq!(again.credentials().key().pkcs8(), credentials.key().pkcs8());
    assert_eq!(again.data_keys(), Some(keys));
    assert_eq!(again.kek(), Kek::default());
    let root = folder.read_root(cluster.clock.now()).unwrap().unwrap();
    assert_eq!(root.pem(), cluster.root.pem());

    assert_eq!(mode(folder.key().parent().unwrap()), 0o700);
    assert_eq!(mode(&folder.key()), 0o600);
    assert_eq!(mode(&folder.certificate()), 0o644);
    assert_eq!(mode(&folder.root()), 0o644);
    folder.clear().unwrap();
    assert!(matches!(KeyFile::open(&folder).unwrap(), Opened::Absent));
}

#[test]
fn a_sealed_key_waits_for_its_unlock_key_and_shows_nothing_before() {
    let (state, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let folder = CertificateFolder::below(state.path());
    let credentials = cluster.credentials(Role::Manager);
    let (key, kek) = locked(7);
    let file = KeyFile::create(&folder, credentials.clone(), kek.clone()).unwrap();
    let keys = DataKeys::generate();
    file.set_data_keys(Some(keys.clone())).unwrap();

    for entry in fs::read_dir(folder.key().parent().unwrap()).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let blocks = skep_ca::pem::PemBlock::decode_all(&text).unwrap();
        for secret in [credentials.key().pkcs8(), &keys.current, key.raw()] {
            let found = blocks[0].contents.windows(secret.len()).any(|w| w == secret.expose());
            assert!(!found);
        }
    }

    let Opened::Locked(sealed) = KeyFile::open(&folder).unwrap() else { panic!("not locked") };
    for _ in 0..20 {
        let error = sealed.unlock(&UnlockKey::generate()).unwrap_err();
        assert!(matches!(error, KeyFileError::InvalidKey), "{error}");
        assert_eq!(error.to_string(), "invalid key");
    }
    let opened = sealed.unlock(&key).unwrap();
    assert_eq!(opened.credentials().key().pkcs8(), credentials.key().pkcs8());
    assert_eq!(opened.data_keys(), Some(keys));
    assert_eq!(opened.kek(), kek);
}

#[test]
fn only_a_newer_kek_is_taken_and_locking_marks_the_data_keys() {
    let (state, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let folder = CertificateFolder::below(state.path());
    let file =
        KeyFile::create(&folder, cluster.credentials(Role::Manager), Kek::default()).unwrap();
    file.set_data_keys(Some(DataKeys::generate())).unwrap();

    let (first, kek) = locked(5);
    assert!(file.rotate_kek(kek).unwrap());
    assert!(file.data_keys().unwrap().needs_rotation);
    let Opened::Locked(sealed) = KeyFile::open(&folder).unwrap() else { panic!("not locked") };
    assert!(sealed.unlock(&first).unwrap().data_keys().unwrap().needs_rotation);
    let rotated = file.data_keys().unwrap().rotated().unwrap();
    file.set_data_keys(Some(rotated)).unwrap();

    let (_, stale) = locked(5);
    assert!(!file.rotate_kek(stale).unwrap());
    let (second, kek) = locked(6);
    assert!(file.rotate_kek(kek).unwrap());
    assert!(!file.data_keys().unwrap().needs_rotation);
    let Opened::Locked(sealed) = KeyFile::open(&folder).unwrap() else { panic!("not locked") };
    assert!(matches!(sealed.unlock(&first), Err(KeyFileError::InvalidKey)));
    assert_eq!(sealed.unlock(&second).unwrap().data_keys(), file.data_keys());

    assert!(file.rotate_kek(Kek { key: None, version: 9 }).unwrap());
    assert_eq!(open(&folder).data_keys(), file.data_keys());
}

#[test]
fn a_crash_between_key_and_certificate_leaves_one_pair_or_the_other() {
    let cluster = Cluster::new();
    let (old, new) = (cluster.credentials(Role::Worker), cluster.credentials(Role::Manager));
    let (unlock, kek) = locked(3);
    for sealed in [false, true] {
        let kek = if sealed { kek.clone() } else { Kek::default() };
        // What the three steps of a replacement write.
        let done = tempfile::tempdir().unwrap();
        let after = CertificateFolder::below(done.path());
        let file = KeyFile::create(&after, old.clone(), Kek::default()).unwrap();
        let (old_key, old_certificate) =
            (fs::read(after.key()).unwrap(), fs::read(after.certificate()).unwrap());
        file.replace_credentials(new.clone(), Some(kek)).unwrap();
        let (new_key, new_certificate) =
            (fs::read(after.key()).unwrap(), fs::read(after.certificate()).unwrap());

        for steps in 0..3 {
            let crashed = tempfile::tempdir().unwrap();
            let folder = CertificateFolder::below(crashed.path());
            fs::create_dir(folder.key().parent().unwrap()).unwrap();
            fs::write(folder.key(), &old_key).unwrap();
            fs::write(folder.certificate(), &old_certificate).unwrap();
            if steps >= 1 {
                fs::write(folder.next_key(), &new_key).unwrap();
            }
            if steps >= 2 {
                fs::write(folder.certificate(), &new_certificate).unwrap();
            }
            let opened = match KeyFile::open(&folder).unwrap() {
                Opened::Locked(file) if sealed && steps == 2 => file.unlock(&unlock).unwrap(),
                Opened::Open(file) => file,
                other => panic!("{other:?} after {steps} steps"),
            };
            let expected = if steps == 2 { &new } else { &old };
            assert_eq!(opened.credentials().identity(), expected.identity());
            assert!(!folder.next_key().exists());
        }
    }
}

#[test]
fn a_flipped_byte_is_named_or_harmless() {
    let (state, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let folder = CertificateFolder::below(state.path());
    let credentials = cluster.credentials(Role::Manager);
    let (unlock, kek) = locked(12);
    for kek in [Kek::default(), kek] {
        let file = KeyFile::create(&folder, credentials.clone(), kek.clone()).unwrap();
        let keys = DataKeys::generate();
        file.set_data_keys(Some(keys.clone())).unwrap();
        for path in [folder.key(), folder.certificate()] {
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                fs::write(&path, &damaged).unwrap();
                let opened = match KeyFile::open(&folder) {
                    Ok(Opened::Open(file)) => file,
                    Ok(Opened::Locked(sealed)) => match sealed.unlock(&unlock) {
                        Ok(file) => file,
                        Err(_) => continue,
                    },
                    Ok(Opened::Absent) => panic!("byte {at} of {} made it absent", path.display()),
                    Err(_) => continue,
                };
                assert_eq!(opened.kek(), kek, "byte {at} of {}", path.display());
                assert_eq!(opened.data_keys().as_ref(), Some(&keys));
                assert_eq!(opened.credentials().key().pkcs8(), credentials.key().pkcs8());
                let chain = opened.credentials().chain().to_vec();
                if chain != credentials.chain() {
                    assert!(cluster.root.verify(&chain, cluster.clock.now()).is_err());
                }
            }
            fs::write(&path, &whole).unwrap();
        }
    }
}

#[test]
fn what_is_missing_or_cut_off_is_named() {
    let (state, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let folder = CertificateFolder::below(state.path());
    KeyFile::create(&folder, cluster.credentials(Role::Manager), Kek::default()).unwrap();
    let (key, certificate) =
        (fs::read(folder.key()).unwrap(), fs::read(folder.certificate()).unwrap());
    for (path, whole) in [(folder.key(), &key), (folder.certificate(), &certificate)] {
        fs::remove_file(&path).unwrap();
        let error = KeyFile::open(&folder).unwrap_err().to_string();
        assert!(error.contains("is missing") && error.contains(path.to_str().unwrap()), "{error}");
        for len in [0, 1, whole.len() / 2, whole.len() - 5] {
            fs::write(&path, &whole[..len]).unwrap();
            let error = KeyFile::open(&folder).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        fs::write(&path, whole).unwrap();
    }
    open(&folder);
}

#[test]
fn headers_of_others_are_kept() {
    let (state, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let folder = CertificateFolder::below(state.path());
    let credentials = cluster.credentials(Role::Manager);
    KeyFile::create(&folder, credentials.clone(), Kek::default()).unwrap();
    // As SwarmKit writes it: its own headers, and no digest of ours.
    let mut block = skep_ca::pem::PemBlock::new("PRIVATE KEY", credentials.key().pkcs8().expose());
    block.headers.insert("kek-version".into(), "11".into());
    block.headers.insert("raft-dek".into(), "CAESIA==".into());
    fs::write(folder.key(), &*block.encode()).unwrap();

    let file = open(&folder);
    assert_eq!(file.kek(), Kek { key: None, version: 11 });
    file.set_data_keys(Some(DataKeys::generate())).unwrap();
    let text = fs::read_to_string(folder.key()).unwrap();
    assert!(text.contains("raft-dek: CAESIA==") && text.contains("kek-version: 11"), "{text}");
}
