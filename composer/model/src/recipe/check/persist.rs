//! Which directories a recipe may keep: what services write, never what decides what runs.

use std::collections::BTreeMap;

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::name::ImagePath;
use crate::recipe::persist::ALWAYS;

/// Where a kept directory may be.
const TOPS: [&str; 2] = ["/var/", "/etc/"];

/// Directories that say what runs, and as whom. They come with the verified root: kept, whoever wrote
/// to one of them once would have every later boot. Their parents are refused with them.
const DECIDES: [&str; 29] = [
    "/etc/alternatives",
    "/etc/apt",
    "/etc/binfmt.d",
    "/etc/credstore",
    "/etc/credstore.encrypted",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/cron.monthly",
    "/etc/cron.weekly",
    "/etc/dbus-1",
    "/etc/default",
    "/etc/environment.d",
    "/etc/init.d",
    "/etc/ld.so.conf.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/network",
    "/etc/nftables.d",
    "/etc/pam.d",
    "/etc/polkit-1",
    "/etc/profile.d",
    "/etc/security",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/tmpfiles.d",
    "/etc/udev",
    "/var/spool/cron",
];

/// What may be kept all the same: addresses differ from device to device, and run nothing.
const HARMLESS: [&str; 1] = ["/etc/systemd/network"];

/// Directories that describe the root, and would be wrong beside the next one.
const DESCRIBES: [&str; 1] = ["/var/lib/dpkg"];

/// Links of every Debian, which no directory can be kept below.
const LINKS: [(&str, &str); 3] =
    [("/var/lock", "/run/lock"), ("/var/run", "/run"), ("/var/spool/mail", "/var/mail")];

/// The directories to keep, sorted: none in another, nor in one that is kept in any case.
pub(super) fn persist(list: &[Text], checker: &mut Checker) -> Vec<ImagePath> {
    let mut paths: BTreeMap<ImagePath, &Text> = BTreeMap::new();
    for text in list {
        let Some(path) = checker.parse::<ImagePath>(text) else { continue };
        if let Some((message, hint)) = unfit(&path) {
            checker.fault(Fault::new(Span::from(text.span()), message).hint(hint));
            continue;
        }
        if let Some((other, first)) = paths.iter().find(|(other, _)| overlap(path.as_str(), other.as_str())) {
            let (message, hint) = if path == *other {
                (format!("`{path}` is listed twice"), "leave one out")
            } else {
                (format!("`{path}` overlaps `{other}`"), "keep the upper one, which holds the other")
            };
            let fault = Fault::new(Span::from(text.span()), message).hint(hint);
            checker.fault(fault.related(Span::from(first.span()), "first here"));
            continue;
        }
        paths.insert(path, text);
    }
    paths.into_keys().collect()
}

/// The way out of most refusals.
const OWN: &str = "name the directory that the service has to itself, such as \"/var/lib/foo\"";

/// What is wrong with a path by itself, and a way out.
fn unfit(path: &ImagePath) -> Option<(String, String)> {
    let place = path.as_str();
    if !TOPS.iter().any(|top| place.starts_with(top)) {
        let hint = "what services write is below /var; /etc is for settings made on the device";
        return Some((format!("`{path}` is neither below `/var` nor below `/etc`"), hint.to_owned()));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
    if !place.bytes().all(plain) {
        let message = format!("`{path}` has a character that mount tables cannot hold");
        return Some((message, "use letters, digits, `.`, `_`, `-`, `+`, `@`".to_owned()));
    }
    if let Some((link, target)) = LINKS.iter().find(|(link, _)| inside(place, link)) {
        return Some((format!("`{link}` is a link to `{target}`: nothing below it is kept"), OWN.to_owned()));
    }
    let harmless = HARMLESS.iter().any(|harmless| inside(place, harmless));
    if let Some(own) = DECIDES.iter().find(|own| !harmless && overlap(place, own)) {
        let message = format!("`{path}` cannot be kept: `{own}` decides what runs");
        return Some((message, "change it in an overlay, which the root's hash covers".to_owned()));
    }
    if let Some(own) = DESCRIBES.iter().find(|own| overlap(place, own)) {
        let message = format!("`{path}` cannot be kept: `{own}` describes the root and comes with it");
        return Some((message, OWN.to_owned()));
    }
    let (kept, _) = ALWAYS.iter().find(|(kept, _)| overlap(place, kept))?;
    Some(if inside(place, kept) {
        (format!("`{path}` is kept in any case, as `{kept}` is"), "leave it out".to_owned())
    } else {
        (format!("`{path}` holds `{kept}`, which is kept in any case"), OWN.to_owned())
    })
}

fn inside(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn overlap(one: &str, other: &str) -> bool {
    inside(one, other) || inside(other, one)
}
