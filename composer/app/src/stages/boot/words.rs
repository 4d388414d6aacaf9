//! What a recipe's promises become on the kernel's command line.
//!
//! Source: the kernel's `admin-guide/kernel-parameters`, version 6.12; kernel_lockdown(7).

use goni_model::arch::Arch;
use goni_model::recipe::{Hardening, Iommu, Lockdown, Recipe};

/// The words for all that a recipe promises of the kernel.
pub(super) fn promised(recipe: &Recipe, arch: Arch) -> Vec<&'static str> {
    [iommu(recipe.kernel.iommu, arch), hardening(&recipe.hardening, arch)].concat()
}

/// How the IOMMU fences devices. Without an IOMMU these words do nothing.
fn iommu(mode: Iommu, arch: Arch) -> Vec<&'static str> {
    let mode_words: &[&str] = match mode {
        Iommu::Strict => &["iommu.passthrough=0", "iommu.strict=1"],
        Iommu::Lazy => &["iommu.passthrough=0", "iommu.strict=0"],
        Iommu::Passthrough => &["iommu.passthrough=1"],
    };
    // Debian's kernel leaves Intel's integrated graphics out of it unless it is told otherwise
    // (INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF). AMD's IOMMU and Arm's SMMU are on wherever they are.
    let fenced = arch == Arch::Amd64 && mode != Iommu::Passthrough;
    let own: &[&str] = if fenced { &["intel_iommu=on"] } else { &[] };
    [own, mode_words].concat()
}

/// Hardening that costs something, where the recipe asks for it.
fn hardening(asked: &Hardening, arch: Arch) -> Vec<&'static str> {
    // `mitigations=auto,nosmt` gives up threads only where a known fault of the processor demands it;
    // `nosmt=force` does so in any case, but is a word of x86 alone in this kernel.
    let no_smt: &[&str] = match arch {
        Arch::Amd64 => &["mitigations=auto,nosmt", "nosmt=force"],
        Arch::Arm64 => &["mitigations=auto,nosmt"],
    };
    let lockdown: &[&str] = match asked.lockdown {
        Lockdown::None => &[],
        Lockdown::Integrity => &["lockdown=integrity"],
        Lockdown::Confidentiality => &["lockdown=confidentiality"],
    };
    let switch = |on: bool, words: &'static [&'static str]| if on { words } else { &[] };
    [
        switch(asked.init_on_free, &["init_on_free=1"]),
        if asked.no_smt { no_smt } else { &[] },
        switch(asked.signed_modules, &["module.sig_enforce=1"]),
        lockdown,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_fenced_as_the_recipe_says_on_each_architecture() {
        for (mode, arch, words) in [
            (Iommu::Lazy, Arch::Amd64, "intel_iommu=on iommu.passthrough=0 iommu.strict=0"),
            (Iommu::Strict, Arch::Amd64, "intel_iommu=on iommu.passthrough=0 iommu.strict=1"),
            (Iommu::Passthrough, Arch::Amd64, "iommu.passthrough=1"),
            (Iommu::Lazy, Arch::Arm64, "iommu.passthrough=0 iommu.strict=0"),
            (Iommu::Strict, Arch::Arm64, "iommu.passthrough=0 iommu.strict=1"),
            (Iommu::Passthrough, Arch::Arm64, "iommu.passthrough=1"),
        ] {
            assert_eq!(iommu(mode, arch).join(" "), words);
        }
    }

    #[test]
    fn only_what_was_asked_for_is_said() {
        let nothing = Hardening {
            init_on_free: false,
            no_smt: false,
            signed_modules: false,
            no_user_namespaces: false,
            lockdown: Lockdown::None,
        };
        let all = Hardening {
            init_on_free: true,
            no_smt: true,
            signed_modules: true,
            no_user_namespaces: true,
            lockdown: Lockdown::Integrity,
        };
        assert!(hardening(&nothing, Arch::Amd64).is_empty());
        assert_eq!(
            hardening(&all, Arch::Amd64).join(" "),
            "init_on_free=1 mitigations=auto,nosmt nosmt=force module.sig_enforce=1 lockdown=integrity"
        );
        assert_eq!(
            hardening(&all, Arch::Arm64).join(" "),
            "init_on_free=1 mitigations=auto,nosmt module.sig_enforce=1 lockdown=integrity"
        );
    }
}
