//! What a store may use, and how careful it is.

use std::time::Duration;

/// When a commit reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FsyncPolicy {
    /// Every commit is synced before it returns: it survives the loss of power.
    #[default]
    EachEpoch,
    /// Commits go to the system's page cache: they survive the death of the process, while the loss of power may take the
    /// last seconds back. What remains is a whole epoch all the same.
    Relaxed,
}

/// Options of a [`RocksStateStore`](crate::RocksStateStore).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of the block cache, index and filter blocks included. Default 64 MiB.
    pub block_cache_bytes: usize,
    /// Bytes of unflushed writes, over all memtables. Default 64 MiB.
    pub write_buffer_bytes: usize,
    /// Bytes of log that may wait for a flush; bounds the time of a restart. Default 256 MiB.
    pub log_bytes_max: u64,
    /// Files that may be open at once. Default 256.
    pub open_files_max: i32,
    /// When a commit reaches the disk.
    pub fsync: FsyncPolicy,
    /// Bytes of the disk that are left to others and to RocksDB's own work: a commit that would leave fewer waits. Default 64 MiB.
    pub disk_reserve_bytes: u64,
    /// How long a commit waits for room on the disk before the job fails. Default 10 minutes.
    pub disk_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 << 20,
            write_buffer_bytes: 64 << 20,
            log_bytes_max: 256 << 20,
            open_files_max: 256,
            fsync: FsyncPolicy::EachEpoch,
            disk_reserve_bytes: 64 << 20,
            disk_wait: Duration::from_secs(600),
        }
    }
}

impl Options {
    /// The block cache: one for all column families, or each would take as much.
    pub(crate) fn cache(&self) -> rocksdb::Cache {
        // few shards: what is larger than a shard's part of the cache is never kept
        let mut options = rocksdb::LruCacheOptions::default();
        options.set_capacity(self.block_cache_bytes);
        options.set_num_shard_bits(3);
        rocksdb::Cache::new_lru_cache_opts(&options)
    }

    /// RocksDB's own options.
    pub(crate) fn rocks(&self, cache: &rocksdb::Cache) -> rocksdb::Options {
        let mut table = rocksdb::BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false); // 1 % false positives
        // in small parts: the filter of a large file is a megabyte, which each look into that file would read and check again once the files'
        // filters together are more than the cache
        table.set_index_type(rocksdb::BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(4 << 10);
        table.set_pin_top_level_index_and_filter(true);
        table.set_data_block_index_type(rocksdb::DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
        table.set_format_version(6);
        let mut options = rocksdb::Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        options.set_db_write_buffer_size(self.write_buffer_bytes);
        options.set_write_buffer_size((self.write_buffer_bytes / 2).max(1 << 20)); // one fills while one is flushed
        options.set_max_write_buffer_number(3);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
        options.set_max_total_wal_size(self.log_bytes_max);
        options.set_max_open_files(self.open_files_max);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20); // spreads the writing of big files over time
        options.set_paranoid_checks(true);
        options.set_track_and_verify_wals_in_manifest(true);
        // a torn end is what a crash leaves; whether more than that is missing, ACKNOWLEDGED tells
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options
    }
}
