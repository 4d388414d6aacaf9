//! The hardware that a board is expected to have, and what an image is asked to have for it.
//!
//! The same values go into the image, so that a finished image can be checked without its recipe.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::document::checker::Checker;
use crate::document::fault::Fault;
use crate::document::source::Span;
use crate::gpu::Driven;
use crate::name::{FirmwarePattern, Modalias, ModuleName, Name};
use crate::target::doc::ExpectDoc;
use crate::target::{BootMethod, Target};

/// A device, or several of a kind, that a board is expected to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// What errors call it.
    pub name: String,
    /// By what drivers know it; each must find a driver.
    pub modaliases: Vec<String>,
    /// Of the firmware that its driver names, the files that this board needs, as patterns; `None`: all.
    pub firmware: Option<Vec<String>>,
    /// Whether the root is reached through it, so that its driver must be in the initrd.
    pub root: bool,
}

/// What an image says of the board it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The name of the target.
    pub target: String,
    /// How it boots.
    #[serde(default = "uefi")]
    pub boot: BootMethod,
    /// Modules that the target wants in the initrd.
    pub initrd: Vec<String>,
    /// The hardware.
    pub expect: Vec<Expected>,
    /// Modules that are never loaded.
    #[serde(default)]
    pub deny: Vec<String>,
    /// The graphics driver.
    #[serde(default)]
    pub gpu: Option<Driven>,
    /// What its own firmware is told besides, a line each, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware_config: Vec<String>,
}

impl Board {
    /// The board that a target describes, with the modules that are never loaded.
    #[must_use]
    pub fn of(target: &Target, deny: &[ModuleName]) -> Self {
        Self {
            target: target.name.to_string(),
            boot: target.boot,
            initrd: target.initrd_modules.iter().map(ToString::to_string).collect(),
            expect: target.expect.clone(),
            deny: deny.iter().map(ToString::to_string).collect(),
            gpu: target.gpu.clone(),
            firmware_config: target.firmware_config.iter().map(ToString::to_string).collect(),
        }
    }
}

/// How every board booted before images said so.
const fn uefi() -> BootMethod {
    BootMethod::SystemdBoot
}

/// Checks `[[expect]]` tables.
pub(super) fn check(docs: &[ExpectDoc], checker: &mut Checker) -> Vec<Expected> {
    let mut names = BTreeSet::new();
    docs.iter().filter_map(|doc| check_one(doc, &mut names, checker)).collect()
}

fn check_one(doc: &ExpectDoc, names: &mut BTreeSet<Name>, checker: &mut Checker) -> Option<Expected> {
    let text = checker.require(doc.name.as_ref(), "expect.name", "what errors call it: \"disk\"")?;
    let name = checker.parse::<Name>(text)?;
    if !names.insert(name.clone()) {
        checker.fault_at(text, format!("`{name}` is expected twice"));
    }
    let aliases: Vec<Modalias> = checker.list(doc.modalias.as_deref().unwrap_or_default());
    let mut modaliases: Vec<String> = aliases.iter().map(ToString::to_string).collect();
    for text in doc.compatible.iter().flatten() {
        // What the kernel makes of a node in the device tree. Source: of_device_modalias in the kernel.
        let alias = format!("of:NxTxC{}", text.get_ref());
        match text.get_ref().contains(',').then(|| alias.parse::<Modalias>()) {
            Some(Ok(alias)) => modaliases.push(alias.to_string()),
            _ => checker.fault_at(text, "a compatible is `vendor,device`"),
        }
    }
    if modaliases.is_empty() {
        let fault = Fault::new(Span::from(text.span()), format!("`{name}` is expected, but not described"));
        checker.fault(fault.hint("write modalias = [\"…\"], as the device's file `modalias` in /sys says"));
    }
    let firmware = doc.firmware.as_ref().map(|patterns| {
        let patterns: Vec<FirmwarePattern> = checker.list(patterns);
        patterns.iter().map(ToString::to_string).collect()
    });
    Some(Expected { name: name.to_string(), modaliases, firmware, root: doc.root.unwrap_or(false) })
}
