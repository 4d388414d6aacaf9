//! What the process was given: the variables we name and no others, directories, the user, processors.
//!
//! A value, read once at the start: whoever needs a variable is handed it, and a test makes its own.
//! Source for the directories: XDG Base Directory Specification 0.8.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use goni_model::arch::Arch;

use crate::failure::{Class, Classify};

/// The architecture of the machine, as far as this program knows: it was built for it. `None`: one that
/// no image can have.
#[must_use]
pub fn arch_of_this_machine() -> Option<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Arch::Amd64),
        "aarch64" => Some(Arch::Arm64),
        _ => None,
    }
}

/// The environment variables this program listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `GONI_COMPOSE_CACHE`: the cache directory.
    Cache,
    /// `GONI_COMPOSE_MIRROR`: the mirror, and after a space the one for security updates.
    Mirror,
    /// `HOME`.
    Home,
    /// `XDG_CACHE_HOME`.
    XdgCacheHome,
    /// `XDG_CONFIG_HOME`.
    XdgConfigHome,
    /// `http_proxy`: the proxy for http URLs. Only the lowercase form, as in curl.
    HttpProxy,
    /// `https_proxy`: the proxy for https URLs.
    HttpsProxy,
    /// `no_proxy`: hosts that are reached without a proxy.
    NoProxy,
    /// `NO_COLOR`: no colours on the terminal.
    NoColor,
    /// `TERM`: kind of terminal.
    Term,
    /// `PATH`: only to find `newuidmap` and `newgidmap`.
    Path,
}

impl Variable {
    /// Every variable we listen to.
    pub const ALL: [Self; 11] = [
        Self::Cache,
        Self::Mirror,
        Self::Home,
        Self::XdgCacheHome,
        Self::XdgConfigHome,
        Self::HttpProxy,
        Self::HttpsProxy,
        Self::NoProxy,
        Self::NoColor,
        Self::Term,
        Self::Path,
    ];

    /// The name in the environment.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "GONI_COMPOSE_CACHE",
            Self::Mirror => "GONI_COMPOSE_MIRROR",
            Self::Home => "HOME",
            Self::XdgCacheHome => "XDG_CACHE_HOME",
            Self::XdgConfigHome => "XDG_CONFIG_HOME",
            Self::HttpProxy => "http_proxy",
            Self::HttpsProxy => "https_proxy",
            Self::NoProxy => "no_proxy",
            Self::NoColor => "NO_COLOR",
            Self::Term => "TERM",
            Self::Path => "PATH",
        }
    }
}

/// What the process was given.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: BTreeMap<Variable, OsString>,
    effective_uid: u32,
    processors: NonZero<usize>,
}

/// What the environment lacks.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Neither a flag nor a variable says where the cache is.
    #[error("no directory for the cache: `HOME` is not set")]
    NoCacheDirectory,
    /// A variable is not text.
    #[error("the variable `{name}` is not UTF-8")]
    NotText {
        /// The variable.
        name: &'static str,
    },
}

impl Classify for EnvironmentError {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoCacheDirectory => Some("name one with --cache or GONI_COMPOSE_CACHE".into()),
            Self::NotText { .. } => None,
        }
    }
}

/// The name of this machine; empty if that is not text.
#[must_use]
pub fn node_name() -> String {
    rustix::system::uname().nodename().to_str().unwrap_or_default().to_owned()
}

impl Environment {
    /// The environment of this process. Empty variables count as unset.
    #[must_use]
    pub fn of_process() -> Self {
        let named = |variable: Variable| Some((variable, std::env::var_os(variable.name())?));
        Self::fixed(
            Variable::ALL.into_iter().filter_map(named),
            rustix::process::geteuid().as_raw(),
            std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        )
    }

    /// An environment made of values.
    pub fn fixed(
        variables: impl IntoIterator<Item = (Variable, OsString)>,
        effective_uid: u32,
        processors: NonZero<usize>,
    ) -> Self {
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { variables, effective_uid, processors }
    }

    /// A variable, if it is set and not empty.
    #[must_use]
    pub fn variable(&self, variable: Variable) -> Option<&OsStr> {
        self.variables.get(&variable).map(OsString::as_os_str)
    }

    /// A variable as text.
    ///
    /// # Errors
    /// `NotText` if it is not UTF-8.
    pub fn text(&self, variable: Variable) -> Result<Option<&str>, EnvironmentError> {
        self.variable(variable)
            .map(|value| value.to_str().ok_or(EnvironmentError::NotText { name: variable.name() }))
            .transpose()
    }

    /// The effective user.
    #[must_use]
    pub const fn effective_uid(&self) -> u32 {
        self.effective_uid
    }

    /// Whether the effective user is root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.effective_uid == 0
    }

    /// How many processors there are to use.
    #[must_use]
    pub const fn processors(&self) -> NonZero<usize> {
        self.processors
    }

    /// The cache: the flag, `GONI_COMPOSE_CACHE`, `$XDG_CACHE_HOME/goni-compose`, `~/.cache/goni-compose`.
    ///
    /// # Errors
    /// `NoCacheDirectory` if none of them is given.
    pub fn cache_directory(&self, flag: Option<&Path>) -> Result<PathBuf, EnvironmentError> {
        flag.map(Path::to_path_buf)
            .or_else(|| self.variable(Variable::Cache).map(PathBuf::from))
            .or_else(|| Some(self.base(Variable::XdgCacheHome, ".cache")?.join("goni-compose")))
            .ok_or(EnvironmentError::NoCacheDirectory)
    }

    /// The user's configuration: `$XDG_CONFIG_HOME/goni-compose/config.toml` or the same below `~/.config`.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        Some(self.base(Variable::XdgConfigHome, ".config")?.join("goni-compose/config.toml"))
    }

    /// A base directory; a relative one is ignored, as the specification asks.
    fn base(&self, variable: Variable, below_home: &str) -> Option<PathBuf> {
        let absolute = |variable| self.variable(variable).map(Path::new).filter(|path| path.is_absolute());
        absolute(variable).map(Path::to_path_buf).or_else(|| Some(absolute(Variable::Home)?.join(below_home)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(Variable, &str)]) -> Environment {
        let variables = variables.iter().map(|(variable, value)| (*variable, OsString::from(value)));
        Environment::fixed(variables, 1000, NonZero::<usize>::MIN)
    }

    #[test]
    fn the_cache_is_the_first_directory_that_is_named() {
        let home = (Variable::Home, "/home/u");
        let xdg = (Variable::XdgCacheHome, "/var/x");
        let own = (Variable::Cache, "/srv/c");
        let cache = |variables: &[_], flag: Option<&str>| {
            environment(variables).cache_directory(flag.map(Path::new)).map(|path| path.display().to_string())
        };
        assert_eq!(cache(&[home, xdg, own], Some("here")).unwrap(), "here");
        assert_eq!(cache(&[home, xdg, own], None).unwrap(), "/srv/c");
        assert_eq!(cache(&[home, xdg], None).unwrap(), "/var/x/goni-compose");
        assert_eq!(cache(&[home], None).unwrap(), "/home/u/.cache/goni-compose");
        assert_eq!(
            cache(&[home, (Variable::XdgCacheHome, "relative")], None).unwrap(),
            "/home/u/.cache/goni-compose"
        );
        let error = cache(&[(Variable::Home, "")], None).unwrap_err();
        assert_eq!(error.class(), Class::Environment);
        assert_eq!(error.hint().as_deref(), Some("name one with --cache or GONI_COMPOSE_CACHE"));
    }

    #[test]
    fn the_configuration_is_below_its_base_directory() {
        let home = environment(&[(Variable::Home, "/home/u")]);
        assert_eq!(home.config_file().unwrap(), Path::new("/home/u/.config/goni-compose/config.toml"));
        assert_eq!(environment(&[]).config_file(), None);
    }

    #[test]
    fn a_variable_that_is_not_text_is_named() {
        use std::os::unix::ffi::OsStringExt as _;
        let value = OsString::from_vec(vec![0xff]);
        let environment = Environment::fixed([(Variable::Mirror, value)], 0, NonZero::<usize>::MIN);
        assert!(environment.is_root());
        let error = environment.text(Variable::Mirror).unwrap_err();
        assert_eq!(error.to_string(), "the variable `GONI_COMPOSE_MIRROR` is not UTF-8");
    }
}
