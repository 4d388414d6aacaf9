//! No secret is in an image: whatever every device has, everybody has.
//!
//! By name anywhere, and by content in small files where people and programs keep their own.
//! `/usr` but `/usr/local` is Debian's, and public.

use goni_disk::tree::TreePath;
use rayon::prelude::*;

use super::evidence::{Evidence, Node, NodeKind, StateKind};
use super::objection::{Objection, Verdict, none};

/// Files are searched up to this size: private keys are small.
const SIZE_LIMIT: u64 = 1 << 20;

/// Where files are searched.
const SEARCHED: [&[u8]; 6] = [b"etc", b"root", b"home", b"opt", b"usr/local", b"var"];

/// Names of files that are secrets, or tell of somebody.
const NAMES: [&[u8]; 14] = [
    b".bash_history",
    b".git-credentials",
    b".gitconfig",
    b".lesshst",
    b".netrc",
    b".pgpass",
    b".python_history",
    b".viminfo",
    b".wget-hsts",
    b"MOK.key",
    b"MOK.priv",
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

/// What private keys contain: an opening, and on the same line an end.
const KEYS: [(&[u8], &[u8]); 4] = [
    (b"-----BEGIN ", b"PRIVATE KEY"),
    (b"PuTTY-User-Key-File-", b":"),
    (b"AGE-SECRET-KEY-1", b""),
    (b"untrusted comment: minisign encrypted secret key", b""),
];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let mut found: Vec<String> = Vec::new();
    let mut candidates: Vec<(&TreePath, &Node)> = Vec::new();
    for (path, node) in root.nodes() {
        match node.kind() {
            NodeKind::File if is_secret(path) => found.push(format!("`{path}`")),
            NodeKind::File if is_searched(path) && (1..SIZE_LIMIT).contains(&node.size()) => {
                candidates.push((path, node));
            }
            NodeKind::Directory if path.name() == b".git" => found.push(format!("`{path}`")),
            _ => {}
        }
    }
    let keys = candidates.par_iter().map(|(path, node)| {
        let content = root.content(path, node)?;
        Ok(holds_key(&content).then(|| format!("a private key in `{path}`")))
    });
    let keys: Result<Vec<Option<String>>, Objection> = keys.collect();
    found.extend(keys?.into_iter().flatten());
    for (path, node) in evidence.state.found().iter().flat_map(|state| &state.nodes) {
        match &node.kind {
            StateKind::File(_) if is_secret(path) => found.push(format!("`{path}` on the state partition")),
            StateKind::File(Some(content)) if holds_key(content) => {
                found.push(format!("a private key in `{path}` on the state partition"));
            }
            _ => {}
        }
    }
    none("no secret", found)
}

/// Whether the name says so.
fn is_secret(path: &TreePath) -> bool {
    let name = path.name();
    let host_key = name.starts_with(b"ssh_host_") && name.ends_with(b"_key");
    host_key || NAMES.contains(&name) || PLACES.iter().any(|place| path.as_bytes().starts_with(place))
}

fn is_searched(path: &TreePath) -> bool {
    let bytes = path.as_bytes();
    SEARCHED.iter().any(|top| bytes.strip_prefix(*top).is_some_and(|rest| rest.starts_with(b"/")))
}

/// Whether there is a private key in this.
fn holds_key(content: &[u8]) -> bool {
    KEYS.iter().any(|(opening, end)| {
        memchr::memmem::find_iter(content, opening).any(|at| {
            let line = &content[at + opening.len()..];
            let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
            end.is_empty() || memchr::memmem::find(line, end).is_some()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_told_from_public_ones() {
        for (text, expected) in [
            ("x\n-----BEGIN PRIVATE KEY-----\nMC4", true),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", true),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", true),
            ("-----BEGIN EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----", true),
            ("PuTTY-User-Key-File-3: ssh-ed25519", true),
            ("AGE-SECRET-KEY-1QQ", true),
            ("-----BEGIN PUBLIC KEY-----", false),
            ("-----BEGIN CERTIFICATE-----\nnot a PRIVATE KEY", false),
            ("a PRIVATE KEY", false),
        ] {
            assert_eq!(holds_key(text.as_bytes()), expected, "{text}");
        }
    }

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
        ] {
            assert_eq!(is_secret(&path(name)), expected, "{name}");
        }
    }
}
