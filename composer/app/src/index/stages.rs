//! What the stages of a build are that own something, and by which keys of the recipe.

/// A stage that owns paths.
pub(super) struct Stage {
    /// Its name.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) what: &'static str,
    /// The keys of the recipe that decide what it makes, or the tables they are in.
    pub(super) keys: &'static [&'static str],
}

const fn stage(name: &'static str, what: &'static str, keys: &'static [&'static str]) -> Stage {
    Stage { name, what, keys }
}

/// All of them. A path of any other is a path that nobody owns.
pub(super) const STAGES: &[Stage] = &[
    stage("unpack", "lays dpkg's database and the links of a merged /usr", &[]),
    stage("configure", "runs maintainer scripts, and scrubs what they leave", &[]),
    stage(
        "modules",
        "builds kernel modules",
        &["kernel.dkms", "kernel.module-sources", "kernel.extra-modules"],
    ),
    stage("settings", "writes down what the recipe promises", &["hardening", "network.open", "service"]),
    stage("board", "writes down what the target expects", &["target", "kernel.modules", "gpu"]),
    stage("state", "sets the state apart and writes the mount tables", &["state", "swap"]),
    stage("initrd", "cuts the initrd from the root", &["target", "state.encryption"]),
    stage("boot", "makes what the firmware reads", &["target", "kernel", "root.verity", "version"]),
];

/// The stage of a name.
pub(super) fn find(name: &str) -> Option<&'static Stage> {
    STAGES.iter().find(|stage| stage.name == name)
}

/// What a file follows from more narrowly than from all keys of its stage.
const FILES: &[(&str, &[&str])] = &[
    ("/etc/crypttab", &["swap"]),
    ("/usr/lib/sysctl.d/99-goni-recipe.conf", &["hardening.no-user-namespaces"]),
    ("/usr/lib/systemd/system/goni-http.service.d/90-lock-memory.conf", &["service.lock-memory"]),
    ("/usr/lib/modules-load.d/90-goni-recipe.conf", &["kernel.modules.load", "target"]),
    (
        "/usr/lib/modprobe.d/90-goni-recipe.conf",
        &["kernel.modules.deny", "kernel.modules.options", "gpu", "target"],
    ),
];

/// The keys of the recipe that decide a path of a stage.
pub(super) fn keys(stage: &'static Stage, path: &str) -> &'static [&'static str] {
    FILES.iter().find(|(file, _)| *file == path).map_or(stage.keys, |(_, keys)| keys)
}
