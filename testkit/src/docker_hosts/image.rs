//! An image without a registry: busybox, which is one static program, as a file system.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{HostsError, run};

/// Where the static busybox is.
const BUSYBOX: &str = "/bin/busybox";
/// The names under which tests call it.
const APPLETS: &[&str] = &[
    "sh", "sleep", "cat", "echo", "ls", "nc", "httpd", "nslookup", "ping", "wget", "hostname",
    "true", "false",
];

/// Imports the image with `docker` and gives its id.
pub fn import_busybox(docker: Command, dir: &Path, name: &str) -> Result<String, HostsError> {
    file_system(dir).map_err(|source| HostsError::Prepare { path: dir.to_owned(), source })?;
    let mut tar = Command::new("tar");
    let tar = tar.arg("-C").arg(dir).args(["-c", "."]).stdout(Stdio::piped()).spawn();
    let mut tar = tar.map_err(|source| HostsError::Run { program: "tar".into(), source })?;
    let mut docker = docker;
    docker.args(["import", "-", name]);
    if let Some(archive) = tar.stdout.take() {
        docker.stdin(archive);
    }
    let id = run(&mut docker);
    tar.wait().map_err(|source| HostsError::Run { program: "tar".into(), source })?;
    Ok(id?.trim().to_owned())
}

fn file_system(dir: &Path) -> io::Result<()> {
    let bin: PathBuf = dir.join("bin");
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(dir.join("etc"))?;
    fs::create_dir_all(dir.join("tmp"))?;
    fs::copy(BUSYBOX, bin.join("busybox"))?;
    for applet in APPLETS {
        match symlink("busybox", bin.join(applet)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
