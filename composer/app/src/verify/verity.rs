//! The hash tree: it vouches for every byte of the root, and the partitions are named by its root hash.

use goni_disk::verity;
use goni_model::layout::Role;

use super::evidence::{Evidence, chain};
use super::objection::{Objection, Verdict, equal};

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root_hash = evidence.root_hash.object()?;
    let (Some(data), Some(tree)) = (evidence.window(Role::Root), evidence.window(Role::RootVerity)) else {
        return Err(Objection::unseen("the root has no hash tree"));
    };
    let protected = verity::check(data, tree, root_hash)
        .map_err(|error| Objection::differs("data and tree that match", chain(&error)))?;
    if let Some(root) = evidence.root.found() {
        equal("the tree covers the file system's", root.size(), protected.data_size)?;
    }
    for (role, guid) in [(Role::Root, root_hash.root_uuid()), (Role::RootVerity, root_hash.verity_uuid())] {
        let observed = evidence.partition(role).map(|partition| partition.guid).unwrap_or_default();
        equal(&format!("by root hash {root_hash}, the {role} partition is"), guid, observed)?;
    }
    Ok(())
}
