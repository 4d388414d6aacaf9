//! Kernels of arm64 as firmware that is not UEFI takes them: the plain image, out of an EFI program that
//! decompresses itself.
//!
//! Distributions ship the plain image, the same compressed by gzip, or a program that EFI starts and that carries
//! it compressed. A loader that knows no EFI can do nothing with the last. Left out: kernels that carry it
//! compressed by anything but gzip and zstd.
//!
//! Source: Documentation/arch/arm64/booting.rst, section 4; drivers/firmware/efi/libstub/zboot-header.S.

use std::borrow::Cow;
use std::io::{self, Read};

use goni_model::number::{to_u64, to_usize};

/// What the plain image has at its byte 56: `ARM\x64`.
const MAGIC: (usize, [u8; 4]) = (56, *b"ARM\x64");

/// What a program that carries it has at its byte 4.
const ZIMG: (usize, [u8; 4]) = (4, *b"zimg");

/// What gzip begins with.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// The name of the compression, at byte 24 and ended by a NUL.
const COMPRESSION: (usize, usize) = (24, 32);

/// More than this is no kernel.
const MOST: u64 = 256 << 20;

/// Why a kernel cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// It is none of the kinds that there are.
    #[error("it is no kernel image of arm64")]
    NotArm64,
    /// It is compressed by something else.
    #[error("it is compressed by `{0}`, of which only the kernel's own EFI program can make something")]
    Compression(String),
    /// It says that it carries more, or elsewhere, than it does.
    #[error("what it carries is {size} bytes from byte {offset}, and it ends at byte {end}")]
    Cut {
        /// Where.
        offset: u64,
        /// How much.
        size: u64,
        /// Its own size.
        end: u64,
    },
    /// What it carries cannot be decompressed.
    #[error("decompressing what it carries")]
    Broken(#[source] io::Error),
    /// What it carries is larger than any kernel.
    #[error("it decompresses to over {MOST} bytes")]
    TooLarge,
}

/// The plain image of a kernel, or the same compressed by gzip: what loaders take. Borrowed where it is that already.
///
/// # Errors
/// [`KernelError`].
pub fn loadable(kernel: &[u8]) -> Result<Cow<'_, [u8]>, KernelError> {
    if has(kernel, MAGIC) {
        return Ok(Cow::Borrowed(kernel));
    }
    if kernel.starts_with(&GZIP) {
        // Whether it carries a kernel of arm64 is worth knowing before a board finds out.
        unpack("gzip", kernel)?;
        return Ok(Cow::Borrowed(kernel));
    }
    if !has(kernel, ZIMG) {
        return Err(KernelError::NotArm64);
    }
    let word = |offset: usize| {
        let bytes = kernel.get(offset..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|bytes| u64::from(u32::from_le_bytes(*bytes))).ok_or(KernelError::NotArm64)
    };
    let (offset, size) = (word(8)?, word(12)?);
    let (from, to) = COMPRESSION;
    let name = kernel.get(from..from + to).ok_or(KernelError::NotArm64)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let carried = kernel.get(to_usize(offset)..to_usize(offset.saturating_add(size)));
    let end = to_u64(kernel.len());
    let carried = carried.ok_or(KernelError::Cut { offset, size, end })?;
    unpack(&String::from_utf8_lossy(name), carried).map(Cow::Owned)
}

fn has(kernel: &[u8], (at, magic): (usize, [u8; 4])) -> bool {
    kernel.get(at..).is_some_and(|rest| rest.starts_with(&magic))
}

/// Decompresses a plain image.
fn unpack(compression: &str, packed: &[u8]) -> Result<Vec<u8>, KernelError> {
    let reader: Box<dyn Read + '_> = match compression {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        // The kernel's make files write the size behind it.
        "zstd" => Box::new(zstd::Decoder::new(packed).map_err(KernelError::Broken)?.single_frame()),
        other => return Err(KernelError::Compression(other.escape_debug().to_string())),
    };
    let mut kernel = Vec::new();
    let size = reader.take(MOST + 1).read_to_end(&mut kernel).map_err(KernelError::Broken)?;
    if to_u64(size) > MOST {
        return Err(KernelError::TooLarge);
    }
    if has(&kernel, MAGIC) { Ok(kernel) } else { Err(KernelError::NotArm64) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A plain image.
    fn plain() -> Vec<u8> {
        let mut kernel = vec![7; 1000];
        kernel[56..60].copy_from_slice(b"ARM\x64");
        kernel
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A program that carries something compressed, followed by its size as the kernel's make files have it.
    fn program(compression: &str, carried: &[u8]) -> Vec<u8> {
        let mut program = vec![0; 128];
        program[..2].copy_from_slice(b"MZ");
        program[4..8].copy_from_slice(b"zimg");
        program[8..12].copy_from_slice(&128_u32.to_le_bytes());
        program[12..16].copy_from_slice(&u32::try_from(carried.len()).unwrap().to_le_bytes());
        program[24..24 + compression.len()].copy_from_slice(compression.as_bytes());
        program.extend_from_slice(carried);
        program
    }

    #[test]
    fn a_kernel_is_taken_as_it_is_or_out_of_its_program() {
        let packed = gzip(&plain());
        let mut zstd = zstd::encode_all(&plain()[..], 1).unwrap();
        zstd.extend_from_slice(&1000_u32.to_le_bytes());
        for (kernel, expected) in [
            (plain(), plain()),
            (packed.clone(), packed.clone()),
            (program("gzip", &packed), plain()),
            (program("zstd", &zstd), plain()),
        ] {
            assert_eq!(loadable(&kernel).unwrap().into_owned(), expected);
        }
    }

    #[test]
    fn what_no_loader_could_load_is_refused() {
        let told = |kernel: &[u8]| loadable(kernel).unwrap_err().to_string();
        let packed = gzip(&plain());
        assert_eq!(told(b""), "it is no kernel image of arm64");
        assert_eq!(told(&[0; 4096]), "it is no kernel image of arm64");
        assert_eq!(told(&gzip(b"a text")), "it is no kernel image of arm64");
        assert_eq!(told(&program("gzip", &packed)[..20]), "it is no kernel image of arm64");
        let unknown =
            "it is compressed by `lzma`, of which only the kernel's own EFI program can make something";
        assert_eq!(told(&program("lzma", &packed)), unknown);
        let program = program("gzip", &packed);
        let cut = format!(
            "what it carries is {} bytes from byte 128, and it ends at byte {}",
            packed.len(),
            program.len() - 1
        );
        assert_eq!(told(&program[..program.len() - 1]), cut);
        let mut wrong = program;
        wrong[140..150].fill(0xFF);
        assert_eq!(told(&wrong), "decompressing what it carries");
    }
}
