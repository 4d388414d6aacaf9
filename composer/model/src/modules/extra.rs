//! Kernel modules that the kernel's own package does not bring: built for it from packages of DKMS, built
//! from a source tree of the project, or given as files.
//!
//! What is inside them is for the build to see, which has the kernel. Source of the words: dkms(8), and
//! Documentation/kbuild/modules.rst of the kernel.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::document::checker::{Checker, Text};
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::name::{PackageName, ProjectPath};

/// Modules from elsewhere, as typed: the keys of a recipe's or a target's table of the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExtraDoc<'a> {
    pub(crate) dkms: Option<&'a Vec<Text>>,
    pub(crate) patches: Option<&'a BTreeMap<Text, Vec<Text>>>,
    pub(crate) files: Option<&'a Vec<Text>>,
    pub(crate) sources: Option<&'a Vec<Text>>,
}

/// Modules from elsewhere, as meant. Every list is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtraModules {
    /// Packages with sources that DKMS builds; they never are in the image themselves.
    pub dkms: Vec<PackageName>,
    /// Patches of their sources, in the order in which they are applied.
    pub patches: BTreeMap<PackageName, Vec<ProjectPath>>,
    /// Modules that are built already.
    pub files: Vec<ProjectPath>,
    /// Folders that kbuild builds.
    pub sources: Vec<ProjectPath>,
}

/// Checks what is typed.
pub(crate) fn check(doc: ExtraDoc<'_>, checker: &mut Checker) -> ExtraModules {
    for text in doc.files.into_iter().flatten() {
        if !text.get_ref().ends_with(".ko") {
            let message = format!("`{}` is no kernel module", text.get_ref().escape_debug());
            let fault = Fault::new(Span::from(text.span()), message);
            checker.fault(fault.hint("a module that is built already ends in `.ko`, unpacked"));
        }
    }
    let patches = doc.patches.into_iter().flatten();
    let patches =
        patches.filter_map(|(package, list)| Some((checker.parse(package)?, checker.list(list)))).collect();
    ExtraModules {
        patches,
        dkms: checker.set(doc.dkms),
        files: checker.set(doc.files),
        sources: checker.set(doc.sources),
    }
}

impl ExtraModules {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.needs_building() && self.files.is_empty()
    }

    /// Whether a compiler is needed.
    #[must_use]
    pub fn needs_building(&self) -> bool {
        !self.dkms.is_empty() || !self.sources.is_empty()
    }

    /// These and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        fn both<T: Ord + Clone>(ours: &[T], others: &[T]) -> Vec<T> {
            let all: std::collections::BTreeSet<&T> = ours.iter().chain(others).collect();
            all.into_iter().cloned().collect()
        }
        let mut patches = self.patches.clone();
        for (package, list) in &others.patches {
            let ours: &mut Vec<ProjectPath> = patches.entry(package.clone()).or_default();
            let new: Vec<_> = list.iter().filter(|patch| !ours.contains(patch)).cloned().collect();
            ours.extend(new);
        }
        Self {
            patches,
            dkms: both(&self.dkms, &others.dkms),
            files: both(&self.files, &others.files),
            sources: both(&self.sources, &others.sources),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_target_and_of_a_recipe_come_together() {
        let one = ExtraModules { dkms: vec!["b-dkms".parse().unwrap()], ..ExtraModules::default() };
        let other = ExtraModules {
            dkms: vec!["a-dkms".parse().unwrap(), "b-dkms".parse().unwrap()],
            files: vec!["a.ko".parse().unwrap()],
            ..ExtraModules::default()
        };
        let both = one.and(&other);
        assert_eq!(both, other);
        assert!(both.needs_building() && !both.is_empty());
        assert!(ExtraModules::default().is_empty());
    }
}
