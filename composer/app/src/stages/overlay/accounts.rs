//! Users and groups: what sysusers.d says, written into a tree's account files.
//!
//! systemd-sysusers would do this at boot, on a root it cannot write. Only numbered ids are taken:
//! what is on a node's state partition belongs to its number for good. Source: sysusers.d(5).

use std::fmt::Write as _;

use goni_disk::tree::TreePath;

/// A user or group that an overlay brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// `u NAME UID:GID "COMMENT" HOME SHELL`.
    User { name: String, uid: u32, gid: u32, comment: String, home: String, shell: String },
    /// `g NAME GID`.
    Group { name: String, gid: u32 },
    /// `m USER GROUP`.
    Member { user: String, group: String },
}

/// What is wrong with a sysusers file or with the accounts it meets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A line that is none of the three kinds.
    #[error(
        "`{path}` line {line}: expected `u NAME UID:GID \"COMMENT\" HOME`, `g NAME GID` or `m USER GROUP`"
    )]
    Malformed {
        /// The file.
        path: TreePath,
        /// The line, from 1.
        line: usize,
    },
    /// A name or number that somebody else has.
    #[error("account `{name}` with id {id}: `{file}` already has `{taken}`")]
    Taken {
        /// The account.
        name: String,
        /// Its id.
        id: u32,
        /// The file.
        file: &'static str,
        /// The line that is in the way.
        taken: String,
    },
    /// A name that no account file has.
    #[error("no {kind} is called `{name}` in this tree")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// Parses a sysusers file.
pub(super) fn parse(path: &TreePath, text: &str) -> Result<Vec<Account>, AccountError> {
    let mut accounts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let account = parse_line(line)
            .ok_or_else(|| AccountError::Malformed { path: path.clone(), line: index + 1 })?;
        accounts.push(account);
    }
    Ok(accounts)
}

fn parse_line(line: &str) -> Option<Account> {
    let words = words(line)?;
    let word = |index: usize| words.get(index).map(String::as_str).filter(|word| *word != "-");
    let name = word(1)?.to_owned();
    match words.first()?.as_str() {
        "u" => {
            let (uid, gid) = word(2)?.split_once(':')?;
            Some(Account::User {
                name,
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                comment: word(3).unwrap_or_default().to_owned(),
                home: word(4).unwrap_or("/").to_owned(),
                shell: word(5).unwrap_or("/usr/sbin/nologin").to_owned(),
            })
        }
        "g" => Some(Account::Group { name, gid: word(2)?.parse().ok()? }),
        "m" => Some(Account::Member { user: name, group: word(2)?.to_owned() }),
        _ => None,
    }
}

/// Splits at blanks; a word in double quotes may hold them. `None` for an open quote or a colon
/// outside the second word, which would break the lines of passwd.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        if word.contains(':') && words.len() != 2 {
            return None;
        }
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some(words)
}

/// The four account files, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub passwd: String,
    pub group: String,
    pub shadow: String,
    pub gshadow: String,
}

impl Files {
    /// Adds an account; one that is there already, exactly so, is left alone. `day` is today's date in
    /// the image, in days since 1970.
    pub(super) fn add(&mut self, account: &Account, day: i64) -> Result<(), AccountError> {
        match account {
            Account::Group { name, gid } => {
                if vacant(&self.group, "/etc/group", name, *gid, 2)? {
                    line(&mut self.group, format_args!("{name}:x:{gid}:"));
                    line(&mut self.gshadow, format_args!("{name}:!*::"));
                }
            }
            Account::User { name, uid, gid, comment, home, shell } => {
                if vacant(&self.passwd, "/etc/passwd", name, *uid, 2)? {
                    line(&mut self.passwd, format_args!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}"));
                    line(&mut self.shadow, format_args!("{name}:!*:{day}::::::"));
                }
            }
            Account::Member { user, group } => {
                self.uid(user)?;
                self.gid(group)?;
                join(&mut self.group, user, group);
                join(&mut self.gshadow, user, group);
            }
        }
        Ok(())
    }

    /// The number of a user.
    pub(super) fn uid(&self, name: &str) -> Result<u32, AccountError> {
        id(&self.passwd, name).ok_or_else(|| AccountError::Unknown { kind: "user", name: name.to_owned() })
    }

    /// The number of a group.
    pub(super) fn gid(&self, name: &str) -> Result<u32, AccountError> {
        id(&self.group, name).ok_or_else(|| AccountError::Unknown { kind: "group", name: name.to_owned() })
    }
}

fn id(file: &str, name: &str) -> Option<u32> {
    let line = file.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Whether name and id are both free; an error if one of them is somebody else's.
fn vacant(file: &str, path: &'static str, name: &str, id: u32, column: usize) -> Result<bool, AccountError> {
    let number = id.to_string();
    for line in file.lines() {
        let same_name = line.split(':').next() == Some(name);
        let same_id = line.split(':').nth(column) == Some(number.as_str());
        match (same_name, same_id) {
            (true, true) => return Ok(false),
            (false, false) => {}
            _ => {
                return Err(AccountError::Taken {
                    name: name.to_owned(),
                    id,
                    file: path,
                    taken: line.to_owned(),
                });
            }
        }
    }
    Ok(true)
}

fn line(file: &mut String, text: std::fmt::Arguments<'_>) {
    if !file.is_empty() && !file.ends_with('\n') {
        file.push('\n');
    }
    writeln!(file, "{text}").expect("writing to a string cannot fail");
}

/// Adds a user to the member list that ends a group's line.
fn join(file: &mut String, user: &str, group: &str) {
    *file = file
        .lines()
        .map(|line| {
            let is_group = line.split(':').next() == Some(group);
            let members = line.rsplit(':').next().unwrap_or_default();
            if !is_group || members.split(',').any(|member| member == user) {
                return format!("{line}\n");
            }
            let comma = if members.is_empty() { "" } else { "," };
            format!("{line}{comma}{user}\n")
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Vec<Account>, AccountError> {
        parse(&TreePath::parse(b"usr/lib/sysusers.d/goni.conf").unwrap(), text)
    }

    fn files() -> Files {
        Files {
            passwd: "root:x:0:0:root:/root:/bin/bash\n".into(),
            group: "root:x:0:\nrender:x:992:\n".into(),
            shadow: "root:*:20000:0:99999:7:::\n".into(),
            gshadow: "root:*::\nrender:!*::\n".into(),
        }
    }

    #[test]
    fn a_user_and_its_group_become_lines() {
        let mut files = files();
        for account in
            parse_text("# ids\ng goni 700\nu goni 700:700 \"goni service\" /var/lib/goni\nm goni render\n")
                .unwrap()
        {
            files.add(&account, 20_000).unwrap();
        }
        assert_eq!(
            files.passwd,
            "root:x:0:0:root:/root:/bin/bash\ngoni:x:700:700:goni service:/var/lib/goni:/usr/sbin/nologin\n"
        );
        assert_eq!(files.group, "root:x:0:\nrender:x:992:goni\ngoni:x:700:\n");
        assert_eq!(files.shadow, "root:*:20000:0:99999:7:::\ngoni:!*:20000::::::\n");
        assert_eq!(files.gshadow, "root:*::\nrender:!*::goni\ngoni:!*::\n");
        assert_eq!((files.uid("goni"), files.gid("render")), (Ok(700), Ok(992)));
    }

    #[test]
    fn adding_twice_changes_nothing() {
        let mut files = files();
        let accounts = parse_text("g goni 700\nu goni 700:700\nm goni goni\n").unwrap();
        for account in accounts.iter().chain(&accounts) {
            files.add(account, 1).unwrap();
        }
        assert_eq!(files.passwd.matches("goni:x").count(), 1);
        assert!(files.group.ends_with("goni:x:700:goni\n"));
    }

    #[test]
    fn a_taken_number_and_a_taken_name_are_refused() {
        let mut files = files();
        let taken = |name: &str, id, taken: &str| AccountError::Taken {
            name: name.into(),
            id,
            file: "/etc/group",
            taken: taken.into(),
        };
        let add = |files: &mut Files, text: &str| files.add(&parse_text(text).unwrap()[0], 1).unwrap_err();
        assert_eq!(add(&mut files, "g goni 992"), taken("goni", 992, "render:x:992:"));
        assert_eq!(add(&mut files, "g render 700"), taken("render", 700, "render:x:992:"));
    }

    #[test]
    fn lines_without_numbers_or_of_other_kinds_are_refused() {
        for text in [
            "u goni - \"goni\"",
            "u goni 700",
            "g goni",
            "r - 500-900",
            "u goni 1:1 \"open",
            "u a 1:1 \"x:y\"",
        ] {
            let error = AccountError::Malformed {
                path: TreePath::parse(b"usr/lib/sysusers.d/goni.conf").unwrap(),
                line: 1,
            };
            assert_eq!(parse_text(text), Err(error), "{text}");
        }
    }
}
