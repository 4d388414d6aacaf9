//! `sign`: signs the digests of finished images.

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::Global;
use crate::cli::terminal::Terminal;
use crate::failure::Failure;
use crate::host::clock::{Clock as _, SystemClock};
use crate::sign;

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct SignArguments {
    /// The folder of the images [default: --out, or out]
    pub folder: Option<PathBuf>,
    /// Your secret key: of minisign, or an OpenPGP certificate
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// A file whose first line unlocks the key; it may be a pipe
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Signs `SHA256SUMS`, and says where the signature is.
///
/// # Errors
/// A file that is not what `SHA256SUMS` says of it; a key that cannot be used.
pub fn run(arguments: &SignArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let folder = arguments.folder.clone().or_else(|| global.out.clone()).unwrap_or_else(|| "out".into());
    let order = sign::Order {
        folder: &folder,
        key: &arguments.key,
        passphrase: arguments.passphrase_file.as_deref(),
        now: SystemClock.now(),
    };
    let signed = sign::sign(&order, terminal.progress())
        .map_err(|failure| failure.during(format!("signing `{}`", folder.join(sign::SUMS).display())))?;
    terminal.show(format!("{}  signs {} files\n", signed.path.display(), signed.files))
}
