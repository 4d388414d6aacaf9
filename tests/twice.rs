//! `build --twice`: what depends on more than its inputs is found and named. That an image which does not is the
//! same is in `build.rs`.
//!
//! Needs a mirror the first time, and root or user namespaces.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine itself")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "other tests need the rest")]
mod common;
#[expect(dead_code, reason = "other tests need the rest")]
#[path = "archives/vendor.rs"]
mod vendor;

use std::fs;

use common::{Project, alone, good, said};
use vendor::Package;

/// Writes a time, a random number, and names in the order of their directory; and the kernel's release, which is
/// the image's wherever it is built.
const FICKLE: &str = "#!/bin/sh
set -e
date +%s > /etc/fickle-stamp
cat /proc/sys/kernel/random/uuid > /etc/fickle-token
ls -U /usr/lib/fickle > /etc/fickle-order
uname -r > /etc/fickle-kernel
";

/// As many names as are not in order by chance.
fn names() -> Vec<(String, String)> {
    (0..40).map(|n| (format!("usr/lib/fickle/name-{n}"), String::new())).collect()
}

#[test]
fn a_time_a_random_number_and_the_order_of_a_directory_are_found_with_their_script() {
    let project = Project::new();
    let package = Package { preinst: Some(FICKLE), files: names(), ..Package::new("fickle", "") };
    fs::create_dir(project.path().join("debs")).unwrap();
    fs::write(project.path().join("debs").join(package.file_name()), package.deb()).unwrap();
    let mut text = fs::read_to_string(project.recipe()).unwrap();
    text.push_str("\n[debian]\nlocal = [\"debs/*.deb\"]\n");
    fs::write(project.recipe(), text).unwrap();
    let recipe = project.recipe();
    let recipe = recipe.to_str().unwrap();
    good(project.program(&["lock", "--quiet", recipe]).output().unwrap());

    let _alone = alone();
    let output = project.program(&["build", "--twice", recipe]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(
        said.contains("two builds of `goni-qemu_0.1.0_amd64` differ: `/etc/fickle-order`: from byte"),
        "{said}"
    );
    for name in ["stamp", "token"] {
        assert!(said.contains(&format!("also different: `/etc/fickle-{name}`: from byte")), "{said}");
    }
    let blamed =
        "; it is of package `fickle`, and a maintainer script or trigger made it so, probably fickle.preinst";
    assert_eq!(said.matches(blamed).count(), 3, "{said}");
    assert!(!said.contains("fickle-kernel"), "{said}");
    assert!(!said.contains("more"), "{said}");
}
