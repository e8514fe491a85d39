//! File systems on which SQLite's locks and shared memory cannot be trusted.

use std::path::Path;

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

/// Refuses a folder on a network file system.
pub(crate) fn refuse(folder: &Path) -> Result<(), StoreError> {
    let Ok(found) = rustix::fs::statfs(folder) else { return Ok(()) };
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "its type differs by platform"
    )]
    match name(found.f_type as u64 & 0xffff_ffff) {
        Some(name) => {
            let reason = format!(
                "{} is on {name}, where locks cannot be trusted; `Options::with_network_files` takes the risk",
                folder.display()
            );
            Err(StoreError::invalid("the place of the database", reason))
        }
        None => Ok(()),
    }
}

fn name(magic: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
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
        assert!(refuse(&std::env::temp_dir()).is_ok());
    }
}
