//! Maintainer scripts run, and the result is read back.
//!
//! Given a directory that dpkg takes for unpacked, the scripts of unpacking run first, then `dpkg
//! --configure --pending`, all in a sandbox without a network. Indexing kernel modules, the slowest
//! single step, runs beside it. What comes out is read into a file tree,
//! scrubbed of what belongs to no image, and every package in it is configured, or there is none.

mod failing;
mod foreign;
mod made;
pub(crate) mod probes;
mod run;
mod scrub;
mod status;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use goni_disk::tree::{FileTree, Owner, TreeError};
use goni_model::time::Timestamp;

use crate::failure::{Class, Classify};
use crate::host::command::{Run, RunError};
use crate::host::cover::CoverError;
use crate::host::walk::{Directory, WalkError};
use crate::progress::{Progress, Unit};

pub use foreign::Foreign;
pub use scrub::{Action, RULES, Rule, ScrubError, Scrubbed, scrub};

/// The stage's name, which owns what maintainer scripts made.
pub const NAME: &str = "configure";

/// A configured system.
#[derive(Debug)]
pub struct Configured {
    /// What the image starts from; contents are read from the same directory.
    pub tree: FileTree,
    /// Where the contents are.
    pub contents: Directory,
    /// What was scrubbed, by rule.
    pub scrubbed: Vec<Scrubbed>,
}

/// Why a system was not configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A maintainer script failed.
    #[error("package `{package}`: its {script} script failed: {said}")]
    Script {
        /// The package.
        package: String,
        /// Such as `postinst`.
        script: String,
        /// The end of its output.
        said: String,
        /// What of the machine it looks at.
        looks_at: BTreeSet<String>,
    },
    /// A maintainer script did not end.
    #[error("package `{package}`: its {script} script was still running after {seconds} s: {said}")]
    Hanging {
        /// The package.
        package: String,
        /// Such as `postinst`.
        script: String,
        /// The time that all scripts together had.
        seconds: u64,
        /// The end of its output.
        said: String,
    },
    /// dpkg says that it succeeded, and its database says otherwise.
    #[error("dpkg left packages unconfigured: {}", packages.join(", "))]
    Unconfigured {
        /// Each with its state.
        packages: Vec<String>,
    },
    /// `dpkg --audit` complains.
    #[error("dpkg finds fault with its database: {said}")]
    Audit {
        /// What it says.
        said: String,
    },
    /// The modules of a kernel could not be indexed.
    #[error("indexing the modules of kernel `{kernel}` failed: {said}")]
    Modules {
        /// Its release.
        kernel: String,
        /// What depmod says.
        said: String,
    },
    /// The directory could not be read or written.
    #[error("preparing `{root}`")]
    Io {
        /// The directory.
        root: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program that was put off until all packages were configured failed.
    #[error("`{program}` failed: {said}")]
    Deferred {
        /// The program.
        program: String,
        /// The end of its output.
        said: String,
    },
    /// What failed ran on a machine of another architecture.
    #[error("{error}")]
    Foreign {
        /// What failed.
        error: Box<ConfigureError>,
        /// How it ran.
        hint: String,
    },
    /// Programs of this machine could not take the place of the image's.
    #[error(transparent)]
    Cover(#[from] CoverError),
    /// A command could not be run at all.
    #[error("configuring packages")]
    Run {
        /// The cause.
        #[from]
        source: RunError,
    },
    /// The result could not be read back.
    #[error("reading the configured system")]
    Walk {
        /// The cause.
        #[from]
        source: WalkError,
    },
    /// A scrubbing rule met a tree that it cannot change.
    #[error("scrubbing the configured system")]
    Scrub {
        /// The cause.
        #[from]
        source: TreeError,
    },
}

impl Classify for ConfigureError {
    fn class(&self) -> Class {
        match self {
            Self::Script { .. }
            | Self::Hanging { .. }
            | Self::Unconfigured { .. }
            | Self::Audit { .. }
            | Self::Modules { .. }
            | Self::Deferred { .. }
            | Self::Scrub { .. } => Class::Content,
            Self::Io { .. } => Class::Environment,
            Self::Foreign { error, .. } => error.class(),
            Self::Cover(error) => error.class(),
            Self::Run { source } => source.class(),
            Self::Walk { source } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Run { source } => source.hint(),
            Self::Cover(error) => error.hint(),
            Self::Foreign { error, hint } => match error.hint() {
                Some(looks) => Some(format!("{looks}; {hint}")),
                None => Some(hint.clone()),
            },
            Self::Script { looks_at, .. } if !looks_at.is_empty() => {
                let looks_at = looks_at.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
                Some(format!(
                    "it looks at {looks_at}, and where an image is made there is no board: if it knows a file that \
                     says so, list that in `board.markers` of the target"
                ))
            }
            _ => None,
        }
    }
}

impl ConfigureError {
    /// A script that failed, with what it looks at.
    fn with_looks(mut self, tree: &Directory) -> Self {
        if let Self::Script { package, script, looks_at, .. } = &mut self {
            *looks_at = probes::of_script(tree, package, script);
        }
        self
    }

    /// What an image's own program did; what failed otherwise says so itself.
    fn of_foreign(self, hint: String) -> Self {
        match self {
            Self::Script { .. } | Self::Hanging { .. } | Self::Deferred { .. } | Self::Modules { .. } => {
                Self::Foreign { error: Box::new(self), hint }
            }
            other => other,
        }
    }
}

/// Configures what was unpacked below `root` and reads the result; `foreign` says how, where its programs
/// are not this machine's.
///
/// A path that was unpacked keeps its owner as long as it is of the same kind; what is new belongs to the
/// package whose script made it, where that can be known, and else to this stage.
///
/// # Errors
/// [`ConfigureError`].
pub fn configure(
    root: &Path,
    unpacked: &FileTree,
    source_date: Timestamp,
    foreign: Option<&Foreign>,
    runner: &dyn Run,
    progress: &dyn Progress,
) -> Result<Configured, ConfigureError> {
    let failed = |source| ConfigureError::Io { root: root.to_owned(), source };
    let contents = Directory::open(root).map_err(failed)?;
    let packages = status::count(&contents.read(status::PATH).map_err(failed)?);
    progress.begin(NAME, Some(packages), Unit::Packages);
    let admitted = foreign.map(|foreign| foreign.admit(&contents, unpacked, progress)).transpose()?;
    let done = run::scripts(&contents, source_date, admitted.as_ref(), runner, progress)
        .map_err(|error| error.with_looks(&contents));
    match admitted {
        Some(admitted) => {
            done.map_err(|error| error.of_foreign(admitted.hint()))?;
            admitted.lift()?;
        }
        None => done?,
    }
    let unfinished = status::unfinished(&contents.read(status::PATH).map_err(failed)?);
    if !unfinished.is_empty() {
        return Err(ConfigureError::Unconfigured { packages: unfinished });
    }
    let stage = Owner::Stage(NAME.into());
    let mut tree = contents.walk(&|path, inode| {
        let same = unpacked.get(path).is_some_and(|before| before.kind.type_bits() == inode.kind.type_bits());
        let entry = unpacked.entry(path).filter(|_| same);
        entry.map_or_else(|| stage.clone(), |entry| entry.owner.clone())
    })?;
    made::trace(&mut tree, unpacked, &contents).map_err(failed)?;
    let scrubbed = scrub(&mut tree, &contents, source_date).map_err(|error| match error {
        ScrubError::Tree { source } => ConfigureError::Scrub { source },
        ScrubError::Read { source } => failed(source),
    })?;
    progress.end(NAME, &format!("{packages} packages, {} paths", tree.iter().count()));
    Ok(Configured { tree, contents, scrubbed })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a root directory to configure has to be made")]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::time::Duration;

    use goni_disk::tree::Metadata;

    use super::*;
    use crate::host::command::{CommandSpec, Exit, Output};
    use crate::progress::Silent;

    /// Plays dpkg: answers `--configure` as told, finds no fault, and refuses all else.
    struct Dpkg(fn(&CommandSpec) -> Result<Output, RunError>);

    impl Run for Dpkg {
        fn run_watched(&self, command: &CommandSpec, _: &(dyn Fn(&[u8]) + Sync)) -> Result<Output, RunError> {
            let shown = command.to_string();
            if shown.ends_with("/usr/bin/dpkg --audit") {
                return Ok(said(Exit::Code(0), ""));
            }
            if shown.ends_with("--configure --pending") {
                return (self.0)(command);
            }
            Err(RunError::Refused { command: shown })
        }
    }

    fn said(exit: Exit, text: &str) -> Output {
        Output { exit, stdout: text.into(), stderr: Vec::new() }
    }

    /// Configures one package in this state with this dpkg; tells whether policy-rc.d is left.
    fn configured(state: &str, dpkg: Dpkg) -> (Result<Configured, ConfigureError>, bool) {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc", "usr/sbin", "var/lib/dpkg/info"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join(status::PATH), format!("Package: a\nStatus: {state}\n")).unwrap();
        let mtime = Timestamp::from_seconds(0);
        let metadata = Metadata { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() };
        let unpacked = FileTree::new(metadata, Owner::Package("a".into()));
        let result = configure(root.path(), &unpacked, Timestamp::from_seconds(1), None, &dpkg, &Silent);
        (result, root.path().join("usr/sbin/policy-rc.d").exists())
    }

    #[test]
    fn what_is_new_belongs_to_the_stage_and_what_was_unpacked_does_not() {
        let (result, policy) = configured("install ok installed", Dpkg(|_| Ok(said(Exit::Code(0), ""))));
        let tree = result.unwrap().tree;
        let owners: Vec<String> =
            tree.iter().take(3).map(|(path, entry)| format!("{path}: {}", entry.owner)).collect();
        assert_eq!(owners, ["/: package a", "/etc: stage configure", "/etc/machine-id: stage configure"]);
        assert!(!policy);
    }

    #[test]
    fn a_failing_script_is_named_with_what_it_said() {
        let (result, policy) = configured(
            "install ok unpacked",
            Dpkg(|_| {
                Ok(said(
                    Exit::Code(1),
                    "Setting up a (1) ...\nboom\ndpkg: error processing package a (--configure):\n installed a \
                     package post-installation script subprocess returned error exit status 1\n",
                ))
            }),
        );
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "package `a`: its postinst script failed: Setting up a (1) ...\nboom");
        assert_eq!(error.class().exit_code(), 5);
        assert!(!policy);
    }

    #[test]
    fn a_hanging_script_is_named_with_its_time() {
        let hang = |_: &CommandSpec| {
            let output = b"Setting up a (1) ...\nwaiting\n".to_vec();
            Err(RunError::TimedOut { program: "dpkg".into(), limit: Duration::from_secs(9), output })
        };
        let error = configured("install ok unpacked", Dpkg(hang)).0.unwrap_err();
        let expected =
            "package `a`: its postinst script was still running after 9 s: Setting up a (1) ...\nwaiting";
        assert_eq!((error.to_string().as_str(), error.class().exit_code()), (expected, 5));
    }

    #[test]
    fn success_without_a_configured_package_is_no_success() {
        let (result, _) = configured("install ok half-configured", Dpkg(|_| Ok(said(Exit::Code(0), ""))));
        let expected = "dpkg left packages unconfigured: a (install ok half-configured)";
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}
