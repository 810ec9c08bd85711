//! URNs: the names by which pipelines call transforms, coders, windows, environments and requirements.
//!
//! Constants only. Source: the enums of `beam_runner_api.proto`, `standard_window_fns.proto` and `metrics.proto`; the
//! `thalweg:` ones are ours.

/// Transforms.
pub mod transform {
    /// One empty element, once.
    pub const IMPULSE: &str = "beam:transform:impulse:v1";
    /// A DoFn.
    pub const PAR_DO: &str = "beam:transform:pardo:v1";
    /// Union.
    pub const FLATTEN: &str = "beam:transform:flatten:v1";
    /// Groups by key and window.
    pub const GROUP_BY_KEY: &str = "beam:transform:group_by_key:v1";
    /// Assigns windows.
    pub const WINDOW_INTO: &str = "beam:transform:window_into:v1";
    /// Maps main windows to side windows.
    pub const MAP_WINDOWS: &str = "beam:transform:map_windows:v1";
    /// Merges windows of an SDK-defined function.
    pub const MERGE_WINDOWS: &str = "beam:transform:merge_windows:v1";
    /// A scripted source that owns time.
    pub const TEST_STREAM: &str = "beam:transform:teststream:v1";
    /// Renders elements for people.
    pub const TO_STRING: &str = "beam:transform:to_string:v1";
    /// The read of old, before splittable functions.
    pub const READ: &str = "beam:transform:read:v1";
    /// The same as a function of an impulse, as Python's worker knows it.
    pub const PYTHON_READ_FROM_IMPULSE: &str = "beam:transform:read_from_impulse_python:v1";
    /// A composite of Python that has no URN of its own.
    pub const PYTHON_COMPOSITE: &str = "beam:transform:generic_composite:v1";
    /// A transform of Python by value.
    pub const PYTHON_PICKLED: &str = "beam:transform:pickled_python:v1";
    /// Reads and writes of Google Cloud Pub/Sub begin so: they name an environment, but no SDK runs them.
    pub const PUBSUB: &str = "beam:transform:pubsub_";
    /// Marks a collection as a side input; its output stands for the same elements.
    pub const CREATE_VIEW: &str = "beam:transform:create_view:v1";
    /// Stages fused by the SDK.
    pub const EXECUTABLE_STAGE: &str = "beam:runner:executable_stage:v1";

    /// Combines values per key.
    pub const COMBINE_PER_KEY: &str = "beam:transform:combine_per_key:v1";
    /// Combines before the grouping.
    pub const COMBINE_PRECOMBINE: &str = "beam:transform:combine_per_key_precombine:v1";
    /// Merges accumulators after the grouping.
    pub const COMBINE_MERGE: &str = "beam:transform:combine_per_key_merge_accumulators:v1";
    /// Makes outputs of accumulators.
    pub const COMBINE_EXTRACT: &str = "beam:transform:combine_per_key_extract_outputs:v1";
    /// Combines what was grouped already.
    pub const COMBINE_GROUPED: &str = "beam:transform:combine_grouped_values:v1";
    /// Keeps windows, timestamps and elements; spreads them anew.
    pub const RESHUFFLE: &str = "beam:transform:reshuffle:v1";
    /// Spreads by key.
    pub const REDISTRIBUTE_BY_KEY: &str = "beam:transform:redistribute_by_key:v1";
    /// Spreads evenly.
    pub const REDISTRIBUTE_ARBITRARILY: &str = "beam:transform:redistribute_arbitrarily:v1";

    /// First part of a splittable function: the initial restriction.
    pub const SDF_PAIR: &str = "beam:transform:sdf_pair_with_restriction:v1";
    /// Second part: splits of it, with sizes.
    pub const SDF_SPLIT: &str = "beam:transform:sdf_split_and_size_restrictions:v1";
    /// Third part: the work.
    pub const SDF_PROCESS: &str = "beam:transform:sdf_process_sized_element_and_restrictions:v1";
    /// On drain, instead of all that is left.
    pub const SDF_TRUNCATE: &str = "beam:transform:sdf_truncate_sized_restrictions:v1";

    /// Where a bundle enters a worker.
    pub const DATA_SOURCE: &str = "beam:runner:source:v1";
    /// Where a bundle leaves it.
    pub const DATA_SINK: &str = "beam:runner:sink:v1";

    /// Everything that is ours begins so.
    pub const OURS: &str = "thalweg:";
    /// A native source.
    pub const SOURCE: &str = "thalweg:source:";
    /// A native sink.
    pub const SINK: &str = "thalweg:sink:";
    /// A function of the host.
    pub const FN: &str = "thalweg:fn:";
    /// A function of a WebAssembly component.
    pub const WASM: &str = "thalweg:transform:wasm:v1";
    /// A CombineFn of a component, inside a combine of an SDK.
    pub const WASM_COMBINE_FN: &str = "thalweg:combine_fn:wasm:v1";
    /// A WindowFn of a component, inside a windowing strategy.
    pub const WASM_WINDOW_FN: &str = "thalweg:window_fn:wasm:v1";
}

/// Coders.
pub mod coder {
    /// Bytes.
    pub const BYTES: &str = "beam:coder:bytes:v1";
    /// Text.
    pub const STRING_UTF8: &str = "beam:coder:string_utf8:v1";
    /// Key and value.
    pub const KV: &str = "beam:coder:kv:v1";
    /// Boolean.
    pub const BOOL: &str = "beam:coder:bool:v1";
    /// 64-bit integer.
    pub const VARINT: &str = "beam:coder:varint:v1";
    /// 64-bit float.
    pub const DOUBLE: &str = "beam:coder:double:v1";
    /// List.
    pub const ITERABLE: &str = "beam:coder:iterable:v1";
    /// Elements of which the rest is asked for.
    pub const STATE_BACKED_ITERABLE: &str = "beam:coder:state_backed_iterable:v1";
    /// Timer.
    pub const TIMER: &str = "beam:coder:timer:v1";
    /// `[start, end)`.
    pub const INTERVAL_WINDOW: &str = "beam:coder:interval_window:v1";
    /// Anything, behind its length.
    pub const LENGTH_PREFIX: &str = "beam:coder:length_prefix:v1";
    /// The global window.
    pub const GLOBAL_WINDOW: &str = "beam:coder:global_window:v1";
    /// Element with timestamp, windows and pane.
    pub const WINDOWED_VALUE: &str = "beam:coder:windowed_value:v1";
    /// A windowed value whose time, windows and pane are constants.
    pub const PARAM_WINDOWED_VALUE: &str = "beam:coder:param_windowed_value:v1";
    /// Any window, behind its last timestamp.
    pub const CUSTOM_WINDOW: &str = "beam:coder:custom_window:v1";
    /// Row of a schema.
    pub const ROW: &str = "beam:coder:row:v1";
    /// Key with a shard.
    pub const SHARDED_KEY: &str = "beam:coder:sharded_key:v1";
    /// Value or nothing.
    pub const NULLABLE: &str = "beam:coder:nullable:v1";
}

/// Window functions.
pub mod window_fn {
    /// One window.
    pub const GLOBAL: &str = "beam:window_fn:global_windows:v1";
    /// Fixed windows.
    pub const FIXED: &str = "beam:window_fn:fixed_windows:v1";
    /// Sliding windows.
    pub const SLIDING: &str = "beam:window_fn:sliding_windows:v1";
    /// Sessions.
    pub const SESSION: &str = "beam:window_fn:session_windows:v1";
    /// A function of Python.
    pub const PYTHON_PICKLED: &str = "beam:window_fn:pickled_python:v1";
}

/// Functions from a window of the main input to one of a side input.
pub mod window_mapping {
    /// A function of Python.
    pub const PYTHON_PICKLED: &str = "beam:window_mapping_fn:pickled_python:v1";
}

/// Environments.
pub mod environment {
    /// A container.
    pub const DOCKER: &str = "beam:env:docker:v1";
    /// A command.
    pub const PROCESS: &str = "beam:env:process:v1";
    /// A worker pool that somebody else runs (also LOOPBACK).
    pub const EXTERNAL: &str = "beam:env:external:v1";
    /// Several, of which the runner takes one.
    pub const ANY_OF: &str = "beam:env:anyof:v1";
    /// Ours: a WebAssembly component.
    pub const WASM: &str = "thalweg:env:wasm:v1";
}

/// What a pipeline may require of its runner.
pub mod requirement {
    /// State or timers.
    pub const STATEFUL: &str = "beam:requirement:pardo:stateful:v1";
    /// Bundle finalization.
    pub const FINALIZATION: &str = "beam:requirement:pardo:finalization:v1";
    /// Input that is equal in every retry.
    pub const STABLE_INPUT: &str = "beam:requirement:pardo:stable_input:v1";
    /// Input in the order of event time.
    pub const TIME_SORTED_INPUT: &str = "beam:requirement:pardo:time_sorted_input:v1";
    /// Splittable functions.
    pub const SPLITTABLE: &str = "beam:requirement:pardo:splittable_dofn:v1";
    /// A call when a window ends.
    pub const ON_WINDOW_EXPIRATION: &str = "beam:requirement:pardo:on_window_expiration:v1";
}

/// How a side input is read.
pub mod side_input {
    /// As one list.
    pub const ITERABLE: &str = "beam:side_input:iterable:v1";
    /// By key.
    pub const MULTIMAP: &str = "beam:side_input:multimap:v1";
}

/// How a user state is read and written.
pub mod user_state {
    /// A bag of elements.
    pub const BAG: &str = "beam:user_state:bag:v1";
    /// A multimap.
    pub const MULTIMAP: &str = "beam:user_state:multimap:v1";
    /// A list ordered by timestamp.
    pub const ORDERED_LIST: &str = "beam:user_state:ordered_list:v1";
}

/// What environments declare.
pub mod capability {
    /// Of a Go SDK's environment; the name of its image follows.
    pub const GO_SDK: &str = "beam:version:sdk_base:go";
    /// Of a Python SDK's environment; the version of Python and the SDK's follow.
    pub const PYTHON_SDK: &str = "beam:version:sdk_base:apache/beam_python";
    /// Of a Java SDK's environment; the version of Java and the SDK's own follow.
    pub const JAVA_SDK: &str = "beam:version:sdk_base:apache/beam_java";
    /// Its bundles run on several cores.
    pub const MULTI_CORE: &str = "beam:protocol:multi_core_bundle_processing:v1";
}

/// Types of metrics.
pub mod metric {
    /// Sum of integers.
    pub const SUM_INT64: &str = "beam:metrics:sum_int64:v1";
    /// Sum of doubles.
    pub const SUM_DOUBLE: &str = "beam:metrics:sum_double:v1";
    /// Count, sum, least, greatest.
    pub const DISTRIBUTION_INT64: &str = "beam:metrics:distribution_int64:v1";
    /// The value set last.
    pub const LATEST_INT64: &str = "beam:metrics:latest_int64:v1";
    /// A set of strings.
    pub const SET_STRING: &str = "beam:metrics:set_string:v1";
    /// Count, sum, least and greatest: a varint and three doubles.
    pub const DISTRIBUTION_DOUBLE: &str = "beam:metrics:distribution_double:v1";
    /// Milliseconds and value: a varint and a double.
    pub const LATEST_DOUBLE: &str = "beam:metrics:latest_double:v1";
    /// The greatest integers: an iterable of varints.
    pub const TOP_N_INT64: &str = "beam:metrics:top_n_int64:v1";
    /// The greatest doubles: an iterable of doubles.
    pub const TOP_N_DOUBLE: &str = "beam:metrics:top_n_double:v1";
    /// The least integers: an iterable of varints.
    pub const BOTTOM_N_INT64: &str = "beam:metrics:bottom_n_int64:v1";
    /// The least doubles: an iterable of doubles.
    pub const BOTTOM_N_DOUBLE: &str = "beam:metrics:bottom_n_double:v1";
    /// A share per element under way: an iterable of doubles.
    pub const PROGRESS: &str = "beam:metrics:progress:v1";
    /// A set of paths: a message.
    pub const BOUNDED_TRIE: &str = "beam:metrics:bounded_trie:v1";
    /// Counts per bucket: a message.
    pub const HISTOGRAM_INT64: &str = "beam:metrics:histogram_int64:v1";
}
