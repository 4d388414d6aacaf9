//! What a shadow boot does not exercise, in words.

use goni_model::name::Name;
use goni_model::report::{Part, ShadowReport, Unexercised};
use goni_model::target::Target;

use crate::build::Finished;
use crate::failure::Failure;
use crate::project::Project;
use crate::stages::boot;
use crate::stages::initrd::{self, Source};

/// Traits by which a target says what computes.
const COMPUTES: [&str; 2] = ["gpu", "npu"];

/// What of a project's image a shadow boot leaves out, with a kernel of this release in place of its own.
pub(super) fn report(
    project: &Project,
    shadow: &Target,
    tree: &Finished,
    ran: &str,
) -> Result<ShadowReport, Failure> {
    let source = Source { tree: &tree.root, content: &tree.contents, arch: project.target.arch };
    let own = initrd::kernel_release(&source)?;
    let line = boot::command_line(&project.recipe, &project.target, None, uuid::Uuid::nil());
    let theirs = boot::command_line(&project.recipe, shadow, None, uuid::Uuid::nil());
    Ok(ShadowReport {
        target: project.target.name.clone(),
        shadow: shadow.name.clone(),
        kernel: ran.to_owned(),
        unexercised: unexercised(&project.target, &own, ran, &only_of(&line, &theirs)),
    })
}

/// The words of a line that another does not have.
fn only_of(line: &str, other: &str) -> Vec<String> {
    let others: Vec<&str> = other.split_ascii_whitespace().collect();
    line.split_ascii_whitespace().filter(|word| !others.contains(word)).map(str::to_owned).collect()
}

fn unexercised(target: &Target, own: &str, ran: &str, words: &[String]) -> Vec<Unexercised> {
    let names = |names: Vec<&str>| names.join(", ");
    let devices: Vec<&str> = target.expect.iter().map(|expected| expected.name.as_str()).collect();
    let firmware: Vec<&str> = target.firmware.iter().map(|package| package.as_str()).collect();
    let computes = target.traits.iter().filter(|(name, _)| COMPUTES.contains(&name.as_str()));
    let computes = computes.map(|(_, value): (&Name, &Name)| value.as_str());
    let driver = target.gpu.iter().map(|driven| driven.driver.as_str());
    let computes: Vec<&str> = computes.chain(driver).collect();
    let trees: Vec<&str> = target.device_trees.iter().map(|tree| tree.as_str()).collect();
    let said = |list: Vec<&str>, none: &str| if list.is_empty() { none.to_owned() } else { names(list) };
    let words = match words {
        [] => String::new(),
        words => format!(", and of the command line {}", words.join(" ")),
    };
    let boot = target.boot.name();
    [
        (Part::Kernel, format!("kernel {own}; {ran} ran in its place")),
        (
            Part::Modules,
            format!(
                "the modules of {own}, those loaded at boot, and the drivers of {}",
                said(devices, "the board's devices")
            ),
        ),
        (Part::Firmware, said(firmware, "what firmware the root has for the board's devices")),
        (Part::Gpu, said(computes, "what computes on the board")),
        (Part::BootPath, format!("the board's own firmware and {boot}, the image's initrd as it is{words}")),
        (Part::DeviceTrees, said(trees, "the device tree that the board's firmware has")),
    ]
    .into_iter()
    .map(|(part, what)| Unexercised { part, what })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_board_alone_are_named() {
        assert_eq!(
            only_of("ro quiet console=ttyTCU0 x=1", "ro console=ttyAMA0 quiet"),
            ["console=ttyTCU0", "x=1"]
        );
        assert!(only_of("ro", "ro quiet").is_empty());
    }
}
