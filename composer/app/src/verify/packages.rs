//! dpkg's database: every package is installed, and none waits for anything.

use goni_debian::installed::{self, Installed, STATUS};

use super::evidence::{Evidence, NodeKind, Root, chain};
use super::objection::{Objection, Verdict, none};

/// Where dpkg keeps what it has not yet merged into that.
const UPDATES: &str = "var/lib/dpkg/updates";

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let packages = packages(root)?;
    if packages.is_empty() {
        return Err(Objection::differs(format!("packages in `/{STATUS}`"), "there are none"));
    }
    let told = packages.iter().map(|it| (&it.name, it.state.as_deref().unwrap_or("no state")));
    let unfinished = told.filter(|(_, state)| *state != "install ok installed");
    none(
        "every package is `install ok installed`",
        unfinished.map(|(name, state)| format!("{name} is `{state}`")),
    )?;
    let updates = root.below(UPDATES).filter(|(_, node)| node.kind() == NodeKind::File);
    none("no update of the database left over", updates.map(|(path, _)| format!("`{path}`")))
}

/// Every package that the database of the root knows, sorted by name.
pub(super) fn packages(root: &Root<'_>) -> Result<Vec<Installed>, Objection> {
    let bytes = root.text(STATUS)?;
    let wrong = |error| Objection::differs(format!("packages in `/{STATUS}`"), chain(&error));
    installed::parse(bytes.as_bytes()).map_err(wrong)
}
