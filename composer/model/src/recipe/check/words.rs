//! Words for the kernel's command line: which a recipe or a target may add.
//!
//! Refused are those that the build writes itself, those that a key of the recipe is there for, and
//! those that would break a promise of every image. What words mean: the kernel's
//! `admin-guide/kernel-parameters`.

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::name::KernelWord;

/// Words, or their beginnings, that the program writes itself.
const OWN: [&str; 9] = [
    "root=",
    "roothash=",
    "usrhash=",
    "init=",
    "rdinit=",
    "systemd.verity",
    "rd.systemd.verity",
    "rootfstype=",
    "initrd=",
];

/// Beginnings of words, and the key of a recipe that says the same.
const KEYS: [(&str, &str); 12] = [
    ("module_blacklist=", "kernel.modules.deny"),
    ("modprobe.blacklist=", "kernel.modules.deny"),
    ("iommu=", "kernel.iommu"),
    ("iommu.strict", "kernel.iommu"),
    ("iommu.passthrough", "kernel.iommu"),
    ("intel_iommu=", "kernel.iommu"),
    ("amd_iommu=", "kernel.iommu"),
    ("init_on_free=", "hardening.init-on-free"),
    ("mitigations=", "hardening.no-smt"),
    ("nosmt", "hardening.no-smt"),
    ("module.sig_enforce", "hardening.signed-modules"),
    ("lockdown=", "hardening.lockdown"),
];

/// Beginnings of words, and the promise they would break.
const BROKEN: [(&str, &str); 9] = [
    ("systemd.debug_shell", "nobody can log in"),
    ("rd.systemd.debug_shell", "nobody can log in"),
    ("crashkernel=", "a crash leaves no copy of memory"),
    ("resume=", "memory is never written to a disk"),
    ("hibernate=", "memory is never written to a disk"),
    ("init_on_alloc=", "memory is wiped before it is handed out"),
    ("slab_merge", "objects of one kind keep to themselves"),
    ("slub_merge", "objects of one kind keep to themselves"),
    ("page_alloc.shuffle=", "free pages are handed out in no order that can be guessed"),
];

/// The words of a kernel command line that a recipe or a target adds.
pub(crate) fn command_line(words: &[Text], checker: &mut Checker) -> Vec<KernelWord> {
    for text in words {
        let word = text.get_ref().as_str();
        let shown = word.escape_debug();
        // To the kernel, `_` and `-` in a parameter's name are one. Source: kernel/params.c.
        let name = word.split('=').next().unwrap_or_default();
        let canonical = format!("{}{}", name.replace('-', "_"), &word[name.len()..]);
        let begins = |beginning: &str| canonical.starts_with(beginning);
        if OWN.into_iter().any(begins) || matches!(word, "ro" | "rw") {
            checker.fault_at(text, format!("`{shown}` is written by the build itself"));
        } else if let Some((_, key)) = KEYS.into_iter().find(|(beginning, _)| begins(beginning)) {
            let fault = Fault::new(Span::from(text.span()), format!("`{shown}` is for `{key}` to say"));
            checker.fault(fault.hint(format!("set `{key}` in the recipe")));
        } else if let Some((_, promise)) = BROKEN.into_iter().find(|(beginning, _)| begins(beginning)) {
            checker.fault_at(text, format!("`{shown}` breaks what every image promises: {promise}"));
        }
    }
    words.iter().filter_map(|text| checker.parse(text)).collect()
}
