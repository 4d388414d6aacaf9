//! Programs of the image that this machine's processor cannot run.

use crate::host::sandbox::{Emulator, Sandbox};

/// How the programs of an image of another architecture run while its packages are configured.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// What runs them.
    pub emulator: Emulator,
}

impl Foreign {
    /// A sandbox in which they run.
    pub(crate) fn admit(&self, sandbox: Sandbox) -> Sandbox {
        sandbox.emulating(self.emulator.clone())
    }
}
