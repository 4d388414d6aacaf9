//! No secret is in an image: whatever every device has, everybody has.
//!
//! By name anywhere on the root, on the state partition and in the initrd; by content as `leaks` found it. On
//! the partitions that firmware and loaders read, a strange name is the fault of their own checks.

use goni_disk::tree::TreePath;

use super::evidence::{Evidence, NodeKind, StateKind};
use super::leaks::Kind;
use super::objection::{Verdict, none};

/// Names of files that are secrets, or tell of somebody.
const NAMES: [&[u8]; 26] = [
    b".ash_history",
    b".bash_history",
    b".git-credentials",
    b".gitconfig",
    b".lesshst",
    b".mysql_history",
    b".netrc",
    b".npmrc",
    b".pgpass",
    b".psql_history",
    b".pypirc",
    b".python_history",
    b".sh_history",
    b".sqlite_history",
    b".viminfo",
    b".wget-hsts",
    b".zsh_history",
    b"MOK.key",
    b"MOK.priv",
    b"id_dsa",
    b"id_ecdsa",
    b"id_ed25519",
    b"id_rsa",
    b"credential.secret",
    b"mok.key",
    b"random-seed",
];

/// Paths of files that are secrets, below which there may be more.
const PLACES: [&[u8]; 6] = [
    b"etc/apt/auth.conf",
    b"etc/apt/auth.conf.d/",
    b"etc/credstore.encrypted/",
    b"etc/credstore/",
    b"var/lib/dkms/mok.",
    b"var/lib/shim-signed/mok/",
];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let mut found: Vec<String> = Vec::new();
    for (path, node) in root.nodes() {
        match node.kind() {
            NodeKind::File if is_secret(path) => found.push(format!("`{path}`")),
            NodeKind::Directory if path.name() == b".git" => found.push(format!("`{path}`")),
            _ => {}
        }
    }
    for (path, node) in evidence.state.found().iter().flat_map(|state| &state.nodes) {
        if matches!(node.kind, StateKind::File(_)) && is_secret(path) {
            found.push(format!("`state:{path}`"));
        }
    }
    // An initrd that cannot be read is the fault of another check.
    let of_initrd = evidence.initrd().into_iter().flatten();
    let of_initrd = of_initrd.filter(|name| TreePath::parse(name.as_bytes()).is_ok_and(|it| is_secret(&it)));
    found.extend(of_initrd.map(|name| format!("`initrd:/{name}`")));
    found.extend(evidence.leaks.of(Kind::Key));
    none("no secret", found)?;
    evidence.leaks.readable()
}

/// The ends of paths where programs keep what opens accounts, in any home.
const ENDS: [&[u8]; 8] = [
    b"/.aws/credentials",
    b"/.cargo/credentials",
    b"/.cargo/credentials.toml",
    b"/.config/gh/hosts.yml",
    b"/.config/pip/pip.conf",
    b"/.docker/config.json",
    b"/.kube/config",
    b"/.pip/pip.conf",
];

/// The ends of names of containers of keys.
const CONTAINERS: [&[u8]; 6] = [b".jks", b".keystore", b".kdbx", b".p12", b".pfx", b".ppk"];

/// Whether the name says so.
fn is_secret(path: &TreePath) -> bool {
    let name = path.name();
    let contained = CONTAINERS.iter().any(|end| name.len() > end.len() && name.ends_with(end));
    let of_home = ENDS.iter().any(|end| path.as_bytes().ends_with(end));
    let of_gpg = path.components().any(|part| part == b"private-keys-v1.d") && name.ends_with(b".key");
    let host_key = name.starts_with(b"ssh_host_") && name.ends_with(b"_key");
    host_key
        || contained
        || of_home
        || of_gpg
        || NAMES.contains(&name)
        || PLACES.iter().any(|place| path.as_bytes().starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_where_they_lie() {
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        for (name, expected) in [
            ("etc/ssh/ssh_host_ed25519_key", true),
            ("etc/ssh/ssh_host_ed25519_key.pub", false),
            ("root/.netrc", true),
            ("etc/apt/auth.conf.d/vendor.conf", true),
            ("etc/apt/apt.conf.d/01autoremove", false),
            ("var/lib/shim-signed/mok/MOK.der", true),
            ("root/.docker/config.json", true),
            ("root/.gnupg/private-keys-v1.d/0A.key", true),
            ("etc/keys/node.p12", true),
            ("usr/share/doc/x/config.json", false),
            ("etc/.p12", false),
        ] {
            assert_eq!(is_secret(&path(name)), expected, "{name}");
        }
    }
}
