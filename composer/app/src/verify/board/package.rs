//! Which Debian package brings a firmware file, for the message that says it is missing.
//!
//! The lists of files in an archive would tell all of it, and are no part of an image. Source: the file
//! lists of Debian 13's packages from `firmware-nonfree` and `firmware-free`.

/// Beginnings of firmware names, longest first where one begins another, and the package.
const PACKAGES: [(&str, &str); 30] = [
    ("amdgpu/", "firmware-amd-graphics"),
    ("radeon/", "firmware-amd-graphics"),
    ("amdtee/", "firmware-amd-graphics"),
    ("amdnpu/", "firmware-amd-graphics"),
    ("i915/", "firmware-intel-graphics"),
    ("xe/", "firmware-intel-graphics"),
    ("nvidia/", "firmware-nvidia-graphics"),
    ("iwlwifi-", "firmware-iwlwifi"),
    ("intel/ibt-", "firmware-iwlwifi"),
    ("intel/iwlwifi/", "firmware-iwlwifi"),
    ("intel/sof", "firmware-sof-signed"),
    ("intel/vpu/", "firmware-intel-misc"),
    ("intel/ice/", "firmware-intel-misc"),
    ("rtl_nic/", "firmware-realtek"),
    ("rtl_bt/", "firmware-realtek"),
    ("rtlwifi/", "firmware-realtek"),
    ("rtw88/", "firmware-realtek"),
    ("rtw89/", "firmware-realtek"),
    ("mediatek/", "firmware-mediatek"),
    ("ath10k/", "firmware-atheros"),
    ("ath11k/", "firmware-atheros"),
    ("ath12k/", "firmware-atheros"),
    ("brcm/", "firmware-brcm80211"),
    ("bnx2/", "firmware-bnx2"),
    ("bnx2x/", "firmware-bnx2x"),
    ("qed/", "firmware-qlogic"),
    ("ti-connectivity/", "firmware-ti-connectivity"),
    ("mrvl/", "firmware-libertas"),
    ("qcom/", "firmware-qcom-soc"),
    ("tigon/", "firmware-misc-nonfree"),
];

/// The package that brings a firmware file, if its name says so.
pub(super) fn of(file: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(beginning, _)| file.starts_with(beginning)).map(|(_, package)| *package)
}
