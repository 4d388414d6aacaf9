use super::*;

#[test]
fn the_lock_is_canonical_and_names_what_was_asked_for() {
    let lock = lock().unwrap();
    assert_eq!(lock.to_string(), LOCK);
    assert_eq!(lock.clone().canonical().unwrap(), lock);
    for wanted in &lock.request.packages {
        assert!(lock.packages.iter().any(|package| package.name == *wanted), "{wanted}");
    }
    for package in lock.packages {
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
