//! What a sandboxed command may do as its root user.

use std::io;

use rustix::thread::{CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set};

/// What maintainer scripts need: to own, read, write and mark any file of the tree, and to become
/// another user. No mounting, no device nodes, no modules, no tracing, no raw network; and no files by their
/// handles, which `DAC_READ_SEARCH` would allow: a handle reaches past the root of a tree. Source: open_by_handle_at(2).
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE);

/// Takes every other capability from what this process starts.
pub(super) fn restrict() -> io::Result<()> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        // A kernel older than the capability does not know it, and nobody can have it.
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}
