//! What the host asserts of a scenario when it is over, without asking the guest.

/// Something the host can assert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assertion {
    /// Nothing on the disk holds the check's canary.
    Canary,
    /// Nothing left the guest but what a network needs to give it an address.
    Capture,
    /// The file systems have no error.
    Filesystems,
    /// What the host put on a disk before is as it was.
    Untouched,
}

impl Assertion {
    /// All.
    pub const ALL: [Self; 4] = [Self::Canary, Self::Capture, Self::Filesystems, Self::Untouched];

    /// Its word in check files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Capture => "capture",
            Self::Filesystems => "filesystems",
            Self::Untouched => "untouched",
        }
    }
}
