//! Extended attributes, kept behind the inode they belong to.
//!
//! Left out: attributes shared between inodes, name filters, long name prefixes.
//! Source: Linux 6.12, fs/erofs/erofs_fs.h and fs/erofs/xattr.h.

use std::collections::BTreeMap;

use super::WriteError;
use crate::tree::TreePath;

/// Namespaces an attribute's name may begin with, and their `EROFS_XATTR_INDEX_*`. The names of
/// access control lists are whole, so nothing may follow them.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// Bytes of `struct erofs_xattr_ibody_header`.
const HEADER: usize = 12;

/// The most a body can hold: `i_xattr_icount` counts 4-byte words in 16 bits, the header as one.
const BODY_MAX: usize = HEADER + 4 * 65_534;

/// The body of an inode's attributes: empty, or a header and one entry each, in order of name.
pub(super) fn encode(path: &TreePath, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<u8>, WriteError> {
    if xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let mut body = vec![0; HEADER];
    for (name, value) in xattrs {
        let (e_name_index, suffix) = split(name).ok_or_else(|| WriteError::XattrName {
            path: path.clone(),
            name: name.escape_ascii().to_string(),
        })?;
        let too_large =
            || WriteError::XattrSize { path: path.clone(), name: name.escape_ascii().to_string() };
        let e_name_len = u8::try_from(suffix.len()).map_err(|_| too_large())?;
        let e_value_size = u16::try_from(value.len()).map_err(|_| too_large())?;
        body.extend_from_slice(&[e_name_len, e_name_index]);
        body.extend_from_slice(&e_value_size.to_le_bytes());
        body.extend_from_slice(suffix);
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
        if body.len() > BODY_MAX {
            return Err(too_large());
        }
    }
    Ok(body)
}

/// `i_xattr_icount` of a body.
pub(super) fn icount(body: &[u8]) -> u16 {
    let words = body.len().saturating_sub(HEADER) / 4;
    if body.is_empty() { 0 } else { u16::try_from(words + 1).expect("`encode` keeps bodies below BODY_MAX") }
}

/// An attribute's namespace and the rest of its name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.into_iter().find_map(|(prefix, index)| {
        let suffix = name.strip_prefix(prefix)?;
        (prefix.ends_with(b".") != suffix.is_empty()).then_some((index, suffix))
    })
}
