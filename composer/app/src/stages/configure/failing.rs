//! Which package and which script it was, from what dpkg said.

/// A package and its script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Culprit {
    pub(super) package: String,
    pub(super) script: String,
}

/// The script that dpkg says failed: the first, because others only fail after it.
pub(super) fn failed(output: &str) -> Option<Culprit> {
    let mut lines = output.lines();
    let package = lines.find_map(|line| {
        let rest = line.strip_prefix("dpkg: error processing package ")?;
        rest.split_whitespace().next()
    })?;
    let script = lines.next().map_or("maintainer", |line| {
        let named = [
            ("pre-installation", "preinst"),
            ("post-installation", "postinst"),
            ("pre-removal", "prerm"),
            ("post-removal", "postrm"),
        ];
        named.into_iter().find(|(long, _)| line.contains(long)).map_or("maintainer", |(_, short)| short)
    });
    Some(Culprit { package: package.to_owned(), script: script.to_owned() })
}

/// What was said up to the point where dpkg noticed.
pub(super) fn before(output: &str) -> &str {
    output.find("\ndpkg: error processing package ").map_or(output, |end| &output[..end])
}

/// The script that dpkg started last.
pub(super) fn running(output: &str) -> Option<Culprit> {
    output.lines().rev().find_map(|line| {
        let triggered = line.strip_prefix("Processing triggers for ");
        let rest = triggered.or_else(|| line.strip_prefix("Setting up "))?;
        let package = rest.split_whitespace().next()?.to_owned();
        let script = if triggered.is_some() { "postinst (triggered)" } else { "postinst" };
        Some(Culprit { package, script: script.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_script_is_the_one_dpkg_names_first() {
        let output = "Setting up a (1) ...\nboom\ndpkg: error processing package a (--configure):\n \
                      old a package post-installation script subprocess returned error exit status 1\n\
                      dpkg: error processing package b (--configure):\n dependency problems\n";
        let culprit = failed(output).unwrap();
        assert_eq!((culprit.package.as_str(), culprit.script.as_str()), ("a", "postinst"));
        assert_eq!(before(output), "Setting up a (1) ...\nboom");
        assert_eq!(failed("all is well"), None);
    }

    #[test]
    fn the_running_script_is_the_last_begun() {
        let output = "Setting up a (1) ...\nSetting up b:amd64 (2) ...\nwaiting\n";
        assert_eq!(running(output).unwrap().package, "b:amd64");
        let output = format!("{output}Processing triggers for libc-bin (3) ...\n");
        assert_eq!(running(&output).unwrap().script, "postinst (triggered)");
    }
}
