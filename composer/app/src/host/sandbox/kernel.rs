//! Another kernel's name, where scripts ask which one runs.
//!
//! What the system call says cannot be chosen, so its readers are covered: the program `uname`, and files of
//! /proc. The cover of `uname` has the program itself answer, and puts the other kernel's release and version where its
//! answer has this one's. A program that makes the system call itself, such as Python's `os.uname`, is told of
//! the machine's kernel. Source: uname(1), proc_version(5), proc_sys_kernel(5).

use std::fs::{DirBuilder, File, symlink_metadata};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::mount_bind;

use super::{SetupError, Step};

/// Where the pieces are: in memory, gone with the sandbox.
const PLACE: &str = "/run/kernel";

/// The program that is covered; where it is a link, what it leads to may be more than this program.
const PROGRAM: &str = "/usr/bin/uname";

/// The version of every kernel that is told of: builds are not counted, and have no date.
const VERSION: &str = "#1 SMP";

/// Stands in for `uname`. Of an answer, the release comes before the version, and nothing else is like either.
const COVER: &str = r#"#!/bin/sh
said=$(/run/kernel/uname "$@") || exit
tell() {
    own=$(/run/kernel/uname "$1")
    read -r other < "$2"
    case $said in *"$own"*) said=${said%%"$own"*}$other${said#*"$own"} ;; esac
}
tell -v /run/kernel/version
tell -r /run/kernel/osrelease
printf '%s\n' "$said"
"#;

/// Tells of a kernel with this release; to be called within the new root.
pub(super) fn tell(release: &str) -> Result<(), SetupError> {
    let step = || "telling of another kernel".to_owned();
    DirBuilder::new().create(PLACE).step(step)?;
    let place = |name: &str| -> PathBuf { Path::new(PLACE).join(name) };
    let lay = |name: &str, text: &str, mode| {
        let file = File::options().write(true).create_new(true).mode(mode).open(place(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).step(step)
    };
    let cover = |name: &str, path: &str| mount_bind(place(name), path).step(step);
    for (name, text, path) in [
        ("osrelease", format!("{release}\n"), "/proc/sys/kernel/osrelease"),
        ("version", format!("{VERSION}\n"), "/proc/sys/kernel/version"),
        ("banner", format!("Linux version {release} {VERSION}\n"), "/proc/version"),
    ] {
        lay(name, &text, 0o444)?;
        cover(name, path)?;
    }
    if symlink_metadata(PROGRAM).is_ok_and(|found| found.is_file()) {
        lay("uname", "", 0o755)?;
        lay("cover", COVER, 0o755)?;
        mount_bind(PROGRAM, place("uname")).step(step)?;
        cover("cover", PROGRAM)?;
    }
    Ok(())
}
