//! The states of packages, as far as this stage asks for them. Source: dpkg's status file, deb822.

/// Where dpkg keeps them.
pub(super) const PATH: &str = "var/lib/dpkg/status";

/// How many packages there are.
pub(super) fn count(status: &[u8]) -> u64 {
    goni_model::number::to_u64(packages(status).len())
}

/// Every package that is not `install ok installed`, with its state.
pub(super) fn unfinished(status: &[u8]) -> Vec<String> {
    packages(status)
        .into_iter()
        .filter(|(_, state)| state != "install ok installed")
        .map(|(name, state)| format!("{name} ({state})"))
        .collect()
}

fn packages(status: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(status);
    let mut packages: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Package:") {
            packages.push((name.trim().to_owned(), "no state".to_owned()));
        } else if let (Some(state), Some(last)) = (line.strip_prefix("Status:"), packages.last_mut()) {
            state.trim().clone_into(&mut last.1);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_not_installed_are_named_with_their_state() {
        let status = b"Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: install ok half-configured\n\nPackage: c\nVersion: 1\n";
        assert_eq!(count(status), 3);
        assert_eq!(unfinished(status), ["b (install ok half-configured)", "c (no state)"]);
    }
}
