//! Ground floor: the ports. What the engine asks of the world, as traits and plain messages; adapters live in other
//! crates and end in their port's name (`RocksStateStore`, `WasmWorker`, `FnApiWorker`, `KafkaSource`, `FileSink`).

pub mod log;
pub mod scratch;
pub mod sink;
pub mod source;
pub mod store;
pub mod worker;
