//! What boots, however: kernel, initrd and the ways to boot, as each boot method keeps them.

use goni_model::target::BootMethod;

use super::Evidence;
use crate::verify::esp::IMAGES;
use crate::verify::{extlinux, raspberry_pi};

/// What boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::verify) struct Booted {
    /// The kernel, or what carries it, as a path on its partition.
    pub(in crate::verify) kernel: String,
    /// The initrd's path, where it is a file of its own.
    pub(in crate::verify) initrd: Option<String>,
    /// The release of the kernel.
    pub(in crate::verify) release: String,
    /// The ways to boot, the default first.
    pub(in crate::verify) ways: Vec<BootedAs>,
}

/// A way to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::verify) struct BootedAs {
    /// What it is called.
    pub(in crate::verify) id: String,
    /// What the menu calls it, if not as the system.
    pub(in crate::verify) title: Option<String>,
    /// The kernel's command line.
    pub(in crate::verify) command_line: String,
}

impl Evidence<'_> {
    /// What boots, as far as it can be read; what is wrong with it, the checks of the boot method tell.
    pub(in crate::verify) fn booted(&self) -> Option<Booted> {
        match self.boot {
            BootMethod::SystemdBoot => {
                let (path, program) = self.esp.found()?.programs(IMAGES).next()?;
                let ways = program.profiles.iter().map(|profile| BootedAs {
                    id: profile.label.id.clone(),
                    title: profile.label.title.clone(),
                    command_line: profile.command_line.clone(),
                });
                Some(Booted {
                    kernel: path.to_owned(),
                    initrd: None,
                    release: program.texts.get(".uname").cloned().unwrap_or_default(),
                    ways: ways.collect(),
                })
            }
            BootMethod::Extlinux => extlinux::booted(self.app.found()?).ok(),
            BootMethod::RaspberryPi => raspberry_pi::booted(self.esp.found()?).ok(),
        }
    }
}
