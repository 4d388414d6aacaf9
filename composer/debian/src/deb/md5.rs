//! MD5 sums of a package's files: what `dpkg -V` compares. They protect nothing; digests of a lock do.

use std::fmt;

use sequoia_openpgp::crypto::hash::Context;
use sequoia_openpgp::types::HashAlgorithm;

/// A sum in the making.
pub struct Md5(Option<Context>);

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Md5").finish_non_exhaustive()
    }
}

impl Default for Md5 {
    fn default() -> Self {
        Self(HashAlgorithm::MD5.context().ok().map(|builder| builder.for_digest()))
    }
}

impl Md5 {
    /// Takes in bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(context) = &mut self.0 {
            context.update(bytes);
        }
    }

    /// The sum in hexadecimal; `None` if the library has no MD5.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        let digest = self.0?.into_digest().ok()?;
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_rfc_1321() {
        let mut sum = Md5::default();
        sum.update(b"message ");
        sum.update(b"digest");
        assert_eq!(sum.finish().as_deref(), Some("f96b697d7cb7938d525a2f31aaf161d0"));
    }
}
