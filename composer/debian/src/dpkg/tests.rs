use super::*;
use crate::deb::testing::{Tar, control, deb};
use crate::deb::{Deb, DebError};

/// Reads a package made in memory as the database needs it.
fn read(package: &[u8]) -> (Control, Vec<MemberPath>) {
    let mut paths = Vec::new();
    let deb = Deb::open(package, package.len().try_into().unwrap()).unwrap();
    let control = deb.read_data(1 << 20, 1, |member, _| {
        paths.push(member.path);
        Ok::<(), DebError>(())
    });
    (control.unwrap(), paths)
}

fn sample() -> (Control, Vec<MemberPath>) {
    let files = [
        ("conffiles", 0o644, "/etc/p\nremove-on-upgrade /etc/old\n"),
        ("postinst", 0o755, "#!/bin/sh\n"),
        ("triggers", 0o644, "interest-noawait /usr/lib/p\ninterest p-cache\nactivate-noawait ldconfig\n"),
    ];
    let fields = "Multi-Arch: same\nDescription: short\n long\n .\n end\n";
    let data = Tar::default().directory("./").directory("./etc/").file("./etc/p", 0o644, b"").end();
    read(&deb(&control("p", fields, &files), &data))
}

#[test]
fn the_database_is_what_dpkg_would_have_written() {
    let (control, paths) = sample();
    let database = Database::of(&[UnpackedPackage { control: &control, paths: &paths }]).unwrap();
    let written: String = database
        .files
        .iter()
        .map(|(name, file)| format!("{name} {:o}\n{}", file.mode, String::from_utf8_lossy(&file.bytes)))
        .collect();
    let expected = "\
var/lib/dpkg/available 644
var/lib/dpkg/diversions 644
var/lib/dpkg/info/format 644
1
var/lib/dpkg/info/p:all.conffiles 644
/etc/p
remove-on-upgrade /etc/old
var/lib/dpkg/info/p:all.list 644
/.
/etc
/etc/p
var/lib/dpkg/info/p:all.postinst 755
#!/bin/sh
var/lib/dpkg/info/p:all.triggers 644
interest-noawait /usr/lib/p
interest p-cache
activate-noawait ldconfig
var/lib/dpkg/statoverride 644
var/lib/dpkg/status 644
Package: p
Status: install ok unpacked
Version: 1.0
Architecture: all
Multi-Arch: same
Description: short
 long
 .
 end
Conffiles:
 /etc/p newconffile

var/lib/dpkg/triggers/File 644
/usr/lib/p p:all/noawait
var/lib/dpkg/triggers/Unincorp 644
var/lib/dpkg/triggers/p-cache 644
p:all
";
    assert_eq!(written, expected);
    assert_eq!(database.directories[0], "var/lib/dpkg");
    assert!(database.directories.contains(&"var/lib/dpkg/updates".to_owned()));
}

#[test]
fn a_package_cannot_name_a_trigger_that_leaves_the_directory() {
    let control = control("p", "", &[("triggers", 0o644, "interest ../status\n")]);
    let (control, paths) = read(&deb(&control, &Tar::default().end()));
    let refused = Database::of(&[UnpackedPackage { control: &control, paths: &paths }]).unwrap_err();
    assert_eq!(refused.to_string(), "triggers of `p`, line 1");
    let cause = std::error::Error::source(&refused).unwrap();
    assert_eq!(cause.to_string(), "`../status` cannot name a trigger");
}
