//! dpkg's database: every package is installed, and none waits for anything.

use goni_debian::deb822::{Deb822Error, Stanzas, text};

use super::evidence::{Evidence, NodeKind, Root};
use super::objection::{Objection, Verdict, none};

/// Where dpkg keeps the states of packages.
pub(super) const STATUS: &str = "var/lib/dpkg/status";

/// Where dpkg keeps what it has not yet merged into that.
const UPDATES: &str = "var/lib/dpkg/updates";

/// A package and its state.
type Package = (String, String);

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let packages = packages(root)?;
    if packages.is_empty() {
        return Err(Objection::differs(format!("packages in `/{STATUS}`"), "there are none"));
    }
    let unfinished = packages.iter().filter(|(_, state)| state != "install ok installed");
    none(
        "every package is `install ok installed`",
        unfinished.map(|(name, state)| format!("{name} is `{state}`")),
    )?;
    let updates = root.below(UPDATES).filter(|(_, node)| node.kind() == NodeKind::File);
    none("no update of the database left over", updates.map(|(path, _)| format!("`{path}`")))
}

/// Every package of the root, in the order of the file.
pub(super) fn packages(root: &Root<'_>) -> Result<Vec<Package>, Objection> {
    let bytes = root.text(STATUS)?;
    let wrong = |error: Deb822Error| Objection::differs(format!("stanzas in `/{STATUS}`"), error);
    let mut stanzas = Stanzas::new(text(bytes.as_bytes()).map_err(wrong)?);
    let mut packages = Vec::new();
    while let Some(fields) = stanzas.next_fields().map_err(wrong)? {
        let value =
            |name: &str| fields.iter().find(|field| field.is(name)).map(|field| field.value.to_owned());
        let name = value("Package").unwrap_or_else(|| "a package without name".to_owned());
        packages.push((name, value("Status").unwrap_or_else(|| "no state".to_owned())));
    }
    Ok(packages)
}
