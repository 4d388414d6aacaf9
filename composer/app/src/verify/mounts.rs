//! The mount tables: state by its identifier on the root's disk and without programs, swap only through a key of one boot.
//! Source: fstab(5), crypttab(5).

use goni_disk::gpt::Partition;
use goni_model::layout::Role;
use goni_model::recipe::persist::BELOW;

use super::evidence::{Evidence, Root, STATE_MAPPING};
use super::objection::{Objection, Verdict, equal, none};
use super::state::PLACES;

/// How state is mounted: data, never programs or devices.
const STATE_OPTIONS: [&str; 3] = ["nosuid", "nodev", "noexec"];

/// The name of the swap device behind the key.
const SWAP: &str = "swap";

/// Ciphers that a line of crypttab may name for swap.
const CIPHERS: [&str; 1] = ["aes-xts-plain64"];

/// Where units are. A unit can mount and swap without a table.
const UNITS: [&str; 3] = ["etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system"];

pub(super) fn inspect(evidence: &Evidence<'_>) -> Verdict {
    let root = evidence.root.aid()?;
    let state =
        evidence.partition(Role::State).ok_or_else(|| Objection::unseen("there is no state partition"))?;
    let fstab = root.text("etc/fstab")?;
    let crypttab = root.file("etc/crypttab")?.unwrap_or_default();
    let crypttab = String::from_utf8_lossy(&crypttab).into_owned();
    let mounts = lines(&fstab);
    let device = if evidence.state_is_encrypted() {
        STATE_MAPPING.to_owned()
    } else {
        format!("/dev/goni/{}", state.guid.hyphenated())
    };
    inspect_state(&mounts, &device, &wished(root)?)?;

    let swap = evidence.partition(Role::Swap);
    let device = format!("/dev/mapper/{SWAP}");
    let plain = mounts.iter().filter(|line| line.get(2) == Some(&"swap") && line.first() != Some(&&*device));
    none("no swap but behind a key", plain.map(|line| format!("`{}`", line.join(" "))))?;
    let encrypted = mounts.iter().any(|line| line.get(2) == Some(&"swap"));
    equal("swap in `/etc/fstab` just where there is a partition:", swap.is_some(), encrypted)?;
    match swap {
        Some(swap) => inspect_crypttab(&lines(&crypttab), swap)?,
        None => {
            none("an empty `/etc/crypttab` without swap", lines(&crypttab).iter().map(|line| line.join(" ")))?
        }
    }
    let units =
        UNITS.iter().flat_map(|top| root.below(top)).filter(|(path, _)| path.name().ends_with(b".swap"));
    none("no unit that swaps", units.map(|(path, _)| format!("`{path}`")))
}

/// The directories that a recipe wants kept, as the mount table has them: all that is of ext4 beside
/// what every image keeps.
pub(super) fn wished(root: &Root<'_>) -> Result<Vec<String>, Objection> {
    let fstab = root.text("etc/fstab")?;
    let lines = lines(&fstab);
    let places = lines.iter().filter(|line| line.get(2) == Some(&"ext4")).filter_map(|line| line.get(1));
    let known = |place: &str| PLACES.iter().any(|known| place.strip_prefix('/') == Some(known.path));
    Ok(places.filter(|place| !known(place)).map(|place| (*place).to_owned()).collect())
}

fn inspect_state(mounts: &[Vec<&str>], device: &str, wished: &[String]) -> Verdict {
    let always = PLACES.iter().filter(|place| place.mounted);
    let always = always.map(|place| (format!("/{}", place.path), place.name.to_owned()));
    let wished = wished.iter().map(|place| (place.clone(), format!("{BELOW}{place}")));
    for (target, name) in always.chain(wished) {
        let found: Vec<&Vec<&str>> =
            mounts.iter().filter(|line| line.get(1) == Some(&target.as_str())).collect();
        let [line] = found[..] else {
            let expected = format!("one line of `/etc/fstab` for `{target}`");
            return Err(Objection::differs(expected, found.len()));
        };
        equal(&format!("`{target}` is on"), device, line.first().copied().unwrap_or_default())?;
        equal(&format!("`{target}` is"), "ext4", line.get(2).copied().unwrap_or_default())?;
        let options: Vec<&str> = line.get(3).map(|options| options.split(',').collect()).unwrap_or_default();
        let subdirectory = format!("X-mount.subdir={name}");
        let wanted = STATE_OPTIONS.iter().copied().chain([subdirectory.as_str()]);
        let missing = wanted.filter(|option| !options.contains(option));
        none(
            &format!("`{target}` without programs and devices"),
            missing.map(|option| format!("no `{option}`")),
        )?;
        let loose = ["exec", "suid", "dev"].into_iter().filter(|option| options.contains(option));
        none(&format!("`{target}` without programs and devices"), loose.map(|option| format!("`{option}`")))?;
    }
    Ok(())
}

/// The one line: the swap partition by identifier, a key that nobody keeps, no header.
fn inspect_crypttab(lines: &[Vec<&str>], swap: &Partition) -> Verdict {
    let [line] = lines else {
        return Err(Objection::differs("one line in `/etc/crypttab`, for swap", lines.len()));
    };
    let field = |index: usize| line.get(index).copied().unwrap_or_default();
    equal("`/etc/crypttab` opens", SWAP, field(0))?;
    let device = format!("PARTUUID={}", swap.guid.hyphenated());
    equal("swap is behind a key on", device.as_str(), field(1))?;
    equal("the key of swap is from", "/dev/urandom", field(2))?;
    let options: Vec<&str> = field(3).split(',').collect();
    let missing = ["plain", "swap"].into_iter().filter(|option| !options.contains(option));
    none("swap is plain dm-crypt, made anew", missing.map(|option| format!("no `{option}`")))?;
    let ciphers = options.iter().filter_map(|option| option.strip_prefix("cipher="));
    let weak = ciphers.filter(|cipher| !CIPHERS.contains(cipher));
    none("a cipher of aes-xts-plain64", weak.map(|cipher| format!("`{cipher}`")))
}

/// The fields of every line that says something.
fn lines(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.first().is_some_and(|first| !first.starts_with('#')))
        .collect()
}
