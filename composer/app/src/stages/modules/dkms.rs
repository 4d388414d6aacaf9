//! Packages with sources that DKMS builds.
//!
//! DKMS itself builds, so that patches, conditions and the like of a package's `dkms.conf` are what they are
//! everywhere else. Which modules that file promises is read from it by the shell that it is written for, in
//! the sandbox. Source: dkms(8).

use goni_model::arch::Arch;
use goni_model::lock::LockedPackage;

use super::record::Origin;
use super::run::{Surroundings, WORK};
use super::{LARGEST, Module, ModulesError, module};
use crate::host::command::last_lines;
use crate::host::files;
use crate::host::walk::Directory;

/// Says what a `dkms.conf` is for and which modules it promises, a line each. Its arguments are that file,
/// the kernel's release, the architecture and the place of the headers; of the variables that DKMS gives such
/// files, the documented ones are there. Source: dkms(8), DKMS.CONF.
const READ: &str = r#"
kernelver=$2 arch=$3 kernel_source_dir=$4 source_tree=/usr/src dkms_tree=/build/dkms
. "$1" >/dev/null || exit 1
printf '%s\n' "$PACKAGE_NAME" "$PACKAGE_VERSION"
if [ "${#BUILT_MODULE_NAME[@]}" = 0 ]; then BUILT_MODULE_NAME=("$PACKAGE_NAME"); fi
for index in "${!BUILT_MODULE_NAME[@]}"; do
    printf '%s\n' "${DEST_MODULE_NAME[$index]:-${BUILT_MODULE_NAME[$index]}}"
done
"#;

/// What a `dkms.conf` says.
#[derive(Debug, PartialEq, Eq)]
struct Configuration {
    name: String,
    version: String,
    modules: Vec<String>,
}

/// Builds the modules of a package.
pub(super) fn build(
    surroundings: &Surroundings<'_>,
    package: &LockedPackage,
    log: &mut Vec<u8>,
) -> Result<Vec<Module>, ModulesError> {
    let order = surroundings.order;
    let from = Origin::Dkms {
        package: package.name.clone(),
        version: package.version.clone(),
        sha256: package.sha256,
    };
    let mut modules = Vec::new();
    for file in configurations(surroundings, package)? {
        let Configuration { name, version, modules: promised } = read(surroundings, package, &file)?;
        let sources = patched(surroundings, package, &file, &format!("{name}-{version}"), log)?;
        let (release, machine) = (order.release, machine(order.arch));
        let command = surroundings
            .command("/usr/sbin/dkms", surroundings.sandbox())
            .args(["build", "-m", &name, "-v", &version, "-k", release, "-a", machine])
            .args(["--kernelsourcedir", &surroundings.headers()])
            .args(["--sourcetree", &sources, "--dkmstree", &format!("{WORK}/dkms")]);
        let begun = log.len();
        let good = surroundings.run(&command, log)?;
        let place = format!("dkms/{name}/{version}");
        for make in [format!("{place}/build/make.log"), format!("{place}/{release}/{machine}/log/make.log")] {
            if let Ok(text) = files::read_capped(&surroundings.outside(&make), LARGEST) {
                log.extend(text);
            }
        }
        let said = log.get(begun..).unwrap_or_default();
        if !good {
            return Err(surroundings.failed(&from, said));
        }
        for name in promised {
            let built = surroundings.outside(&format!("{place}/{release}/{machine}/module/{name}.ko"));
            match files::read_capped(&built, LARGEST) {
                Ok(bytes) => modules.push(module(&name, from.clone(), bytes, release, order.arch)?),
                Err(error) if error.is_not_found() => return Err(surroundings.missing(&from, &name, said)),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(modules)
}

/// The folder with the source: the package's own, or a copy of it with patches applied.
fn patched(
    surroundings: &Surroundings<'_>,
    package: &LockedPackage,
    file: &str,
    folder: &str,
    log: &mut Vec<u8>,
) -> Result<String, ModulesError> {
    let Some(patches) = surroundings.order.patches.get(&package.name) else {
        return Ok("/usr/src".to_owned());
    };
    let (sources, original) = (format!("{WORK}/src"), file.trim_end_matches("/dkms.conf"));
    let copied = format!("{sources}/{folder}");
    files::create_directories(&surroundings.outside("src"))?;
    let copy = surroundings.command("/usr/bin/cp", surroundings.sandbox()).args([
        "--recursive",
        "--no-preserve=ownership",
        original,
        &copied,
    ]);
    let failed = |patch: &str, log: &[u8]| ModulesError::Patch {
        patch: patch.to_owned(),
        package: package.name.clone(),
        said: last_lines(log, 8),
    };
    if !surroundings.run(&copy, log)? {
        return Err(failed("", log));
    }
    for patch in patches {
        let apply = surroundings
            .command("/usr/bin/patch", surroundings.sandbox())
            .args(["--strip=1", "--batch", "--forward", "--no-backup-if-mismatch"])
            .directory(&copied)
            .input(patch.bytes.clone());
        if !surroundings.run(&apply, log)? {
            return Err(failed(&patch.name, log));
        }
    }
    Ok(sources)
}

/// The `dkms.conf` files of a package, as they are called inside.
fn configurations(
    surroundings: &Surroundings<'_>,
    package: &LockedPackage,
) -> Result<Vec<String>, ModulesError> {
    let tree = surroundings.order.tree;
    let directory = Directory::open(tree).map_err(files::FileError::io("reading", tree))?;
    let list = [format!("{}.list", package.name), format!("{}:{}.list", package.name, package.arch)];
    let list = list.iter().find_map(|list| directory.read(&format!("var/lib/dpkg/info/{list}")).ok());
    let list = String::from_utf8(list.unwrap_or_default()).unwrap_or_default();
    let found: Vec<String> = list
        .lines()
        .filter(|file| file.starts_with("/usr/src/") && file.ends_with("/dkms.conf"))
        .map(str::to_owned)
        .collect();
    if found.is_empty() {
        return Err(ModulesError::NoConfiguration { package: package.name.clone() });
    }
    Ok(found)
}

fn read(
    surroundings: &Surroundings<'_>,
    package: &LockedPackage,
    file: &str,
) -> Result<Configuration, ModulesError> {
    let order = surroundings.order;
    let command = surroundings.command("/usr/bin/bash", surroundings.sandbox()).args([
        "-c",
        READ,
        "bash",
        file,
        order.release,
        machine(order.arch),
        &surroundings.headers(),
    ]);
    let (good, said) = surroundings.ask(&command)?;
    let wrong = |said: String| ModulesError::Configuration { package: package.name.clone(), said };
    if !good {
        return Err(wrong(last_lines(&said, 8)));
    }
    parse(&String::from_utf8_lossy(&said)).ok_or_else(|| wrong("it names no modules".to_owned()))
}

/// Name, version and modules, a line each. They become parts of paths, and are kept from leading elsewhere.
fn parse(said: &str) -> Option<Configuration> {
    let plain = |text: &str| {
        !text.is_empty() && !text.starts_with(['.', '-']) && !text.contains(['/', ' ', '$', '`'])
    };
    let mut lines = said.lines();
    let (name, version) = (lines.next()?.to_owned(), lines.next()?.to_owned());
    let modules: Vec<String> = lines.map(str::to_owned).collect();
    let good = plain(&name) && plain(&version) && modules.iter().all(|module| plain(module));
    (good && !modules.is_empty()).then_some(Configuration { name, version, modules })
}

/// What DKMS calls an architecture: as `uname -m` does.
const fn machine(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_its_modules() {
        let found = parse("nvidia-current-open\n550.163.01\nnvidia-current-open\nnvidia-current-open-uvm\n");
        let expected = Configuration {
            name: "nvidia-current-open".into(),
            version: "550.163.01".into(),
            modules: vec!["nvidia-current-open".into(), "nvidia-current-open-uvm".into()],
        };
        assert_eq!(found, Some(expected));
        for text in ["", "a\n1\n", "a\n\na\n", "../a\n1\na\n", "a\n1\n../../a\n", "a\n1\n\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
