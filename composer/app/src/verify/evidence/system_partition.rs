//! The EFI system partition, as `fatfs` reads it.

mod chains;
mod contents;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use fatfs::{Dir, FatType, FileSystem, FsOptions};
use goni_disk::uki::{self, Image, Label, Section};

use crate::host::image::Window;
use chains::Geometry;
pub(in crate::verify) use contents::Contents;

/// Deepest directory, and most files, that are looked at.
const DEPTH_LIMIT: usize = 8;
const FILES_LIMIT: usize = 10_000;

/// Sections of kernel images that are read: texts, each below this size.
const TEXTS: [&str; 3] = [".osrel", ".cmdline", ".uname"];
const TEXT_LIMIT: u64 = 64 << 10;

/// The files of the EFI system partition.
#[derive(Debug)]
pub(in crate::verify) struct SystemPartition {
    /// The bytes of a sector, as the file system counts.
    pub(in crate::verify) sector_size: u64,
    /// Its label.
    pub(in crate::verify) label: String,
    /// Its number.
    pub(in crate::verify) volume_id: u32,
    /// Bytes of its clusters that are taken.
    pub(in crate::verify) used: u64,
    /// Every file by its path from the root.
    pub(in crate::verify) files: BTreeMap<String, SystemFile>,
}

/// A file of the EFI system partition.
#[derive(Debug)]
pub(in crate::verify) enum SystemFile {
    /// A PE file.
    Program(Program),
    /// A file whose name says that it is a PE file, and why it is none.
    Broken(String),
    /// Anything else, with its first 64 KiB.
    Other(Vec<u8>),
}

/// An EFI program.
#[derive(Debug)]
pub(in crate::verify) struct Program {
    /// Its headers.
    pub(in crate::verify) image: Image,
    /// The texts among its sections.
    pub(in crate::verify) texts: BTreeMap<&'static str, String>,
    /// The ways to boot it, the default first.
    pub(in crate::verify) profiles: Vec<BootProfile>,
}

/// A way to boot a kernel image.
#[derive(Debug)]
pub(in crate::verify) struct BootProfile {
    /// What it is called.
    pub(in crate::verify) label: Label,
    /// The names of the sections that it has for itself.
    pub(in crate::verify) own: Vec<String>,
    /// The command line that counts, its own or that which all share.
    pub(in crate::verify) command_line: String,
    /// The os-release that counts.
    pub(in crate::verify) os_release: String,
}

/// Why the partition cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::verify) enum SystemPartitionError {
    /// It is no FAT file system, or a damaged one.
    #[error("reading the FAT file system")]
    Fat(#[from] io::Error),
    /// It is an older FAT, which firmware need not read.
    #[error("the file system is {0}, not FAT32")]
    Kind(&'static str),
    /// A boot sector that `fatfs` would compute nonsense from.
    #[error("corrupt boot sector: {0}")]
    BootSector(&'static str),
    /// Clusters that `fatfs` would be lost among.
    #[error("corrupt file allocation table: {0}")]
    Chains(&'static str),
    /// Directories within themselves, or very many files.
    #[error("there are over {FILES_LIMIT} files, or directories over {DEPTH_LIMIT} deep")]
    TooMany,
}

impl SystemPartition {
    /// Reads everything that is small, and the headers of programs.
    pub(super) fn read(mut window: Window<'_>) -> Result<Self, SystemPartitionError> {
        let geometry = read_boot_sector(&mut window)?;
        chains::check(&mut window, &geometry)?;
        window.seek(SeekFrom::Start(0))?;
        let file_system = FileSystem::new(window, FsOptions::new().update_accessed_date(false))?;
        match file_system.fat_type() {
            FatType::Fat32 => {}
            FatType::Fat16 => return Err(SystemPartitionError::Kind("FAT16")),
            FatType::Fat12 => return Err(SystemPartitionError::Kind("FAT12")),
        }
        let mut files = BTreeMap::new();
        collect(&file_system.root_dir(), "", 0, &mut files)?;
        let stats = file_system.stats()?;
        let taken = u64::from(stats.total_clusters()).saturating_sub(u64::from(stats.free_clusters()));
        Ok(Self {
            sector_size: geometry.sector,
            label: file_system.volume_label(),
            volume_id: file_system.volume_id(),
            used: taken.saturating_mul(u64::from(stats.cluster_size())),
            files,
        })
    }

    /// The programs in a directory, with their paths.
    pub(in crate::verify) fn programs<'a>(
        &'a self,
        directory: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Program)> {
        self.files.iter().filter_map(move |(path, file)| match file {
            SystemFile::Program(program) if path.starts_with(directory) => Some((path.as_str(), program)),
            _ => None,
        })
    }
}

/// Reads and checks what `fatfs` takes for granted, and that the spare boot sector is the same.
///
/// Source: Microsoft FAT Specification, version 1.03, section 3.
fn read_boot_sector(window: &mut Window<'_>) -> Result<Geometry, SystemPartitionError> {
    let mut sector = [0; 512];
    let end = window.seek(SeekFrom::End(0))?;
    window.seek(SeekFrom::Start(0))?;
    window.read_exact(&mut sector)?;
    let byte = |offset: usize| u64::from(sector[offset]);
    let word = |offset: usize| byte(offset) | byte(offset + 1) << 8;
    let double = |offset: usize| word(offset) | word(offset + 2) << 16;
    let (sector_size, cluster, reserved, tables) = (word(11), byte(13), word(14), byte(16));
    let (sectors, table, root, spare) = (double(32), double(36), double(44), word(50));
    // Every factor is below 2^32 or below 2^8, so nothing here overflows.
    let data = reserved + tables * table;
    let problems = [
        (word(510) != 0xAA55, "no signature"),
        (sector_size != 512 && sector_size != 4096, "sectors of neither 512 nor 4096 bytes"),
        (!cluster.is_power_of_two(), "clusters that are no power of two sectors"),
        (word(17) != 0 || word(19) != 0 || word(22) != 0, "fields of an older FAT"),
        (tables != 2, "other than two tables"),
        (sectors.saturating_mul(sector_size) > end, "more sectors than the partition"),
        (data >= sectors, "tables larger than the file system"),
        (word(48) == 0 || word(48) >= reserved, "no place for FSInfo"),
        (spare == 0 || spare >= reserved, "no place for the spare boot sector"),
    ];
    if let Some((_, problem)) = problems.into_iter().find(|(found, _)| *found) {
        return Err(SystemPartitionError::BootSector(problem));
    }
    let clusters = (sectors - data) / cluster;
    if !(2..clusters + 2).contains(&root) || (clusters + 2) * 4 > table * sector_size {
        return Err(SystemPartitionError::BootSector("tables or root directory that do not fit"));
    }
    let mut copy = [0; 512];
    window.seek(SeekFrom::Start(spare * sector_size))?;
    window.read_exact(&mut copy)?;
    if copy != sector {
        return Err(SystemPartitionError::BootSector("the spare one differs"));
    }
    Ok(Geometry {
        sector: sector_size,
        table: reserved * sector_size,
        table_size: table * sector_size,
        data: data * sector_size,
        cluster: cluster * sector_size,
        clusters,
        root,
    })
}

fn collect(
    directory: &Dir<'_, Window<'_>>,
    above: &str,
    depth: usize,
    files: &mut BTreeMap<String, SystemFile>,
) -> Result<(), SystemPartitionError> {
    if depth > DEPTH_LIMIT {
        return Err(SystemPartitionError::TooMany);
    }
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{above}{name}");
        if entry.is_dir() {
            if name != "." && name != ".." {
                collect(&entry.to_dir(), &format!("{path}/"), depth + 1, files)?;
            }
            continue;
        }
        let mut file = entry.to_file();
        let read = if name.to_ascii_lowercase().ends_with(".efi") {
            program(&mut file)
        } else {
            let mut bytes = Vec::new();
            file.take(TEXT_LIMIT).read_to_end(&mut bytes)?;
            SystemFile::Other(bytes)
        };
        files.insert(path, read);
        if files.len() > FILES_LIMIT {
            return Err(SystemPartitionError::TooMany);
        }
    }
    Ok(())
}

fn program(file: &mut (impl io::Read + io::Seek)) -> SystemFile {
    match read_program(file) {
        Ok(program) => SystemFile::Program(program),
        Err(error) => SystemFile::Broken(super::chain(&error)),
    }
}

fn read_program(file: &mut (impl io::Read + io::Seek)) -> Result<Program, uki::UkiError> {
    let image = uki::inspect(file)?;
    let mut text = |section: Option<&Section>| -> Result<Option<String>, uki::UkiError> {
        let Some(section) = section.filter(|section| section.size <= TEXT_LIMIT) else { return Ok(None) };
        let bytes = section.read(file)?;
        Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()))
    };
    let mut texts = BTreeMap::new();
    for name in TEXTS {
        if let Some(read) = text(image.section(name))? {
            texts.insert(name, read);
        }
    }
    let mut profiles = Vec::new();
    for profile in image.profiles() {
        profiles.push(BootProfile {
            label: Label::parse(&text(profile.section(".profile"))?.unwrap_or_default()),
            own: profile.own().iter().map(|section| section.name.clone()).collect(),
            command_line: text(profile.section(".cmdline"))?.unwrap_or_default(),
            os_release: text(profile.section(".osrel"))?.unwrap_or_default(),
        });
    }
    Ok(Program { image, texts, profiles })
}
