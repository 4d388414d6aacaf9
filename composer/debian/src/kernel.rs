//! Which kernel a set of packages brings.
//!
//! Debian names the release of a kernel in the name of its package, `linux-image-6.12.1-amd64`, beside which
//! `linux-image-amd64` only depends on the newest. Source: Debian Kernel Handbook, chapter 3.

use goni_model::lock::LockedPackage;

/// A kernel, as its package names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel<'a> {
    /// The package with its image.
    pub package: &'a LockedPackage,
    /// Its release, as `uname -r` says it.
    pub release: &'a str,
}

/// Why it cannot be said which kernel it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No package names a release.
    #[error("no package is named for a kernel's release, as `linux-image-6.12.1-amd64` is")]
    None,
    /// Several do.
    #[error("there are two kernels, `{first}` and `{second}`")]
    Several {
        /// One package.
        first: String,
        /// The other.
        second: String,
    },
}

impl<'a> Kernel<'a> {
    /// The one kernel of these packages.
    ///
    /// # Errors
    /// There is none that a package is named for, or more than one.
    pub fn of(packages: impl IntoIterator<Item = &'a LockedPackage>) -> Result<Self, KernelError> {
        let mut kernels = packages.into_iter().filter_map(|package| {
            let release = package.name.strip_prefix("linux-image-")?;
            let release = release.strip_suffix("-unsigned").unwrap_or(release);
            release.starts_with(|c: char| c.is_ascii_digit()).then_some(Self { package, release })
        });
        match (kernels.next(), kernels.next()) {
            (Some(kernel), None) => Ok(kernel),
            (None, _) => Err(KernelError::None),
            (Some(first), Some(second)) => Err(KernelError::Several {
                first: first.package.name.clone(),
                second: second.package.name.clone(),
            }),
        }
    }

    /// The wish for the headers that fit it exactly.
    #[must_use]
    pub fn headers(&self) -> String {
        format!("linux-headers-{} (= {})", self.release, self.package.version)
    }
}

#[cfg(test)]
mod tests {
    use goni_model::digest::Sha256Digest;

    use super::*;

    fn package(name: &str) -> LockedPackage {
        LockedPackage {
            name: name.to_owned(),
            version: "6.12.117-1".to_owned(),
            arch: "amd64".to_owned(),
            archive: "debian".to_owned(),
            path: format!("pool/{name}.deb"),
            size: 1,
            sha256: Sha256Digest::new([0; 32]),
        }
    }

    #[test]
    fn the_kernel_is_the_one_that_names_its_release() {
        let mut packages =
            ["linux-image-amd64", "linux-image-6.12.117+deb13-amd64", "linux-base"].map(package).to_vec();
        let kernel = Kernel::of(&packages).unwrap();
        assert_eq!(kernel.release, "6.12.117+deb13-amd64");
        assert_eq!(kernel.headers(), "linux-headers-6.12.117+deb13-amd64 (= 6.12.117-1)");
        assert_eq!(Kernel::of(&packages[..1]), Err(KernelError::None));
        packages.push(package("linux-image-7.3.4+deb13-amd64-unsigned"));
        let (first, second) = (packages[1].name.clone(), packages[3].name.clone());
        assert_eq!(Kernel::of(&packages), Err(KernelError::Several { first, second }));
    }
}
