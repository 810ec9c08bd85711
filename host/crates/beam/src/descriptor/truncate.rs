//! The descriptor that truncates restrictions when a job drains.
//!
//! In: the stage that processes restrictions of a splittable function. Out: a stage of the same input whose only output is
//! what is left of it, in the same form. Source: `beam:transform:sdf_truncate_sized_restrictions:v1`.

use super::{OutputWire, StageWire};
use crate::urn::transform as urn;

/// Where what is left goes.
const SINK: &str = "thalweg/truncated";

/// The truncating twin of a stage; `None` where nothing can be truncated.
pub(super) fn twin(stage: &StageWire) -> Option<StageWire> {
    let input = stage.inputs.first()?;
    let whole = &stage.descriptor;
    let splits = |(name, _): &&(String, String)| {
        let spec = whole.transforms.get(name).and_then(|t| t.spec.as_ref());
        spec.is_some_and(|spec| spec.urn == urn::SDF_PROCESS)
    };
    let (name, tag) = input.consumers.iter().find(splits)?;
    let mut truncate = whole.transforms.get(name)?.clone();
    let source = whole.transforms.get(&input.source)?.clone();
    let collection = whole.pcollections.get(truncate.inputs.get(tag)?)?.clone();
    truncate.spec.as_mut()?.urn = urn::SDF_TRUNCATE.to_owned();
    truncate.outputs = [("out".to_owned(), SINK.to_owned())].into();
    let mut sink = source.clone();
    sink.unique_name = SINK.to_owned();
    sink.spec.as_mut()?.urn = urn::DATA_SINK.to_owned();
    sink.outputs.clear();
    sink.inputs = [("data".to_owned(), SINK.to_owned())].into();

    let mut descriptor = whole.clone();
    descriptor.id.push_str("-truncate");
    descriptor.timer_api_service_descriptor = None;
    descriptor.pcollections.insert(SINK.to_owned(), collection);
    descriptor.transforms = [(input.source.clone(), source), (name.clone(), truncate), (SINK.to_owned(), sink)].into();
    Some(StageWire {
        descriptor,
        outputs: vec![OutputWire { sink: SINK.to_owned(), coder: input.coder.clone() }],
        timers: Vec::new(),
        states: Vec::new(),
        truncate: None,
        ..stage.clone()
    })
}
