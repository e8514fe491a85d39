//! File systems on which SQLite's locks and shared memory cannot be trusted.

use std::path::{Path, PathBuf};

use mlp_core::StoreError;

/// The numbers of the kernel's `statfs` for file systems across a network.
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// As many links are followed as the kernel follows.
const MOST_LINKS: usize = 40;

/// Where a file is or will be, its links followed as SQLite follows them: its log lies there, too.
pub(crate) fn place(path: &Path) -> PathBuf {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&place) else { break };
        place = folder(&place).join(target);
    }
    place
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a place on a network file system.
pub(crate) fn refuse(place: &Path) -> Result<(), StoreError> {
    refuse_where(place, |path| {
        let found = rustix::fs::statfs(path).ok()?;
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_sign_loss,
            reason = "its type differs by platform"
        )]
        let number = found.f_type as u64 & 0xffff_ffff;
        Some(number)
    })
}

/// `number` tells which kind of file system a path is on, if there is something at the path.
fn refuse_where(place: &Path, number: impl Fn(&Path) -> Option<u64>) -> Result<(), StoreError> {
    // A file may be mounted by itself; its log lies in the folder.
    for path in [place, folder(place)] {
        if let Some(name) = number(path).and_then(name) {
            let reason = format!(
                "{} is on {name}, where locks cannot be trusted; `Options::with_network_files` takes the risk",
                path.display()
            );
            return Err(StoreError::invalid("the place of the database", reason));
        }
    }
    Ok(())
}

fn name(number: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_known_by_its_number_and_a_local_one_is_taken() {
        assert_eq!(name(0x6969), Some("NFS"));
        assert_eq!(name(0xff53_4d42), Some("CIFS"));
        assert_eq!(name(0xef53), None, "ext4");
        assert_eq!(name(0x0102_1994), None, "tmpfs");
        assert!(refuse(&std::env::temp_dir().join("mlp.db")).is_ok());
    }

    #[test]
    fn a_link_to_a_file_on_a_network_is_followed_and_refused_be_the_file_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (net, local) = (folder.path().join("net"), folder.path().join("local"));
        std::fs::create_dir(&net).unwrap();
        std::fs::create_dir(&local).unwrap();
        std::fs::write(net.join("there.db"), "").unwrap();
        // What the kernel would say if `net` were mounted from another machine.
        let number = |path: &Path| {
            let found = path.canonicalize().ok()?;
            Some(if found.starts_with(net.canonicalize().unwrap()) { 0x6969 } else { 0xef53 })
        };
        for file in ["there.db", "not-yet.db"] {
            assert!(refuse_where(&place(&net.join(file)), number).is_err());
            assert!(refuse_where(&place(&local.join(file)), number).is_ok());
            let link = local.join(format!("link-to-{file}"));
            std::os::unix::fs::symlink(format!("../net/{file}"), &link).unwrap();
            let second = local.join(format!("link-to-link-to-{file}"));
            std::os::unix::fs::symlink(&link, &second).unwrap();
            for link in [link, second] {
                let refused = refuse_where(&place(&link), number).unwrap_err().to_string();
                assert!(refused.contains("NFS"), "{refused}");
            }
        }
        let turning = local.join("turning");
        std::os::unix::fs::symlink("turning", &turning).unwrap();
        assert!(crate::Database::open(&turning).is_err(), "a link to itself");
    }

    #[test]
    fn a_link_to_a_local_file_shares_its_log_and_its_turns_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.db"), folder.path().join("link.db"));
        std::os::unix::fs::symlink("real.db", &link).unwrap();
        let (one, other) =
            (crate::Database::open(&link).unwrap(), crate::Database::open(&real).unwrap());
        assert!(folder.path().join("real.db-turns").exists());
        assert!(!folder.path().join("link.db-turns").exists());
        assert!(one.verify().unwrap().is_sound() && other.verify().unwrap().is_sound());
    }
}
