//! What went wrong, as the caller of the program sees it: a class with an exit code, a cause, a way out.

use std::error::Error;
use std::fmt;

/// The families of failure and their documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 2: the command line, the recipe, a target or an overlay is not right.
    Recipe,
    /// 3: a signature, hash, date or key is not what it must be.
    Trust,
    /// 4: no set of packages satisfies the recipe.
    Resolution,
    /// 5: a package, overlay or tree holds something unsafe or contradictory.
    Content,
    /// 6: the machine lacks something: space, privilege, a tool, a mirror, the network.
    Environment,
    /// 7: a static check or a smoke check failed.
    Check,
    /// 70: the program is wrong.
    Bug,
    /// 130: Ctrl-C.
    Interrupted,
    /// 143: asked to terminate.
    Terminated,
}

impl Class {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Recipe => 2,
            Self::Trust => 3,
            Self::Resolution => 4,
            Self::Content => 5,
            Self::Environment => 6,
            Self::Check => 7,
            Self::Bug => 70,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// An error that knows its family and, where there is one, a way out.
pub trait Classify: Error + Send + Sync + 'static {
    /// The family.
    fn class(&self) -> Class;

    /// What to do about it, as a fragment for the `hint:` line.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A failed command: what was attempted, the error, its class and hint.
pub struct Failure {
    intent: Option<String>,
    class: Class,
    hint: Option<String>,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// Names what was attempted: `building \`goni-jetson\``.
    #[must_use]
    pub fn during(mut self, intent: impl Into<String>) -> Self {
        self.intent.get_or_insert_with(|| intent.into());
        self
    }

    /// What was attempted.
    #[must_use]
    pub fn intent(&self) -> Option<&str> {
        self.intent.as_deref()
    }

    /// The family.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error and, through [`Error::source`], its causes.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl<E: Classify> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { intent: None, class: error.class(), hint: error.hint(), error: Box::new(error) }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.error)?;
        std::iter::successors(self.error.source(), |error| (*error).source())
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}
