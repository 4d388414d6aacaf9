//! The partition table: who is there, in order, labelled and placed as the layout says.
//!
//! What makes any table wrong, such as overlaps, bad sums or two copies that differ, already kept it
//! from being read.

use goni_model::layout::Role;
use goni_model::target::BootMethod;

use super::evidence::{Evidence, ROLES};
use super::objection::{Objection, Verdict, equal, none};

/// Roles that an image cannot do without, and those that only some boot methods have.
const NEEDED: [Role; 3] = [Role::Esp, Role::Root, Role::State];
const OF_METHODS: [(Role, BootMethod); 1] = [(Role::App, BootMethod::Extlinux)];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let table = evidence.table.object()?;
    let mut roles = Vec::new();
    for partition in &table.partitions {
        let name = &partition.name;
        let role = evidence.role(partition).ok_or_else(|| {
            Objection::differs(
                "partitions of the types of this architecture",
                format!("`{name}` of type {}", partition.type_guid),
            )
        })?;
        equal(&format!("the {role} partition is labelled"), role.label(), name)?;
        let expected = format!("{:#x}", role.attributes());
        equal(&format!("`{name}` has attributes"), expected, format!("{:#x}", partition.attributes.bits()))?;
        roles.push(role);
    }
    let own = OF_METHODS.into_iter().filter(|(_, method)| *method == evidence.boot).map(|(role, _)| role);
    if let Some(missing) = NEEDED.into_iter().chain(own).find(|role| !roles.contains(role)) {
        return Err(Objection::differs(format!("a partition for {missing}"), "there is none"));
    }
    let others = OF_METHODS.iter().filter(|(role, method)| *method != evidence.boot && roles.contains(role));
    let boot = evidence.boot.name();
    none(&format!("the partitions of boot method `{boot}`"), others.map(|(role, _)| role.to_string()))?;
    inspect_mbr(evidence)?;
    let in_order: Vec<Role> = ROLES.into_iter().filter(|role| roles.contains(role)).collect();
    equal("partitions, each once and in this order:", list(&in_order), list(&roles))?;
    let places: Vec<u64> = table.partitions.iter().map(|partition| partition.first.get()).collect();
    if !places.is_sorted() {
        return Err(Objection::differs(
            "partitions placed in the order of their numbers",
            format!("{places:?}"),
        ));
    }
    Ok(())
}

/// The MBR names what the boot method's firmware looks for there, and nothing for others.
fn inspect_mbr(evidence: &Evidence<'_>) -> Verdict {
    let meant = (evidence.boot == BootMethod::RaspberryPi).then_some(Role::Esp);
    let named = evidence.table.object()?.in_mbr;
    let partition = named.and_then(|guid| evidence.partitions().iter().find(|it| it.guid == guid));
    let named = partition.and_then(|partition| evidence.role(partition));
    let shown = |role: Option<Role>| role.map_or("none", Role::name);
    equal("besides what protects the table, the MBR names", shown(meant), shown(named))
}

fn list(roles: &[Role]) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}
