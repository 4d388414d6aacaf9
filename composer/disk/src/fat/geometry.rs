//! How large clusters and tables are.

use goni_model::size::ByteCount;

use super::{Options, WriteError};

/// Copies of the file allocation table.
pub(super) const TABLES: u64 = 2;
/// Fewer clusters would make it FAT16; the specification, section 3.5, advises to stay 16 clear.
const LEAST_CLUSTERS: u64 = 65_525 + 16;
/// More clusters have no numbers. Specification, section 3.5.
const MOST_CLUSTERS: u64 = 0x0FFF_FFF5;
/// Sectors before the first table: boot sector, FSInfo and their copies lie in them. Usual for FAT32.
const LEAST_RESERVED: u64 = 32;
/// The largest cluster that the specification allows.
const MOST_CLUSTER_SIZE: u64 = 32 << 10;
/// Up to which size clusters are how large. Specification, section 3.5, `DskTableFAT32`.
const CLUSTER_SIZES: [(u64, u64); 4] =
    [(260 << 20, 512), (8 << 30, 4 << 10), (16 << 30, 8 << 10), (32 << 30, 16 << 10)];

/// The numbers of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// Sectors in all.
    pub(super) sectors: u32,
    /// Sectors of a cluster: a power of two up to 64.
    pub(super) cluster_sectors: u64,
    /// Sectors before the first table.
    pub(super) reserved: u64,
    /// Sectors of a table.
    pub(super) table_sectors: u64,
    /// Clusters in all.
    pub(super) clusters: u64,
}

impl Geometry {
    /// Decides the numbers.
    pub(super) fn plan(options: &Options) -> Result<Self, WriteError> {
        let sector = options.sector_size.get();
        let size = options.size.get();
        let sectors = u32::try_from(size / sector).map_err(|_| WriteError::TooLarge(options.size))?;
        let wanted = CLUSTER_SIZES
            .into_iter()
            .find(|(most, _)| size <= *most)
            .map_or(MOST_CLUSTER_SIZE, |(_, cluster)| cluster);
        let mut cluster_sectors = (wanted / sector).max(1);
        loop {
            let geometry = Self::with_clusters(sector, sectors, cluster_sectors);
            match geometry {
                Some(geometry) if (LEAST_CLUSTERS..=MOST_CLUSTERS).contains(&geometry.clusters) => {
                    return Ok(geometry);
                }
                _ if cluster_sectors > 1 => cluster_sectors /= 2,
                _ => break,
            }
        }
        let tables = TABLES * ((LEAST_CLUSTERS + 2) * 4).div_ceil(sector);
        let need = (LEAST_RESERVED + tables + 1 + LEAST_CLUSTERS) * sector;
        Err(WriteError::TooSmall { need: ByteCount::new(need), have: options.size })
    }

    fn with_clusters(sector: u64, sectors: u32, cluster_sectors: u64) -> Option<Self> {
        // The least table with an entry for each cluster and two more: the data area shrinks by what
        // the tables take, hence the divisor.
        let rest = u64::from(sectors).checked_sub(LEAST_RESERVED)?;
        let table_sectors = (rest + 2 * cluster_sectors).div_ceil(cluster_sectors * (sector / 4) + TABLES);
        let tables = TABLES * table_sectors;
        // The data area begins at a whole cluster, so that clusters do not straddle a page of flash.
        let data_start = (LEAST_RESERVED + tables).next_multiple_of(cluster_sectors);
        let clusters = u64::from(sectors).checked_sub(data_start)? / cluster_sectors;
        Some(Self {
            sector,
            sectors,
            cluster_sectors,
            reserved: data_start - tables,
            table_sectors,
            clusters,
        })
    }

    /// Bytes of a cluster.
    pub(super) const fn cluster_size(&self) -> u64 {
        self.cluster_sectors * self.sector
    }

    /// Where a cluster begins. The first has number 2.
    pub(super) const fn cluster_offset(&self, cluster: u64) -> u64 {
        (self.reserved + TABLES * self.table_sectors) * self.sector + (cluster - 2) * self.cluster_size()
    }

    /// Where a copy of the table begins.
    pub(super) const fn table_offset(&self, copy: u64) -> u64 {
        (self.reserved + copy * self.table_sectors) * self.sector
    }
}
