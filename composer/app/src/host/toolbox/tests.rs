use super::*;

#[test]
fn the_lock_names_every_package_once_and_in_order() {
    let packages = packages().unwrap();
    assert!(packages.is_sorted_by(|first, second| first.name < second.name));
    for name in ["qemu-system-x86", "ovmf", "gdisk", "dosfstools", "erofs-utils", "cryptsetup-bin", "dpkg"] {
        assert!(packages.iter().any(|package| package.name == name), "{name}");
    }
    for package in packages {
        assert!(["amd64", "all"].contains(&package.arch.as_str()), "{}", package.name);
        assert!(package.path.starts_with("pool/"), "{}", package.path);
    }
}

#[test]
fn a_tool_is_looked_up_where_programs_are() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("usr/sbin")).unwrap();
    std::fs::write(directory.path().join("usr/sbin/sgdisk"), b"").unwrap();
    let toolbox = Toolbox { root: directory.path().into() };
    let command = toolbox.command("sgdisk").unwrap().arg("--version");
    assert!(command.to_string().ends_with("/usr/sbin/sgdisk --version"), "{command}");
    let error = toolbox.command("mkfs.none").unwrap_err();
    assert_eq!(error.to_string(), "the toolbox has no program `mkfs.none`");
    assert_eq!(error.class(), Class::Bug);
}

#[test]
fn an_empty_cache_has_no_tools() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Toolbox::find(directory.path()), None);
}
