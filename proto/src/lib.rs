//! Beam's portability messages and gRPC services: the language between SDKs, runner and workers.
//!
//! - [`pipeline`]: the graph an SDK submits: `Pipeline`, its payloads, windowing, environments, schemas, metrics.
//! - [`fn_execution`]: the Fn API, spoken with workers: control, data, state, logging, provision.
//! - [`job`]: submitting and watching jobs, staging and retrieving artifacts.
//! - [`expansion`]: expanding transforms of another language.
//! - [`deploy`]: replacing functions of running jobs, a service of ours.
//! - [`interactive`]: a `TestStream` whose events come from a service.
//!
//! In: bytes from the wire. Out: messages, and with the feature `grpc` (default) their clients and servers. The crate
//! knows nothing of what the messages mean: URNs, coders and validation live in the crate `thalweg-beam`.
//!
//! # Shape
//! `.proto` files of our own under `proto/org/` declare the packages, names and numbers of apache-beam 2.77.0; tests
//! compare each one with the descriptors of the installed package. What is ours alone stands under `proto/thalweg/`. The Rust code is generated from them ahead of time
//! (`cargo run -p thalweg-proto --example generate`) and checked in. Maps are `BTreeMap`, so that a message is
//! always encoded the same way. `bytes` fields are [`bytes::Bytes`]: decoded from a `Bytes`, as tonic does, they are
//! slices of the received message, not copies, and keep all of it in memory. Beam's larger files are split into several
//! here (`beam_runner_api_*.proto`, `beam_fn_api_*.proto`), which does not show on the wire. Do not import
//! `pipeline::*`: a schema's `Option` would hide the one of the standard library.
//!
//! [`bytes::Bytes`]: prost::bytes::Bytes
//!
//! # Example
//! ```
//! use prost::Message;
//! use thalweg_proto::pipeline::{FunctionSpec, PTransform, Pipeline};
//!
//! let impulse = PTransform {
//!     unique_name: "start".to_owned(),
//!     spec: Some(FunctionSpec { urn: "beam:transform:impulse:v1".to_owned(), payload: Default::default() }),
//!     ..Default::default()
//! };
//! let mut pipeline = Pipeline { root_transform_ids: vec!["t1".to_owned()], ..Default::default() };
//! pipeline.components.get_or_insert_default().transforms.insert("t1".to_owned(), impulse);
//!
//! let read = Pipeline::decode(pipeline.encode_to_vec().as_slice())?;
//! assert_eq!(read, pipeline);
//! # Ok::<(), prost::DecodeError>(())
//! ```

pub use generated::{
    deploy::v1 as deploy, expansion::v1 as expansion, fn_execution::v1 as fn_execution, interactive::v1 as interactive,
    job_management::v1 as job, life::v1 as life, pipeline::v1 as pipeline,
};

/// The generated code, nested as its packages are, because it refers to other packages by `super`.
#[expect(missing_docs, reason = "most fields say enough by their names, which Beam chose")]
#[cfg_attr(feature = "grpc", expect(clippy::allow_attributes_without_reason, reason = "the generator writes them"))]
mod generated {
    pub mod pipeline {
        pub mod v1 {
            include!("gen/org.apache.beam.model.pipeline.v1.rs");
        }
    }
    pub mod fn_execution {
        pub mod v1 {
            include!("gen/org.apache.beam.model.fn_execution.v1.rs");
        }
    }
    pub mod job_management {
        pub mod v1 {
            include!("gen/org.apache.beam.model.job_management.v1.rs");
        }
    }
    pub mod expansion {
        pub mod v1 {
            include!("gen/org.apache.beam.model.expansion.v1.rs");
        }
    }
    pub mod deploy {
        pub mod v1 {
            include!("gen/thalweg.deploy.v1.rs");
        }
    }
    pub mod life {
        pub mod v1 {
            include!("gen/thalweg.life.v1.rs");
        }
    }
    pub mod interactive {
        pub mod v1 {
            include!("gen/org.apache.beam.model.interactive.v1.rs");
        }
    }
}
