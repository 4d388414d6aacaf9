//! What the initrd has for the state alone: the script that grows, makes and opens it, and its programs.
//!
//! The script is `goni-state` beside this file; `units/` start it. An image whose state is encrypted
//! has more to it, and an image whose state is not carries none of that.

use goni_disk::tree::TreePath;
use goni_model::arch::Arch;
use goni_model::recipe::StateEncryption;

/// The script.
pub(super) const SCRIPT: &str = include_str!("goni-state");

/// Where it is.
pub(super) const SCRIPT_PLACE: &str = "usr/libexec/goni/goni-state";

/// What a file system made by the script is like: the same as for one made by hand.
const MKE2FS: &str = "etc/mke2fs.conf";

/// Programs of the script.
const PROGRAMS: [&str; 14] = [
    "usr/bin/cat",
    "usr/bin/dd",
    "usr/bin/flock",
    "usr/bin/od",
    "usr/bin/partx",
    "usr/bin/rm",
    "usr/bin/sh",
    "usr/bin/sleep",
    "usr/bin/sync",
    "usr/bin/truncate",
    "usr/sbin/blkdiscard",
    "usr/sbin/blkid",
    "usr/sbin/mke2fs",
    "usr/sbin/sfdisk",
];

/// Programs that only an encrypted state needs.
const ENCRYPTING: [&str; 7] = [
    "usr/bin/cmp",
    "usr/bin/stty",
    "usr/bin/systemd-cryptenroll",
    "usr/bin/systemd-cryptsetup",
    "usr/bin/timeout",
    "usr/bin/tr",
    "usr/sbin/cryptsetup",
];

/// The library that talks to the TPM's device; it is loaded by a name that no ELF file has.
const TPM_DEVICE: &str = "libtss2-tcti-device.so.0";

/// Modules that an encrypted state needs beside the target's, by the name of the architecture they are for.
const MODULES: [(Option<Arch>, &str); 7] = [
    (None, "af_alg"),
    (None, "algif_skcipher"),
    (None, "dm_crypt"),
    (None, "xts"),
    (Some(Arch::Amd64), "aesni_intel"),
    (Some(Arch::Arm64), "aes_ce_blk"),
    (Some(Arch::Arm64), "tpm_tis"),
];

/// The files to take from the root.
pub(super) fn files(encryption: StateEncryption, arch: Arch) -> Vec<TreePath> {
    let mut files: Vec<String> = PROGRAMS.iter().chain([&MKE2FS]).map(|file| (*file).to_owned()).collect();
    if encryption != StateEncryption::None {
        files.extend(ENCRYPTING.iter().map(|file| (*file).to_owned()));
        files.push(format!("usr/lib/{}/{TPM_DEVICE}", arch.multiarch()));
    }
    files.iter().map(|file| super::path(file)).collect()
}

/// The modules to take beside the target's.
pub(super) fn modules(encryption: StateEncryption, arch: Arch) -> impl Iterator<Item = &'static str> {
    let wanted = encryption != StateEncryption::None;
    MODULES
        .into_iter()
        .filter(move |(of, _)| wanted && of.is_none_or(|of| of == arch))
        .map(|(_, module)| module)
}

/// The feature whose libraries reach a TPM.
pub(super) const FEATURE: &str = "tpm";
