//! User namespaces: how an ordinary user becomes root over files of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Gid, Uid, getegid, geteuid};

use crate::failure::{Class, Classify};

/// Users and groups a Debian tree has.
const RANGE: u32 = 65_536;

/// Which users a namespace knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// 0 to 65535: the caller is root, the others come from /etc/subuid and /etc/subgid.
    Full,
    /// The caller alone, as root: enough to run tools.
    Caller,
}

/// Why an ordinary user cannot have a user namespace. Each says what to enable.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// The kernel refuses.
    #[error("this machine does not let ordinary users create user namespaces")]
    Forbidden {
        /// What the kernel said.
        source: io::Error,
    },
    /// No range of subordinate ids.
    #[error("`{file}` gives user `{user}` no range of {RANGE} ids")]
    NoRange {
        /// /etc/subuid or /etc/subgid.
        file: &'static str,
        /// The user's name or number.
        user: String,
    },
    /// A mapping program is missing or refuses.
    #[error("`{program}` cannot map user ids: {said}")]
    Mapper {
        /// newuidmap or newgidmap.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// Anything else.
    #[error("entering a user namespace")]
    Io {
        /// The cause.
        source: io::Error,
    },
}

impl Classify for UserNamespaceError {
    fn class(&self) -> Class {
        Class::Environment
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Forbidden { .. } => Some(how_to_allow()),
            Self::NoRange { file, user } => Some(format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user} \
                 (adds a line to {file}); or run as root"
            )),
            Self::Mapper { .. } => Some("install the package `uidmap`; or run as root".into()),
            Self::Io { .. } => None,
        }
    }
}

/// What to enable so that ordinary users can have namespaces, from what this machine says.
pub(super) fn how_to_allow() -> String {
    let mut hint = String::from("as root: ");
    let says = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let mut switches = String::new();
    for (path, forbids, setting) in [
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ] {
        if says(path, forbids) {
            let _ = write!(switches, " {setting}");
        }
    }
    if switches.is_empty() {
        hint = "a container or security module forbids user namespaces here: allow unshare(CLONE_NEWUSER) \
                in its policy"
            .into();
    } else {
        let _ = write!(hint, "sysctl -w{switches}");
    }
    hint + "; or run as root"
}

/// Makes this process root in a new user namespace, unless it is root already.
///
/// Its files stay the caller's; its network and mounts stay the host's. To be called before any
/// thread is started.
///
/// # Errors
/// [`UserNamespaceError`], all of class Environment.
pub fn enter_user_namespace(mapping: Mapping) -> Result<(), UserNamespaceError> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        return Ok(());
    }
    match mapping {
        Mapping::Caller => {
            unshare(CloneFlags::CLONE_NEWUSER).map_err(refused)?;
            map_self_as_root(uid, gid).map_err(|source| UserNamespaceError::Io { source })
        }
        Mapping::Full => enter_with_range(uid, gid),
    }
}

/// The setuid programs that write maps must run outside the new namespace: a copy of this program
/// waits there until this process is inside.
fn enter_with_range(uid: Uid, gid: Gid) -> Result<(), UserNamespaceError> {
    let io = |source| UserNamespaceError::Io { source };
    let users = subordinate("/etc/subuid", uid.as_raw())?;
    let groups = subordinate("/etc/subgid", uid.as_raw())?;
    let mut mapper = Command::new("/proc/self/exe")
        .arg("@map")
        .args([std::process::id(), uid.as_raw(), users, gid.as_raw(), groups].map(|n| n.to_string()))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let entered = unshare(CloneFlags::CLONE_NEWUSER);
    let mut stdin = mapper.stdin.take();
    let go = match (&entered, stdin.as_mut()) {
        (Ok(()), Some(stdin)) => stdin.write_all(b"go"),
        _ => Ok(()),
    };
    drop(stdin);
    let output = mapper.wait_with_output().map_err(io)?;
    entered.map_err(refused)?;
    go.map_err(io)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (program, said) = match said.strip_prefix("newgidmap: ") {
        Some(said) => ("newgidmap", said),
        None => ("newuidmap", said.strip_prefix("newuidmap: ").unwrap_or(&said)),
    };
    Err(UserNamespaceError::Mapper { program, said: said.to_owned() })
}

/// The waiting copy: pid, uid, first subordinate uid, gid, first subordinate gid.
pub(super) fn write_maps(arguments: &[&str]) -> ExitCode {
    let [pid, uid, users, gid, groups] = arguments else { return ExitCode::FAILURE };
    let mut word = String::new();
    if io::stdin().read_to_string(&mut word).is_err() || word != "go" {
        return ExitCode::FAILURE;
    }
    let count = (RANGE - 1).to_string();
    for (program, own, first) in [("newuidmap", uid, users), ("newgidmap", gid, groups)] {
        let ran = Command::new(program)
            .args([pid, "0", own, "1", "1", first, &count])
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .output();
        let said = match ran {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let said = said.strip_prefix(&format!("{program}: ")).unwrap_or(&said);
        // The parent reads this; if it is gone, nobody has to know.
        let _ = write!(io::stdout(), "{program}: {said}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Leaves namespaces, also that of users, and knows the same users as before: root's way into a user
/// namespace. The map is written by a copy of this program that stays outside, since a map of many users
/// takes privilege over the namespace above.
pub(super) fn unshare_with_same_users(flags: CloneFlags) -> io::Result<()> {
    let mut mapper = Command::new("/proc/self/exe")
        .args(["@same", &std::process::id().to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let unshared = unshare(flags | CloneFlags::CLONE_NEWUSER);
    let stdin = mapper.stdin.take();
    let go = match (&unshared, stdin) {
        (Ok(()), Some(mut stdin)) => stdin.write_all(b"go"),
        _ => Ok(()),
    };
    let output = mapper.wait_with_output()?;
    unshared?;
    go?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stdout).into_owned())),
    }
}

/// The waiting copy of [`unshare_with_same_users`]: maps every user and group that it knows to itself.
pub(super) fn write_same_maps(pid: &str) -> ExitCode {
    let mut word = String::new();
    if io::stdin().read_to_string(&mut word).is_err() || word != "go" {
        return ExitCode::FAILURE;
    }
    for map in ["uid_map", "gid_map"] {
        let written = fs::read_to_string(format!("/proc/self/{map}"))
            .and_then(|known| fs::write(format!("/proc/{pid}/{map}"), same(&known)));
        if let Err(error) = written {
            // The parent reads this; if it is gone, nobody has to know.
            let _ = write!(io::stdout(), "writing {map}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The map of a namespace that knows the users of the one above by the same numbers.
/// Source: user_namespaces(7): first id inside, first id above, how many.
fn same(known: &str) -> String {
    let mut map = String::new();
    for line in known.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) {
            let _ = writeln!(map, "{first} {first} {count}");
        }
    }
    map
}

/// Maps one user and one group to root, which needs no privilege. Source: user_namespaces(7).
pub(super) fn map_self_as_root(uid: Uid, gid: Gid) -> io::Result<()> {
    fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))
}

/// The first of 65535 ids that belong to a user.
fn subordinate(file: &'static str, uid: u32) -> Result<u32, UserNamespaceError> {
    let name = user_name(uid);
    let text = fs::read_to_string(file).unwrap_or_default();
    first_of_range(&text, &name, uid).ok_or(UserNamespaceError::NoRange { file, user: name })
}

fn first_of_range(text: &str, name: &str, uid: u32) -> Option<u32> {
    let number = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let first = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        ((owner == name || owner == number) && count >= RANGE - 1).then_some(first)
    })
}

fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn refused(errno: nix::errno::Errno) -> UserNamespaceError {
    use nix::errno::Errno;
    match errno {
        Errno::EPERM | Errno::ENOSPC | Errno::EUSERS | Errno::EACCES | Errno::EINVAL | Errno::ENOSYS => {
            UserNamespaceError::Forbidden { source: errno.into() }
        }
        _ => UserNamespaceError::Io { source: errno.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number_and_only_if_it_is_long_enough() {
        let text = "# comment\nann:100000:1000\nann:300000:65536\n1001:400000:65535\n";
        assert_eq!(first_of_range(text, "ann", 1000), Some(300_000));
        assert_eq!(first_of_range(text, "bob", 1001), Some(400_000));
        assert_eq!(first_of_range(text, "eve", 1002), None);
    }

    #[test]
    fn the_same_users_are_mapped_by_their_numbers_inside() {
        let known = "         0       1000          1\n         1     100000      65535\n";
        assert_eq!(same(known), "0 0 1\n1 1 65535\n");
    }

    #[test]
    fn a_missing_range_says_what_to_add() {
        let error = UserNamespaceError::NoRange { file: "/etc/subuid", user: "ann".into() };
        assert_eq!(error.class().exit_code(), 6);
        assert_eq!(error.to_string(), "`/etc/subuid` gives user `ann` no range of 65536 ids");
        assert!(error.hint().unwrap().contains("--add-subuids 100000-165535"));
    }
}
