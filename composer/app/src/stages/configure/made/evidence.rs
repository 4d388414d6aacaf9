//! What a configured tree tells of who made what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::sync::Arc;

use goni_disk::tree::{ContentSource, FileTree, Kind, Owner, TreePath};

use super::super::{NAME, scrub};

/// Where dpkg keeps maintainer scripts.
const INFO: &str = "var/lib/dpkg/info";

/// The scripts that run before a system is configured, or while it is.
const SCRIPTS: [&str; 3] = ["preinst", "postinst", "config"];

/// Where packages say which directories they need.
const TMPFILES: &str = "usr/lib/tmpfiles.d";

/// Largest text that is read: scripts of packages have a few thousand lines at most.
const LARGEST_TEXT: u64 = 4 << 20;

/// What tools write on behalf of a package: a pattern as in the scrub list, the package, and how. The first
/// line counts whose package is there.
const TOOLS: &[(&str, &str, &str)] = &[
    ("/etc/ld.so.cache", "libc-bin", "ldconfig, which its trigger runs"),
    ("/etc/pam.d/common-*", "libpam-runtime", "pam-auth-update"),
    ("/var/lib/pam/**", "libpam-runtime", "pam-auth-update"),
    ("/etc/passwd", "base-passwd", "its preinst script; scripts of packages add users"),
    ("/etc/group", "base-passwd", "its preinst script; scripts of packages add groups"),
    ("/etc/shadow", "passwd", "shadowconfig; scripts of packages add users"),
    ("/etc/shadow", "systemd", "systemd-sysusers"),
    ("/etc/gshadow", "passwd", "shadowconfig; scripts of packages add groups"),
    ("/etc/gshadow", "systemd", "systemd-sysusers"),
    ("/etc/subuid", "passwd", "useradd"),
    ("/etc/subgid", "passwd", "useradd"),
    ("/etc/shells", "debianutils", "update-shells"),
    ("/var/lib/shells.state", "debianutils", "update-shells"),
    ("/etc/ssl/certs/**", "ca-certificates", "update-ca-certificates"),
    ("/etc/ca-certificates.conf", "ca-certificates", "its postinst script"),
    ("/usr/lib/udev/hwdb.bin", "udev", "systemd-hwdb, which its trigger runs"),
    ("/usr/share/info/dir", "base-files", "its postinst script"),
    ("/var/cache/debconf/*", "debconf", "its database, through which scripts ask"),
    ("/var/lib/dpkg/**", "dpkg", "its database"),
    ("/var/lib/systemd/catalog", "systemd", "journalctl, which its trigger runs"),
    ("/var/lib/systemd/catalog/**", "systemd", "journalctl, which its trigger runs"),
    ("/mnt", "base-files", "its postinst script"),
    ("/srv", "base-files", "its postinst script"),
    ("/opt", "base-files", "its postinst script"),
    ("/media", "base-files", "its postinst script"),
    ("/usr/local", "base-files", "its postinst script"),
    ("/usr/local/**", "base-files", "its postinst script"),
];

/// What is made of a kernel, whatever its package is called.
const OF_KERNELS: &[(&str, &str)] = &[
    ("/usr/lib/modules/*/modules.*", "depmod, which indexes its modules"),
    ("/vmlinuz*", "linux-update-symlinks, by its postinst script"),
    ("/initrd.img*", "linux-update-symlinks, by its postinst script"),
];

/// Who made something, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maker {
    /// The package; `None`: which one cannot be known.
    pub(super) package: Option<Arc<str>>,
    /// The evidence.
    pub(super) why: Arc<str>,
}

impl Maker {
    fn of(package: &str, why: impl Into<Arc<str>>) -> Self {
        Self { package: Some(package.into()), why: why.into() }
    }

    /// As an owner: the stage where it is no package.
    pub(super) fn owner(&self) -> Owner {
        self.package
            .as_ref()
            .map_or_else(|| Owner::Stage(NAME.into()), |name| Owner::Package(Arc::clone(name)))
    }
}

/// A maintainer script.
struct Script {
    package: String,
    name: String,
    text: Vec<u8>,
}

/// All there is to go by.
pub(super) struct Evidence {
    scripts: Vec<Script>,
    /// Every package there is.
    packages: BTreeSet<String>,
    /// Packages by what their files of tmpfiles.d declare.
    declared: BTreeMap<TreePath, (String, String)>,
    /// The package whose modules are indexed.
    kernel: Option<String>,
}

impl Evidence {
    /// Reads the scripts and declarations of a tree.
    pub(super) fn gather(tree: &FileTree, contents: &dyn ContentSource) -> io::Result<Self> {
        let (mut scripts, mut packages) = (Vec::new(), BTreeSet::new());
        for (path, text) in texts(tree, contents, INFO)? {
            let name = String::from_utf8_lossy(path.name()).into_owned();
            let Some((instance, script)) = name.rsplit_once('.') else { continue };
            let package = instance.split(':').next().unwrap_or(instance).to_owned();
            packages.insert(package.clone());
            if SCRIPTS.contains(&script) {
                scripts.push(Script { package, name: script.to_owned(), text });
            }
        }
        let mut declared = BTreeMap::new();
        for (path, text) in texts(tree, contents, TMPFILES)? {
            let Some(package) = package_of(tree, &path) else { continue };
            for line in String::from_utf8_lossy(&text).lines().filter(|line| !line.starts_with('#')) {
                let place = line.split_whitespace().nth(1).and_then(|it| TreePath::parse(it.as_bytes()).ok());
                if let Some(place) = place {
                    declared.entry(place).or_insert_with(|| (package.clone(), path.to_string()));
                }
            }
        }
        let modules = TreePath::parse(b"usr/lib/modules").expect("a path of this program's own");
        let mut kernels = tree.children(&modules).filter_map(|(path, _)| path.join(b"kernel").ok());
        let kernel = kernels.find_map(|path| package_of(tree, &path));
        Ok(Self { scripts, packages, declared, kernel })
    }

    /// Who made something that was not unpacked.
    pub(super) fn maker(&self, tree: &FileTree, path: &TreePath) -> Option<Maker> {
        of_link(tree, path)
            .or_else(|| of_helper(tree, path))
            .or_else(|| self.of_kernel(path))
            .or_else(|| self.changer(path))
            .or_else(|| {
                let (package, file) = self.declared.get(path)?;
                Some(Maker::of(package, format!("systemd-tmpfiles, by `{file}`")))
            })
    }

    /// Who changed something that was unpacked.
    pub(super) fn changer(&self, path: &TreePath) -> Option<Maker> {
        let tool = TOOLS
            .iter()
            .find(|(pattern, package, _)| scrub::matches(pattern, path) && self.packages.contains(*package));
        if let Some((_, package, why)) = tool {
            return Some(Maker::of(package, *why));
        }
        let mut naming = self.scripts.iter().filter(|script| names(&script.text, path));
        let first = naming.next()?;
        let one = naming.all(|other| other.package == first.package);
        one.then(|| Maker::of(&first.package, format!("its {} script names it", first.name)))
    }

    /// What there is to say where it cannot be known.
    pub(super) fn unknown(&self, path: &TreePath) -> Maker {
        let mut packages: Vec<&str> = self
            .scripts
            .iter()
            .filter(|script| names(&script.text, path))
            .map(|script| script.package.as_str())
            .collect();
        packages.dedup();
        let why = match packages.as_slice() {
            [] => "no script names it".to_owned(),
            several => format!("the scripts of {} name it", several.join(", ")),
        };
        Maker { package: None, why: why.into() }
    }

    fn of_kernel(&self, path: &TreePath) -> Option<Maker> {
        let (_, why) = OF_KERNELS.iter().find(|(pattern, _)| scrub::matches(pattern, path))?;
        Some(Maker::of(self.kernel.as_ref()?, *why))
    }
}

/// The files right below a directory, and what is in them.
fn texts(
    tree: &FileTree,
    contents: &dyn ContentSource,
    directory: &str,
) -> io::Result<Vec<(TreePath, Vec<u8>)>> {
    let directory = TreePath::parse(directory.as_bytes()).expect("paths of this program are canonical");
    let mut texts = Vec::new();
    for (path, entry) in tree.children(&directory) {
        let Kind::File(content) = &tree.inode(entry.inode).kind else { continue };
        if content.size() <= LARGEST_TEXT {
            let mut text = Vec::new();
            content.open(contents)?.read_to_end(&mut text)?;
            texts.push((path.clone(), text));
        }
    }
    Ok(texts)
}

/// The package whose an entry is.
fn package_of(tree: &FileTree, path: &TreePath) -> Option<String> {
    match &tree.entry(path)?.owner {
        Owner::Package(name) => Some(name.to_string()),
        _ => None,
    }
}

/// A link of the alternatives, of systemd's units or of a runlevel: whose it is what it leads to.
fn of_link(tree: &FileTree, path: &TreePath) -> Option<Maker> {
    let Kind::Symlink(target) = &tree.get(path)?.kind else { return None };
    let alternatives = b"etc/alternatives/";
    let how = if path.as_bytes().starts_with(alternatives)
        || target.strip_prefix(b"/").is_some_and(|target| target.starts_with(alternatives))
    {
        "update-alternatives"
    } else if path.as_bytes().starts_with(b"etc/systemd/") {
        "deb-systemd-helper, which enables its unit"
    } else if scrub::matches("/etc/rc*.d/*", path) {
        "update-rc.d"
    } else {
        return None;
    };
    Some(Maker::of(&package_of(tree, &tree.resolve(path)?)?, format!("{how}, by its postinst script")))
}

/// What is kept beside the links themselves: of alternatives by their name, of units by theirs.
fn of_helper(tree: &FileTree, path: &TreePath) -> Option<Maker> {
    let name = path.name();
    let join = |directory: &str, name: &[u8]| TreePath::parse(directory.as_bytes()).ok()?.join(name).ok();
    if scrub::matches("/var/lib/dpkg/alternatives/*", path) {
        return of_link(tree, &join("etc/alternatives", name)?);
    }
    if !path.as_bytes().starts_with(b"var/lib/systemd/deb-systemd-") {
        return None;
    }
    let unit = name.strip_suffix(b".dsh-also").unwrap_or(name);
    let unit = join("usr/lib/systemd/system", unit)?;
    Some(Maker::of(&package_of(tree, &unit)?, "deb-systemd-helper, by its postinst script"))
}

/// Whether a text names a path: as a word of its own, with or without the `/` that it begins with. The name
/// of a directory at the top is a word of too many other meanings, and needs it.
fn names(text: &[u8], path: &TreePath) -> bool {
    let bytes = path.as_bytes();
    let needs_slash = !bytes.contains(&b'/');
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    memchr::memmem::find_iter(text, bytes).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before)).copied();
        let after = text.get(at + bytes.len()).copied();
        let begins = match before {
            Some(b'/') => true,
            Some(other) => !needs_slash && !is_word(other),
            None => !needs_slash,
        };
        begins && !after.is_some_and(|after| is_word(after) || after == b'/')
    }) && !bytes.is_empty()
}
